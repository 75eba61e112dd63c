//! What the application chooses. Holds no state.

use std::time::Duration;

/// Times and bounds of a client. Change what you need:
///
/// ```
/// use std::time::Duration;
/// use switchboard_client::{Config, QueueOverflow};
///
/// let mut config = Config::default();
/// config.backoff_max = Duration::from_secs(5);
/// config.queue_overflow = QueueOverflow::DropOldest;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The n-th attempt in a row waits a random time up to `backoff_base` · 2ⁿ. Default 500 ms.
    pub backoff_base: Duration,
    /// And never longer than this. Default 20 s.
    pub backoff_max: Duration,
    /// A connection that lasted so long makes the next attempt the first again. Default 10 s.
    pub stable_after: Duration,
    /// How long the server may take to say welcome once the WebSocket is open. Default 10 s.
    pub welcome_timeout: Duration,
    /// How long the callback for tokens may take. Default 30 s.
    pub token_timeout: Duration,
    /// How long the server may take to answer a request. Default 10 s.
    pub request_timeout: Duration,
    /// How long a request may wait to be sent. Default 60 s.
    pub queue_timeout: Duration,
    /// Requests that may wait to be sent. Default 1,024.
    pub queue_requests_max: usize,
    /// Bytes of requests that may wait to be sent. Default 1 MiB.
    pub queue_bytes_max: usize,
    /// What happens to a request that finds the queue full.
    pub queue_overflow: QueueOverflow,
    /// Requests that may wait for their answer; others wait in the queue. Default 128.
    pub in_flight_max: usize,
    /// Silence beyond the server's heartbeat before the connection is taken for dead; after half of it the server is asked by a `ping`.
    /// Default 10 s.
    pub heartbeat_grace: Duration,
    /// How long closing may take to send what is queued and wait for the answers. Default 5 s.
    pub close_timeout: Duration,
    /// Events that may wait for the reader of a subscription. At either bound the subscription is stopped, and resumed from the server's history
    /// when half is read. What one frame brought may exceed the bounds. Default 1,024.
    pub inbox_events_max: usize,
    /// Bytes of events that may wait for the reader of a subscription. Default 1 MiB.
    pub inbox_bytes_max: usize,
    /// Ask the server to put several messages into one frame. Default true.
    pub batch: bool,
}

/// What happens to a request that finds the queue full.
///
/// ```
/// use switchboard_client::QueueOverflow;
///
/// assert_eq!(QueueOverflow::default(), QueueOverflow::Reject);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueOverflow {
    /// It fails with [`QueueFull`](crate::RequestError::QueueFull).
    #[default]
    Reject,
    /// It takes the place of the oldest ones, which fail with [`Dropped`](crate::RequestError::Dropped). For data where only the newest counts.
    DropOldest,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backoff_base: Duration::from_millis(500),
            backoff_max: Duration::from_secs(20),
            stable_after: Duration::from_secs(10),
            welcome_timeout: Duration::from_secs(10),
            token_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            queue_timeout: Duration::from_secs(60),
            queue_requests_max: 1_024,
            queue_bytes_max: 1024 * 1024,
            queue_overflow: QueueOverflow::Reject,
            in_flight_max: 128,
            heartbeat_grace: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            inbox_events_max: 1_024,
            inbox_bytes_max: 1024 * 1024,
            batch: true,
        }
    }
}
