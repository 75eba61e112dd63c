// A state machine, its clock and its chance, and what it has said.

import assert from "node:assert/strict";
import { Core } from "../src/core/core.js";
import { DEFAULTS, type Config } from "../src/core/config.js";
import type { Output, Tokens } from "../src/core/io.js";
import type { Json } from "../src/core/types.js";

export const WELCOME = {
  type: "welcome",
  session: "0-1",
  version: 1,
  user: "ann",
  heartbeat_ms: 25_000,
  limits: { message_bytes: 65_536, channels: 128, channel_name_bytes: 200 },
};

export class Script {
  now = 1_000;
  chance = 0.5;
  readonly core: Core;

  constructor(config: Partial<Config> = {}, tokens: Tokens = { kind: "none" }) {
    this.core = new Core({ ...DEFAULTS, ...config }, tokens, () => this.chance);
  }

  static online(config: Partial<Config> = {}): Script {
    const script = new Script(config);
    script.core.connect(script.now);
    script.welcome();
    script.outputs();
    return script;
  }

  welcome(more: object = {}): void {
    this.core.onConnected(this.now);
    this.hear({ ...WELCOME, ...more });
  }

  hear(message: object | string): void {
    this.core.receive(this.now, typeof message === "string" ? message : JSON.stringify(message));
  }

  /** Everything that is sent, as JSON. */
  says(): Record<string, Json>[] {
    const said = [];
    for (let frame = this.core.pollTransmit(this.now); frame; frame = this.core.pollTransmit(this.now)) {
      assert.equal(typeof frame, "string");
      said.push(JSON.parse(frame as string));
    }
    return said;
  }

  /** The one frame that is sent, which has this type; it is answered with `ok` and these members. */
  answers(type: string, members: object): Record<string, Json> {
    const [request, ...rest] = this.says();
    assert.equal(request?.["type"], type);
    assert.deepEqual(rest, []);
    this.hear({ type: "ok", id: request["id"], ...members });
    return request;
  }

  outputs(): Output[] {
    const outputs = [];
    for (let output = this.core.pollOutput(); output; output = this.core.pollOutput()) outputs.push(output);
    return outputs;
  }

  /** What came out, in short: `e:1 data` for messages, the type for everything else. */
  shown(): string[] {
    return this.outputs().map(show);
  }

  /** Waits for the next timeout. Returns how long that was. */
  wait(): number {
    const at = this.core.pollTimeout();
    assert.ok(at !== null, "something is awaited");
    const waited = Math.max(0, at - this.now);
    this.now += waited;
    this.core.handleTimeout(this.now);
    return waited;
  }

  pass(milliseconds: number): void {
    const until = this.now + milliseconds;
    for (let at = this.core.pollTimeout(); at !== null && at <= until; at = this.core.pollTimeout()) {
      this.now = Math.max(this.now, at);
      this.core.handleTimeout(this.now);
    }
    this.now = until;
  }
}

function show(output: Output): string {
  switch (output.type) {
    case "subscription":
      return output.event.type === "message"
        ? `${output.event.message.position?.epoch ?? ""}:${output.event.message.offset} ${JSON.stringify(output.event.message.data)}`
        : output.event.type;
    case "connection":
      if (output.event.type === "disconnected") return `disconnected ${output.event.cause.kind} ${output.event.retryIn}`;
      return output.event.type === "ended" ? `ended ${output.event.ended.kind}` : output.event.type;
    case "failed":
    case "not_subscribed":
      return `${output.type} ${output.failure.kind}`;
    default:
      return output.type;
  }
}
