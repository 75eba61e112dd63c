//! What the operator chooses about listeners and shards.

use crate::compression::Compression;
use arc_swap::ArcSwap;
use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;
use switchboard_hub::NoticeBatch;
use switchboard_hub::TraceOptions;
use switchboard_session::admission::TrustedProxies;
use tokio::sync::mpsc;

/// How often positions are compared unless somebody chooses otherwise.
pub const POSITION_CHECK: Duration = Duration::from_secs(30);

/// How to listen and how many shards to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients connect. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Event loops; 0 is one for each core.
    pub shards: u16,
    /// TLS on the same port; replaced as a whole when certificates change.
    pub tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
    /// Whose word about a client's address is taken.
    pub proxies: TrustedProxies,
    /// Connections of all clients together.
    pub connections_max: usize,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// How long a client may take for its TLS handshake, and again for its request's head.
    pub header_timeout: Duration,
    /// Whether and how messages are compressed for clients that offer it.
    pub compression: Option<Compression>,
    /// History that all channels together may keep in memory, in bytes.
    pub history_bytes_max: usize,
    /// How often each channel's subscribers are compared with what was published; zero never.
    pub position_check: Duration,
    /// What is remembered for whoever asks why.
    pub trace: TraceOptions,
    /// HTTP/2, beside HTTP/1.1 on the same port.
    pub http2: Http2,
    /// Who tells the applications' servers what happens to their channels, if somebody does.
    pub notices: Option<mpsc::Sender<NoticeBatch>>,
    /// Whether the next process will know what they were told: then clients that are sent away at the end are not told as gone.
    pub notices_kept: bool,
    /// Random: epochs and session names begin there.
    pub seed: u64,
}

impl Settings {
    /// The defaults, for an address and a random seed.
    pub fn new(listen: SocketAddr, seed: u64) -> Self {
        Self {
            listen,
            shards: 0,
            tls: None,
            proxies: TrustedProxies::default(),
            connections_max: 100_000,
            connections_per_address: 10_000,
            header_timeout: Duration::from_secs(10),
            compression: None,
            history_bytes_max: 256 * 1024 * 1024,
            position_check: POSITION_CHECK,
            trace: TraceOptions::default(),
            http2: Http2::default(),
            notices: None,
            notices_kept: false,
            seed,
        }
    }
}

/// Connections of HTTP/2: over TLS for clients that choose it by ALPN (which the certificate's configuration offers), else for those that
/// begin with its preface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Whether there are any.
    pub enabled: bool,
    /// Requests and WebSockets on one connection at a time.
    pub streams_max: u32,
    /// How long a connection without any may last. The first has to come within `header_timeout`.
    pub idle_timeout: Duration,
    /// How often a connection is pinged.
    pub ping_interval: Duration,
    /// How long the answer may take.
    pub ping_timeout: Duration,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            enabled: true,
            streams_max: 100,
            idle_timeout: Duration::from_secs(60),
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(15),
        }
    }
}
