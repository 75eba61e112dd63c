// Node's `ws` as the server of our client. Arguments: for wss, the files of the certificate and its key. Prints
// `listening on ADDRESS`. What it does depends on the path, as in websockets_server.py.

import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { WebSocketServer } from "ws";

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
  ping(socket) {
    socket.once("pong", () => socket.send("pong"));
    socket.ping("are you there");
  },
  close(socket, code, reason) {
    socket.close(Number(code), reason);
  },
  closed(socket) {
    socket.send(lastClose);
    socket.close();
  },
};

const sockets = new WebSocketServer({
  noServer: true,
  // Offered, as most servers do: our client must not be disturbed by what it did not ask for.
  perMessageDeflate: true,
  handleProtocols: (offered) => ["second", "third"].find((name) => offered.has(name)) ?? false,
});
const [cert, key] = process.argv.slice(2).map((file) => readFileSync(file));
const server = cert ? https.createServer({ cert, key }) : http.createServer();
server.on("upgrade", (request, stream, head) => {
  const [verb, ...rest] = decodeURIComponent(request.url).slice(1).split("/");
  if (verb === "refuse") {
    stream.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnot here\n");
    return;
  }
  sockets.handleUpgrade(request, stream, head, (socket) => paths[verb](socket, ...rest));
});
server.listen(0, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
