//! One client: its dialect, rights, limits, pending operations and subscriptions; the sessions of one shard; the admission of new ones.
//!
//! Pure: bytes and time go in, bytes and decisions come out. It knows no socket, no clock and no particular dialect.

mod bucket;
mod directory;
mod encoder;
mod execute;
mod session;
mod sessions;
mod timers;

pub use directory::Directory;
pub use sessions::{Client, SessionStats, Sessions};
