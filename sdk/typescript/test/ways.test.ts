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

test("a lesser way that has worked is left only after several failures", () => {
  assert.equal(new Walk().tries("-+----+"), "abbbbbc");
});

test("the best way, if it has worked, is not left while nobody is there", () => {
  const asked: string[] = [];
  const ways = new Ways({ transports: ["a", "b", "c"].map((name) => lands(name, asked, () => false)) });
  connect(ways);
  for (let attempt = 0; attempt < 8; attempt += 1) assert.equal(open(ways), "failed");
  assert.equal(asked.join(""), "aaaabcbc");
  assert.equal(ways.current, "a");
});

test("once somebody is there again, it is taken, in the attempt that has found that out", () => {
  const asked: string[] = [];
  let there = false;
  const ways = new Ways({ transports: ["a", "b", "c"].map((name) => lands(name, asked, () => there)) });
  connect(ways);
  for (let attempt = 0; attempt < 5; attempt += 1) assert.equal(open(ways), "failed");
  there = true;
  assert.equal(open(ways), "open");
  assert.equal(asked.join(""), "aaaabca");
  assert.equal(ways.current, "a");
});

test("where somebody is there and it does not lead there any more, another is taken", () => {
  const asked: string[] = [];
  const ways = new Ways({ transports: ["a", "b", "c"].map((name) => lands(name, asked, () => name !== "a")) });
  connect(ways);
  for (let attempt = 0; attempt < 5; attempt += 1) assert.equal(open(ways), "failed");
  assert.equal(open(ways), "open");
  assert.equal(asked.join(""), "aaaabab");
  assert.equal(ways.current, "b");
});

/** A transport that is noted when it is asked, and opens if somebody is there. */
function lands(name: string, asked: string[], there: () => boolean): Transport {
  const connection = { bufferedBytes: 0, send: () => {}, close: () => {}, abort: () => {} };
  return {
    name,
    open: (_, listener) => {
      asked.push(name);
      heard.push(() => (there() ? listener.onOpen() : listener.onFailed({ kind: "temporary", reason: "" })));
      return connection;
    },
  };
}
const heard: (() => void)[] = [];

/** It has worked once. */
function connect(ways: Ways): void {
  ways.next(0);
  ways.onEvent(0, CONNECTED);
  ways.onEvent(0, lost());
}

/** An attempt, as the driver makes it. */
function open(ways: Ways): string {
  const told: string[] = [];
  ways.next(0).open({ url: "ws://x/ws", token: null }, { onOpen: () => told.push("open"), onFailed: () => told.push("failed"), onFrame: () => {}, onClosed: () => {} });
  while (heard.length > 0) heard.shift()?.();
  ways.onEvent(0, told[0] === "open" ? CONNECTED : lost());
  return told.join();
}

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
