// pusher-js and Laravel Echo against the server; the application's own server signs with Pusher's library for Node. Argument: the server, as
// in native.py.

import Echo from "laravel-echo";
import Signer from "pusher";
import Pusher from "pusher-js";
import WebSocket from "ws";
import { equal, main } from "../checks.mjs";

const server = JSON.parse(process.argv[2]);
const { hostname, port } = new URL(server.base);
// The application `main` has no `key` of its own, so it is its id.
const KEY = "main";
const signer = new Signer({ appId: "main", key: KEY, secret: server.secret, host: hostname, port });
const open = new Set();

function options(user) {
  return {
    cluster: "",
    wsHost: hostname,
    wsPort: Number(port),
    forceTLS: false,
    enabledTransports: ["ws"],
    disableStats: true,
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, callback) => {
        const member = channelName.startsWith("presence-") ? { user_id: user, user_info: { name: user } } : undefined;
        callback(null, signer.authorizeChannel(socketId, channelName, member));
      },
    },
    userAuthentication: {
      customHandler: ({ socketId }, callback) => callback(null, signer.authenticateUser(socketId, { id: user })),
    },
  };
}

function client(user, key = KEY) {
  const pusher = new Pusher(key, options(user));
  open.add(pusher);
  return pusher;
}

/** The next event of a channel, of a connection or of a client. */
function next(emitter, event) {
  return new Promise((resolve) => {
    const listener = (data, metadata) => {
      emitter.unbind(event, listener);
      resolve(metadata?.user_id ? { data, user: metadata.user_id } : data);
    };
    emitter.bind(event, listener);
  });
}

async function subscribed(pusher, name) {
  const channel = pusher.subscribe(name);
  const refused = next(channel, "pusher:subscription_error").then((error) => Promise.reject(new Error(error.error)));
  await Promise.race([next(channel, "pusher:subscription_succeeded"), refused]);
  return channel;
}

async function publish(channel, data, event) {
  const body = JSON.stringify({ channel, data, event });
  const headers = { Authorization: `Bearer ${server.api_key}`, "Content-Type": "application/json" };
  const response = await fetch(`${server.http}/api/v1/publish`, { method: "POST", headers, body });
  equal(response.status, 200);
}

/** A WebSocket's first messages and how it was closed. */
function conversation(path) {
  return new Promise((resolve, reject) => {
    const events = [];
    const socket = new WebSocket(server.base + path);
    socket.on("message", (data) => events.push(JSON.parse(data)));
    socket.on("error", reject);
    socket.on("close", (code) => resolve({ code, events }));
  });
}

await main(
  {
    "a public channel": async () => {
      const channel = await subscribed(client("ann"), "news");
      for (const data of [{ title: "Hello" }, "a text", "17", 17, true, null, ["ä\u2028"]]) {
        const came = next(channel, "headline");
        await publish("news", data, "headline");
        equal(await came, data);
      }
    },
    "a channel whose name Pusher's alphabet lacks": async () => {
      const channel = await subscribed(client("ann"), "room=3A1");
      const came = next(channel, "message");
      await publish("room:1", "hello");
      equal(await came, "hello");
    },
    "a private channel, and client events": async () => {
      const [ann, bob] = await Promise.all(["ann", "bob"].map((user) => subscribed(client(user), "private-room")));
      const came = next(bob, "client-wave");
      equal(ann.trigger("client-wave", { hands: 2 }), true);
      equal(await came, { hands: 2 });
    },
    "a private channel without the application's signature": async () => {
      const pusher = client("ann");
      pusher.config.channelAuthorizer = (_, callback) => callback(null, { auth: `${KEY}:${"0".repeat(64)}` });
      const channel = pusher.subscribe("private-room");
      const error = await next(channel, "pusher:subscription_error");
      equal([error.type, error.status], ["AuthError", 401]);
    },
    "a presence channel": async () => {
      const ann = await subscribed(client("ann"), "presence-room");
      equal([ann.members.count, ann.members.me.id], [1, "ann"]);
      const added = next(ann, "pusher:member_added");
      const guest = client("bob");
      const bob = await subscribed(guest, "presence-room");
      equal(await added, { id: "bob", info: { name: "bob" } });
      equal(Object.keys(bob.members.members).sort(), ["ann", "bob"]);
      const wave = next(ann, "client-wave");
      bob.trigger("client-wave", "hello");
      equal(await wave, { data: "hello", user: "bob" });
      const removed = next(ann, "pusher:member_removed");
      guest.disconnect();
      equal((await removed).id, "bob");
      equal(ann.members.count, 1);
    },
    "a cache channel": async () => {
      const pusher = client("ann");
      const name = "private-cache-price";
      const missing = next(pusher, "pusher:cache_miss");
      const channel = await subscribed(pusher, name);
      await missing;
      channel.trigger("client-price", { usd: 7 });
      // What was asked before the unsubscription is done before it.
      pusher.unsubscribe(name);
      const other = client("bob").subscribe(name);
      equal(await next(other, "client-price"), { usd: 7 });
    },
    "signing in": async () => {
      const pusher = client("ann");
      pusher.signin();
      const { user_data } = await next(pusher, "pusher:signin_success");
      equal(JSON.parse(user_data), { id: "ann" });
    },
    "an end by the client, and a return": async () => {
      const pusher = client("ann");
      await subscribed(pusher, "news");
      pusher.disconnect();
      const again = next(pusher.channel("news"), "pusher:subscription_succeeded");
      pusher.connect();
      await again;
    },
    "what is not served is told by the protocol's codes": async () => {
      for (const [path, expected] of [
        ["/app/nokey?protocol=7", 4001],
        [`/app/${KEY}`, 4008],
        [`/app/${KEY}?protocol=x`, 4006],
        [`/app/${KEY}?protocol=4`, 4007],
      ]) {
        const { code, events } = await conversation(path);
        equal([path, code, events.map(({ event }) => event)], [path, expected, ["pusher:error"]]);
        equal(JSON.parse(events[0].data).code, expected);
      }
    },
    "Laravel Echo by its pusher and reverb broadcasters": async () => {
      for (const broadcaster of ["pusher", "reverb"]) {
        const echo = new Echo({ broadcaster, key: KEY, ...options("ann"), Pusher, withoutInterceptors: true });
        open.add(echo);
        const came = new Promise((resolve) => echo.channel(`echo-${broadcaster}`).listen(".told", resolve));
        await new Promise((resolve) => echo.channel(`echo-${broadcaster}`).subscribed(resolve));
        await publish(`echo-${broadcaster}`, { by: broadcaster }, "told");
        equal(await came, { by: broadcaster });
        const here = await new Promise((resolve) => echo.join(`echo-${broadcaster}`).here(resolve));
        equal(here, [{ name: "ann" }]);
      }
    },
  },
  () => open.forEach((known) => known.disconnect()),
);
