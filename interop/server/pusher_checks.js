// Checks with pusher-js and Laravel Echo that run in Node and in Chromium's pages alike. A plain script, so that it can be evaluated in a
// page; it leaves `pusherChecks`. Each check takes a kit: the libraries `Pusher` and `Echo`, `about` (what the runner tells of the server), and
// `application`, which does what the application's own server would do: authorize, authenticate, publish.

globalThis.pusherChecks = (() => {
  function equal(found, expected) {
    const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
    if (a !== b) throw new Error(`found ${a?.slice(0, 300)}, expected ${b?.slice(0, 300)}`);
  }

  const open = new Set();
  /** No check hears what another one publishes. */
  const fresh = (name) => name + Math.random().toString(36).slice(2);

  function options({ about, application }, user, watchlist) {
    const { hostname, port, protocol } = new URL(about.base);
    return {
      cluster: "",
      wsHost: hostname,
      wsPort: Number(port),
      wssPort: Number(port),
      forceTLS: protocol === "wss:",
      enabledTransports: ["ws", "wss"],
      disableStats: true,
      channelAuthorization: {
        customHandler: ({ socketId, channelName }, callback) => {
          const member = channelName.startsWith("presence-") ? { user_id: user, user_info: { name: user } } : undefined;
          const answer = application("authorize", socketId, channelName, member);
          answer.then((auth) => callback(null, auth), (error) => callback(error, null));
        },
      },
      userAuthentication: {
        customHandler: ({ socketId }, callback) => {
          const answer = application("authenticate", socketId, { id: user, ...(watchlist && { watchlist }) });
          answer.then((auth) => callback(null, auth), (error) => callback(error, null));
        },
      },
    };
  }

  function client(kit, user, watchlist) {
    const pusher = new kit.Pusher(kit.about.pusher.key, options(kit, user, watchlist));
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
    const refused = next(channel, "pusher:subscription_error").then((error) => Promise.reject(new Error(error.error ?? error.type)));
    await Promise.race([next(channel, "pusher:subscription_succeeded"), refused]);
    return channel;
  }

  /** Signs a client in, and waits until what is sent to its user reaches it. */
  async function signedIn(pusher) {
    pusher.signin();
    await next(pusher, "pusher:signin_success");
    await next(pusher.user.serverToUserChannel, "pusher:subscription_succeeded");
  }

  const checks = {
    "a public channel": async (kit) => {
      const name = fresh("news-");
      const channel = await subscribed(client(kit, "ann"), name);
      for (const data of [{ title: "Hello" }, "a text", 17, true, null, ["ä\u2028"], { deep: [{ n: 1.5 }] }]) {
        const came = next(channel, "headline");
        await kit.application("trigger", [name], "headline", data);
        equal(await came, data);
      }
    },
    "a private channel, and client events": async (kit) => {
      const name = fresh("private-");
      const [ann, bob] = await Promise.all(["ann", "bob"].map((user) => subscribed(client(kit, user), name)));
      const came = next(bob, "client-wave");
      equal(ann.trigger("client-wave", { hands: 2 }), true);
      equal(await came, { hands: 2 });
    },
    "a private channel without the application's signature": async (kit) => {
      const pusher = client(kit, "ann");
      pusher.config.channelAuthorizer = (_, callback) => callback(null, { auth: `${kit.about.pusher.key}:${"0".repeat(64)}` });
      const error = await next(pusher.subscribe(fresh("private-")), "pusher:subscription_error");
      equal([error.type, error.status], ["AuthError", 401]);
    },
    "a name that no channel has": async (kit) => {
      const error = await next(client(kit, "ann").subscribe("room:1"), "pusher:subscription_error");
      equal([error.type, error.status, error.error.includes("':'")], ["SubscriptionError", 400, true]);
    },
    "a presence channel": async (kit) => {
      const name = fresh("presence-");
      const ann = await subscribed(client(kit, "ann"), name);
      equal([ann.members.count, ann.members.me.id], [1, "ann"]);
      const added = next(ann, "pusher:member_added");
      const guest = client(kit, "bob");
      const bob = await subscribed(guest, name);
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
    "an encrypted channel": async (kit) => {
      const name = fresh("private-encrypted-");
      const channel = await subscribed(client(kit, "ann"), name);
      const came = next(channel, "secret");
      await kit.application("trigger", [name], "secret", { code: "ä17" });
      equal(await came, { code: "ä17" });
    },
    "cache channels": async (kit) => {
      for (const prefix of ["cache-", "private-cache-", "presence-cache-", "private-encrypted-cache-"]) {
        const name = fresh(prefix);
        const pusher = client(kit, "ann");
        const missing = next(pusher, "pusher:cache_miss");
        const channel = await subscribed(pusher, name);
        await missing;
        const came = next(channel, "price");
        await kit.application("trigger", [name], "price", { usd: 7 });
        await came;
        equal([prefix, await next(client(kit, "bob").subscribe(name), "price")], [prefix, { usd: 7 }]);
      }
    },
    "signing in": async (kit) => {
      const pusher = client(kit, "ann");
      pusher.signin();
      const { user_data } = await next(pusher, "pusher:signin_success");
      equal(JSON.parse(user_data), { id: "ann" });
      equal(pusher.user.user_data, { id: "ann" });
    },
    "what is sent to a user": async (kit) => {
      const user = fresh("user-");
      const [hers, his] = [[client(kit, user), client(kit, user)], client(kit, "bob")];
      await Promise.all([...hers, his].map(signedIn));
      const [came, not] = [hers.map((pusher) => next(pusher.user, "note")), next(his.user, "note")];
      await kit.application("sendToUser", user, "note", { text: "for you" });
      equal(await Promise.all(came), [{ text: "for you" }, { text: "for you" }]);
      await kit.application("sendToUser", "bob", "note", "for bob");
      equal(await not, "for bob");
    },
    "a watchlist": async (kit) => {
      const friend = fresh("friend-");
      const ann = client(kit, "ann", [friend]);
      const offline = next(ann.user.watchlist, "offline");
      await signedIn(ann);
      equal((await offline).user_ids, [friend]);
      const online = next(ann.user.watchlist, "online");
      const hers = client(kit, friend);
      await signedIn(hers);
      equal((await online).user_ids, [friend]);
      const gone = next(ann.user.watchlist, "offline");
      hers.disconnect();
      equal((await gone).user_ids, [friend]);
    },
    "connections of a user who is sent away": async (kit) => {
      const user = fresh("user-");
      const [hers, his] = [client(kit, user), client(kit, "bob")];
      await signedIn(hers);
      const ended = next(hers.connection, "disconnected");
      const error = next(hers.connection, "error");
      await kit.application("terminate", user);
      equal((await error).data.code, 4009);
      await ended;
      await subscribed(his, fresh("news-"));
    },
    "an end by the client, and a return": async (kit) => {
      const pusher = client(kit, "ann");
      const name = fresh("news-");
      await subscribed(pusher, name);
      pusher.disconnect();
      const again = next(pusher.channel(name), "pusher:subscription_succeeded");
      pusher.connect();
      await again;
    },
    "Laravel Echo by its pusher and reverb broadcasters": async (kit) => {
      for (const broadcaster of ["pusher", "reverb"]) {
        const name = fresh("echo-");
        const settings = { broadcaster, key: kit.about.pusher.key, ...options(kit, "ann"), Pusher: kit.Pusher, withoutInterceptors: true };
        const echo = new kit.Echo(settings);
        open.add(echo);
        const heard = {};
        const hears = (channel, kind) =>
          new Promise((joined) => {
            channel.listen(".told", (data) => heard[kind]?.(data));
            channel.subscribed(joined);
          });
        const kinds = { public: name, private: `private-${name}`, presence: `presence-${name}`, encrypted: `private-encrypted-${name}` };
        await Promise.all([
          hears(echo.channel(name), "public"),
          hears(echo.private(name), "private"),
          hears(echo.join(name), "presence"),
          hears(echo.encryptedPrivate(name), "encrypted"),
        ]);
        for (const [kind, channel] of Object.entries(kinds)) {
          const came = new Promise((resolve) => (heard[kind] = resolve));
          await kit.application("trigger", [channel], "told", { by: broadcaster, kind });
          equal(await came, { by: broadcaster, kind });
        }
        const whispered = new Promise((resolve) => echo.private(name).listenForWhisper("typing", resolve));
        const other = new kit.Echo({ ...settings, ...options(kit, "bob") });
        open.add(other);
        await new Promise((joined) => other.private(name).subscribed(joined));
        other.private(name).whisper("typing", { name: "bob" });
        equal(await whispered, { name: "bob" });
        const here = new Promise((resolve) => other.join(name).here(resolve));
        equal((await here).map((user) => user.name).sort(), ["ann", "bob"]);
      }
    },
  };

  /** Ends what a check has left open. */
  const closing = ([name, check]) => [
    name,
    async (kit) => {
      try {
        await check(kit);
      } finally {
        for (const known of open) known.disconnect();
        open.clear();
      }
    },
  ];
  return Object.assign(Object.fromEntries(Object.entries(checks).map(closing)), { tools: { client, next, subscribed, fresh } });
})();
