//! The client from outside: its state machine against scripts and a simulated server, its driver against a small server over TCP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod bounds;
mod driver;
mod ending;
mod hostile;
mod leaks;
mod server;
mod simulation;
mod support;
#[cfg(feature = "tls")]
mod tls;
mod transcripts;
