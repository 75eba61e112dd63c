// Pusher's protocol where limits are met: members that a presence channel does not list, clients that fall silent, applications that do not serve it. Against a
// server with small limits. Argument: `folder`, for the configuration.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Pusher from "pusher-js";
import WebSocket from "ws";
import { Process } from "../browser/processes.mjs";
import { equal, main } from "../checks.mjs";
import { nodeApplication } from "./pusher_application.mjs";

const { folder } = JSON.parse(process.argv[2]);
(0, eval)(readFileSync(new URL("./pusher_checks.js", import.meta.url), "utf8"));
const { client, next, subscribed } = globalThis.pusherChecks.tools;
const secret = "0123456789abcdef0123456789abcdef";
const file = join(folder, "switchboard.toml");
writeFileSync(
  file,
  `[server]
listen = "127.0.0.1:0"
admin_listen = "off"
drain_window = "100ms"
[heartbeat]
interval = "1s"
timeout = "1s"
[channels]
presence_members = 2
[[apps]]
id = "1001"
key = "app-key"
secret = "${secret}"
anonymous = [{ match = "*", allow = ["subscribe"] }]
[[apps]]
id = "native"
key = "native-key"
secret = "${secret}"
protocols = ["native"]
`,
);
const server = new Process(["serve", "--config", file]);
const [, address] = await server.prints(/ws:\/\/(127\.0\.0\.1:\d+)\//);
const about = { base: `ws://${address}`, http: `http://${address}`, pusher: { id: "1001", key: "app-key", secret } };
const kit = { Pusher, about, application: nodeApplication(about) };

/** A WebSocket's errors of the protocol, and how it was closed. */
function conversation(path, options) {
  return new Promise((resolve, reject) => {
    const errors = [];
    const socket = new WebSocket(about.base + path, options);
    socket.on("message", (text) => {
      const { event, data } = JSON.parse(text);
      if (event === "pusher:error") errors.push(JSON.parse(data).code);
    });
    socket.on("error", reject);
    socket.on("close", (code) => resolve({ code, errors }));
  });
}

const members = ({ members }) => Object.keys(members.members).sort();

await main(
  {
    "members beyond presence_members are on the channel and are not listed": async () => {
      const [ann, bob, carla] = ["ann", "bob", "carla"].map((user) => client(kit, user));
      const room = await subscribed(ann, "presence-room");
      await subscribed(bob, "presence-room");
      const late = await subscribed(carla, "presence-room");
      equal([members(late), late.members.count], [["ann", "bob"], 2]);
      // Nobody is told of her, and she hears what all hear.
      const came = next(late, "client-wave");
      room.trigger("client-wave", 1);
      equal(await came, { data: 1, user: "ann" });
      equal(members(room), ["ann", "bob"]);
      // Who comes when there is room again is listed.
      const gone = next(room, "pusher:member_removed");
      bob.disconnect();
      equal((await gone).id, "bob");
      const added = next(room, "pusher:member_added");
      const dora = await subscribed(client(kit, "dora"), "presence-room");
      equal((await added).id, "dora");
      equal(members(dora).includes("dora"), true);
    },
    "a client that is silent for too long is cut off": async () => {
      // It answers nothing, neither pings of the protocol nor those of WebSocket.
      equal(await conversation("/app/app-key?protocol=7", { autoPong: false }), { code: 1006, errors: [] });
    },
    "an application that does not serve the protocol says 4003": async () => {
      equal(await conversation("/app/native-key?protocol=7"), { code: 4003, errors: [4003] });
    },
    "the server ends in order": async () => equal(await server.stop("SIGTERM"), 0),
  },
  () => server.stop("SIGKILL"),
);
