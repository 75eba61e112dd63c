// Pusher's libraries for servers against the server, and pusher-js to see what they do. Argument: the server, as in native.py, and
// `library`: the command of an application in another language, or nothing for Node's.

import { readFileSync } from "node:fs";
import Pusher from "pusher-js";
import { equal, main } from "../checks.mjs";
import { applicationIn, nodeApplication } from "./pusher_application.mjs";

const about = JSON.parse(process.argv[2]);
(0, eval)(readFileSync(new URL("./pusher_checks.js", import.meta.url), "utf8"));
const { client, next, subscribed, fresh } = globalThis.pusherChecks.tools;

const started = [];
function library(secret) {
  const made = about.library ? applicationIn(about.library, about, secret) : nodeApplication(about, secret);
  started.push(made);
  return made;
}
const application = library();
const kit = { Pusher, about, application };

/** All events of a channel that come until `last` has. */
function until(channel, last) {
  const events = [];
  return new Promise((resolve) => {
    channel.bind_global((event, data) => {
      if (!event.startsWith("pusher:")) events.push([event, data]);
      if (event === last) resolve(events);
    });
  });
}

async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("was not refused");
}

const checks = {
  "an event on several channels": async () => {
    const names = [fresh("news-"), fresh("private-"), fresh("presence-")];
    const pusher = client(kit, "ann");
    const channels = await Promise.all(names.map((name) => subscribed(pusher, name)));
    const came = Promise.all(channels.map((channel) => next(channel, "told")));
    equal(await application("trigger", names, "told", { text: "ä €", n: 1.5 }), {});
    equal(await came, names.map(() => ({ text: "ä €", n: 1.5 })));
  },
  "an event for all but one": async () => {
    const name = fresh("news-");
    const [ann, bob] = [client(kit, "ann"), client(kit, "bob")];
    const channels = await Promise.all([ann, bob].map((pusher) => subscribed(pusher, name)));
    const seen = channels.map((channel) => until(channel, "last"));
    await application("trigger", [name], "told", 1, { socket_id: ann.connection.socket_id });
    await application("trigger", [name], "last", 2);
    equal(await Promise.all(seen), [[["last", 2]], [["told", 1], ["last", 2]]]);
  },
  "a batch in its order": async () => {
    const name = fresh("news-");
    const channel = await subscribed(client(kit, "ann"), name);
    const seen = until(channel, "e9");
    equal(await application("triggerBatch", [...Array(10).keys()].map((n) => ({ channel: name, name: `e${n}`, data: { n } }))), {});
    equal(await seen, [...Array(10).keys()].map((n) => [`e${n}`, { n }]));
  },
  "an encrypted channel": () => globalThis.pusherChecks["an encrypted channel"](kit),
  "which channels are occupied, and by whom": async () => {
    const name = fresh("presence-");
    const [ann, bob] = [client(kit, "ann"), client(kit, "bob")];
    for (const pusher of [ann, client(kit, "ann"), bob]) await subscribed(pusher, name);
    const counted = { info: "user_count,subscription_count" };
    const { channels } = await application("channels", { filter_by_prefix: name, ...counted });
    equal(channels, { [name]: { user_count: 2, subscription_count: 3 } });
    const one = await application("channel", name, counted);
    equal([one.occupied, one.user_count, one.subscription_count], [true, 2, 3]);
    const none = await application("channel", fresh("presence-"), counted);
    equal([none.occupied, none.user_count, none.subscription_count], [false, 0, 0]);
    const { users } = await application("users", name);
    equal(users.map((user) => user.id).sort(), ["ann", "bob"]);
  },
  "what a cache channel keeps": async () => {
    const name = fresh("cache-");
    await application("trigger", [name], "price", { usd: 7 });
    const { cache, occupied } = await application("channel", name, { info: "cache" });
    equal([occupied, cache.event, JSON.parse(cache.data), cache.ttl > 0], [false, "price", { usd: 7 }, true]);
  },
  "channels and users are vouched for": async () => {
    const pusher = client(kit, "ann");
    for (const name of ["private-", "presence-", "private-encrypted-"]) await subscribed(pusher, fresh(name));
    pusher.signin();
    await next(pusher, "pusher:signin_success");
  },
  "what is sent to a user": () => globalThis.pusherChecks["what is sent to a user"](kit),
  "a user's connections are ended": () => globalThis.pusherChecks["connections of a user who is sent away"](kit),
  "what is wrong is told by the library": async () => {
    const forged = await refusal(library("another secret of at least 32 bytes")("trigger", ["news"], "told", 1));
    const counted = await refusal(application("channels", { info: "user_count" }));
    const named = await refusal(application("trigger", ["news"], "a\nb", 1));
    const kinds = [forged, counted, named].map((error) => error.status ?? error.kind);
    equal(kinds, forged.status ? [401, 400, 400] : ["PusherBadAuth", "PusherBadRequest", "PusherBadRequest"]);
    for (const [error, says] of [
      [forged, "the signature is not good"],
      [counted, "user_count is for presence channels"],
      [named, '"name" contains a control character'],
    ]) {
      if (!error.text.includes(says)) throw new Error(error.text);
    }
  },
};

await main(checks, () => started.forEach((made) => made.stop?.()));
