//! Clock, clients, scripts and shared suites for the tests of the other crates.
//!
//! Deterministic: time passes when a test says so, and shards take their turns in an order that a test can choose.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test's own faults may panic")]

mod brokers;
mod deferred;
mod dialects;
mod directory;
mod events;
mod framing;
mod rng;
mod world;

pub use brokers::{Rig, check_broker};
pub use deferred::{Ask, DeferredBroker};
pub use dialects::{Ability, Heard, Speech, Use, Wish, check_dialect};
pub use directory::FakeDirectory;
pub use events::{EventReader, StreamEvent};
pub use framing::{PlainFraming, Received, TestFraming};
pub use rng::Rng;
pub use world::{ClientId, World};
