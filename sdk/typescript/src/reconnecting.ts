// A WebSocket that reconnects: the platform's class from outside, for any server and any protocol. Owns when the next attempt is made and
// what waits for it. Knows nothing of what messages say.

import { reasonOf } from "./core/errors.js";
import { sizeOf } from "./core/wire.js";
import { PLATFORM, type Environment } from "./environment.js";
import { platformWebSocket, type WebSocketConstructor, type WebSocketLike } from "./transports/websocket.js";

/** An address, or a function that says it before each attempt. */
export type UrlProvider = string | URL | (() => string | URL) | (() => Promise<string | URL>);

/** Subprotocols, or a function that says them before each attempt. */
export type ProtocolsProvider = string | string[] | null | (() => string | string[] | null) | (() => Promise<string | string[] | null>);

/** Times in milliseconds. */
export interface ReconnectingOptions {
  /** The longest wait between two attempts. Default 10,000. */
  maxReconnectionDelay?: number;
  /** The wait before the second attempt is at least this long. Default a random time from 1,000 to 5,000. */
  minReconnectionDelay?: number;
  /** By how much each wait is longer than the one before. Default 1.3. */
  reconnectionDelayGrowFactor?: number;
  /** A connection that lasted so long makes the next attempt the first again. Default 5,000. */
  minUptime?: number;
  /** How long an attempt may take. Default 4,000. */
  connectionTimeout?: number;
  /** Attempts after the first in a row. Default: no limit. */
  maxRetries?: number;
  /** Messages that may wait for the connection; what comes then is not kept. Default: no limit but `maxEnqueuedBytes`. */
  maxEnqueuedMessages?: number;
  /** Bytes of messages that may wait for the connection. Default 16 MiB. */
  maxEnqueuedBytes?: number;
  /** Do not connect until `reconnect` is called. */
  startClosed?: boolean;
  /** Say on the console, or to `debugLogger`, what happens. */
  debug?: boolean;
  debugLogger?: (...words: unknown[]) => void;
  /** A WebSocket implementation, such as the package `ws`'s: for Node 20, which has none of its own. */
  WebSocket?: WebSocketConstructor;
  /** Time, chance and the page's life; a test gives its own. */
  environment?: Environment;
}

export type Sendable = string | ArrayBuffer | Blob | ArrayBufferView;

interface EventMap {
  open: Event;
  message: MessageEvent;
  error: ErrorEvent;
  close: CloseEvent;
}

type Listener<Type extends keyof EventMap> = ((event: EventMap[Type]) => unknown) | { handleEvent(event: EventMap[Type]): unknown };

const DEFAULT_BYTES = 16 * 1024 * 1024;

/**
 * A `WebSocket` that reconnects, for any server. It has the platform's members and events: `open` and `close` tell each connection, and
 * what is sent while there is none waits. It does not reconnect after `close()`.
 *
 * ```ts
 * const socket = new ReconnectingWebSocket("wss://live.example.org/chat");
 * socket.onmessage = ({ data }) => console.log(data);
 * socket.send("hello");
 * ```
 */
export class ReconnectingWebSocket extends EventTarget {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;
  readonly CONNECTING = 0;
  readonly OPEN = 1;
  readonly CLOSING = 2;
  readonly CLOSED = 3;

  onopen: ((event: Event) => unknown) | null = null;
  onmessage: ((event: MessageEvent) => unknown) | null = null;
  onerror: ((event: ErrorEvent) => unknown) | null = null;
  onclose: ((event: CloseEvent) => unknown) | null = null;

  private readonly environment: Environment;
  private readonly minDelay: number;
  private socket: WebSocketLike | null = null;
  private queue: { readonly data: Sendable; readonly bytes: number }[] = [];
  private queueBytes = 0;
  private binary: BinaryType = "blob";
  /** What an earlier attempt says does not count any more. */
  private generation = 0;
  private retries = -1;
  private openedAt: number | null = null;
  private shouldReconnect = true;
  /** An attempt is on its way, before there is a socket. */
  private pending = false;
  private lastUrl = "";
  private timer: unknown = null;
  private timeout: unknown = null;
  private unwatch: (() => void) | null = null;

  constructor(
    private readonly urlProvider: UrlProvider,
    private readonly protocolsProvider: ProtocolsProvider = null,
    private readonly options: ReconnectingOptions = {},
  ) {
    super();
    this.environment = options.environment ?? PLATFORM;
    this.minDelay = options.minReconnectionDelay ?? 1_000 + this.environment.random() * 4_000;
    if (options.startClosed) this.shouldReconnect = false;
    else this.connect();
  }

  get binaryType(): BinaryType {
    return this.binary;
  }

  set binaryType(type: BinaryType) {
    this.binary = type;
    if (this.socket) this.socket.binaryType = type;
  }

  /** Attempts after the first in a row, until a connection has lasted `minUptime`. */
  get retryCount(): number {
    return Math.max(this.retries, 0);
  }

  /** What was sent and has not left yet, with what waits for a connection. */
  get bufferedAmount(): number {
    return this.queueBytes + (this.socket?.bufferedAmount ?? 0);
  }

  get extensions(): string {
    return (this.socket as WebSocket | null)?.extensions ?? "";
  }

  get protocol(): string {
    return (this.socket as WebSocket | null)?.protocol ?? "";
  }

  /** The address of the latest attempt. */
  get url(): string {
    return this.lastUrl;
  }

  /** `CONNECTING` while it waits for the next attempt too: only `CLOSED` means that nothing happens by itself. */
  get readyState(): 0 | 1 | 2 | 3 {
    if (this.socket && this.socket.readyState < 3) return this.socket.readyState as 0 | 1 | 2;
    return this.shouldReconnect ? 0 : 3;
  }

  /** Sends, or keeps it for the next connection. Data beyond `maxEnqueuedMessages` or `maxEnqueuedBytes` is not kept. */
  send(data: Sendable): void {
    if (this.socket?.readyState === 1) {
      this.log("send", data);
      return this.socket.send(data as string);
    }
    const { maxEnqueuedMessages = Infinity, maxEnqueuedBytes = DEFAULT_BYTES } = this.options;
    const bytes = bytesOf(data);
    if (this.queue.length >= maxEnqueuedMessages || this.queueBytes + bytes > maxEnqueuedBytes) return this.log("no room for", data);
    this.log("enqueue", data);
    this.queue.push({ data, bytes });
    this.queueBytes += bytes;
  }

  /** Closes, and does not reconnect. What waits is not sent. */
  close(code = 1000, reason?: string): void {
    this.stopWaiting();
    this.shouldReconnect = false;
    this.pending = false;
    if (this.socket) return this.socket.close(code, reason);
    this.forgetQueue();
  }

  /** Closes what there is and connects at once, also after `close`. */
  reconnect(code = 1000, reason?: string): void {
    this.shouldReconnect = true;
    this.retries = -1;
    const { socket } = this;
    if (socket && socket.readyState < 3) {
      this.leave(socket);
      socket.close(code, reason);
      this.tellClosed(code, reason ?? "", true);
    }
    this.connect();
  }

  override addEventListener<Type extends keyof EventMap>(type: Type, listener: Listener<Type> | null, options?: boolean | AddEventListenerOptions): void {
    super.addEventListener(type, listener as EventListenerOrEventListenerObject | null, options);
  }

  override removeEventListener<Type extends keyof EventMap>(type: Type, listener: Listener<Type> | null, options?: boolean | EventListenerOptions): void {
    super.removeEventListener(type, listener as EventListenerOrEventListenerObject | null, options);
  }

  private connect(): void {
    this.stopWaiting();
    const generation = ++this.generation;
    this.pending = true;
    this.shouldReconnect = true;
    this.retries += 1;
    this.unwatch ??= this.environment.watch({ onWake: () => this.hurry(), onOffline() {}, onSuspend() {} });
    this.log("connect", this.retries);
    void this.attempt(generation);
  }

  private async attempt(generation: number): Promise<void> {
    try {
      const url = await provided(this.urlProvider);
      const protocols = await provided(this.protocolsProvider);
      if (generation !== this.generation || !this.shouldReconnect) return;
      this.lastUrl = String(url);
      this.open(generation, this.lastUrl, protocols);
    } catch (error) {
      if (generation !== this.generation || !this.shouldReconnect) return;
      this.pending = false;
      this.tell("error", { message: reasonOf(error), error });
      this.wait();
    }
  }

  private open(generation: number, url: string, protocols: string | string[] | null): void {
    const Constructor = this.options.WebSocket ?? platformWebSocket();
    if (!Constructor) throw new TypeError("there is no WebSocket here; give one as `WebSocket`");
    const socket = protocols === null ? new Constructor(url) : new Constructor(url, protocols);
    this.pending = false;
    this.socket = socket;
    socket.binaryType = this.binary;
    const current = (run: (event: any) => void) => (event: unknown) => {
      if (generation === this.generation && socket === this.socket) run(event);
    };
    socket.onopen = current(() => this.opened(socket));
    socket.onmessage = current(({ data, origin, lastEventId }: MessageEvent) => {
      this.tell("message", { data, origin: origin ?? "", lastEventId: lastEventId ?? "" });
    });
    socket.onerror = current((event: { message?: string; error?: unknown }) => {
      this.tell("error", { message: event.message ?? "", error: event.error });
    });
    socket.onclose = current(({ code, reason, wasClean }: CloseEvent) => {
      this.leave(socket);
      this.ended(code, reason, wasClean);
    });
    const { connectionTimeout = 4_000 } = this.options;
    this.timeout = this.environment.after(connectionTimeout, () => this.giveUp(socket));
  }

  private opened(socket: WebSocketLike): void {
    this.environment.cancel(this.timeout);
    this.openedAt = this.environment.now();
    const waiting = this.queue;
    this.forgetQueue();
    this.tell("open", {});
    // A listener may have closed it.
    for (const { data } of waiting) if (socket.readyState === 1) socket.send(data as string);
  }

  private giveUp(socket: WebSocketLike): void {
    if (socket !== this.socket) return;
    this.leave(socket);
    if (socket.terminate) socket.terminate();
    else socket.close();
    this.tell("error", { message: "TIMEOUT", error: new Error("TIMEOUT") });
    this.ended(1006, "", false);
  }

  /** Lets go of a socket: what else it says does not count. */
  private leave(socket: WebSocketLike): void {
    this.environment.cancel(this.timeout);
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {};
    if (this.socket === socket) this.socket = null;
  }

  private ended(code: number, reason: string, wasClean: boolean): void {
    const { minUptime = 5_000, maxRetries = Infinity } = this.options;
    if (this.openedAt !== null && this.environment.now() - this.openedAt >= minUptime) this.retries = 0;
    this.openedAt = null;
    if (this.retryCount >= maxRetries) {
      this.log("max retries reached", this.retryCount);
      this.shouldReconnect = false;
    }
    if (!this.shouldReconnect) this.forgetQueue();
    this.tellClosed(code, reason, wasClean);
    // A listener may have decided otherwise.
    if (this.shouldReconnect && !this.socket && !this.pending && this.timer === null) this.wait();
    if (!this.shouldReconnect) this.stopWaiting();
  }

  private wait(): void {
    const { maxReconnectionDelay = 10_000, reconnectionDelayGrowFactor = 1.3, maxRetries = Infinity } = this.options;
    if (this.retryCount >= maxRetries) {
      this.shouldReconnect = false;
      return this.stopWaiting();
    }
    const delay = Math.min(maxReconnectionDelay, this.minDelay * reconnectionDelayGrowFactor ** this.retryCount);
    this.log("next attempt in", delay);
    this.timer = this.environment.after(delay, () => {
      this.timer = null;
      this.connect();
    });
  }

  /** The network is back, or the page is seen again. */
  private hurry(): void {
    if (this.timer !== null && this.shouldReconnect) this.connect();
  }

  private stopWaiting(): void {
    this.environment.cancel(this.timer);
    this.timer = null;
    this.unwatch?.();
    this.unwatch = null;
  }

  private forgetQueue(): void {
    this.queue = [];
    this.queueBytes = 0;
  }

  private tellClosed(code: number, reason: string, wasClean: boolean): void {
    this.tell("close", { code, reason, wasClean });
  }

  private tell<Type extends keyof EventMap>(type: Type, members: object): void {
    this.log("event", type, members);
    const event = this.make(type, members) as EventMap[Type];
    const handler = this[`on${type}`] as ((event: EventMap[Type]) => unknown) | null;
    // As a listener of its own, so that what it throws does not stop the others.
    const own = (event: Event) => handler?.call(this, event as EventMap[Type]);
    super.addEventListener(type, own, { once: true });
    this.dispatchEvent(event);
    super.removeEventListener(type, own);
  }

  private make(type: string, members: object): Event {
    const platform = globalThis as { [name: string]: unknown };
    const Class = platform[CLASSES[type] ?? ""] as (new (type: string, members: object) => Event) | undefined;
    if (Class) return new Class(type, members);
    // Node has no class for some of them; what they carry is the same.
    const event = new Event(type);
    for (const [name, value] of Object.entries(members)) Object.defineProperty(event, name, { value, enumerable: true });
    return event;
  }

  private log(...words: unknown[]): void {
    if (this.options.debug) (this.options.debugLogger ?? console.log)("ReconnectingWebSocket", ...words);
  }
}

const CLASSES: { [type: string]: string } = { message: "MessageEvent", close: "CloseEvent", error: "ErrorEvent" };

async function provided<T>(provider: T | (() => T) | (() => Promise<T>)): Promise<T> {
  return typeof provider === "function" ? (provider as () => T | Promise<T>)() : provider;
}

function bytesOf(data: Sendable): number {
  if (typeof data === "string") return sizeOf(data);
  return "size" in data ? data.size : data.byteLength;
}
