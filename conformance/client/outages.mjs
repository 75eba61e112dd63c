#!/usr/bin/env node
// A client and the real server, and everything that can go wrong between them, again and again:
// `outages.mjs [--outages N] [--seed N] [--http] [--json FILE] -- ADAPTER…`. SWITCHBOARD_BIN names the server.
//
// While somebody publishes without a pause, the server is killed, restarted and drained, and the way to it cut, closed and stalled. What
// holds: the client hands over what the channel's history has, in order, nothing missing and nothing twice, and never says that something was
// lost; what it publishes is there once; and no attempt comes sooner, and no wait is longer, than its backoff says. How long it took to be
// back is printed and decides nothing. With `--http` the client makes requests, and only how long it means to wait is looked at. Exit status: 0 all held, 1 not, 2 wrong usage.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { Adapter } from "./adapter.mjs";
import { Proxy } from "./proxy.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BINARY = process.env.SWITCHBOARD_BIN ?? `${process.env.CARGO_TARGET_DIR ?? `${ROOT}/target`}/debug/switchboard`;
const split = process.argv.indexOf("--");
if (split < 0 || split === process.argv.length - 1) {
  console.log("usage: outages.mjs [--outages N] [--seed N] [--http] [--json FILE] -- ADAPTER…");
  process.exit(2);
}
const { values } = parseArgs({
  args: process.argv.slice(2, split),
  options: { outages: { type: "string", default: "15" }, seed: { type: "string" }, http: { type: "boolean" }, json: { type: "string" } },
});
const OUTAGES = Number(values.outages);
const SEED = Number(values.seed ?? Math.floor(Math.random() * 1e9));
if (!existsSync(BINARY)) {
  console.log(`there is no ${BINARY}: cargo build -p switchboard-server, or set SWITCHBOARD_BIN`);
  process.exit(2);
}

const BACKOFF = { base: 20, max: 400, stable: 2_000 };
const CONFIG = {
  backoff_base_ms: BACKOFF.base,
  backoff_max_ms: BACKOFF.max,
  stable_after_ms: BACKOFF.stable,
  welcome_timeout_ms: 2_000,
  heartbeat_grace_ms: 1_000,
};
const BACK_MS_MAX = 60_000;
/** By how much two clocks may differ about the same moment. */
const CLOCK_MS = 5;

const folder = mkdtempSync(`${tmpdir()}/switchboard-outages-`);
const apiKey = randomBytes(24).toString("hex");
const port = await freePort();
writeFileSync(
  `${folder}/switchboard.toml`,
  `[server]
listen = "127.0.0.1:${port}"
admin_listen = "off"
drain_window = "300ms"
[heartbeat]
interval = "1s"
[history]
data_dir = "${folder}/data"
[channels]
history_size = 100000
history_bytes = "64MiB"
history_ttl = "1h"
[limits]
operations_per_second = 0
[[apps]]
id = "main"
default = true
secret = "${randomBytes(32).toString("hex")}"
api_keys = ["${apiKey}"]
origins = ["http://127.0.0.1:*"]
anonymous = [{ match = "*", allow = ["subscribe", "publish", "presence", "history"] }]
`,
  { mode: 0o600 },
);

let server = null;
process.on("exit", () => server?.kill("SIGKILL"));
const proxy = new Proxy(port);
const chance = random(SEED);
const between = (least, most) => least + Math.floor(chance() * (most - least + 1));
const adapter = new Adapter(process.argv.slice(split + 1));
const seen = [];
const waits = [];
const lost = [];
const backAfter = [];
const published = new Map();
let failure = null;
let over = false;
let head = 0;

console.log(`seed ${SEED}, ${OUTAGES} outages`);
try {
  await start();
  await adapter.order({ op: "start", url: `ws://127.0.0.1:${await proxy.listen()}/ws`, config: CONFIG });
  await adapter.order({ op: "subscribe", ref: "feed", channel: "feed" });
  const watching = Promise.all([watchFeed(), watchConnection()]);
  watching.catch((error) => (failure ??= error));
  await until(() => adapter.isSubscribed, "the client subscribes");
  const feeding = feed();
  // A channel on which nothing was ever published is in no file: a restart begins it anew, and who waits there is told so.
  await until(() => seen.length > 0, "the first message arrives");
  for (let index = 0; index < OUTAGES; index += 1) await outage(index);
  over = true;
  await feeding;
  await until(() => seen.at(-1)?.data.n === head, "the client has everything");
  await compare();
  backoff();
} catch (error) {
  failure ??= error;
}
over = true;
await report();
await adapter.order({ op: "stop" });
await adapter.end();
proxy.close();
server?.kill("SIGKILL");
rmSync(folder, { recursive: true, force: true });
process.exit(failure ? 1 : 0);

/** One thing goes wrong, and is over after a while. */
async function outage(index) {
  const kinds = [cut, closed, stalled, halfStalled, stalledForGood, killed, restarted];
  const kind = kinds[Math.floor(chance() * kinds.length)];
  await publish(index, "before");
  const during = publish(index, "during");
  await kind();
  await during;
  const from = performance.now();
  const target = head;
  await until(() => (seen.at(-1)?.data.n ?? 0) >= target, `back after ${kind.name}`);
  backAfter.push({ kind: kind.name, ms: performance.now() - from });
  // Now and then the connection lasts, so that the backoff begins anew.
  await pause(chance() < 0.2 ? BACKOFF.stable + 500 : between(0, 150));
}

async function cut() {
  proxy.cut();
}

async function closed() {
  proxy.refuse();
  await pause(between(20, 900));
  proxy.open();
}

async function stalled() {
  proxy.stall();
  await pause(between(50, 1_500));
  proxy.open();
}

async function halfStalled() {
  proxy.stall(false);
  await pause(between(50, 800));
  proxy.cut();
  proxy.open();
}

/** Longer than the client waits. */
async function stalledForGood() {
  proxy.stall();
  await pause(2_600);
  proxy.cut();
  proxy.open();
}

async function killed() {
  await stop("SIGKILL");
  await pause(between(0, 300));
  await start();
}

async function restarted() {
  await stop("SIGTERM");
  await start();
}

/** Publishes numbers until it is over, each until it is there. */
async function feed() {
  while (!over) {
    const n = head + 1;
    const done = await post("publish", { channel: "feed", data: { n }, idempotency_key: `feed-${n}` }).catch(() => null);
    if (done) head = n;
    await pause(done ? 10 : 50);
  }
}

/** The client publishes too, with and without a key. */
async function publish(index, when) {
  for (const key of [undefined, `${index}-${when}`]) {
    const ref = `${index} ${when} ${key ? "with" : "without"}`;
    published.set(ref, { key });
    await adapter.order({ op: "publish", ref, channel: "back", data: ref, ...(key && { idempotency_key: key }) });
    adapter
      .about(ref)
      .take(BACK_MS_MAX * 2)
      .then((told) => Object.assign(published.get(ref), { told }))
      .catch(() => {});
  }
}

async function watchFeed() {
  const queue = adapter.about("feed");
  for (;;) {
    const told = await queue.take(BACK_MS_MAX * 2);
    if (told.event === "subscribed") adapter.isSubscribed = true;
    if (told.event === "message") seen.push(told);
    if (["lost", "gap", "unsubscribed", "refused"].includes(told.event)) throw new Error(`the client tells ${JSON.stringify(told)}`);
  }
}

async function watchConnection() {
  const queue = adapter.about();
  let since = 0;
  for (;;) {
    const told = await queue.take(BACK_MS_MAX * 2);
    if (told.event === "connected") since = performance.now();
    if (told.event === "ended") throw new Error(`the client has ended: ${JSON.stringify(told)}`);
    if (told.event !== "disconnected") continue;
    waits.push({ ...told, lasted: since ? performance.now() - since : 0 });
    since = 0;
  }
}

/** What the client handed over and what it published, beside what the server has. */
async function compare() {
  const history = await all("feed");
  const theirs = history.map(({ data, offset }) => `${offset} ${data.n}`);
  const ours = seen.map(({ data, position }) => `${position.offset} ${data.n}`);
  for (const [index, one] of theirs.entries()) {
    if (ours[index] !== one) throw new Error(`the ${index + 1}th message is "${ours[index]}" to the client, and "${one}" in the history`);
  }
  if (ours.length !== theirs.length) throw new Error(`${ours.length} messages, and the history has ${theirs.length}`);
  await until(() => [...published.values()].every(({ told }) => told), "an answer to every publication");
  const back = (await all("back")).map(({ data }) => data);
  for (const [ref, { key, told }] of published) {
    const count = back.filter((one) => one === ref).length;
    const unknown = !key && ["interrupted", "timed_out"].includes(told.kind);
    const wrong = told.event === "answer" ? count !== 1 : unknown ? count > 1 : true;
    if (wrong) throw new Error(`"${ref}" is there ${count} times, and the client said ${JSON.stringify(told)}`);
    if (unknown) lost.push(ref);
  }
}

/** Every wait is within what the documentation says, and every attempt keeps to it. */
function backoff() {
  let attempts = [0];
  for (const [index, { retry_in_ms: wait, cause, lasted }] of waits.entries()) {
    // Near the boundary either is right: this clock is not the client's.
    if (lasted > BACKOFF.stable - 300) attempts = lasted > BACKOFF.stable + 300 ? [0] : [0, ...attempts];
    if (cause !== "by_server") {
      const ceiling = Math.min(BACKOFF.max, BACKOFF.base * 2 ** Math.max(...attempts));
      if (wait > ceiling) throw new Error(`wait ${index + 1} is ${wait} ms, more than ${ceiling} ms`);
    }
    // The server may say how long to wait, but that is an attempt too: it cannot have the client come back at once for ever.
    attempts = attempts.map((attempt) => attempt + 1);
    // Requests have connections of their own.
    if (values.http) continue;
    const [before, next] = [proxy.connections[index], proxy.connections[index + 1]];
    if (!next) throw new Error(`${waits.length} waits and ${proxy.connections.length} attempts`);
    // Where the client ended the connection itself, the moment is not known here.
    const known = (cause === "lost" || cause === "connect") && before.endedAt !== null;
    if (known && next.at - before.endedAt < wait - CLOCK_MS) {
      throw new Error(`attempt ${index + 2} came after ${next.at - before.endedAt} ms, and should have waited ${wait} ms`);
    }
  }
}

async function report() {
  const late = waits.flatMap(({ retry_in_ms: wait, cause }, index) => {
    const [before, next] = [proxy.connections[index], proxy.connections[index + 1]];
    return (cause === "lost" || cause === "connect") && before?.endedAt && next ? [next.at - before.endedAt - wait] : [];
  });
  const figures = {
    seed: SEED,
    outages: backAfter.length,
    messages: seen.length,
    publications: published.size,
    publications_unknown: lost.length,
    connections: proxy.connections.length,
    back_ms: quantiles(backAfter.map(({ ms }) => ms)),
    announced_wait_ms: quantiles(waits.map(({ retry_in_ms }) => retry_in_ms)),
    ...(!values.http && { attempt_later_than_announced_ms: quantiles(late) }),
    causes: count(waits.map(({ cause }) => cause)),
    kinds: count(backAfter.map(({ kind }) => kind)),
  };
  console.log(JSON.stringify(figures, null, 2));
  if (values.json) writeFileSync(values.json, `${JSON.stringify(figures, null, 2)}\n`);
  console.log(failure ? `FAIL after ${backAfter.length} outages (--seed ${SEED}): ${failure.message}` : "everything held");
}

async function start() {
  const child = spawn(BINARY, ["serve", "--config", `${folder}/switchboard.toml`, "--log", "warn"], { stdio: ["ignore", "ignore", "pipe"] });
  server = child;
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (said = (said + text).slice(-2_000)));
  child.ended = new Promise((resolve) => child.once("exit", resolve));
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`the server has ended with ${child.exitCode}: ${said}`);
    return post("history", { channel: "feed", limit: 1 }).then(Boolean, () => false);
  }, "the server is up");
}

async function stop(signal) {
  server.kill(signal);
  await server.ended;
}

async function all(channel) {
  const found = [];
  let since;
  for (;;) {
    const page = await post("history", { channel, limit: 1_000, ...(since ? { since } : { before: undefined }) });
    if (!since && page.more) {
      // Without a position it answers the latest; from the beginning on it is read with one.
      since = { epoch: page.position.epoch, offset: 0 };
      continue;
    }
    found.push(...page.publications);
    if (!page.more) return found;
    since = { epoch: page.position.epoch, offset: found.at(-1).offset };
  }
}

async function post(what, body) {
  const answer = await fetch(`http://127.0.0.1:${port}/api/v1/${what}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${apiKey}` },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(5_000),
  });
  const json = await answer.json();
  if (!answer.ok) throw new Error(`${what}: ${JSON.stringify(json)}`);
  return json;
}

async function until(condition, what) {
  const deadline = performance.now() + BACK_MS_MAX;
  for (;;) {
    if (failure) throw failure;
    if (await condition()) return;
    if (performance.now() > deadline) throw new Error(`not in ${BACK_MS_MAX / 1_000} s: ${what}`);
    await pause(5);
  }
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** A port that was free a moment ago. */
async function freePort() {
  const probe = new Proxy(1);
  const free = await probe.listen();
  probe.close();
  return free;
}

function quantiles(numbers) {
  const sorted = [...numbers].sort((one, other) => one - other);
  const at = (part) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0);
  return { median: at(0.5), p95: at(0.95), max: at(1) };
}

function count(words) {
  return words.reduce((counts, word) => ({ ...counts, [word]: (counts[word] ?? 0) + 1 }), {});
}

/** Mulberry32. */
function random(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return ((z ^ (z >>> 14)) >>> 0) / 4_294_967_296;
  };
}
