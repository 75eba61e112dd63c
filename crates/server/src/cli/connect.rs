//! `switchboard connect URL`: the flags, with those of wscat and websocat where they mean the same. What is done with them is the workbench's.

use super::client::Handshake;
use super::exit::Failure;
use clap::{Args, ValueEnum};
use core::time::Duration;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::SystemTime;
use switchboard_workbench::connect::{Failed, Look, Manner, Options, Replay, Route, run};
use switchboard_ws::Connector;
use switchboard_ws::deflate::{Policy, Tuning};

#[derive(Debug, Args)]
pub(super) struct Connect {
    /// ws:// or wss://
    url: String,
    #[command(flatten)]
    handshake: Handshake,
    #[command(flatten)]
    says: Says,
    #[command(flatten)]
    over: Over,
    #[command(flatten)]
    shows: Shows,
    #[command(flatten)]
    records: Records,
}

/// What is sent, and how long one stays.
#[derive(Debug, Args)]
struct Says {
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
    /// Send lines as binary messages
    #[arg(long)]
    binary: bool,
    /// Send a ping so often, and show how long its pong takes
    #[arg(long, value_name = "SECONDS")]
    ping_interval: Option<f64>,
    /// Connect again when the connection is lost or cannot be made
    #[arg(long)]
    reconnect: bool,
}

/// How the connection is made.
#[derive(Debug, Args)]
struct Over {
    /// Show this name and password (Basic); @FILE reads both from a file, and without a password it is that of SWITCHBOARD_PASSWORD
    #[arg(long, value_name = "NAME[:PASSWORD]", conflicts_with = "token")]
    user: Option<String>,
    /// Show this token (Bearer); @FILE reads it from a file
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Offer compression (permessage-deflate)
    #[arg(long, overrides_with = "no_compress")]
    compress: bool,
    /// Offer no compression, which is so without --compress too
    #[arg(long)]
    no_compress: bool,
    /// Connect over HTTP/2 (RFC 8441)
    #[arg(long)]
    http2: bool,
}

/// What is shown, and how.
#[derive(Debug, Args)]
struct Shows {
    /// Show pings and pongs; on a terminal and with --json they are shown anyway
    #[arg(short = 'P', long)]
    show_ping_pong: bool,
    /// Print everything that happens as JSON, one object a line
    #[arg(long)]
    json: bool,
    /// Show JSON with a line for each member
    #[arg(long)]
    pretty: bool,
    /// Show when things happen: the time of day, UTC
    #[arg(long)]
    timestamps: bool,
    /// Show each frame: opcode, bits, length on the wire, mask
    #[arg(long)]
    frames: bool,
    /// Whether in colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: When,
    /// Keep no typed lines for later, and use none from before
    #[arg(long)]
    no_history: bool,
    /// Treat a Switchboard as any other server
    #[arg(long)]
    no_native: bool,
}

/// What is kept of a conversation, and done again.
#[derive(Debug, Args)]
struct Records {
    /// Write what goes over the connection into this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Send what was sent in this recording, and read no input
    #[arg(long, value_name = "FILE", conflicts_with = "execute")]
    replay: Option<PathBuf>,
    /// So many times as fast as it was recorded; 0: without waiting
    #[arg(long, value_name = "N", default_value_t = 1.0, requires = "replay")]
    replay_speed: f64,
    /// Fail if other messages come than were recorded
    #[arg(long, requires = "replay")]
    expect: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

impl Connect {
    pub(super) fn run(self) -> Result<(), Failure> {
        let terminal = std::io::stdout().is_terminal();
        let interactive =
            self.says.execute.is_empty() && self.records.replay.is_none() && terminal && std::io::stdin().is_terminal();
        let tuning = Tuning { message_bytes_min: 0, ..Tuning::default() };
        let options = Options {
            look: self.shows.look(terminal, interactive),
            history: self.shows.history().filter(|_| interactive),
            replay: self.records.replay()?,
            record: self.records.record.clone(),
            route: Route {
                url: self.url.clone(),
                connector: self.over.connector(&self.handshake, tuning)?,
                tuning,
                http2: self.over.http2,
            },
            manner: self.manner()?,
        };
        super::block_on(async { run(options).await.map_err(|failed| failure(&self.url, failed)) })
    }

    fn manner(&self) -> Result<Manner, Failure> {
        let Says { execute, wait, no_close, one_message, binary, ping_interval, reconnect } = &self.says;
        let wrong = || Failure::usage("--ping-interval is not a time above 0");
        let interval = |seconds: f64| Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
        Ok(Manner {
            url: self.url.clone(),
            execute: execute.clone(),
            wait: (*wait >= 0.0).then(|| Duration::try_from_secs_f64(*wait).unwrap_or(Duration::MAX)),
            no_close: *no_close,
            one_message: *one_message,
            show_ping_pong: self.shows.show_ping_pong,
            binary: *binary,
            ping_interval: ping_interval.map(|seconds| interval(seconds).ok_or_else(wrong)).transpose()?,
            reconnect: *reconnect,
            native: !self.shows.no_native,
            expect: self.records.expect,
            record: self.records.record.is_some(),
        })
    }
}

impl Over {
    fn connector(&self, handshake: &Handshake, tuning: Tuning) -> Result<Connector, Failure> {
        let mut connector = handshake.connector()?;
        if let Some(user) = &self.user {
            let user = secret("--user", user)?;
            connector = match user.split_once(':') {
                Some((name, password)) => connector.basic_auth(name, password),
                None => {
                    let password = std::env::var("SWITCHBOARD_PASSWORD");
                    let none = "--user has no password: NAME:PASSWORD, @FILE, or the environment variable SWITCHBOARD_PASSWORD";
                    connector.basic_auth(&user, &password.map_err(|_| Failure::usage(none))?)
                }
            };
        }
        if let Some(token) = &self.token {
            connector = connector.bearer_token(&secret("--token", token)?);
        }
        // As browsers offer it, and used for short messages too: one wants to see it.
        let policy = Policy::default().context_takeover(true).peer_context_takeover(true).tuning(tuning);
        Ok(connector.deflate((self.compress && !self.no_compress).then_some(policy)))
    }
}

/// What a flag says, or what is in the file that it names.
fn secret(flag: &str, value: &str) -> Result<String, Failure> {
    let Some(file) = value.strip_prefix('@') else { return Ok(value.to_owned()) };
    let text = std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("{flag} @{file}: {error}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

impl Shows {
    fn look(&self, terminal: bool, interactive: bool) -> Look {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Look {
            json: self.json,
            pretty: self.pretty,
            timestamps: self.timestamps,
            colour: match self.color {
                When::Auto => terminal && !plain && !dumb,
                When::Always => true,
                When::Never => false,
            },
            frames: self.frames,
            terminal,
            interactive,
            epoch_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Where lines are kept, if they are.
    fn history(&self) -> Option<PathBuf> {
        let folder = state_folder(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"));
        folder.filter(|_| !self.no_history).map(|folder| folder.join("switchboard/connect_history"))
    }
}

/// The folder for what a program keeps between its runs, as freedesktop.org has it: a path that is not absolute does not count.
fn state_folder(state: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    state.and_then(absolute).or_else(|| Some(home.and_then(absolute)?.join(".local/state")))
}

impl Records {
    fn replay(&self) -> Result<Option<Replay>, Failure> {
        let Some(file) = &self.replay else { return Ok(None) };
        let wrong = |why: &dyn core::fmt::Display| Failure::usage(format!("--replay {}: {why}", file.display()));
        if !(0.0..=SPEED_MAX).contains(&self.replay_speed) {
            return Err(Failure::usage(format!("--replay-speed is not a number from 0 to {SPEED_MAX}")));
        }
        let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
        Replay::parse(&text, self.replay_speed).map(Some).map_err(|error| wrong(&error))
    }
}

/// Beyond, one wants 0.
const SPEED_MAX: f64 = 1_000_000.0;

fn failure(url: &str, failed: Failed) -> Failure {
    match failed {
        Failed::Usage(message) => Failure::usage(message),
        Failed::Connecting(error) => Failure::connecting(url, &error),
        Failed::Connection(message) => Failure::connection(message),
        Failed::Refused(message) => Failure::refused(message),
        Failed::Interrupted => Failure::INTERRUPTED,
        Failed::Other(message) => Failure::other(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_where_state_is() {
        let folder =
            |state: Option<&str>, home: Option<&str>| state_folder(state.map(OsString::from), home.map(OsString::from));
        assert_eq!(folder(Some("/state"), Some("/users/ann")), Some("/state".into()));
        assert_eq!(folder(Some("state"), Some("/users/ann")), Some("/users/ann/.local/state".into()));
        assert_eq!(folder(None, Some("/users/ann")), Some("/users/ann/.local/state".into()));
        assert_eq!(folder(Some(""), None), None);
    }
}
