// What operations promise, for random ones by seed: `node properties.mjs [--seed N] [--rounds N]`. Needs no server.

import assert from "node:assert/strict";
import * as ot from "../page/ot.mjs";
import { Undo } from "../page/undo.mjs";
import { Random, randomOperation } from "./random.mjs";

const PROPERTIES = {
  "operations that cross come to the same text (TP1)": (random) => {
    const text = random.text(12);
    const [one, two] = [randomOperation(random, text), randomOperation(random, text)];
    const [oneAfter, twoAfter] = ot.transform(one, two);
    assert.equal(ot.apply(ot.apply(text, one), twoAfter), ot.apply(ot.apply(text, two), oneAfter));
  },

  "one operation for two does what both do": (random) => {
    const text = random.text(12);
    const one = randomOperation(random, text);
    const between = ot.apply(text, one);
    const two = randomOperation(random, between);
    const both = ot.compose(one, two);
    assert.equal(ot.apply(text, both), ot.apply(between, two));
    assert.deepEqual([ot.lengthBefore(both), ot.lengthAfter(both)], [text.length, ot.apply(between, two).length]);
  },

  "it does not matter which are joined first": (random) => {
    const text = random.text(12);
    const one = randomOperation(random, text);
    const two = randomOperation(random, ot.apply(text, one));
    const three = randomOperation(random, ot.apply(ot.apply(text, one), two));
    const [left, right] = [ot.compose(ot.compose(one, two), three), ot.compose(one, ot.compose(two, three))];
    assert.equal(ot.apply(text, left), ot.apply(text, right));
  },

  "moving past two, one after the other, is moving past both": (random) => {
    const text = random.text(12);
    const other = randomOperation(random, text);
    const one = randomOperation(random, text);
    const two = randomOperation(random, ot.apply(text, one));
    const [, past] = ot.transform(ot.compose(one, two), other);
    const [, pastOne] = ot.transform(one, other);
    const [, pastBoth] = ot.transform(two, pastOne);
    const after = ot.apply(ot.apply(text, one), two);
    // What one inserts and two deletes is nowhere in their sum, so insertions at that place may stand in the other order: the lengths are equal,
    // and so are the letters.
    assert.deepEqual([...ot.apply(after, past)].sort(), [...ot.apply(after, pastBoth)].sort());
  },

  "what is taken back was never done": (random) => {
    const text = random.text(12);
    const operation = randomOperation(random, text);
    assert.equal(ot.apply(ot.apply(text, operation), ot.invert(operation, text)), text);
  },

  "the difference of two texts leads from one to the other": (random) => {
    const [before, after] = [random.text(9), random.text(9)];
    const difference = ot.diff(before, after, random.below(after.length + 1));
    assert.equal(ot.apply(before, difference), after);
    assert.ok(ot.isFor(difference, before));
  },

  "no character is cut, and the form is the one that is read": (random) => {
    const text = random.text(12);
    const [one, two] = [randomOperation(random, text), randomOperation(random, text)];
    const [oneAfter, twoAfter] = ot.transform(one, two);
    const made = [
      [oneAfter, ot.apply(text, two)],
      [twoAfter, ot.apply(text, one)],
      [ot.invert(one, text), ot.apply(text, one)],
      [ot.compose(one, twoAfter), text],
    ];
    for (const [operation, on] of made) {
      assert.ok(ot.isFor(operation, on), JSON.stringify(operation));
      assert.ok(ot.apply(on, operation).isWellFormed());
      assert.deepEqual(ot.read(JSON.parse(JSON.stringify(operation))), operation);
    }
  },

  "a place moves with the letters around it": (random) => {
    const text = random.text(12).replaceAll("|", "");
    const index = [...text].slice(0, random.below([...text].length + 1)).join("").length;
    const operation = randomOperation(random, text);
    const moved = ot.moveIndex(index, operation);
    const after = ot.apply(text, operation);
    assert.ok(moved >= 0 && moved <= after.length);
    // Against a mark in the text itself, for operations that do not delete across it.
    const mark = ot.replacement(text.length, index, 0, "|");
    const [past] = ot.transform(mark, operation);
    assert.equal(ot.apply(after, past).indexOf("|"), moved);
  },

  "taking back leaves what others wrote": (random) => {
    const undo = new Undo();
    let text = "";
    for (let step = 0; step < 6; step += 1) {
      const own = random.chance(0.5);
      const letters = (own ? "own" : "OTHER").repeat(1 + random.below(2));
      const operation = ot.replacement(text.length, random.below(text.length + 1), 0, letters);
      if (own) undo.did(operation, text, random.chance(0.3));
      else undo.onChange(operation);
      text = ot.apply(text, operation);
    }
    const full = text;
    for (let back = undo.undo(text); back; back = undo.undo(text)) text = ot.apply(text, back);
    assert.equal(text, full.replaceAll(/[own]/g, ""));
    for (let again = undo.redo(text); again; again = undo.redo(text)) text = ot.apply(text, again);
    assert.deepEqual([...text].sort(), [...full].sort());
  },
};

/** Not by chance: what is no operation, or not one for this text. */
function refusals() {
  for (const value of [null, 7, "x", {}, [0], [""], [1.5], [null], [[1]], ["\ud83d"], [Infinity], [2 ** 60]]) assert.equal(ot.read(value), null);
  assert.deepEqual(ot.read([1, 2, -1, "a", -1, "b"]), [3, "ab", -2]);
  for (const operation of [[1, -1], [1, "x", 1], [-1, 1], [3], [1]]) assert.equal(ot.isFor(operation, "😀"), false, JSON.stringify(operation));
  assert.ok(ot.isFor([-2], "😀"));
  assert.deepEqual(ot.diff("aaa", "aaaa", 2), [1, "a", 2]);
  assert.deepEqual(ot.diff("a😀b", "a😁b"), [1, "😁", -2, 1]);
}

export function properties({ seed, rounds = 2000, say = console.log }) {
  refusals();
  say("ok      what is no operation is refused");
  for (const [name, property] of Object.entries(PROPERTIES)) {
    for (let round = 0; round < rounds; round += 1) {
      try {
        property(new Random(seed + round));
      } catch (error) {
        throw new Error(`${name}: broken by seed ${seed + round} (--seed ${seed + round} --rounds 1): ${error.message}`, { cause: error });
      }
    }
    say(`ok      ${name}`);
  }
}
