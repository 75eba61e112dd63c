// Several participants and a channel on paper, by seed: they type at the same time, publish, are refused, lose answers and connections, and begin
// anew from snapshots. In the end all have the same text, and it is what they meant: every character that was typed is there once, unless
// somebody deleted it. Needs no server.

import assert from "node:assert/strict";
import { Agreed, TEXT_MAX } from "../page/agreed.mjs";
import { Cursors } from "../page/cursors.mjs";
import { apply } from "../page/ot.mjs";
import { isSame, Participant } from "../page/participant.mjs";
import { Random, randomEdit } from "./random.mjs";

const EPOCH = "e1";

/** What the server does: it orders, compares positions, and knows what it has published. */
class Channel {
  entries = [];
  keys = new Map();

  get position() {
    return { epoch: EPOCH, offset: this.entries.length };
  }

  publish({ entry, position }) {
    const key = `${entry.by} ${entry.n}`;
    if (this.keys.has(key)) return "duplicate";
    if (!isSame(position, this.position)) return "conflict";
    this.entries.push(entry);
    this.keys.set(key, this.position);
    return "ok";
  }

  /** The state after so many entries, as a snapshot that somebody wrote. */
  at(offset) {
    const agreed = new Agreed({ epoch: EPOCH, offset: 0 });
    for (let index = 0; index < offset; index += 1) agreed.add({ epoch: EPOCH, offset: index + 1 }, this.entries[index]);
    return Agreed.fromSnapshot(JSON.parse(JSON.stringify(agreed.snapshot)));
  }
}

class Seat {
  /** What was sent and not taken by the channel yet; what was answered and has not arrived. */
  request = null;
  answer = null;
  askedAt = null;
  refusedAt = null;

  constructor(world, by) {
    this.world = world;
    this.participant = new Participant(by, world.channel.at(0), (operation) => this.cursors.onChange(operation, null));
    this.cursors = new Cursors(this.participant);
  }

  get behind() {
    return this.participant.agreed.position.offset < this.world.channel.entries.length;
  }

  type() {
    const { random, typed, deleted } = this.world;
    const letter = String.fromCodePoint(0x10000 + typed.size);
    typed.add(letter);
    const operation = randomEdit(random, this.participant.view, letter);
    const after = apply(this.participant.view, operation);
    for (const one of this.participant.view) if (!after.includes(one)) deleted.add(one);
    this.participant.edit(operation);
    this.cursors.onEdit(operation);
  }

  send() {
    // A client that has an answer to wait for does not ask.
    if (this.request || this.answer) return;
    const next = this.participant.next();
    if (!next) return;
    assert.ok(!isSame(next.position, this.refusedAt), "it asks again for what was refused");
    this.request = JSON.parse(JSON.stringify(next));
    this.askedAt = next.position;
  }

  serve() {
    if (!this.request) return;
    this.answer = this.world.channel.publish(this.request);
    this.request = null;
  }

  hear() {
    if (this.answer === "conflict") {
      this.participant.refused();
      this.refusedAt = this.askedAt;
    }
    this.answer = null;
  }

  deliver() {
    if (!this.behind) return;
    const offset = this.participant.agreed.position.offset + 1;
    const operation = this.participant.receive({ epoch: EPOCH, offset }, this.world.channel.entries[offset - 1]);
    this.cursors.onAgreed(offset, operation);
  }

  /** The connection breaks: what is on its way arrives or not, and nobody hears the answer. */
  breakOff() {
    if (this.world.random.chance(0.5)) this.serve();
    if (!this.request && !this.answer) return;
    this.request = this.answer = null;
    this.participant.unanswered();
  }

  /** It has missed too much, and begins from a snapshot and what follows it. */
  beginAnew() {
    this.breakOff();
    const { channel, random } = this.world;
    const now = channel.entries.length;
    const agreed = channel.at(random.below(now + 1));
    for (let offset = agreed.position.offset; offset < now; offset += 1) agreed.add({ epoch: EPOCH, offset: offset + 1 }, channel.entries[offset]);
    this.participant.reload(agreed);
    this.refusedAt = null;
    this.cursors.forget();
    this.world.begunAnew = true;
  }
}

function play(seed) {
  const random = new Random(seed);
  const world = { random, channel: new Channel(), typed: new Set(), deleted: new Set(), begunAnew: false };
  const seats = Array.from({ length: 2 + random.below(3) }, (_, index) => new Seat(world, `author-${index}`));
  // A world has its own weather: in some nothing breaks, in some everything does.
  const storms = random.pick([0, 0, 1, 4]);
  const acts = ["type", "type", "send", "serve", "hear", "deliver", "deliver", "deliver"];
  if (storms > 0) acts.push(...Array(storms).fill("breakOff"));
  if (random.chance(0.3)) acts.push("beginAnew");
  for (let step = 0; step < 120; step += 1) random.pick(seats)[random.pick(acts)]();
  for (let turns = 0; seats.some((seat) => !seat.participant.settled || seat.behind); turns += 1) {
    assert.ok(turns < 10_000, "it comes to no end");
    random.pick(seats)[random.pick(["send", "serve", "hear", "deliver"])]();
  }
  const { text } = world.channel.at(world.channel.entries.length);
  for (const { participant, cursors } of seats) {
    assert.equal(participant.view, text);
    for (const { from, to } of cursors.others.values()) assert.ok(Math.max(from, to) <= text.length);
  }
  const kept = [...text].filter((letter) => world.typed.has(letter));
  assert.equal(new Set(kept).size, kept.length, "something was typed once and is there twice");
  for (const letter of world.typed) {
    const there = kept.includes(letter);
    if (!world.deleted.has(letter)) assert.ok(there, "something was typed and is not there");
    // Who begins anew knows the difference between two texts, not how it came about: what it had deleted may be back.
    else if (!world.begunAnew) assert.ok(!there, "something was deleted and is there");
  }
}

/** A caret is where its author sees it, however much has happened on the way. */
function carets(seed) {
  const random = new Random(seed);
  const channel = new Channel();
  const world = { random, channel, typed: new Set(), deleted: new Set() };
  const [one, other] = [new Seat(world, "one"), new Seat(world, "other")];
  const turn = (seat) => ["send", "serve", "hear"].forEach((act) => seat[act]());
  for (let step = 0; step < 8; step += 1) {
    const seat = random.pick([one, other]);
    seat.type();
    for (let left = 4; left > 0 && !seat.participant.settled; left -= 1) {
      turn(seat);
      while (seat.behind) seat.deliver();
    }
  }
  // All of one's text is agreed on; the other has not read all of it, and types.
  while (one.behind) one.deliver();
  for (let left = 8; left > 0 && !one.participant.settled; left -= 1) {
    turn(one);
    while (one.behind) one.deliver();
  }
  const letters = [...one.participant.view];
  const behind = letters.slice(0, random.below(letters.length + 1));
  const at = behind.join("").length;
  const { offset } = one.participant.agreed.position;
  if (random.chance(0.5)) other.type();
  other.cursors.tell({ by: "one", name: "One", offset, from: at, to: at }, "guest-1");
  while (other.behind) other.deliver();
  assert.ok(other.cursors.others.has("one"), "a caret that was early is not there");
  for (let left = 8; left > 0 && !other.participant.settled; left -= 1) {
    turn(other);
    while (other.behind) other.deliver();
  }
  // It is behind the same letter, unless the other has deleted that.
  const { view } = other.participant;
  const before = view.slice(0, other.cursors.others.get("one").from);
  if (behind.length === 0) assert.equal(before, "");
  else if (view.includes(behind.at(-1))) assert.ok(before.endsWith(behind.at(-1)), "a caret is somewhere else");
}

/** What everybody leaves out, whoever has published it: the text stays as it is, and the revision goes on. */
function leftOut() {
  const agreed = new Agreed({ epoch: EPOCH, offset: 0 });
  const add = (entry) => agreed.add({ epoch: EPOCH, offset: agreed.position.offset + 1 }, entry);
  assert.deepEqual(add({ by: "one", n: 1, operation: ["a😀"] }), ["a😀"]);
  const wrong = [
    null,
    7,
    {},
    { by: "one", n: 1, operation: ["again", 3] },
    { by: "", n: 1, operation: ["x", 3] },
    { by: "x".repeat(65), n: 1, operation: ["x", 3] },
    { by: "two", n: 1.5, operation: ["x", 3] },
    { by: "two", n: 1, operation: ["x", 2] },
    { by: "two", n: 2, operation: [2, "x", 1] },
    { by: "two", n: 3, operation: "x" },
    { by: "two", n: 4, operation: ["x".repeat(TEXT_MAX), 3] },
    { restore: 7 },
    { restore: { text: "x".repeat(TEXT_MAX + 1), authors: [] } },
    { restore: { text: "\ud83d", authors: [] } },
    { restore: { text: "x", authors: [7] } },
  ];
  for (const entry of wrong) assert.equal(add(entry), null, JSON.stringify(entry)?.slice(0, 80));
  assert.deepEqual([agreed.text, agreed.position.offset], ["a😀", wrong.length + 1]);
  for (const value of [null, {}, { ...agreed.snapshot, text: 7 }, { ...agreed.snapshot, position: { epoch: 1, offset: 1 } }]) assert.equal(Agreed.fromSnapshot(value), null);
  // Whose entry is left out takes it back in the own view.
  const author = new Participant("two", agreed);
  author.edit([3, "long"]);
  const { entry } = author.next();
  author.edit(["short ", 7]);
  author.receive({ epoch: EPOCH, offset: 99 }, { ...entry, operation: [3, "x".repeat(TEXT_MAX)] });
  assert.deepEqual([author.view, author.flight], ["short a😀", null]);
}

export function histories({ seed, rounds = 1000, say = console.log }) {
  leftOut();
  say("ok      what is wrong is left out by everybody");
  for (const [name, run] of Object.entries({ "participants converge to what they meant": play, "carets arrive, early or late": carets })) {
    for (let round = 0; round < rounds; round += 1) {
      try {
        run(new Random(seed + round).below(2 ** 32));
      } catch (error) {
        throw new Error(`${name}: broken by seed ${seed + round} (--seed ${seed + round} --rounds 1): ${error.message}`, { cause: error });
      }
    }
    say(`ok      ${name}`);
  }
}
