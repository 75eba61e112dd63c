// What the admin listener answers about the server. Owns the requests and their failures in words.

import { TokenDenied } from "@switchboard/client";

export interface App {
  id: string;
  key: string;
  default: boolean;
  anonymous: boolean;
}

export interface Info {
  version: string;
  development: boolean;
  /** Milliseconds since 1970. */
  started_at: number;
  addresses: { ws: string; raw: string; chat: string | null; api: string; admin: string };
  apps: App[];
  /** Of the generated development application only. */
  api_key: string | null;
}

/** Counters grow from the server's start. */
export interface Stats {
  /** Milliseconds since 1970. */
  now: number;
  uptime_ms: number;
  connections: number;
  sessions: number;
  channels: number;
  subscriptions: number;
  messages_in: number;
  messages_out: number;
  bytes_in: number;
  bytes_out: number;
  errors: number;
  dialects: { [name: string]: number };
  shards: { connections: number }[];
  ready: boolean;
}

const ANSWER_MS_MAX = 4_000;

export const fetchInfo = () => ask<Info>("api/console/info");
export const fetchStats = () => ask<Stats>("api/console/stats");

/** A token for a user of the development application. Rejects with `TokenDenied` if the server will not give one. */
export async function fetchToken(user: string, app: string): Promise<string> {
  const body = JSON.stringify({ user, app });
  const { token } = await ask<{ token: string }>("api/console/token", { method: "POST", body, headers: { "content-type": "application/json" } });
  return token;
}

async function ask<Answer>(path: string, init: RequestInit = {}): Promise<Answer> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS_MAX) });
  } catch {
    throw new Error("the server does not answer");
  }
  if (response.ok) return response.json();
  const why = await reason(response);
  // What the server understood and will not do, it will not do in a second either.
  const final = response.status >= 400 && response.status < 500 && response.status !== 429;
  throw final && init.method === "POST" ? new TokenDenied(why) : new Error(why);
}

async function reason(response: Response): Promise<string> {
  const text = (await response.text().catch(() => "")).slice(0, 300);
  try {
    const { error } = JSON.parse(text);
    const message = typeof error === "string" ? error : error?.message;
    if (typeof message === "string") return message;
  } catch {
    // Not JSON: the text itself is the reason.
  }
  return text || `the server answered ${response.status}`;
}
