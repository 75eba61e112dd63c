// The server's addresses of plain HTTP (docs/reference/http-clients.md): where they are, how they are asked, and what their answers mean. Knows
// nothing of subscriptions.

import { reasonOf } from "../core/errors.js";
import type { Position } from "../core/types.js";

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** What the server answered, or refused; it is there, in either case. */
export type Answer = { readonly ok: true; readonly body: any } | { readonly ok: false; readonly status: number; readonly error: Refused };

export interface Refused {
  readonly code: string;
  readonly message: string;
  readonly temporary: boolean;
  readonly position?: Position;
}

/** A channel or pattern, and where the client stands on it. */
export interface Place {
  readonly name: string;
  readonly position: Position | null;
}

export class Endpoint {
  token: string | null;
  private readonly base: string;
  private readonly app: string | null;

  constructor(
    url: string,
    token: string | null,
    private readonly fetch: Fetch,
  ) {
    const address = new URL(url);
    address.protocol = address.protocol === "wss:" ? "https:" : "http:";
    // `/ws` and `/ws/KEY`, wherever a proxy has put them.
    const [, folder = "", key] = /^(.*?)\/ws(?:\/([^/]+))?\/?$/.exec(address.pathname) ?? [];
    this.base = `${address.origin}${folder}`;
    this.app = key === undefined ? null : decodeURIComponent(key);
    this.token = token;
  }

  /** `POST /client/v1/{type}`. Rejects only if there was no answer. */
  async post(type: string, members: object, signal: AbortSignal): Promise<Answer> {
    const query = this.app === null ? "" : `?${new URLSearchParams({ app: this.app })}`;
    const init = { method: "POST", body: JSON.stringify(members), headers: this.headers(), signal };
    return answered(await this.fetch(`${this.base}/client/v1/${type}${query}`, init));
  }

  /** `GET`, with these channels and positions. Rejects only if there was no answer. */
  get(path: string, channels: readonly Place[], patterns: readonly string[], more: { [name: string]: string }, signal: AbortSignal): Promise<Response> {
    const query = new URLSearchParams(more);
    if (this.app !== null) query.set("app", this.app);
    for (const { name } of channels) query.append("channel", name);
    for (const pattern of patterns) query.append("pattern", pattern);
    const since = channels.map(({ position }) => (position ? `${position.epoch}:${position.offset}` : ""));
    if (since.some((one) => one !== "")) query.set("since", since.join(","));
    return this.fetch(`${this.base}/${path}?${query}`, { headers: this.headers(), cache: "no-store", signal });
  }

  private headers(): { [name: string]: string } {
    return this.token === null ? {} : { Authorization: `Bearer ${this.token}` };
  }
}

export async function answered(response: Response): Promise<Answer> {
  const text = await response.text();
  let body: any;
  try {
    body = JSON.parse(text);
  } catch (error) {
    return { ok: false, status: response.status, error: { code: "unavailable", message: reasonOf(error), temporary: true } };
  }
  if (response.ok) return { ok: true, body };
  const error = body?.error ?? {};
  const code = typeof error.code === "string" ? error.code : "unavailable";
  const message = typeof error.message === "string" ? error.message : `the server answered ${response.status}`;
  const temporary = error.temporary === true || typeof error.code !== "string";
  return { ok: false, status: response.status, error: { code, message, temporary, ...(error.position && { position: error.position }) } };
}
