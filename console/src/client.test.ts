// The client against a server of paper: every frame, every timer and every chance is written down here.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BACKOFF_MS_BASE, BACKOFF_MS_MAX, Client, TokenError, type ClientOptions, type Environment, type Socket, type State } from "./client";
import { decode, encodeBinary, mayReconnect } from "./protocol";

class PaperSocket implements Socket {
  binaryType = "";
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  closed = false;
  sent: any[] = [];
  constructor(readonly url: string) {}
  send(data: string | Uint8Array<ArrayBuffer>) {
    this.sent.push(typeof data === "string" ? JSON.parse(data) : data);
  }
  close() {
    this.closed = true;
  }
  says(message: object) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  ends(code: number, reason = "") {
    this.onclose?.({ code, reason });
  }
  /** Takes the last frame sent, which must be of this type, and answers it. */
  answers(type: string, answer: object) {
    const request = this.sent.at(-1);
    assert.equal(request.type, type);
    this.says({ id: request.id, ...answer });
    return request;
  }
}

class Paper implements Environment {
  time = 1_000_000;
  chance = 0.5;
  sockets: PaperSocket[] = [];
  timers = new Map<number, { at: number; run: () => void }>();
  private names = 0;
  open(url: string, protocols: string[]) {
    assert.deepEqual(protocols, ["switchboard.v1.json"]);
    const socket = new PaperSocket(url);
    this.sockets.push(socket);
    return socket;
  }
  now = () => this.time;
  random = () => this.chance;
  after(milliseconds: number, run: () => void) {
    this.timers.set(++this.names, { at: this.time + milliseconds, run });
    return this.names;
  }
  cancel(timer: unknown) {
    this.timers.delete(timer as number);
  }
  async pass(milliseconds: number) {
    this.time += milliseconds;
    for (const [name, { at, run }] of [...this.timers]) {
      if (at <= this.time && this.timers.delete(name)) run();
    }
    await turn();
  }
  get socket(): PaperSocket {
    const last = this.sockets.at(-1);
    assert.ok(last, "a socket was opened");
    return last;
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const WELCOME = { type: "welcome", session: "0-1", version: 1, user: "guest-0-1", heartbeat_ms: 25_000 };

async function connected(options: Partial<ClientOptions> = {}) {
  const world = new Paper();
  const states: State[] = [];
  const client = new Client({ url: "ws://host/ws", environment: world, onState: (state) => states.push(state), ...options });
  client.connect();
  await turn();
  world.socket.says(WELCOME);
  await turn();
  return { world, client, states };
}

async function comesBack(world: Paper) {
  await world.pass(BACKOFF_MS_MAX);
  world.socket.says(WELCOME);
  await turn();
}

test("a guest is welcomed", async () => {
  const { client, world } = await connected();
  assert.deepEqual(client.state, { kind: "open", session: "0-1", user: "guest-0-1", limits: undefined });
  assert.deepEqual(world.socket.sent, []);
});

test("a token is sent in the first message, and its user is who we are", async () => {
  const { client, world } = await connected({ token: async () => "T" });
  assert.deepEqual(client.state, { kind: "connecting", attempt: 0 });
  assert.equal(world.socket.answers("authenticate", { type: "ok", user: "ann" }).token, "T");
  await turn();
  assert.deepEqual(client.state, { kind: "open", session: "0-1", user: "ann", limits: undefined });
});

test("a refused token stops, in words", async () => {
  const { client, world } = await connected({ token: async () => "T" });
  world.socket.answers("authenticate", { type: "error", code: "bad_token", message: "the token is expired", temporary: false });
  await turn();
  assert.deepEqual(client.state, { kind: "stopped", why: "the token was refused: the token is expired" });
  assert.ok(world.socket.closed);
  assert.equal(world.timers.size, 0);
});

test("a token that cannot be had now is tried again, one that is refused for good is not", async () => {
  const world = new Paper();
  const failing = new Client({ url: "ws://host/ws", environment: world, token: () => Promise.reject(new Error("no answer")) });
  failing.connect();
  await turn();
  assert.ok(failing.state.kind === "waiting" && failing.state.why === "no answer");
  const refused = new Client({ url: "ws://host/ws", environment: world, token: () => Promise.reject(new TokenError("403")) });
  refused.connect();
  await turn();
  assert.deepEqual(refused.state, { kind: "stopped", why: "403" });
});

test("an application that wants a token is not waited for", async () => {
  const world = new Paper();
  const client = new Client({ url: "ws://host/ws", environment: world });
  client.connect();
  await turn();
  world.socket.says({ ...WELCOME, user: null });
  await turn();
  assert.deepEqual(client.state, { kind: "stopped", why: "this application wants a token" });
});

test("it resumes from the last message that it processed, in order and without doubles", async () => {
  const { client, world } = await connected();
  const seen: string[] = [];
  client.subscribe("room", {
    onMessage: ({ data, offset }) => seen.push(`${offset} ${data}`),
    onStart: (position, resumed) => seen.push(`start ${position.offset} ${resumed}`),
    onCaughtUp: (missed) => seen.push(`caught up ${missed}`),
    onHistoryLost: (since) => seen.push(`lost ${since.offset}`),
  });
  assert.equal(world.socket.answers("subscribe", { type: "ok", channel: "room", position: { epoch: "e", offset: 4 } }).since, undefined);
  world.socket.says({ type: "message", channel: "room", data: "a", offset: 5, timestamp: 1 });
  world.socket.says({ type: "message", channel: "elsewhere", data: "x", offset: 9, timestamp: 1 });
  world.socket.ends(1006);
  await comesBack(world);
  const request = world.socket.answers("subscribe", { type: "ok", channel: "room", position: { epoch: "e", offset: 7 }, recovered: true });
  assert.deepEqual(request.since, { epoch: "e", offset: 5 });
  for (const offset of [6, 6, 7]) world.socket.says({ type: "message", channel: "room", data: "b", offset, timestamp: 1 });
  world.socket.says({ type: "caught_up", channel: "room" });
  world.socket.says({ type: "batch", messages: [{ type: "message", channel: "room", data: "c", offset: 8, timestamp: 1 }] });
  world.socket.ends(1006);
  await comesBack(world);
  world.socket.answers("subscribe", { type: "ok", channel: "room", position: { epoch: "f", offset: 1 }, recovered: false });
  world.socket.says({ type: "message", channel: "room", data: "d", offset: 2, timestamp: 1 });
  assert.deepEqual(seen, ["start 4 false", "5 a", "start 7 true", "6 b", "7 b", "caught up 2", "8 c", "lost 8", "start 1 false", "2 d"]);
});

test("a connection that breaks during a replay resumes from where the replay stood", async () => {
  const { client, world } = await connected();
  const subscription = client.subscribe("room", {}, { epoch: "e", offset: 1 });
  world.socket.answers("subscribe", { type: "ok", position: { epoch: "e", offset: 9 }, recovered: true });
  world.socket.says({ type: "message", channel: "room", data: 0, offset: 2, timestamp: 1 });
  world.socket.ends(1006);
  assert.deepEqual(subscription.position, { epoch: "e", offset: 2 });
  await comesBack(world);
  assert.deepEqual(world.socket.sent.at(-1).since, { epoch: "e", offset: 2 });
});

test("a gap moves the position and is told", async () => {
  const { client, world } = await connected();
  const gaps: number[][] = [];
  const subscription = client.subscribe("room", { onGap: (...gap) => gaps.push(gap) });
  world.socket.answers("subscribe", { type: "ok", position: { epoch: "e", offset: 1 } });
  world.socket.says({ type: "gap", channel: "room", from: 2, to: 6 });
  assert.deepEqual([gaps, subscription.position], [[[2, 6]], { epoch: "e", offset: 6 }]);
});

test("presence follows joins and leaves, and a client without the right goes on without", async () => {
  const { client, world } = await connected();
  const seen: string[] = [];
  const onMembers = (members: { user: string }[] | null, change?: { kind: string }) =>
    seen.push(`${change?.kind ?? "all"} ${members?.map(({ user }) => user)}`);
  client.subscribe("room", { presence: true, onMembers });
  world.socket.answers("subscribe", { type: "ok", position: { epoch: "e", offset: 0 }, users: [{ user: "ann", connections: 1 }] });
  world.socket.says({ type: "join", channel: "room", user: "bob" });
  world.socket.says({ type: "leave", channel: "room", user: "ann" });
  client.subscribe("secret", { presence: true, onMembers });
  assert.equal(world.socket.answers("subscribe", { type: "error", code: "permission_denied", message: "no" }).presence, true);
  assert.equal(world.socket.answers("subscribe", { type: "ok", position: { epoch: "e", offset: 0 } }).presence, undefined);
  assert.deepEqual(seen, ["all ann", "join ann,bob", "leave bob", "all undefined"]);
});

test("backoff doubles up to a cap, with full jitter, and begins anew after a good connection", async () => {
  const { client, world } = await connected();
  const delays: number[] = [];
  const next = async () => {
    world.socket.ends(1006);
    assert.ok(client.state.kind === "waiting");
    delays.push(client.state.retryAt - world.time);
    await world.pass(client.state.retryAt - world.time);
  };
  world.chance = 0.999_999;
  for (let count = 0; count < 8; count += 1) await next();
  const doubled = delays.map((_, attempt) => Math.min(BACKOFF_MS_MAX, BACKOFF_MS_BASE * 2 ** attempt));
  delays.forEach((delay, index) => assert.ok(Math.abs(delay - doubled[index]!) < 1, `${delay}`));
  world.chance = 0;
  await next();
  assert.equal(delays.at(-1), 0, "the jitter is full");
  world.socket.says(WELCOME);
  await turn();
  await world.pass(5_000);
  world.chance = 0.5;
  await next();
  assert.equal(delays.at(-1), BACKOFF_MS_BASE / 2);
});

test("what the server says about reconnecting is heeded", async () => {
  const restart = await connected();
  restart.world.socket.says({ type: "disconnect", code: 1001, reason: "shutting down", reconnect: true, after_ms: 3_000 });
  restart.world.socket.ends(1001, "shutting down");
  assert.deepEqual(restart.client.state, {
    kind: "waiting",
    retryAt: restart.world.time + 3_000,
    attempt: 1,
    why: "closed by the server (1001: shutting down)",
  });
  const kicked = await connected();
  kicked.world.socket.says({ type: "disconnect", code: 4003, reason: "disconnected by the application", reconnect: false });
  kicked.world.socket.ends(4003, "disconnected by the application");
  assert.equal(kicked.client.state.kind, "stopped");
  const expired = await connected({ token: async () => null });
  expired.world.socket.says({ type: "disconnect", code: 4002, reason: "the token expired", reconnect: false });
  expired.world.socket.ends(4002);
  assert.equal(expired.client.state.kind, "waiting", "a fresh token can be had");
});

test("close codes without a word before them", () => {
  for (const code of [1000, 1001, 1006, 1011, 4100, 4101, 4102, 4199]) assert.equal(mayReconnect(code), true, `${code}`);
  for (const code of [1002, 1007, 1009, 4000, 4001, 4003, 4099]) assert.equal(mayReconnect(code), false, `${code}`);
});

test("a silent connection is taken for dead after the heartbeat and ten seconds", async () => {
  const { client, world } = await connected();
  await world.pass(34_999);
  world.socket.says({ type: "ping" });
  assert.deepEqual(world.socket.sent, [{ type: "pong" }]);
  await world.pass(34_999);
  assert.deepEqual(client.state, { kind: "open", session: "0-1", user: "guest-0-1", limits: undefined });
  await world.pass(1);
  assert.ok(client.state.kind === "waiting" && client.state.why === "nothing was heard for 35 s");
  assert.ok(world.socket.closed);
});

test("requests are answered by their own answers, in any order, and fail with the connection", async () => {
  const { client, world } = await connected();
  const one = client.publish("room", "a");
  const two = client.publish("room", "b");
  const [first, second] = world.socket.sent;
  world.socket.says({ type: "error", id: second.id, code: "rate_limited", message: "slow down", temporary: true });
  world.socket.says({ type: "ok", id: first.id, position: { epoch: "e", offset: 3 } });
  world.socket.says({ type: "ok", id: 1 });
  assert.deepEqual(await one, { epoch: "e", offset: 3 });
  await assert.rejects(two, { code: "rate_limited", temporary: true });
  const three = client.publish("room", "c");
  world.socket.ends(1006);
  await assert.rejects(three, /the connection broke/);
  await assert.rejects(client.publish("room", "d"), /not connected/);
});

test("a token that expires soon is renewed on the same connection", async () => {
  let tokens = 0;
  const { client, world } = await connected({ token: async () => `T${++tokens}` });
  world.socket.answers("authenticate", { type: "ok", user: "ann" });
  await turn();
  world.socket.says({ type: "token_expiring", expires_at: 1 });
  await turn();
  assert.equal(world.socket.answers("authenticate", { type: "ok", user: "ann" }).token, "T2");
  assert.equal(client.state.kind, "open");
});

test("closing is for good, and what an old socket says no longer counts", async () => {
  const { client, world } = await connected();
  const old = world.socket;
  client.close();
  old.ends(1006);
  await world.pass(60_000);
  assert.deepEqual([client.state.kind, world.sockets.length], ["idle", 1]);
  client.connect();
  await turn();
  old.says(WELCOME);
  await turn();
  assert.deepEqual(client.state, { kind: "connecting", attempt: 0 });
  world.socket.says(WELCOME);
  await turn();
  assert.deepEqual(client.state, { kind: "open", session: "0-1", user: "guest-0-1", limits: undefined });
});

test("binary frames carry their header and their bytes", () => {
  const frame = encodeBinary({ type: "publish", channel: "cam" }, Uint8Array.of(0, 255, 16));
  assert.deepEqual(decode(frame.buffer), { type: "publish", channel: "cam", data: Uint8Array.of(0, 255, 16) });
  assert.deepEqual([frame[0], frame[1]], [0, frame.length - 5]);
  for (const bad of [[], [0], [0, 5, 123], [0, 2, 91, 93], [0, 1, 255]]) {
    assert.throws(() => decode(Uint8Array.from(bad).buffer), `${bad}`);
  }
});
