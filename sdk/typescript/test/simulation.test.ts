// Many clients' lives by seed: connections drop at any moment, frames are lost with them, the server restarts and trims its history, readers
// fall behind. What holds: between two `lost`, a subscription hands over every publication, in order and once.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Position } from "../src/core/types.js";
import { Script } from "./script.js";

const CHANNELS = ["a", "b", "c"];

/** Mulberry32. */
function chance(seed: number): (bound: number) => number {
  let state = seed * 2_654_435_761;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return ((z ^ (z >>> 14)) >>> 0) % bound;
  };
}

/** A server of one connection, as docs/reference/native-protocol.md has it. Offsets skip now and then. */
class Server {
  epoch = 0;
  outgoing: object[] = [];
  private channels = new Map<string, { log: number[]; next: number; trimmed: number }>();
  private subscribed = new Set<string>();

  constructor(private readonly dropsAMessage: boolean) {}

  publish(name: string, skip: number): number {
    const channel = this.channel(name);
    channel.next += 1 + skip;
    channel.log.push(channel.next);
    if (this.subscribed.has(name)) this.outgoing.push(published(name, channel.next));
    return channel.next;
  }

  private channel(name: string) {
    let channel = this.channels.get(name);
    if (!channel) this.channels.set(name, (channel = { log: [], next: 0, trimmed: 0 }));
    return channel;
  }

  handle(request: any): void {
    const { id, channel, type } = request;
    if (type === "subscribe") this.subscribe(request);
    if (type === "unsubscribe") {
      this.subscribed.delete(channel);
      this.outgoing.push({ type: "ok", channel });
    }
    if (type === "ping") this.outgoing.push({ type: "pong", id });
  }

  private subscribe({ id, channel: name, since }: any): void {
    assert.ok(!this.subscribed.has(name), `${name} is subscribed twice`);
    this.subscribed.add(name);
    const { log, next, trimmed } = this.channel(name);
    const recovered = since?.epoch === `e${this.epoch}` && since.offset >= trimmed;
    const position = { epoch: `e${this.epoch}`, offset: next };
    this.outgoing.push({ type: "ok", id, channel: name, position, ...(since && { recovered }) });
    if (!since || !recovered) return;
    const missed = log.filter((offset) => offset > since.offset);
    if (this.dropsAMessage && missed.length > 1) missed.shift();
    this.outgoing.push(...missed.map((offset) => published(name, offset)), { type: "caught_up", channel: name });
  }

  restart(): void {
    this.epoch += 1;
    this.channels.clear();
    this.hangUp();
  }

  hangUp(): void {
    this.subscribed.clear();
    this.outgoing = [];
  }

  trim(): void {
    for (const channel of this.channels.values()) channel.trimmed = channel.log.at(-1) ?? 0;
  }
}

function published(channel: string, offset: number): object {
  return { type: "message", channel, data: offset, offset, timestamp: 1 };
}

interface Reader {
  channel: string;
  at: Position | null;
  behind: boolean;
}

class World {
  readonly coverage = { messages: 0, recovered: 0, lost: 0, drops: 0, behind: 0 };
  private readonly script = new Script();
  private readonly server: Server;
  private readonly below: (bound: number) => number;
  private readonly truth = new Map<string, number[]>();
  private readonly readers = new Map<number, Reader>();
  private connected = false;

  constructor(seed: number, dropsAMessage: boolean) {
    this.below = chance(seed);
    this.server = new Server(dropsAMessage);
    this.script.core.connect(this.script.now);
  }

  step(): void {
    const what = this.below(100);
    if (what < 40) this.publish();
    else if (what < 75) this.carry(8);
    else if (what < 80) this.drop();
    else if (what < 85) this.script.pass(this.below(3_000));
    else if (what < 86) this.below(3) === 0 ? (this.server.restart(), this.drop()) : this.server.trim();
    else if (what < 91) this.subscribe();
    else if (what < 93) this.unsubscribe();
    else if (what < 96) this.turnReader();
    else if (what < 98) this.script.core.wake(this.script.now);
    else this.suspend();
    this.obey();
  }

  private publish(): void {
    const channel = this.pick(CHANNELS);
    const offset = this.server.publish(channel, this.below(3));
    const log = this.log(channel, `e${this.server.epoch}`);
    log.push(offset);
  }

  private log(channel: string, epoch: string): number[] {
    const key = `${epoch} ${channel}`;
    if (!this.truth.has(key)) this.truth.set(key, []);
    return this.truth.get(key) as number[];
  }

  private carry(frames: number): void {
    for (let count = this.below(frames); count > 0 && this.connected; count -= 1) {
      const frame = this.script.core.pollTransmit(this.script.now);
      if (frame !== null) this.server.handle(JSON.parse(frame as string));
    }
    for (let count = this.below(12); count > 0; count -= 1) {
      const said = this.server.outgoing.shift();
      if (said && this.connected) this.script.hear(said);
      this.obey();
    }
  }

  private drop(): void {
    this.server.hangUp();
    if (this.connected) this.coverage.drops += 1;
    if (this.connected) this.script.core.onClosed(this.script.now, null, "the simulation");
    this.connected = false;
  }

  private suspend(): void {
    this.script.core.suspend(this.script.now);
    this.obey();
    this.script.core.wake(this.script.now);
  }

  private subscribe(): void {
    const channel = this.pick(CHANNELS);
    if ([...this.readers.values()].some((reader) => reader.channel === channel)) return;
    this.readers.set(this.script.core.subscribe({ channel }), { channel, at: null, behind: false });
  }

  private unsubscribe(): void {
    const [id] = this.pick([...this.readers]) ?? [];
    if (id === undefined) return;
    this.readers.delete(id);
    this.script.core.unsubscribe(id);
  }

  private turnReader(): void {
    const [id, reader] = this.pick([...this.readers]) ?? [];
    if (id === undefined || !reader) return;
    if (reader.behind) this.script.core.catchUp(id);
    else this.script.core.fallBehind(id);
    if (!reader.behind) this.coverage.behind += 1;
    reader.behind = !reader.behind;
  }

  private pick<T>(from: T[]): T {
    return from[this.below(Math.max(1, from.length))] as T;
  }

  private obey(): void {
    for (const output of this.script.outputs()) {
      if (output.type === "connect") {
        if (this.below(4) === 0) {
          this.script.core.onConnectFailed(this.script.now, { kind: "temporary", reason: "the simulation" });
        } else {
          this.connected = true;
          this.script.welcome();
        }
      }
      if (output.type === "close" || output.type === "abort") {
        this.server.hangUp();
        this.connected = false;
      }
      const reader = "id" in output ? this.readers.get(output.id) : undefined;
      if (output.type === "subscribed" && reader) reader.at = output.subscribed.position;
      if (output.type !== "subscription" || !reader) continue;
      const { event } = output;
      assert.ok(!reader.behind, `${event.type} for a reader who is behind`);
      if (event.type === "recovered") this.coverage.recovered += 1;
      if (event.type === "lost") {
        this.coverage.lost += 1;
        reader.at = event.position;
      }
      if (event.type === "message") this.check(reader, event.message.position as Position);
      assert.ok(output.position && reader.at && output.position.offset >= reader.at.offset, "a position that runs backwards");
    }
    if (this.script.core.isOnline === false && this.script.core.pollTimeout() === null) this.script.core.connect(this.script.now);
  }

  private check(reader: Reader, position: Position): void {
    this.coverage.messages += 1;
    const { at, channel } = reader;
    assert.ok(at && at.epoch === position.epoch, `${channel}: a message of ${position.epoch} after ${at?.epoch}`);
    const next = this.log(channel, at.epoch).find((offset) => offset > at.offset);
    assert.equal(position.offset, next, `${channel}: after ${at.offset}`);
    reader.at = position;
  }

  /** Everything comes to rest, and nobody misses anything. */
  settle(): void {
    for (const [id, reader] of this.readers) {
      if (reader.behind) this.script.core.catchUp(id);
      reader.behind = false;
    }
    for (let round = 0; round < 400; round += 1) {
      this.script.pass(500);
      this.obey();
      this.carry(20);
    }
    for (const { at, channel } of this.readers.values()) {
      assert.equal(at?.epoch, `e${this.server.epoch}`, `${channel} has come to the present`);
      const missing = this.log(channel, at?.epoch ?? "").find((offset) => offset > (at?.offset ?? 0));
      assert.equal(missing, undefined, `${channel} stands at ${at?.offset}`);
    }
  }
}

function run(seed: number, dropsAMessage: boolean): World["coverage"] {
  const world = new World(seed, dropsAMessage);
  for (let step = 0; step < 600; step += 1) {
    try {
      world.step();
    } catch (fault) {
      throw new Error(`seed ${seed}, step ${step}`, { cause: fault });
    }
  }
  world.settle();
  return world.coverage;
}

test("nothing is missing and nothing comes twice", () => {
  const total = { messages: 0, recovered: 0, lost: 0, drops: 0, behind: 0 };
  for (let seed = 0; seed < 300; seed += 1) {
    const coverage = run(seed, false);
    for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += coverage[name];
  }
  const least = { messages: 5_000, recovered: 1_000, lost: 200, drops: 1_000, behind: 500 };
  for (const name of Object.keys(least) as (keyof typeof least)[]) assert.ok(total[name] > least[name], JSON.stringify(total));
});

test("a server that loses one message is found out", () => {
  let found = 0;
  for (let seed = 0; seed < 100; seed += 1) {
    try {
      run(seed, true);
    } catch {
      found += 1;
    }
  }
  assert.ok(found > 30, `${found}`);
});
