// What the backends of the examples have in common: routes over HTTP for the page, calls of Switchboard's HTTP API, and tokens. Nothing but Node: in an
// application these few lines are a web framework, a library for JWTs and its own session.

import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const { SWITCHBOARD_URL, SWITCHBOARD_API_KEY, SWITCHBOARD_SECRET } = process.env;

/** An answer that is no success, for the page to show. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Serves `{ "POST /path": async (body, request) => answer }`; bodies and answers are JSON; a GET has its
 * parameters for a body. Any page may ask: on loopback, and with tokens rather than
 * cookies, there is nothing that a foreign page could steal.
 */
export function serve(routes) {
  const server = createServer(async (request, response) => {
    response.setHeader("access-control-allow-origin", "*");
    if (request.method === "OPTIONS") {
      response.setHeader("access-control-allow-headers", "authorization, content-type");
      return response.writeHead(204).end();
    }
    let [status, answer] = [200, null];
    try {
      const { pathname, searchParams } = new URL(request.url, "http://backend");
      const route = routes[`${request.method} ${pathname}`];
      if (!route) throw new Refused(404, "there is nothing here");
      answer = (await route(request.method === "POST" ? await bodyOf(request) : Object.fromEntries(searchParams), request)) ?? {};
    } catch (error) {
      if (!(error instanceof Refused)) console.error(error);
      [status, answer] = [error.status ?? 500, { error: error instanceof Refused ? error.message : "the backend has failed" }];
    }
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer));
  });
  server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => console.log(`listens on http://127.0.0.1:${server.address().port}`));
}

async function bodyOf(request) {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > BODY_MAX) throw new Refused(413, "the request is too large");
  }
  try {
    const body = JSON.parse(text || "{}");
    if (body !== null && typeof body === "object") return body;
  } catch {
    // Told below, as any other text that is no object.
  }
  throw new Refused(400, "the body is no JSON object");
}

const BODY_MAX = 64 * 1024;

/**
 * Calls the HTTP API: `await api("publish", { channel, data })`. Without an answer, or when it says that it cannot just now, it asks again until it can: a
 * publication has an idempotency key, so that it is published once however often it was sent.
 */
export async function api(method, body) {
  const once = method === "publish" || method === "send_to_user" ? { idempotency_key: randomUUID(), ...body } : body;
  for (let attempt = 0; ; attempt += 1) {
    const said = await ask(method, once).catch((error) => ({ error: { message: error.message, temporary: true } }));
    if (!said.error) return said;
    if (!said.error.temporary) throw Object.assign(new Error(`${method}: ${said.error.message}`), said.error);
    await new Promise((resume) => setTimeout(resume, Math.random() * Math.min(2_000, 50 * 2 ** attempt)));
  }
}

async function ask(method, body) {
  const headers = { authorization: `Bearer ${SWITCHBOARD_API_KEY}`, "content-type": "application/json" };
  const answer = await fetch(`${SWITCHBOARD_URL}/api/v1/${method}`, { method: "POST", headers, body: JSON.stringify(body), signal: AbortSignal.timeout(5_000) });
  return answer.json();
}

/** A token for a user of the page; `channels` says what it may do. */
export function token(user, channels, { info, ttlSeconds = 3600 } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: user, iat: now, exp: now + ttlSeconds, channels, ...(info && { info }) };
  const unsigned = [{ alg: "HS256", typ: "JWT" }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${unsigned}.${signature(unsigned)}`;
}

/** The user whose token a request carries: who may talk to Switchboard with it may talk to this backend. */
export function userOf(request) {
  const [, given = ""] = /^Bearer (.+)$/.exec(request.headers.authorization ?? "") ?? [];
  const at = given.lastIndexOf(".");
  const [expected, found] = [Buffer.from(signature(given.slice(0, at))), Buffer.from(given.slice(at + 1))];
  if (at < 0 || expected.length !== found.length || !timingSafeEqual(expected, found)) throw new Refused(401, "this takes a token");
  const { sub, exp } = JSON.parse(Buffer.from(given.split(".")[1], "base64url"));
  if (exp * 1000 < Date.now()) throw new Refused(401, "the token has expired");
  return sub;
}

const signature = (unsigned) => createHmac("sha256", SWITCHBOARD_SECRET).update(unsigned).digest("base64url");

/** A member of a body that has to be a text of 1 to `max` characters. */
export function text(body, name, max = 100) {
  const value = typeof body[name] === "string" ? body[name].trim() : "";
  if (value === "" || value.length > max) throw new Refused(400, `"${name}" has to be a text of 1 to ${max} characters`);
  return value;
}
