//! What the bytes mean: one folder a protocol, each a pure state machine between messages and commands.
//!
//! A dialect knows neither the transport that carries its messages nor the hub that carries out its commands, and it checks form only: rights and
//! limits are the session's.

mod dialect;
mod endpoint;
mod json;
mod listen;
mod native;
pub mod pusher;
mod raw;
mod registry;
mod writer;

pub use dialect::{Commands, Dialect, Incoming, Welcome};
pub use endpoint::{Endpoint, NoApp};
pub use listen::{Form, PostKind, Wanted, parse_cursor};
pub use registry::{AnyDialect, Opening, signed_prefixes, write_count, write_presence, write_publications};
pub use writer::Writer;
