// The client under test: a program that takes orders, one JSON object a line, and tells what its client tells, likewise.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Queue } from "./queue.mjs";

export class Adapter {
  #child;
  #told = new Map();
  #done = new Queue("about an order");
  #ended;
  #ending = false;

  constructor([program, ...args]) {
    this.#child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#tell(JSON.parse(line)));
    this.#ended = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.once("close", (code) => {
      if (this.#ending) return;
      console.log(`FAIL  the adapter has ended with ${code}`);
      process.exit(1);
    });
    this.#child.once("error", (error) => {
      console.log(`the adapter does not start: ${error.message}`);
      process.exit(2);
    });
  }

  /** Gives an order, and waits until the client has it. */
  async order(order) {
    this.#child.stdin.write(`${JSON.stringify(order)}\n`);
    await this.#done.take();
  }

  /** What is told of the connection, or of one subscription or request. Events of different ones have no order between them. */
  about(ref) {
    const key = ref ?? "";
    if (!this.#told.has(key)) this.#told.set(key, new Queue(`about ${ref ?? "the connection"}`));
    return this.#told.get(key);
  }

  /** What was told and nobody awaited. */
  get rest() {
    return [...this.#told.values()].flatMap((queue) => queue.rest);
  }

  async reset() {
    await this.order({ op: "stop" });
    this.#told.clear();
  }

  async end() {
    this.#ending = true;
    this.#child.stdin.end();
    await this.#ended;
  }

  #tell(event) {
    if (event.event === "done") return this.#done.push(event);
    // Each attempt begins so; what it comes to is what counts.
    if (event.event === "connecting") return;
    this.about(event.ref).push(event);
  }
}
