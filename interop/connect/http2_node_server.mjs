// Node's `http2` as the server of our client. Arguments: for wss, the files of the certificate and its key. Prints `listening on ADDRESS`.
// What it does depends on the path.

import { readFileSync } from "node:fs";
import http2 from "node:http2";
import { accept } from "../http2/websocket.mjs";

let lastClose = "none";

const paths = {
  echo(socket) {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    socket.on("close", (code, reason) => {
      lastClose = `${code} ${reason}`;
    });
  },
  fragments(socket) {
    socket.send("one ", { fin: false });
    socket.ping("between");
    socket.once("pong", () => {
      socket.send("", { fin: false });
      socket.send("two — 🌍", { fin: true });
      socket.close();
    });
  },
  close(socket, _, code, reason) {
    socket.close(Number(code), reason);
  },
  closed(socket) {
    socket.send(lastClose);
    socket.close();
  },
  reset(socket, stream) {
    socket.send("before");
    socket.once("message", () => stream.destroy(new Error("just so")));
  },
  goaway(socket, stream) {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    stream.session.goaway(0);
  },
};

const [cert, key] = process.argv.slice(2).map((file) => readFileSync(file));
const settings = { enableConnectProtocol: true };
const server = cert ? http2.createSecureServer({ cert, key, settings }) : http2.createServer({ settings });
accept(server, (headers, socket, stream) => {
  const [verb, ...rest] = decodeURIComponent(headers[":path"]).slice(1).split("/");
  if (socket) return paths[verb](socket, stream, ...rest);
  const offered = headers["sec-websocket-protocol"]?.split(", ") ?? [];
  const chosen = ["second", "third"].find((name) => offered.includes(name));
  return paths[verb] ? [200, chosen && { "sec-websocket-protocol": chosen }] : [403];
});
server.listen(0, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
