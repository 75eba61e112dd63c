//! The state machine through its public interface.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_debug_implementations
)]

mod closing;
mod connect;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(feature = "deflate")]
mod deflate_memory;
#[cfg(feature = "deflate")]
mod deflate_negotiation;
#[cfg(feature = "deflate")]
mod deflate_sending;
mod frames;
mod handshakes;
#[cfg(feature = "deflate")]
mod looking_back;
mod memory;
mod pieces;
mod properties;
mod sending;
mod support;
mod texts;
mod timeouts;
mod tunnel;
