// What an application asks, as frames, and the answers to it. Knows nothing of when they travel.

import { reasonOf, RequestError } from "./errors.js";
import type { Request } from "./io.js";
import type { Kind } from "./requests.js";
import type { HistoryPage, Json, Presence } from "./types.js";
import * as wire from "./wire.js";
import type { Frame, Incoming } from "./wire.js";

/** A request as a frame. Throws `RequestError`. */
export function encodeRequest(id: string, request: Request): { frame: Frame; kind: Kind } {
  const why = wire.whyNoChannel(request.channel);
  if (why !== null) throw new RequestError({ kind: "refused", refusal: { code: "bad_channel", message: why, temporary: false } });
  const { type, channel } = request;
  if (type === "presence") return { kind: { type }, frame: wire.encode({ type, id, channel, limit: request.limit }) };
  if (type === "history") {
    const { since, before, limit } = request;
    const frame = wire.encode({ type, id, channel, since: since && { ...since }, before: before && { ...before }, limit });
    return { kind: { type, channel }, frame };
  }
  if (type === "signal") {
    const { event, user, session } = request;
    return { kind: { type }, frame: withData({ type, id, channel, event, user, session }, request.data) };
  }
  const { data, event, key, idempotencyKey, ifPosition, cache } = request;
  const header = {
    type,
    id,
    channel,
    event,
    key,
    exclude_self: request.excludeSelf || undefined,
    idempotency_key: idempotencyKey,
    if_position: ifPosition && { ...ifPosition },
    cache,
  };
  const kind: Kind = { type, once: idempotencyKey !== undefined };
  if (data instanceof Uint8Array) return { kind, frame: wire.encode(header, data) };
  return { kind, frame: withData(header, data) };
}

/** The data is written once: it may be large. */
function withData(header: wire.Outgoing, data: Json): string {
  return `${JSON.stringify(header).slice(0, -1)},"data":${written(data)}}`;
}

function written(data: Json): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(data);
  } catch (error) {
    throw new RequestError({ kind: "invalid", reason: `the data cannot be written as JSON: ${reasonOf(error)}` });
  }
  if (text === undefined) throw new RequestError({ kind: "invalid", reason: "the data cannot be written as JSON" });
  return text;
}

/** The answer to `presence`. */
export function presence(incoming: Incoming): Presence {
  const users = wire.users(incoming);
  return { users, total: wire.optionalNumber(incoming, "total") ?? users.length, connections: wire.optionalNumber(incoming, "connections") ?? 0 };
}

/** The answer to `history`. */
export function history(incoming: Incoming, channel: string): HistoryPage {
  const position = wire.position(incoming);
  const read = (value: unknown) => wire.publication(wire.asObject(value), channel, position.epoch);
  return { position, messages: wire.list(incoming, "publications").map(read), more: incoming["more"] === true };
}
