// Node's `ws` as the client of our echo server. Argument: its address.

import { randomBytes } from "node:crypto";
import WebSocket from "ws";
import { equal, main, once } from "../checks.mjs";

const MIB = 1 << 20;

async function open(url, options = {}) {
  const socket = new WebSocket(url, options);
  await once(socket, "open");
  return socket;
}

async function close(socket, code, reason) {
  const closed = once(socket, "close");
  socket.close(code, reason);
  return (await closed)[0];
}

async function receive(socket) {
  const [data, isBinary] = await once(socket, "message");
  return isBinary ? data : data.toString();
}

async function echoed(url, message) {
  const socket = await open(url);
  const reply = receive(socket);
  socket.send(message);
  equal(await reply, message);
  equal(await close(socket, 1000), 1000);
}

await main({
  text: (url) => echoed(url, "κόσμε — 🌍"),
  binary: (url) => echoed(url, Buffer.from(Array.from({ length: 256 }, (_, i) => i))),
  "empty text and binary": async (url) => {
    await echoed(url, "");
    await echoed(url, Buffer.alloc(0));
  },
  "length edges": async (url) => {
    for (const length of [125, 126, 127, 65535, 65536, 65537]) await echoed(url, randomBytes(length));
  },
  "fragmented text": async (url) => {
    const socket = await open(url);
    const reply = receive(socket);
    socket.send("one ", { fin: false });
    socket.send("", { fin: false });
    socket.send("two — 🌍", { fin: true });
    equal(await reply, "one two — 🌍");
    await close(socket, 1000);
  },
  "fragmented binary": async (url) => {
    const parts = [randomBytes(3), randomBytes(70_000), randomBytes(1)];
    const socket = await open(url);
    const reply = receive(socket);
    parts.forEach((part, i) => socket.send(part, { binary: true, fin: i === parts.length - 1 }));
    equal(await reply, Buffer.concat(parts));
    await close(socket, 1000);
  },
  "one MiB text": (url) => echoed(url, "🌍 ".repeat(MIB / 5)),
  "one MiB binary": (url) => echoed(url, randomBytes(MIB)),
  "an offer of compression is declined": async (url) => {
    const socket = await open(url, { perMessageDeflate: true });
    equal(socket.extensions, "");
    await close(socket, 1000);
  },
  ping: async (url) => {
    const socket = await open(url);
    for (const payload of [Buffer.alloc(0), Buffer.from("mark"), randomBytes(125)]) {
      const pong = once(socket, "pong");
      socket.ping(payload);
      equal((await pong)[0], payload);
    }
    await close(socket, 1000);
  },
  "ping inside a fragmented message": async (url) => {
    const socket = await open(url);
    const seen = [];
    socket.on("pong", (data) => seen.push(`pong ${data}`));
    socket.on("message", (data) => seen.push(`message ${data}`));
    socket.send("first ", { fin: false });
    socket.ping("between");
    socket.send("second", { fin: true });
    await once(socket, "message");
    equal(seen, ["pong between", "message first second"]);
    await close(socket, 1000);
  },
  "a thousand in flight": async (url) => {
    const socket = await open(url);
    const sent = Array.from({ length: 1000 }, (_, i) => `message ${i}`);
    const got = [];
    const all = new Promise((resolve) => {
      socket.on("message", (data) => got.push(data.toString()) === sent.length && resolve());
    });
    for (const message of sent) socket.send(message);
    await all;
    equal(got, sent);
    await close(socket, 1000);
  },
  "close codes": async (url) => {
    for (const code of [1000, 1001, 1003, 1008, 1011, 3000, 4999]) {
      equal(await close(await open(url), code, "fertig — done"), code);
    }
  },
  "close without a code": async (url) => {
    // 1005 is how `ws` tells that the answer carried no code (RFC 6455 §7.1.5).
    equal(await close(await open(url)), 1005);
  },
});
