// One channel as a client sees it: the position that it has processed, what was replayed and what was lost, and who is present.
// Knows nothing of the connection: the client asks for it, hands it what arrives, and tells it when the connection is gone.

import type { RequestError } from "./client";
import type { Json, Member, Position, Publication, ServerMessage } from "./protocol";

export interface SubscriptionHandlers {
  /** Whether to ask who is present and to be told of joins and leaves. */
  presence?: boolean;
  onMessage?: (publication: Publication) => void;
  /** Live from here. `position` is where the channel stood; `resumed` says that what was missed follows. */
  onStart?: (position: Position, resumed: boolean) => void;
  /** A replay is complete: so many publications were missed and have been given to `onMessage`. */
  onCaughtUp?: (missed: number) => void;
  /** What came after `since` is gone. Called before `onStart`; load the state afresh. */
  onHistoryLost?: (since: Position) => void;
  /** Publications with these offsets (inclusive) will not come. */
  onGap?: (from: number, to: number) => void;
  /** The present members, each user once; `null` if this client may not know. `change` says what changed since the last call. */
  onMembers?: (members: Member[] | null, change?: { kind: "join" | "leave"; user: string }) => void;
  /** The server refused the subscription or ended it. */
  onEnd?: (why: string) => void;
}

export class Subscription {
  /** What to resume from: the last publication that the handlers have seen. */
  position: Position | null;

  private presence: boolean;
  private live = false;
  /** How many were replayed so far; `null` when no replay is under way. */
  private replayed: number | null = null;
  private readonly members = new Map<string, Member>();

  constructor(
    readonly channel: string,
    private readonly handlers: SubscriptionHandlers,
    from: Position | null,
  ) {
    this.position = from;
    this.presence = handlers.presence ?? false;
  }

  /** The members of the request that begins or resumes it. */
  asked(): { [name: string]: Json | undefined } {
    return {
      channel: this.channel,
      since: this.position ? { ...this.position } : undefined,
      presence: this.presence || undefined,
    };
  }

  /** Gives up presence, if it was asked for. */
  withoutPresence(): boolean {
    const had = this.presence;
    this.presence = false;
    return had;
  }

  /** The `ok` of the subscription came. */
  started(answer: ServerMessage): void {
    const { position } = answer;
    if (!position) return this.handlers.onEnd?.("the server's answer has no position");
    const since = this.position;
    const resumed = answer.recovered === true && since !== null;
    this.live = true;
    this.replayed = resumed ? 0 : null;
    if (!resumed) {
      this.position = position;
      if (since && answer.recovered === false) this.handlers.onHistoryLost?.(since);
    }
    this.members.clear();
    for (const member of answer.users ?? []) this.members.set(member.user, member);
    this.handlers.onStart?.(position, resumed);
    this.tellMembers();
  }

  refused(error: RequestError): void {
    this.handlers.onEnd?.(`${error.message} (${error.code})`);
  }

  /** The connection is gone; who is present is no longer known. */
  paused(): void {
    this.live = false;
    this.replayed = null;
  }

  /** A message of the server about this channel. */
  handle(message: ServerMessage): void {
    if (!this.live) return;
    switch (message.type) {
      case "message":
        return this.receive(message as ServerMessage & Publication);
      case "caught_up": {
        const missed = this.replayed ?? 0;
        this.replayed = null;
        return this.handlers.onCaughtUp?.(missed);
      }
      case "gap":
        this.advance(message.to ?? 0);
        return this.handlers.onGap?.(message.from ?? 0, message.to ?? 0);
      case "join":
        this.members.set(message.user ?? "", member(message));
        return this.tellMembers({ kind: "join", user: message.user ?? "" });
      case "leave":
        this.members.delete(message.user ?? "");
        return this.tellMembers({ kind: "leave", user: message.user ?? "" });
      case "unsubscribed":
        this.live = false;
        return this.handlers.onEnd?.(`the server ended the subscription (${message.code})`);
    }
  }

  private receive(publication: Publication): void {
    // At most once, even where a replay and the live stream meet.
    if (this.position && publication.offset <= this.position.offset) return;
    this.advance(publication.offset);
    if (this.replayed !== null) this.replayed += 1;
    this.handlers.onMessage?.(publication);
  }

  private advance(offset: number): void {
    if (this.position && offset > this.position.offset) this.position = { epoch: this.position.epoch, offset };
  }

  private tellMembers(change?: { kind: "join" | "leave"; user: string }): void {
    this.handlers.onMembers?.(this.presence ? [...this.members.values()] : null, change);
  }
}

function member(message: ServerMessage): Member {
  return message.info === undefined ? { user: message.user ?? "" } : { user: message.user ?? "", info: message.info };
}
