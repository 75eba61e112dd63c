//! `switchboard serve`: flags, logs, the words on the screen, and signals.

use super::exit::Failure;
use crate::apps::{DEVELOPMENT_CHAT, DEVELOPMENT_TOKEN_TTL, everything};
use crate::config::{self, Config, Count, RawConfig};
use crate::serve::{Running, reachable, start};
use crate::{clock, supervisor};
use clap::{Args, ValueEnum};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use switchboard_session::Directory;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The configuration, TOML
    #[arg(short, long, value_name = "FILE", env = "SWITCHBOARD_CONFIG")]
    config: Option<PathBuf>,
    /// Where clients connect [default: 127.0.0.1:8080]
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The console, health and metrics, or `off` [default: 127.0.0.1:8081]
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<String>,
    /// Event loops; 0 is one for each core [default: 0]
    #[arg(long)]
    shards: Option<usize>,
    /// The certificate with its chain, PEM
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The folder that keeps the history across restarts [default: none, it is in memory]
    #[arg(short, long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Keep the history in memory only, whatever the configuration says
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    /// What to log: a level, or levels by module, such as info,switchboard_net=debug
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    log: String,
    /// How logs look
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let raw = self.raw_config()?;
        let config = check(&raw)?;
        self.start_logging()?;
        super::block_on(run(&self, raw, config))
    }

    /// What is written, in the file, in the environment and on the command line.
    fn raw_config(&self) -> Result<RawConfig, Failure> {
        let mut raw = super::config::load(self.config.as_deref())?;
        if let Some(listen) = &self.listen {
            raw.server.listen.clone_from(listen);
        }
        if let Some(admin_listen) = &self.admin_listen {
            raw.server.admin_listen.clone_from(admin_listen);
        }
        if let Some(shards) = self.shards {
            raw.server.shards = Count(shards);
        }
        raw.tls.cert = self.tls_cert.clone().or(raw.tls.cert);
        raw.tls.key = self.tls_key.clone().or(raw.tls.key);
        raw.history.data_dir = self.data_dir.clone().or(raw.history.data_dir).filter(|_| !self.ephemeral);
        Ok(raw)
    }

    /// Reads the configuration again. What is no good leaves everything as it was.
    async fn reload(&self, raw: &RawConfig, running: &Running) {
        running.reload();
        let outcome = async {
            let mut read = self.raw_config()?;
            let fixed = config::keep_fixed(raw, &mut read).map_err(|error| Failure::other(error.to_string()))?;
            let config = check(&read)?;
            if !fixed.is_empty() {
                tracing::warn!(keys = fixed.join(", "), "changed in the configuration, and taken only by a restart");
            }
            running.reconfigure(&config).await.map_err(|error| Failure::other(format!("{error:#}")))
        };
        if let Err(failure) = outcome.await {
            for problem in failure.message().unwrap_or_default().lines() {
                tracing::error!(problem, "the configuration is no good; the old one stays in use");
            }
        }
    }

    fn start_logging(&self) -> Result<(), Failure> {
        let filter = filter(&self.log).map_err(|why| Failure::usage(format!("--log {:?}: {why}", self.log)))?;
        let ansi = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(ansi);
        let layer = match self.log_format {
            LogFormat::Text => layer.boxed(),
            LogFormat::Json => layer.json().flatten_event(true).boxed(),
        };
        let started = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
        started.map_err(|error| Failure::other(format!("cannot log: {error}")))
    }
}

/// A word by itself is a level. The library would take any other for a module, and nothing would be logged.
fn filter(written: &str) -> Result<Targets, String> {
    for part in written.split(',').map(str::trim).filter(|part| !part.is_empty() && !part.contains('=')) {
        if part.parse::<LevelFilter>().is_err() {
            return Err(format!(
                "{part:?} is no level (off, error, warn, info, debug, trace); of a module it is {part}=debug"
            ));
        }
    }
    written.parse().map_err(|error: ParseError| error.to_string())
}

fn check(raw: &RawConfig) -> Result<Config, Failure> {
    config::check(raw, |name| std::env::var(name).ok()).map_err(|error| Failure::usage(error.to_string()))
}

async fn run(serve: &Serve, raw: RawConfig, config: Config) -> Result<(), Failure> {
    // Before anything is announced: whoever reads the announcement may send a signal.
    let mut signals = Signals::new().map_err(|error| Failure::other(format!("cannot receive signals: {error}")))?;
    let running = start(&config).await.map_err(|error| Failure::other(format!("{error:#}")))?;
    // A server does not end because nobody reads its greeting.
    if let Err(error) = announce(&running, &mut io::stdout().lock()) {
        tracing::warn!(%error, "cannot say on stdout where the server is");
    }
    supervisor::notify("READY=1");
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Reload => serve.reload(&raw, &running).await,
                Asked::Stop(_) => break,
            },
            // Whoever supervises the process shall start it again: a part of the channels is gone.
            () = running.failed() => return Err(Failure::other("a shard has failed, see the log")),
        }
    }
    supervisor::notify("STOPPING=1");
    tokio::select! {
        () = running.shut_down(config.drain_window) => Ok(()),
        code = signals.second_stop() => {
            tracing::warn!("a second signal: the server stops at once");
            std::process::exit(code);
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

enum Asked {
    Reload,
    /// With the exit code of a process that the signal ends.
    Stop(i32),
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        // Writing past a limit on the size of files shall be an error, not the end. Once it is asked for, the signal does nothing.
        drop(signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?);
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop(143),
            _ = self.interrupt.recv() => Asked::Stop(130),
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    async fn second_stop(&mut self) -> i32 {
        loop {
            if let Asked::Stop(code) = self.next().await {
                return code;
            }
        }
    }
}

fn history(running: &Running) -> String {
    match running.data_dir() {
        Some(folder) => format!("{}", folder.display()),
        None => "in memory: it ends with the process; --data-dir FOLDER keeps it".to_owned(),
    }
}

/// What to do next, for somebody who has just started it.
fn announce(running: &Running, out: &mut impl Write) -> io::Result<()> {
    let apps = running.apps();
    let host = reachable(running.address());
    let (http, ws) = if running.is_secure() { ("https", "wss") } else { ("http", "ws") };
    let console = running.admin_address().map(|admin| format!("http://{admin}/"));
    if !apps.is_development() {
        writeln!(out, "Switchboard {} listens on {}", env!("CARGO_PKG_VERSION"), running.address())?;
        writeln!(out, "  WebSocket  {ws}://{host}/ws")?;
        writeln!(out, "  HTTP API   {http}://{host}/api/v1/publish")?;
        writeln!(out, "  console    {}", console.as_deref().unwrap_or("off"))?;
        writeln!(out, "  history    {}", history(running))?;
        return Ok(());
    }
    writeln!(
        out,
        "Switchboard {} runs for development: keys are made at each start, and anybody on this machine",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(out, "may do everything on the application \"dev\".\n")?;
    writeln!(out, "  console    {}", console.as_deref().unwrap_or("off"))?;
    if apps.raw_path(DEVELOPMENT_CHAT.0).is_some() {
        writeln!(
            out,
            "  chat       {ws}://{host}{}   plain messages on the channel \"{}\"",
            DEVELOPMENT_CHAT.0, DEVELOPMENT_CHAT.1
        )?;
    }
    writeln!(out, "  WebSocket  {ws}://{host}/ws     the native protocol")?;
    writeln!(out, "  HTTP API   {http}://{host}/api/v1/publish")?;
    for key in apps.all().iter().filter_map(|app| app.api_keys.first()) {
        writeln!(out, "  API key    {}", key.reveal())?;
    }
    if let Ok((token, _)) = apps.development_token(None, "ann", &[everything()], DEVELOPMENT_TOKEN_TTL, clock::now()) {
        writeln!(out, "  token      {token}   (user ann, for a day)")?;
    }
    writeln!(out, "  history    {}", history(running))?;
    let insecure = if running.is_secure() { " --insecure" } else { "" };
    // Whoever runs it from its sources has no `switchboard` in the path.
    let cargo = if std::env::var_os("CARGO_MANIFEST_DIR").is_some() { "cargo " } else { "" };
    let open = if console.is_some() { "Open the console in a browser, and in" } else { "In" };
    writeln!(out, "\n{open} another terminal try:\n")?;
    writeln!(out, "  {cargo}switchboard connect{insecure} {ws}://{host}{}\n", DEVELOPMENT_CHAT.0)?;
    writeln!(out, "Ctrl-C stops it.")?;
    Ok(())
}
