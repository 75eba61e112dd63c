// Owns the processes under test: a `switchboard serve` on ports that the system chose, and `switchboard connect`. Each is ended by its id,
// at the latest when this process ends. Knows nothing of pages.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const BINARY = resolve(process.env.SWITCHBOARD_BIN ?? `${process.env.CARGO_TARGET_DIR ?? `${ROOT}/target`}/debug/switchboard`);

const START_MS_MAX = 20_000;
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** A process whose output is kept, and can be waited for. */
export class Process {
  output = "";

  constructor(parameters, environment = {}) {
    if (!existsSync(BINARY)) throw new Error(`there is no ${BINARY}: cargo build -p switchboard-server, or set SWITCHBOARD_BIN`);
    this.name = `switchboard ${parameters[0]}`;
    this.child = spawn(BINARY, parameters, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...environment } });
    running.add(this.child);
    this.ended = new Promise((end) => {
      this.child.on("exit", (code, signal) => {
        running.delete(this.child);
        this.status = code ?? signal;
        end(this.status);
      });
    });
    for (const stream of [this.child.stdout, this.child.stderr]) stream.setEncoding("utf8").on("data", (text) => (this.output += text));
  }

  /** The first match of a pattern in what it prints. */
  async prints(pattern, milliseconds = START_MS_MAX) {
    const deadline = Date.now() + milliseconds;
    for (;;) {
      const found = pattern.exec(this.output);
      if (found) return found;
      if (this.status !== undefined) throw new Error(`${this.name} ended with ${this.status}: ${this.output.slice(-500)}`);
      if (Date.now() > deadline) throw new Error(`${this.name} printed no ${pattern} but: ${this.output.slice(-500)}`);
      await pause(20);
    }
  }

  types(line) {
    this.child.stdin.write(`${line}\n`);
  }

  /** Asks it to end, and answers its exit status. After the time given it is ended without asking. */
  async stop(signal = "SIGTERM", milliseconds = 15_000) {
    this.child.kill(signal);
    const late = setTimeout(() => this.child.kill("SIGKILL"), milliseconds);
    const status = await this.ended;
    clearTimeout(late);
    return status;
  }
}

/** Starts a server and waits until it says where it listens. With `at`, the addresses of an earlier one, it listens there again. */
export async function serve(at) {
  const listen = at ? new URL(at.ws).host : "127.0.0.1:0";
  const adminListen = at ? new URL(at.admin).host : "127.0.0.1:0";
  const server = new Process(["serve", "--listen", listen, "--admin-listen", adminListen]);
  await server.prints(/wss?:\/\/[\w.:[\]]+\//);
  // The addresses that a person would see, of which one is the admin listener's; the rest it tells itself.
  const deadline = Date.now() + START_MS_MAX;
  while (Date.now() < deadline) {
    for (const [origin] of server.output.matchAll(/http:\/\/[\w.:[\]]+/g)) {
      const answer = await fetch(`${origin}/api/console/info`).catch(() => null);
      if (answer?.ok) return { server, origin, addresses: (await answer.json()).addresses };
    }
    await pause(50);
  }
  await server.stop("SIGKILL");
  throw new Error(`no console at the printed addresses: ${server.output.slice(-500)}`);
}

export const pause = (milliseconds) => new Promise((resume) => setTimeout(resume, milliseconds));
