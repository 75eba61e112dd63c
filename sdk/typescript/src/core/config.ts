// Times and bounds of a client. Holds no state.

/** Times in milliseconds and bounds of a client. Give what you want to be different. */
export interface Config {
  /** The n-th attempt in a row waits a random time up to `backoffBase` · 2ⁿ. Default 500. */
  backoffBase: number;
  /** And never longer than this. Default 20,000. */
  backoffMax: number;
  /** A connection that lasted so long makes the next attempt the first again. Default 10,000. */
  stableAfter: number;
  /** How long connecting may take, before the server's welcome too. Default 10,000. */
  connectTimeout: number;
  /** How long the callback for tokens may take. Default 30,000. */
  tokenTimeout: number;
  /** How long the server may take to answer a request. Default 10,000. */
  requestTimeout: number;
  /** How long a request may wait to be sent. Default 60,000. */
  queueTimeout: number;
  /** Requests that may wait to be sent. Default 1,024. */
  queueRequestsMax: number;
  /** Bytes of requests that may wait to be sent. Default 1 MiB. */
  queueBytesMax: number;
  /** What happens to a request that finds the queue full: it fails, or the oldest ones do. Default `"reject"`. */
  queueOverflow: "reject" | "drop-oldest";
  /** Requests that may wait for their answer; others wait in the queue. Default 128. */
  inFlightMax: number;
  /** Silence beyond the server's heartbeat before the connection is taken for dead; after half of it the server is asked. Default 10,000. */
  heartbeatGrace: number;
  /** How long closing may take to send what is queued and wait for the answers. Default 5,000. */
  closeTimeout: number;
  /**
   * Events that may wait for the reader of a subscription. At either bound the subscription is stopped, and resumed from the server's
   * history when half is read. What one frame brought may exceed the bounds. Default 1,024.
   */
  inboxEventsMax: number;
  /** Bytes of frames whose events may wait for the reader of a subscription. Default 1 MiB. */
  inboxBytesMax: number;
}

export const DEFAULTS: Config = {
  backoffBase: 500,
  backoffMax: 20_000,
  stableAfter: 10_000,
  connectTimeout: 10_000,
  tokenTimeout: 30_000,
  requestTimeout: 10_000,
  queueTimeout: 60_000,
  queueRequestsMax: 1_024,
  queueBytesMax: 1024 * 1024,
  queueOverflow: "reject",
  inFlightMax: 128,
  heartbeatGrace: 10_000,
  closeTimeout: 5_000,
  inboxEventsMax: 1_024,
  inboxBytesMax: 1024 * 1024,
};
