// Chance by a seed, and what is drawn from it: texts and operations. The same seed gives the same.

import { replacement } from "../page/ot.mjs";

/** `below(n)` gives whole numbers from 0 to n - 1. */
export class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = this.state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  below(count) {
    return Math.floor(this.next() * count);
  }

  chance(probability) {
    return this.next() < probability;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  /** Up to `max` characters, among them those of two units, and digits, signs and quotes that could be taken for parts of an operation. */
  text(max) {
    return Array.from({ length: this.below(max + 1) }, () => this.pick(CHARACTERS)).join("");
  }
}

const CHARACTERS = [..."aab c\n07-\"ä€", "😀", "😁", "𝒳", "e\u0301", "👩‍🚀"];

/** Replaces up to `max` characters at one to three places of `text`. Never cuts one in two. */
export function randomOperation(random, text, max = 6) {
  const parts = [];
  const characters = [...text];
  let at = 0;
  for (let places = 1 + random.below(3); places > 0; places -= 1) {
    const from = at + random.below(characters.length - at + 1);
    const until = Math.min(characters.length, from + random.below(max));
    const units = (one, other) => characters.slice(one, other).join("").length;
    for (const part of [units(at, from), random.text(max), -units(from, until)]) if (part !== 0 && part !== "") parts.push(part);
    at = until;
  }
  const rest = characters.slice(at).join("").length;
  return rest > 0 ? [...parts, rest] : parts;
}

/** Somebody types: mostly letters at one place, sometimes a piece goes. */
export function randomEdit(random, text, inserted) {
  const characters = [...text];
  const from = random.below(characters.length + 1);
  const at = characters.slice(0, from).join("").length;
  const gone = random.chance(0.3) ? characters.slice(from, from + 1 + random.below(4)).join("").length : 0;
  return replacement(text.length, at, gone, inserted);
}
