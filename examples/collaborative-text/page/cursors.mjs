// Where the others are. A caret is told by its place in the agreed text after some revision; here it is kept as a place in the view, and
// moves with every operation on it. Pure.

import { endOfChange, moveIndex } from "./ot.mjs";

/** Operations that are remembered, for carets that were told before them. */
const RECENT_MAX = 200;

export class Cursors {
  /** By author: `{ name, from, to, publisher }`, places in the view. */
  others = new Map();
  /** The latest operations on the agreed text, and after which they were: `{ offset, operation }`. */
  recent = [];
  /** Told for a revision that has not come yet. */
  early = new Map();

  constructor(participant) {
    this.participant = participant;
  }

  /** Somebody says where they are. */
  tell(value, publisher) {
    const { by, name, offset, from, to } = value ?? {};
    const good = typeof by === "string" && typeof name === "string" && [offset, from, to].every((one) => Number.isSafeInteger(one) && one >= 0);
    if (!good || by === this.participant.by) return;
    if (offset > this.participant.agreed.position.offset) {
      this.early.set(by, { value, publisher });
      return;
    }
    this.early.delete(by);
    const place = (index) => Math.min(this.lift(index, offset), this.participant.view.length);
    this.others.set(by, { name: name.slice(0, 40), from: place(from), to: place(to), publisher });
  }

  /** From the agreed text after `offset` to the view. */
  lift(index, offset) {
    let moved = index;
    for (const { offset: after, operation } of this.recent) if (after > offset) moved = moveIndex(moved, operation);
    const { flight, typed } = this.participant;
    if (flight) moved = moveIndex(moved, flight.operation);
    if (typed) moved = moveIndex(moved, typed);
    return moved;
  }

  /** The user has changed the view. */
  onEdit(operation) {
    this.move(operation);
  }

  /** Somebody's entry has changed the view: their caret stands behind what they did. */
  onChange(operation, by) {
    this.move(operation);
    const author = this.others.get(by);
    const end = endOfChange(operation);
    if (author && end !== null) author.from = author.to = end;
  }

  /** The agreed text has changed. Says whether somebody who was early is there now. */
  onAgreed(offset, operation) {
    if (operation) this.recent.push({ offset, operation });
    if (this.recent.length > RECENT_MAX) this.recent.shift();
    for (const { value, publisher } of [...this.early.values()]) if (value.offset <= offset) this.tell(value, publisher);
  }

  /** Continuity is lost: what is known of places means nothing. */
  forget() {
    this.recent = [];
    this.early.clear();
  }

  move(operation) {
    for (const other of this.others.values()) {
      other.from = moveIndex(other.from, operation);
      other.to = moveIndex(other.to, operation);
    }
  }

  /** Only these connections are there. */
  keepOnly(publishers) {
    for (const [by, { publisher }] of this.others) if (!publishers.has(publisher)) this.others.delete(by);
  }

  leave(publisher) {
    for (const [by, other] of this.others) if (other.publisher === publisher) this.others.delete(by);
  }
}
