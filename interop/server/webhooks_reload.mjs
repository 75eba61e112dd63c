// Webhooks over TLS, with connections that are kept, and webhooks that come, change and go while the server runs (SIGHUP). Argument: `folder`, for the configuration, and the
// certificates for the receivers, as `authority`, `chain` and `key`.

import { readFileSync, writeFileSync } from "node:fs";
import https from "node:https";
import Library from "pusher";
import { Process } from "../browser/processes.mjs";
import { equal, main } from "../checks.mjs";

const about = JSON.parse(process.argv[2]);
const KEY = "shop-key";
const SECRET = "0123456789abcdef0123456789abcdef";
const API_KEY = "fedcba9876543210fedcba9876543210";
const library = new Library({ appId: "shop", key: KEY, secret: SECRET, host: "127.0.0.1" });
const file = `${about.folder}/switchboard.toml`;

/** Takes webhooks over TLS. What it is told waits in `channels`, how many connections were made in `connections()`. */
async function receiver() {
  const channels = [];
  let connections = 0;
  const options = { cert: readFileSync(about.chain), key: readFileSync(about.key) };
  const server = https.createServer(options, async (request, response) => {
    let rawBody = "";
    for await (const part of request) rawBody += part;
    const webhook = library.webhook({ headers: request.headers, rawBody });
    channels.push(...(webhook.isValid() ? webhook.getEvents().map(({ channel }) => channel) : ["not signed"]));
    response.writeHead(204).end();
  });
  server.on("secureConnection", () => (connections += 1));
  // It says nothing of it: a connection is kept until somebody ends it.
  server.keepAliveTimeout = 0;
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  return { channels, server, connections: () => connections, url: `https://localhost:${server.address().port}/hook` };
}

const [first, second] = [await receiver(), await receiver()];

function configure({ ca, receivers }) {
  const hooks = receivers.map(({ url }) => `[[apps.webhooks]]\nurl = "${url}"\nevents = ["client_event"]\n`);
  writeFileSync(
    file,
    `[webhooks]
allow = ["127.0.0.1", "::1"]
batch_wait = "1ms"
retry_first = "10ms"
retry_max = "20ms"
breaker_failures = 1000
${ca ? `ca = "${about.authority}"` : ""}
[[apps]]
id = "shop"
key = "${KEY}"
secret = "${SECRET}"
api_keys = ["${API_KEY}"]
anonymous = [{ match = "*", allow = ["subscribe", "publish"] }]
${hooks.join("")}`,
  );
}

async function start() {
  const server = new Process(["serve", "--config", file, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
  const [, http] = await server.prints(/HTTP API\s+(http:\/\/[\d.:]+)/);
  const [, admin] = await server.prints(/console\s+(http:\/\/[\d.:]+)/);
  return { server, http, admin };
}

let running;

async function publish(channel) {
  const answer = await fetch(`${running.http}/client/v1/publish`, { method: "POST", body: JSON.stringify({ channel, data: 1 }) });
  equal(answer.status, 200);
}

async function until(what, true_) {
  const deadline = Date.now() + 20_000;
  while (!(await true_())) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function failed() {
  const text = await (await fetch(`${running.admin}/metrics`)).text();
  return Number(/^switchboard_webhook_requests_failed_total\{.*\} (\d+)$/m.exec(text)?.[1] ?? 0);
}

/** Gives the running server another configuration, and waits until it has said so. */
async function reload(configuration) {
  configure(configuration);
  const before = running.server.output.length;
  running.server.child.kill("SIGHUP");
  await until("the configuration is read again", () => /configuration/.test(running.server.output.slice(before)));
}

await main(
  {
    "a receiver whose authority nobody has named is told nothing": async () => {
      configure({ ca: false, receivers: [first] });
      running = await start();
      await publish("a");
      await until("requests fail", async () => (await failed()) > 2);
      equal(first.channels, []);
      equal(await running.server.stop(), 0);
    },
    "with webhooks.ca it is told": async () => {
      configure({ ca: true, receivers: [first] });
      running = await start();
      await publish("b");
      await until("it is told", () => first.channels.length > 0);
      equal(first.channels, ["b"]);
    },
    "over one connection, or another when it has ended that": async () => {
      for (const channel of ["b1", "b2", "b3"]) {
        await publish(channel);
        await until("it is told", () => first.channels.includes(channel));
      }
      equal(first.connections(), 1);
      first.server.closeAllConnections();
      for (const channel of ["b4", "b5"]) {
        await publish(channel);
        await until("it is told", () => first.channels.includes(channel));
      }
      equal([first.channels.splice(1), first.connections(), await failed()], [["b1", "b2", "b3", "b4", "b5"], 2, 0]);
    },
    "a webhook that is new at SIGHUP is told from then on": async () => {
      await reload({ ca: true, receivers: [first, second] });
      await publish("c");
      await until("both are told", () => first.channels.includes("c") && second.channels.includes("c"));
      equal([first.channels, second.channels], [["b", "c"], ["c"]]);
    },
    "and one that is gone is not told any longer": async () => {
      await reload({ ca: true, receivers: [second] });
      await publish("d");
      await until("the other is told", () => second.channels.includes("d"));
      equal([first.channels, second.channels], [["b", "c"], ["c", "d"]]);
    },
    "a configuration that is wrong changes nothing": async () => {
      await reload({ ca: true, receivers: [{ url: "ftp://localhost/" }] });
      await publish("e");
      await until("it is still told", () => second.channels.includes("e"));
      equal(await running.server.stop(), 0);
    },
  },
  () => running.server.stop("SIGKILL"),
);
