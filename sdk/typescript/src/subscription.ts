// A subscription as the application holds it: listeners, or a loop that takes events when it is ready. Owns what waits for them. Knows
// nothing of the connection.

import type { Position, Message, Signal, Subscribed, SubscriptionEvent, Data } from "./core/types.js";
import { attempt, Emitter } from "./emitter.js";
import { Inbox } from "./inbox.js";

/** What can be listened to: each kind of event by its name, and `event` for all of them. */
export type SubscriptionEvents<T> = {
  [Type in Exclude<SubscriptionEvent["type"], "message" | "signal">]: Extract<SubscriptionEvent<T>, { type: Type }>;
} & { message: Message<T>; signal: Signal<T>; event: SubscriptionEvent<T> };

interface Item<T> {
  readonly event: SubscriptionEvent<T>;
  readonly position: Position | null;
}

/** What a subscription needs of its client. */
export interface Source {
  unsubscribe(): void;
  fallBehind(): void;
  catchUp(): void;
}

/**
 * A subscription. It lives through reconnections. Take its events with `on`, or with `for await`; until there is a reader they wait, in
 * bounds: a subscription that nobody reads, or whose loop is slow, is stopped, and resumed from the server's history when half of what
 * waits is read. Use listeners or one loop; beside a slow loop listeners wait too.
 */
export class Subscription<T = Data> implements AsyncIterable<SubscriptionEvent<T>> {
  /** The server's first answer. Rejects with `RequestError` if it refuses. Nobody has to wait for it. */
  readonly ready: Promise<Subscribed>;

  private readonly emitter = new Emitter<SubscriptionEvents<T>>();
  private readonly inbox: Inbox<Item<T>>;
  private readonly answer: { resolve: (subscribed: Subscribed) => void; reject: (error: Error) => void };
  private read: Position | null;
  private loops = 0;
  private emptying = false;
  private over = false;

  /** Made by `Client.subscribe`. */
  constructor(
    /** The channel, or the pattern. */
    readonly name: string,
    since: Position | null,
    bounds: { readonly inboxEventsMax: number; readonly inboxBytesMax: number },
    private readonly source: Source,
  ) {
    this.read = since;
    this.inbox = new Inbox(bounds.inboxEventsMax, bounds.inboxBytesMax);
    let answer: typeof this.answer | null = null;
    this.ready = new Promise((resolve, reject) => (answer = { resolve, reject }));
    // Refusals are told by an event too, and nobody has to wait for this one.
    this.ready.catch(() => {});
    this.answer = answer as unknown as typeof this.answer;
  }

  /** How far the reader has come. Store it, and give it to `since` to go on from there. */
  get position(): Position | null {
    return this.read;
  }

  /** It is over: it was ended from here or by the server, or refused, or the client has ended. */
  get closed(): boolean {
    return this.over;
  }

  /** Calls `listener` at each event of this name, until the returned function is called. */
  on<Name extends keyof SubscriptionEvents<T>>(name: Name, listener: (event: SubscriptionEvents<T>[Name]) => void): () => void {
    const off = this.emitter.on(name, listener);
    if (this.inbox.length > 0 && !this.emptying) {
      // What waited is told when all listeners that are added now are there.
      this.emptying = true;
      queueMicrotask(() => this.empty());
    }
    return off;
  }

  /** Ends it. Nothing more is told. */
  unsubscribe(): void {
    this.inbox.clear();
    if (this.over) return;
    this.finish();
    this.source.unsubscribe();
  }

  /** Every event, until it is over. Leaving the loop does not end the subscription. */
  [Symbol.asyncIterator](): AsyncIterator<SubscriptionEvent<T>, undefined> {
    this.loops += 1;
    let done = false;
    return {
      next: async () => {
        const taken = this.take();
        if (taken) return { done: false, value: taken.event };
        const waited = await this.inbox.wait();
        if (waited.done) return waited;
        this.read = waited.value.position;
        return { done: false, value: waited.value.event };
      },
      return: async () => {
        if (!done) this.loops -= 1;
        done = true;
        return { done: true, value: undefined };
      },
    };
  }

  /** Only the messages, until it is over. Who needs to know what was lost listens for it, or takes every event. */
  async *messages(): AsyncGenerator<Message<T>, void, undefined> {
    for await (const event of this) if (event.type === "message") yield event.message;
  }

  /** For the client: the server's first answer. @internal */
  onSubscribed(subscribed: Subscribed): void {
    this.read = subscribed.recovered === true ? this.read : subscribed.position;
    this.answer.resolve(subscribed);
  }

  /** For the client: there is no subscription. @internal */
  onRefused(error: Error, event: SubscriptionEvent<T>): void {
    this.answer.reject(error);
    this.deliver(event, this.read, 0);
  }

  /** For the client: an event. @internal */
  deliver(event: SubscriptionEvent<T>, position: Position | null, bytes: number): void {
    const last = event.type === "unsubscribed";
    if (this.listens && !this.emptying) this.tell({ event, position });
    if (!this.listens || this.emptying || this.loops > 0) {
      if (this.inbox.push({ event, position }, bytes) && !last) this.source.fallBehind();
    }
    if (last) this.finish();
  }

  private get listens(): boolean {
    return !this.emitter.isEmpty;
  }

  private tell({ event, position }: Item<T>): void {
    this.read = position;
    const emit = this.emitter.emit.bind(this.emitter) as (name: string, event: unknown) => void;
    emit("event", event);
    emit(event.type, event.type === "message" ? event.message : event.type === "signal" ? event.signal : event);
  }

  private take(): Item<T> | null {
    const taken = this.inbox.take();
    if (!taken) return null;
    this.read = taken.item.position;
    if (taken.goOn) this.source.catchUp();
    return taken.item;
  }

  private empty(): void {
    this.emptying = false;
    if (this.loops > 0) return;
    for (let item = this.take(); item; item = this.take()) {
      const taken = item;
      attempt(() => this.tell(taken));
    }
  }

  private finish(): void {
    this.over = true;
    this.inbox.close();
  }
}
