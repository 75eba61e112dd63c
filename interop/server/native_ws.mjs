// Node's `ws` against the server. Argument: the server, as in native.py.

import { readFileSync } from "node:fs";
import WebSocket from "ws";
import { equal, main, once } from "../checks.mjs";
import "./native_checks.js";

const server = JSON.parse(process.argv[2]);
const ca = server.ca && readFileSync(server.ca);

// The browsers' interface, with the certificate that a browser would have been told to trust.
globalThis.WebSocket = class extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { ca });
  }
};

const shared = Object.entries(globalThis.nativeChecks).map(([name, check]) => [name, () => check(server)]);

async function refusal(path, options) {
  const socket = new WebSocket(server.base + path, [], { ca, ...options });
  socket.on("error", () => {});
  const [, response] = await once(socket, "unexpected-response");
  socket.terminate();
  return response.statusCode;
}

await main({
  ...Object.fromEntries(shared),
  "a token in the header": async () => {
    const socket = new WebSocket(`${server.base}/ws`, { ca, headers: { Authorization: `Bearer ${server.tokens.ann}` } });
    const [data] = await once(socket, "message");
    equal(JSON.parse(data).user, "ann");
    socket.terminate();
  },
  "a bad token is 401": async () => {
    equal(await refusal("/ws", { headers: { Authorization: "Bearer garbage" } }), 401);
  },
  "a foreign origin is 403": async () => {
    equal(await refusal("/ws", { origin: "https://evil.example" }), 403);
  },
  "a protocol ping is answered": async () => {
    const socket = new WebSocket(`${server.base}/ws`, { ca });
    await once(socket, "open");
    const pong = once(socket, "pong");
    socket.ping("mark");
    equal((await pong)[0].toString(), "mark");
    socket.terminate();
  },
});
