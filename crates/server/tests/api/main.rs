//! The server as a whole: in this process where a test looks inside, as the built binary where it does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    missing_debug_implementations
)]

mod admin;
mod binary;
mod cli;
mod cli_measure;
mod cli_output;
mod history;
mod http;
mod methods;
mod pusher;
mod reload;
mod secrets;
mod shutdown;
mod support;
mod tenants;
mod tls;
mod upgrade;
mod webhooks;
mod why;
