//! What the operator chooses about listeners and shards.

use crate::compression::Compression;
use arc_swap::ArcSwap;
use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;
use switchboard_session::admission::TrustedProxies;

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
            seed,
        }
    }
}
