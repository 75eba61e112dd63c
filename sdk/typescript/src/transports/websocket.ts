// Frames over the platform's WebSocket, or one of the same form (the package `ws`). Knows nothing of what frames say.

import { reasonOf } from "../core/errors.js";
import type { Frame } from "../core/wire.js";
import type { Connection, Listener, Target, Transport } from "./transport.js";

/** The part of `WebSocket` that is used; browsers, Node 22 and the package `ws` have it. */
export interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  readonly readyState: number;
  // The events differ between implementations; what is read from them does not.
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  /** The package `ws` can end a connection without waiting for the peer. */
  terminate?(): void;
}

export type WebSocketConstructor = new (url: string, protocols?: string | string[]) => WebSocketLike;

/** The platform's, if there is one: Node has it from version 22 on. */
export function platformWebSocket(): WebSocketConstructor | null {
  return (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket ?? null;
}

export class WebSocketTransport implements Transport {
  readonly name = "websocket";

  constructor(private readonly constructor_: WebSocketConstructor) {}

  open({ url }: Target, listener: Listener): Connection {
    const address = new URL(url);
    // Several messages may come in one frame.
    address.searchParams.set("batch", "1");
    let socket: WebSocketLike;
    try {
      socket = new this.constructor_(address.href, [SUBPROTOCOL]);
    } catch (error) {
      // Only a malformed address, or a page that may not connect at all, is refused here.
      queueMicrotask(() => listener.onFailed({ kind: "final", reason: reasonOf(error) }));
      return NOWHERE;
    }
    return new Opened(socket, listener, url);
  }
}

class Opened implements Connection {
  private open = false;
  private reason = "";

  constructor(
    private readonly socket: WebSocketLike,
    listener: Listener,
    url: string,
  ) {
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.open = true;
      listener.onOpen();
    };
    socket.onmessage = ({ data }: { data: string | ArrayBuffer }) => {
      listener.onFrame(typeof data === "string" ? data : new Uint8Array(data));
    };
    // Browsers do not tell a page why; others do.
    socket.onerror = (event: { message?: string }) => (this.reason = event.message ?? "");
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => {
      if (!this.open) listener.onFailed({ kind: "temporary", reason: this.reason || `${url} cannot be reached` });
      else if (code === ABNORMAL || code === NO_CODE) listener.onClosed(null, this.reason || "without a word");
      else listener.onClosed(code, reason);
    };
  }

  send(frame: Frame): void {
    // Between the end of a connection and being told of it, nothing is sent; what waits for an answer is told when that comes.
    if (this.socket.readyState === OPEN) this.socket.send(frame);
  }

  get bufferedBytes(): number {
    return this.socket.bufferedAmount;
  }

  close(code: number): void {
    this.forget();
    // Pages may send 1000 and their own codes only.
    this.socket.close(code === NORMAL ? NORMAL : GOING_WRONG, code === NORMAL ? "" : `${code}`);
  }

  abort(): void {
    this.forget();
    if (this.socket.terminate) this.socket.terminate();
    else this.socket.close();
  }

  private forget(): void {
    const { socket } = this;
    socket.onopen = socket.onmessage = socket.onclose = null;
    // `ws` throws errors that nobody listens to.
    socket.onerror = () => {};
  }
}

const NOWHERE: Connection = { send() {}, bufferedBytes: 0, close() {}, abort() {} };

export const SUBPROTOCOL = "switchboard.v1.json";
const OPEN = 1;
const NORMAL = 1000;
/** What this client says when the server broke the protocol: 1002, as far as a page may say it. */
const GOING_WRONG = 4900;
/** What an implementation reports when there was no Close frame, or one without a code. */
const ABNORMAL = 1006;
const NO_CODE = 1005;
