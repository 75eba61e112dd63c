// The client under orders, as conformance/client/README.md has them. Runs in Node and in a page; how orders come and where what is told goes is
// for others.

import { Client, RequestError, TokenDenied, type ClientOptions, type ConnectionEvent, type Data, type Message, type Signal, type Subscription, type SubscriptionEvent } from "../src/index.js";

export interface Order {
  op: string;
  ref: string;
  channel: string;
  [name: string]: any;
}

/** What differs between the places in which it runs. */
export interface Place {
  say(event: object): void;
  readonly options: ClientOptions;
}

let place: Place;
let client: Client | null = null;
let subscriptions = new Map<string, Subscription>();
/** Events of an earlier transcript are nobody's. */
let generation = 0;

export function begin(at: Place): void {
  place = at;
}

function say(event: object): void {
  place.say(event);
}

/** Does what is ordered. The client has it when this is done. */
export async function obey(order: Order): Promise<void> {
  const { op, ref, channel, since, before, limit } = order;
  switch (op) {
    case "start":
      return start(order);
    case "stop":
      generation += 1;
      void client?.close();
      client = null;
      return;
    case "close":
      return void client?.close();
    case "reconnect_now":
      return client?.connect();
    case "subscribe":
      return subscribe(order);
    case "read":
      return void read(ref);
    case "unsubscribe":
      return subscriptions.get(ref)?.unsubscribe();
    case "publish":
      return publish(order);
    case "signal":
      return answer(ref, client?.signal(channel, order.session === undefined ? { user: order.user } : { session: order.session }, order.data, { event: order.name }), (told) => told);
    case "presence":
      return answer(ref, client?.presence(channel, { limit }), (presence) => presence);
    case "history":
      return answer(ref, client?.history(channel, { since, before, limit }), ({ messages, ...more }) => ({ ...more, messages: messages.map(shown) }));
    default:
      throw new Error(`there is no order "${op}"`);
  }
}

const CONFIG: { [name: string]: keyof ClientOptions } = {
  backoff_base_ms: "backoffBase",
  backoff_max_ms: "backoffMax",
  stable_after_ms: "stableAfter",
  welcome_timeout_ms: "connectTimeout",
  request_timeout_ms: "requestTimeout",
  queue_timeout_ms: "queueTimeout",
  queue_requests_max: "queueRequestsMax",
  queue_bytes_max: "queueBytesMax",
  queue_overflow: "queueOverflow",
  in_flight_max: "inFlightMax",
  heartbeat_grace_ms: "heartbeatGrace",
  inbox_events_max: "inboxEventsMax",
};

function start({ url, config, token, tokens }: Order): void {
  const options: ClientOptions = { ...place.options };
  for (const [name, value] of Object.entries(config)) Object.assign(options, { [CONFIG[name] ?? name]: value });
  if (token) options.token = token;
  if (tokens) options.token = () => fresh(tokens.shift());
  const own = ++generation;
  subscriptions = new Map();
  client = new Client(url, options);
  const types: ConnectionEvent["type"][] = ["connecting", "connected", "disconnected", "refresh_failed", "ended"];
  for (const type of types) client.on(type, (event) => own === generation && say(about(event)));
}

function fresh(token: string | { temporary?: string; denied?: string } | undefined): string {
  if (typeof token === "string") return token;
  if (token?.denied) throw new TokenDenied(token.denied);
  throw new Error(token?.temporary ?? "there are no more tokens");
}

function about(event: ConnectionEvent): object {
  switch (event.type) {
    case "disconnected":
      return { event: "disconnected", ...event.cause, cause: event.cause.kind, retry_in_ms: event.retryIn };
    case "ended":
      return { event: "ended", ...event.ended, why: event.ended.kind };
    default:
      return { ...event, event: event.type };
  }
}

function subscribe({ ref, channel, pattern, since, presence, rate, cached, hold }: Order): void {
  const own = generation;
  try {
    const subscription = pattern ? client?.subscribePattern(pattern) : client?.subscribe(channel, { since, presence, rate, cached });
    if (!subscription) return;
    subscriptions.set(ref, subscription);
    subscription.ready.then(
      (subscribed) => {
        if (own !== generation) return;
        say({ event: "subscribed", ref, ...subscribed });
        if (!hold) void read(ref);
      },
      (error: RequestError) => own === generation && say({ event: "refused", ref, code: error.code ?? error.kind }),
    );
  } catch (error) {
    say({ event: "refused", ref, code: (error as RequestError).code ?? (error as RequestError).kind });
  }
}

async function read(ref: string): Promise<void> {
  const own = generation;
  for await (const event of subscriptions.get(ref) ?? []) if (own === generation) say({ ref, ...told(event), event: event.type });
}

function told(event: SubscriptionEvent): object {
  if (event.type === "message") return shown(event.message);
  if (event.type === "signal") return shownSignal(event.signal);
  if (event.type === "join" || event.type === "leave") return event.member;
  if (event.type !== "unsubscribed") return event;
  const { why } = event;
  return { why: why.kind, code: why.kind === "by_server" ? why.code : why.kind === "refused" ? why.refusal.code : undefined };
}

function shown({ data, event, ...more }: Message): object {
  return { ...more, ...payload(data), name: event };
}

function shownSignal({ data, event, ...more }: Signal): object {
  return { ...more, ...payload(data), name: event };
}

function payload(data: Data): object {
  return data instanceof Uint8Array ? { bytes: [...data].map((byte) => byte.toString(16).padStart(2, "0")).join("") } : { data };
}

function publish(order: Order): void {
  const { ref, channel, data, bytes, name, key, exclude_self, idempotency_key, if_position, cache } = order;
  const payload = bytes === undefined ? data : Uint8Array.from((bytes as string).match(/../g) ?? [], (pair) => parseInt(pair, 16));
  const more = { event: name, key, excludeSelf: exclude_self, idempotencyKey: idempotency_key, ifPosition: if_position, cache };
  answer(ref, client?.publish(channel, payload, more), (published) => published);
}

function answer<T extends object>(ref: string, asked: Promise<T> | undefined, show: (answer: T) => object): void {
  const own = generation;
  asked?.then(
    (answer) => own === generation && say({ event: "answer", ref, ...show(answer) }),
    (error: RequestError) => own === generation && say({ event: "failed", ref, kind: error.kind, code: error.code, position: error.position }),
  );
}
