// Plain HTTP as a connection: speaks the native protocol to the client, and asks the server by requests, streams and polls. Owns which
// channels are listened to and how far each has come. Decides nothing about connections: whatever breaks, breaks all of it.

import { reasonOf } from "../core/errors.js";
import type { Position } from "../core/types.js";
import { decode, type Frame, type Incoming } from "../core/wire.js";
import { answered, Endpoint, type Answer, type Fetch, type Place, type Refused } from "./endpoint.js";
import { poll, stream, STUCK, type Feed } from "./feeds.js";
import type { Connection, Listener, Target, Transport } from "./transport.js";

export class HttpTransport implements Transport {
  /** Until when it is of no use: a proxy on the way holds streams back. */
  private stuckUntil = 0;

  constructor(
    readonly name: "stream" | "poll",
    private readonly fetch: Fetch,
  ) {}

  static stream(fetch: Fetch): HttpTransport {
    return new HttpTransport("stream", fetch);
  }

  static poll(fetch: Fetch): HttpTransport {
    return new HttpTransport("poll", fetch);
  }

  open({ url, token }: Target, listener: Listener): Connection {
    if (performance.now() < this.stuckUntil) {
      queueMicrotask(() => listener.onFailed({ kind: "temporary", reason: STUCK }));
      return { send() {}, bufferedBytes: 0, close() {}, abort() {} };
    }
    const feed = this.name === "stream" ? stream : poll;
    const onStuck = () => (this.stuckUntil = performance.now() + STUCK_MS);
    return new HttpConnection(new Endpoint(url, token, this.fetch), feed, listener, onStuck);
  }
}

const STUCK_MS = 300_000;

/** A channel or pattern that the client has subscribed to. */
interface Listened {
  readonly name: string;
  readonly isPattern: boolean;
  readonly presence: boolean;
  readonly rate: number | undefined;
  position: Position | null;
  /** Answers the subscription to a pattern, when the server has. */
  confirm: (() => void) | null;
  /** Who is there, as far as the client was told. */
  readonly present: Set<string>;
}

/** What is listened to by one stream, or by one poll after the other: all that is wanted in the same way. */
interface Group {
  readonly members: Map<string, Listened>;
  feeding: AbortController | null;
}

class HttpConnection implements Connection {
  bufferedBytes = 0;
  private readonly ended = new AbortController();
  private readonly groups = new Map<string, Group>();
  private readonly byName = new Map<string, Group>();
  private readonly changed = new Set<Group>();
  /** The latest publication to each channel that is on its way. */
  private readonly publishing = new Map<string, Promise<void>>();

  constructor(
    private readonly endpoint: Endpoint,
    private readonly feed: Feed,
    private readonly listener: Listener,
    private readonly onStuck: () => void,
  ) {
    void this.greet();
  }

  send(frame: Frame): void {
    const request = decode(frame);
    if (request.type === "batch") throw new Error("a batch of requests is not sent over HTTP");
    void this.handle(request, typeof frame === "string" ? null : (request["data"] as Uint8Array)).catch((error) => this.break(reasonOf(error)));
  }

  close(): void {
    this.abort();
  }

  abort(): void {
    this.ended.abort();
    for (const { feeding } of this.groups.values()) feeding?.abort();
  }

  /** There is no connection to greet on: whether the server is there, and takes the token, is asked by a request that it refuses for its channel. */
  private async greet(): Promise<void> {
    try {
      const answer = await this.probe();
      if (this.ended.signal.aborted) return;
      if (!answer.ok && answer.status === 401) return this.listener.onFailed({ kind: "unauthorized", reason: answer.error.message });
      if (!isThere(answer)) return this.listener.onFailed({ kind: "temporary", reason: (answer as { error: Refused }).error.message });
      this.listener.onOpen();
      this.say({ type: "welcome", session: "", version: 1, user: "", heartbeat_ms: HEARTBEAT_MS, limits: {} });
    } catch (error) {
      if (!this.ended.signal.aborted) this.listener.onFailed({ kind: "temporary", reason: reasonOf(error) });
    }
  }

  private probe(): Promise<Answer> {
    return this.endpoint.post("presence", { channel: "", limit: 0 }, this.ended.signal);
  }

  private say(message: object): void {
    if (!this.ended.signal.aborted) this.listener.onFrame(JSON.stringify(message));
  }

  /** Whatever breaks, the client begins anew with the positions that it has. */
  private break(reason: string): void {
    if (this.ended.signal.aborted) return;
    this.abort();
    if (reason === STUCK) this.onStuck();
    this.listener.onClosed(null, reason);
  }

  private async handle(request: Incoming, bytes: Uint8Array | null): Promise<void> {
    const { type, id, ...members } = request;
    switch (type) {
      case "authenticate":
        return this.authenticate(id, members["token"] as string);
      case "ping":
        return this.ping(id);
      case "subscribe":
        return this.subscribe(request);
      case "unsubscribe":
        return this.unsubscribe(request);
      case "publish":
        if (bytes) Object.assign(members, { data: toBase64(bytes), encoding: "base64" });
        return this.inOrder(members["channel"] as string, () => this.publish(id, members));
      default:
        return this.ask(type, id, members);
    }
  }

  private async ask(type: string, id: unknown, members: object): Promise<void> {
    const answer = await this.endpoint.post(type, members, this.ended.signal);
    this.say(answer.ok ? { ...answer.body, type: "ok", id } : { type: "error", id, ...answer.error });
  }

  /** Requests overtake each other; what is published to a channel does not. */
  private inOrder(channel: string, publish: () => Promise<void>): Promise<void> {
    const own = (this.publishing.get(channel) ?? Promise.resolve()).then(publish);
    this.publishing.set(channel, own);
    const over = () => this.publishing.get(channel) === own && this.publishing.delete(channel);
    own.then(over, over);
    return own;
  }

  /** Browsers repeat a request by themselves when a connection breaks under it. With a key of its own it is done once even so. */
  private async publish(id: unknown, members: { idempotency_key?: unknown }): Promise<void> {
    const named = members.idempotency_key !== undefined;
    const answer = await this.endpoint.post("publish", named ? members : { ...members, idempotency_key: uniqueKey() }, this.ended.signal);
    // A server that is going away may say so of what it has done: that is no refusal, but not to know.
    if (!answer.ok && answer.status >= 500) throw new Error(answer.error.message);
    if (!answer.ok) return this.say({ type: "error", id, ...answer.error });
    const { duplicate, ...body } = answer.body;
    this.say({ ...body, ...(named && duplicate !== undefined && { duplicate }), type: "ok", id });
  }

  private async ping(id: unknown): Promise<void> {
    const answer = await this.probe();
    if (isThere(answer)) this.say({ type: "pong", id });
    else this.break("the server is not there");
  }

  private async authenticate(id: unknown, token: string): Promise<void> {
    const fresh = this.endpoint.token !== token;
    this.endpoint.token = token;
    const answer = fresh ? await this.probe() : null;
    if (answer && !isThere(answer)) return this.say({ type: "error", id, ...(answer as { error: Refused }).error });
    this.say({ type: "ok", id });
    // What listens goes on with the new token.
    if (fresh) for (const group of this.groups.values()) this.change(group);
  }

  /** Asks for what was missed and where the channel is, then listens from there. */
  private async subscribe({ id, channel, pattern, since, presence, rate, cached }: Incoming): Promise<void> {
    const isPattern = typeof pattern === "string";
    const name = (isPattern ? pattern : channel) as string;
    const listened: Listened = {
      name,
      isPattern,
      presence: presence === true,
      rate: rate as number | undefined,
      position: (since as Position | undefined) ?? null,
      confirm: null,
      present: new Set(),
    };
    if (isPattern) {
      listened.confirm = () => this.say({ type: "ok", id, pattern });
      return this.listen(listened);
    }
    let first = true;
    for (;;) {
      const place = { name, position: listened.position };
      const more = { wait: "0", ...(cached === true && first && { cached: "1" }) };
      const answer = await answered(await this.endpoint.get("poll", [place], [], more, this.ended.signal));
      if (!answer.ok) return this.say({ type: "error", id, ...answer.error });
      const [at] = answer.body.channels as [{ position: Position; recovered?: boolean }];
      const recovered = place.position ? at.recovered === true : undefined;
      if (first) {
        const users = listened.presence ? await this.users(name) : null;
        if (users && !users.ok) return this.say({ type: "error", id, ...users.error });
        const present = users?.ok ? { users: users.body.users } : {};
        for (const { user } of users?.ok ? users.body.users : []) listened.present.add(user);
        this.say({ type: "ok", id, channel, position: at.position, ...(recovered !== undefined && { recovered }), ...present });
      } else if (recovered === false) {
        // It was lost while it was read.
        return this.say({ type: "unsubscribed", channel, code: "unavailable" });
      }
      for (const message of answer.body.messages) this.say(message);
      listened.position = at.position;
      if (first && recovered !== true) break;
      if (answer.body.messages.length === 0) {
        this.say({ type: "caught_up", channel });
        break;
      }
      first = false;
    }
    this.listen(listened);
  }

  private users(channel: string): Promise<Answer> {
    return this.endpoint.post("presence", { channel }, this.ended.signal);
  }

  private listen(listened: Listened): void {
    // Patterns have no positions, and are told by themselves.
    const key = listened.isPattern ? "patterns" : `${listened.presence} ${listened.rate ?? ""}`;
    let group = this.groups.get(key);
    if (!group) this.groups.set(key, (group = { members: new Map(), feeding: null }));
    group.members.set(listened.name, listened);
    this.byName.set(listened.name, group);
    this.change(group);
  }

  private unsubscribe({ id, channel, pattern }: Incoming): void {
    const name = (pattern ?? channel) as string;
    const group = this.byName.get(name);
    this.byName.delete(name);
    group?.members.delete(name);
    // Others are not interrupted for it; what still comes for it is nobody's.
    if (group?.members.size === 0) group.feeding?.abort();
    this.say({ type: "ok", id, ...(pattern === undefined ? { channel } : { pattern }) });
  }

  /** Listens anew, with what is wanted now. What is asked for in one breath is asked for together. */
  private change(group: Group): void {
    if (this.changed.has(group)) return;
    this.changed.add(group);
    setTimeout(() => {
      this.changed.delete(group);
      group.feeding?.abort();
      if (group.members.size > 0 && !this.ended.signal.aborted) this.begin(group);
    }, TOGETHER_MS);
  }

  private begin(group: Group): void {
    const feeding = new AbortController();
    group.feeding = feeding;
    const members = [...group.members.values()];
    const [{ presence, rate }] = members as [Listened];
    const channels = members.filter(({ isPattern }) => !isPattern);
    const wanted = {
      places: (): Place[] => channels.map(({ name, position }) => ({ name, position })),
      patterns: members.filter(({ isPattern }) => isPattern).map(({ name }) => name),
      presence,
      rate,
    };
    const listener = {
      onMessage: (message: Incoming) => this.onMessage(group, message),
      onEnd: (reason: string) => this.break(reason),
    };
    void this.feed(this.endpoint, wanted, listener, feeding.signal);
  }

  private onMessage(group: Group, message: Incoming): void {
    const listened = group.members.get((message["pattern"] ?? message["channel"]) as string);
    switch (message.type) {
      case "welcome":
        return;
      case "subscribed":
      case "polled":
        return this.onSubscribed(listened, message);
      case "caught_up":
        // Told when the subscription began; here it only goes on.
        return;
      case "message":
        if (listened) this.advance(listened, message["offset"]);
        return this.say(message);
      case "gap":
        if (listened) this.advance(listened, message["to"]);
        return this.say(message);
      case "join":
        listened?.present.add(message["user"] as string);
        return this.say(message);
      case "leave":
        listened?.present.delete(message["user"] as string);
        return this.say(message);
      default:
        return this.say(message);
    }
  }

  private onSubscribed(listened: Listened | undefined, { position, recovered, users }: Incoming): void {
    listened?.confirm?.();
    if (!listened || listened.isPattern) return;
    listened.confirm = null;
    // Between two requests something was lost: the client asks again, and is told.
    if (recovered === false) {
      this.byName.delete(listened.name);
      for (const group of this.groups.values()) group.members.delete(listened.name);
      return this.say({ type: "unsubscribed", channel: listened.name, code: "unavailable" });
    }
    listened.position ??= position as Position;
    if (listened.presence && Array.isArray(users)) this.compare(listened, users as { user: string; info?: unknown }[]);
  }

  /** Who came and went while nobody listened. */
  private compare({ name: channel, present }: Listened, users: readonly { readonly user: string; readonly info?: unknown }[]): void {
    for (const { user, info } of users) if (!present.has(user)) this.say({ type: "join", channel, user, info });
    for (const user of present) if (!users.some((one) => one.user === user)) this.say({ type: "leave", channel, user });
    present.clear();
    for (const { user } of users) present.add(user);
  }

  private advance(listened: Listened, offset: unknown): void {
    const at = listened.position;
    if (at && typeof offset === "number" && offset > at.offset) listened.position = { epoch: at.epoch, offset };
  }
}

/** The server is there and has looked at the request. */
function isThere(answer: Answer): boolean {
  return answer.ok || answer.error.code === "bad_channel";
}

function uniqueKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

/** As the server's own, unless it says otherwise by what it sends. */
const HEARTBEAT_MS = 25_000;
const TOGETHER_MS = 10;
