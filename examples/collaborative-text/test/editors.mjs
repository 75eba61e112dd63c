// Many editors on the real server: they type at random, their connections break in the middle of it, some leave and others come, and the server is
// killed and started again. In the end all have the same text, and every character that was typed is in it once, unless somebody deleted it.
//
// The seed decides what is typed and what breaks; in which order the server is told is not in its hands.

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { Editor } from "../page/editor.mjs";
import { apply, replacement } from "../page/ot.mjs";
import { Line } from "./line.mjs";
import { Random, randomEdit } from "./random.mjs";

const IMPATIENT = { backoffBase: 20, backoffMax: 200, stableAfter: 200, requestTimeout: 3_000, connectTimeout: 3_000 };

/** What was typed and what was deleted, by all together. Each character is another one, so that it can be looked for. */
class Ledger {
  typed = new Set();
  deleted = new Set();

  letter() {
    const letter = String.fromCodePoint(0x10000 + this.typed.size);
    this.typed.add(letter);
    return letter;
  }

  check(text) {
    const found = [...text];
    assert.equal(new Set(found).size, found.length, "something was typed once and is there twice");
    for (const letter of found) assert.ok(this.typed.has(letter), "something is there that nobody has typed");
    const missing = [...this.typed].filter((letter) => !this.deleted.has(letter) && !text.includes(letter));
    assert.equal(missing.length, 0, `${missing.length} of ${this.typed.size} characters were typed and are not there`);
    return { typed: this.typed.size, deleted: found.length };
  }
}

class Desk {
  opened = 0;

  constructor({ Client, WebSocket, document, number, ledger, random, options }, line) {
    this.line = line;
    this.ledger = ledger;
    this.random = random;
    this.client = new Client(line.url, { ...IMPATIENT, WebSocket });
    this.editor = new Editor(this.client, document, `desk-${number}`, { onOpen: () => (this.opened += 1), ...options });
  }

  static async open(world) {
    world.number += 1;
    const desk = new Desk({ ...world, random: new Random(world.random.below(2 ** 32)) }, await Line.to(world.url));
    await desk.editor.open();
    return desk;
  }

  type() {
    const { view } = this.editor;
    const operation = randomEdit(this.random, view, this.random.chance(0.8) ? this.ledger.letter() : "");
    const after = apply(view, operation);
    for (const letter of view) if (!after.includes(letter)) this.ledger.deleted.add(letter);
    this.editor.edit(operation);
  }

  insert(text) {
    this.editor.edit(replacement(this.editor.view.length, 0, 0, text));
  }

  /** Ends when everything that it typed is agreed on. */
  async leave() {
    await until(() => this.editor.state === "settled", () => `desk ${this.editor.by} is ${this.editor.state}`);
    this.editor.close();
    await this.client.close();
    this.line.close();
  }
}

/**
 * `restart()` kills the server and starts it again. Answers what happened, in numbers.
 */
export async function editors({ Client, WebSocket, url, restart, document, seed, count = 6, edits = 600, restarts = 2 }) {
  const random = new Random(seed);
  const options = { sendEvery: 10, snapshotEvery: 20 };
  const world = { Client, WebSocket, url, document, random, ledger: new Ledger(), number: 0, options };
  const desks = [];
  for (let left = count; left > 0; left -= 1) desks.push(await Desk.open(world));
  const happened = { cut: 0, left: 0, restarted: 0 };
  for (let edit = 0; edit < edits; edit += 1) {
    random.pick(desks).type();
    if (random.chance(0.4)) await pause(random.below(15));
    if (random.chance(0.05)) {
      random.pick(desks).line.cut();
      happened.cut += 1;
    }
    if (random.chance(0.01)) {
      const [gone] = desks.splice(random.below(desks.length), 1);
      await gone.leave();
      desks.push(await Desk.open(world));
      happened.left += 1;
    }
    if ((edit + 1) % Math.floor(edits / (restarts + 1)) === 0 && happened.restarted < restarts) {
      happened.restarted += 1;
      const restarted = restart();
      for (let more = 10; more > 0; more -= 1) random.pick(desks).type();
      await restarted;
    }
  }
  await agree(desks);
  const newcomer = await Desk.open(world);
  desks.push(newcomer);
  await agree(desks);
  const text = newcomer.editor.view;
  for (const { editor } of desks) assert.equal(editor.view, text, `${editor.by} has another text`);
  world.ledger.check(text);
  const revision = newcomer.editor.participant.agreed.position.offset;
  await Promise.all(desks.map((desk) => desk.leave()));
  return { ...happened, typed: world.ledger.typed.size, deleted: world.ledger.deleted.size, revision };
}

/** One is away while another publishes more than the channel keeps, and writes meanwhile. */
export async function absence({ Client, WebSocket, url, document, seed }) {
  const world = { Client, WebSocket, url, document, random: new Random(seed), number: 0, options: { sendEvery: 0 } };
  const [away, busy] = [await Desk.open(world), await Desk.open(world)];
  away.insert("before ");
  await agree([away, busy]);
  away.line.down();
  away.insert("meanwhile ");
  for (let more = 60; more > 0; more -= 1) {
    busy.insert("x".repeat(40_000));
    await agree([busy]);
    busy.editor.edit(replacement(busy.editor.view.length, 0, 40_000, ""));
    await agree([busy]);
  }
  busy.insert("at last ");
  await agree([busy]);
  assert.equal(away.opened, 1);
  away.line.up();
  away.client.connect();
  await until(() => away.opened === 2, () => "it does not begin from a snapshot");
  await agree([away, busy]);
  assert.equal(away.editor.view, busy.editor.view);
  assert.deepEqual(away.editor.view.trim().split(" ").sort(), ["at", "before", "last", "meanwhile"]);
  await Promise.all([away, busy].map((desk) => desk.leave()));
}

/** Everything that was typed has reached everybody. */
async function agree(desks) {
  const where = () => desks.map(({ editor }) => `${editor.state} at ${editor.participant?.agreed.position.offset}`);
  await until(() => new Set(where()).size === 1 && desks[0].editor.state === "settled", () => `they are ${where().join(", ")}`);
}

async function until(condition, words) {
  for (const deadline = Date.now() + 30_000; !condition(); ) {
    if (Date.now() > deadline) throw new Error(`it comes to no end: ${words()}`);
    await pause(20);
  }
}
