// The client as the application holds it: promises, listeners and abort signals over the state machine. Owns who waits for what; decides
// nothing about connections.

import { DEFAULTS, type Config } from "./core/config.js";
import { RequestError, type Cause, type Ended, type Refusal, type RequestFailure } from "./core/errors.js";
import type { Answer, Request, Tokens } from "./core/io.js";
import type { Wanted } from "./core/subscriptions.js";
import type { ConnectionEvent, Data, HistoryPage, Json, Position, Presence, Published, ServerLimits, Signalled } from "./core/types.js";
import { Driver, type Told, type TokenCallback } from "./driver.js";
import { Emitter } from "./emitter.js";
import { PLATFORM, type Environment } from "./environment.js";
import { Subscription } from "./subscription.js";
import { address, Ways, type WaysOptions } from "./ways.js";

/** What the connection does at this moment. */
export type State =
  | { readonly kind: "idle" }
  | { readonly kind: "connecting" }
  | { readonly kind: "online"; readonly session: string; readonly user: string | null; readonly limits: ServerLimits; readonly transport: string }
  /** The next attempt begins at `retryAt`, in milliseconds since 1970. */
  | { readonly kind: "waiting"; readonly retryAt: number; readonly cause: Cause }
  /** The page sleeps; it goes on when it wakes. */
  | { readonly kind: "suspended" }
  /** It does not connect again by itself; `connect` begins anew. */
  | { readonly kind: "ended"; readonly ended: Ended };

/** What can be listened to: each kind of event by its name, and every change of the state. */
export type ClientEvents = { [Type in ConnectionEvent["type"]]: Extract<ConnectionEvent, { type: Type }> } & { state: State };

export interface ClientOptions extends Partial<Config>, WaysOptions {
  /**
   * A token, or a function that fetches one: it is asked before each connection and whenever a token is about to expire, may answer
   * `null` for a guest, and throws `TokenDenied` if there will be none. Without it the client is a guest.
   */
  token?: string | TokenCallback;
  /** Do not connect until `connect` is called. */
  startClosed?: boolean;
  /** Every frame, as it is sent and received: for tools and tests. */
  onFrame?: (direction: "in" | "out", frame: string | Uint8Array) => void;
  /** Time, chance and the page's life; a test gives its own. */
  environment?: Environment;
}

export interface SubscribeOptions {
  /** Resume behind this position. Not for patterns. */
  since?: Position;
  /** Be told who is there, who comes and who leaves. Not for patterns. */
  presence?: boolean;
  /** At most so many deliveries of each key in a second, 1 to 1,000. Not for patterns. */
  rate?: number;
  /** Be given the value that the channel keeps. Not for patterns. */
  cached?: boolean;
  /** Ends the subscription. */
  signal?: AbortSignal;
}

export interface PublishOptions {
  /** A name for receivers to tell kinds of messages apart. */
  event?: string;
  /** Which earlier message this one replaces, on channels that keep the latest. */
  key?: string;
  /** Not to this connection. */
  excludeSelf?: boolean;
  /** The name under which the server publishes it only once; with it, it is sent again after a lost connection. */
  idempotencyKey?: string;
  /** Only if the channel is there; else the code is `conflict`. */
  ifPosition?: Position;
  /** Keep it for those who come, or leave nothing for them. */
  cache?: "keep" | "clear";
  /** Gives it up. What was sent by then may have been published: see `RequestError.certainlyNotDone`. */
  signal?: AbortSignal;
}

/** Whom a signal is for: all connections of a user, or one session, as the `from` of its own signals names it. */
export type Receiver = { user: string; session?: never } | { session: string; user?: never };

export interface SignalOptions {
  /** A name for receivers to tell kinds of signals apart. */
  event?: string;
  /** Gives it up. What was sent by then may have arrived. */
  signal?: AbortSignal;
}

export interface HistoryOptions {
  /** Only what came after it, oldest first. */
  since?: Position;
  /** Only what came before it: the latest of that. */
  before?: Position;
  /** 1 to 1,000; 100 if absent. */
  limit?: number;
  signal?: AbortSignal;
}

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/**
 * A client that stays connected. Subscriptions and requests need not wait for the connection: they wait by themselves.
 *
 * ```ts
 * const client = new Client("wss://live.example.org/ws", { token: () => fetchToken() });
 * const scores = client.subscribe<[number, number]>("scores");
 * scores.on("message", ({ data: [home, guests] }) => console.log(`${home} : ${guests}`));
 * await client.publish("scores", [2, 1]);
 * ```
 */
export class Client {
  private readonly driver: Driver;
  private readonly emitter = new Emitter<ClientEvents>();
  private readonly config: Config;
  private readonly environment: Environment;
  private readonly ways: Ways;
  private readonly waiting = new Map<number, Waiting>();
  private readonly subscriptions = new Map<number, Subscription<never>>();
  private current: State = { kind: "idle" };

  /** `url` is `wss://HOST/ws` or `wss://HOST/ws/KEY`; `https:` and addresses relative to the page will do. Throws `TypeError` if it is none. */
  constructor(url: string | URL, options: ClientOptions = {}) {
    this.config = { ...DEFAULTS, ...given(options) };
    this.environment = options.environment ?? PLATFORM;
    this.ways = new Ways(options);
    const { token, onFrame } = options;
    const callback = typeof token === "function" ? token : null;
    const tokens: Tokens = callback ? { kind: "fresh" } : token === undefined ? { kind: "none" } : { kind: "fixed", token: token as string };
    this.driver = new Driver({
      url: address(url),
      config: this.config,
      tokens,
      callback,
      ways: this.ways,
      environment: this.environment,
      onFrame: onFrame ?? null,
      tell: (told, bytes) => this.tell(told, bytes),
    });
    // Whoever makes it has time to listen first.
    if (!options.startClosed) queueMicrotask(() => this.current.kind === "idle" && this.connect());
  }

  get state(): State {
    return this.current;
  }

  /** Calls `listener` at each event of this name, until the returned function is called. */
  on<Name extends keyof ClientEvents>(name: Name, listener: (event: ClientEvents[Name]) => void): () => void {
    return this.emitter.on(name, listener);
  }

  /** Begins, or does not wait any longer for the next attempt, or begins anew after the end. Otherwise it changes nothing. */
  connect(): void {
    this.driver.change((core, now) => core.connect(now));
  }

  /** Waits until it is online. Rejects with `RequestError` when the client has ended. */
  async connected({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    signal?.throwIfAborted();
    if (this.settled()) return;
    await new Promise<void>((resolve, reject) => {
      const stop = () => {
        off();
        signal?.removeEventListener("abort", onAbort);
      };
      const onAbort = () => {
        stop();
        reject(signal?.reason);
      };
      const off = this.on("state", () => {
        try {
          if (!this.settled()) return;
          resolve();
        } catch (error) {
          reject(error);
        }
        stop();
      });
      signal?.addEventListener("abort", onAbort);
    });
  }

  private settled(): boolean {
    if (this.current.kind === "ended") throw new RequestError({ kind: "ended", ended: this.current.ended });
    return this.current.kind === "online";
  }

  /**
   * Subscribes to a channel. A client can have one subscription for each channel: throws `RequestError` for a channel that it is subscribed
   * to, and when the client has ended. A refusal comes by `ready` and by `unsubscribed`.
   */
  subscribe<T = Data>(channel: string, options: SubscribeOptions = {}): Subscription<T> {
    const { since, presence, rate, cached, signal } = options;
    const more = { ...(since && { since }), ...(presence && { presence }), ...(rate !== undefined && { rate }), ...(cached && { cached }) };
    return this.begin(channel, { channel, ...more }, signal);
  }

  /**
   * Subscribes to all channels that a pattern stands for, as far as the client's rights go: `+` is any one level, a final `#` the rest. Its
   * messages are live only: after a reconnection it tells `lost`. A channel that is also subscribed to by name comes to that subscription alone.
   */
  subscribePattern<T = Data>(pattern: string, { signal }: { signal?: AbortSignal } = {}): Subscription<T> {
    return this.begin(pattern, { pattern }, signal);
  }

  private begin<T>(name: string, wanted: Wanted, signal?: AbortSignal): Subscription<T> {
    signal?.throwIfAborted();
    return this.driver.change((core) => {
      let id: number;
      try {
        id = core.subscribe(wanted);
      } catch (error) {
        if (!(error instanceof RequestError) || error.failure.kind !== "refused") throw error;
        return this.refused(name, error, error.failure.refusal);
      }
      const change = (what: "unsubscribe" | "fallBehind" | "catchUp") => () => this.driver.change((core) => core[what](id));
      const end = change("unsubscribe");
      const source = {
        unsubscribe: () => {
          this.subscriptions.delete(id);
          end();
        },
        fallBehind: change("fallBehind"),
        catchUp: change("catchUp"),
      };
      const subscription = new Subscription<T>(name, wanted.since ?? null, this.config, source);
      this.subscriptions.set(id, subscription as unknown as Subscription<never>);
      signal?.addEventListener("abort", () => subscription.unsubscribe(), { once: true });
      return subscription;
    });
  }

  /** What the server would refuse is told as if it had. */
  private refused<T>(name: string, error: RequestError, refusal: Refusal): Subscription<T> {
    const nothing = () => {};
    const subscription = new Subscription<T>(name, null, this.config, { unsubscribe: nothing, fallBehind: nothing, catchUp: nothing });
    queueMicrotask(() => subscription.onRefused(error, { type: "unsubscribed", why: { kind: "refused", refusal } }));
    return subscription;
  }

  /** Publishes JSON, or bytes (a `Uint8Array`). Resolves when the server has it. Rejects with `RequestError`. */
  publish(channel: string, data: Data, { signal, ...options }: PublishOptions = {}): Promise<Published> {
    return this.ask<Published>({ type: "publish", channel, data, ...options }, signal);
  }

  /**
   * Sends JSON to one client, or to all of one user's, past the channel's history: to those that subscribe to the channel at that moment, as the
   * `signal` event of their subscriptions. Resolves with how many they are; it is never sent twice. By WebSocket only.
   */
  signal(channel: string, to: Receiver, data: Json, { event, signal }: SignalOptions = {}): Promise<Signalled> {
    const receiver = to.user === undefined ? { session: to.session } : { user: to.user };
    return this.ask<Signalled>({ type: "signal", channel, data, ...receiver, ...(event !== undefined && { event }) }, signal);
  }

  /** Who is on a channel; at most `limit` users are listed. */
  presence(channel: string, { signal, ...options }: { limit?: number; signal?: AbortSignal } = {}): Promise<Presence> {
    return this.ask<Presence>({ type: "presence", channel, ...options }, signal);
  }

  /** What was published to a channel, as far as it is kept. */
  history<T = Data>(channel: string, { signal, ...options }: HistoryOptions = {}): Promise<HistoryPage<T>> {
    return this.ask<HistoryPage<T>>({ type: "history", channel, ...options }, signal);
  }

  private async ask<A>(request: Request, signal?: AbortSignal): Promise<A> {
    signal?.throwIfAborted();
    let onAbort: (() => void) | undefined;
    try {
      return await new Promise<A>((resolve, reject) => {
        this.driver.change((core, now) => {
          const id = core.request(now, request);
          this.waiting.set(id, { resolve: resolve as (answer: Answer) => void, reject });
          onAbort = () => this.driver.change((core) => core.abort(id));
          signal?.addEventListener("abort", onAbort, { once: true });
        });
      });
    } finally {
      if (onAbort) signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Sends a frame as it is, whatever it says; its answer arrives at `onFrame` alone. For tools. Returns false if there is no connection. */
  sendRaw(frame: string | Uint8Array<ArrayBuffer>): boolean {
    return this.driver.sendRaw(frame);
  }

  /**
   * Closes: takes no more requests, sends what waits, waits for the answers (at most `closeTimeout`), ends the subscriptions. Resolves when it
   * is done. `connect` begins anew.
   */
  async close(): Promise<void> {
    if (this.current.kind === "ended") return;
    const ended = new Promise<void>((resolve) => {
      const off = this.on("ended", () => {
        off();
        resolve();
      });
    });
    this.driver.change((core, now) => core.close(now));
    await ended;
  }

  private tell(told: Told, bytes: number): void {
    switch (told.type) {
      case "answer":
        return this.settle(told.id)?.resolve(told.answer);
      case "failed":
        return this.settle(told.id)?.reject(new RequestError(told.failure));
      case "subscribed":
        return this.subscriptions.get(told.id)?.onSubscribed(told.subscribed);
      case "not_subscribed":
        return this.onNotSubscribed(told.id, told.failure);
      case "subscription": {
        const subscription = this.subscriptions.get(told.id);
        if (told.event.type === "unsubscribed") this.subscriptions.delete(told.id);
        return subscription?.deliver(told.event as never, told.position, bytes);
      }
      case "connection":
        return this.onConnection(told.event);
    }
  }

  private settle(id: number): Waiting | undefined {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    return waiting;
  }

  private onNotSubscribed(id: number, failure: RequestFailure): void {
    const subscription = this.subscriptions.get(id);
    this.subscriptions.delete(id);
    const why =
      failure.kind === "refused"
        ? { kind: "refused" as const, refusal: failure.refusal }
        : { kind: "ended" as const, ended: failure.kind === "ended" ? failure.ended : ({ kind: "closed" } as const) };
    subscription?.onRefused(new RequestError(failure), { type: "unsubscribed", why });
  }

  private onConnection(event: ConnectionEvent): void {
    this.ways.onEvent(this.driver.now(), event);
    const state = this.stateAfter(event);
    if (state) this.current = state;
    this.emitter.emit(event.type, event as never);
    if (state) this.emitter.emit("state", state);
  }

  private stateAfter(event: ConnectionEvent): State | null {
    switch (event.type) {
      case "connecting":
        return { kind: "connecting" };
      case "connected": {
        const { session, user, limits } = event;
        return { kind: "online", session, user, limits, transport: this.ways.current };
      }
      case "disconnected":
        return { kind: "waiting", retryAt: this.environment.now() + event.retryIn, cause: event.cause };
      case "suspended":
        return { kind: "suspended" };
      case "ended":
        return { kind: "ended", ended: event.ended };
      case "refresh_failed":
        return null;
    }
  }
}

/** The times and bounds that were given, and nothing that was given as undefined. */
function given(options: Partial<Config>): Partial<Config> {
  const names = Object.keys(DEFAULTS) as (keyof Config)[];
  return Object.fromEntries(names.filter((name) => options[name] !== undefined).map((name) => [name, options[name]]));
}
