//! What one client may cost.

use core::time::Duration;

/// The limits of one client, the same for every protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest message from a client, in bytes.
    pub message_bytes: usize,
    /// The same before the client has authenticated, where it must.
    pub message_bytes_unauthenticated: usize,
    /// How long a client that must authenticate may take for it.
    pub authentication_timeout: Duration,
    /// Subscriptions of one session.
    pub channels: usize,
    /// What may wait for a client that does not read, in bytes.
    pub outbox_bytes: usize,
    /// Sustained requests a second of one session; 0 is no limit.
    pub operations_per_second: u32,
    /// Requests at once above the sustained rate.
    pub operations_burst: u32,
    /// Requests of one session that wait for an answer; at the bound the session stops reading.
    pub operations_pending: usize,
    /// How long silence may last before it is broken by a heartbeat.
    pub heartbeat: Duration,
    /// How long the other side may take to answer one.
    pub heartbeat_timeout: Duration,
    /// Users that one answer about a channel's presence lists.
    pub presence_users: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 * 1024,
            message_bytes_unauthenticated: 16 * 1024,
            authentication_timeout: Duration::from_secs(10),
            channels: 128,
            outbox_bytes: 1024 * 1024,
            operations_per_second: 200,
            operations_burst: 1_000,
            operations_pending: 128,
            heartbeat: Duration::from_secs(25),
            heartbeat_timeout: Duration::from_secs(10),
            presence_users: 10_000,
        }
    }
}
