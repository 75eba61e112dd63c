//! What the bytes mean: one folder a protocol, each a pure state machine between messages and commands.

mod registry;

pub use registry::Opening;
