// An editor of one document over a client: follows the document's channel, publishes what is typed, and keeps snapshots, so that who comes
// later need not read everything. Owns what is asked of the server and when; what it means is in `participant.mjs`. Knows no page.
//
// `text:NAME` has the entries, `snapshot:NAME` the latest snapshot. Both are published by compare-and-set: an entry stands exactly behind
// those that it was made for, and an older snapshot never replaces a newer one.

import { Agreed, TEXT_MAX } from "./agreed.mjs";
import { Participant } from "./participant.mjs";

/** Typing is gathered for so long: others see it as fluent, and the server has less to order. */
const SEND_EVERY_MS = 50;
/** So many entries after the last snapshot, or so much text, there is a new one. Far less than the channel keeps. */
const SNAPSHOT_EVERY = 100;
const SNAPSHOT_UNITS = 200_000;
const AGAIN_MS = 300;

export class Editor {
  participant = null;
  /** It follows the channel, without a gap. */
  live = false;
  closed = false;
  subscription = null;
  /** The last snapshot that is known of, and the units that were published behind it. */
  snapshotOffset = 0;
  unitsSince = 0;
  snapshotting = false;
  /** What is answered to earlier ones does not count any more. */
  attempt = 0;
  timer = null;
  sentAt = 0;

  /**
   * `by` is this editor's name among the authors, another for each. `onChange(operation, by)` is told of each change of the view that is not
   * the user's; `onAgreed(offset, operation)` of each revision; `onOpen` when it follows the document, again after each loss.
   */
  constructor(client, document, by, { onChange, onAgreed, onOpen, onState, sendEvery = SEND_EVERY_MS, snapshotEvery = SNAPSHOT_EVERY } = {}) {
    const nobody = () => {};
    this.told = { onChange: onChange ?? nobody, onAgreed: onAgreed ?? nobody, onOpen: onOpen ?? nobody, onState: onState ?? nobody };
    Object.assign(this, { client, by, sendEvery, snapshotEvery });
    this.channel = `text:${document}`;
    this.snapshots = `snapshot:${document}`;
  }

  get view() {
    return this.participant?.view ?? "";
  }

  /** `"opening"`; `"saving"` while something is not agreed on; `"settled"`; `"closed"`. */
  get state() {
    if (this.closed) return "closed";
    if (!this.live) return "opening";
    return this.participant.settled ? "settled" : "saving";
  }

  /** Opens the document and follows it from then on. Rejects when there is no use in trying again. */
  async open() {
    this.live = false;
    this.told.onState();
    while (!this.closed) {
      try {
        const events = await this.findWay();
        if (events) return void this.run(events);
      } catch (error) {
        if (!mayPass(error)) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  /** `failure` is why, if it is not the user's wish. */
  close(failure = null) {
    this.closed = true;
    this.failure = failure;
    clearTimeout(this.timer);
    this.subscription?.unsubscribe();
    this.told.onState();
  }

  /** The user has changed the view. */
  edit(operation) {
    this.participant.edit(operation);
    this.told.onState();
    this.pump();
  }

  /** Takes one way into the document. Returns the events that follow, or `null` if another way has to be looked for. */
  async findWay() {
    const snapshot = await this.readSnapshot();
    if (snapshot && (await this.follow(snapshot))) return this.take(snapshot);
    // No snapshot that leads to what the channel has. Perhaps it has everything, from its beginning on.
    const { position } = await this.subscribe();
    const whole = new Agreed({ epoch: position.epoch, offset: 0 });
    const complete = position.offset === 0 || (await this.follow(whole));
    // What was known before another life of the channel began: the server has lost its memory, or the channel was forgotten.
    const known = this.participant?.agreed ?? snapshot;
    const older = known !== null && known.text !== "" && known.position.epoch !== position.epoch;
    if (complete && (whole.restored || !older)) return this.take(whole);
    await this.restore(complete ? whole.position : position, known, whole.text);
    return null;
  }

  async subscribe(since) {
    this.subscription?.unsubscribe();
    this.subscription = this.client.subscribe(this.channel, since && { since });
    this.events = this.subscription[Symbol.asyncIterator]();
    return this.subscription.ready;
  }

  /** Subscribes behind a state and adds what was published since. False if the channel does not have all of it. */
  async follow(agreed) {
    const { recovered } = await this.subscribe(agreed.position);
    if (!recovered) return false;
    this.snapshotOffset = agreed.position.offset;
    this.unitsSince = 0;
    for (;;) {
      const { value: event } = await this.events.next();
      if (event?.type === "message") agreed.add(event.message.position, event.message.data);
      else if (event?.type === "caught_up") return true;
      else if (event?.type !== "recovered") return false;
    }
  }

  take(agreed) {
    if (this.participant) this.participant.reload(agreed);
    else this.participant = new Participant(this.by, agreed, (operation) => this.told.onChange(operation, this.author));
    this.live = true;
    this.attempt += 1;
    this.told.onOpen();
    this.told.onState();
    this.pump();
    return this.events;
  }

  async run(events) {
    for (let next = await events.next(); !next.done; next = await events.next()) {
      const { type, message } = next.value;
      if (type === "message") this.receive(message);
      // Something is missing: from the beginning.
      else if (type === "lost" || type === "gap") return this.open().catch((error) => this.close(error));
      else if (type === "unsubscribed") return this.close(new Error(`unsubscribed: ${next.value.why.kind}`));
    }
  }

  receive({ position, data }) {
    const { participant } = this;
    this.author = data?.by ?? null;
    const operation = participant.receive(position, data);
    this.author = null;
    this.told.onAgreed(position.offset, operation);
    this.told.onState();
    this.pump();
    if (operation) this.unitsSince += JSON.stringify(operation).length;
    const due = position.offset - this.snapshotOffset >= this.snapshotEvery || this.unitsSince >= SNAPSHOT_UNITS;
    // Whose entry it is writes it. If that fails, the next one does.
    if (due && data?.by === this.by) void this.writeSnapshot();
  }

  /** Publishes what may be published, soon. */
  pump() {
    if (!this.live || this.timer !== null || this.participant.settled) return;
    const wait = Math.max(0, this.sentAt + this.sendEvery - Date.now());
    this.timer = setTimeout(() => {
      this.timer = null;
      void this.publish();
    }, wait);
  }

  async publish() {
    const next = this.live ? this.participant.next() : null;
    if (!next) return;
    this.sentAt = Date.now();
    const attempt = ++this.attempt;
    try {
      // Whatever the answer, the entry itself comes by the channel.
      await this.client.publish(this.channel, next.entry, { ifPosition: next.position, idempotencyKey: `${this.by} ${next.entry.n}` });
    } catch (error) {
      if (attempt !== this.attempt) return;
      if (error.code === "conflict") this.participant.refused();
      else if (mayPass(error)) this.participant.unanswered();
      else return this.close(error);
      this.pump();
    }
  }

  async readSnapshot() {
    const { messages } = await this.client.history(this.snapshots, { limit: 1 });
    return Agreed.fromSnapshot(messages.at(-1)?.data);
  }

  /** Writes a snapshot, unless somebody else has by now. */
  async writeSnapshot(agreed = this.participant.agreed) {
    if (this.snapshotting) return;
    this.snapshotting = true;
    try {
      const { position, messages } = await this.client.history(this.snapshots, { limit: 1 });
      const last = Agreed.fromSnapshot(messages.at(-1)?.data)?.position;
      const other = last?.epoch === agreed.position.epoch && last.offset > this.snapshotOffset;
      const { snapshot } = agreed;
      if (!other) await this.client.publish(this.snapshots, snapshot, { ifPosition: position });
      this.snapshotOffset = other ? last.offset : snapshot.position.offset;
      this.unitsSince = 0;
    } catch {
      // Somebody was faster, or the server is away: the next entry is the next occasion.
    } finally {
      this.snapshotting = false;
    }
  }

  /** Brings the text back that the channel has lost, and with it what was written since. Of several who try, one succeeds. */
  async restore(position, known, since) {
    const text = [known?.text, since].filter(Boolean).join("\n").slice(0, TEXT_MAX).toWellFormed();
    const state = { text, authors: [...(known?.authors ?? [])] };
    const published = await this.client.publish(this.channel, { restore: state }, { ifPosition: position });
    await this.writeSnapshot(new Agreed(published.position, state));
  }
}

/** Whether it is worth another try. A fault of ours is not. */
function mayPass(error) {
  if (error.code === "conflict" || error.temporary === true) return true;
  return ["timed_out", "not_sent", "interrupted", "queue_full", "dropped"].includes(error.kind);
}
