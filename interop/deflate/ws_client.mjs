// Node's `ws` with compression as the client of our echo server. Argument: its address.

import WebSocket from "ws";
import { equal, main, once } from "../checks.mjs";
import { JSON_TEXT, messages } from "./messages.mjs";

/** A socket, and the server's answer to its offer. */
async function open(url, options) {
  const socket = new WebSocket(url, { perMessageDeflate: { threshold: 0, ...options } });
  let answer;
  socket.once("upgrade", (response) => {
    answer = response.headers["sec-websocket-extensions"];
  });
  await once(socket, "open");
  return [socket, answer];
}

async function close(socket, code) {
  const closed = once(socket, "close");
  socket.close(code);
  equal((await closed)[0], code);
}

async function receive(socket) {
  const [data, isBinary] = await once(socket, "message");
  return isBinary ? data : data.toString();
}

async function echoed(socket, sent) {
  for (const message of sent) {
    const reply = receive(socket);
    socket.send(message);
    equal(await reply, message);
  }
}

const NAME = "permessage-deflate";

await main({
  "context takeover in every combination": async (url) => {
    for (const serverNoContextTakeover of [false, true]) {
      for (const clientNoContextTakeover of [false, true]) {
        const [socket, answer] = await open(url, { serverNoContextTakeover, clientNoContextTakeover });
        const server = serverNoContextTakeover ? "; server_no_context_takeover" : "";
        equal(answer, NAME + server + (clientNoContextTakeover ? "; client_no_context_takeover" : ""));
        await echoed(socket, messages());
        await close(socket, 1000);
      }
    }
  },
  "every window of the server": async (url) => {
    for (let bits = 9; bits <= 15; bits += 1) {
      const [socket, answer] = await open(url, { serverMaxWindowBits: bits });
      equal(answer, `${NAME}; server_max_window_bits=${bits}`);
      await echoed(socket, messages());
      await close(socket, 1000);
    }
  },
  "every window of the client": async (url) => {
    for (let bits = 9; bits <= 15; bits += 1) {
      const [socket, answer] = await open(url, { clientMaxWindowBits: bits });
      equal(answer, NAME);
      await echoed(socket, messages());
      await close(socket, 1000);
    }
  },
  "a window of eight bits is declined": async (url) => {
    const [socket, answer] = await open(url, { serverMaxWindowBits: 8 });
    equal(answer, undefined);
    await echoed(socket, [JSON_TEXT]);
    await close(socket, 1000);
  },
  fragmented: async (url) => {
    const [socket] = await open(url, {});
    for (let round = 0; round < 3; round += 1) {
      const reply = receive(socket);
      socket.send(JSON_TEXT, { fin: false });
      socket.ping("between");
      socket.send("", { fin: false });
      socket.send(JSON_TEXT.repeat(50), { fin: false });
      socket.send("", { fin: true });
      equal(await reply, JSON_TEXT.repeat(51));
    }
    await close(socket, 1000);
  },
  "compressed and not, by turns": async (url) => {
    const [socket] = await open(url, {});
    for (const compress of [true, false, true, false, false, true]) {
      const reply = receive(socket);
      socket.send(JSON_TEXT, { compress });
      equal(await reply, JSON_TEXT);
    }
    await close(socket, 1000);
  },
  "a thousand in flight": async (url) => {
    const [socket] = await open(url, {});
    const sent = Array.from({ length: 1000 }, (_, i) => `${JSON_TEXT} ${i}`);
    const got = [];
    const all = new Promise((resolve) => {
      socket.on("message", (data) => got.push(data.toString()) === sent.length && resolve());
    });
    for (const message of sent) socket.send(message);
    await all;
    equal(got, sent);
    await close(socket, 1000);
  },
  "what comes back is compressed": async (url) => {
    const [socket] = await open(url, {});
    const before = socket._socket.bytesRead;
    await echoed(socket, [JSON_TEXT.repeat(1000)]);
    equal(socket._socket.bytesRead - before < JSON_TEXT.length * 100, true);
    await close(socket, 1000);
  },
});
