//! A whole node with its clients, in one thread, by a seed: the product's own sessions, hub and dialects over a simulated clock, network, and ways between
//! shards, against clients that check what they were promised.
//!
//! The same seed gives the same run, to the byte. It knows no socket, no thread and no real clock; what drives the sessions in production
//! (`switchboard-net`) is not simulated, only imitated.
#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "the simulator's own faults may panic; no peer reaches it"
)]

mod actions;
mod calls;
mod check;
mod connect;
mod conversation;
mod draw;
mod found;
mod kept;
mod listener;
mod listening;
mod message;
mod node;
mod notices;
mod pipe;
mod plan;
mod polling;
mod promises;
mod pusher;
mod reach;
mod recorder;
mod rights;
mod shrink;
mod storage;
mod subscription;
mod trace;
mod truth;
mod watching;
mod why;
mod world;

pub use kept::{Kept, kept};
pub use listening::Look;
pub use plan::{Action, Call, DiskFault, End, Form, PATTERNS, Plan, Reading, SIGNED, Setup, Speech, Step};
pub use shrink::{Shrunk, shrink};
pub use world::{Report, Seen, simulate};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise; the same for the same bug, so that a shrunk run can be told to show the same one.
    pub kind: &'static str,
    /// How it showed.
    pub message: String,
}

impl Violation {
    pub(crate) fn new(kind: &'static str, message: String) -> Self {
        Self { kind, message }
    }

    pub(crate) fn about(self, whom: &str) -> Self {
        let message = if self.message.is_empty() { whom.to_owned() } else { format!("{whom}: {}", self.message) };
        Self { message, ..self }
    }
}
