// Webhooks whose queue cannot be written down, because the disk has no room: they are told all the same, and what waits is kept again once there is room.
// The disk is full for the server alone, by its limit for the size of files. Argument: `folder`, for the configuration and the data.

import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { Process } from "../browser/processes.mjs";
import { equal, main } from "../checks.mjs";

const { folder } = JSON.parse(process.argv[2]);
const file = `${folder}/switchboard.toml`;
const data = `${folder}/data`;
const queue = `${data}/webhooks/queue`;
const taken = [];
let status = 204;

const receiver = http.createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  if (status === 204) taken.push(...JSON.parse(body).events.map(({ event }) => event));
  response.writeHead(status).end();
});
await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));

rmSync(data, { recursive: true, force: true });
// The channels keep no history, which would not be taken by a disk that is full.
writeFileSync(
  file,
  `[server]
shards = 1
[channels]
history_size = 0
[webhooks]
allow = ["127.0.0.1"]
batch_wait = "1ms"
retry_first = "10ms"
retry_max = "20ms"
breaker_failures = 100000
[[apps]]
id = "shop"
secret = "0123456789abcdef0123456789abcdef"
anonymous = [{ match = "*", allow = ["publish"] }]
[[apps.webhooks]]
url = "http://127.0.0.1:${receiver.address().port}/"
events = ["client_event"]
`,
);

async function start() {
  const server = new Process(["serve", "--config", file, "--data-dir", data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
  const [, http] = await server.prints(/HTTP API\s+(http:\/\/[\d.:]+)/);
  const [, admin] = await server.prints(/console\s+(http:\/\/[\d.:]+)/);
  return { server, http, admin };
}

let running = await start();

function room(bytes) {
  const { status, stderr } = spawnSync("prlimit", ["--pid", String(running.server.child.pid), `--fsize=${bytes}:unlimited`]);
  if (status !== 0) throw new Error(`prlimit: ${stderr}`);
}

async function publish(...events) {
  for (const event of events) {
    const answer = await fetch(`${running.http}/client/v1/publish`, { method: "POST", body: JSON.stringify({ channel: "a", event, data: 1 }) });
    equal([answer.status, event], [200, event]);
  }
}

async function metricBecomes(name, value) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const text = await (await fetch(`${running.admin}/metrics`)).text();
    const found = new RegExp(`^switchboard_webhook_${name}(?:\\{.*\\})? (\\d+)$`, "m").exec(text)?.[1];
    if (Number(found) === value) return;
    if (Date.now() > deadline) throw new Error(`${name} is ${found}, not ${value}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function takes(...events) {
  const deadline = Date.now() + 20_000;
  while (taken.length < events.length && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
  equal(taken.splice(0), events);
}

await main(
  {
    "while the disk is full events are told from memory": async () => {
      status = 503;
      await publish("a");
      await metricBecomes("queue_events", 1);
      await metricBecomes("queue_writable", 1);
      // Not even what waits already would find room.
      room(10);
      await publish("b", "c");
      await metricBecomes("queue_writable", 0);
      await metricBecomes("queue_events", 3);
      await running.server.prints(/the queue of the webhooks cannot be written/);
      status = 204;
      await takes("a", "b", "c");
      await metricBecomes("queue_events", 0);
    },
    "the disk is looked at again, also while nothing happens": async () => {
      room("unlimited");
      await metricBecomes("queue_writable", 1);
      await running.server.prints(/the queue of the webhooks is written down again/);
    },
    "and what waits is kept as soon as there is room": async () => {
      status = 503;
      room(10);
      await publish("d", "e");
      await metricBecomes("queue_events", 2);
      await metricBecomes("queue_writable", 0);
      equal(/"event":"d"/.test(readFileSync(queue, "utf8")), false);
      room("unlimited");
      await metricBecomes("queue_writable", 1);
      await publish("f");
      await metricBecomes("queue_events", 3);
      equal(await running.server.stop("SIGKILL"), "SIGKILL");
      running = await start();
      await metricBecomes("queue_events", 3);
      status = 204;
      await takes("d", "e", "f");
    },
    "what could not be kept ends with the process, and what was told before may come again": async () => {
      await publish("g");
      await takes("g");
      status = 503;
      await publish("h");
      await metricBecomes("queue_events", 1);
      room(10);
      await publish("i");
      await metricBecomes("queue_writable", 0);
      equal(await running.server.stop(), 0);
      await running.server.prints(/events that could not be told are lost with the process/);
      running = await start();
      status = 204;
      await takes("h");
      await publish("j");
      await takes("j");
      equal(await running.server.stop(), 0);
    },
  },
  () => running.server.stop("SIGKILL"),
);
