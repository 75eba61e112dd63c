// What the package offers.

export { Client, type ClientEvents, type ClientOptions, type HistoryOptions, type PublishOptions, type Receiver, type SignalOptions, type State, type SubscribeOptions } from "./client.js";
export { DEFAULTS, type Config } from "./core/config.js";
export { describeCause, describeEnded, RequestError, TokenDenied, type Cause, type Ended, type Refusal, type RequestFailure } from "./core/errors.js";
export type * from "./core/types.js";
export type { TokenCallback } from "./driver.js";
export type { Environment, Life } from "./environment.js";
export { Subscription, type SubscriptionEvents } from "./subscription.js";
export type { Connection, Listener, Target, Transport } from "./transports/transport.js";
export type { WebSocketConstructor, WebSocketLike } from "./transports/websocket.js";
export { ReconnectingWebSocket, type ProtocolsProvider, type ReconnectingOptions, type Sendable, type UrlProvider } from "./reconnecting.js";
