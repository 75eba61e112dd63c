// A server of paper for working on the page without building the real one: `npm run dev`, after `npm run build`. It serves the built page
// and speaks as much of docs/reference/native-protocol.md as the page uses. No limits, no checks, no memory beyond 100 publications.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname } from "node:path";
import { WebSocketServer } from "ws";

const PUBLIC_PORT = Number(process.env.PUBLIC_PORT ?? 8080);
const ADMIN_PORT = Number(process.env.ADMIN_PORT ?? 8081);
const ASSETS = new URL("../../crates/server/assets/console/", import.meta.url);
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const POLICY = "default-src 'self'; connect-src 'self' ws: wss: http: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HISTORY_MAX = 100;

const started = Date.now();
const epoch = `e${started}`;
const channels = new Map();
const totals = { messages_in: 0, messages_out: 0, bytes_in: 0, bytes_out: 0, errors: 0 };
let sessions = 0;

function channelOf(name) {
  if (!channels.has(name)) channels.set(name, { name, offset: 0, history: [], members: new Map() });
  return channels.get(name);
}

function publish(channel, data, user, excluded) {
  channel.offset += 1;
  const publication = { data, offset: channel.offset, timestamp: Date.now(), ...(user && { publisher: { user } }) };
  channel.history = [...channel.history, publication].slice(-HISTORY_MAX);
  for (const member of channel.members.keys()) if (member !== excluded) member.deliver(channel, publication);
  return position(channel);
}

const position = (channel) => ({ epoch, offset: channel.offset });

function usersOf(channel) {
  const users = new Map();
  for (const { user } of channel.members.keys()) users.set(user, (users.get(user) ?? 0) + 1);
  return [...users].map(([user, connections]) => ({ user, connections }));
}

function tell(channel, type, user, self) {
  for (const [member, { presence }] of channel.members) if (presence && member !== self) member.send({ type, channel: channel.name, user });
}

class Native {
  constructor(socket) {
    this.socket = socket;
    this.user = `guest-0-${++sessions}`;
    const limits = { message_bytes: 65_536, channels: 128, channel_name_bytes: 200 };
    this.send({ type: "welcome", session: `0-${sessions}`, version: 1, user: this.user, heartbeat_ms: 25_000, limits });
    socket.on("message", (data, binary) => this.receive(data, binary));
    socket.on("close", () => [...channels.values()].forEach((channel) => this.leave(channel)));
  }

  send(message) {
    const text = JSON.stringify(message);
    totals.bytes_out += text.length;
    this.socket.send(text);
  }

  deliver(channel, publication) {
    totals.messages_out += 1;
    this.send({ type: "message", channel: channel.name, ...publication });
  }

  leave(channel) {
    if (!channel.members.delete(this)) return false;
    if (!usersOf(channel).some(({ user }) => user === this.user)) tell(channel, "leave", this.user);
    return true;
  }

  receive(data, binary) {
    totals.messages_in += 1;
    totals.bytes_in += data.length;
    let message;
    try {
      message = JSON.parse(binary ? data.subarray(2, 2 + data.readUInt16BE()) : data);
    } catch {
      return this.refuse(undefined, "bad_json", "a message must be a JSON object");
    }
    this.handle(message);
  }

  refuse(id, code, text) {
    totals.errors += 1;
    this.send({ type: "error", id, code, message: text, temporary: false });
  }

  handle({ type, id, channel: name, since, ...rest }) {
    const ok = (members) => this.send({ type: "ok", id, ...members });
    if (["subscribe", "unsubscribe", "publish", "presence", "history"].includes(type) && typeof name !== "string") {
      return this.refuse(id, "bad_request", '"channel" is missing');
    }
    const channel = name === undefined ? undefined : channelOf(name);
    switch (type) {
      case "authenticate":
        this.user = rest.token.split(".")[1];
        return ok({ user: this.user });
      case "subscribe": {
        const missed = since?.epoch === epoch ? channel.history.filter(({ offset }) => offset > since.offset) : null;
        const isNew = !usersOf(channel).some(({ user }) => user === this.user);
        channel.members.set(this, { presence: rest.presence === true });
        ok({ channel: name, position: position(channel), ...(since && { recovered: missed !== null }), ...(rest.presence && { users: usersOf(channel) }) });
        if (isNew) tell(channel, "join", this.user, this);
        for (const publication of missed ?? []) this.deliver(channel, publication);
        if (missed) this.send({ type: "caught_up", channel: name });
        return;
      }
      case "unsubscribe":
        return this.leave(channel) ? ok({ channel: name }) : this.refuse(id, "not_subscribed", `not subscribed to channel '${name}'`);
      case "publish": {
        const at = publish(channel, rest.data, this.user, rest.exclude_self ? this : null);
        return id === undefined ? undefined : ok({ channel: name, position: at });
      }
      case "presence":
        return ok({ channel: name, users: usersOf(channel), connections: channel.members.size });
      case "history":
        return ok({ channel: name, position: position(channel), publications: channel.history.slice(-(rest.limit ?? 100)), more: false });
      case "batch":
        return rest.messages.forEach((one) => this.handle(one));
      case "ping":
        return this.send({ type: "pong", id });
      case "pong":
        return;
      default:
        return this.refuse(id, "unknown_type", `unknown type ${JSON.stringify(type)}`);
    }
  }
}

class Raw {
  constructor(socket, name) {
    const channel = channelOf(name);
    this.socket = socket;
    this.user = `guest-0-${++sessions}`;
    channel.members.set(this, { presence: false });
    tell(channel, "join", this.user);
    socket.on("message", (data) => publish(channel, String(data), this.user));
    socket.on("close", () => channel.members.delete(this) && tell(channel, "leave", this.user));
  }

  send() {}

  deliver(_, { data }) {
    totals.messages_out += 1;
    this.socket.send(typeof data === "string" ? data : JSON.stringify(data));
  }
}

const publicServer = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  if (request.method !== "POST" || request.url !== "/api/v1/publish") return response.writeHead(404).end();
  const { channel, data } = JSON.parse(body);
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ channel, position: publish(channelOf(channel), data) }));
});
const sockets = new WebSocketServer({ server: publicServer });
sockets.on("connection", (socket, { url }) => {
  const path = decodeURIComponent(url.split("?")[0]);
  if (path === "/chat") new Raw(socket, "chat");
  else if (path.startsWith("/raw/")) new Raw(socket, path.slice(5));
  else new Native(socket);
});

const api = {
  "/api/console/info": () => ({
    version: "0.1.0",
    development: true,
    started_at: started,
    addresses: {
      ws: `ws://127.0.0.1:${PUBLIC_PORT}/ws`,
      raw: `ws://127.0.0.1:${PUBLIC_PORT}/raw/`,
      chat: `ws://127.0.0.1:${PUBLIC_PORT}/chat`,
      api: `http://127.0.0.1:${PUBLIC_PORT}/api/v1`,
      admin: `http://127.0.0.1:${ADMIN_PORT}`,
    },
    apps: [{ id: "dev", key: "a6c1f0d2", default: true, anonymous: true }],
    api_key: "sk-made-of-paper",
    token: null,
  }),
  "/api/console/stats": () => {
    const members = [...channels.values()].map((channel) => channel.members.size);
    const subscriptions = members.reduce((sum, size) => sum + size, 0);
    const connections = sockets.clients.size;
    const shards = [{ connections }, { connections: 0 }];
    const uptime_ms = Date.now() - started;
    return { now: Date.now(), uptime_ms, connections, sessions: connections, channels: members.length, subscriptions, ...totals, dialects: { native: connections }, shards, ready: true };
  },
  "/api/console/token": (body) => ({ token: `paper.${JSON.parse(body).user}.${"0123456789".repeat(12)}`, expires_at: Date.now() + 3_600_000 }),
};

createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const answer = api[request.url];
  if (answer) return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer(body)));
  const name = request.url === "/" ? "index.html" : request.url.slice(1).replaceAll("..", "");
  try {
    const text = readFileSync(new URL(name, ASSETS));
    response.writeHead(200, { "content-type": TYPES[extname(name)], "content-security-policy": POLICY }).end(text);
  } catch {
    response.writeHead(404).end();
  }
}).listen(ADMIN_PORT, "127.0.0.1");
publicServer.listen(PUBLIC_PORT, "127.0.0.1", () => console.log(`http://127.0.0.1:${ADMIN_PORT}/`));
