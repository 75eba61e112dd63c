// What goes wrong, by who has to act. Knows nothing of when.

import type { Position } from "./types.js";

/** The server refused one request; the connection lives. */
export interface Refusal {
  /** For programs, as the protocol's reference lists them. */
  readonly code: string;
  /** For people. */
  readonly message: string;
  /** Whether the same request may succeed later. */
  readonly temporary: boolean;
  /** The channel's present position, with the codes `conflict` and `history_lost`. */
  readonly position?: Position;
}

/** Why a client does not connect again. */
export type Ended =
  /** The application closed it. */
  | { readonly kind: "closed" }
  /** The server does not want it back before something has changed. */
  | { readonly kind: "by_server"; readonly code: number; readonly reason: string }
  /** The server refused the token, or wants one. */
  | { readonly kind: "unauthorized"; readonly reason: string }
  /** The callback said that there will be no token. */
  | { readonly kind: "no_token"; readonly reason: string }
  /** Connecting cannot succeed: the URL is wrong, or this page may not connect. */
  | { readonly kind: "cannot_connect"; readonly reason: string }
  /** The server speaks a version of the protocol that this client does not know. */
  | { readonly kind: "version"; readonly version: number };

/** Why a connection was lost or could not be made. */
export type Cause =
  | { readonly kind: "by_server"; readonly code: number; readonly reason: string }
  /** It ended without a word. */
  | { readonly kind: "lost"; readonly reason: string }
  /** It could not be made. */
  | { readonly kind: "connect"; readonly reason: string }
  /** Nothing was heard for longer than the heartbeat allows. */
  | { readonly kind: "silent" }
  /** The server did not say welcome, or did not answer a subscription, in time. */
  | { readonly kind: "no_answer" }
  /** The server sent what is not the protocol. */
  | { readonly kind: "protocol"; readonly reason: string }
  /** The callback for tokens failed, or the server refused its token. */
  | { readonly kind: "token"; readonly reason: string };

/** Why a request has no answer. */
export type RequestFailure =
  /** The server said no. */
  | { readonly kind: "refused"; readonly refusal: Refusal }
  /** It was sent, and no answer came in time. Whether it was done is unknown. */
  | { readonly kind: "timed_out" }
  /** It waited for a connection for too long, and was not sent. */
  | { readonly kind: "not_sent" }
  /** The connection was lost between the request and its answer. Whether it was done is unknown. */
  | { readonly kind: "interrupted" }
  /** The queue is full, and its policy is to refuse. It was not sent. */
  | { readonly kind: "queue_full" }
  /** A later request took its place in the full queue. It was not sent. */
  | { readonly kind: "dropped" }
  /** The server does not take messages of this size. It was not sent. */
  | { readonly kind: "too_large"; readonly bytes: number; readonly bytesMax: number }
  /** The data cannot be written as JSON, or an argument is none. It was not sent. */
  | { readonly kind: "invalid"; readonly reason: string }
  /** The application aborted it. What was sent by then may have been done. */
  | { readonly kind: "aborted"; readonly sent: boolean }
  /** The client has a subscription to that channel. */
  | { readonly kind: "already_subscribed" }
  /** The client has ended. What was sent and not answered by then may have been done. */
  | { readonly kind: "ended"; readonly ended: Ended };

/** Thrown by publishing, asking and subscribing. `kind` says why; `certainlyNotDone` whether it may be repeated without doing it twice. */
export class RequestError extends Error {
  override readonly name = "RequestError";

  constructor(readonly failure: RequestFailure) {
    super(describeFailure(failure));
  }

  get kind(): RequestFailure["kind"] {
    return this.failure.kind;
  }

  /** The server's code, if it refused. */
  get code(): string | undefined {
    return this.failure.kind === "refused" ? this.failure.refusal.code : undefined;
  }

  /** The server's word on whether the same request may succeed later. */
  get temporary(): boolean {
    return this.failure.kind === "refused" && this.failure.refusal.temporary;
  }

  /** Where the channel is, with the codes `conflict` and `history_lost`. */
  get position(): Position | undefined {
    return this.failure.kind === "refused" ? this.failure.refusal.position : undefined;
  }

  /** Nothing was published: repeating it cannot do it twice. */
  get certainlyNotDone(): boolean {
    if (this.failure.kind === "aborted") return !this.failure.sent;
    return !(["timed_out", "interrupted", "ended"] as const).some((kind) => kind === this.failure.kind);
  }
}

/** Throw this in the token callback when there will be no token (the user has logged out): the client ends. Any other error is tried again. */
export class TokenDenied extends Error {
  override readonly name = "TokenDenied";
}

/** In words. */
export function describeEnded(ended: Ended): string {
  switch (ended.kind) {
    case "closed":
      return "the client was closed";
    case "by_server":
      return `the server ended it: ${ended.reason} (${ended.code})`;
    case "unauthorized":
      return ended.reason;
    case "no_token":
      return `no token: ${ended.reason}`;
    case "cannot_connect":
      return `cannot connect: ${ended.reason}`;
    case "version":
      return `the server speaks version ${ended.version} of the protocol, and this client version 1`;
  }
}

/** In words. */
export function describeCause(cause: Cause): string {
  switch (cause.kind) {
    case "by_server":
      return `closed by the server (${cause.code}${cause.reason && `: ${cause.reason}`})`;
    case "lost":
      return `the connection was lost: ${cause.reason}`;
    case "connect":
      return `cannot connect: ${cause.reason}`;
    case "silent":
      return "the server was silent for too long";
    case "no_answer":
      return "the server did not answer in time";
    case "protocol":
      return `the server broke the protocol: ${cause.reason}`;
    case "token":
      return cause.reason;
  }
}

function describeFailure(failure: RequestFailure): string {
  switch (failure.kind) {
    case "refused":
      return `${failure.refusal.message} (${failure.refusal.code})`;
    case "timed_out":
      return "no answer came in time";
    case "not_sent":
      return "there was no connection in time";
    case "interrupted":
      return "the connection was lost before the answer";
    case "queue_full":
      return "too many requests wait for the connection";
    case "dropped":
      return "a later request took its place in the queue";
    case "too_large":
      return `${failure.bytes} bytes, and the server takes ${failure.bytesMax}`;
    case "invalid":
      return failure.reason;
    case "aborted":
      return "aborted";
    case "already_subscribed":
      return "this client is subscribed to the channel already";
    case "ended":
      return describeEnded(failure.ended);
  }
}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
