// What goes into the state machine and what comes out, beside frames.

import type { RequestFailure } from "./errors.js";
import type { ConnectionEvent, Data, HistoryPage, Json, Position, Presence, Published, Signalled, Subscribed, SubscriptionEvent } from "./types.js";

/** Where tokens come from. `fixed`: there is this one, and when it expires the client ends. `fresh`: `fetch_token` asks for one. */
export type Tokens = { readonly kind: "none" } | { readonly kind: "fixed"; readonly token: string } | { readonly kind: "fresh" };

/** Why a connection could not be made. */
export type ConnectFailure =
  /** Another attempt may succeed. */
  | { readonly kind: "temporary"; readonly reason: string }
  /** The token is wrong or missing. */
  | { readonly kind: "unauthorized"; readonly reason: string }
  /** No attempt can succeed. */
  | { readonly kind: "final"; readonly reason: string };

/** What an application asks of the server. */
export type Request =
  | {
      readonly type: "publish";
      readonly channel: string;
      readonly data: Data;
      readonly event?: string;
      readonly key?: string;
      readonly excludeSelf?: boolean;
      readonly idempotencyKey?: string;
      readonly ifPosition?: Position;
      readonly cache?: "keep" | "clear";
    }
  | {
      readonly type: "signal";
      readonly channel: string;
      readonly data: Json;
      readonly event?: string;
      /** One of them. */
      readonly user?: string;
      readonly session?: string;
    }
  | { readonly type: "presence"; readonly channel: string; readonly limit?: number }
  | { readonly type: "history"; readonly channel: string; readonly since?: Position; readonly before?: Position; readonly limit?: number };

export type Answer = Published | Signalled | Presence | HistoryPage;

/** What the driver has to do, and what the application has to know, in order. */
export type Output =
  /** Ask the callback and tell `onToken`. An earlier question is void. */
  | { readonly type: "fetch_token" }
  /** Connect and tell `onConnected` or `onConnectFailed`. `token`, where the transport can carry one in its own way; it is also said in the protocol. */
  | { readonly type: "connect"; readonly token: string | null }
  /** Close the connection behind everything that was given out; what else arrives is void. */
  | { readonly type: "close"; readonly code: number }
  /** Drop the connection, or the attempt to make it. */
  | { readonly type: "abort" }
  | { readonly type: "connection"; readonly event: ConnectionEvent }
  | { readonly type: "answer"; readonly id: number; readonly answer: Answer }
  | { readonly type: "failed"; readonly id: number; readonly failure: RequestFailure }
  /** The first answer to a subscription. */
  | { readonly type: "subscribed"; readonly id: number; readonly subscribed: Subscribed }
  /** Instead of it; the subscription is gone. */
  | { readonly type: "not_subscribed"; readonly id: number; readonly failure: RequestFailure }
  /** For the reader of a subscription; `position` is how far it is once it has taken this. After `unsubscribed` it is gone. */
  | { readonly type: "subscription"; readonly id: number; readonly event: SubscriptionEvent; readonly position: Position | null };
