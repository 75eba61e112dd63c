// Node's `ws` as an echo server, with compression. Prints `listening on ADDRESS`.
//
// The package is the one that the checks with other people's clients have installed: the first argument is their folder.

import { createRequire } from "node:module";

const { WebSocketServer } = createRequire(process.argv[2] + "/")("ws");
const options = { host: "127.0.0.1", port: 0, maxPayload: 64 * 1024 * 1024, perMessageDeflate: { threshold: 0 } };
const server = new WebSocketServer(options);
server.on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
});
server.on("listening", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
