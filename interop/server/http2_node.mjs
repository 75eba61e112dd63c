// Node's `http2` against the server. Argument: the server, as in native.py, with `admin`, the address of its admin listener.

import { readFileSync } from "node:fs";
import { equal, main, once } from "../checks.mjs";
import { connect, open, request } from "../http2/websocket.mjs";

const server = JSON.parse(process.argv[2]);
const session = await connect(server.base, { ca: server.ca && readFileSync(server.ca) });

async function metric(name) {
  const text = await (await fetch(`http://${server.admin}/metrics`)).text();
  return Number(new RegExp(`^switchboard_${name} (\\d+)$`, "m").exec(text)?.[1] ?? NaN);
}

/** The next message that is no ping of the protocol's. */
async function next(socket) {
  return JSON.parse((await once(socket, "message"))[0]);
}

function plain(path, method = "GET") {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":method": method, ":path": path });
    let body = "";
    stream.setEncoding("utf8");
    stream.on("error", reject);
    stream.once("response", (headers) => stream.on("data", (data) => (body += data)).once("end", () => resolve([headers[":status"], body])));
    stream.end();
  });
}

await main({
  "the settings allow extended CONNECT": () => equal(session.remoteSettings.enableConnectProtocol, true),
  "the native protocol": async () => {
    const socket = await open(session, "/ws", { "sec-websocket-protocol": "switchboard.v1.json" });
    equal(socket.protocolChosen, "switchboard.v1.json");
    equal((await next(socket)).type, "welcome");
    socket.send(JSON.stringify({ type: "subscribe", id: 1, channel: "http2" }));
    equal((await next(socket)).id, 1);
    const done = once(socket, "close");
    socket.close(1000);
    equal((await done)[0], 1000);
  },
  "a token in the header": async () => {
    const socket = await open(session, "/ws", { authorization: `Bearer ${server.tokens.ann}` });
    equal((await next(socket)).user, "ann");
    socket.terminate();
  },
  "many WebSockets on one connection chat, and the server counts them": async () => {
    const sockets = await Promise.all(Array.from({ length: 30 }, () => open(session, "/chat")));
    const heard = sockets.map((socket) => once(socket, "message"));
    sockets[0].send("x".repeat(60_000));
    for (const one of heard) equal((await one)[0].length, 60_000);
    equal(await metric("connections_http2"), 30);
    for (const socket of sockets) {
      const done = once(socket, "close");
      socket.close(1000);
      equal((await done)[0], 1000);
    }
  },
  "a reset in the midst of a message costs nobody else": async () => {
    const other = await open(session, "/chat");
    const [, stream] = await request(session, "/chat");
    stream.write(Buffer.from([0x81, 0xfe, 0x10, 0x00, 0, 0, 0, 0, 0x78]));
    stream.close(8);
    await once(stream, "close");
    const heard = once(other, "message");
    other.send("still here");
    equal(`${(await heard)[0]}`, "still here");
    other.terminate();
  },
  "refusals": async () => {
    for (const [path, headers, expected] of [
      ["/ws", { authorization: "Bearer garbage" }, 401],
      ["/ws", { origin: "https://evil.example" }, 403],
      ["/ws/nobody", {}, 404],
      ["/nowhere", {}, 404],
      ["/chat", { "sec-websocket-version": 8 }, 400],
      ["/chat", { ":protocol": "connect-udp" }, 501],
    ]) {
      const [response, stream] = await request(session, path, headers);
      equal([path, headers, response[":status"]], [path, headers, expected]);
      stream.close();
    }
  },
  "ordinary requests beside them": async () => {
    const open_ = await open(session, "/chat");
    const [status, body] = await plain("/api/v1/publish", "POST");
    equal([status, /"code":"\w+"/.test(body)], [401, true]);
    equal((await plain("/chat"))[0], 405);
    open_.terminate();
  },
}, () => session.destroy());
