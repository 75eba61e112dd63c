//! The end of a connection by our own will.

use core::time::Duration;
use std::borrow::Cow;

/// Why and how the server ends a connection. The code's range says whether to reconnect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// A WebSocket close code: 1000–1014 where RFC 6455 has one, else 4000–4099 (do not reconnect before something has changed)
    /// or 4100–4199 (reconnect with backoff).
    pub code: u16,
    /// For people, at most 123 bytes.
    pub reason: Cow<'static, str>,
    /// How long the client shall wait before it reconnects.
    pub after: Option<Duration>,
}

impl Disconnect {
    /// The server is shutting down; `after` spreads the reconnections.
    pub const fn going_away(after: Duration) -> Self {
        Self { code: 1001, reason: Cow::Borrowed("the server is shutting down"), after: Some(after) }
    }

    /// No valid token came in time.
    pub const AUTHENTICATION_TIMEOUT: Self = Self::fixed(4001, "authenticate did not come in time");
    /// The token ran out, and no fresh one came.
    pub const TOKEN_EXPIRED: Self = Self::fixed(4002, "the token expired");
    /// The application asked for it.
    pub const BY_APPLICATION: Self = Self::fixed(4003, "disconnected by the application");
    /// A subscription that the connection consists of was refused or ended (raw connections).
    pub const fn refused(reason: Cow<'static, str>) -> Self {
        Self { code: 4004, reason, after: None }
    }
    /// The application is not served any longer.
    pub const APPLICATION_REMOVED: Self = Self::fixed(4005, "the application is not served here any longer");
    /// The outbox was full.
    pub const SLOW_CONSUMER: Self = Self::fixed(4100, "the client reads too slowly");
    /// Silence for longer than the heartbeat allows.
    pub const SILENT: Self = Self::fixed(4101, "the client was silent for too long");
    /// The client has waited as long as it wanted to.
    pub const PATIENCE: Self = Self::fixed(1000, "as long as the client wanted to stay");
    /// Too many connections or too little memory.
    pub const OVERLOADED: Self = Self::fixed(4102, "the server is overloaded");

    /// Whether the client should come back.
    pub const fn reconnect(&self) -> bool {
        matches!(self.code, 1001 | 1011..=1013 | 4100..=4199)
    }

    const fn fixed(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason), after: None }
    }
}
