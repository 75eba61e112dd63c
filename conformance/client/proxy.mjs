// A way to the server that can be broken: cut, closed, stalled. Keeps when each connection began and who ended it. Knows nothing of what travels.

import { connect, createServer } from "node:net";

export class Proxy {
  /** Each connection: `at`, and `endedAt` if it was ended from this side; not if it was stalled, for then the client may have given it up before. */
  connections = [];
  #server = createServer({ pauseOnConnect: true }, (socket) => this.#begin(socket));
  #pairs = new Set();
  #mode = "open";
  #target;

  constructor(target) {
    this.#target = target;
  }

  async listen() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this.#server.address().port;
  }

  /** Breaks every connection there is. */
  cut() {
    for (const pair of this.#pairs) end(pair, true);
  }

  /** Turns everybody away. */
  refuse() {
    this.#mode = "closed";
    this.cut();
  }

  /** Nothing travels any more, in both directions or only from the server, and nobody is told. */
  stall(both = true) {
    this.#mode = "stalled";
    for (const { socket, upstream, connection } of this.#pairs) {
      connection.stalled = true;
      upstream.pause();
      if (both) socket.pause();
    }
  }

  /** As if nothing had been. */
  open() {
    this.#mode = "open";
    for (const { socket, upstream } of this.#pairs) {
      socket.resume();
      upstream.resume();
    }
  }

  close() {
    this.cut();
    this.#server.close();
  }

  #begin(socket) {
    const connection = { at: performance.now(), endedAt: null, stalled: this.#mode === "stalled" };
    this.connections.push(connection);
    socket.on("error", () => {});
    if (this.#mode === "closed") {
      connection.endedAt = performance.now();
      return socket.destroy();
    }
    const upstream = connect(this.#target, "127.0.0.1");
    const pair = { socket, upstream, connection };
    this.#pairs.add(pair);
    for (const one of [socket, upstream]) one.setNoDelay(true);
    socket.on("data", (data) => upstream.write(data));
    upstream.on("data", (data) => socket.write(data));
    upstream.on("error", () => {});
    upstream.on("close", () => end(pair, true));
    socket.on("close", () => {
      end(pair, false);
      this.#pairs.delete(pair);
    });
    if (this.#mode === "stalled") upstream.pause();
    else socket.resume();
  }
}

function end({ socket, upstream, connection }, fromHere) {
  if (fromHere && !socket.destroyed && !connection.stalled) connection.endedAt ??= performance.now();
  socket.destroy();
  upstream.destroy();
}
