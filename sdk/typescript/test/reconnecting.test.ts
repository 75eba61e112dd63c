// The WebSocket that reconnects: on paper what takes time, over real sockets what a WebSocket has to be.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { WebSocket, WebSocketServer } from "ws";
import { ReconnectingWebSocket, type ReconnectingOptions } from "../src/index.js";
import { turn, World } from "./world.js";

async function begun(options: ReconnectingOptions = {}) {
  const world = new World();
  const socket = new ReconnectingWebSocket("ws://host/", null, { environment: world, WebSocket: world.WebSocket, minReconnectionDelay: 1_000, ...options });
  const told: string[] = [];
  for (const type of ["open", "message", "error", "close"] as const) socket.addEventListener(type, () => told.push(type));
  await turn();
  return { world, socket, told };
}

test("waits grow by a factor up to the longest, and begin anew after a connection that lasted", async () => {
  const { world, socket } = await begun({ reconnectionDelayGrowFactor: 2, maxReconnectionDelay: 5_000 });
  const waits: number[] = [];
  for (let attempt = 0; attempt < 5; attempt += 1) {
    world.socket.ends();
    waits.push(world.next);
    await world.pass(world.next);
  }
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 5_000, 5_000]);
  assert.equal(socket.retryCount, 5);
  world.socket.opens();
  await world.pass(5_000);
  world.socket.ends();
  assert.equal(world.next, 1_000);
  await world.pass(world.next);
  world.socket.opens();
  await world.pass(4_999);
  world.socket.ends();
  assert.equal(world.next, 2_000, "it did not last");
});

test("without a least wait each client has its own", async () => {
  const world = new World();
  world.chance = 0.25;
  new ReconnectingWebSocket("ws://host/", [], { environment: world, WebSocket: world.WebSocket });
  await turn();
  world.socket.ends();
  assert.equal(world.next, 2_000);
});

test("an attempt that takes too long is given up and told as an error", async () => {
  const { world, told, socket } = await begun({ connectionTimeout: 300 });
  await world.pass(300);
  assert.deepEqual([told, world.socket.closedWith !== null, socket.readyState], [["error", "close"], true, 0]);
  world.socket.opens();
  assert.deepEqual(told, ["error", "close"], "what it says later does not count");
});

test("no more attempts than were asked for", async () => {
  const { world, socket } = await begun({ maxRetries: 2 });
  for (let attempt = 0; attempt < 3; attempt += 1) {
    world.socket.ends();
    await world.pass(10_000);
  }
  assert.deepEqual([world.sockets.length, socket.readyState, world.timers.size, world.life], [3, socket.CLOSED, 0, null]);
  const failing = new ReconnectingWebSocket(() => Promise.reject(new Error("no address")), null, { environment: world, maxRetries: 1 });
  const errors: string[] = [];
  failing.onerror = ({ message }) => errors.push(message);
  await turn();
  await world.pass(60_000);
  assert.deepEqual([errors, failing.readyState], [["no address", "no address"], 3]);
});

test("what is sent without a connection waits, in order and in bounds", async () => {
  const { world, socket } = await begun({ maxEnqueuedMessages: 3, maxEnqueuedBytes: 5 });
  for (const data of ["1", "2", "☃☃", "3", "4"]) socket.send(data);
  assert.equal(socket.bufferedAmount, 3);
  socket.onopen = () => socket.send("first");
  world.socket.opens();
  assert.deepEqual(world.socket.sent, ["first", "1", "2", "3"]);
  world.socket.bufferedAmount = 7;
  assert.equal(socket.bufferedAmount, 7);
});

test("closing is for good, until it is asked to reconnect", async () => {
  const { world, socket, told } = await begun();
  world.socket.opens();
  socket.close(4_000, "enough");
  assert.deepEqual([world.socket.closedWith, socket.readyState], [4_000, socket.CLOSING]);
  world.socket.ends(4_000);
  await world.pass(60_000);
  assert.deepEqual([told, world.sockets.length, socket.readyState], [["open", "close"], 1, socket.CLOSED]);
  socket.reconnect();
  await turn();
  world.socket.opens();
  assert.deepEqual([told.at(-1), socket.readyState], ["open", socket.OPEN]);
  const early = await begun();
  early.socket.close();
  early.world.socket.ends();
  await early.world.pass(60_000);
  assert.equal(early.world.sockets.length, 1);
});

test("addresses and subprotocols are asked for at each attempt, and startClosed waits for a word", async () => {
  const world = new World();
  let attempts = 0;
  const socket = new ReconnectingWebSocket(
    async () => `ws://host/${++attempts}`,
    () => ["a", `b${attempts}`],
    { environment: world, WebSocket: world.WebSocket, startClosed: true },
  );
  await world.pass(60_000);
  assert.deepEqual([world.sockets.length, socket.readyState], [0, socket.CLOSED]);
  socket.reconnect();
  await turn();
  world.socket.ends();
  await world.pass(10_000);
  assert.deepEqual(world.sockets.map(({ url, protocols }) => [url, protocols]), [
    ["ws://host/1", ["a", "b1"]],
    ["ws://host/2", ["a", "b2"]],
  ]);
  assert.equal(socket.url, "ws://host/2");
});

test("the network's return ends a wait", async () => {
  const { world } = await begun();
  world.socket.ends();
  world.life?.onWake();
  await turn();
  assert.equal(world.sockets.length, 2);
  world.life?.onWake();
  await turn();
  assert.equal(world.sockets.length, 2, "an attempt that is on its way is left alone");
});

test("over real sockets it is a WebSocket, and comes back", async () => {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: () => "chat" });
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const options = { WebSocket: WebSocket as never, minReconnectionDelay: 1, maxReconnectionDelay: 5 };
  const socket = new ReconnectingWebSocket(`ws://127.0.0.1:${port}/`, "chat", options);
  socket.binaryType = "arraybuffer";
  for (let round = 0; round < 3; round += 1) {
    const [peer] = (await once(server, "connection")) as [WebSocket];
    if (socket.readyState !== socket.OPEN) await once(socket, "open");
    assert.equal(socket.protocol, "chat");
    const message = once(socket, "message");
    socket.send(Uint8Array.of(1, 2));
    const [data] = await once(peer, "message");
    peer.send(data);
    const [{ data: echoed }] = (await message) as [MessageEvent];
    assert.deepEqual(new Uint8Array(echoed), Uint8Array.of(1, 2));
    const closed = once(socket, "close");
    peer.close(4_321, "again");
    const [{ code, reason, wasClean }] = (await closed) as [CloseEvent];
    assert.deepEqual([code, reason, wasClean], [4_321, "again", true]);
  }
  socket.close();
  server.close();
  for (const client of server.clients) client.terminate();
});
