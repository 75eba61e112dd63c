// A child process whose output is read, which can be waited for, and which never outlives this one. Knows nothing of what it runs.

import { spawn } from "node:child_process";

const alive = new Set();
process.on("exit", () => alive.forEach((child) => child.kill("SIGKILL")));

export class Child {
  output = "";
  status = null;

  /** `log`, a stream, is given all it prints; `onEnded` is called if it ends before somebody wanted it to. */
  constructor(name, program, parameters, { env = {}, cwd, log = null, onEnded = () => {} } = {}) {
    this.name = name;
    this.child = spawn(program, parameters, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env }, cwd });
    alive.add(this.child);
    this.wanted = true;
    this.ended = new Promise((end) => {
      const over = (status) => {
        if (this.status !== null) return;
        alive.delete(this.child);
        this.status = status;
        end(status);
        if (this.wanted) onEnded(`${name} ended with ${status}`);
      };
      this.child.on("error", (error) => over(error.message));
      this.child.on("exit", (code, signal) => over(code ?? signal));
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        // Only the end matters, to look for an address in or to say why it ended.
        this.output = (this.output + text).slice(-OUTPUT_MAX);
        log?.write(text);
      });
    }
  }

  get pid() {
    return this.child.pid;
  }

  /** The first match of a pattern in what it prints. */
  async prints(pattern, milliseconds = PRINT_MS_MAX) {
    const deadline = Date.now() + milliseconds;
    for (;;) {
      const found = pattern.exec(this.output);
      if (found) return found;
      if (this.status !== null) throw new Error(`${this.name} ended with ${this.status}: ${this.output.trim().slice(-1000)}`);
      if (Date.now() > deadline) throw new Error(`${this.name} printed no ${pattern} but: ${this.output.trim().slice(-1000)}`);
      await new Promise((resume) => setTimeout(resume, 15));
    }
  }

  /** Asks it to end, and insists after a while; answers its exit status. */
  async stop(signal = "SIGTERM") {
    this.wanted = false;
    this.child.kill(signal);
    const insist = setTimeout(() => this.child.kill("SIGKILL"), STOP_MS_MAX);
    const status = await this.ended;
    clearTimeout(insist);
    return status;
  }
}

const OUTPUT_MAX = 64 * 1024;
const PRINT_MS_MAX = 20_000;
const STOP_MS_MAX = 8_000;
