// pusher-js and Laravel Echo in Node against the server, with Pusher's library for Node as the application's server. Argument: the server, as in
// native.py.

import { readFileSync } from "node:fs";
import Echo from "laravel-echo";
import Pusher from "pusher-js";
import WebSocket from "ws";
import { equal, main } from "../checks.mjs";
import { nodeApplication } from "./pusher_application.mjs";

const about = JSON.parse(process.argv[2]);
(0, eval)(readFileSync(new URL("./pusher_checks.js", import.meta.url), "utf8"));
const { tools, ...shared } = globalThis.pusherChecks;
const { client, next, subscribed } = tools;
const kit = { Pusher, Echo, about, application: nodeApplication(about) };

async function publish(channel, data, event) {
  const body = JSON.stringify({ channel, data, event });
  const headers = { Authorization: `Bearer ${about.pusher.api_key}`, "Content-Type": "application/json" };
  const response = await fetch(`${about.http}/api/v1/publish`, { method: "POST", headers, body });
  equal(response.status, 200);
}

/** A WebSocket's first messages and how it was closed. */
function conversation(path) {
  return new Promise((resolve, reject) => {
    const events = [];
    const socket = new WebSocket(about.base + path);
    socket.on("message", (data) => events.push(JSON.parse(data)));
    socket.on("error", reject);
    socket.on("close", (code) => resolve({ code, events }));
  });
}

await main({
  ...Object.fromEntries(Object.entries(shared).map(([name, check]) => [name, () => check(kit)])),
  "what another protocol publishes": async () => {
    const channel = await subscribed(client(kit, "ann"), "news");
    for (const data of [{ title: "Hello" }, "a text", "17", 17, true, null, ["ä\u2028"]]) {
      const came = next(channel, "headline");
      await publish("news", data, "headline");
      equal(await came, data);
    }
  },
  "a channel whose name Pusher's alphabet lacks": async () => {
    const channel = await subscribed(client(kit, "ann"), "room=3A1");
    const came = next(channel, "message");
    await publish("room:1", "hello");
    equal(await came, "hello");
  },
  "what is not served is told by the protocol's codes": async () => {
    const { key } = about.pusher;
    for (const [path, expected] of [
      ["/app/nokey?protocol=7", 4001],
      [`/app/${key}`, 4008],
      [`/app/${key}?protocol=x`, 4006],
      [`/app/${key}?protocol=4`, 4007],
    ]) {
      const { code, events } = await conversation(path);
      equal([path, code, events.map(({ event }) => event)], [path, expected, ["pusher:error"]]);
      equal(JSON.parse(events[0].data).code, expected);
    }
  },
});
