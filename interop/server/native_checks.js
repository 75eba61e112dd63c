// Checks of the native protocol and of the raw rooms that run wherever there is a `WebSocket` of the browsers' kind: in Chromium's
// pages and, on top of `ws`, in Node. A plain script, so that it can be evaluated in a page; it leaves `nativeChecks`.
// Each check takes what the runner tells about the server: { base, tokens: { ann, bob } }.

globalThis.nativeChecks = (() => {
  const decoder = new TextDecoder("utf-8", { fatal: true });

  function equal(found, expected) {
    const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
    if (a !== b) throw new Error(`found ${a?.slice(0, 300)}, expected ${b?.slice(0, 300)}`);
  }

  /** A socket whose messages and end can be awaited. */
  class Socket {
    constructor(url, protocols = []) {
      this.received = [];
      this.takers = [];
      this.socket = new WebSocket(url, protocols);
      this.socket.binaryType = "arraybuffer";
      this.opened = new Promise((resolve, reject) => {
        this.socket.onopen = () => resolve(this);
        this.socket.onerror = () => reject(new Error(`cannot open ${url}`));
      });
      this.closed = new Promise((resolve) => {
        this.socket.onclose = (event) => {
          resolve(event);
          for (const taker of this.takers) taker.reject(new Error(`closed with ${event.code} ${event.reason}`));
        };
      });
      this.socket.onmessage = ({ data }) => {
        const taker = this.takers.shift();
        if (taker) taker.resolve(data);
        else this.received.push(data);
      };
    }

    receive() {
      if (this.received.length) return Promise.resolve(this.received.shift());
      return new Promise((resolve, reject) => this.takers.push({ resolve, reject }));
    }

    async close(code, reason) {
      this.socket.close(code, reason);
      return await this.closed;
    }
  }

  /** A welcomed connection that speaks the native protocol. */
  class Client {
    static async open(server, { path = "/ws", protocols = ["switchboard.v1.json"] } = {}) {
      const client = new Client();
      client.socket = await new Socket(server.base + path, protocols).opened;
      client.waiting = [];
      client.ids = 0;
      client.welcome = await client.next();
      equal(client.welcome.type, "welcome");
      return client;
    }

    send(message) {
      this.socket.socket.send(JSON.stringify(message));
    }

    sendBinary(header, payload) {
      const head = new TextEncoder().encode(JSON.stringify(header));
      const frame = new Uint8Array(2 + head.length + payload.length);
      frame.set([head.length >> 8, head.length & 255]);
      frame.set(head, 2);
      frame.set(payload, 2 + head.length);
      this.socket.socket.send(frame);
    }

    async receive() {
      const data = await this.socket.receive();
      if (typeof data === "string") return JSON.parse(data);
      const frame = new Uint8Array(data);
      const end = 2 + frame[0] * 256 + frame[1];
      return { ...JSON.parse(decoder.decode(frame.subarray(2, end))), data: Array.from(frame.subarray(end)) };
    }

    async next() {
      return this.waiting.shift() ?? (await this.receive());
    }

    async ask(type, members = {}) {
      this.ids += 1;
      const id = this.ids;
      this.send({ type, id, ...members });
      return await this.answer(id);
    }

    async answer(id) {
      const known = this.waiting.findIndex((message) => message.id === id);
      if (known >= 0) return this.waiting.splice(known, 1)[0];
      for (;;) {
        const message = await this.receive();
        if (message.id === id) return message;
        this.waiting.push(message);
      }
    }

    async request(type, members) {
      const answer = await this.ask(type, members);
      if (answer.type !== "ok") throw new Error(`${type} was answered by ${JSON.stringify(answer)}`);
      return answer;
    }

    async refused(type, members) {
      const answer = await this.ask(type, members);
      if (answer.type !== "error") throw new Error(`${type} was answered by ${JSON.stringify(answer)}`);
      return answer.code;
    }

    async publications(count) {
      const found = [];
      while (found.length < count) {
        const message = await this.next();
        if (message.type !== "message") throw new Error(`found ${JSON.stringify(message)} instead of a publication`);
        found.push(message.data);
      }
      return found;
    }

    close() {
      return this.socket.close(1000);
    }
  }

  const room = () => `room:${Math.random().toString(36).slice(2)}${Date.now()}`;

  async function subscribed(server, channel, members = {}, options = {}) {
    const client = await Client.open(server, options);
    client.subscription = await client.request("subscribe", { channel, ...members });
    return client;
  }

  /** Two sockets in a raw room. Each has heard its own name: nothing else tells a raw client that it is in the room. */
  async function there(url) {
    const one = await new Socket(url).opened;
    const two = await new Socket(url).opened;
    const names = [room(), room()];
    for (const [i, socket] of [one, two].entries()) {
      socket.socket.send(names[i]);
      while ((await socket.receive()) !== names[i]);
    }
    while ((await one.receive()) !== names[1]);
    return [one, two];
  }

  const withToken = (token) => ({ protocols: ["switchboard.v1.json", `switchboard.token.${token}`] });

  return {
    async "welcome and subprotocol"(server) {
      const client = await Client.open(server);
      equal([client.welcome.version, client.socket.socket.protocol], [1, "switchboard.v1.json"]);
      equal((await client.close()).code, 1000);
    },

    async "without a subprotocol"(server) {
      const client = await Client.open(server, { protocols: [] });
      equal(client.socket.socket.protocol, "");
      await client.close();
    },

    async "two clients in one room see the same, in order"(server) {
      const channel = room();
      const [one, two] = [await subscribed(server, channel), await subscribed(server, channel)];
      for (let i = 0; i < 50; i += 1) (i % 2 ? one : two).send({ type: "publish", channel, data: { i, text: "κόσμε — 🌍" } });
      const [seen, same] = [await one.publications(50), await two.publications(50)];
      equal(seen, same);
      equal(seen.map(({ i }) => i).sort((a, b) => a - b), Array.from({ length: 50 }, (_, i) => i));
      await one.close();
      await two.close();
    },

    async "history"(server) {
      const channel = room();
      const client = await Client.open(server);
      for (let i = 0; i < 5; i += 1) await client.request("publish", { channel, data: i });
      const { publications, more } = await client.request("history", { channel, limit: 2 });
      equal([publications.map(({ data }) => data), more], [[3, 4], true]);
      await client.close();
    },

    async "resume replays what was missed"(server) {
      const channel = room();
      const before = await subscribed(server, channel);
      const { position } = before.subscription;
      await before.close();
      const other = await Client.open(server);
      for (let i = 0; i < 10; i += 1) await other.request("publish", { channel, data: i });
      const client = await subscribed(server, channel, { since: position });
      equal(client.subscription.recovered, true);
      equal(await client.publications(10), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      equal(await client.next(), { type: "caught_up", channel });
      await other.request("publish", { channel, data: "live" });
      equal(await client.publications(1), ["live"]);
      await client.close();
      await other.close();
    },

    async "resume from another epoch is not recovered"(server) {
      const channel = room();
      const client = await subscribed(server, channel, { since: { epoch: "another", offset: 0 } });
      equal(client.subscription.recovered, false);
      await client.close();
    },

    async "presence, join and leave"(server) {
      const channel = room();
      const ann = await subscribed(server, channel, { presence: true }, withToken(server.tokens.ann));
      equal(ann.subscription.users.map(({ user }) => user), ["ann"]);
      const bob = await subscribed(server, channel, {}, withToken(server.tokens.bob));
      equal((await ann.next()).type, "join");
      const { users } = await ann.request("presence", { channel });
      equal(users.map(({ user }) => user).sort(), ["ann", "bob"]);
      await bob.close();
      const { type, user } = await ann.next();
      equal([type, user], ["leave", "bob"]);
      await ann.close();
    },

    async "a token in the first message"(server) {
      const client = await Client.open(server);
      equal(await client.refused("authenticate", { token: "garbage" }), "bad_token");
      await client.close();
      const second = await Client.open(server);
      equal((await second.request("authenticate", { token: server.tokens.ann })).user, "ann");
      await second.close();
    },

    async "a bad token in the subprotocol list is refused"(server) {
      const refused = await Client.open(server, withToken("garbage")).then(
        () => false,
        () => true,
      );
      equal(refused, true);
    },

    async "binary frames"(server) {
      const channel = room();
      const [one, two] = [await subscribed(server, channel), await subscribed(server, channel)];
      const payload = Uint8Array.from({ length: 1000 }, (_, i) => i & 255);
      one.sendBinary({ type: "publish", id: "b", channel }, payload);
      equal((await one.answer("b")).type, "ok");
      for (const client of [one, two]) equal(await client.publications(1), [Array.from(payload)]);
      await one.close();
      await two.close();
    },

    async "batch"(server) {
      const channel = room();
      const client = await Client.open(server, { path: "/ws?batch=1" });
      const publish = Array.from({ length: 20 }, (_, i) => ({ type: "publish", channel, data: i }));
      client.send({ type: "batch", messages: [{ type: "subscribe", id: "s", channel }, ...publish] });
      equal((await client.answer("s")).type, "ok");
      const found = [];
      while (found.length < 20) {
        const message = await client.next();
        for (const one of message.messages ?? [message]) found.push(one.data);
      }
      equal(found, publish.map(({ data }) => data));
      await client.close();
    },

    async "errors are answers, and the connection lives"(server) {
      const channel = room();
      const client = await Client.open(server);
      equal(await client.refused("shout"), "unknown_type");
      equal(await client.refused("publish", { data: 1 }), "bad_request");
      equal(await client.refused("subscribe", { channel: "no#hash" }), "bad_channel");
      equal(await client.refused("unsubscribe", { channel }), "not_subscribed");
      client.socket.socket.send("{");
      equal((await client.next()).code, "bad_json");
      equal((await client.ask("ping")).type, "pong");
      await client.close();
    },

    async "a message too large is 1009"(server) {
      const client = await Client.open(server);
      client.send({ type: "publish", channel: room(), data: "x".repeat(65536) });
      equal((await client.socket.closed).code, 1009);
    },

    async "raw rooms: text and binary"(server) {
      const path = `/raw/${room()}`;
      const [one, two] = await there(server.base + path);
      one.socket.send("κόσμε — 🌍");
      for (const socket of [one, two]) equal(await socket.receive(), "κόσμε — 🌍");
      two.socket.send(Uint8Array.of(0, 255, 16));
      for (const socket of [one, two]) equal(Array.from(new Uint8Array(await socket.receive())), [0, 255, 16]);
      equal((await one.close(1000)).code, 1000);
      await two.close(4000, "done");
    },

    async "chat needs nothing but an address"(server) {
      const text = room();
      const [one, two] = await there(`${server.base}/chat`);
      one.socket.send(text);
      for (const socket of [one, two]) equal(await socket.receive(), text);
      await one.close();
      await two.close();
    },

    async "raw and native meet"(server) {
      const channel = room();
      const raw = await new Socket(`${server.base}/raw/${channel}`).opened;
      const native = await subscribed(server, channel);
      raw.socket.send("from the raw side");
      equal(await native.publications(1), ["from the raw side"]);
      equal(await raw.receive(), "from the raw side");
      await native.request("publish", { channel, data: { n: 1 } });
      equal(JSON.parse(await raw.receive()), { n: 1 });
      await raw.close();
      await native.close();
    },
  };
})();
