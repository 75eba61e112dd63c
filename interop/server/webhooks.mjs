// Webhooks, received by real servers that check them with Pusher's libraries for Node and Python, while pusher-js makes things happen. Argument: the
// server's command, the command of the receiver in Python and a folder, as JSON.

import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { createInterface } from "node:readline";
import Library from "pusher";
import Pusher from "pusher-js";
import { equal, main } from "../checks.mjs";

const { command, python, folder } = JSON.parse(process.argv[2]);
const KEY = "shop-key";
const SECRET = "0123456789abcdef0123456789abcdef";
const library = new Library({ appId: "shop", key: KEY, secret: SECRET, host: "127.0.0.1" });
const EVENTS = ["channel_occupied", "channel_vacated", "member_added", "member_removed", "client_event", "cache_miss", "subscription_count"];
const GRACE_MS = 1500;
const children = new Set();
const clients = new Set();

/** What a receiver has taken, and whoever waits for more of it. */
class Log {
  events = [];
  waiting = new Set();

  add(events) {
    this.events.push(...events);
    for (const wake of this.waiting) wake();
  }

  /** All events from the first that was taken since `from`, once `enough` finds them to be so. */
  async until(enough, from = 0) {
    while (!enough(this.events.slice(from))) {
      await new Promise((resolve) => {
        this.waiting.add(resolve);
      });
    }
    return this.events.slice(from);
  }
}

/** In Node. It answers with `status()`, and notes every request. */
async function receiver() {
  const log = new Log();
  const requests = [];
  const self = { log, requests, status: () => 200 };
  const server = http.createServer(async (request, response) => {
    let rawBody = "";
    for await (const part of request) rawBody += part;
    const webhook = library.webhook({ headers: request.headers, rawBody });
    const status = webhook.isValid() ? self.status() : 401;
    requests.push({ status, rawBody, valid: webhook.isValid(), lost: request.headers["x-switchboard-lost"] });
    if (status === 200) log.add(webhook.getEvents());
    response.writeHead(status).end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  return Object.assign(self, { port: server.address().port });
}

function child(program, log) {
  const started = spawn(program[0], program.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
  children.add(started);
  started.stderr.pipe(createWriteStream(`${folder}/${log}.log`, { flags: "a" }));
  started.on("exit", () => children.delete(started));
  return started;
}

/** In Python. */
async function pythonReceiver() {
  const log = new Log();
  const lines = createInterface({ input: child([...python, KEY, SECRET], "receiver").stdout });
  const port = await new Promise((resolve, reject) => {
    lines.on("close", () => reject(new Error("the receiver in Python has ended")));
    lines.on("line", (line) => {
      if (line.startsWith("listening on ")) resolve(Number(line.slice(13)));
      else log.add([JSON.parse(line)].flat());
    });
  });
  return { log, port };
}

mkdirSync(folder, { recursive: true });
rmSync(`${folder}/data`, { recursive: true, force: true });
const node = await receiver();
const other = await pythonReceiver();
let port = 0;
let server;

async function start() {
  const hook = (port, prefixes) => `[[apps.webhooks]]
url = "http://127.0.0.1:${port}/hook"
events = ${JSON.stringify(EVENTS)}
channel_prefixes = ${JSON.stringify(prefixes)}
`;
  const configuration = `
[server]
listen = "127.0.0.1:${port}"
admin_listen = "127.0.0.1:0"
shards = 2
drain_window = "100ms"
[webhooks]
allow = ["127.0.0.1"]
batch_wait = "10ms"
retry_first = "20ms"
retry_max = "50ms"
breaker_wait = "100ms"
breaker_wait_max = "200ms"
count_interval = "10ms"
vacated_grace = "${GRACE_MS}ms"
[[apps]]
id = "shop"
key = "${KEY}"
secret = "${SECRET}"
subscription_count = true
anonymous = [{ match = "*", allow = ["subscribe"] }]
${hook(node.port, [])}${hook(other.port, ["presence-", "private-", "cache-"])}`;
  writeFileSync(`${folder}/switchboard.toml`, configuration);
  const program = child([...command, "serve", "-c", `${folder}/switchboard.toml`, "--data-dir", `${folder}/data`], "serve");
  server = await new Promise((resolve, reject) => {
    const found = { child: program };
    program.on("exit", (status) => reject(new Error(`the server ended with ${status}`)));
    createInterface({ input: program.stdout }).on("line", (line) => {
      const [, kind, url] = line.match(/^\s+(WebSocket|Pusher|HTTP API|console)\s+(\S+)/) ?? [];
      if (kind === "WebSocket") found.port = Number(new URL(url).port);
      if (kind === "console") found.admin = url;
      if (found.port && found.admin) resolve(found);
    });
  });
  port = server.port;
}

async function stop(signal) {
  const ended = new Promise((resolve) => server.child.on("exit", (code) => resolve(code)));
  server.child.kill(signal);
  return ended;
}

async function metric(name) {
  const text = await (await fetch(new URL("/metrics", server.admin))).text();
  const line = text.split("\n").find((line) => line.startsWith(`switchboard_webhook_${name}{app="shop",webhook="0"}`));
  return Number(line.split(" ")[1]);
}

async function metricBecomes(name, value) {
  while ((await metric(name)) !== value) await new Promise((resolve) => setTimeout(resolve, 20));
}

function client(user) {
  const pusher = new Pusher(KEY, {
    cluster: "",
    wsHost: "127.0.0.1",
    wsPort: port,
    forceTLS: false,
    enabledTransports: ["ws"],
    disableStats: true,
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, callback) => {
        const member = channelName.startsWith("presence-") ? { user_id: user, user_info: { name: user } } : undefined;
        callback(null, library.authorizeChannel(socketId, channelName, member));
      },
    },
  });
  clients.add(pusher);
  return pusher;
}

async function subscribe(pusher, name) {
  const channel = pusher.subscribe(name);
  await new Promise((resolve, reject) => {
    channel.bind("pusher:subscription_succeeded", resolve);
    channel.bind("pusher:subscription_error", (error) => reject(new Error(error.error)));
  });
  return channel;
}

const show = ({ name, user_id: user, event, data }) => [name, user, event, data].filter((part) => part !== undefined).join(" ");
const of = (events, channel) => events.filter((event) => event.channel === channel);
/** Counts come as often as time allows. */
const others = (events, channel) => of(events, channel).filter(({ name }) => name !== "subscription_count").map(show);
const has = (channel, ...names) => (events) => names.every((name) => of(events, channel).some((event) => event.name === name));

const checks = {
  async "Pusher's libraries take every kind of event, in order"() {
    const channel = "presence-room";
    const [ann, bob] = ["ann", "bob"].map(client);
    const room = await subscribe(ann, channel);
    await node.log.until(has(channel, "member_added"));
    await subscribe(bob, channel);
    room.trigger("client-wave", { hands: 2 });
    await node.log.until(has(channel, "client_event"));
    bob.disconnect();
    await node.log.until(has(channel, "member_removed"));
    ann.disconnect();
    const expected = [
      "channel_occupied",
      "member_added ann",
      "member_added bob",
      'client_event ann client-wave {"hands":2}',
      "member_removed bob",
      "member_removed ann",
      "channel_vacated",
    ];
    for (const log of [node.log, other.log]) {
      equal(others(await log.until(has(channel, "channel_vacated")), channel), expected);
      const counts = of(log.events, channel).filter(({ name }) => name === "subscription_count");
      equal(counts.at(-1).subscription_count, 0);
    }
    const [event] = of(node.log.events, channel).filter(({ name }) => name === "client_event");
    if (!/^\d+\.\d+$/.test(event.socket_id)) throw new Error(event.socket_id);
  },

  async "a cache channel without a value is told"() {
    const ann = client("ann");
    await subscribe(ann, "private-cache-price");
    for (const log of [node.log, other.log]) await log.until(has("private-cache-price", "channel_occupied", "cache_miss"));
    ann.disconnect();
  },

  async "only channels with the prefixes that a webhook names are told to it"() {
    const ann = client("ann");
    await subscribe(ann, "news");
    await subscribe(ann, "private-last");
    await node.log.until(has("news", "channel_occupied"));
    await other.log.until(has("private-last", "channel_occupied"));
    equal(of(other.log.events, "news"), []);
    ann.disconnect();
  },

  async "pusher-js is told how many subscribe"() {
    const [ann, bob] = ["ann", "bob"].map(client);
    const channel = await subscribe(ann, "counted");
    const told = new Promise((resolve) => {
      channel.bind("pusher:subscription_count", ({ subscription_count: count }) => {
        if (count === 2) resolve();
      });
    });
    await subscribe(bob, "counted");
    await told;
    equal(channel.subscriptionCount, 2);
    await node.log.until((events) => of(events, "counted").some((event) => event.subscription_count === 2));
    ann.disconnect();
    bob.disconnect();
  },

  async "a reconnect of pusher-js vacates nothing"() {
    const ann = client("ann");
    const channel = await subscribe(ann, "kept");
    await node.log.until(has("kept", "channel_occupied"));
    for (let round = 0; round < 3; round++) {
      const back = new Promise((resolve) => channel.bind("pusher:subscription_succeeded", resolve));
      ann.connection.connection.close();
      ann.connect();
      await back;
    }
    // Longer than the grace: a notice of vacancy would come before what follows.
    await new Promise((resolve) => setTimeout(resolve, GRACE_MS + 500));
    await subscribe(ann, "marker");
    const events = await node.log.until(has("marker", "channel_occupied"));
    equal(others(events, "kept"), ["channel_occupied"]);
    ann.disconnect();
    await node.log.until(has("kept", "channel_vacated"));
  },

  async "after failures the same request comes again, and order is kept"() {
    const from = node.requests.length;
    const statuses = [500, 503, 429, 408];
    node.status = () => statuses.shift() ?? 200;
    const ann = client("ann");
    const channel = await subscribe(ann, "private-retried");
    for (let n = 0; n < 20; n++) channel.trigger("client-n", n);
    await node.log.until((events) => others(events, "private-retried").length === 21);
    const expected = Array.from({ length: 20 }, (_, n) => `client_event client-n ${n}`);
    equal(others(node.log.events, "private-retried"), ["channel_occupied", ...expected]);
    const requests = node.requests.slice(from);
    const failed = requests.filter(({ status }) => status !== 200);
    equal(failed.map(({ status }) => status), [500, 503, 429, 408]);
    equal(new Set(failed.map(({ rawBody }) => rawBody)).size, 1);
    equal(requests.every(({ valid, lost }) => valid && lost === undefined), true);
    ann.disconnect();
  },

  async "a receiver that stays away is left alone, and told everything when it is back"() {
    node.status = () => 503;
    const ann = client("ann");
    const channel = await subscribe(ann, "private-away");
    await metricBecomes("breaker", 2);
    for (let n = 0; n < 5; n++) channel.trigger("client-n", n);
    await other.log.until((events) => others(events, "private-away").length === 6);
    equal(others(node.log.events, "private-away"), []);
    node.status = () => 200;
    await node.log.until((events) => others(events, "private-away").length === 6);
    equal(others(node.log.events, "private-away"), others(other.log.events, "private-away"));
    await metricBecomes("breaker", 0);
    ann.disconnect();
  },

  async "what waited is told after kill -9, and pusher-js comes back"() {
    node.status = () => 503;
    const ann = client("ann");
    const channel = await subscribe(ann, "private-killed");
    for (let n = 0; n < 5; n++) channel.trigger("client-n", n);
    await other.log.until((events) => others(events, "private-killed").length === 6);
    const waiting = await metric("queue_events");
    await stop("SIGKILL");
    const back = new Promise((resolve) => channel.bind("pusher:subscription_succeeded", resolve));
    await start();
    if ((await metric("queue_events")) < waiting) throw new Error(`${await metric("queue_events")} of ${waiting} wait`);
    node.status = () => 200;
    await back;
    channel.trigger("client-n", 5);
    const last = (events) => others(events, "private-killed").some((shown) => shown.endsWith("client-n 5"));
    const told = others(await node.log.until(last), "private-killed");
    equal(told.filter((shown) => shown !== "channel_occupied"), Array.from({ length: 6 }, (_, n) => `client_event client-n ${n}`));
    ann.disconnect();
    equal(other.log.events.filter(({ refused }) => refused !== undefined), []);
  },

  async "the server ends in order"() {
    for (const known of clients) known.disconnect();
    equal(await stop("SIGTERM"), 0);
  },
};

await start();
await main(checks, () => {
  for (const known of clients) known.disconnect();
  for (const known of children) known.kill("SIGKILL");
});
