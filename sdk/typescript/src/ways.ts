// The ways to the server, and which of them the next attempt takes. Knows nothing of what travels on them.

import type { ConnectionEvent } from "./core/types.js";
import type { Fetch } from "./transports/endpoint.js";
import { HttpTransport } from "./transports/http.js";
import { Probing } from "./transports/probing.js";
import type { Transport } from "./transports/transport.js";
import { platformWebSocket, WebSocketTransport, type WebSocketConstructor } from "./transports/websocket.js";

export interface WaysOptions {
  /** A WebSocket implementation, such as the package `ws`'s: for Node 20, which has none of its own. */
  WebSocket?: WebSocketConstructor;
  /** In place of the platform's `fetch`. */
  fetch?: Fetch;
  /** The ways to the server, the best first: default `["websocket", "stream", "poll"]`. The next one is tried where one does not get through. */
  transports?: readonly (Transport | "websocket" | "stream" | "poll")[];
}

/**
 * Failures in a row before the next way is tried: where this one has never worked, and where it has. The best one, if it has worked, is left only once
 * another has shown that the server is there: whoever restarts a server has not blocked its WebSockets.
 */
const STRIKES = { unknown: 1, proven: 4 };
/** For how long a way that is not the best is kept. */
const KEPT_MS = 300_000;

export class Ways {
  private readonly transports: readonly Transport[];
  private readonly proven = new Set<number>();
  private index = 0;
  private strikes = 0;
  private leftBestAt = 0;
  private wasConnected = false;
  /** Which way asks whether the server is there, and whether it has. */
  private probe: { index: number; reached: boolean } | null = null;

  constructor({ WebSocket, fetch, transports = ["websocket", "stream", "poll"] }: WaysOptions) {
    const socket = WebSocket ?? platformWebSocket();
    const fetching = fetch ?? ((url, init) => globalThis.fetch(url, init));
    const made = transports.map((one) => {
      if (typeof one !== "string") return one;
      if (one !== "websocket") return HttpTransport[one](fetching);
      return socket && new WebSocketTransport(socket);
    });
    this.transports = made.filter((transport) => transport !== null);
    if (this.transports.length === 0) throw new TypeError("there is no way to the server: no WebSocket here, and no other transport wanted");
  }

  /** The name of the transport in use, or used last. */
  get current(): string {
    return this.transports[this.index]?.name ?? "";
  }

  /** For the next attempt. */
  next(now: number): Transport {
    const best = this.proven.has(0) || now - this.leftBestAt >= KEPT_MS;
    if (this.wasConnected && this.index > 0 && best) this.choose(now, 0);
    this.wasConnected = false;
    const transport = this.transports[this.index] as Transport;
    const { probe } = this;
    if (!probe) return transport;
    return new Probing(this.transports[probe.index] as Transport, transport, () => (probe.reached = true));
  }

  /** What became of an attempt. */
  onEvent(now: number, event: ConnectionEvent): void {
    if (event.type === "connected") {
      this.proven.add(this.index);
      this.strikes = 0;
      this.probe = null;
      this.wasConnected = true;
    }
    if (event.type !== "disconnected" || this.wasConnected || this.transports.length === 1) return;
    const { kind } = event.cause;
    // What the server itself says is no fault of the way.
    if (kind !== "connect" && kind !== "no_answer" && kind !== "lost") return;
    if (this.probe) return this.onProbed(now, this.probe);
    this.strikes += 1;
    const max = this.proven.has(this.index) ? STRIKES.proven : STRIKES.unknown;
    if (this.strikes < max) return;
    if (this.index === 0 && this.proven.has(0)) this.probe = { index: 1, reached: false };
    else this.choose(now, (this.index + 1) % this.transports.length);
  }

  private onProbed(now: number, { index, reached }: { index: number; reached: boolean }): void {
    // The server is there, and the best way does not lead to it any more.
    if (reached) return this.choose(now, index);
    // Nobody is there, or this way is none either: another asks the next time.
    this.probe = { index: (index % (this.transports.length - 1)) + 1, reached: false };
  }

  private choose(now: number, index: number): void {
    if (this.index === 0) this.leftBestAt = now;
    this.index = index;
    this.strikes = 0;
    this.probe = null;
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
