// From frames to what they say, and back. Everything in a frame is the server's word: what is not the protocol's is told by a thrown
// `Error` with the reason, and by nothing else. Knows nothing of when frames are sent.

import { RequestError, type Refusal } from "./errors.js";
import type { Data, Json, Message, Position, Signal, User } from "./types.js";

/** What a transport carries: a text frame or a binary one. */
export type Frame = string | Uint8Array<ArrayBuffer>;

/** Any message of the server. What it has is checked where it is used. */
export interface Incoming {
  readonly type: string;
  readonly [name: string]: unknown;
}

/** Reads one frame. */
export function decode(frame: string | Uint8Array): Incoming {
  if (typeof frame === "string") return asMessage(JSON.parse(frame));
  const [high, low] = frame;
  if (high === undefined || low === undefined) throw new Error("a binary frame of less than two bytes");
  const end = 2 + high * 256 + low;
  if (end > frame.length) throw new Error("a binary frame shorter than its header");
  const header = asMessage(JSON.parse(UTF8.decode(frame.subarray(2, end))));
  return { ...header, data: frame.slice(end) };
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });
const ENCODER = new TextEncoder();

export function asMessage(value: unknown): Incoming {
  const message = asObject(value);
  if (typeof message.type !== "string") throw new Error("a message without a type");
  return message;
}

export function asObject(value: unknown): Incoming {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("a message that is not a JSON object");
  return value as Incoming;
}

/** A request without its payload. */
export type Outgoing = { type: string; id?: string; data?: Json } & { [name: string]: Json | undefined };

/** Writes a request; `payload` makes it a binary frame. */
export function encode(message: Outgoing, payload?: Uint8Array): Frame {
  const text = JSON.stringify(message);
  if (!payload) return text;
  const header = ENCODER.encode(text);
  if (header.length > HEADER_BYTES_MAX) {
    throw new RequestError({ kind: "too_large", bytes: header.length, bytesMax: HEADER_BYTES_MAX });
  }
  const frame = new Uint8Array(2 + header.length + payload.length);
  frame.set([header.length >> 8, header.length & 0xff]);
  frame.set(header, 2);
  frame.set(payload, 2 + header.length);
  return frame;
}

const HEADER_BYTES_MAX = 0xffff;

/** A frame's bytes on the wire, without the WebSocket's own header. */
export function sizeOf(frame: Frame): number {
  if (typeof frame !== "string") return frame.length;
  // Counted, not encoded: most frames are ASCII, and none has to be copied for this.
  let bytes = frame.length;
  for (let index = 0; index < frame.length; index += 1) {
    const unit = frame.charCodeAt(index);
    if (unit > 0x7f) bytes += unit > 0x7ff && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1;
  }
  return bytes;
}

export function number(message: Incoming, name: string): number {
  const value = message[name];
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) throw new Error(`"${name}" is not a number`);
  return value;
}

export function optionalNumber(message: Incoming, name: string): number | undefined {
  return message[name] === undefined || message[name] === null ? undefined : number(message, name);
}

export function text(message: Incoming, name: string): string {
  const value = message[name] ?? "";
  if (typeof value !== "string") throw new Error(`"${name}" is not a string`);
  return value;
}

function optionalText(message: Incoming, name: string): string | undefined {
  return message[name] === undefined || message[name] === null ? undefined : text(message, name);
}

export function position(message: Incoming): Position {
  const found = optionalPosition(message);
  if (!found) throw new Error("an answer without a position");
  return found;
}

function optionalPosition(message: Incoming): Position | undefined {
  const value = message["position"];
  if (value === undefined || value === null) return undefined;
  const { epoch, offset } = value as { epoch?: unknown; offset?: unknown };
  if (typeof epoch !== "string" || typeof offset !== "number" || !(offset >= 0)) throw new Error(`"position" is not a position`);
  return { epoch, offset };
}

export function users(message: Incoming): User[] {
  return list(message, "users").map((value) => {
    const user = value as { user?: unknown; connections?: unknown; info?: Json } | null;
    if (typeof user?.user !== "string") throw new Error("a user without a name");
    const connections = typeof user.connections === "number" ? user.connections : 0;
    return { user: user.user, connections, ...(user.info === undefined || user.info === null ? {} : { info: user.info }) };
  });
}

export function list(message: Incoming, name: string): unknown[] {
  const value = message[name] ?? [];
  if (!Array.isArray(value)) throw new Error(`"${name}" is not a list`);
  return value;
}

export function refusal(message: Incoming): Refusal {
  const at = optionalPosition(message);
  const said = { code: text(message, "code"), message: text(message, "message"), temporary: message["temporary"] === true };
  return at ? { ...said, position: at } : said;
}

/** A publication; of this epoch, or of none if it cannot be resumed from. */
export function publication(incoming: Incoming, channel: string, epoch: string | null): Message {
  const offset = number(incoming, "offset");
  const message: { -readonly [K in keyof Message]: Message[K] } = {
    channel,
    data: payload(incoming),
    position: epoch === null ? null : { epoch, offset },
    offset,
    timestamp: optionalNumber(incoming, "timestamp") ?? 0,
  };
  const event = optionalText(incoming, "event");
  const key = optionalText(incoming, "key");
  const conflated = optionalNumber(incoming, "conflated");
  const publisher = (incoming["publisher"] as { user?: unknown } | null | undefined)?.user;
  if (event !== undefined) message.event = event;
  if (key !== undefined) message.key = key;
  if (conflated !== undefined) message.conflated = conflated;
  if (typeof publisher === "string") message.publisher = publisher;
  if (incoming["cached"] === true) message.cached = true;
  return message;
}

/** What another client has sent to this one. */
export function signal(incoming: Incoming): Signal {
  const from = (incoming["from"] ?? null) as { user?: unknown; session?: unknown } | null;
  const event = optionalText(incoming, "event");
  const sender = {
    ...(typeof from?.user === "string" && { user: from.user }),
    ...(typeof from?.session === "string" && { session: from.session }),
  };
  return {
    channel: text(incoming, "channel"),
    data: payload(incoming),
    ...(event !== undefined && { event }),
    ...(from !== null && { from: sender }),
  };
}

function payload(incoming: Incoming): Data {
  const data = incoming["data"];
  if (data === undefined) throw new Error("a message without data");
  const encoding = text(incoming, "encoding");
  if (encoding === "") return data as Data;
  if (encoding !== "base64") throw new Error(`data in an unknown encoding, "${encoding}"`);
  if (typeof data !== "string") throw new Error("base64 that is not a string");
  return fromBase64(data);
}

function fromBase64(encoded: string): Uint8Array {
  let bytes: string;
  try {
    bytes = atob(encoded);
  } catch {
    throw new Error("data that is not base64");
  }
  return Uint8Array.from(bytes, (letter) => letter.charCodeAt(0));
}

/** Why a name cannot be a channel's, so that it is known without a connection; `null` if it can. */
export function whyNoChannel(name: string): string | null {
  if (name === "") return "the name is empty";
  if (sizeOf(name) > CHANNEL_BYTES_MAX) return "the name is longer than 200 bytes";
  if (/[+#]|\p{Cc}/u.test(name) && name !== OWN_CHANNEL) return "the name contains '+', '#' or a control character";
  return null;
}

/** The channel of the user that the token names. */
const OWN_CHANNEL = "#user";

const CHANNEL_BYTES_MAX = 200;
