// One connection, one timer, the state machine between them. Owns what runs; decides nothing.

import { Core } from "./core/core.js";
import type { Config } from "./core/config.js";
import { reasonOf, TokenDenied } from "./core/errors.js";
import type { Output, Tokens } from "./core/io.js";
import type { Frame } from "./core/wire.js";
import { attempt } from "./emitter.js";
import type { Environment } from "./environment.js";
import type { Connection, Listener } from "./transports/transport.js";
import type { Ways } from "./ways.js";

export type TokenCallback = () => Promise<string | null> | string | null;

/** What is for the application. */
export type Told = Exclude<Output, { type: "fetch_token" | "connect" | "close" | "abort" }>;

export interface DriverOptions {
  readonly url: string;
  readonly config: Config;
  readonly tokens: Tokens;
  readonly callback: TokenCallback | null;
  readonly ways: Ways;
  readonly environment: Environment;
  readonly onFrame: ((direction: "in" | "out", frame: string | Uint8Array) => void) | null;
  /** Takes what is for the application, with the bytes of the frame that brought it. */
  readonly tell: (told: Told, bytes: number) => void;
}

export class Driver {
  readonly core: Core;
  private connection: Connection | null = null;
  /** What an earlier question or attempt says does not count any more. */
  private question = 0;
  private timer: unknown = null;
  private timerAt: number | null = null;
  private turning = false;
  private again = false;
  private readAt: number;
  private time = 0;
  private unwatch: (() => void) | null = null;

  constructor(private readonly options: DriverOptions) {
    this.core = new Core(options.config, options.tokens, () => options.environment.random());
    this.readAt = options.environment.now();
  }

  /** Milliseconds that do not run backwards; time that was slept counts. */
  now(): number {
    const read = this.options.environment.now();
    this.time += Math.max(0, read - this.readAt);
    this.readAt = read;
    return this.time;
  }

  /** Changes the state machine, and does what follows from it. */
  change<T>(change: (core: Core, now: number) => T): T {
    try {
      return change(this.core, this.now());
    } finally {
      this.turn(0);
    }
  }

  /** Sends a frame as it is, whatever it says. False if there is no connection. */
  sendRaw(frame: Frame): boolean {
    if (!this.core.isOnline || !this.connection) return false;
    this.write(this.connection, frame);
    return true;
  }

  private turn(bytes: number): void {
    // The application's code, called from here, may bring us here.
    if (this.turning) {
      this.again = true;
      return;
    }
    this.turning = true;
    do {
      this.again = false;
      this.obey(bytes);
      this.transmit();
      this.obey(bytes);
    } while (this.again);
    this.turning = false;
    this.arm();
    this.live();
  }

  private obey(bytes: number): void {
    for (let output = this.core.pollOutput(); output; output = this.core.pollOutput()) {
      switch (output.type) {
        case "fetch_token":
          this.fetchToken();
          break;
        case "connect":
          this.connect(output.token);
          break;
        case "close":
          this.connection?.close(output.code);
          this.connection = null;
          break;
        case "abort":
          this.connection?.abort();
          this.connection = null;
          break;
        default: {
          const told = output;
          attempt(() => this.options.tell(told, bytes));
        }
      }
    }
  }

  private fetchToken(): void {
    const question = ++this.question;
    const answer = (result: Parameters<Core["onToken"]>[1]) => {
      if (question === this.question) this.change((core, now) => core.onToken(now, result));
    };
    const { callback } = this.options;
    // Called later, not from within: it is the application's code.
    Promise.resolve()
      .then(() => callback?.() ?? null)
      .then(
        (token) => answer({ token }),
        (error: unknown) => answer({ reason: reasonOf(error), final: error instanceof TokenDenied }),
      );
  }

  private connect(token: string | null): void {
    let connection: Connection | null = null;
    const own = (tell: (core: Core, now: number) => void, bytes = 0, over = false) => {
      if (connection === null || connection !== this.connection) return;
      if (over) this.connection = null;
      tell(this.core, this.now());
      this.turn(bytes);
    };
    const listener: Listener = {
      onOpen: () => own((core, now) => core.onConnected(now)),
      onFailed: (failure) => own((core, now) => core.onConnectFailed(now, failure), 0, true),
      onClosed: (code, reason) => own((core, now) => core.onClosed(now, code, reason), 0, true),
      onFrame: (frame) => {
        if (connection !== this.connection) return;
        const { onFrame } = this.options;
        if (onFrame) attempt(() => onFrame("in", frame));
        own((core, now) => core.receive(now, frame), frame.length);
      },
    };
    connection = this.options.ways.next(this.now()).open({ url: this.options.url, token }, listener);
    this.connection = connection;
  }

  private transmit(): void {
    const { connection } = this;
    while (connection && connection === this.connection && connection.bufferedBytes < BUFFERED_BYTES_MAX) {
      const frame = this.core.pollTransmit(this.now());
      if (frame === null) break;
      this.write(connection, frame);
    }
  }

  private write(connection: Connection, frame: Frame): void {
    connection.send(frame);
    const { onFrame } = this.options;
    if (onFrame) attempt(() => onFrame("out", frame));
  }

  private arm(): void {
    const now = this.now();
    let at = this.core.pollTimeout();
    // No event tells when a browser's buffer has room again.
    if (this.connection && this.connection.bufferedBytes >= BUFFERED_BYTES_MAX) at = Math.min(at ?? Infinity, now + BUFFERED_POLL_MS);
    // Timers stand still while a machine sleeps: with a short one, waking up is noticed soon.
    if (at !== null) at = Math.min(at, now + TIMER_MS_MAX);
    if (at !== null && this.timerAt !== null && this.timerAt <= at && this.timerAt > now) return;
    this.options.environment.cancel(this.timer);
    this.timerAt = at;
    if (at !== null) this.timer = this.options.environment.after(Math.max(0, at - now), () => this.onTimer());
  }

  private onTimer(): void {
    const due = this.timerAt;
    this.timerAt = null;
    const now = this.now();
    if (due !== null && now - due > SLEPT_MS) this.core.wake(now);
    this.core.handleTimeout(now);
    this.turn(0);
  }

  /** The page's life is watched for as long as there is something to wake. */
  private live(): void {
    const over = this.core.ended !== null;
    if (over && this.unwatch) {
      this.unwatch();
      this.unwatch = null;
    }
    if (over || this.unwatch || this.core.isIdle) return;
    const wake = () => this.change((core, now) => core.wake(now));
    this.unwatch = this.options.environment.watch({
      onWake: wake,
      // Only what stands is looked at: an attempt without a network costs nothing, and a server on this machine needs none.
      onOffline: () => this.core.isOnline && wake(),
      onSuspend: () => this.change((core, now) => core.suspend(now)),
    });
  }
}

/** What a connection may hold that has not left yet; requests wait in the state machine's own queue. */
const BUFFERED_BYTES_MAX = 1024 * 1024;
const BUFFERED_POLL_MS = 20;
const TIMER_MS_MAX = 10_000;
/** A timer that comes so late was asleep. */
const SLEPT_MS = 5_000;
