//! The library through its public interface, over pipes and real sockets.
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
mod http;
mod messages;
mod splitting;
mod support;
mod tls;
