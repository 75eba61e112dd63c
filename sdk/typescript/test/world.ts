// A world of paper: its clock, its timers, its chance and its sockets are written down here.

import assert from "node:assert/strict";
import type { Environment, Life } from "../src/environment.js";
import type { WebSocketLike } from "../src/transports/websocket.js";

export class World implements Environment {
  time = 1_700_000_000_000;
  /** By how much the clock differs from the time by which timers run. */
  skew = 0;
  chance = 0.5;
  life: Life | null = null;
  readonly sockets: PaperSocket[] = [];
  readonly timers = new Map<number, { readonly at: number; readonly run: () => void }>();
  private names = 0;

  /** To be given as the class of WebSockets. */
  get WebSocket(): new (url: string, protocols?: string | string[]) => PaperSocket {
    const { sockets } = this;
    return class extends PaperSocket {
      constructor(url: string, protocols?: string | string[]) {
        super(url, protocols);
        sockets.push(this);
      }
    };
  }

  now = () => this.time + this.skew;
  random = () => this.chance;

  after(milliseconds: number, run: () => void): number {
    this.timers.set(++this.names, { at: this.time + milliseconds, run });
    return this.names;
  }

  cancel(timer: unknown): void {
    this.timers.delete(timer as number);
  }

  watch(life: Life): () => void {
    this.life = life;
    return () => {
      if (this.life === life) this.life = null;
    };
  }

  /** Lets time pass, timer by timer. */
  async pass(milliseconds: number): Promise<void> {
    const until = this.time + milliseconds;
    for (;;) {
      const [next] = [...this.timers].filter(([, { at }]) => at <= until).sort(([, one], [, other]) => one.at - other.at);
      if (!next) break;
      const [name, { at, run }] = next;
      this.timers.delete(name);
      this.time = Math.max(this.time, at);
      run();
      await turn();
    }
    this.time = until;
    await turn();
  }

  /** How long until the next timer. */
  get next(): number {
    return Math.min(...[...this.timers.values()].map(({ at }) => at)) - this.time;
  }

  get socket(): PaperSocket {
    const last = this.sockets.at(-1);
    assert.ok(last, "a socket was opened");
    return last;
  }
}

export class PaperSocket implements WebSocketLike {
  binaryType = "blob";
  bufferedAmount = 0;
  readyState = 0;
  onopen: WebSocketLike["onopen"] = null;
  onmessage: WebSocketLike["onmessage"] = null;
  onclose: WebSocketLike["onclose"] = null;
  onerror: WebSocketLike["onerror"] = null;
  readonly sent: (string | Uint8Array)[] = [];
  closedWith: number | null = null;

  constructor(
    readonly url: string,
    readonly protocols?: string | string[],
  ) {}

  send(data: string | Uint8Array): void {
    assert.equal(this.readyState, 1);
    this.sent.push(data);
  }

  close(code = 1005): void {
    this.closedWith = code;
    this.readyState = 2;
  }

  opens(): void {
    this.readyState = 1;
    this.onopen?.({});
  }

  says(message: object | string): void {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  ends(code = 1006, reason = ""): void {
    this.readyState = 3;
    this.onclose?.({ code, reason, wasClean: code !== 1006 });
  }

  /** What was sent as text, as JSON. */
  get requests(): any[] {
    return this.sent.filter((frame) => typeof frame === "string").map((frame) => JSON.parse(frame));
  }

  /** Takes the last frame sent, which must be of this type, and answers it. */
  answers(type: string, answer: object): any {
    const request = this.requests.at(-1);
    assert.equal(request?.type, type);
    this.says({ type: "ok", id: request.id, ...answer });
    return request;
  }
}

/** Lets everything happen that waits for nothing. */
export const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
