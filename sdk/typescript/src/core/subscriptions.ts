// The subscriptions of a client: which the application wants, what the server knows of them, and how far each has come. Decides what a
// message about a channel means to whom; knows nothing of connections and requests.

import type { Incoming, Outgoing } from "./wire.js";
import { list, number, position, publication, signal, text, users } from "./wire.js";
import type { Member, Message, Position, Subscribed, SubscriptionEvent, Unsubscribed } from "./types.js";

/** What a subscription asks of the server. */
export interface Wanted {
  readonly channel?: string;
  readonly pattern?: string;
  readonly since?: Position;
  readonly presence?: boolean;
  readonly rate?: number;
  readonly cached?: boolean;
}

export type State =
  /** The server is to be asked as soon as there is a connection. */
  | { readonly kind: "detached" }
  /** The server was asked by this request. */
  | { readonly kind: "asked"; readonly request: number }
  | { readonly kind: "live" }
  /** The reader has fallen behind. The server is asked again when it has caught up. */
  | { readonly kind: "behind" }
  /** The server has refused for now. */
  | { readonly kind: "refused"; readonly againAt: number };

export interface Subscription {
  readonly id: number;
  readonly wanted: Wanted;
  state: State;
  /** The last publication that was handed over. Before the server's first answer: what the application chose. */
  position: Position | null;
  /** While missed publications come: where they end. */
  replayEnd: number | null;
  /** Temporary refusals in a row. */
  attempt: number;
  /** The application was told of the server's first answer. */
  told: boolean;
}

/** Takes what the reader of a subscription has to know. */
export type Tell = (subscription: Subscription, event: SubscriptionEvent) => void;

export class Subscriptions {
  private readonly all = new Map<number, Subscription>();
  private readonly byName = new Map<string, Subscription>();

  constructor(private readonly tell: Tell) {}

  /** `null` if there is one for the channel or pattern. */
  insert(id: number, wanted: Wanted): Subscription | null {
    if (this.byName.has(nameOf(wanted))) return null;
    const position = wanted.since ?? null;
    const subscription: Subscription = {
      id,
      wanted,
      state: { kind: "detached" },
      position,
      replayEnd: null,
      attempt: 0,
      told: false,
    };
    this.all.set(id, subscription);
    this.byName.set(nameOf(wanted), subscription);
    return subscription;
  }

  remove(id: number): Subscription | null {
    const subscription = this.all.get(id);
    if (!subscription) return null;
    this.all.delete(id);
    this.byName.delete(nameOf(subscription.wanted));
    return subscription;
  }

  get(id: number): Subscription | null {
    return this.all.get(id) ?? null;
  }

  /** The connection is lost. Whoever is behind stays behind: the reader decides. */
  detach(): void {
    for (const subscription of this.all.values()) {
      if (subscription.state.kind === "behind") continue;
      subscription.state = { kind: "detached" };
      subscription.replayEnd = null;
    }
  }

  /** Those to ask the server for, in the order in which they were made. */
  detached(): number[] {
    return [...this.all.values()].filter(({ state }) => state.kind === "detached").map(({ id }) => id);
  }

  /** Those whose refusal is over become detached. */
  retry(now: number): number[] {
    const due = [...this.all.values()].filter(({ state }) => state.kind === "refused" && state.againAt <= now);
    for (const subscription of due) subscription.state = { kind: "detached" };
    return due.map(({ id }) => id);
  }

  timeout(): number {
    let first = Infinity;
    for (const { state } of this.all.values()) if (state.kind === "refused") first = Math.min(first, state.againAt);
    return first;
  }

  takeAll(): Subscription[] {
    const all = [...this.all.values()];
    this.all.clear();
    this.byName.clear();
    return all;
  }

  /** The subscription that the server's message about a channel or pattern is for, if it is live. */
  live(message: Incoming): Subscription | null {
    const pattern = text(message, "pattern");
    const name = pattern === "" ? nameOf({ channel: text(message, "channel") }) : nameOf({ pattern });
    const subscription = this.byName.get(name);
    return subscription?.state.kind === "live" ? subscription : null;
  }

  /** The server said `ok`. Returns what the application is told if this is its first answer. */
  onSubscribed(subscription: Subscription, answer: Incoming): Subscribed | null {
    const first = !subscription.told;
    const at = subscription.wanted.pattern === undefined ? position(answer) : null;
    const present = users(answer);
    subscription.state = { kind: "live" };
    subscription.attempt = 0;
    subscription.told = true;
    const since = subscription.position;
    const recovered = since === null ? null : answer["recovered"] === true;
    if (since && at && recovered) {
      subscription.position = { epoch: at.epoch, offset: since.offset };
      subscription.replayEnd = at.offset;
    } else {
      subscription.position = at;
    }
    const subscribed = first ? { position: at, recovered, users: present } : null;
    // A pattern's later answers mean that something may have been missed in between.
    const lost = recovered === false || (at === null && !first);
    if (recovered === true) this.tell(subscription, { type: "recovered", users: present });
    else if (lost) this.tell(subscription, { type: "lost", position: at, users: present });
    return subscribed;
  }

  onMessage(incoming: Incoming): void {
    const channel = text(incoming, "channel");
    const named = this.byName.get(nameOf({ channel }));
    if (!named) return this.onPatternMessage(incoming, channel);
    // Of a subscription that has ended or is stopped: the resumed one gets it again.
    if (named.state.kind !== "live" || !named.position) return;
    const { epoch, offset } = named.position;
    const known = number(incoming, "offset") <= offset;
    // The kept value that greets who comes is older than the position that the answer named.
    if (known && incoming["cached"] !== true) return;
    const message = publication(incoming, channel, epoch);
    if (!known) named.position = { epoch, offset: message.offset };
    this.tell(named, { type: "message", message });
  }

  /** Each publication comes once, however many patterns stand for its channel. */
  private onPatternMessage(incoming: Incoming, channel: string): void {
    let message: Message | null = null;
    for (const subscription of this.matching(channel)) {
      message ??= publication(incoming, channel, null);
      this.tell(subscription, { type: "message", message });
    }
  }

  private matching(channel: string): Subscription[] {
    const patterns = [...this.all.values()].filter(({ state, wanted }) => wanted.pattern !== undefined && state.kind === "live");
    return patterns.filter(({ wanted }) => matches(wanted.pattern ?? "", channel));
  }

  onBatch(incoming: Incoming, read: (value: unknown) => Incoming): void {
    for (const value of list(incoming, "messages")) {
      const message = read(value);
      if (message.type === "message") this.onMessage(message);
    }
  }

  onCaughtUp(incoming: Incoming): void {
    const subscription = this.live(incoming);
    if (!subscription) return;
    // Offsets may skip: the end of the replay may lie behind its last message.
    this.advance(subscription, subscription.replayEnd ?? 0);
    subscription.replayEnd = null;
    this.tell(subscription, { type: "caught_up" });
  }

  onGap(incoming: Incoming): void {
    const channel = text(incoming, "channel");
    const event: SubscriptionEvent = { type: "gap", channel, from: number(incoming, "from"), to: number(incoming, "to") };
    const named = this.byName.get(nameOf({ channel }));
    if (!named) return this.matching(channel).forEach((subscription) => this.tell(subscription, event));
    if (named.state.kind !== "live") return;
    this.advance(named, event.to);
    this.tell(named, event);
  }

  private advance(subscription: Subscription, offset: number): void {
    const at = subscription.position;
    if (at && offset > at.offset) subscription.position = { epoch: at.epoch, offset };
  }

  onSignal(incoming: Incoming): void {
    const subscription = this.live(incoming);
    if (subscription) this.tell(subscription, { type: "signal", signal: signal(incoming) });
  }

  onMember(incoming: Incoming, type: "join" | "leave"): void {
    const subscription = this.live(incoming);
    const user = text(incoming, "user");
    if (!subscription || user === "") return;
    const info = incoming["info"];
    const member = (info === undefined || info === null ? { user } : { user, info }) as Member;
    this.tell(subscription, { type, member });
  }

  /** It is over. */
  end(subscription: Subscription, why: Unsubscribed): void {
    this.remove(subscription.id);
    this.tell(subscription, { type: "unsubscribed", why });
  }
}

/** The request that begins or resumes a subscription. */
export function subscribeRequest(id: string, { wanted, position }: Subscription): Outgoing {
  const { channel, pattern, presence, rate, cached } = wanted;
  if (pattern !== undefined) return { type: "subscribe", id, pattern };
  return {
    type: "subscribe",
    id,
    channel,
    since: position ? { ...position } : undefined,
    presence: presence || undefined,
    rate,
    cached: cached || undefined,
  };
}

/** Channels and patterns share one table; a channel's name cannot contain what a pattern's key begins with. */
function nameOf({ channel, pattern }: Wanted): string {
  return pattern === undefined ? (channel ?? "") : `+${pattern}`;
}

/** Whether a pattern stands for a channel (docs/reference/native-protocol.md, Patterns). */
export function matches(pattern: string, channel: string): boolean {
  const levels = channel.split("/");
  const wanted = pattern.split("/");
  const [first] = wanted;
  if ((first === "+" || first === "#") && channel.startsWith("$")) return false;
  const open = wanted.at(-1) === "#";
  const fixed = open ? wanted.slice(0, -1) : wanted;
  if (open ? levels.length < fixed.length : levels.length !== fixed.length) return false;
  return fixed.every((level, index) => level === "+" || level === levels[index]);
}
