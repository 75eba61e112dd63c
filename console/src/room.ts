// The page's one connection and one channel: the lines of the chat, who is present, and every frame that passed.
// Owns what is shown of them, all bounded. Knows nothing of how it is drawn.

import { Client, describeCause, describeEnded, RequestError, type ClientOptions, type Message, type Position, type Subscription, type Unsubscribed } from "@switchboard/client";
import { fetchToken } from "./api";
import { plural, reasonOf } from "./format";
import { readKept, writeKept } from "./place";

export type Line =
  | { kind: "message"; key: string; at: number; user: string | null; form: "text" | "json" | "binary"; text: string }
  | { kind: "note"; key: string; at: number; tone: "quiet" | "good" | "bad"; text: string };

/** The connection, as the page speaks of it. */
export type State =
  | { kind: "idle" }
  | { kind: "connecting"; again: boolean }
  | { kind: "open"; user: string | null; messageBytes: number }
  /** Connects again at `retryAt`, in milliseconds since 1970. */
  | { kind: "waiting"; retryAt: number; why: string }
  /** Does not connect again by itself. */
  | { kind: "stopped"; why: string };

export interface Member {
  user: string;
}

export interface Frame {
  id: number;
  at: number;
  direction: "in" | "out";
  data: string | Uint8Array;
  /** In bytes, without the WebSocket frame's own header. */
  size: number;
}

export interface Identity {
  url: string;
  channel: string;
  /** Whom the server shall make a token for (development only); `null` if there is a token or nobody to be. */
  user: string | null;
  app: string;
  /** A token that the reader brought. */
  token: string | null;
}

const LINES_MAX = 500;
const FRAMES_MAX = 1000;
const HISTORY_LINES = 50;
const SAVE_MS = 500;

export class Room {
  state: State = { kind: "idle" };
  lines: Line[];
  members: Member[] | null = [];
  frames: Frame[] = [];
  /** What the server said about the channel itself, when it refused or ended the subscription. */
  refusal: string | null = null;

  private readonly client: Client;
  private subscription: Subscription;
  private readonly encoder = new TextEncoder();
  private names = 0;
  /** How many were replayed so far; `null` when no replay is under way. */
  private replayed: number | null = null;
  private saving: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly identity: Identity,
    private readonly changed: () => void,
    options: ClientOptions = {},
  ) {
    const kept = readKept(identity.url, identity.channel);
    this.lines = kept.lines;
    this.client = new Client(identity.url, {
      ...options,
      transports: ["websocket"],
      token: () => this.token(),
      onFrame: (direction, data) => this.record(direction, data),
    });
    this.client.on("state", () => this.follow());
    this.subscription = this.subscribe(kept.position, true);
  }

  /** Connects now instead of later. */
  retry(): void {
    const { position, closed } = this.subscription;
    this.client.connect();
    // The end of the client was the end of its subscriptions.
    if (closed && this.refusal === null) this.subscription = this.subscribe(position, true);
  }

  close(): void {
    void this.client.close();
    this.save();
  }

  /** Rejects with the reason in words. */
  async say(text: string): Promise<void> {
    await this.client.publish(this.identity.channel, text);
  }

  /** Sends what the reader wrote, JSON or not. Throws if there is no connection. */
  sendRaw(text: string): void {
    if (!this.client.sendRaw(text)) throw new Error("not connected");
  }

  clearFrames(): void {
    this.frames = [];
    this.update();
  }

  save(): void {
    clearTimeout(this.saving);
    this.saving = undefined;
    const { url, channel } = this.identity;
    writeKept(url, channel, { position: this.subscription.position, lines: this.lines });
  }

  private async token(): Promise<string | null> {
    const { token, user, app } = this.identity;
    return user === null ? token : fetchToken(user, app);
  }

  private follow(): void {
    const { state } = this.client;
    switch (state.kind) {
      case "online":
        this.state = { kind: "open", user: state.user, messageBytes: state.limits.messageBytes };
        break;
      case "connecting":
        this.state = { kind: "connecting", again: this.state.kind === "waiting" };
        break;
      case "waiting":
        this.state = { kind: "waiting", retryAt: state.retryAt, why: describeCause(state.cause) };
        break;
      case "ended":
        this.state = { kind: "stopped", why: describeEnded(state.ended) };
        break;
      case "idle":
      case "suspended":
        this.state = { kind: "idle" };
    }
    if (state.kind !== "online" && this.members !== null) this.members = [];
    this.update();
  }

  private subscribe(since: Position | null, presence: boolean): Subscription {
    const subscription = this.client.subscribe(this.identity.channel, { ...(since && { since }), presence });
    this.members = presence ? [] : null;
    subscription.ready.then(({ position, recovered, users }) => {
      this.refusal = null;
      this.present(users);
      if (recovered !== true && position) this.recall(position);
    }, () => {});
    subscription.on("message", (message) => {
      if (this.replayed !== null) this.replayed += 1;
      this.push(line(message));
    });
    subscription.on("recovered", ({ users }) => {
      this.replayed = 0;
      this.present(users);
    });
    subscription.on("caught_up", () => {
      if (this.replayed) this.note("good", `caught up ${plural(this.replayed, "missed message")}`);
      this.replayed = null;
    });
    subscription.on("lost", ({ position, users }) => {
      this.note("bad", "history lost: messages sent while you were away may be missing");
      this.present(users);
      if (position) this.recall(position);
    });
    subscription.on("gap", ({ from, to }) => this.note("bad", `${plural(to - from + 1, "message")} could not be delivered`));
    subscription.on("join", ({ member }) => this.moved(member.user, true));
    subscription.on("leave", ({ member }) => this.moved(member.user, false));
    subscription.on("unsubscribed", ({ why }) => this.ended(why, subscription.position, presence));
    return subscription;
  }

  private ended(why: Unsubscribed, position: Position | null, presence: boolean): void {
    if (why.kind === "ended") return;
    // Without the right to see who is present, the messages alone are still worth having.
    if (why.kind === "refused" && why.refusal.code === "permission_denied" && presence) {
      this.subscription = this.subscribe(position, false);
      return;
    }
    this.refusal = why.kind === "refused" ? `${why.refusal.message} (${why.refusal.code})` : `the server ended the subscription (${why.code})`;
    this.update();
  }

  private present(users: readonly Member[]): void {
    if (this.members !== null) this.members = users.map(({ user }) => ({ user }));
    this.update();
  }

  private moved(user: string, here: boolean): void {
    if (this.members === null) return;
    const others = this.members.filter((member) => member.user !== user);
    this.members = here ? [...others, { user }] : others;
    this.note("quiet", `${user} ${here ? "joined" : "left"}`);
  }

  /** What was said before we came, if the history is kept and may be read. */
  private recall({ offset: upTo }: Position): void {
    if (upTo === 0) return;
    this.client.history(this.identity.channel, { limit: HISTORY_LINES }).then(
      ({ messages }) => {
        const known = new Set(this.lines.map(({ key }) => key));
        const earlier = messages.filter(({ offset }) => offset <= upTo).map(line);
        const fresh = earlier.filter(({ key }) => !known.has(key));
        this.lines = [...this.lines, ...fresh].sort((one, other) => one.at - other.at).slice(-LINES_MAX);
        this.update();
      },
      (error: unknown) => {
        const told = error instanceof RequestError && error.kind === "refused" && error.code !== "permission_denied";
        if (told) this.note("bad", `no earlier messages: ${reasonOf(error)}`);
      },
    );
  }

  private note(tone: "quiet" | "good" | "bad", text: string): void {
    this.push({ kind: "note", key: `note ${Date.now()} ${++this.names}`, at: Date.now(), tone, text });
  }

  private push(line: Line): void {
    this.lines = [...this.lines, line].slice(-LINES_MAX);
    this.update();
  }

  private record(direction: "in" | "out", data: string | Uint8Array): void {
    const size = typeof data === "string" ? this.encoder.encode(data).length : data.length;
    this.frames = [...this.frames, { id: ++this.names, at: Date.now(), direction, data, size }].slice(-FRAMES_MAX);
    this.update();
  }

  private update(): void {
    this.saving ??= setTimeout(() => this.save(), SAVE_MS);
    this.changed();
  }
}

function line({ data, offset, position, timestamp, publisher }: Message): Line {
  const common = { kind: "message" as const, key: `${position?.epoch ?? ""} ${offset}`, at: timestamp, user: publisher ?? null };
  if (data instanceof Uint8Array) return { ...common, form: "binary", text: hex(data) };
  if (typeof data === "string") return { ...common, form: "text", text: data };
  const text = typeof data === "object" && data !== null && !Array.isArray(data) ? data["text"] : undefined;
  return typeof text === "string" ? { ...common, form: "text", text } : { ...common, form: "json", text: JSON.stringify(data) };
}

const HEX_SHOWN = 32;

function hex(data: Uint8Array): string {
  const shown = [...data.subarray(0, HEX_SHOWN)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `${plural(data.length, "byte")}: ${shown}${data.length > HEX_SHOWN ? " …" : ""}`;
}
