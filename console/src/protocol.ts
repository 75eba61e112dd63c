// The native protocol's words: message types, error and close codes, and the header of binary frames
// (docs/reference/native-protocol.md). Knows nothing of sockets, time or the page.

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** A place in a channel's sequence of publications. Offsets compare only within one epoch. */
export interface Position {
  epoch: string;
  offset: number;
}

export interface Member {
  user: string;
  connections?: number;
  info?: Json;
}

/** What was published, as `message` and the answer to `history` carry it. `data` is bytes only in a binary frame. */
export interface Publication {
  data: Json | Uint8Array;
  offset: number;
  /** Milliseconds since 1970. */
  timestamp: number;
  event?: string;
  publisher?: { user: string };
  encoding?: "base64";
}

export interface Limits {
  message_bytes: number;
  channels: number;
  channel_name_bytes: number;
}

/** Any message of the server; the members that a type does not have are absent. */
export interface ServerMessage extends Partial<Publication> {
  type: string;
  id?: string | number;
  channel?: string;
  code?: string | number;
  message?: string;
  messages?: ServerMessage[];
  temporary?: boolean;
  session?: string;
  version?: number;
  user?: string | null;
  heartbeat_ms?: number;
  limits?: Limits;
  position?: Position;
  recovered?: boolean;
  users?: Member[];
  connections?: number;
  publications?: Publication[];
  more?: boolean;
  from?: number;
  to?: number;
  info?: Json;
  expires_at?: number;
  reason?: string;
  reconnect?: boolean;
  after_ms?: number;
}

export const SUBPROTOCOL = "switchboard.v1.json";
export const PROTOCOL_VERSION = 1;

/** Close codes after which the same connection would be refused again. */
export function mayReconnect(code: number): boolean {
  const ourFault = code === 1002 || code === 1003 || code === 1007 || code === 1009;
  return !ourFault && !(code >= 4000 && code <= 4099);
}

export const TOKEN_EXPIRED = 4002;

/** Reads one frame. Throws `Error` with the reason if it is none of this protocol's. */
export function decode(frame: string | ArrayBuffer): ServerMessage {
  if (typeof frame === "string") return asMessage(JSON.parse(frame));
  const bytes = new Uint8Array(frame);
  const [high, low] = bytes;
  if (high === undefined || low === undefined) throw new Error("a binary frame shorter than its header's length");
  const end = 2 + high * 256 + low;
  if (end > bytes.length) throw new Error("a binary frame shorter than its header");
  const header = asMessage(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(2, end))));
  return { ...header, data: bytes.slice(end) };
}

/** Writes one binary frame: the header's length, the header, the payload. The header takes at most 65,535 bytes. */
export function encodeBinary(header: { [name: string]: Json }, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = new TextEncoder().encode(JSON.stringify(header));
  if (head.length > 0xffff) throw new RangeError("the header of a binary frame takes at most 65,535 bytes");
  const frame = new Uint8Array(2 + head.length + payload.length);
  frame.set([head.length >> 8, head.length & 0xff]);
  frame.set(head, 2);
  frame.set(payload, 2 + head.length);
  return frame;
}

function asMessage(value: unknown): ServerMessage {
  const known = typeof value === "object" && value !== null && typeof (value as ServerMessage).type === "string";
  if (!known) throw new Error("a message without a type");
  return value as ServerMessage;
}
