//! One client: its dialect, rights, limits, pending operations and subscriptions; the sessions of one shard; the admission of new ones.
//!
//! Pure: bytes and time go in, bytes and decisions come out. It knows no socket, no clock and no particular dialect.

pub mod admission;

mod bucket;
mod control;
mod deadlines;
mod directory;
mod due;
mod encoder;
mod execute;
mod gauges;
mod index;
mod session;
mod sessions;
mod subscribed;
mod throttle;
mod timers;
mod users;

pub use directory::Directory;
pub use sessions::{Client, SessionStats, Sessions};
// Whoever drives the sessions needs no other word of the dialects.
pub use switchboard_dialects::{Form, Incoming, Opening, Wanted};

/// The names of the dialects, in the order of the counters that tell them apart.
pub const DIALECTS: [&str; switchboard_dialects::AnyDialect::NAMES.len()] = switchboard_dialects::AnyDialect::NAMES;
