//! What the operator chooses.

use core::time::Duration;
use switchboard_core::{AppId, ChannelName, NoticeKinds};

/// A place that is told, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The application whose channels it is told about.
    pub app: AppId,
    /// Where. With the application it names the webhook, so what waits for it finds it again after a restart.
    pub url: String,
    /// What.
    pub kinds: NoticeKinds,
    /// Beginnings of channels' names; empty for all channels.
    pub prefixes: Vec<Box<str>>,
}

impl Webhook {
    /// Whether it is told anything of the channel.
    pub fn covers(&self, app: &AppId, channel: &ChannelName) -> bool {
        self.app == *app
            && (self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| channel.as_str().starts_with(&**prefix)))
    }

    /// Whether it wants such notices of the channel.
    pub fn wants(&self, app: &AppId, channel: &ChannelName, kind: NoticeKinds) -> bool {
        self.kinds.contains(kind) && self.covers(app, channel)
    }
}

/// How webhooks are told, the same for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long an event may wait for others to travel with.
    pub batch_wait: Duration,
    /// Events of one request.
    pub batch_events: usize,
    /// Their bytes; a single event may have more.
    pub batch_bytes: usize,
    /// What may wait for one webhook, in bytes. When it is full the oldest go.
    pub queue_bytes: usize,
    /// How long an event is worth telling.
    pub expire_after: Duration,
    /// How long after a start what the last process has told is taken to be so still.
    pub restart_grace: Duration,
    /// The longest wait before the second try. It doubles with each.
    pub retry_first: Duration,
    /// The longest wait before any try while the breaker is closed, and the longest that a receiver can ask for.
    pub retry_max: Duration,
    /// Failures in a row that open the breaker.
    pub breaker_failures: u32,
    /// How long it stays open the first time. It doubles with each probe that fails.
    pub breaker_wait: Duration,
    /// How long it stays open at most.
    pub breaker_wait_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch_wait: Duration::from_millis(100),
            batch_events: 100,
            batch_bytes: 256 * 1024,
            queue_bytes: 16 * 1024 * 1024,
            expire_after: Duration::from_secs(24 * 3600),
            restart_grace: Duration::from_secs(60),
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            breaker_failures: 5,
            breaker_wait: Duration::from_secs(30),
            breaker_wait_max: Duration::from_secs(300),
        }
    }
}
