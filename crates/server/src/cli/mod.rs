//! The command line. Data goes to stdout, all else to stderr.

#![allow(clippy::print_stdout, clippy::print_stderr)]

/// `println!` that ends the program without a panic where it cannot print.
macro_rules! say {
    ($($part:tt)*) => { $crate::cli::write_out(format_args!("{}\n", format_args!($($part)*))) };
}

mod api;
mod bench;
mod check;
mod client;
mod config;
mod connect;
mod exit;
mod history;
mod http;
mod native;
mod publish;
mod serve;
mod subscribe;
mod token;
mod why;

use clap::{CommandFactory, Parser, Subcommand};
use exit::Failure;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use switchboard_workbench::connect::printable;

/// The command line's form.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version, about = "A realtime server, and tools for any WebSocket, in one binary")]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no connection, 4 refused by authentication, 130 interrupted."
)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Run the server
    Serve(Box<serve::Serve>),
    /// Connect to any WebSocket: type a line to send it, see what arrives
    Connect(Box<connect::Connect>),
    /// Put load on a WebSocket server and measure how it answers
    #[command(subcommand)]
    Bench(Box<bench::Bench>),
    /// Say whether a WebSocket server keeps the standards
    Check(check::CheckServer),
    /// Publish a message to a channel
    Publish(publish::Publish),
    /// Print what is published on channels, one line a message
    Subscribe(subscribe::Subscribe),
    /// List the channels that are occupied: name, subscribers, users
    Channels(api::Channels),
    /// Show who is on a channel, or whether a user is online
    Presence(api::Presence),
    /// Send a message to a user
    Send(api::Send),
    /// End the connections of a user, or one connection
    Disconnect(api::Disconnect),
    /// End the subscription of a user, or of one connection, to a channel
    Unsubscribe(api::Unsubscribe),
    /// Send to a user, or to one connection, on a channel, past its history
    Signal(api::Signal),
    /// Say what became of a publication
    Why(why::Why),
    /// Make a token for a client
    Token(token::Token),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(config::Config),
    /// Read what was published, or look at a history on disk
    #[command(subcommand)]
    History(history::History),
    /// Print a script that completes commands in a shell
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

/// Runs a command and returns its exit code.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Subcommands::Serve(serve) => serve.run(),
        Subcommands::Connect(connect) => connect.run(),
        Subcommands::Bench(bench) => bench.run(),
        Subcommands::Check(check) => check.run(),
        Subcommands::Publish(publish) => publish.run(),
        Subcommands::Subscribe(subscribe) => subscribe.run(),
        Subcommands::Channels(channels) => channels.run(),
        Subcommands::Presence(presence) => presence.run(),
        Subcommands::Send(send) => send.run(),
        Subcommands::Disconnect(disconnect) => disconnect.run(),
        Subcommands::Unsubscribe(unsubscribe) => unsubscribe.run(),
        Subcommands::Signal(signal) => signal.run(),
        Subcommands::Why(why) => why.run(),
        Subcommands::Token(token) => token.run(),
        Subcommands::Config(config) => config.run(),
        Subcommands::History(history) => history.run(),
        Subcommands::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "switchboard", &mut script);
            write_out(format_args!("{}", String::from_utf8_lossy(&script)));
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                // It may quote what a server said, who shall not steer the terminal.
                eprintln!("switchboard: {}", printable(message));
            }
            ExitCode::from(failure.code())
        }
    }
}

/// Prints. Whoever reads may have seen enough (`| head`), and then there is nothing left to do.
fn write_out(text: core::fmt::Arguments<'_>) {
    if let Err(error) = std::io::stdout().write_fmt(text) {
        match error.kind() {
            ErrorKind::BrokenPipe => eprintln!("switchboard: nobody reads the output any longer"),
            _ => eprintln!("switchboard: cannot print: {error}"),
        }
        std::process::exit(1);
    }
}

/// A runtime for a command: one thread is enough, the shards have their own.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::other(format!("cannot start: {error}")))?;
    let result = runtime.block_on(future);
    // A thread that waits for a line of input never ends by itself.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
