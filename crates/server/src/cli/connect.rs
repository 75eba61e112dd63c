//! `switchboard connect URL`: lines out, messages in, with the flags of wscat and websocat where they mean the same.

use super::client::Handshake;
use super::exit::Failure;
use clap::Args;
use core::time::Duration;
use switchboard_workbench::connect::{Failed, Options, run};

#[derive(Debug, Args)]
pub(super) struct Connect {
    /// ws:// or wss://
    url: String,
    /// Send this message once connected, and read no input; may be given several times
    #[arg(short = 'x', long, value_name = "MESSAGE")]
    execute: Vec<String>,
    /// How long to wait for answers once there is no more input; -1 for as long as the server stays
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1.0, allow_negative_numbers = true)]
    wait: f64,
    /// Stay when the input ends, until the server closes
    #[arg(short, long)]
    no_close: bool,
    /// Send at most one message, and end with the first that arrives
    #[arg(short = '1', long)]
    one_message: bool,
    /// Show pings and pongs; on a terminal and with --json they are shown anyway
    #[arg(short = 'P', long)]
    show_ping_pong: bool,
    /// Print everything that happens as JSON, one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    handshake: Handshake,
}

impl Connect {
    pub(super) fn run(self) -> Result<(), Failure> {
        let options = Options {
            url: self.url.clone(),
            connector: self.handshake.connector()?,
            execute: self.execute,
            wait: (self.wait >= 0.0).then(|| Duration::try_from_secs_f64(self.wait).unwrap_or(Duration::MAX)),
            no_close: self.no_close,
            one_message: self.one_message,
            show_ping_pong: self.show_ping_pong,
            json: self.json,
        };
        super::block_on(async { run(options).await.map_err(|failed| failure(&self.url, failed)) })
    }
}

fn failure(url: &str, failed: Failed) -> Failure {
    match failed {
        Failed::Connecting(error) => Failure::connecting(url, &error),
        Failed::Connection(message) => Failure::connection(message),
        Failed::Refused(message) => Failure::refused(message),
        Failed::Interrupted => Failure::INTERRUPTED,
        Failed::Other(message) => Failure::other(message),
    }
}
