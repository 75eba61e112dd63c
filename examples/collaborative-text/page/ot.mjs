// Operations on text, and what is done with them: applied, joined, undone, and moved past each other (operational transform). Pure: knows
// nothing of channels, pages or time.
//
// An operation walks over the whole text once. It is a list of parts, and as such also what travels: 7 keeps seven units, -3 deletes
// three, "abc" inserts. What is kept at the end is written out, so an operation knows the length of the text that it is for.
//
// Units are those of JavaScript's strings (UTF-16), because the positions of a text field are. No operation begins or ends within a
// character of two units: `isFor` refuses that, `diff` does not make it, and what is moved past another operation keeps it.

/** Writes an operation in its one form: equal parts joined, nothing empty, and where both are, the insertion before the deletion. */
class Writer {
  parts = [];

  keep(units) {
    if (units <= 0) return this;
    if (keeps(this.parts.at(-1))) this.parts[this.parts.length - 1] += units;
    else this.parts.push(units);
    return this;
  }

  delete(units) {
    if (units <= 0) return this;
    if (deletes(this.parts.at(-1))) this.parts[this.parts.length - 1] -= units;
    else this.parts.push(-units);
    return this;
  }

  insert(text) {
    if (text === "") return this;
    const { parts } = this;
    const behind = deletes(parts.at(-1)) ? parts.pop() : null;
    if (inserts(parts.at(-1))) parts[parts.length - 1] += text;
    else parts.push(text);
    if (behind !== null) parts.push(behind);
    return this;
  }

  part(part) {
    if (inserts(part)) return this.insert(part);
    return keeps(part) ? this.keep(part) : this.delete(-part);
  }
}

// By their types too: JavaScript takes the text "-3" for less than nothing.
const keeps = (part) => typeof part === "number" && part > 0;
const deletes = (part) => typeof part === "number" && part < 0;
const inserts = (part) => typeof part === "string";

/** Reads an operation part by part, in pieces of the size that is asked for. */
class Reader {
  index = 0;
  used = 0;

  constructor(operation) {
    this.operation = operation;
  }

  /** What is left of the present part; `null` at the end. */
  get part() {
    const part = this.operation[this.index];
    if (part === undefined) return null;
    if (inserts(part)) return part.slice(this.used);
    return keeps(part) ? part - this.used : part + this.used;
  }

  take(units) {
    const { part } = this;
    if (units < size(part)) this.used += units;
    else [this.index, this.used] = [this.index + 1, 0];
    if (inserts(part)) return part.slice(0, units);
    return keeps(part) ? units : -units;
  }
}

function size(part) {
  return inserts(part) ? part.length : Math.abs(part);
}

/** The length of the text that it is for. */
export function lengthBefore(operation) {
  return operation.reduce((sum, part) => sum + (inserts(part) ? 0 : size(part)), 0);
}

/** The length of what comes out. */
export function lengthAfter(operation) {
  return operation.reduce((sum, part) => sum + (deletes(part) ? 0 : size(part)), 0);
}

export function changesNothing(operation) {
  return operation.every(keeps);
}

/** Replaces `deleted` units at `at` in a text of `length` by `inserted`. */
export function replacement(length, at, deleted, inserted) {
  return new Writer().keep(at).insert(inserted).delete(deleted).keep(length - at - deleted).parts;
}

/** An operation from what somebody sent; `null` if it is none. */
export function read(value) {
  if (!Array.isArray(value)) return null;
  const writer = new Writer();
  for (const part of value) {
    const good = inserts(part) ? part !== "" && part.isWellFormed() : Number.isSafeInteger(part) && part !== 0;
    if (!good) return null;
    writer.part(part);
  }
  return writer.parts;
}

/** Whether it can be applied to this text: it has its length, and no character is cut in two. */
export function isFor(operation, text) {
  if (lengthBefore(operation) !== text.length) return false;
  let at = 0;
  for (const part of operation) {
    if (isInCharacter(text, at)) return false;
    if (!inserts(part)) at += size(part);
  }
  return true;
}

/** Between the two units of one character. */
function isInCharacter(text, at) {
  const unit = text.charCodeAt(at);
  const before = text.charCodeAt(at - 1);
  return unit >= 0xdc00 && unit <= 0xdfff && before >= 0xd800 && before <= 0xdbff;
}

export function apply(text, operation) {
  if (lengthBefore(operation) !== text.length) {
    throw new RangeError(`an operation for ${lengthBefore(operation)} units, and a text of ${text.length}`);
  }
  let at = 0;
  let result = "";
  for (const part of operation) {
    if (inserts(part)) {
      result += part;
      continue;
    }
    if (keeps(part)) result += text.slice(at, at + part);
    at += size(part);
  }
  return result;
}

/** One operation that does what `first` and then `second` do. */
export function compose(first, second) {
  const [one, two, writer] = [new Reader(first), new Reader(second), new Writer()];
  while (one.part !== null || two.part !== null) {
    if (deletes(one.part)) {
      writer.part(one.take(size(one.part)));
      continue;
    }
    if (inserts(two.part)) {
      writer.part(two.take(size(two.part)));
      continue;
    }
    if (one.part === null || two.part === null) throw new RangeError("operations that do not follow each other");
    const units = Math.min(size(one.part), size(two.part));
    const [made, then] = [one.take(units), two.take(units)];
    if (keeps(then)) writer.part(made);
    // What the first inserted and the second deleted was never there.
    else if (!inserts(made)) writer.part(then);
  }
  return writer.parts;
}

/**
 * Moves two operations for the same text past each other: `[first after second, second after first]`, so that
 * `apply(apply(text, first), second')` is `apply(apply(text, second), first')`. Where both insert at one place, `first` stands to the left.
 */
export function transform(first, second) {
  const [one, two] = [new Reader(first), new Reader(second)];
  const [oneAfter, twoAfter] = [new Writer(), new Writer()];
  while (one.part !== null || two.part !== null) {
    if (inserts(one.part)) {
      twoAfter.keep(size(one.part));
      oneAfter.insert(one.take(size(one.part)));
      continue;
    }
    if (inserts(two.part)) {
      oneAfter.keep(size(two.part));
      twoAfter.insert(two.take(size(two.part)));
      continue;
    }
    if (one.part === null || two.part === null) throw new RangeError("operations for texts of different lengths");
    const units = Math.min(size(one.part), size(two.part));
    const [a, b] = [one.take(units), two.take(units)];
    if (keeps(a) && keeps(b)) [oneAfter, twoAfter].forEach((writer) => writer.keep(units));
    else if (keeps(b)) oneAfter.delete(units);
    else if (keeps(a)) twoAfter.delete(units);
  }
  return [oneAfter.parts, twoAfter.parts];
}

/** What takes an operation on `text` back. */
export function invert(operation, text) {
  const writer = new Writer();
  let at = 0;
  for (const part of operation) {
    if (inserts(part)) {
      writer.delete(part.length);
      continue;
    }
    if (keeps(part)) writer.keep(part);
    else writer.insert(text.slice(at, at - part));
    at += size(part);
  }
  return writer.parts;
}

/**
 * Where a place in the text is after an operation. What is inserted at the place itself pushes it on if `own`, so that whoever types
 * stays behind what was typed, and what others insert there stays behind the caret.
 */
export function moveIndex(index, operation, own = false) {
  let at = 0;
  let moved = index;
  for (const part of operation) {
    if (at > index) break;
    if (inserts(part)) {
      if (at < index || own) moved += part.length;
      continue;
    }
    if (deletes(part)) moved -= Math.min(-part, index - at);
    at += size(part);
  }
  return moved;
}

/** Where it ends what it changes, in the text that comes out; `null` if it changes nothing. Its author's caret stands there. */
export function endOfChange(operation) {
  let end = null;
  let at = 0;
  for (const part of operation) {
    if (!deletes(part)) at += size(part);
    if (!keeps(part)) end = at;
  }
  return end;
}

/**
 * The operation between two texts: one piece is replaced by another. Of several readings the one is taken after which the caret stands at
 * `caret`, as it does when somebody has typed: another "a" among many is where it was typed.
 */
export function diff(before, after, caret = after.length) {
  const shorter = Math.min(before.length, after.length);
  let tail = 0;
  const tailMax = Math.min(shorter, after.length - caret);
  while (tail < tailMax && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  let head = 0;
  while (head < shorter - tail && before[head] === after[head]) head += 1;
  while (tail < shorter - head && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  if (isInCharacter(before, head) || isInCharacter(after, head)) head -= 1;
  if (isInCharacter(before, before.length - tail) || isInCharacter(after, after.length - tail)) tail -= 1;
  return replacement(before.length, head, before.length - head - tail, after.slice(head, after.length - tail));
}
