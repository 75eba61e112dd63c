// What carries frames between the client and the server. Knows nothing of what they say.

import type { ConnectFailure } from "../core/io.js";
import type { Frame } from "../core/wire.js";

/** A way to the server. */
export interface Transport {
  readonly name: string;
  /** Begins to connect. Tells `onOpen` or `onFailed`; after `onOpen`, frames, and at last `onClosed`. Nothing is told from within this call. */
  open(target: Target, listener: Listener): Connection;
}

export interface Target {
  /** As the application gave it, with a scheme of ws: or wss:. */
  readonly url: string;
  /** For a transport that must show it to be let in. It is said in the protocol too. */
  readonly token: string | null;
}

export interface Listener {
  onOpen(): void;
  onFailed(failure: ConnectFailure): void;
  onFrame(frame: string | Uint8Array): void;
  /** With the code of the server's Close, or `null` if it ended without a word. */
  onClosed(code: number | null, reason: string): void;
}

/** A connection, or the attempt to make one. */
export interface Connection {
  send(frame: Frame): void;
  /** What was sent and has not left yet. */
  readonly bufferedBytes: number;
  /** Ends it in good order. The listener is told nothing more. */
  close(code: number): void;
  /** Drops it. The listener is told nothing more. */
  abort(): void;
}
