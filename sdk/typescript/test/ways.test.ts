// Which way to the server the next attempt takes.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConnectionEvent } from "../src/index.js";
import type { Cause } from "../src/core/errors.js";
import type { Transport } from "../src/transports/transport.js";
import { Ways } from "../src/ways.js";

const transport = (name: string): Transport => ({ name, open: () => assert.fail("nobody connects here") });
const CONNECTED: ConnectionEvent = { type: "connected", session: "", user: null, limits: { messageBytes: 1, channels: 1, channelNameBytes: 1 } };
const lost = (cause: Cause = { kind: "connect", reason: "" }): ConnectionEvent => ({ type: "disconnected", cause, retryIn: 0 });

class Walk {
  now = 0;
  readonly ways = new Ways({ transports: ["a", "b", "c"].map(transport) });

  /** Attempts, each with what becomes of it: `+` connects and is lost later, `-` does not connect. Returns the ways taken. */
  tries(outcomes: string): string {
    return [...outcomes]
      .map((outcome) => {
        const { name } = this.ways.next(this.now);
        if (outcome === "+") this.ways.onEvent(this.now, CONNECTED);
        this.ways.onEvent(this.now, lost());
        return name;
      })
      .join("");
  }
}

test("what has never worked is left at once, in a circle", () => {
  assert.equal(new Walk().tries("-------"), "abcabca");
});

test("what has worked is left only after several failures, and is the first to be tried again", () => {
  assert.equal(new Walk().tries("+----+-++"), "aaaaabaaa");
});

test("a way that works is kept for a while, then the best gets another chance", () => {
  const walk = new Walk();
  assert.equal(walk.tries("-+++"), "abbb");
  walk.now += 300_000;
  assert.equal(walk.tries("-+"), "ab");
  walk.now += 300_000;
  assert.equal(walk.tries("++"), "aa");
});

test("what the server says is no fault of the way", () => {
  const { ways } = new Walk();
  for (const cause of [{ kind: "by_server", code: 4102, reason: "" }, { kind: "token", reason: "" }, { kind: "protocol", reason: "" }] as const) {
    ways.next(0);
    ways.onEvent(0, lost(cause));
  }
  assert.equal(ways.next(0).name, "a");
});

test("without a WebSocket the others are there, and without any way that is said", () => {
  assert.equal(new Ways({}).next(0).name, "WebSocket" in globalThis ? "websocket" : "stream");
  assert.equal(new Ways({ transports: ["poll"] }).current, "poll");
  assert.throws(() => new Ways({ transports: [] }), TypeError);
});
