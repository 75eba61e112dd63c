// The ways to the server and which of them the next attempt takes. Knows nothing of what travels on them.

import type { Transport } from "./transports/transport.js";
import { platformWebSocket, WebSocketTransport, type WebSocketConstructor } from "./transports/websocket.js";

export interface WaysOptions {
  /** A WebSocket implementation, such as the package `ws`'s: for Node 20, which has none of its own. */
  WebSocket?: WebSocketConstructor;
  /** Other ways to the server, the best first; instead of the built-in ones. */
  transports?: readonly Transport[];
}

export class Ways {
  private readonly transports: readonly Transport[];
  private index = 0;

  constructor({ WebSocket, transports }: WaysOptions) {
    const socket = WebSocket ?? platformWebSocket();
    this.transports = transports ?? (socket ? [new WebSocketTransport(socket)] : []);
    if (this.transports.length === 0) throw new TypeError("there is no WebSocket here; give one as `WebSocket`");
  }

  /** The name of the transport in use, or used last. */
  get current(): string {
    return this.transports[this.index]?.name ?? "";
  }

  /** For the next attempt. */
  next(): Transport {
    return this.transports[this.index] as Transport;
  }
}

/** An address as transports take it. Throws `TypeError`. */
export function address(given: string | URL): string {
  const page = (globalThis as { location?: { href?: string } }).location?.href;
  const url = new URL(given, page);
  if (url.protocol === "http:") url.protocol = "ws:";
  if (url.protocol === "https:") url.protocol = "wss:";
  if (url.protocol !== "ws:" && url.protocol !== "wss:") throw new TypeError(`"${url.protocol}" is not a scheme for a WebSocket`);
  url.hash = "";
  return url.href;
}
