// pusher-js while the server is stopped, killed and started again. Argument: `folder`, for the configuration.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Pusher from "pusher-js";
import { Process, pause } from "../browser/processes.mjs";
import { equal, main } from "../checks.mjs";
import { nodeApplication } from "./pusher_application.mjs";

const { folder } = JSON.parse(process.argv[2]);
(0, eval)(readFileSync(new URL("./pusher_checks.js", import.meta.url), "utf8"));
const { client, next, subscribed } = globalThis.pusherChecks.tools;

const secret = "0123456789abcdef0123456789abcdef";
const file = join(folder, "switchboard.toml");
writeFileSync(
  file,
  `[server]\ndrain_window = "1s"\n[[apps]]\nid = "1001"\nkey = "app-key"\nsecret = "${secret}"\n` +
    'anonymous = [{ match = "*", allow = ["subscribe"] }]\n',
);

async function start(listen) {
  const server = new Process(["serve", "--config", file, "--listen", listen, "--admin-listen", "off"]);
  const [, address] = await server.prints(/ws:\/\/(127\.0\.0\.1:\d+)\//);
  return { server, address };
}

let { server, address } = await start("127.0.0.1:0");
const about = { base: `ws://${address}`, http: `http://${address}`, pusher: { id: "1001", key: "app-key", secret } };
const application = nodeApplication(about);
const kit = { Pusher, about, application };

async function backAfter(signal) {
  const pusher = client(kit, "ann");
  const names = ["news", "private-orders", "presence-room"];
  const channels = await Promise.all(names.map((name) => subscribed(pusher, name)));
  pusher.signin();
  await next(pusher, "pusher:signin_success");
  const [before, gone] = [pusher.connection.socket_id, next(pusher.connection, "state_change")];
  const back = Promise.all([...channels.map((channel) => next(channel, "pusher:subscription_succeeded")), next(pusher, "pusher:signin_success")]);
  const status = await server.stop(signal);
  await gone;
  await pause(200);
  ({ server } = await start(address));
  await back;
  equal(pusher.connection.socket_id === before, false);
  const came = next(channels[1], "told");
  await application("trigger", ["private-orders"], "told", { again: true });
  equal(await came, { again: true });
  pusher.disconnect();
  return status;
}

await main(
  {
    "all subscriptions are back after an orderly restart": async () => equal(await backAfter("SIGTERM"), 0),
    "all subscriptions are back after a kill": async () => equal(await backAfter("SIGKILL"), "SIGKILL"),
  },
  () => server.stop("SIGTERM"),
);
