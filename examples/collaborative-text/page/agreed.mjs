// What a document is: the sum of the entries that were published on its channel, in their order. Whoever adds up the same entries has the
// same text, so everything here follows from them alone. The server orders the entries and looks into none: what is wrong is left out here,
// by everybody alike. Knows nothing of connections, and nothing of what somebody has typed and not published.

import { apply, diff, isFor, lengthAfter, read } from "./ot.mjs";

/** The longest text, in UTF-16 units. A snapshot of it has to fit into a message. */
export const TEXT_MAX = 50_000;

/** Of so many authors it is known which entry was their last. */
const AUTHORS_MAX = 200;

export class Agreed {
  /** The number of the last entry of each author, by name, the longest silent first. What a lost answer makes an author publish again counts once. */
  authors = new Map();
  text = "";
  /** A text that somebody brought is part of it. */
  restored = false;

  /** `position` is the channel's: the revision. */
  constructor(position, { text = "", authors = [] } = {}) {
    this.position = position;
    this.text = text;
    this.authors = new Map(authors);
  }

  /** What to give to those who come later, in place of all entries up to here. */
  get snapshot() {
    return { position: this.position, text: this.text, authors: [...this.authors] };
  }

  /** From what somebody published as a snapshot; `null` if it is none. */
  static fromSnapshot(value) {
    const { epoch, offset } = value?.position ?? {};
    if (typeof epoch !== "string" || !Number.isSafeInteger(offset)) return null;
    const state = readState(value);
    return state && new Agreed({ epoch, offset }, state);
  }

  /** Adds an entry. Returns what it does to the text, or `null` for nothing. */
  add(position, entry) {
    this.position = position;
    if (entry?.restore !== undefined) return this.restore(entry.restore);
    const { by, n } = entry ?? {};
    if (typeof by !== "string" || by === "" || by.length > 64 || !Number.isSafeInteger(n)) return null;
    if (n <= (this.authors.get(by) ?? 0)) return null;
    this.remember(by, n);
    const operation = read(entry.operation);
    if (!operation || !isFor(operation, this.text) || lengthAfter(operation) > TEXT_MAX) return null;
    this.text = apply(this.text, operation);
    return operation;
  }

  /** The text as it was before the channel's history was lost, from somebody who had it. */
  restore(value) {
    const state = readState(value);
    if (!state) return null;
    const operation = diff(this.text, state.text);
    this.text = state.text;
    this.authors = new Map(state.authors);
    this.restored = true;
    return operation;
  }

  remember(by, n) {
    this.authors.delete(by);
    this.authors.set(by, n);
    if (this.authors.size > AUTHORS_MAX) this.authors.delete(this.authors.keys().next().value);
  }
}

function readState({ text, authors }) {
  const good = (author) => Array.isArray(author) && typeof author[0] === "string" && Number.isSafeInteger(author[1]);
  if (typeof text !== "string" || text.length > TEXT_MAX || !text.isWellFormed()) return null;
  if (!Array.isArray(authors) || authors.length > AUTHORS_MAX || !authors.every(good)) return null;
  return { text, authors };
}
