// One who edits: what everybody agrees on, what is on its way, and what was typed since. Pure: it says what to publish and when it may be,
// and is told what became of it. Knows nothing of connections.
//
// One entry is on its way at a time, and says after which position it belongs. If somebody else was faster the channel refuses it; what was
// faster arrives, is moved past what is on its way and what was typed, and the entry is published anew behind it.

import { apply, changesNothing, compose, diff, invert, transform } from "./ot.mjs";

export class Participant {
  /** What is on its way: `{ n, operation }`, for the agreed text. */
  flight = null;
  /** What was typed since, for the text after that. */
  typed = null;
  /** An answer is awaited for what was published behind this position. */
  asked = null;
  /** The channel was not there any more. */
  refusedAt = null;
  /** The number of the next entry. */
  n = 1;

  /** `by` is a name of its own for each page that is open; `onChange` is told of each operation on the view that is not the user's own. */
  constructor(by, agreed, onChange = () => {}) {
    this.by = by;
    this.agreed = agreed;
    this.view = agreed.text;
    this.onChange = onChange;
  }

  /** Everything that was typed is agreed on. */
  get settled() {
    return this.flight === null && this.typed === null;
  }

  /** The user has changed the view. */
  edit(operation) {
    this.view = apply(this.view, operation);
    this.typed = this.typed ? compose(this.typed, operation) : operation;
    if (changesNothing(this.typed)) this.typed = null;
  }

  /** What to publish now, and behind which position; `null` if nothing may be. */
  next() {
    const { position } = this.agreed;
    if (this.asked || isSame(this.refusedAt, position)) return null;
    if (!this.flight) {
      if (!this.typed) return null;
      this.flight = { n: this.n, operation: this.typed };
      this.typed = null;
      this.n += 1;
    }
    this.asked = position;
    const { n, operation } = this.flight;
    return { entry: { by: this.by, n, operation }, position };
  }

  /** It was refused: the channel is not at that position. */
  refused() {
    this.refusedAt = this.asked;
    this.asked = null;
  }

  /** Nobody knows what became of it. It may be published again: it counts once. */
  unanswered() {
    this.asked = null;
  }

  /**
   * The next entry of the channel, its own ones too: that it comes is how an entry is known to be in. Returns what it does to the agreed
   * text, or `null`.
   */
  receive(position, entry) {
    const own = this.flight !== null && entry?.by === this.by && entry.n === this.flight.n;
    const before = this.agreed.text;
    const operation = this.agreed.add(position, entry);
    if (!own) {
      if (this.isIn()) this.land(before);
      else this.rebase(operation);
      return operation;
    }
    const { operation: mine } = this.flight;
    this.flight = null;
    this.asked = null;
    // Nobody takes it, because the text would become too long, say. So it is taken back here too.
    if (!operation) this.rebase(invert(mine, before));
    return operation;
  }

  /**
   * A new beginning: what the document has become while this participant could not follow. What it has not published, or does not know
   * to be published, it keeps.
   */
  reload(agreed) {
    const before = this.agreed.text;
    this.agreed = agreed;
    this.asked = null;
    this.refusedAt = null;
    if (this.isIn()) this.land(before);
    else this.rebase(diff(before, agreed.text));
  }

  /** What is on its way is a part of what is agreed on, though its entry was not seen. */
  isIn() {
    return this.flight !== null && (this.agreed.authors.get(this.by) ?? 0) >= this.flight.n;
  }

  land(before) {
    const operation = diff(apply(before, this.flight.operation), this.agreed.text);
    this.flight = null;
    this.asked = null;
    this.rebase(operation);
  }

  /** The agreed text was changed by this operation: moves it past what is on its way and what was typed, and those past it. */
  rebase(operation) {
    if (!operation) return;
    let moved = operation;
    if (this.flight) [moved, this.flight.operation] = transform(moved, this.flight.operation);
    if (this.typed) [moved, this.typed] = transform(moved, this.typed);
    if (changesNothing(moved)) return;
    this.view = apply(this.view, moved);
    this.onChange(moved);
  }
}

export function isSame(one, other) {
  return one !== null && other !== null && one.epoch === other.epoch && one.offset === other.offset;
}
