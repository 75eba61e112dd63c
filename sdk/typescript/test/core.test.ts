// What the client decides, with a clock and a chance that the test holds. What can be seen from outside is in conformance/client; this is
// what takes time there, or a page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { matches } from "../src/core/subscriptions.js";
import { decode, encode, sizeOf, whyNoChannel } from "../src/core/wire.js";
import { Script } from "./script.js";

const position = (offset: number, epoch = "e") => ({ position: { epoch, offset } });
const message = (channel: string, offset: number, more: object = {}) => ({ type: "message", channel, data: offset, offset, timestamp: 1, ...more });

test("attempts back off, doubling up to a cap, with full jitter, and begin anew after a connection that lasted", () => {
  const script = Script.online();
  script.chance = 0.999_999;
  const delays: number[] = [];
  for (let attempt = 0; attempt < 8; attempt += 1) {
    script.core.onClosed(script.now, null, "reset");
    delays.push(script.wait());
    script.welcome();
  }
  assert.deepEqual(delays.map(Math.round), [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
  script.chance = 0;
  script.core.onClosed(script.now, null, "reset");
  assert.equal(script.wait(), 0, "the jitter is full");
  script.welcome();
  script.pass(10_000);
  script.chance = 0.5;
  script.core.onClosed(script.now, null, "reset");
  assert.equal(script.wait(), 250);
});

test("the server's after_ms is honoured to the letter, and only the application shortens it", () => {
  const script = Script.online();
  script.hear({ type: "disconnect", code: 1001, reason: "restarting", reconnect: true, after_ms: 3_000 });
  assert.deepEqual(script.shown(), ["close", "disconnected by_server 3000"]);
  script.core.wake(script.now);
  script.pass(2_999);
  assert.deepEqual(script.shown(), []);
  script.pass(1);
  assert.deepEqual(script.shown(), ["connecting", "connect"]);
  const hasty = Script.online();
  hasty.hear({ type: "disconnect", code: 1001, reason: "", reconnect: true, after_ms: 1e12 });
  assert.deepEqual(hasty.shown(), ["close", "disconnected by_server 3600000"], "nobody is sent away for years");
  hasty.core.connect(hasty.now);
  assert.deepEqual(hasty.shown(), ["connecting", "connect"]);
});

test("a server that always wants to be asked at once is not asked without end", () => {
  const script = Script.online();
  const disconnect = (after: number): number => {
    script.hear({ type: "disconnect", code: 1012, reason: "restart", reconnect: true, after_ms: after });
    return script.wait();
  };
  const waited: number[] = [];
  for (let number = 0; number < 200; number += 1) {
    waited.push(disconnect(0));
    script.welcome();
  }
  assert.equal(waited[0], 0, "once it is taken at its word");
  assert.ok(waited.reduce((sum, wait) => sum + wait) > 200_000, waited.join());
  // After a connection that lasted, its word counts again.
  script.pass(10_000);
  assert.equal(disconnect(300), 300);
  // And where it says more than the backoff, that is what is waited.
  script.welcome();
  assert.equal(disconnect(7_200_000), 3_600_000, "but no longer than an hour");
});

test("silence is answered by a question, and then by giving the server up", () => {
  const script = Script.online();
  script.pass(29_999);
  assert.deepEqual(script.says(), []);
  script.pass(1);
  assert.deepEqual(script.says(), [{ type: "ping" }]);
  script.pass(4_000);
  script.hear({ type: "pong" });
  script.pass(29_999);
  assert.deepEqual(script.shown(), []);
  script.pass(5_001);
  assert.deepEqual(script.shown(), ["abort", "disconnected silent 250"]);
});

test("who wakes looks at once whether the connection lives", () => {
  const script = Script.online();
  script.core.wake(script.now);
  script.core.wake(script.now);
  assert.deepEqual(script.says(), [{ type: "ping" }], "one question is enough");
  script.pass(5_000);
  assert.deepEqual(script.shown(), ["abort", "disconnected silent 250"]);
  script.core.wake(script.now);
  assert.deepEqual(script.shown(), ["connecting", "connect"], "what waited does not wait any longer");
});

test("after an hour of sleep the server has time to answer", () => {
  const script = Script.online();
  script.now += 3_600_000;
  script.core.handleTimeout(script.now);
  script.core.handleTimeout(script.now);
  assert.deepEqual([script.says(), script.shown()], [[{ type: "ping" }], []]);
  script.now += 4_000;
  script.hear({ type: "pong" });
  script.core.handleTimeout(script.now);
  assert.deepEqual(script.shown(), []);
});

test("a page that sleeps gives its connection up, and resumes when it wakes", () => {
  const script = Script.online();
  script.core.subscribe({ channel: "a" });
  script.answers("subscribe", position(3));
  script.outputs();
  script.core.suspend(script.now);
  assert.deepEqual(script.shown(), ["close", "suspended"]);
  script.pass(3_600_000);
  assert.deepEqual(script.shown(), []);
  script.core.wake(script.now);
  script.welcome();
  assert.deepEqual(script.answers("subscribe", { ...position(5), recovered: true })["since"], { epoch: "e", offset: 3 });
  assert.deepEqual(script.shown(), ["connecting", "connect", "connected", "recovered"]);
});

test("attempts that lead nowhere are given up in time", () => {
  const script = new Script();
  script.core.connect(script.now);
  script.pass(10_000);
  assert.deepEqual(script.shown(), ["connecting", "connect", "abort", "disconnected connect 250"]);
  script.wait();
  script.core.onConnected(script.now);
  script.pass(10_000);
  assert.deepEqual(script.shown(), ["connecting", "connect", "abort", "disconnected no_answer 500"]);
});

test("requests have bounds: in number, in bytes, in time, and on their way", () => {
  const full = new Script({ queueRequestsMax: 2 });
  const ask = (script: Script) => script.core.request(script.now, { type: "presence", channel: "a" });
  ask(full);
  ask(full);
  assert.throws(() => ask(full), { kind: "queue_full", certainlyNotDone: true });
  const newest = new Script({ queueRequestsMax: 2, queueOverflow: "drop-oldest" });
  for (let count = 0; count < 3; count += 1) ask(newest);
  assert.deepEqual(newest.shown(), ["failed dropped"]);
  const large = new Script({ queueBytesMax: 100 });
  const data = "☃".repeat(40);
  assert.throws(() => large.core.request(large.now, { type: "publish", channel: "a", data }), { kind: "queue_full" });
  newest.pass(60_000);
  assert.deepEqual(newest.shown(), ["failed not_sent", "failed not_sent"]);
  const online = Script.online({ inFlightMax: 2 });
  for (let count = 0; count < 3; count += 1) ask(online);
  const said = online.says();
  assert.equal(said.length, 2);
  online.hear({ type: "ok", id: said[0]?.["id"], users: [], connections: 0 });
  assert.equal(online.says().length, 1);
  online.pass(10_000);
  assert.deepEqual(online.shown(), ["answer", "failed timed_out", "failed timed_out"]);
  assert.throws(() => online.core.request(online.now, { type: "publish", channel: "a", data: "x".repeat(65_536) }), { kind: "too_large" });
});

test("what an application aborts is not sent, or not waited for", () => {
  const script = new Script();
  const waiting = script.core.request(script.now, { type: "publish", channel: "a", data: 1 });
  script.core.abort(waiting);
  script.core.abort(waiting);
  const outputs = script.outputs();
  assert.deepEqual(outputs, [{ type: "failed", id: waiting, failure: { kind: "aborted", sent: false } }]);
  const online = Script.online();
  const sent = online.core.request(online.now, { type: "publish", channel: "a", data: 1 });
  const [request] = online.says();
  online.core.abort(sent);
  online.hear({ type: "ok", id: request?.["id"], ...position(1) });
  assert.deepEqual(online.outputs(), [{ type: "failed", id: sent, failure: { kind: "aborted", sent: true } }]);
});

test("patterns: who shows what, and what a reconnection says", () => {
  const script = Script.online();
  script.core.subscribe({ pattern: "a/+" });
  script.answers("subscribe", { pattern: "a/+" });
  script.core.subscribe({ channel: "a/named" });
  script.answers("subscribe", position(0));
  script.outputs();
  script.hear(message("a/b", 7));
  script.hear(message("a/b/c", 8));
  script.hear(message("a/named", 1));
  assert.deepEqual(script.shown(), [":7 7", "e:1 1"]);
  script.core.onClosed(script.now, null, "");
  script.wait();
  script.welcome();
  const [again] = script.says();
  assert.equal(again?.["pattern"], "a/+");
  script.outputs();
  script.hear({ type: "ok", id: again["id"], pattern: "a/+" });
  assert.deepEqual(script.shown(), ["lost"]);
  script.hear({ type: "unsubscribed", pattern: "a/+", code: "permission_denied" });
  assert.deepEqual(script.shown(), ["unsubscribed"]);
});

test("which channels a pattern stands for", () => {
  const table: [string, string[], string[]][] = [
    ["sensors/+/temp", ["sensors/7/temp"], ["sensors/temp", "sensors/7/8/temp", "sensors/7/humidity"]],
    ["sensors/#", ["sensors", "sensors/7", "sensors/7/temp"], ["sensor", "sensorsx"]],
    ["#", ["a", "a/b"], ["$sys"]],
    ["+", ["a"], ["a/b", "$sys"]],
    ["$sys/#", ["$sys", "$sys/a"], []],
  ];
  for (const [pattern, yes, no] of table) {
    for (const channel of yes) assert.ok(matches(pattern, channel), `${pattern} ${channel}`);
    for (const channel of no) assert.ok(!matches(pattern, channel), `${pattern} ${channel}`);
  }
});

test("a token is fetched for each connection, and three fresh ones that are refused are enough", () => {
  const script = new Script({}, { kind: "fresh" });
  script.core.connect(script.now);
  for (let attempt = 0; attempt < 3; attempt += 1) {
    assert.deepEqual(script.shown(), ["connecting", "fetch_token"]);
    script.core.onToken(script.now, { token: `T${attempt}` });
    assert.deepEqual(script.shown(), ["connect"]);
    script.welcome({ user: null });
    const [said] = script.says();
    assert.deepEqual([said?.["type"], said?.["token"]], ["authenticate", `T${attempt}`]);
    script.hear({ type: "error", id: said?.["id"], code: "bad_token", message: "no", temporary: false });
    if (attempt < 2) assert.match(script.shown().join(), /^close,disconnected token/);
    else assert.deepEqual(script.shown(), ["close", "ended unauthorized"]);
    if (attempt < 2) script.wait();
  }
});

test("frames are read and written as the protocol has them", () => {
  const frame = encode({ type: "publish", channel: "cam" }, Uint8Array.of(0, 255, 16)) as Uint8Array;
  assert.deepEqual(decode(frame), { type: "publish", channel: "cam", data: Uint8Array.of(0, 255, 16) });
  assert.deepEqual([frame[0], frame[1]], [0, frame.length - 5]);
  for (const bad of [[], [0], [0, 5, 123], [0, 2, 91, 93], [0, 1, 255]]) assert.throws(() => decode(Uint8Array.from(bad)), `${bad}`);
  for (const bad of ["", "[]", "{", "1", "{}", '{"type":1}']) assert.throws(() => decode(bad), bad);
  for (const text of ["", "a", "é", "☃", "😀", "a😀é☃"]) assert.equal(sizeOf(text), new TextEncoder().encode(text).length, text);
  for (const bad of ["", "a+", "#", "a\nb", "x".repeat(201)]) assert.ok(whyNoChannel(bad) !== null, bad);
  assert.equal(whyNoChannel("room:lobby/é"), null);
});

test("nonsense ends the connection, whatever it is", () => {
  const nonsense = [
    "[]",
    { type: "message", channel: "a", data: 1 },
    { type: "message", channel: "a", offset: 2 },
    { type: "message", channel: "a", offset: 2, data: "☃", encoding: "base64" },
    { type: "message", channel: ["a"], offset: 2, data: 1 },
    { type: "batch", messages: 7 },
    { type: "batch", messages: [null] },
    { type: "gap", channel: "a" },
  ];
  for (const one of nonsense) {
    const script = Script.online();
    script.core.subscribe({ channel: "a" });
    script.answers("subscribe", position(1));
    script.outputs();
    script.hear(one);
    assert.deepEqual(script.shown(), ["close", "disconnected protocol 250"], JSON.stringify(one));
  }
  for (const users of [7, [null], [{}]]) {
    const script = Script.online();
    script.core.subscribe({ channel: "a" });
    script.answers("subscribe", { ...position(1), users });
    assert.deepEqual(script.shown(), ["close", "disconnected protocol 250"]);
  }
});
