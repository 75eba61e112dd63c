//! The client from outside: its state machine against scripts and a simulated server, its driver against a small server over TCP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod bounds;
mod ending;
mod support;
mod transcripts;
