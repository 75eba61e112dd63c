// Requests that wait: to be sent, and for their answer. Owns the bounds of both; knows nothing of connections.

import type { Config } from "./config.js";
import type { RequestFailure } from "./errors.js";
import { sizeOf, type Frame } from "./wire.js";

export type Kind =
  /** `once`: the server does it only once, however often it is sent. */
  | { readonly type: "publish"; readonly once: boolean }
  | { readonly type: "signal" }
  | { readonly type: "presence" }
  | { readonly type: "history"; readonly channel: string }
  | { readonly type: "subscribe"; readonly subscription: number }
  | { readonly type: "authenticate"; readonly first: boolean };

interface Queued {
  readonly id: number;
  readonly kind: Kind;
  readonly frame: Frame;
  readonly bytes: number;
  readonly expires: number;
}

export interface Sent {
  readonly id: number;
  readonly kind: Kind;
  readonly deadline: number;
  /** To be sent again after a lost connection. */
  readonly again: Queued | null;
}

export class Requests {
  private queue: Queued[] = [];
  private queueBytes = 0;
  /** By id, in the order of their deadlines. */
  private sent = new Map<number, Sent>();
  private asked = 0;

  constructor(private readonly config: Config) {}

  /** Queues a request. Returns those that lost their place to it, or `null` if there is no room and the policy is to refuse. */
  push(now: number, id: number, kind: Kind, frame: Frame): number[] | null {
    const { queueRequestsMax, queueBytesMax, queueOverflow, queueTimeout } = this.config;
    const bytes = sizeOf(frame);
    if (bytes > queueBytesMax || queueRequestsMax === 0) return null;
    const dropped: number[] = [];
    while (this.queue.length >= queueRequestsMax || this.queueBytes + bytes > queueBytesMax) {
      if (queueOverflow === "reject") return null;
      const oldest = this.pop();
      if (!oldest) break;
      dropped.push(oldest.id);
    }
    this.queueBytes += bytes;
    this.queue.push({ id, kind, frame, bytes, expires: now + queueTimeout });
    return dropped;
  }

  private pop(): Queued | undefined {
    const queued = this.queue.shift();
    if (queued) this.queueBytes -= queued.bytes;
    return queued;
  }

  /** The next request to send, if another may be on its way; or one that cannot be sent, and why. */
  next(now: number, bytesMax: number): { frame: Frame } | { id: number; failure: RequestFailure } | null {
    if (this.asked >= Math.max(1, this.config.inFlightMax)) return null;
    const queued = this.pop();
    if (!queued) return null;
    const { id, kind, bytes, frame } = queued;
    if (bytes > bytesMax) return { id, failure: { kind: "too_large", bytes, bytesMax } };
    const again = repeats(kind) ? queued : null;
    this.put({ id, kind, deadline: now + this.config.requestTimeout, again });
    return { frame };
  }

  /** A request that did not wait in the queue is on its way. */
  wasSent(now: number, id: number, kind: Kind): void {
    this.put({ id, kind, deadline: now + this.config.requestTimeout, again: null });
  }

  private put(sent: Sent): void {
    if (isAsked(sent.kind)) this.asked += 1;
    this.sent.set(sent.id, sent);
  }

  /** Its answer has come, or nobody waits for it any longer. */
  answered(id: number): Kind | null {
    const sent = this.sent.get(id);
    if (!sent) return null;
    this.sent.delete(id);
    if (isAsked(sent.kind)) this.asked -= 1;
    return sent.kind;
  }

  /** The application gave it up. Says whether it was sent; `null` if it is not known. */
  abort(id: number): boolean | null {
    const index = this.queue.findIndex((queued) => queued.id === id);
    const queued = this.queue[index];
    if (queued) {
      this.queue.splice(index, 1);
      this.queueBytes -= queued.bytes;
      return false;
    }
    return this.answered(id) ? true : null;
  }

  /** The connection is lost: what can be repeated goes back to the queue's front, in its order. Returns what may have been done or not. */
  interrupt(): number[] {
    const sent = [...this.sent.values()];
    this.sent.clear();
    this.asked = 0;
    const again = sent.flatMap((one) => one.again ?? []);
    this.queue.unshift(...again);
    for (const { bytes } of again) this.queueBytes += bytes;
    return sent.filter((one) => !one.again && isAsked(one.kind)).map((one) => one.id);
  }

  /** One that has waited too long in the queue. */
  expireQueued(now: number): number | null {
    const first = this.queue[0];
    if (!first || first.expires > now) return null;
    this.pop();
    return first.id;
  }

  /** One whose answer did not come. */
  expireSent(now: number): Sent | null {
    const [first] = this.sent.values();
    if (!first || first.deadline > now) return null;
    this.answered(first.id);
    return first;
  }

  /** When the next of them has waited for too long. */
  timeout(): number {
    const [first] = this.sent.values();
    return Math.min(this.queue[0]?.expires ?? Infinity, first?.deadline ?? Infinity);
  }

  /** Nothing of the application's waits. */
  isIdle(): boolean {
    return this.queue.length === 0 && this.asked === 0;
  }

  /** Everything that waits, when there will be no answers any more. */
  takeAll(): number[] {
    const ids = [...this.sent.values()].filter((sent) => isAsked(sent.kind)).map((sent) => sent.id);
    ids.push(...this.queue.map((queued) => queued.id));
    this.queue = [];
    this.queueBytes = 0;
    this.sent.clear();
    this.asked = 0;
    return ids;
  }
}

/** The application waits for it. */
function isAsked(kind: Kind): boolean {
  return kind.type !== "subscribe" && kind.type !== "authenticate";
}

/** Doing it twice is doing it once. */
function repeats(kind: Kind): boolean {
  return kind.type === "presence" || kind.type === "history" || (kind.type === "publish" && kind.once);
}
