//! Listeners, transports and shard loops: the only crate that holds a client's socket, and it decides nothing.
//!
//! It owns sockets, threads and the clock. What a client may do, what it is told and when it must go is decided by the sessions; which
//! bytes are a WebSocket's, by `ws-proto`.

mod backend;
mod clock;
mod compression;
mod connection;
mod exchange;
mod framing;
mod handle;
mod http;
mod http2;
mod io;
mod limits;
mod server;
mod settings;
mod shard_loop;
mod socket;
mod state;
mod stream;

pub use backend::{Backed, Backend, REQUESTS_MAX, ShardBroker};
pub use compression::Compression;
pub use handle::{HubHandle, ShardStats, Stats};
pub use server::{Bound, Server, bind};
pub use settings::{Http2, POSITION_CHECK, Settings};
