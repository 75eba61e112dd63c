// WebSockets over Node's own HTTP/2: its `http2` opens and accepts the streams (RFC 8441), `ws` frames what goes over them. Knows nothing of
// checks.

import http2 from "node:http2";
import WebSocket from "ws";

const HEAD = Buffer.alloc(0);
const OPTIONS = { allowSynchronousEvents: true, maxPayload: 64 << 20, skipUTF8Validation: false };

/** A session with the server, once its settings have come. */
export function connect(url, options) {
  return new Promise((resolve, reject) => {
    const session = http2.connect(url.replace(/^ws/, "http"), options);
    session.on("error", reject);
    session.once("remoteSettings", () => resolve(session));
  });
}

/** Opens a stream. Resolves to its response's headers, and the stream. */
export function request(session, path, headers = {}) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":method": "CONNECT", ":protocol": "websocket", ":path": path, "sec-websocket-version": 13, ...headers });
    stream.on("error", reject);
    stream.once("response", (response) => resolve([response, stream]));
    stream.once("close", () => reject(new Error("the stream closed without an answer")));
  });
}

/** A WebSocket at a path. */
export async function open(session, path, headers) {
  const [response, stream] = await request(session, path, headers);
  if (response[":status"] !== 200) throw new Error(`refused with ${response[":status"]}`);
  const socket = over(stream, false);
  socket.protocolChosen = response["sec-websocket-protocol"];
  return socket;
}

/** What `ws` does over a stream that somebody else has opened. */
export function over(stream, isServer) {
  const socket = new WebSocket(null, undefined, { autoPong: true, closeTimeout: 30_000 });
  socket._isServer = isServer;
  socket.setSocket(stream, HEAD, OPTIONS);
  socket.on("error", () => {});
  return socket;
}

/** Answers CONNECTs by `serve(socket, path)`, or refuses with the status that `serve` returns for a path without a socket. */
export function accept(server, serve) {
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    if (headers[":method"] !== "CONNECT" || headers[":protocol"] !== "websocket") {
      stream.respond({ ":status": 404 }, { endStream: true });
      return;
    }
    const [status, more] = serve(headers);
    stream.respond({ ":status": status, ...more }, { endStream: false });
    if (status === 200) serve(headers, over(stream, true), stream);
    else stream.end("not here\n");
  });
  server.on("sessionError", () => {});
  return server;
}
