// What an application sees: positions, messages, presence, events. Knows nothing of how they travel.

import type { Cause, Ended, Refusal } from "./errors.js";

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json | undefined };

/** What can be published: JSON, or bytes. */
export type Data = Json | Uint8Array;

/** Where in a channel something stands. Offsets grow but may skip; they compare only within one epoch. It may be stored and given to `since` later. */
export interface Position {
  epoch: string;
  offset: number;
}

/** Something that was published. */
export interface Message<T = Data> {
  readonly channel: string;
  /** A JSON value, or a `Uint8Array` for a publication of bytes. */
  readonly data: T;
  /** Its own position; `null` for subscriptions to a pattern, which cannot be resumed. */
  readonly position: Position | null;
  readonly offset: number;
  /** When the server took it, in milliseconds since 1970. */
  readonly timestamp: number;
  /** The publisher's name for this kind of message. */
  readonly event?: string;
  /** Which earlier message it replaces, on channels that keep the latest. */
  readonly key?: string;
  /** The user who published it; absent if it was the backend. */
  readonly publisher?: string;
  /** How many earlier messages this one stands for, which are not delivered. */
  readonly conflated?: number;
  /** The value that the channel kept for those who come. */
  readonly cached?: boolean;
}

/** From one client to another alone, past the channel's history. */
export interface Signal<T = Data> {
  readonly channel: string;
  readonly data: T;
  /** The sender's name for this kind of signal. */
  readonly event?: string;
  /** Who sent it: the user, and the session to answer to. Absent if it was the backend. */
  readonly from?: Sender;
}

/** Whose signal it is. */
export interface Sender {
  readonly user?: string;
  readonly session?: string;
}

/** A user on a channel. */
export interface User {
  readonly user: string;
  /** How many connections the user has there. */
  readonly connections: number;
  /** What the user's token says about the user. */
  readonly info?: Json;
}

/** A user who came or left. */
export interface Member {
  readonly user: string;
  readonly info?: Json;
}

/** Who is on a channel. */
export interface Presence {
  readonly users: readonly User[];
  /** All users, whether or not they are listed. */
  readonly total: number;
  /** The connections of all users together. */
  readonly connections: number;
}

/** What became of a publication. */
export interface Published {
  readonly position: Position;
  /** It had been published before under this idempotency key, and was not again. */
  readonly duplicate: boolean;
}

/** What became of a signal. */
export interface Signalled {
  /** How many sessions it was given to. */
  readonly sessions: number;
}

/** A piece of a channel's history, oldest first. */
export interface HistoryPage<T = Data> {
  /** The channel's present position. */
  readonly position: Position;
  readonly messages: readonly Message<T>[];
  /** There are others in the direction of reading: newer ones with `since`, older ones else. */
  readonly more: boolean;
}

/** The server's first answer to a subscription. */
export interface Subscribed {
  /** The channel's position at that moment; `null` for a pattern. */
  readonly position: Position | null;
  /** Whether everything after `since` follows; `null` without `since`. */
  readonly recovered: boolean | null;
  /** Who is there, if the subscription asked for presence. */
  readonly users: readonly User[];
}

/** What a subscription yields. */
export type SubscriptionEvent<T = Data> =
  /** A publication; in the order of positions, each once. */
  | { readonly type: "message"; readonly message: Message<T> }
  /** After `since` or a reconnection: everything that was missed follows, then `caught_up`. */
  | { readonly type: "recovered"; readonly users: readonly User[] }
  /** After `since` or a reconnection: some of it is gone. Load your state afresh; newer messages follow. `position` is `null` for a pattern. */
  | { readonly type: "lost"; readonly position: Position | null; readonly users: readonly User[] }
  /** What was missed is complete. */
  | { readonly type: "caught_up" }
  /** The server cannot deliver these offsets (inclusive); its history may have them. */
  | { readonly type: "gap"; readonly channel: string; readonly from: number; readonly to: number }
  /** Somebody has sent something to this client alone. Without a reader it waits like a message; a lost connection loses it. */
  | { readonly type: "signal"; readonly signal: Signal<T> }
  | { readonly type: "join"; readonly member: Member }
  | { readonly type: "leave"; readonly member: Member }
  /** It is over. */
  | { readonly type: "unsubscribed"; readonly why: Unsubscribed };

/** Why a subscription is over. */
export type Unsubscribed =
  | { readonly kind: "by_server"; readonly code: string }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  | { readonly kind: "ended"; readonly ended: Ended };

/** What happens to the connection. */
export type ConnectionEvent =
  | { readonly type: "connecting" }
  /** The server has said welcome, and knows the token if there is one. */
  | { readonly type: "connected"; readonly session: string; readonly user: string | null; readonly limits: ServerLimits }
  /** The connection was lost or could not be made. The next attempt begins in `retryIn` milliseconds. */
  | { readonly type: "disconnected"; readonly cause: Cause; readonly retryIn: number }
  /** The page sleeps: the connection was given up until it wakes. */
  | { readonly type: "suspended" }
  /** A fresh token could not be had or was refused; another attempt follows while the connection stands. */
  | { readonly type: "refresh_failed"; readonly why: string }
  /** There will be no further attempt by itself. */
  | { readonly type: "ended"; readonly ended: Ended };

/** What the server takes from this client. */
export interface ServerLimits {
  readonly messageBytes: number;
  readonly channels: number;
  readonly channelNameBytes: number;
}
