// A client of the native protocol that stays connected: it reconnects with backoff and full jitter, subscribes again from the last
// position that it processed, renews its token, and takes a silent connection for dead.
//
// Owns the connection's life and the subscriptions. Knows nothing of the page; time, chance and sockets come from `Environment`.

import { Subscription, type SubscriptionHandlers } from "./subscription";
import {
  PROTOCOL_VERSION,
  SUBPROTOCOL,
  TOKEN_EXPIRED,
  decode,
  encodeBinary,
  mayReconnect,
  type Json,
  type Limits,
  type Position,
  type ServerMessage,
} from "./protocol";

export type { Json, Member, Position, Publication } from "./protocol";
export type { Subscription, SubscriptionHandlers } from "./subscription";

export type State =
  | { kind: "idle" }
  | { kind: "connecting"; attempt: number }
  | { kind: "open"; session: string; user: string | null; limits: Limits | undefined }
  /** Connects again at `retryAt`, in milliseconds of the environment's clock. */
  | { kind: "waiting"; retryAt: number; attempt: number; why: string }
  /** Does not connect again by itself: the same attempt would be refused again. */
  | { kind: "stopped"; why: string };

/** What the client takes from the world; a test gives its own. */
export interface Environment {
  open(url: string, protocols: string[]): Socket;
  /** Milliseconds since 1970. */
  now(): number;
  /** From 0 to 1, without 1. */
  random(): number;
  after(milliseconds: number, run: () => void): unknown;
  cancel(timer: unknown): void;
}

/** The part of the browsers' `WebSocket` that is used. */
export interface Socket {
  binaryType: string;
  onmessage: ((event: { data: string | ArrayBuffer }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

export interface ClientOptions {
  /** `ws://HOST/ws` or `ws://HOST/ws/KEY`. */
  url: string;
  /** Asked before each connection and before the token expires. `null` connects as a guest. If it rejects, the attempt counts as failed. */
  token?: () => Promise<string | null>;
  onState?: (state: State) => void;
  /** Every frame, as it was sent or received. */
  onFrame?: (direction: "in" | "out", data: string | Uint8Array) => void;
  environment?: Environment;
}

/** One request was refused; the connection lives. `temporary`: the same request may succeed later. */
export class RequestError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly temporary: boolean,
  ) {
    super(message);
  }
}

/** The connection ended before the answer came; whether the request was carried out is not known. */
export class ConnectionLost extends Error {}

/** The token could not be had, or was refused for good. */
export class TokenError extends Error {}

export const BACKOFF_MS_BASE = 500;
export const BACKOFF_MS_MAX = 20_000;
/** What a browser says when there was no Close frame. */
const ABNORMAL = 1006;
const OPENING_MS_MAX = 15_000;
const SILENCE_MS_MORE = 10_000;
/** A connection that lived this long was a good one: the next failure counts as the first. */
const STABLE_MS = 5_000;

interface Pending {
  resolve: (answer: ServerMessage) => void;
  reject: (error: Error) => void;
}

export class Client {
  state: State = { kind: "idle" };

  private readonly environment: Environment;
  private socket: Socket | null = null;
  /** Grows with each attempt, so that what an earlier one started can tell that it is over. */
  private generation = 0;
  private attempt = 0;
  private openedAt = 0;
  private timer: unknown = null;
  private silence: unknown = null;
  private silenceMs = 0;
  private requests = 0;
  private readonly pending = new Map<string, Pending>();
  private readonly subscriptions = new Map<string, Subscription>();
  private farewell: ServerMessage | null = null;

  constructor(private readonly options: ClientOptions) {
    this.environment = options.environment ?? browser();
  }

  /** Connects now, whatever the state; ends a wait. Does nothing while connecting or open. */
  connect(): void {
    if (this.state.kind === "connecting" || this.state.kind === "open") return;
    if (this.state.kind !== "waiting") this.attempt = 0;
    void this.open();
  }

  /** Closes for good, until `connect` is called. Requests without an answer are rejected. */
  close(): void {
    const socket = this.leave(new ConnectionLost("closed"));
    socket?.close(1000);
    this.become({ kind: "idle" });
  }

  /**
   * Subscribes now if the connection is open, and again after each reconnection. With `from` it resumes from that position.
   * A channel has one subscription at a time: another one replaces the handlers' owner.
   */
  subscribe(channel: string, handlers: SubscriptionHandlers, from: Position | null = null): Subscription {
    const subscription = new Subscription(channel, handlers, from);
    this.subscriptions.set(channel, subscription);
    if (this.state.kind === "open") this.start(subscription);
    return subscription;
  }

  unsubscribe(channel: string): void {
    if (this.subscriptions.delete(channel) && this.state.kind === "open") {
      this.request("unsubscribe", { channel }).catch(() => {});
    }
  }

  /** Resolves when the server has accepted it. Rejects with `RequestError` or `ConnectionLost`. */
  async publish(channel: string, data: Json | Uint8Array, more: { event?: string; key?: string; exclude_self?: boolean } = {}): Promise<Position> {
    const answer =
      data instanceof Uint8Array
        ? await this.request("publish", { channel, ...more }, data)
        : await this.request("publish", { channel, data, ...more });
    if (!answer.position) throw new RequestError("internal", "the answer has no position", false);
    return answer.position;
  }

  /** Sends any request and resolves with its `ok` or `pong`. Rejects with `RequestError` or `ConnectionLost`. */
  request(type: string, members: { [name: string]: Json | undefined } = {}, payload?: Uint8Array): Promise<ServerMessage> {
    return new Promise((resolve, reject) => this.ask(type, members, { resolve, reject }, payload));
  }

  /** Sends a frame as it is, whatever it says. Its answer arrives at `onFrame` alone. Throws `ConnectionLost`. */
  sendRaw(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.state.kind !== "open") throw new ConnectionLost("not connected");
    this.write(data);
  }

  private async open(): Promise<void> {
    const generation = ++this.generation;
    this.environment.cancel(this.timer);
    this.farewell = null;
    this.become({ kind: "connecting", attempt: this.attempt });
    let token: string | null;
    try {
      token = (await this.options.token?.()) ?? null;
    } catch (error) {
      if (generation !== this.generation) return;
      return error instanceof TokenError ? this.stop(error.message) : this.retry(reasonOf(error));
    }
    if (generation !== this.generation) return;
    let socket: Socket;
    try {
      socket = this.environment.open(this.options.url, [SUBPROTOCOL]);
    } catch (error) {
      // Only a malformed address or a page that may not connect at all is refused here.
      return this.stop(reasonOf(error));
    }
    this.socket = socket;
    this.silenceMs = OPENING_MS_MAX;
    this.listen();
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      if (socket === this.socket) this.receive(data, token);
    };
    socket.onclose = ({ code, reason }) => {
      if (socket === this.socket) this.closed(code, reason);
    };
  }

  private receive(data: string | ArrayBuffer, token: string | null): void {
    this.options.onFrame?.("in", typeof data === "string" ? data : new Uint8Array(data));
    this.listen();
    let message: ServerMessage;
    try {
      message = decode(data);
    } catch (error) {
      return this.abandon(`the server sent what this client does not understand: ${reasonOf(error)}`);
    }
    if (message.type === "welcome") void this.welcome(message, token);
    else this.handle(message);
  }

  private async welcome(message: ServerMessage, token: string | null): Promise<void> {
    const generation = this.generation;
    if (message.version !== PROTOCOL_VERSION) {
      return this.abandon(`the server speaks version ${message.version} of the protocol, this client ${PROTOCOL_VERSION}`);
    }
    this.silenceMs = (message.heartbeat_ms ?? 25_000) + SILENCE_MS_MORE;
    this.listen();
    let user = message.user ?? null;
    if (token !== null) {
      try {
        user = (await this.request("authenticate", { token })).user ?? null;
      } catch (error) {
        if (generation !== this.generation || error instanceof ConnectionLost) return;
        const temporary = error instanceof RequestError && error.temporary;
        return this.abandon(`the token was refused: ${reasonOf(error)}`, temporary);
      }
    } else if (user === null) {
      return this.abandon("this application wants a token");
    }
    if (generation !== this.generation) return;
    this.openedAt = this.environment.now();
    this.become({ kind: "open", session: message.session ?? "", user, limits: message.limits });
    for (const subscription of this.subscriptions.values()) this.start(subscription);
  }

  private start(subscription: Subscription): void {
    const current = () => this.subscriptions.get(subscription.channel) === subscription;
    // Not awaited: the answer must have been handled before the message behind it is.
    this.ask("subscribe", subscription.asked(), {
      resolve: (answer) => {
        if (current()) subscription.started(answer);
      },
      reject: (error) => {
        if (!current() || !(error instanceof RequestError)) return;
        // Without the right to see who is present, the messages alone are still worth having.
        if (error.code === "permission_denied" && subscription.withoutPresence()) this.start(subscription);
        else subscription.refused(error);
      },
    });
  }

  private ask(type: string, members: { [name: string]: Json | undefined }, pending: Pending, payload?: Uint8Array): void {
    if (!this.socket) return pending.reject(new ConnectionLost("not connected"));
    // Strings of our own form, so that the answer to a frame written by hand is not taken for one of ours.
    const id = `c${++this.requests}`;
    this.pending.set(id, pending);
    const message = { type, id, ...members } as { [name: string]: Json };
    this.write(payload ? encodeBinary(message, payload) : JSON.stringify(message));
  }

  private handle(message: ServerMessage): void {
    switch (message.type) {
      case "ok":
      case "pong":
        return this.settle(message, (pending) => pending.resolve(message));
      case "error":
        return this.settle(message, (pending) =>
          pending.reject(new RequestError(String(message.code), message.message ?? "", message.temporary ?? false)),
        );
      case "batch":
        return message.messages?.forEach((one) => this.handle(one));
      case "ping":
        return this.write('{"type":"pong"}');
      case "disconnect":
        this.farewell = message;
        return;
      case "token_expiring":
        return void this.renew();
      default:
        // Of what is not known, the protocol says: ignore it.
        this.subscriptions.get(message.channel ?? "")?.handle(message);
    }
  }

  private settle(message: ServerMessage, settle: (pending: Pending) => void): void {
    const pending = typeof message.id === "string" ? this.pending.get(message.id) : undefined;
    if (!pending) return;
    this.pending.delete(message.id as string);
    settle(pending);
  }

  private async renew(): Promise<void> {
    const { generation } = this;
    try {
      const token = (await this.options.token?.()) ?? null;
      if (token !== null && generation === this.generation) await this.request("authenticate", { token });
    } catch {
      // The server ends the connection when the old token expires, and says why; the next attempt asks for a token again.
    }
  }

  private closed(code: number, reason: string): void {
    const { farewell } = this;
    const said = typeof farewell?.code === "number" ? farewell.code : code;
    this.lost(this.ending(said, reason || farewell?.reason || ""), said, farewell);
  }

  private ending(code: number, reason: string): string {
    if (code !== ABNORMAL) return `closed by the server (${code}${reason && `: ${reason}`})`;
    if (this.state.kind === "open") return "the connection broke";
    // Browsers do not tell a page why a connection never came about.
    const { url } = this.options;
    return `cannot reach ${url}${url.startsWith("wss:") ? "; does this browser trust its certificate?" : ""}`;
  }

  private lost(why: string, code: number, farewell: ServerMessage | null = null): void {
    this.leave(new ConnectionLost(why));
    // An expired token ends only what it opened: a client that can fetch a fresh one comes back.
    const renewable = code === TOKEN_EXPIRED && this.options.token !== undefined;
    if (renewable || (farewell?.reconnect ?? mayReconnect(code))) this.retry(why, farewell?.after_ms);
    else this.stop(why);
  }

  /** Ends a connection that is of no use, for good or until the next attempt. */
  private abandon(why: string, again = false): void {
    this.leave(new ConnectionLost(why))?.close(1000);
    if (again) this.retry(why);
    else this.stop(why);
  }

  private retry(why: string, afterMs?: number): void {
    this.generation += 1;
    if (this.openedAt && this.environment.now() - this.openedAt >= STABLE_MS) this.attempt = 0;
    this.openedAt = 0;
    // Full jitter: after a restart, everybody's next attempt falls anywhere in the window.
    const window = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_BASE * 2 ** this.attempt);
    const delay = afterMs ?? this.environment.random() * window;
    this.attempt += 1;
    this.become({ kind: "waiting", retryAt: this.environment.now() + delay, attempt: this.attempt, why });
    this.timer = this.environment.after(delay, () => void this.open());
  }

  private stop(why: string): void {
    this.generation += 1;
    this.become({ kind: "stopped", why });
  }

  /** Lets go of the socket, the timers and the requests, and returns the socket, whose events no longer count. */
  private leave(error: Error): Socket | null {
    const { socket } = this;
    this.generation += 1;
    this.socket = null;
    this.environment.cancel(this.timer);
    this.environment.cancel(this.silence);
    const pending = [...this.pending.values()];
    this.pending.clear();
    for (const { reject } of pending) reject(error);
    for (const subscription of this.subscriptions.values()) subscription.paused();
    return socket;
  }

  /** Something was heard: the clock of silence starts again. */
  private listen(): void {
    this.environment.cancel(this.silence);
    this.silence = this.environment.after(this.silenceMs, () => {
      const socket = this.socket;
      this.lost(`nothing was heard for ${Math.round(this.silenceMs / 1000)} s`, ABNORMAL);
      socket?.close();
    });
  }

  private write(data: string | Uint8Array<ArrayBuffer>): void {
    this.socket?.send(data);
    this.options.onFrame?.("out", data);
  }

  private become(state: State): void {
    this.state = state;
    this.options.onState?.(state);
  }
}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function browser(): Environment {
  return {
    open: (url, protocols) => new WebSocket(url, protocols) as unknown as Socket,
    now: () => Date.now(),
    random: () => Math.random(),
    after: (milliseconds, run) => setTimeout(run, milliseconds),
    cancel: (timer) => clearTimeout(timer as number),
  };
}
