// The page's one connection and one channel: the lines of the chat, who is present, and every frame that passed.
// Owns what is shown of them, all bounded. Knows nothing of how it is drawn.

import { fetchToken } from "./api";
import { Client, reasonOf, RequestError, type Member, type Publication, type State, type Subscription } from "./client";
import { plural } from "./format";
import { readKept, writeKept } from "./place";

export type Line =
  | { kind: "message"; key: string; at: number; user: string | null; form: "text" | "json" | "binary"; text: string }
  | { kind: "note"; key: string; at: number; tone: "quiet" | "good" | "bad"; text: string };

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
  private readonly subscription: Subscription;
  private readonly encoder = new TextEncoder();
  private names = 0;
  private saving: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly identity: Identity,
    private readonly changed: () => void,
  ) {
    const kept = readKept(identity.url, identity.channel);
    this.lines = kept.lines;
    this.client = new Client({
      url: identity.url,
      token: () => this.token(),
      onState: (state) => {
        this.state = state;
        if (state.kind !== "open") this.members = [];
        this.update();
      },
      onFrame: (direction, data) => this.record(direction, data),
    });
    this.subscription = this.client.subscribe(identity.channel, this.handlers(), kept.position);
    this.client.connect();
  }

  /** Connects now instead of later. */
  retry(): void {
    this.client.connect();
  }

  close(): void {
    this.client.close();
    this.save();
  }

  /** Rejects with the reason in words. */
  async say(text: string): Promise<void> {
    await this.client.publish(this.identity.channel, text);
  }

  /** Sends what the reader wrote, JSON or not. Throws if there is no connection. */
  sendRaw(text: string): void {
    this.client.sendRaw(text);
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

  private handlers() {
    return {
      presence: true,
      onMessage: (publication: Publication) => this.push(message(publication, this.subscription.position?.epoch)),
      onStart: (position: { offset: number }, resumed: boolean) => {
        this.refusal = null;
        if (!resumed && position.offset > 0) void this.recall(position.offset);
        this.update();
      },
      onCaughtUp: (missed: number) => {
        if (missed > 0) this.note("good", `caught up ${plural(missed, "missed message")}`);
      },
      onHistoryLost: () => this.note("bad", "history lost: messages sent while you were away may be missing"),
      onGap: (from: number, to: number) => this.note("bad", `${plural(to - from + 1, "message")} could not be delivered`),
      onMembers: (members: Member[] | null, change?: { kind: "join" | "leave"; user: string }) => {
        this.members = members;
        if (change) this.note("quiet", `${change.user} ${change.kind === "join" ? "joined" : "left"}`);
        this.update();
      },
      onEnd: (why: string) => {
        this.refusal = why;
        this.update();
      },
    };
  }

  /** What was said before we came, if the history is kept and may be read. */
  private async recall(upTo: number): Promise<void> {
    const { channel } = this.identity;
    const epoch = this.subscription.position?.epoch;
    try {
      const { publications = [] } = await this.client.request("history", { channel, limit: HISTORY_LINES });
      const known = new Set(this.lines.map(({ key }) => key));
      const earlier = publications.filter(({ offset }) => offset <= upTo).map((publication) => message(publication, epoch));
      const fresh = earlier.filter(({ key }) => !known.has(key));
      this.lines = [...this.lines, ...fresh].sort((one, other) => one.at - other.at).slice(-LINES_MAX);
      this.update();
    } catch (error) {
      if (error instanceof RequestError && error.code !== "permission_denied") this.note("bad", `no earlier messages: ${reasonOf(error)}`);
    }
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

function message(publication: Publication, epoch = ""): Line {
  const { data, offset, timestamp, publisher, encoding } = publication;
  const common = { kind: "message" as const, key: `${epoch} ${offset}`, at: timestamp, user: publisher?.user ?? null };
  if (data instanceof Uint8Array) return { ...common, form: "binary", text: hex(data) };
  if (encoding === "base64") return { ...common, form: "binary", text: hex(Uint8Array.from(atob(String(data)), (letter) => letter.charCodeAt(0))) };
  if (typeof data === "string") return { ...common, form: "text", text: data };
  const text = typeof data === "object" && data !== null && !Array.isArray(data) ? data["text"] : undefined;
  return typeof text === "string" ? { ...common, form: "text", text } : { ...common, form: "json", text: JSON.stringify(data) };
}

const HEX_SHOWN = 32;

function hex(data: Uint8Array): string {
  const shown = [...data.subarray(0, HEX_SHOWN)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `${plural(data.length, "byte")}: ${shown}${data.length > HEX_SHOWN ? " …" : ""}`;
}
