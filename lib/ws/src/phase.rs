//! How long the parts of connecting may take, one by one and together. Knows nothing of what they do.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::ConnectError;

/// A part of connecting.
///
/// ```
/// assert_eq!(switchboard_ws::Phase::Tls.to_string(), "the TLS handshake");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Looking up the name, and connecting.
    Dial,
    /// The handshake of TLS.
    Tls,
    /// The opening handshake of the WebSocket, or of HTTP/2.
    Handshake,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dial => "connecting",
            Self::Tls => "the TLS handshake",
            Self::Handshake => "the opening handshake",
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) all: Duration,
    pub(crate) dial: Option<Duration>,
    pub(crate) tls: Option<Duration>,
    pub(crate) handshake: Option<Duration>,
}

impl Timeouts {
    /// From now on.
    pub(crate) fn start(&self) -> Deadline {
        Deadline { timeouts: *self, all: after(self.all) }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { all: Duration::from_secs(10), dial: None, tls: None, handshake: None }
    }
}

/// When all of the phases have to be over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    timeouts: Timeouts,
    /// `None` where it is farther off than a clock can tell.
    all: Option<Instant>,
}

impl Deadline {
    pub(crate) async fn within<T>(
        &self,
        phase: Phase,
        what: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let limit = match phase {
            Phase::Dial => self.timeouts.dial,
            Phase::Tls => self.timeouts.tls,
            Phase::Handshake => self.timeouts.handshake,
        };
        match limit.and_then(after).into_iter().chain(self.all).min() {
            Some(until) => timeout_at(until, what).await.map_err(|_| ConnectError::Timeout(phase))?,
            None => what.await,
        }
    }
}

fn after(wait: Duration) -> Option<Instant> {
    Instant::now().checked_add(wait)
}
