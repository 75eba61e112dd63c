// Owns what a reader of a page has before them: a folder, and terminals in which commands run, some to their end and some until Ctrl-C. Knows
// nothing of what the commands are.

import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";

const RUN_MS_MAX = 60_000;
const STOP_MS_MAX = 20_000;

/** Whether a text is what a page shows: `…` stands for anything in a line, and alone on a line for any lines. Answers how much of the text that is, or -1. */
export function shown(expected, text) {
  const escape = (line) => line.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*");
  const pattern = expected.trimEnd().split("\n").map((line) => (line === "…" ? "(?:.*\\n)*?" : `${escape(line)}\\n`));
  const found = new RegExp(`^${pattern.join("")}`).exec(text);
  return found ? found[0].length : -1;
}

/** One that stays until Ctrl-C. */
class Terminal {
  output = "";
  read = 0;

  constructor(name, text, { cwd, env, log }) {
    this.name = name;
    this.child = spawn("bash", ["-euc", text], { cwd, env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    this.log = createWriteStream(`${log}/${name}.log`, { flags: "a" });
    this.ended = new Promise((resolve) => this.child.on("close", (code, signal) => resolve((this.status = code ?? signal))));
    this.child.stdout.setEncoding("utf8").on("data", (text) => {
      this.output += text;
      this.log.write(text);
    });
    this.child.stderr.on("data", (text) => this.log.write(text));
  }

  /** Waits until what it has printed since the last time begins as the page shows. */
  async shows(expected) {
    for (;;) {
      const length = shown(expected, this.output.slice(this.read));
      if (length >= 0) return void (this.read += length);
      if (this.status !== undefined) throw new Error(`\`${this.name}\` ended with ${this.status}; it printed ${JSON.stringify(this.output.slice(this.read))}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Ctrl-C. */
  async stop(signal = "SIGINT") {
    if (this.status !== undefined) return this.status;
    process.kill(-this.child.pid, signal);
    const late = setTimeout(() => process.kill(-this.child.pid, "SIGKILL"), STOP_MS_MAX);
    const status = await this.ended;
    clearTimeout(late);
    return status;
  }
}

export class Terminals {
  open = new Map();

  constructor(options) {
    this.options = options;
    process.on("exit", () => this.killAll());
  }

  /** Starts a command in the terminal of this name. What ran in it before is stopped first. */
  async start(name, text) {
    const before = this.open.get(name);
    const status = await before?.stop();
    this.open.set(name, new Terminal(name, text, this.options));
    return status;
  }

  get(name) {
    const found = this.open.get(name);
    if (!found) throw new Error(`no terminal is called ${name}`);
    return found;
  }

  /** Runs a command to its end and answers what it printed. */
  async run(text) {
    const { cwd, env } = this.options;
    const child = spawn("bash", ["-euc", text], { cwd, env, stdio: ["ignore", "pipe", "pipe"], timeout: RUN_MS_MAX });
    let output = "";
    let errors = "";
    child.stdout.setEncoding("utf8").on("data", (piece) => (output += piece));
    child.stderr.setEncoding("utf8").on("data", (piece) => (errors += piece));
    const status = await new Promise((resolve) => child.on("close", (code, signal) => resolve(code ?? signal)));
    if (status !== 0) throw new Error(`it ended with ${status}: ${(errors || output).trim().slice(-500)}`);
    return output;
  }

  async stopAll() {
    for (const terminal of [...this.open.values()].reverse()) await terminal.stop();
  }

  killAll() {
    for (const { child, status } of this.open.values()) {
      try {
        if (status === undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has just ended.
      }
    }
  }
}
