// The server is stopped, and killed, under load, and started again on the same folder: readers of every kind come back by themselves and miss nothing. Argument: the
// server's command, a folder and Chromium, as JSON.

import { spawn } from "node:child_process";
import { mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { chromium } from "playwright-core";
import { EventSource } from "eventsource";
import { equal, main } from "../checks.mjs";

const about = JSON.parse(process.argv[2]);
const CHANNELS = ["a", "b", "c"];
const QUERY = CHANNELS.map((channel) => `channel=${channel}`).join("&");
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

rmSync(about.folder, { recursive: true, force: true });
mkdirSync(about.folder, { recursive: true });
const port = await new Promise((resolve) => {
  const free = createServer().listen(0, "127.0.0.1", () => {
    const { port } = free.address();
    free.close(() => resolve(port));
  });
});
const url = `http://127.0.0.1:${port}`;
writeFileSync(
  `${about.folder}/switchboard.toml`,
  `[server]
listen = "127.0.0.1:${port}"
admin_listen = "off"
shards = 2
drain_window = "500ms"
[limits]
operations_per_second = 0
[history]
fsync = "always"
[channels]
history_size = 100000
history_bytes = "64MiB"
history_ttl = "1h"
[[apps]]
id = "main"
secret = "0123456789abcdef0123456789abcdef"
anonymous = [{ match = "*", allow = ["*"] }]
`,
);

let child;
const log = openSync(`${about.folder}/serve.log`, "a");
process.on("exit", () => child?.kill("SIGKILL"));

async function start() {
  const [program, ...parameters] = [...about.command, "serve", "--config", `${about.folder}/switchboard.toml`, "--data-dir", `${about.folder}/data`];
  child = spawn(program, parameters, { stdio: ["ignore", log, log] });
  for (let tries = 0; tries < 500; tries += 1) {
    if (await fetch(`${url}/nothing-here`).catch(() => null)) return;
    await pause(20);
  }
  throw new Error("the server does not start");
}

async function stop(signal) {
  const ended = new Promise((done) => child.once("exit", done));
  child.kill(signal);
  await ended;
}

/** What was acknowledged, in order, by channel. */
const published = Object.fromEntries(CHANNELS.map((channel) => [channel, []]));
let publishing = true;

async function publisher(channel) {
  for (let number = 0; publishing; number += 1) {
    const body = JSON.stringify({ channel, data: number, idempotency_key: `${channel}-${number}` });
    // Until it is known to be published: repeating it publishes nothing twice.
    while (!(await fetch(`${url}/client/v1/publish`, { method: "POST", body }).then((answer) => answer.ok, () => false))) await pause(20);
    published[channel].push(number);
    await pause(3);
  }
}

class Books {
  seen = Object.fromEntries(CHANNELS.map((channel) => [channel, []]));
  lost = 0;
  breaks = 0;
  take(message) {
    if (message.type === "message") this.seen[message.channel].push(message.data);
    if (message.recovered === false || message.type === "gap") this.lost += 1;
  }
}

const books = { eventsource: new Books(), curl: new Books(), polls: new Books() };
let browser;
let page;
let source;
let reading = true;

function listenWithEventSource() {
  source = new EventSource(`${url}/sse?${QUERY}`);
  source.onmessage = ({ data }) => books.eventsource.take(JSON.parse(data));
  source.addEventListener("switchboard:subscribed", ({ data }) => books.eventsource.take(JSON.parse(data)));
  source.onerror = () => (books.eventsource.breaks += 1);
}

/** `curl -N`, again and again, with the last id that was followed by a whole event. */
async function listenWithCurl() {
  let id = "";
  while (reading) {
    const curl = spawn("curl", ["-sN", "-H", `Last-Event-ID: ${id}`, `${url}/sse?${QUERY}`], { stdio: ["ignore", "pipe", "ignore"] });
    books.curl.child = curl;
    let text = "";
    for await (const piece of curl.stdout.setEncoding("utf8")) {
      text += piece;
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        const lines = text.slice(0, end).split("\n");
        const field = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
        if (field("data")) books.curl.take(JSON.parse(field("data")));
        id = field("id") ?? id;
      }
    }
    books.curl.breaks += 1;
    await pause(50);
  }
}

async function poll() {
  let cursor = "";
  while (reading) {
    const answer = await fetch(`${url}/poll?${QUERY}&wait=5${cursor && `&since=${cursor}`}`).catch(() => null);
    if (!answer?.ok) {
      books.polls.breaks += 1;
      await pause(50);
      continue;
    }
    const { messages, cursor: next, recovered } = await answer.json();
    messages.forEach((message) => books.polls.take(message));
    books.polls.take({ recovered });
    cursor = next;
  }
}

async function listenInPage() {
  browser = await chromium.launch({ executablePath: about.chromium, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
  page = await browser.newPage();
  await page.goto(`${url}/nothing-here`);
  await page.evaluate((query) => {
    globalThis.books = { seen: {}, lost: 0, breaks: 0 };
    const source = new EventSource(`/sse?${query}`);
    source.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      (globalThis.books.seen[message.channel] ??= []).push(message.data);
    };
    source.addEventListener("switchboard:subscribed", ({ data }) => (globalThis.books.lost += JSON.parse(data).recovered === false));
    source.onerror = () => (globalThis.books.breaks += 1);
  }, QUERY);
}

let running;
const checks = {
  "readers of every kind begin": async () => {
    await start();
    await listenInPage();
    listenWithEventSource();
    running = [listenWithCurl(), poll()];
    await pause(1000);
    running.push(...CHANNELS.map(publisher));
    await pause(500);
  },
  "the server is stopped and started": async () => {
    await stop("SIGTERM");
    await start();
    await pause(4000);
  },
  "the server is killed and started, twice": async () => {
    for (let round = 0; round < 2; round += 1) {
      await stop("SIGKILL");
      await start();
      await pause(4000);
    }
  },
  "everything that was acknowledged reached everybody once and in order": async () => {
    publishing = false;
    await Promise.all(running.slice(2));
    const inPage = () => page.evaluate(() => globalThis.books);
    const whole = ({ seen }) => CHANNELS.every((channel) => (seen[channel] ?? []).length >= published[channel].length);
    for (let tries = 0; tries < 1000 && !(Object.values(books).every(whole) && whole(await inPage())); tries += 1) await pause(20);
    for (const [name, { seen, lost, breaks }] of Object.entries({ ...books, page: await inPage() })) {
      console.log(`# ${name}: ${breaks} breaks, ${CHANNELS.map((channel) => seen[channel]?.length)} messages`);
      equal([name, lost], [name, 0]);
      equal(breaks >= 3, true);
      for (const channel of CHANNELS) equal([name, channel, seen[channel]], [name, channel, published[channel]]);
    }
  },
};

await main(checks, async () => {
  reading = false;
  source?.close();
  books.curl.child?.kill();
  await browser?.close();
  if (child) await stop("SIGTERM");
});
