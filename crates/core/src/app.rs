//! An application, as far as the message path needs to know it. Keys and secrets are not here.

use crate::{AppId, Grant, Limits};
use core::time::Duration;

/// A tenant: its name, its limits and its channels' options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its name.
    pub id: AppId,
    /// What its clients may cost.
    pub limits: Limits,
    /// The rights of clients without a token; `None` if every client must show one.
    pub anonymous: Option<Vec<Grant>>,
    /// How its channels behave.
    pub channels: ChannelOptions,
}

impl App {
    /// An application with default limits whose clients must show a token.
    pub fn new(id: AppId) -> Self {
        Self { id, limits: Limits::default(), anonymous: None, channels: ChannelOptions::default() }
    }
}

/// How a channel behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// Publications kept; 0 keeps none.
    pub history_size: usize,
    /// Bytes of publications kept.
    pub history_bytes: usize,
    /// How long a publication is kept.
    pub history_ttl: Duration,
    /// How long a publication's [`id`](crate::Publish::id) is remembered, if it is not among too many.
    pub idempotency_ttl: Duration,
    /// Ids that are remembered; 0 remembers none.
    pub idempotency_ids: usize,
    /// Whether it is known who is there.
    pub presence: bool,
    /// What happens to a subscriber whose outbox is full.
    pub overflow: Overflow,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            history_size: 1_000,
            history_bytes: 1024 * 1024,
            history_ttl: Duration::from_secs(300),
            idempotency_ttl: Duration::from_secs(120),
            idempotency_ids: 1_000,
            presence: true,
            overflow: Overflow::Disconnect,
        }
    }
}

/// What happens when a subscriber does not read and its outbox is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The session ends; it may come back and resume.
    #[default]
    Disconnect,
    /// The oldest waiting publications go, and the subscriber is told which.
    DropOldest,
}
