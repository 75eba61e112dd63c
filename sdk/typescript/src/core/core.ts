// The client as a pure state machine: what happens goes in, what to do comes out. It owns every decision: when to connect, what to send, what
// a close means, from where a subscription resumes. It has no socket, no clock and no randomness: time is an argument, in milliseconds of
// any clock that does not run backwards, and chance is given.
//
// After each input the driver takes `pollOutput` until there is none, `pollTransmit` as far as its socket takes frames, and `pollTimeout`.

import { encodeRequest, history, presence } from "./asking.js";
import { fullJitter } from "./backoff.js";
import type { Config } from "./config.js";
import { describeEnded, reasonOf, RequestError, type Cause, type Ended, type Refusal, type RequestFailure } from "./errors.js";
import type { Answer, ConnectFailure, Output, Request, Tokens } from "./io.js";
import { Requests, type Kind } from "./requests.js";
import { Subscriptions, subscribeRequest, type Subscription, type Wanted } from "./subscriptions.js";
import type { ServerLimits } from "./types.js";
import * as wire from "./wire.js";
import type { Frame, Incoming } from "./wire.js";

interface Online {
  readonly kind: "online";
  readonly since: number;
  readonly heartbeat: number;
  /** When silence is answered: by a question, and if there was one, by giving the server up. */
  silentAt: number;
  asked: boolean;
}

type Link =
  | { readonly kind: "idle" }
  | { readonly kind: "fetching"; readonly deadline: number }
  | { readonly kind: "connecting"; readonly token: string | null; readonly deadline: number }
  /** Open; `welcome` is to come. */
  | { readonly kind: "greeting"; readonly token: string | null; readonly deadline: number }
  /** The server looks at the token. */
  | { readonly kind: "authenticating"; readonly welcome: Incoming; readonly deadline: number }
  | Online
  /** `demanded`: by the server, so that nobody but the application may shorten it. */
  | { readonly kind: "waiting"; readonly until: number; readonly demanded: boolean }
  /** The page sleeps. */
  | { readonly kind: "suspended" }
  | { readonly kind: "ended"; readonly ended: Ended };

/** A fresh token for a connection that stands. */
type Refresh =
  | { readonly kind: "none" }
  | { readonly kind: "fetching"; readonly deadline: number; readonly attempt: number }
  | { readonly kind: "authenticating"; readonly attempt: number }
  | { readonly kind: "waiting"; readonly until: number; readonly attempt: number };

/** What comes after a lost connection. */
type Next = { readonly kind: "backoff" } | { readonly kind: "after"; readonly wait: number } | { readonly kind: "end"; readonly ended: Ended };

/** What is sent before any request. */
type Control =
  | { readonly type: "subscribe"; readonly id: number }
  | { readonly type: "unsubscribe"; readonly wanted: Wanted }
  | { readonly type: "authenticate"; readonly token: string; readonly first: boolean }
  | { readonly type: "ping" };

export class Core {
  private link: Link = { kind: "idle" };
  /** Attempts in a row that did not last. */
  private attempt = 0;
  /** Refused tokens in a row. */
  private unauthorized = 0;
  private refresh: Refresh = { kind: "none" };
  /** Until when closing waits for answers. */
  private closing: number | null = null;
  /** The largest frame that the server takes. */
  private bytesMax = Infinity;
  private readonly requests: Requests;
  private readonly subscriptions: Subscriptions;
  private control: Control[] = [];
  private ids = 0;
  private output: Output[] = [];

  /** `random` gives numbers from 0 to 1, without 1: it spreads the reconnections of many clients. */
  constructor(
    private readonly config: Config,
    private readonly tokens: Tokens,
    private readonly random: () => number,
  ) {
    this.requests = new Requests(config);
    this.subscriptions = new Subscriptions(({ id, position }, event) => {
      this.output.push({ type: "subscription", id, event, position });
    });
  }

  /** Begins, or does not wait any longer for the next attempt. A client that has ended begins anew. Otherwise it changes nothing. */
  connect(now: number): void {
    const { kind } = this.link;
    if (kind === "ended") {
      this.attempt = 0;
      this.unauthorized = 0;
    }
    if (kind === "idle" || kind === "waiting" || kind === "suspended" || kind === "ended") this.begin(now);
  }

  /**
   * The network is back, the page is seen again, or time was lost in sleep: what stands is tried at once, and what waits does not wait
   * any longer, unless the server demanded it.
   */
  wake(now: number): void {
    const { link } = this;
    if (link.kind === "suspended" || (link.kind === "waiting" && (!link.demanded || link.until <= now))) return this.begin(now);
    if (link.kind !== "online" || link.asked) return;
    link.asked = true;
    link.silentAt = now + this.config.heartbeatGrace / 2;
    this.control.push({ type: "ping" });
  }

  /** The page goes to sleep: gives the connection up until `wake`, so that the browser can keep the page. */
  suspend(now: number): void {
    if (this.closing !== null) return this.sayGoodbye();
    if (this.link.kind === "idle" || this.link.kind === "ended" || this.link.kind === "suspended") return;
    this.hangUp();
    this.lose(now, { kind: "lost", reason: "the page sleeps" }, null);
    this.link = { kind: "suspended" };
    this.output.push({ type: "connection", event: { type: "suspended" } });
  }

  /** A token, which may be `null` for a guest, or why there is none. */
  onToken(now: number, result: { readonly token: string | null } | { readonly reason: string; readonly final: boolean }): void {
    if (this.link.kind === "fetching") {
      if ("token" in result) return this.open(now, result.token);
      const ended: Ended = { kind: "no_token", reason: result.reason };
      return this.lose(now, { kind: "token", reason: `no token: ${result.reason}` }, result.final ? { kind: "end", ended } : BACKOFF);
    }
    // Else it comes too late.
    if (this.link.kind !== "online" || this.refresh.kind !== "fetching") return;
    const { attempt } = this.refresh;
    if ("token" in result) {
      this.refresh = result.token === null ? { kind: "none" } : { kind: "authenticating", attempt };
      if (result.token !== null) this.control.push({ type: "authenticate", token: result.token, first: false });
    } else if (result.final) {
      // The server ends the connection when the old token expires; until then it may be used.
      this.refresh = { kind: "none" };
      this.tellRefreshFailed(result.reason);
    } else {
      this.retryRefresh(now, attempt, result.reason);
    }
  }

  /** The connection is open. */
  onConnected(_now: number): void {
    if (this.link.kind === "connecting") this.link = { ...this.link, kind: "greeting" };
  }

  /** There is no connection. */
  onConnectFailed(now: number, failure: ConnectFailure): void {
    if (this.link.kind !== "connecting") return;
    const { reason } = failure;
    const cause: Cause = { kind: "connect", reason };
    if (failure.kind === "unauthorized") return this.onUnauthorized(now, reason);
    this.lose(now, cause, failure.kind === "final" ? { kind: "end", ended: { kind: "cannot_connect", reason } } : BACKOFF);
  }

  /** The connection has ended: with the code and reason of the server's Close, or without a word and why. */
  onClosed(now: number, code: number | null, reason: string): void {
    if (!this.isOpen()) return;
    if (code === null) this.lose(now, { kind: "lost", reason }, BACKOFF);
    else this.lose(now, { kind: "by_server", code, reason }, this.afterClose(code, reason));
  }

  /** A frame has come. */
  receive(now: number, frame: string | Uint8Array): void {
    const { link } = this;
    if (!this.isOpen()) return;
    if (link.kind === "online") {
      link.asked = false;
      link.silentAt = now + link.heartbeat + this.config.heartbeatGrace / 2;
    }
    try {
      this.handle(now, wire.decode(frame));
    } catch (fault) {
      this.output.push({ type: "close", code: 1002 });
      this.lose(now, { kind: "protocol", reason: reasonOf(fault) }, BACKOFF);
    }
  }

  /** Subscribes now or as soon as there is a connection. `subscribed` tells the first answer; later connections subscribe again by themselves. */
  subscribe(wanted: Wanted): number {
    this.checkOpen();
    const why = wanted.channel === undefined ? null : wire.whyNoChannel(wanted.channel);
    if (why !== null) throw new RequestError({ kind: "refused", refusal: { code: "bad_channel", message: why, temporary: false } });
    const id = this.nextId();
    if (!this.subscriptions.insert(id, wanted)) throw new RequestError({ kind: "already_subscribed" });
    this.askFor(id);
    return id;
  }

  /** Ends a subscription. It says nothing more. */
  unsubscribe(id: number): void {
    const subscription = this.subscriptions.remove(id);
    if (subscription) this.stop(subscription);
  }

  /** The reader of a subscription has fallen behind: nothing more is taken for it. */
  fallBehind(id: number): void {
    const subscription = this.subscriptions.get(id);
    if (!subscription || subscription.state.kind === "behind") return;
    this.stop(subscription);
    subscription.state = { kind: "behind" };
    subscription.replayEnd = null;
  }

  /** The reader has room again: the subscription resumes behind what was handed over. */
  catchUp(id: number): void {
    const subscription = this.subscriptions.get(id);
    if (subscription?.state.kind !== "behind") return;
    subscription.state = { kind: "detached" };
    this.askFor(id);
  }

  /** Asks the server for something, now or when there is a connection. `answer` or `failed` tells what became of it. Throws `RequestError`. */
  request(now: number, request: Request): number {
    this.checkOpen();
    const id = this.nextId();
    const { frame, kind } = encodeRequest(this.name(id), request);
    const bytes = wire.sizeOf(frame);
    if (this.link.kind === "online" && bytes > this.bytesMax) {
      throw new RequestError({ kind: "too_large", bytes, bytesMax: this.bytesMax });
    }
    const dropped = this.requests.push(now, id, kind, frame);
    if (!dropped) throw new RequestError({ kind: "queue_full" });
    for (const one of dropped) this.fail(one, { kind: "dropped" });
    return id;
  }

  /** The application does not wait for it any longer. */
  abort(id: number): void {
    const sent = this.requests.abort(id);
    if (sent !== null) this.fail(id, { kind: "aborted", sent });
  }

  /** Closes: takes no more requests, sends what waits, waits for the answers, within `closeTimeout`. Without a connection it ends at once. */
  close(now: number): void {
    if (this.link.kind === "ended") return;
    if (this.link.kind === "online") {
      this.closing ??= now + this.config.closeTimeout;
      return;
    }
    this.hangUp();
    this.end({ kind: "closed" });
  }

  /** The next frame to send, if there is one and the server may be sent it now. */
  pollTransmit(now: number): Frame | null {
    if (this.link.kind !== "online" && this.link.kind !== "authenticating") return null;
    for (let control = this.control.shift(); control; control = this.control.shift()) {
      const frame = this.controlFrame(now, control);
      if (frame !== null) return frame;
    }
    if (this.link.kind !== "online") return null;
    for (let next = this.requests.next(now, this.bytesMax); next; next = this.requests.next(now, this.bytesMax)) {
      if ("frame" in next) return next.frame;
      this.fail(next.id, next.failure);
    }
    if (this.closing !== null && this.requests.isIdle()) this.sayGoodbye();
    return null;
  }

  pollOutput(): Output | null {
    return this.output.shift() ?? null;
  }

  /** When to call `handleTimeout`, unless something else happens before; `null` for never. */
  pollTimeout(): number | null {
    const { link, refresh } = this;
    let at = this.requests.timeout();
    if ("deadline" in link) at = Math.min(at, link.deadline);
    if (link.kind === "waiting") at = Math.min(at, link.until);
    if (link.kind === "online") at = Math.min(at, link.silentAt, this.subscriptions.timeout());
    if (refresh.kind === "fetching") at = Math.min(at, refresh.deadline);
    if (refresh.kind === "waiting") at = Math.min(at, refresh.until);
    at = Math.min(at, this.closing ?? Infinity);
    return at === Infinity ? null : at;
  }

  /** Time has passed. */
  handleTimeout(now: number): void {
    for (let id = this.requests.expireQueued(now); id !== null; id = this.requests.expireQueued(now)) this.fail(id, { kind: "not_sent" });
    for (let sent = this.requests.expireSent(now); sent; sent = this.requests.expireSent(now)) this.onNoAnswer(now, sent.id, sent.kind);
    if (this.closing !== null && this.closing <= now) this.sayGoodbye();
    const { link } = this;
    if (link.kind === "fetching" && link.deadline <= now) {
      this.lose(now, { kind: "token", reason: "no token: the callback does not answer" }, BACKOFF);
    } else if ("deadline" in link && link.deadline <= now) {
      this.output.push({ type: "abort" });
      this.lose(now, link.kind === "connecting" ? { kind: "connect", reason: "no connection in time" } : { kind: "no_answer" }, BACKOFF);
    } else if (link.kind === "waiting" && link.until <= now) {
      this.begin(now);
    } else if (link.kind === "online") {
      this.handleTimeoutOnline(now, link);
    }
  }

  /** Why there will be no further attempt. */
  get ended(): Ended | null {
    return this.link.kind === "ended" ? this.link.ended : null;
  }

  get isOnline(): boolean {
    return this.link.kind === "online";
  }

  /** It was never asked to connect. */
  get isIdle(): boolean {
    return this.link.kind === "idle";
  }

  private isOpen(): boolean {
    return this.link.kind === "greeting" || this.link.kind === "authenticating" || this.link.kind === "online";
  }

  private begin(now: number): void {
    this.output.push({ type: "connection", event: { type: "connecting" } });
    switch (this.tokens.kind) {
      case "none":
        return this.open(now, null);
      case "fixed":
        return this.open(now, this.tokens.token);
      case "fresh":
        this.link = { kind: "fetching", deadline: now + this.config.tokenTimeout };
        this.output.push({ type: "fetch_token" });
    }
  }

  private open(now: number, token: string | null): void {
    this.link = { kind: "connecting", token, deadline: now + this.config.connectTimeout };
    this.output.push({ type: "connect", token });
  }

  /** The connection, or the attempt to make it, is over. `next` is `null` if the caller says what comes. */
  private lose(now: number, cause: Cause, next: Next | null): void {
    if (this.link.kind === "online" && now - this.link.since >= this.config.stableAfter) this.attempt = 0;
    this.control = [];
    this.refresh = { kind: "none" };
    this.subscriptions.detach();
    for (const id of this.requests.interrupt()) this.fail(id, { kind: "interrupted" });
    if (!next) return;
    if (next.kind === "end") return this.end(next.ended);
    // It will not come to a connection again.
    if (this.closing !== null) return this.end({ kind: "closed" });
    const retryIn = this.retryIn(next);
    this.link = { kind: "waiting", until: now + retryIn, demanded: next.kind === "after" };
    this.output.push({ type: "connection", event: { type: "disconnected", cause, retryIn } });
  }

  private retryIn(next: Exclude<Next, { kind: "end" }>): number {
    const { backoffBase, backoffMax } = this.config;
    const attempt = this.attempt++;
    const wait = next.kind === "after" ? Math.min(next.wait, AFTER_MAX) : 0;
    // To the letter. But a server that says so again and again is not asked without end.
    if (next.kind === "after" && attempt === 0) return wait;
    return Math.max(wait, fullJitter(this.random, backoffBase, backoffMax, attempt));
  }

  private sayGoodbye(): void {
    this.hangUp();
    this.end({ kind: "closed" });
  }

  /** With a Close where there is a connection, or without a word where it is only being made. */
  private hangUp(): void {
    if (this.isOpen()) this.output.push({ type: "close", code: 1000 });
    else if (this.link.kind === "connecting") this.output.push({ type: "abort" });
  }

  private end(ended: Ended): void {
    this.closing = null;
    this.refresh = { kind: "none" };
    this.control = [];
    for (const id of this.requests.takeAll()) this.fail(id, { kind: "ended", ended });
    for (const subscription of this.subscriptions.takeAll()) {
      if (subscription.told) this.subscriptions.end(subscription, { kind: "ended", ended });
      else this.output.push({ type: "not_subscribed", id: subscription.id, failure: { kind: "ended", ended } });
    }
    this.link = { kind: "ended", ended };
    this.output.push({ type: "connection", event: { type: "ended", ended } });
  }

  /** What a close code means where nothing more was said. */
  private afterClose(code: number, reason: string): Next {
    // A fresh token is what has to change.
    if (code === TOKEN_EXPIRED && this.tokens.kind === "fresh") return BACKOFF;
    const final = code === 1002 || code === 1007 || code === 1009 || (code >= 4000 && code <= 4099);
    return final ? { kind: "end", ended: { kind: "by_server", code, reason } } : BACKOFF;
  }

  private onUnauthorized(now: number, reason: string): void {
    this.unauthorized += 1;
    // A fresh token may be better. One that was just made and is refused again and again is not.
    const hopeless = this.tokens.kind !== "fresh" || this.unauthorized >= UNAUTHORIZED_MAX;
    this.lose(now, { kind: "token", reason }, hopeless ? { kind: "end", ended: { kind: "unauthorized", reason } } : BACKOFF);
  }

  private handle(now: number, incoming: Incoming): void {
    const { kind } = this.link;
    if (kind === "greeting" && incoming.type === "welcome") return this.onWelcome(now, incoming);
    if (incoming.type === "disconnect") return this.onDisconnect(now, incoming);
    if (kind === "greeting") throw new Error(`"${incoming.type}" before "welcome"`);
    switch (incoming.type) {
      case "message":
        return this.subscriptions.onMessage(incoming);
      case "batch":
        return this.subscriptions.onBatch(incoming, wire.asMessage);
      case "ok":
        return this.onOk(now, incoming);
      case "error":
        return this.onError(now, incoming);
      case "caught_up":
        return this.subscriptions.onCaughtUp(incoming);
      case "gap":
        return this.subscriptions.onGap(incoming);
      case "signal":
        return this.subscriptions.onSignal(incoming);
      case "unsubscribed":
        return this.onUnsubscribed(now, incoming);
      case "join":
      case "leave":
        return this.subscriptions.onMember(incoming, incoming.type);
      case "token_expiring":
        if (this.tokens.kind === "fresh" && this.refresh.kind === "none" && kind === "online") this.fetchForRefresh(now, 0);
        return;
      default:
      // A `ping` has been heard, which is what it is for; the unknown is for newer clients.
    }
  }

  private onWelcome(now: number, welcome: Incoming): void {
    const version = wire.optionalNumber(welcome, "version") ?? 0;
    if (version !== 1) {
      const ended: Ended = { kind: "version", version };
      this.output.push({ type: "close", code: 1000 });
      return this.lose(now, { kind: "protocol", reason: describeEnded(ended) }, { kind: "end", ended });
    }
    if (this.link.kind !== "greeting") return;
    const { token, deadline } = this.link;
    const limits = (welcome["limits"] ?? {}) as Incoming;
    this.bytesMax = wire.optionalNumber(limits, "message_bytes") ?? Infinity;
    if (token !== null) {
      this.link = { kind: "authenticating", welcome, deadline };
      return void this.control.push({ type: "authenticate", token, first: true });
    }
    if (typeof welcome["user"] !== "string") {
      this.output.push({ type: "close", code: 1000 });
      return this.onUnauthorized(now, "this application wants a token");
    }
    // A way that is no connection cannot say who a guest is.
    this.goOnline(now, welcome, welcome["user"] || null);
  }

  private goOnline(now: number, welcome: Incoming, user: string | null): void {
    const limits = (welcome["limits"] ?? {}) as Incoming;
    const said = wire.optionalNumber(welcome, "heartbeat_ms") ?? HEARTBEAT_DEFAULT;
    const heartbeat = Math.min(Math.max(said, HEARTBEAT_MIN), HEARTBEAT_MAX);
    this.unauthorized = 0;
    this.link = { kind: "online", since: now, heartbeat, silentAt: now + heartbeat + this.config.heartbeatGrace / 2, asked: false };
    for (const id of this.subscriptions.detached()) this.askFor(id);
    const known: ServerLimits = {
      messageBytes: this.bytesMax,
      channels: wire.optionalNumber(limits, "channels") ?? Infinity,
      channelNameBytes: wire.optionalNumber(limits, "channel_name_bytes") ?? Infinity,
    };
    this.output.push({ type: "connection", event: { type: "connected", session: wire.text(welcome, "session"), user, limits: known } });
  }

  private onDisconnect(now: number, incoming: Incoming): void {
    const code = wire.optionalNumber(incoming, "code") ?? 0;
    const reason = wire.text(incoming, "reason");
    const after = wire.optionalNumber(incoming, "after_ms");
    this.output.push({ type: "close", code: 1000 });
    this.lose(now, { kind: "by_server", code, reason }, this.afterDisconnect(code, reason, incoming["reconnect"] === true, after));
  }

  private afterDisconnect(code: number, reason: string, reconnect: boolean, after: number | undefined): Next {
    if (reconnect) return after === undefined ? BACKOFF : { kind: "after", wait: after };
    // The code says what may be done about it.
    const renewable = code === TOKEN_EXPIRED && this.tokens.kind === "fresh";
    return renewable ? BACKOFF : { kind: "end", ended: { kind: "by_server", code, reason } };
  }

  private onOk(now: number, incoming: Incoming): void {
    const id = this.answers(incoming);
    const kind = id === null ? null : this.requests.answered(id);
    // The answer to a request that was given up, or that is not ours.
    if (id === null || !kind) return;
    switch (kind.type) {
      case "subscribe":
        return this.onSubscribed(id, kind.subscription, incoming);
      case "authenticate":
        return this.onAuthenticated(now, kind.first, incoming);
      case "publish":
        return this.succeed(id, { position: wire.position(incoming), duplicate: incoming["duplicate"] === true });
      case "signal":
        return this.succeed(id, { sessions: wire.optionalNumber(incoming, "sessions") ?? 0 });
      case "presence":
        return this.succeed(id, presence(incoming));
      case "history":
        return this.succeed(id, history(incoming, kind.channel));
    }
  }

  private onAuthenticated(now: number, first: boolean, incoming: Incoming): void {
    this.refresh = { kind: "none" };
    const user = incoming["user"];
    if (first && this.link.kind === "authenticating") this.goOnline(now, this.link.welcome, typeof user === "string" ? user : null);
  }

  private onSubscribed(request: number, id: number, incoming: Incoming): void {
    const subscription = this.subscriptions.get(id);
    if (!subscription || !isAskedBy(subscription, request)) return;
    const before = this.output.length;
    const subscribed = this.subscriptions.onSubscribed(subscription, incoming);
    // Told before what it brought.
    if (subscribed) this.output.splice(before, 0, { type: "subscribed", id, subscribed });
  }

  private onError(now: number, incoming: Incoming): void {
    const id = this.answers(incoming);
    const kind = id === null ? null : this.requests.answered(id);
    if (id === null || !kind) return;
    const refusal = wire.refusal(incoming);
    if (kind.type === "subscribe") this.onSubscriptionRefused(now, id, kind.subscription, refusal);
    else if (kind.type !== "authenticate") this.fail(id, { kind: "refused", refusal });
    else if (kind.first) this.onTokenRefused(now, refusal);
    else this.onRefreshRefused(now, `${refusal.message} (${refusal.code})`);
  }

  private onTokenRefused(now: number, refusal: Refusal): void {
    this.output.push({ type: "close", code: 1000 });
    const reason = `the token was refused: ${refusal.message}`;
    if (refusal.temporary) this.lose(now, { kind: "token", reason }, BACKOFF);
    else this.onUnauthorized(now, reason);
  }

  private onSubscriptionRefused(now: number, request: number, id: number, refusal: Refusal): void {
    const subscription = this.subscriptions.get(id);
    if (!subscription || !isAskedBy(subscription, request)) return;
    if (refusal.temporary) return this.subscribeLater(now, subscription);
    if (subscription.told) return this.subscriptions.end(subscription, { kind: "refused", refusal });
    this.subscriptions.remove(id);
    this.output.push({ type: "not_subscribed", id, failure: { kind: "refused", refusal } });
  }

  private subscribeLater(now: number, subscription: Subscription): void {
    const { backoffBase, backoffMax } = this.config;
    const delay = fullJitter(this.random, backoffBase, backoffMax, subscription.attempt);
    subscription.attempt += 1;
    subscription.state = { kind: "refused", againAt: now + delay };
    subscription.replayEnd = null;
  }

  private onUnsubscribed(now: number, incoming: Incoming): void {
    const subscription = this.subscriptions.live(incoming);
    // An older subscription's, which was ended from here already.
    if (!subscription) return;
    const code = wire.text(incoming, "code");
    if (TEMPORARY.includes(code)) this.subscribeLater(now, subscription);
    else this.subscriptions.end(subscription, { kind: "by_server", code });
  }

  private onNoAnswer(now: number, id: number, kind: Kind): void {
    if (kind.type === "authenticate") {
      if (!kind.first) this.onRefreshRefused(now, "no answer");
      return;
    }
    if (kind.type !== "subscribe") return this.fail(id, { kind: "timed_out" });
    const subscription = this.subscriptions.get(kind.subscription);
    if (this.link.kind !== "online" || !subscription || !isAskedBy(subscription, id)) return;
    // What the server made of it is unknown; a new connection is a clean start.
    this.output.push({ type: "abort" });
    this.lose(now, { kind: "no_answer" }, BACKOFF);
  }

  private handleTimeoutOnline(now: number, online: Online): void {
    const { refresh } = this;
    if (refresh.kind === "fetching" && refresh.deadline <= now) this.retryRefresh(now, refresh.attempt, "the callback does not answer");
    if (refresh.kind === "waiting" && refresh.until <= now) this.fetchForRefresh(now, refresh.attempt);
    for (const id of this.subscriptions.retry(now)) this.askFor(id);
    if (online.silentAt > now) return;
    if (!online.asked) return this.wake(now);
    this.output.push({ type: "abort" });
    this.lose(now, { kind: "silent" }, BACKOFF);
  }

  private fetchForRefresh(now: number, attempt: number): void {
    this.refresh = { kind: "fetching", deadline: now + this.config.tokenTimeout, attempt };
    this.output.push({ type: "fetch_token" });
  }

  private retryRefresh(now: number, attempt: number, why: string): void {
    const { backoffBase, backoffMax } = this.config;
    this.refresh = { kind: "waiting", until: now + fullJitter(this.random, backoffBase, backoffMax, attempt), attempt: attempt + 1 };
    this.tellRefreshFailed(why);
  }

  private onRefreshRefused(now: number, why: string): void {
    if (this.refresh.kind === "authenticating") this.retryRefresh(now, this.refresh.attempt, why);
  }

  private tellRefreshFailed(why: string): void {
    this.output.push({ type: "connection", event: { type: "refresh_failed", why } });
  }

  private controlFrame(now: number, control: Control): Frame | null {
    switch (control.type) {
      case "subscribe": {
        const subscription = this.subscriptions.get(control.id);
        if (subscription?.state.kind !== "detached") return null;
        const id = this.nextId();
        subscription.state = { kind: "asked", request: id };
        this.requests.wasSent(now, id, { type: "subscribe", subscription: subscription.id });
        return wire.encode(subscribeRequest(this.name(id), subscription));
      }
      case "unsubscribe": {
        const { channel, pattern } = control.wanted;
        return wire.encode({ type: "unsubscribe", channel, pattern });
      }
      case "authenticate": {
        const id = this.nextId();
        this.requests.wasSent(now, id, { type: "authenticate", first: control.first });
        return wire.encode({ type: "authenticate", id: this.name(id), token: control.token });
      }
      case "ping":
        return wire.encode({ type: "ping" });
    }
  }

  /** Asks the server for a subscription, if it can be asked; if not, it is when it can. */
  private askFor(id: number): void {
    if (this.link.kind === "online") this.control.push({ type: "subscribe", id });
  }

  /** The server need not send for it any longer, if it knows of it. */
  private stop({ id, state, wanted }: Subscription): void {
    this.control = this.control.filter((control) => control.type !== "subscribe" || control.id !== id);
    if (state.kind === "asked" || state.kind === "live") this.control.push({ type: "unsubscribe", wanted });
  }

  private succeed(id: number, answer: Answer): void {
    this.output.push({ type: "answer", id, answer });
  }

  private fail(id: number, failure: RequestFailure): void {
    this.output.push({ type: "failed", id, failure });
  }

  private checkOpen(): void {
    if (this.link.kind === "ended") throw new RequestError({ kind: "ended", ended: this.link.ended });
    if (this.closing !== null) throw new RequestError({ kind: "ended", ended: { kind: "closed" } });
  }

  private nextId(): number {
    return ++this.ids;
  }

  /** Strings of our own form, so that the answer to a frame written by hand is not taken for one of ours. */
  private name(id: number): string {
    return `c${id}`;
  }

  private answers({ id }: Incoming): number | null {
    return typeof id === "string" && /^c\d{1,15}$/.test(id) ? Number(id.slice(1)) : null;
  }
}

function isAskedBy({ state }: Subscription, request: number): boolean {
  return state.kind === "asked" && state.request === request;
}

const BACKOFF: Next = { kind: "backoff" };

const TOKEN_EXPIRED = 4002;

/** Fresh tokens that the server may refuse in a row. */
const UNAUTHORIZED_MAX = 3;

/** A server that says "come back in a year" is wrong. */
const AFTER_MAX = 3_600_000;

/** A server that says less or more is not believed: silence has to be noticed, and not at every breath. */
const HEARTBEAT_MIN = 100;
const HEARTBEAT_MAX = 3_600_000;
const HEARTBEAT_DEFAULT = 25_000;

/** Codes by which a subscription is ended only for now. */
const TEMPORARY = ["rate_limited", "unavailable", "internal"];
