// Node's `http2` against our library's echo over HTTP/2. Argument: the server's address.

import { equal, main, once } from "../checks.mjs";
import { connect, open, request } from "./websocket.mjs";

const session = await connect(process.argv[2]);

async function echoed(socket, data, options) {
  const message = once(socket, "message");
  socket.send(data, options);
  const [bytes, isBinary] = await message;
  equal([isBinary, Buffer.compare(Buffer.from(data), bytes)], [typeof data !== "string", 0]);
}

async function closed(socket, ...close) {
  const done = once(socket, "close");
  socket.close(...close);
  return [(await done)[0]];
}

await main({
  "the settings allow extended CONNECT": () => equal(session.remoteSettings.enableConnectProtocol, true),
  "text and binary": async () => {
    const socket = await open(session, "/");
    for (const text of ["κόσμε — 🌍", "", "\u0000"]) await echoed(socket, text);
    for (const size of [0, 1, 125, 126, 65535, 65536]) await echoed(socket, Buffer.alloc(size, 7));
    equal(await closed(socket, 1000), [1000]);
  },
  "one MiB": async () => {
    const socket = await open(session, "/");
    await echoed(socket, Buffer.alloc(1 << 20, 9));
    equal(await closed(socket, 1001, "bye"), [1001]);
  },
  "fragments with a ping between": async () => {
    const socket = await open(session, "/");
    const message = once(socket, "message");
    const pong = once(socket, "pong");
    socket.send("one ", { fin: false });
    socket.ping("between");
    socket.send("", { fin: false });
    socket.send("two — 🌍", { fin: true });
    equal([(await pong)[0].toString(), (await message)[0].toString()], ["between", "one two — 🌍"]);
    equal(await closed(socket), [1005]);
  },
  "many WebSockets on one connection": async () => {
    const sockets = await Promise.all(Array.from({ length: 20 }, () => open(session, "/")));
    for (const round of [10, 100_000]) await Promise.all(sockets.map((socket, number) => echoed(socket, Buffer.alloc(round, number))));
    for (const socket of sockets) equal(await closed(socket, 1000), [1000]);
  },
  "a thousand in flight": async () => {
    const socket = await open(session, "/");
    const received = [];
    const all = new Promise((resolve) => socket.on("message", (data) => received.push(`${data}`) === 1000 && resolve()));
    for (let number = 0; number < 1000; number += 1) socket.send(`${number}`);
    await all;
    equal(received, Array.from({ length: 1000 }, (_, number) => `${number}`));
    equal(await closed(socket), [1005]);
  },
  "a reset in the midst of a message costs nobody else": async () => {
    const other = await open(session, "/");
    const [, stream] = await request(session, "/");
    stream.write(Buffer.from([0x82, 0xfe, 0x10, 0x00, 0, 0, 0, 0, 1, 2, 3]));
    await echoed(other, "before");
    stream.close(8);
    await once(stream, "close");
    await echoed(other, "after");
    equal(await closed(other), [1005]);
  },
  "the end of a stream without a Close": async () => {
    const [, stream] = await request(session, "/");
    const ended = new Promise((resolve) => stream.resume().once("end", resolve));
    stream.end();
    await ended;
  },
  "a frame that is not masked ends one WebSocket with 1002": async () => {
    const other = await open(session, "/");
    const [, stream] = await request(session, "/");
    const data = once(stream, "data");
    stream.write(Buffer.from([0x81, 0x01, 0x78]));
    const [bytes] = await data;
    equal([bytes[0], bytes.readUInt16BE(2)], [0x88, 1002]);
    await echoed(other, "still here");
    equal(await closed(other), [1005]);
  },
  "a subprotocol": async () => {
    const socket = await open(session, "/", { "sec-websocket-protocol": "other, echo" });
    equal(socket.protocolChosen, "echo");
    equal(await closed(socket), [1005]);
  },
  "refusals": async () => {
    for (const [headers, expected] of [
      [{ "sec-websocket-version": 8 }, 400],
      [{ ":protocol": "connect-udp" }, 501],
    ]) {
      const [response, stream] = await request(session, "/", headers);
      equal([headers, response[":status"]], [headers, expected]);
      stream.close();
    }
  },
}, () => session.destroy());
