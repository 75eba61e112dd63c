//! What a connection is told when it is made: its side, its limits, its patience.

use core::fmt;
use core::time::Duration;

/// Which side of the connection this is.
///
/// ```
/// use switchboard_ws_proto::Role;
/// assert!(Role::Server.is_server());
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sends unmasked frames and receives masked ones.
    Server,
    /// Sends masked frames and receives unmasked ones.
    Client {
        /// Where the masking keys grow from (a ChaCha12 stream). **Take it from the operating system's generator**, anew for each
        /// connection: masking protects proxies only if whoever chooses the payload cannot foresee the key (RFC 6455 §5.3, §10.3).
        mask_seed: [u8; 32],
    },
}

impl Role {
    /// Whether this is the server's side.
    ///
    /// ```
    /// use switchboard_ws_proto::Role;
    ///
    /// assert!(!Role::Client { mask_seed: [0; 32] }.is_server());
    /// ```
    pub const fn is_server(&self) -> bool {
        matches!(self, Self::Server)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The seed is a secret as long as the connection lives.
        f.write_str(if self.is_server() { "Server" } else { "Client" })
    }
}

/// What a peer may make us hold. Past a limit the connection fails with 1009, before the bytes are stored.
///
/// ```
/// use switchboard_ws_proto::Limits;
/// let limits = Limits { message_bytes_max: 64 * 1024, ..Limits::default() };
/// assert_eq!(limits.fragments_max, 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message, all fragments together. Default 16 MiB.
    pub message_bytes_max: usize,
    /// Bytes of one data frame. Default: no limit but the message's.
    pub frame_bytes_max: usize,
    /// Fragments of a message, empty ones included. Default 1,024.
    pub fragments_max: usize,
}

impl Limits {
    /// No limit at all: for a peer that is trusted, or for messages that are taken in [pieces](crate::Connection::poll_piece), of which only
    /// one is held at a time.
    ///
    /// ```
    /// use switchboard_ws_proto::Limits;
    ///
    /// let limits = Limits { fragments_max: 100_000, ..Limits::NONE };
    /// ```
    pub const NONE: Self =
        Self { message_bytes_max: usize::MAX, frame_bytes_max: usize::MAX, fragments_max: usize::MAX };
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: 16 << 20, frame_bytes_max: usize::MAX, fragments_max: 1024 }
    }
}

/// How a connection behaves. Every field has a setter of its name.
///
/// ```
/// use core::time::Duration;
/// use switchboard_ws_proto::{Config, Limits};
///
/// let config = Config::default()
///     .limits(Limits { message_bytes_max: 1 << 20, ..Limits::default() })
///     .ping_interval(Some(Duration::from_secs(25)));
/// assert_eq!(config.pong_timeout, Duration::from_secs(10));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Config {
    /// What a peer may make us hold.
    pub limits: Limits,
    /// After this long without a byte from the peer, ping it. Default: never.
    pub ping_interval: Option<Duration>,
    /// How long the peer has to send anything after such a ping. Default 10 s.
    pub pong_timeout: Duration,
    /// How long to wait for the peer's part of closing. Default 5 s.
    pub close_timeout: Duration,
    /// Whether pings are answered by themselves. Default: yes. If not, answer each with a pong of its payload, as soon as is practical (RFC 6455
    /// §5.5.2): a proxy, for instance, passes it on and gets the answer from the other end.
    pub answer_pings: bool,
    /// What the handshake has agreed about compression. Default: none, and nothing is compressed.
    #[cfg(feature = "deflate")]
    pub deflate: Option<crate::deflate::Agreed>,
}

impl Config {
    /// Sets [`limits`](Self#structfield.limits).
    ///
    /// ```
    /// use switchboard_ws_proto::{Config, Limits};
    ///
    /// let config = Config::default().limits(Limits { message_bytes_max: 4096, ..Limits::default() });
    /// ```
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`ping_interval`](Self#structfield.ping_interval).
    ///
    /// ```
    /// use core::time::Duration;
    ///
    /// let config = switchboard_ws_proto::Config::default().ping_interval(Some(Duration::from_secs(25)));
    /// ```
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Self {
        self.ping_interval = interval;
        self
    }

    /// Sets [`pong_timeout`](Self#structfield.pong_timeout).
    ///
    /// ```
    /// use core::time::Duration;
    ///
    /// let config = switchboard_ws_proto::Config::default().pong_timeout(Duration::from_secs(5));
    /// ```
    pub fn pong_timeout(mut self, timeout: Duration) -> Self {
        self.pong_timeout = timeout;
        self
    }

    /// Sets [`close_timeout`](Self#structfield.close_timeout).
    ///
    /// ```
    /// use core::time::Duration;
    ///
    /// let config = switchboard_ws_proto::Config::default().close_timeout(Duration::from_secs(2));
    /// ```
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Sets [`answer_pings`](Self#structfield.answer_pings).
    ///
    /// ```
    /// let config = switchboard_ws_proto::Config::default().answer_pings(false);
    /// ```
    pub fn answer_pings(mut self, answer: bool) -> Self {
        self.answer_pings = answer;
        self
    }

    /// Sets [`deflate`](Self#structfield.deflate).
    ///
    /// ```
    /// let config = switchboard_ws_proto::Config::default().deflate(None);
    /// ```
    #[cfg(feature = "deflate")]
    pub fn deflate(mut self, agreed: Option<crate::deflate::Agreed>) -> Self {
        self.deflate = agreed;
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            ping_interval: None,
            pong_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            answer_pings: true,
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }
}
