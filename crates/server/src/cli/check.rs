//! `switchboard check URL`: whether a WebSocket server keeps the standards.

use super::client::{Handshake, Reach};
use super::exit::Failure;
use clap::{Args, ValueEnum};
use core::time::Duration;
use std::io::{IsTerminal, Write};
use switchboard_workbench::check::driver::play_all;
use switchboard_workbench::check::{Check, Format, Outcome, Report, Target, battery};

#[derive(Debug, Args)]
pub(super) struct CheckServer {
    /// ws:// or wss://; best an endpoint that sends back what it gets
    #[arg(required_unless_present = "list")]
    url: Option<String>,
    /// The server does not send back what it gets: judge it by closes and pongs only
    #[arg(long)]
    no_echo: bool,
    /// Only the checks whose names begin so; may be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Not the checks whose names begin so; may be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    skip: Vec<String>,
    /// List the checks, with the clause that each looks at
    #[arg(long)]
    list: bool,
    /// Print the checks that passed too
    #[arg(short, long)]
    verbose: bool,
    /// The form of the report
    #[arg(long, value_name = "FORM", default_value = "text")]
    format: Form,
    /// The report as JSON: the same as --format json
    #[arg(long)]
    json: bool,
    /// How long the server may take for each answer
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    patience: f64,
    /// Connections at once
    #[arg(short, long, value_name = "N", default_value_t = 4)]
    jobs: usize,
    #[command(flatten)]
    handshake: Handshake,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Text,
    Json,
    Junit,
}

impl CheckServer {
    pub(super) fn run(self) -> Result<(), Failure> {
        let checks = self.chosen()?;
        if self.list {
            for check in &checks {
                say!("{}\t{}\t{}", check.id, check.clause, check.title);
            }
            return Ok(());
        }
        let report = super::block_on(self.check(&checks))?;
        let format = match self.format {
            _ if self.json => Format::Json,
            Form::Text => Format::Text,
            Form::Json => Format::Json,
            Form::Junit => Format::Junit,
        };
        let out = std::io::stdout();
        let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let text = report.print(format, self.url.as_deref().unwrap_or_default(), self.verbose, colour);
        out.lock()
            .write_all(text.as_bytes())
            .map_err(|error| Failure::other(format!("cannot write the report: {error}")))?;
        match report.count(Outcome::Failed) {
            0 => Ok(()),
            failed => Err(Failure::other(format!("{failed} checks failed"))),
        }
    }

    fn chosen(&self) -> Result<Vec<Check>, Failure> {
        let all = battery();
        for name in self.only.iter().chain(&self.skip) {
            if !all.iter().any(|check| check.id.starts_with(name)) {
                return Err(Failure::usage(format!("no check's name begins with {name:?}: see --list")));
            }
        }
        let begins = |check: &Check, names: &[String]| names.iter().any(|name| check.id.starts_with(name));
        let wanted = |check: &Check| (self.only.is_empty() || begins(check, &self.only)) && !begins(check, &self.skip);
        Ok(all.into_iter().filter(wanted).collect())
    }

    async fn check(&self, checks: &[Check]) -> Result<Report, Failure> {
        let url = self.url.as_deref().unwrap_or_default();
        let (location, address) = self.reach.find(url, &self.handshake, "a check").await?;
        let patience = Duration::try_from_secs_f64(self.patience).ok().filter(|patience| !patience.is_zero());
        let target = Target {
            host: location.authority,
            path: location.path,
            headers: self.handshake.headers(),
            subprotocols: self.handshake.subprotocols(),
            echoes: !self.no_echo,
            patience: patience.ok_or_else(|| Failure::usage("--patience is not a time"))?,
        };
        let mut report = Report::default();
        let progress = std::io::stderr().is_terminal();
        let played = play_all(checks, &target, &address, self.jobs, |check, verdict| {
            report.add(check, verdict);
            if progress {
                let done = report.len();
                eprint!("\r\x1b[K{done} of {}: {}", checks.len(), check.id);
            }
        });
        let played = tokio::select! {
            played = played => played,
            _ = tokio::signal::ctrl_c() => return Err(Failure::INTERRUPTED),
        };
        if progress {
            eprint!("\r\x1b[K");
        }
        played.map_err(|error| Failure::connection(format!("cannot connect to {url}: {error}")))?;
        Ok(report)
    }
}
