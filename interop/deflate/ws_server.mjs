// Node's `ws` with compression as the server of our echo client. Arguments: the client's command.
//
// Each check is a server of its own that the client is started for: it plays one case and judges the echo.

import { spawn } from "node:child_process";
import { WebSocketServer } from "ws";
import { equal, main, once } from "../checks.mjs";
import { JSON_TEXT, messages } from "./messages.mjs";

/** Starts our client, and plays `play(socket)` on the connection of its case. Gives what was answered to its offer. */
async function played(perMessageDeflate, play) {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: { threshold: 0, ...perMessageDeflate } });
  await once(server, "listening");
  let answer;
  server.on("headers", (headers, request) => {
    if (!request.url.startsWith("/runCase")) return;
    answer = headers.find((header) => header.startsWith("Sec-WebSocket-Extensions: "))?.slice(26);
  });
  const judged = new Promise((resolve, reject) => {
    server.on("connection", async (socket, request) => {
      if (request.url === "/getCaseCount") socket.send("1");
      if (request.url.startsWith("/runCase")) await play(socket).then(resolve, reject);
      socket.close();
    });
  });
  const [program, ...rest] = process.argv.slice(2);
  const client = spawn(program, [...rest, `ws://127.0.0.1:${server.address().port}`, "us"], { stdio: "ignore" });
  const exited = new Promise((resolve) => client.once("exit", resolve));
  try {
    await judged;
    equal(await exited, 0);
  } finally {
    client.kill();
    server.close();
  }
  return answer;
}

async function receive(socket) {
  const [data, isBinary] = await once(socket, "message");
  return isBinary ? data : data.toString();
}

async function echoed(socket, sent = messages()) {
  for (const message of sent) {
    const reply = receive(socket);
    socket.send(message);
    equal(await reply, message);
  }
}

const NAME = "permessage-deflate";

await main({
  "context takeover in every combination": async () => {
    for (const serverNoContextTakeover of [false, true]) {
      for (const clientNoContextTakeover of [false, true]) {
        const answer = await played({ serverNoContextTakeover, clientNoContextTakeover }, echoed);
        equal(answer.includes("server_no_context_takeover"), serverNoContextTakeover);
        equal(answer.includes("client_no_context_takeover"), clientNoContextTakeover);
      }
    }
  },
  "every window of the server": async () => {
    for (let bits = 9; bits <= 15; bits += 1) {
      equal(await played({ serverMaxWindowBits: bits }, echoed), `${NAME}; server_max_window_bits=${bits}`);
    }
  },
  "every window of the client": async () => {
    // With 8, which no compressor of ours has, it sends everything as it is.
    for (let bits = 8; bits <= 15; bits += 1) {
      equal(await played({ clientMaxWindowBits: bits }, echoed), `${NAME}; client_max_window_bits=${bits}`);
    }
  },
  fragmented: async () => {
    await played({}, async (socket) => {
      const reply = receive(socket);
      socket.send(JSON_TEXT, { fin: false });
      socket.ping("between");
      socket.send("", { fin: false });
      socket.send(JSON_TEXT.repeat(50), { fin: false });
      socket.send("", { fin: true });
      equal(await reply, JSON_TEXT.repeat(51));
    });
  },
});
