//! The library through its public interface, over pipes and real sockets. `--all-features` adds TLS and HTTP servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_debug_implementations
)]

mod accepting;
mod backpressure;
mod cancellation;
mod closing;
mod connecting;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(all(feature = "axum", feature = "deflate", feature = "tls", feature = "tower"))]
mod examples;
#[cfg(all(feature = "axum", feature = "hyper"))]
mod http;
#[cfg(all(feature = "axum", feature = "http2"))]
mod http2;
mod messages;
mod proxy;
mod sizes;
mod splitting;
mod streaming;
mod support;
#[cfg(feature = "native-roots")]
mod tls;
#[cfg(all(feature = "axum", feature = "tower"))]
mod tower;
