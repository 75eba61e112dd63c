//! The server around the shards: configuration, keys and tokens, the HTTP API, the admin listener, and the command line.
//!
//! Decides nothing about clients: that is the sessions'. Opens no WebSocket but as a client, for the command line.

pub mod cli;
pub mod config;

mod admin;
mod answer;
mod api;
mod apps;
mod clock;
mod history;
mod pusher;
mod secret;
mod serve;
mod supervisor;
mod tls;
mod token;
mod webhooks;

pub use apps::{Apps, DEVELOPMENT_CHAT, DEVELOPMENT_TOKEN_TTL};
pub use secret::Secret;
pub use serve::{Running, start};
pub use token::{NewToken, TokenKey, sign, verify};
