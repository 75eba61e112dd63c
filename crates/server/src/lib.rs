//! The server around the shards: configuration, keys and tokens, the HTTP API, the admin listener, and the command line.
//!
//! Decides nothing about clients: that is the sessions'. Opens no WebSocket but as a client, for the command line.

pub mod config;
mod secret;
mod token;

pub use secret::Secret;
pub use token::{NewToken, TokenKey, sign, verify};
