// The page's room against a server of paper: what is shown of what the client tells.

import assert from "node:assert/strict";
import { test } from "node:test";
import { turn, World } from "../../sdk/typescript/test/world.js";
import { Room, type Identity } from "./room";

const WELCOME = { type: "welcome", session: "0-1", version: 1, user: "ann", heartbeat_ms: 25_000, limits: { message_bytes: 65_536 } };
const IDENTITY: Identity = { url: "ws://host/ws", channel: "room", user: null, app: "main", token: null };
const position = (offset: number, epoch = "e") => ({ position: { epoch, offset } });
const said = (offset: number, data: unknown, more: object = {}) => ({ type: "message", channel: "room", data, offset, timestamp: offset, ...more });

async function opened(): Promise<{ world: World; room: Room }> {
  const world = new World();
  const room = new Room(IDENTITY, () => {}, { environment: world, WebSocket: world.WebSocket });
  await greeted(world);
  return { world, room };
}

async function greeted(world: World): Promise<void> {
  await turn();
  world.socket.opens();
  world.socket.says(WELCOME);
  await turn();
}

const texts = (room: Room) => room.lines.map(({ text }) => text);

test("it shows what is said, before and now, in every form", async () => {
  const { world, room } = await opened();
  assert.deepEqual(room.state, { kind: "open", user: "ann", messageBytes: 65_536 });
  world.socket.answers("subscribe", { ...position(2), users: [{ user: "ann", connections: 1 }] });
  await turn();
  world.socket.says(said(3, { text: "third" }));
  const earlier = [said(1, "first"), said(2, "AP8Q", { encoding: "base64" }), said(3, "newer than the answer")];
  world.socket.answers("history", { ...position(3), publications: earlier, more: false });
  await turn();
  world.socket.says(said(4, [1, 2], { publisher: { user: "bob" } }));
  await turn();
  assert.deepEqual(texts(room), ["first", "3 bytes: 00 ff 10", "third", "[1,2]"]);
  assert.deepEqual(room.lines.at(-1), { kind: "message", key: "e 4", at: 4, user: "bob", form: "json", text: "[1,2]" });
});

test("who is present follows joins and leaves, and is not known without a connection", async () => {
  const { world, room } = await opened();
  world.socket.answers("subscribe", { ...position(0), users: [{ user: "ann", connections: 1 }] });
  await turn();
  world.socket.says({ type: "join", channel: "room", user: "bob" });
  world.socket.says({ type: "leave", channel: "room", user: "ann" });
  await turn();
  assert.deepEqual([room.members, texts(room)], [[{ user: "bob" }], ["bob joined", "ann left"]]);
  world.socket.ends();
  assert.deepEqual([room.members, room.state.kind], [[], "waiting"]);
});

test("without the right to see who is present it goes on without", async () => {
  const { world, room } = await opened();
  const refusal = { type: "error", code: "permission_denied", message: "no right", temporary: false };
  assert.equal(world.socket.answers("subscribe", refusal).presence, true);
  await turn();
  assert.equal(world.socket.answers("subscribe", position(0)).presence, undefined);
  await turn();
  assert.deepEqual([room.members, room.refusal], [null, null]);
});

test("a refusal is shown, and the end of a subscription too", async () => {
  const { world, room } = await opened();
  world.socket.answers("subscribe", { type: "error", code: "bad_channel", message: "no such name", temporary: false });
  await turn();
  assert.equal(room.refusal, "no such name (bad_channel)");
  const other = await opened();
  other.world.socket.answers("subscribe", position(0));
  await turn();
  other.world.socket.says({ type: "unsubscribed", channel: "room", code: "permission_denied" });
  await turn();
  assert.equal(other.room.refusal, "the server ended the subscription (permission_denied)");
});

test("what was missed is counted, and what is lost is said", async () => {
  const { world, room } = await opened();
  world.socket.answers("subscribe", position(0));
  await turn();
  world.socket.ends();
  assert.deepEqual(room.state.kind, "waiting");
  room.retry();
  assert.deepEqual(room.state, { kind: "connecting", again: true });
  await greeted(world);
  world.socket.answers("subscribe", { ...position(2), recovered: true });
  world.socket.says(said(1, "a"));
  world.socket.says(said(2, "b"));
  world.socket.says({ type: "caught_up", channel: "room" });
  world.socket.ends();
  room.retry();
  await greeted(world);
  world.socket.answers("subscribe", { ...position(0, "f"), recovered: false });
  await turn();
  assert.deepEqual(texts(room), ["a", "b", "caught up 2 missed messages", "history lost: messages sent while you were away may be missing"]);
});

test("a room whose connection has ended begins anew where it stood", async () => {
  const { world, room } = await opened();
  world.socket.answers("subscribe", position(7));
  await turn();
  world.socket.says({ type: "disconnect", code: 4003, reason: "disconnected by the application", reconnect: false });
  await turn();
  assert.deepEqual([room.state, room.refusal], [{ kind: "stopped", why: "the server ended it: disconnected by the application (4003)" }, null]);
  room.retry();
  await greeted(world);
  assert.deepEqual(world.socket.answers("subscribe", { ...position(7), recovered: true }).since, { epoch: "e", offset: 7 });
});

test("every frame is kept, in bounds, with its size", async () => {
  const { world, room } = await opened();
  room.clearFrames();
  room.sendRaw("☃");
  world.socket.says({ type: "pong" });
  assert.deepEqual(
    room.frames.map(({ direction, size }) => [direction, size]),
    [
      ["out", 3],
      ["in", 15],
    ],
  );
  for (let count = 0; count < 1_100; count += 1) world.socket.says({ type: "pong" });
  assert.equal(room.frames.length, 1_000);
  world.socket.ends();
  assert.throws(() => room.sendRaw("x"), /not connected/);
});
