// Plain HTTP in place of a connection, against a model of the server's addresses. The real ones are in conformance/client/outages.mjs.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Client, RequestError, type ClientOptions, type SubscriptionEvent } from "../src/index.js";

type Way = "stream" | "poll";

/** A server of one epoch whose history goes back to `kept`. */
class Model {
  readonly log = new Map<string, { data: unknown; encoding?: string }[]>();
  readonly asked: string[] = [];
  readonly tokens: (string | null)[] = [];
  readonly keys = new Set<string>();
  kept = 0;
  token: string | null = null;
  down = false;
  mute = false;
  /** Publishes, and says that it could not. */
  confused = false;
  /** How long each publication takes. */
  delays: number[] = [];
  private readonly waiting = new Set<(error?: Error) => void>();
  private readonly streams = new Set<ReadableStreamDefaultController<Uint8Array>>();

  publish(channel: string, data: unknown, encoding?: string): number {
    if (!this.log.has(channel)) this.log.set(channel, []);
    const offset = this.log.get(channel)!.push({ data, ...(encoding && { encoding }) });
    for (const wake of [...this.waiting]) wake();
    return offset;
  }

  /** Every answer that is on its way. */
  break(): void {
    this.breakStreams();
    for (const wake of [...this.waiting]) wake(new Error("reset"));
  }

  private breakStreams(): void {
    for (const stream of this.streams) stream.error(new Error("reset"));
    this.streams.clear();
  }

  fetch = async (address: string, init: RequestInit): Promise<Response> => {
    const url = new URL(address);
    const token = new Headers(init.headers).get("authorization")?.slice("Bearer ".length) ?? null;
    this.asked.push(`${init.method ?? "GET"} ${url.pathname}${url.search}`);
    this.tokens.push(token);
    if (this.down) throw new TypeError("connection refused");
    if (token !== this.token) return refuse(401, "bad_token", "the token is expired");
    if (init.method === "POST") return this.post(url.pathname, JSON.parse(String(init.body)));
    return url.pathname.endsWith("/stream") ? this.stream(url, init.signal!) : this.poll(url, init.signal!);
  };

  private async post(path: string, body: any): Promise<Response> {
    if (body.channel === "") return refuse(400, "bad_channel", "channel name is empty");
    if (body.channel === "secret") return refuse(403, "permission_denied", "no right");
    const position = () => ({ epoch: "e", offset: this.log.get(body.channel)?.length ?? 0 });
    if (path.endsWith("/presence")) return json({ channel: body.channel, users: [{ user: "ann", connections: 1 }], total: 1, connections: 1 });
    if (path.endsWith("/history")) return json({ channel: body.channel, position: position(), publications: this.messages(body.channel, 0), more: false });
    await new Promise((resolve) => setTimeout(resolve, this.delays.shift() ?? 0));
    const duplicate = this.keys.has(body.idempotency_key);
    this.keys.add(body.idempotency_key);
    if (!duplicate) this.publish(body.channel, body.data, body.encoding);
    if (this.confused) return refuse(503, "unavailable", "the server is shutting down");
    return json({ channel: body.channel, position: position(), ...(duplicate && { duplicate }) });
  }

  private messages(channel: string, after: number): object[] {
    const log = this.log.get(channel) ?? [];
    return log.map((one, index) => ({ type: "message", channel, ...one, offset: index + 1, timestamp: 1 })).slice(after);
  }

  /** Where each channel of the address stands, and whether that can be recovered. */
  private places(url: URL): { channel: string; at: number; recovered: boolean }[] {
    const since = (url.searchParams.get("since") ?? "").split(",");
    return url.searchParams.getAll("channel").map((channel, index) => {
      const offset = since[index] ? Number(since[index]!.split(":")[1]) : null;
      const recovered = offset !== null && offset >= this.kept;
      return { channel, at: recovered ? offset : (this.log.get(channel)?.length ?? 0), recovered };
    });
  }

  private async poll(url: URL, signal: AbortSignal): Promise<Response> {
    if (url.searchParams.getAll("channel").includes("secret")) return refuse(403, "permission_denied", "no right");
    const places = this.places(url);
    const missed = () => places.flatMap(({ channel, at }) => this.messages(channel, at));
    if (url.searchParams.get("wait") !== "0" && missed().length === 0) await this.next(signal);
    const messages = missed();
    const channels = places.map(({ channel, recovered }) => ({ channel, position: { epoch: "e", offset: this.log.get(channel)?.length ?? 0 }, recovered }));
    return json({ messages, cursor: "", recovered: true, channels });
  }

  private stream(url: URL, signal: AbortSignal): Response {
    const encoder = new TextEncoder();
    const places = this.places(url);
    const body = new ReadableStream<Uint8Array>({
      start: async (controller) => {
        this.streams.add(controller);
        if (this.mute) return;
        const say = (message: object) => this.streams.has(controller) && controller.enqueue(encoder.encode(`${JSON.stringify(message)}\n`));
        say({ type: "welcome", session: "0-1", user: "ann", heartbeat_ms: 25_000 });
        for (const pattern of url.searchParams.getAll("pattern")) say({ type: "subscribed", pattern });
        for (const { channel, recovered } of places) {
          const users = url.searchParams.get("presence") ? { users: [{ user: "ann" }, { user: "bob" }] } : {};
          say({ type: "subscribed", channel, position: { epoch: "e", offset: this.log.get(channel)?.length ?? 0 }, recovered, ...users });
        }
        while (!signal.aborted && this.streams.has(controller)) {
          for (const place of places) {
            for (const message of this.messages(place.channel, place.at)) say(message);
            place.at = this.log.get(place.channel)?.length ?? 0;
          }
          await this.next(signal).catch(() => {});
        }
      },
    });
    signal.addEventListener("abort", () => this.breakStreams());
    return new Response(body, { headers: { "content-type": "application/x-ndjson" } });
  }

  private next(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = (error?: Error) => {
        this.waiting.delete(wake);
        if (error) reject(error);
        else resolve();
      };
      this.waiting.add(wake);
      signal.addEventListener("abort", () => {
        this.waiting.delete(wake);
        reject(new DOMException("aborted", "AbortError"));
      });
    });
  }
}

function json(body: object): Response {
  return new Response(JSON.stringify(body));
}

function refuse(status: number, code: string, message: string): Response {
  return new Response(JSON.stringify({ error: { code, message, temporary: false } }), { status });
}

const clients: Client[] = [];
// A client goes on, whatever becomes of its test.
afterEach(() => Promise.all(clients.splice(0).map((client) => client.close())));

function begun(way: Way, options: ClientOptions = {}) {
  const model = new Model();
  const client = new Client("ws://host/at/ws/KEY", { fetch: model.fetch, transports: [way], backoffBase: 1, ...options });
  clients.push(client);
  return { model, client };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, "in 10 s");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function follow(client: Client, channel: string, options = {}) {
  const events: SubscriptionEvent[] = [];
  const subscription = client.subscribe(channel, options);
  subscription.on("event", (event) => events.push(event));
  const told = () => events.map((event) => (event.type === "message" ? JSON.stringify(event.message.data) : event.type));
  return { subscription, events, told };
}

for (const way of ["stream", "poll"] as const) {
  test(`${way}: what is published arrives, from here and from elsewhere`, async () => {
    const { model, client } = begun(way);
    model.publish("a", "before");
    const { subscription, told } = follow(client, "a");
    assert.deepEqual((await subscription.ready).position, { epoch: "e", offset: 1 });
    assert.deepEqual(await client.publish("a", 1), { position: { epoch: "e", offset: 2 }, duplicate: false });
    model.publish("a", "AP8=", "base64");
    await until(() => told().length === 2);
    assert.deepEqual(told(), ["1", JSON.stringify(Uint8Array.of(0, 255))]);
    assert.equal(client.state.kind === "online" && client.state.transport, way);
    assert.ok(model.asked.every((one) => / \/at\/(client\/v1\/\w+|stream|poll)\?.*app=KEY/.test(one)), model.asked.join("\n"));
    assert.equal((await client.history("a")).messages.length, 3);
    assert.equal((await client.presence("a")).connections, 1);
    await assert.rejects(client.publish("secret", 1), (error: RequestError) => error.code === "permission_denied");
  });

  test(`${way}: who comes back gets what was missed, once`, async () => {
    const { model, client } = begun(way);
    for (let n = 1; n <= 3; n += 1) model.publish("a", n);
    const { told, subscription } = follow(client, "a", { since: { epoch: "e", offset: 1 } });
    await until(() => told().includes("caught_up"));
    model.publish("a", 4);
    await until(() => told().includes("4"));
    model.down = true;
    model.break();
    model.publish("a", 5);
    await until(() => client.state.kind === "waiting");
    model.down = false;
    await until(() => told().filter((one) => one === "caught_up").length === 2);
    model.publish("a", 6);
    await until(() => told().includes("6"));
    assert.deepEqual(told(), ["recovered", "2", "3", "caught_up", "4", "recovered", "5", "caught_up", "6"]);
    assert.deepEqual(subscription.position, { epoch: "e", offset: 6 });
  });

  test(`${way}: what is gone is told`, async () => {
    const { model, client } = begun(way);
    for (let n = 1; n <= 3; n += 1) model.publish("a", n);
    model.kept = 2;
    const { told, subscription } = follow(client, "a", { since: { epoch: "e", offset: 1 } });
    assert.equal((await subscription.ready).recovered, false);
    model.publish("a", 4);
    await until(() => told().includes("4"));
    assert.deepEqual(told(), ["lost", "4"]);
  });

  test(`${way}: another channel does not disturb the first, and a refused one nobody`, async () => {
    const { model, client } = begun(way);
    const first = follow(client, "a");
    await first.subscription.ready;
    model.publish("a", 1);
    await until(() => first.told().includes("1"));
    const refused = client.subscribe("secret");
    await assert.rejects(refused.ready, (error: RequestError) => error.code === "permission_denied");
    const second = follow(client, "b");
    model.publish("a", 2);
    await second.subscription.ready;
    for (const channel of ["a", "b"]) model.publish(channel, 3);
    await until(() => second.told().includes("3") && first.told().includes("3"));
    assert.deepEqual([first.told(), second.told()], [["1", "2", "3"], ["3"]]);
    first.subscription.unsubscribe();
    model.publish("b", 4);
    await until(() => second.told().includes("4"));
  });

  test(`${way}: a token is shown in the head, and one that is refused is followed by another`, async () => {
    const { model, client } = begun(way, { token: () => `T${(fetched += 1)}` });
    let fetched = 0;
    model.token = "T2";
    const { subscription } = follow(client, "a");
    await subscription.ready;
    assert.deepEqual([...new Set(model.tokens)], ["T1", "T2"]);
    const guest = begun(way);
    guest.model.token = "T";
    await assert.rejects(guest.client.connected(), (error: RequestError) => error.kind === "ended" && /expired/.test(error.message));
  });
}

test("publications to a channel do not overtake each other, and each has a key", async () => {
  const { model, client } = begun("stream");
  model.delays = [30, 0, 10, 0];
  await Promise.all([1, 2, 3, 4].map((n) => client.publish("a", n)));
  assert.deepEqual(model.log.get("a")?.map(({ data }) => data), [1, 2, 3, 4]);
  assert.equal(model.keys.size, 4);
  const once = () => client.publish("a", 5, { idempotencyKey: "k" });
  assert.deepEqual([(await once()).duplicate, (await once()).duplicate], [false, true]);
});

test("a server that could not is not believed: what has a key is published again, of the other nothing is known", async () => {
  const { model, client } = begun("poll");
  model.confused = true;
  await assert.rejects(client.publish("a", 1), { kind: "interrupted" });
  const once = client.publish("a", 2, { idempotencyKey: "k" });
  await until(() => model.keys.has("k"));
  model.confused = false;
  assert.equal((await once).duplicate, true);
  assert.deepEqual(model.log.get("a")?.map(({ data }) => data), [1, 2]);
});

test("stream: who came while nobody listened is told", async () => {
  const { client } = begun("stream");
  const { subscription, events } = follow(client, "a", { presence: true });
  assert.deepEqual((await subscription.ready).users, [{ user: "ann", connections: 1 }]);
  await until(() => events.length > 0);
  assert.deepEqual(events, [{ type: "join", member: { user: "bob" } }]);
});

test("stream: a pattern is confirmed by the stream", async () => {
  const { client } = begun("stream");
  assert.deepEqual(await client.subscribePattern("a/+").ready, { position: null, recovered: null, users: [] });
});
