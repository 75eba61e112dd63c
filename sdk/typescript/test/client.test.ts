// The client as an application holds it, in a world of paper. What a client has to do on the wire is in conformance/client.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, RequestError, type ClientOptions, type Message, type SubscriptionEvent } from "../src/index.js";
import { watchPage } from "../src/environment.js";
import { address } from "../src/ways.js";
import { WELCOME } from "./script.js";
import { turn, World } from "./world.js";

const position = (offset: number) => ({ position: { epoch: "e", offset } });
const said = (offset: number, channel = "a") => ({ type: "message", channel, data: offset, offset, timestamp: 1 });

function begun(options: ClientOptions = {}) {
  const world = new World();
  return { world, client: new Client("ws://host/ws", { environment: world, WebSocket: world.WebSocket, ...options }) };
}

async function online(options: ClientOptions = {}) {
  const { world, client } = begun(options);
  await greeted(world);
  return { world, client };
}

async function greeted(world: World): Promise<void> {
  await turn();
  world.socket.opens();
  world.socket.says(WELCOME);
  await turn();
}

test("its state is what happens", async () => {
  const { world, client } = begun();
  const states: string[] = [];
  client.on("state", ({ kind }) => states.push(kind));
  assert.equal(client.state.kind, "idle");
  await greeted(world);
  assert.deepEqual([world.socket.url, world.socket.protocols], ["ws://host/ws?batch=1", ["switchboard.v1.json"]]);
  const limits = { messageBytes: 65_536, channels: 128, channelNameBytes: 200 };
  assert.deepEqual(client.state, { kind: "online", session: "0-1", user: "ann", limits, transport: "websocket" });
  world.socket.ends(1006);
  assert.deepEqual(client.state, { kind: "waiting", retryAt: world.time + 250, cause: { kind: "lost", reason: "without a word" } });
  await world.pass(250);
  world.socket.ends();
  assert.match(JSON.stringify(client.state), /cannot be reached/);
  await client.close();
  assert.deepEqual([client.state, world.timers.size, world.life], [{ kind: "ended", ended: { kind: "closed" } }, 0, null]);
  client.connect();
  await greeted(world);
  assert.deepEqual(states, ["connecting", "online", "waiting", "connecting", "waiting", "ended", "connecting", "online"]);
});

test("with startClosed nothing happens until it is asked for", async () => {
  const { world, client } = begun({ startClosed: true });
  await world.pass(60_000);
  assert.equal(world.sockets.length, 0);
  client.connect();
  await greeted(world);
  assert.equal(client.state.kind, "online");
});

test("waiting for the connection ends with it, with the client, or with a signal", async () => {
  const { world, client } = begun();
  const aborted = new AbortController();
  const late = client.connected({ signal: aborted.signal });
  aborted.abort(new Error("no time"));
  await assert.rejects(late, /no time/);
  const ready = client.connected();
  await greeted(world);
  await ready;
  await client.connected();
  world.socket.ends(4_003, "go");
  await assert.rejects(client.connected(), (error: RequestError) => error.kind === "ended" && error.message === "the server ended it: go (4003)");
});

test("requests are promises, and a signal gives them up", async () => {
  const { world, client } = await online();
  const publishing = client.publish("a", 1, { event: "said" });
  world.socket.answers("publish", { ...position(1) });
  assert.deepEqual(await publishing, { ...position(1), duplicate: false });
  const refused = client.publish("a", 1);
  world.socket.answers("publish", { type: "error", code: "conflict", message: "no", temporary: false, ...position(4) });
  await assert.rejects(refused, { code: "conflict", temporary: false, certainlyNotDone: true, ...position(4) });
  const giving = new AbortController();
  const given = client.publish("a", 1, { signal: giving.signal });
  giving.abort();
  await assert.rejects(given, { kind: "aborted", certainlyNotDone: false });
  await assert.rejects(client.publish("a", 1, { signal: AbortSignal.abort() }), { name: "AbortError" });
  await assert.rejects(client.publish("a", (() => 1) as never), { kind: "invalid" });
  await assert.rejects(client.publish("a", 1n as never), { kind: "invalid" });
  await assert.rejects(client.publish("a#", 1), { code: "bad_channel" });
  const history = client.history<number>("a", { limit: 1 });
  world.socket.answers("history", { ...position(9), publications: [{ data: 7, offset: 9, timestamp: 1 }], more: true });
  assert.deepEqual((await history).messages.map(({ data }) => data), [7]);
});

test("listeners are told what waited for them, and what they throw stops nothing", async () => {
  const { world, client } = await online();
  const subscription = client.subscribe<number>("a", { presence: true });
  world.socket.answers("subscribe", { ...position(0), users: [{ user: "ann", connections: 1 }] });
  assert.deepEqual((await subscription.ready).users, [{ user: "ann", connections: 1 }]);
  world.socket.says(said(1));
  world.socket.says(said(2));
  assert.deepEqual(subscription.position, { epoch: "e", offset: 0 });
  const told: unknown[] = [];
  const thrown: string[] = [];
  const platform = globalThis as { reportError?: (error: Error) => void };
  platform.reportError = ({ message }) => thrown.push(message);
  subscription.on("message", () => {
    if (thrown.length === 0) throw new Error("the application's own");
  });
  const off = subscription.on("message", ({ data }: Message<number>) => told.push(data));
  subscription.on("join", ({ member }) => told.push(member));
  await turn();
  world.socket.says(said(3));
  world.socket.says({ type: "join", channel: "a", user: "bob", info: { x: 1 } });
  off();
  world.socket.says(said(4));
  delete platform.reportError;
  assert.deepEqual(told, [1, 2, 3, { user: "bob", info: { x: 1 } }]);
  assert.deepEqual([thrown, subscription.position], [["the application's own"], { epoch: "e", offset: 4 }]);
});

test("a loop takes every event, and ends with the subscription", async () => {
  const { world, client } = await online();
  const subscription = client.subscribe("a");
  world.socket.answers("subscribe", position(0));
  const events: SubscriptionEvent["type"][] = [];
  const reading = (async () => {
    for await (const event of subscription) events.push(event.type);
  })();
  world.socket.says(said(1));
  await turn();
  world.socket.says({ type: "gap", channel: "a", from: 2, to: 3 });
  world.socket.says({ type: "unsubscribed", channel: "a", code: "permission_denied" });
  await reading;
  assert.deepEqual([events, subscription.closed], [["message", "gap", "unsubscribed"], true]);
  const other = client.subscribe<number>("b");
  world.socket.answers("subscribe", position(0));
  world.socket.says(said(1, "b"));
  for await (const { data } of other.messages()) {
    assert.equal(data, 1);
    other.unsubscribe();
  }
  assert.equal(world.socket.requests.at(-1).type, "unsubscribe");
});

test("a subscription that nobody reads is stopped, and resumed when it is read", async () => {
  const { world, client } = await online({ inboxEventsMax: 4 });
  const subscription = client.subscribe<number>("a");
  world.socket.answers("subscribe", position(0));
  for (let offset = 1; offset <= 6; offset += 1) world.socket.says(said(offset));
  assert.deepEqual(world.socket.requests.map(({ type }) => type), ["subscribe", "unsubscribe"]);
  const told: number[] = [];
  subscription.on("message", ({ data }) => told.push(data));
  await turn();
  assert.deepEqual(world.socket.answers("subscribe", { ...position(6), recovered: true }).since, { epoch: "e", offset: 4 });
  for (const offset of [5, 6]) world.socket.says(said(offset));
  assert.deepEqual(told, [1, 2, 3, 4, 5, 6]);
});

test("a signal ends a subscription, and so does the application", async () => {
  const { world, client } = await online();
  const ending = new AbortController();
  const subscription = client.subscribe("a", { signal: ending.signal });
  world.socket.answers("subscribe", position(0));
  ending.abort();
  assert.deepEqual(world.socket.requests.at(-1), { type: "unsubscribe", channel: "a" });
  subscription.unsubscribe();
  assert.throws(() => (client.subscribe("b"), client.subscribe("b")), { kind: "already_subscribed" });
  assert.throws(() => client.subscribe("c", { signal: AbortSignal.abort() }), { name: "AbortError" });
  const bad = client.subscribe("d#");
  await assert.rejects(bad.ready, { code: "bad_channel" });
  assert.ok(bad.closed);
});

test("bytes are sent and received as bytes", async () => {
  const { world, client } = await online();
  const publishing = client.publish("cam", Uint8Array.of(0, 255));
  const [frame] = world.socket.sent.slice(-1) as [Uint8Array];
  assert.deepEqual([...frame.subarray(-2)], [0, 255]);
  world.socket.says({ type: "ok", id: JSON.parse(new TextDecoder().decode(frame.subarray(2, -2))).id, ...position(1) });
  await publishing;
  const subscription = client.subscribe("cam");
  world.socket.answers("subscribe", position(1));
  world.socket.says({ ...said(2, "cam"), data: "AP8=", encoding: "base64" });
  for await (const { data } of subscription.messages()) {
    assert.deepEqual(data, Uint8Array.of(0, 255));
    break;
  }
});

test("what the socket cannot take yet waits in the bounded queue", async () => {
  const { world, client } = await online({ queueRequestsMax: 1 });
  world.socket.bufferedAmount = 2_000_000;
  const waiting = client.publish("a", 1);
  await assert.rejects(client.publish("a", 2), { kind: "queue_full" });
  assert.equal(world.socket.sent.length, 0);
  world.socket.bufferedAmount = 0;
  await world.pass(20);
  world.socket.answers("publish", position(1));
  await waiting;
});

test("time that was slept is noticed by the next timer, and a clock that is set back does no harm", async () => {
  const { world } = await online();
  world.skew = -3_600_000;
  await world.pass(20_000);
  assert.deepEqual(world.socket.requests, []);
  world.skew += 600_000;
  await world.pass(10_000);
  assert.deepEqual(world.socket.requests, [{ type: "ping" }]);
});

test("a page's life is followed: seen again, offline, put away and brought back", async () => {
  const { world, client } = await online();
  const page = Object.assign(new EventTarget(), { document: Object.assign(new EventTarget(), { visibilityState: "hidden" }) });
  const stop = watchPage(world.life!, page);
  const happens = (target: EventTarget, type: string, persisted = false) => target.dispatchEvent(Object.assign(new Event(type), { persisted }));
  happens(page.document, "visibilitychange");
  happens(page, "pagehide");
  assert.deepEqual(world.socket.requests, []);
  page.document.visibilityState = "visible";
  happens(page.document, "visibilitychange");
  assert.deepEqual(world.socket.requests, [{ type: "ping" }]);
  world.socket.says({ type: "pong" });
  happens(page, "offline");
  assert.equal(world.socket.requests.length, 2);
  world.socket.says({ type: "pong" });
  happens(page, "pagehide", true);
  assert.deepEqual([client.state.kind, world.socket.closedWith], ["suspended", 1000]);
  await world.pass(600_000);
  assert.equal(world.sockets.length, 1);
  happens(page, "pageshow", true);
  await greeted(world);
  assert.equal(client.state.kind, "online");
  world.socket.ends();
  happens(page, "online");
  assert.equal(world.sockets.length, 3, "the network is back: the next attempt does not wait");
  stop();
});

test("addresses", () => {
  const table: [string, string][] = [
    ["ws://host/ws", "ws://host/ws"],
    ["https://host/ws/key?x=1#part", "wss://host/ws/key?x=1"],
    ["http://host:80/ws", "ws://host/ws"],
  ];
  for (const [given, expected] of table) assert.equal(address(given), expected);
  for (const bad of ["ftp://host/", "/ws", ""]) assert.throws(() => address(bad), TypeError);
  const Refusing = class {
    constructor() {
      throw new SyntaxError("no such address");
    }
  };
  const client = new Client("ws://host/ws", { WebSocket: Refusing as never, environment: new World() });
  return assert.rejects(client.connected(), /cannot connect: no such address/);
});
