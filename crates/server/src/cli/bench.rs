//! `switchboard bench`: load for any WebSocket server, and how it answers.

use super::client::{Handshake, Reach};
use super::exit::Failure;
use clap::{Args, Subcommand};
use core::time::Duration;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;
use switchboard_workbench::load::{
    Chart, Figures, Kind, LoadError, Plan, Progress, Summary, Tally, Usage, process_cpu, process_rss, run,
};

/// What kind of load.
#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// Send messages that come back: an endpoint that echoes, or a raw channel that each connection has for itself
    Echo(Echo),
    /// Publish on a channel of a Switchboard with many subscribers, at /ws
    Fanout(Fanout),
    /// Open connections at a rate, hold and close them
    Connect(Storm),
    /// Open connections and hold them, sending nothing
    Idle(Idle),
}

#[derive(Debug, Args)]
struct Common {
    /// ws:// or wss://; {n} in it becomes the number of the connection
    url: String,
    /// Connections
    #[arg(short = 'c', long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=CONNECTIONS_MAX))]
    connections: u32,
    /// How long it is measured
    #[arg(short = 'd', long, value_name = "SECONDS", default_value_t = 10.0)]
    duration: f64,
    /// How long load runs before that
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    warm_up: f64,
    /// Threads that make the load
    #[arg(short = 't', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// The server's process, to tell what it used
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Write a line for each moment into this file
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a page with plots into this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    handshake: Handshake,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(super) struct Echo {
    #[command(flatten)]
    common: Common,
    /// Messages in a second, all connections together
    #[arg(short, long, value_name = "N", default_value_t = 1_000.0)]
    rate: f64,
    /// In place of a rate: so many messages on their way on each connection, the next sent when one comes back. It shows what a server can do, and its latencies are those of a
    /// server that has more to do than it can
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    depth: Option<u32>,
    /// Bytes of a message, 40 at least
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(40..=16_777_216))]
    size: u32,
}

#[derive(Debug, Args)]
pub(super) struct Fanout {
    #[command(flatten)]
    common: Common,
    /// Publications in a second
    #[arg(short, long, value_name = "N", default_value_t = 10.0)]
    rate: f64,
    /// Bytes of a publication, 40 at least
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(40..=1_048_576))]
    size: u32,
    /// The channel
    #[arg(long, value_name = "CHANNEL", default_value = "bench")]
    channel: String,
}

#[derive(Debug, Args)]
pub(super) struct Storm {
    #[command(flatten)]
    common: Common,
    /// Connections in a second; --connections is how many are open at once at most
    #[arg(short, long, value_name = "N", default_value_t = 100.0)]
    rate: f64,
    /// How long each stays
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    hold: f64,
}

#[derive(Debug, Args)]
pub(super) struct Idle {
    #[command(flatten)]
    common: Common,
}

/// More connections than one process usually may have.
const CONNECTIONS_MAX: i64 = 1_000_000;
/// A measurement is bounded.
const DURATION_MAX: f64 = 24.0 * 3600.0;
/// Messages in a second that nothing here can send.
const RATE_MAX: f64 = 10_000_000.0;

impl Bench {
    pub(super) fn run(self: Box<Self>) -> Result<(), Failure> {
        let (common, kind, rate, size, what) = match *self {
            Self::Echo(Echo { common, rate, depth, size }) => {
                let how = match depth {
                    Some(depth) => format!("{depth} on their way on each"),
                    None => format!("{rate} a second"),
                };
                let what = format!("echo of {size} bytes, {} connections, {how}", common.connections);
                (common, Kind::Echo { depth }, rate, size, what)
            }
            Self::Fanout(Fanout { common, rate, size, channel }) => {
                let what = format!("fan-out of {size} bytes to {} subscribers, {rate} a second", common.connections);
                (common, Kind::Fanout { channel }, rate, size, what)
            }
            Self::Connect(Storm { common, rate, hold }) => {
                let hold = seconds("--hold", hold)?;
                let what = format!("{rate} connections a second, at most {} at once", common.connections);
                (common, Kind::Storm { hold }, rate, 0, what)
            }
            Self::Idle(Idle { common }) => {
                let what = format!("{} idle connections", common.connections);
                (common, Kind::Idle, 0.0, 0, what)
            }
        };
        if !(0.0..=RATE_MAX).contains(&rate) || (rate == 0.0 && kind != Kind::Idle) {
            return Err(Failure::usage(format!("--rate is not above 0 and up to {RATE_MAX}")));
        }
        common.measure(kind, rate, size as usize, what)
    }
}

impl Common {
    fn measure(&self, kind: Kind, rate: f64, size: usize, what: String) -> Result<(), Failure> {
        let reach = self.reach.find(&self.url, &self.handshake, "load");
        super::block_on(async { reach.await.map(drop) })?;
        let plan = Plan {
            url: self.url.clone(),
            connector: self.handshake.connector()?,
            kind,
            connections: self.connections,
            rate,
            size,
            duration: seconds("--duration", self.duration)?,
            warm_up: seconds("--warm-up", self.warm_up)?,
            threads: self.threads,
        };
        let url = self.url.split('?').next().unwrap_or_default().to_owned();
        let mut summary = Summary { what, url, measured: plan.duration, ..Summary::default() };
        let mut watch = Watch::new(self.pid, &plan);
        let wanted = self.connections;
        let result = run(plan, |progress| watch.tell(progress, wanted, &mut summary));
        watch.end(&mut summary);
        result.map_err(|error| match &error {
            LoadError::Connect { error: cause, opened: 0, .. } => Failure::connecting(&self.url, cause),
            LoadError::Connect { .. } | LoadError::Protocol(_) => Failure::connection(error.to_string()),
            LoadError::System(_) => Failure::other(error.to_string()),
        })?;
        self.report(&summary)?;
        match summary.total.error_count() {
            0 => Ok(()),
            count => Err(Failure::other(format!("{count} errors"))),
        }
    }

    fn report(&self, summary: &Summary) -> Result<(), Failure> {
        let text = if self.json { format!("{}\n", summary.json()) } else { summary.text() };
        std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|error| Failure::other(format!("cannot write the figures: {error}")))?;
        for (file, content) in [(&self.csv, Summary::csv as fn(&Summary) -> String), (&self.html, Summary::html)] {
            if let Some(file) = file {
                std::fs::write(file, content(summary))
                    .map_err(|error| Failure::other(format!("cannot write {}: {error}", file.display())))?;
            }
        }
        Ok(())
    }
}

/// What is seen and drawn while load runs.
struct Watch {
    pid: Option<u32>,
    terminal: bool,
    chart: Chart,
    since: Instant,
    warm_up: Duration,
    end: Duration,
    rss: Option<u64>,
    /// Of the generator and the server, when the measurement began.
    begin: Option<(Option<Usage>, Option<Usage>)>,
    /// The moment's counts, of all threads.
    moment: Tally,
    drawn: Duration,
}

impl Watch {
    fn new(pid: Option<u32>, plan: &Plan) -> Self {
        Self {
            pid,
            terminal: std::io::stderr().is_terminal(),
            chart: Chart::default(),
            since: Instant::now(),
            warm_up: plan.warm_up,
            end: plan.warm_up + plan.duration,
            rss: pid.and_then(process_rss),
            begin: None,
            moment: Tally::default(),
            drawn: Duration::ZERO,
        }
    }

    fn usage(&self) -> (Option<Usage>, Option<Usage>) {
        (process_cpu(std::process::id()), self.pid.and_then(process_cpu))
    }

    fn tell(&mut self, progress: Progress, wanted: u32, summary: &mut Summary) {
        match progress {
            Progress::Opened(count) if self.terminal => {
                if count == u64::from(wanted) || self.since.elapsed() > Duration::from_millis(100) {
                    self.since = Instant::now();
                    eprint!("\r\x1b[K{count} of {wanted} connections are open");
                }
                if count == u64::from(wanted) {
                    eprintln!();
                }
            }
            Progress::Opened(_) => {}
            Progress::Counted(at, tally) => {
                if self.begin.is_none() && at >= self.warm_up {
                    self.begin = Some(self.usage());
                }
                if self.terminal {
                    self.moment.add(&tally);
                    if at.saturating_sub(self.drawn) >= Duration::from_millis(200) && at <= self.end {
                        self.drawn = at;
                        eprint!("{}", self.chart.draw(at, self.end, &self.moment.take()));
                    }
                }
                summary.add(at, tally);
                if at >= self.end && summary.figures == Figures::default() {
                    self.end(summary);
                }
            }
        }
    }

    /// Writes down what processes have used since the measurement began.
    fn end(&self, summary: &mut Summary) {
        if summary.figures != Figures::default() {
            return;
        }
        let Some((generator, server)) = self.begin else { return };
        let since = |now: Option<Usage>, then: Option<Usage>| {
            let (now, then) = (now?, then?);
            Some(Usage { cpu: now.cpu.saturating_sub(then.cpu) })
        };
        let now = self.usage();
        let rss = self.pid.and_then(process_rss);
        let grew = rss.zip(self.rss).and_then(|(now, then)| Some(i64::try_from(now).ok()? - i64::try_from(then).ok()?));
        summary.figures =
            Figures { generator: since(now.0, generator), server: since(now.1, server), server_grew: grew };
    }
}

fn seconds(flag: &str, value: f64) -> Result<Duration, Failure> {
    let good = (0.0..=DURATION_MAX).contains(&value);
    let wrong = || Failure::usage(format!("{flag} is not a time of at most a day"));
    Duration::try_from_secs_f64(value).ok().filter(|_| good).ok_or_else(wrong)
}
