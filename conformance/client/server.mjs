// The server of a transcript: it says what the transcript says, and keeps what it hears. Knows nothing of transcripts.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { Queue } from "./queue.mjs";

const SUBPROTOCOL = "switchboard.v1.json";

/** Listens, and keeps the attempts to connect until somebody wants them. */
export class Server {
  attempts = new Queue("to the server");
  #http = createServer((_, response) => response.writeHead(404).end());
  #sockets = new Set();

  async listen() {
    this.#http.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    this.#http.on("upgrade", (request, socket, head) => this.attempts.push(new Attempt(request, socket, head)));
    await new Promise((resolve) => this.#http.listen(0, "127.0.0.1", resolve));
    return `ws://127.0.0.1:${this.#http.address().port}/ws`;
  }

  /** A new transcript begins: nothing of the one before is left. */
  reset() {
    for (const socket of this.#sockets) socket.destroy();
    this.attempts = new Queue("to the server");
  }

  close() {
    this.reset();
    this.#http.close();
  }
}

/** A client wants to connect. */
export class Attempt {
  at = performance.now();
  #request;
  #socket;
  #head;

  constructor(request, socket, head) {
    this.#request = request;
    this.#socket = socket;
    this.#head = head;
    socket.on("error", () => {});
  }

  /** What the client has shown in the request's head. */
  get token() {
    const bearer = /^Bearer (.*)$/.exec(this.#request.headers.authorization ?? "")?.[1];
    const offered = (this.#request.headers["sec-websocket-protocol"] ?? "").split(",").map((one) => one.trim());
    return bearer ?? offered.find((one) => one.startsWith("switchboard.token."))?.slice("switchboard.token.".length) ?? null;
  }

  refuse(status) {
    this.#socket.end(`HTTP/1.1 ${status} Refused\r\nContent-Length: 3\r\nConnection: close\r\n\r\nwhy`);
  }

  accept() {
    const wss = new WebSocketServer({ noServer: true, handleProtocols: (offered) => offered.has(SUBPROTOCOL) && SUBPROTOCOL });
    return new Promise((resolve) => wss.handleUpgrade(this.#request, this.#socket, this.#head, (ws) => resolve(new Peer(ws, this.#socket))));
  }
}

/** One connection. */
export class Peer {
  heard = new Queue("from the client");
  closed = new Queue("of the client's closing");
  #ws;
  #socket;

  constructor(ws, socket) {
    this.#ws = ws;
    this.#socket = socket;
    ws.on("error", () => {});
    ws.on("message", (data, binary) => {
      if (binary) return this.heard.push(decode(data));
      const frame = JSON.parse(String(data));
      // Both are the client's own affair, unless a transcript awaits them.
      if (frame.type === "pong") return;
      if (frame.type === "ping" && !this.hearsPings) return this.say({ type: "pong", id: frame.id });
      this.heard.push({ frame });
    });
    ws.on("close", () => this.closed.push(true));
  }

  hearsPings = false;

  say(frame) {
    this.sayText(JSON.stringify(frame));
  }

  sayText(text) {
    this.#ws.send(text);
  }

  sayBinary(header, payload) {
    const head = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(2);
    length.writeUInt16BE(head.length);
    this.#ws.send(Buffer.concat([length, head, Buffer.from(payload, "hex")]));
  }

  sayBytes(hex) {
    this.#ws.send(Buffer.from(hex, "hex"));
  }

  close(code, reason) {
    this.#ws.close(code, reason);
  }

  /** Without a word. */
  drop() {
    this.#ws.terminate();
  }

  /** Neither reads nor writes any more, and does not say so. */
  stall() {
    this.#socket.pause();
    this.#ws.send = () => {};
  }
}

function decode(data) {
  const end = 2 + data.readUInt16BE(0);
  return { frame: JSON.parse(String(data.subarray(2, end))), payload: data.subarray(end).toString("hex") };
}
