//! The driver: builds, starts servers and the load generator round by round, prints tables, keeps the figures as JSON. A goal
//! that is missed is printed and decides nothing; only a run that breaks makes it fail.

use std::{
    fs,
    io::IsTerminal,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use switchboard_bench::{
    args::Args,
    machine, plan,
    plan::{Measure, Program, SCENARIOS, Scenario, Server},
    report::{self, Rounds},
    server::Running,
    sys, tls,
};

const USAGE: &str = "\
cargo xtask bench [SCENARIO…] [options]      (or, in bench/: cargo run --release --bin bench -- …)

  --quick          one short round with few peers and unoptimised builds: shows that everything runs, its figures mean nothing
  --full           nine rounds of 1.5 s instead of five of 0.8 s
  --servers A,B    only these servers
  --mode M         same-core (default): server and generator share one CPU; split: one CPU each, with latencies
  --rounds N       --duration-ms N
  --save NAME      keeps them as results/NAME.json and NAME.md (otherwise latest)
  --into NAME      puts these scenarios into the run that is stored under that name, each with a line that says when and with what it was measured
  --list           what there is";

struct Settings {
    quick: bool,
    split: bool,
    rounds: usize,
    duration: Duration,
    warm_up: Duration,
    servers: Option<Vec<String>>,
    save: String,
    /// The stored run that the results become a part of.
    into: Option<String>,
    root: PathBuf,
    cpus: Vec<usize>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut args = Args::parse(std::env::args().skip(1), &["quick", "full", "list", "help"])?;
    if args.flag("help") {
        println!("{USAGE}");
        return Ok(());
    }
    if args.flag("list") {
        for scenario in SCENARIOS {
            println!("{:14} {}: {}", scenario.name, scenario.title, scenario.servers.join(", "));
        }
        return Ok(());
    }
    let settings = Settings::from(&mut args)?;
    let names = args.finish()?;
    let scenarios = select(&names)?;
    sys::raise_open_files().context("cannot raise the limit of open files")?;

    build(&settings, &scenarios)?;
    let (certificate, key) = settings.certificate();
    tls::make_certificate(&certificate, &key)?;
    let about = about(&settings)?;
    println!("{}\n", report::headline(&about));
    let started = Instant::now();
    let mut results = Vec::new();
    for scenario in scenarios {
        let result = measure(&settings, scenario)?;
        println!("{}", report::to_markdown(&result));
        results.push(result);
    }
    let seconds = started.elapsed().as_secs();
    let count = results.len();
    let (name, all) = match &settings.into {
        None => (&settings.save, json!({ "about": about, "seconds": seconds, "results": results })),
        Some(into) => (into, report::merge(stored(&settings, into)?, results, &about)),
    };
    keep(&settings, name, &all)?;
    println!(
        "{count} scenarios ran in {seconds} s; every round is in bench/results/{name}.json, the tables in {name}.md"
    );
    Ok(())
}

fn stored(settings: &Settings, name: &str) -> Result<Value> {
    let file = settings.root.join("results").join(format!("{name}.json"));
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no stored run", file.display()))
}

fn keep(settings: &Settings, name: &str, run: &Value) -> Result<()> {
    let folder = settings.root.join("results");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("{name}.json")), serde_json::to_string_pretty(run)? + "\n")?;
    fs::write(folder.join(format!("{name}.md")), report::run_to_markdown(run))?;
    Ok(())
}

impl Settings {
    fn from(args: &mut Args) -> Result<Self> {
        let quick = args.flag("quick");
        let full = args.flag("full");
        let (rounds, duration_ms) = match (quick, full) {
            (true, true) => bail!("--quick and --full exclude each other"),
            (true, false) => (1, 100),
            (false, true) => (9, 1500),
            (false, false) => (5, 800),
        };
        let mode = args.or("mode", "same-core".to_owned())?;
        ensure!(mode == "same-core" || mode == "split", "--mode: '{mode}' is neither same-core nor split");
        let split = mode == "split";
        let cpus = sys::cpus()?;
        ensure!(!cpus.is_empty(), "no CPU to run on");
        ensure!(!split || cpus.len() > 1, "--mode split needs two CPUs");
        Ok(Self {
            quick,
            split,
            rounds: args.or("rounds", rounds)?,
            duration: Duration::from_millis(args.or("duration-ms", duration_ms)?),
            warm_up: Duration::from_millis(if quick { 50 } else { 300 }),
            servers: args.optional::<String>("servers")?.map(|list| list.split(',').map(str::to_owned).collect()),
            save: args.or("save", "latest".to_owned())?,
            into: args.optional("into")?,
            root: PathBuf::from(env!("CARGO_MANIFEST_DIR")),
            cpus,
        })
    }

    fn is_split(&self, scenario: &Scenario) -> bool {
        self.split || scenario.split
    }

    /// Those of the server and of the generator. Interrupts usually go to the first CPU: what runs alone is measured on the last.
    fn cpus(&self, scenario: &Scenario, server: &Server) -> (&[usize], &[usize]) {
        let last = &self.cpus[self.cpus.len() - 1..];
        match self.is_split(scenario) {
            false => (last, last),
            true if server.cpus > 1 => (&self.cpus, &self.cpus),
            true => (&self.cpus[..1], last),
        }
    }

    fn takes(&self, name: &str) -> bool {
        match &self.servers {
            Some(servers) => servers.iter().any(|server| server == name),
            None => !self.quick || !plan::NOT_QUICK.contains(&name),
        }
    }

    fn servers(&self, scenario: &Scenario) -> Result<Vec<&'static Server>> {
        let names = scenario.servers.iter().filter(|name| self.takes(name));
        names.map(|name| plan::server(name).with_context(|| format!("no server is called {name}"))).collect()
    }

    /// The quick tier does not wait for link-time optimisation.
    fn profile(&self) -> (&'static [&'static str], &'static str) {
        if self.quick { (&[], "debug") } else { (&["--release"], "release") }
    }

    fn target(&self, workspace: &Path) -> PathBuf {
        workspace.join("target").join(self.profile().1)
    }

    fn product_root(&self) -> PathBuf {
        self.root.join("..")
    }

    /// The file of the certificate that all servers show in this run, and that of its key.
    fn certificate(&self) -> (PathBuf, PathBuf) {
        let folder = self.root.join("target");
        (folder.join("certificate.pem"), folder.join("key.pem"))
    }

    fn program(&self, server: &Server) -> PathBuf {
        match server.program {
            Program::Peer { binary, .. } => self.target(&self.root).join(binary),
            Program::Product => self.target(&self.product_root()).join("switchboard"),
        }
    }
}

fn select(names: &[String]) -> Result<Vec<&'static Scenario>> {
    for name in names {
        ensure!(SCENARIOS.iter().any(|s| s.name == name), "no scenario is called '{name}'; --list shows them");
    }
    Ok(SCENARIOS.iter().filter(|s| names.is_empty() || names.iter().any(|name| name == s.name)).collect())
}

fn build(settings: &Settings, scenarios: &[&Scenario]) -> Result<()> {
    let mut packages = vec!["switchboard-bench"];
    let mut product = false;
    for scenario in scenarios {
        for server in settings.servers(scenario)? {
            match server.program {
                Program::Peer { package, .. } if !packages.contains(&package) => packages.push(package),
                Program::Peer { .. } => {}
                Program::Product => product = true,
            }
        }
    }
    let packages: Vec<String> = packages.iter().flat_map(|name| ["-p".to_owned(), (*name).to_owned()]).collect();
    cargo_build(&settings.root, settings, &packages)?;
    if product {
        cargo_build(&settings.product_root(), settings, &["-p".to_owned(), "switchboard-server".to_owned()])?;
    }
    Ok(())
}

fn cargo_build(workspace: &Path, settings: &Settings, packages: &[String]) -> Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace).env("CARGO_TARGET_DIR", workspace.join("target"));
    command.args(["build", "--quiet"]).args(settings.profile().0).args(packages);
    let status = command.status().context("cannot run cargo")?;
    ensure!(status.success(), "building {} failed", packages.join(" "));
    Ok(())
}

/// All rounds of one scenario, the servers taking turns: A B C A B C …
fn measure(settings: &Settings, scenario: &Scenario) -> Result<Value> {
    let load = load_args(settings, scenario);
    let mut all: Vec<Rounds> = Vec::new();
    for server in settings.servers(scenario)? {
        all.push(Rounds { server: server.name, label: label(settings, server)?, results: Vec::new() });
    }
    for round in 0..settings.rounds {
        for rounds in &mut all {
            let server = plan::server(rounds.server).context("the plan lost a server")?;
            progress(&format!("{}: round {} of {}, {}", scenario.name, round + 1, settings.rounds, rounds.label));
            let result = one_round(settings, scenario, server, &load);
            rounds.results.push(result.with_context(|| format!("{}, {}", scenario.name, rounds.label))?);
        }
    }
    progress("");
    let mut result = report::to_json(scenario, &load, &all);
    if settings.quick {
        // Its figures say nothing, so they meet nothing either.
        result["title"] = json!(format!("Shortened: {}", scenario.title));
        result["goals"] = json!([]);
    }
    Ok(result)
}

/// Overwrites the last line, where someone is watching.
fn progress(line: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
    }
}

fn load_args(settings: &Settings, scenario: &Scenario) -> Vec<String> {
    let mut load: Vec<String> = scenario.load.iter().map(|arg| (*arg).to_owned()).collect();
    if settings.quick {
        load.extend(scenario.quick.iter().map(|arg| (*arg).to_owned()));
    }
    if scenario.measure == Measure::ServerCpu {
        let (warm_up, duration) = (settings.warm_up.as_millis(), settings.duration.as_millis());
        load.extend(["--warm-up-ms".to_owned(), warm_up.to_string(), "--duration-ms".to_owned(), duration.to_string()]);
    }
    if settings.is_split(scenario) && scenario.load.first() == Some(&"echo") {
        load.push("--latency".to_owned());
    }
    load
}

/// A fresh server process, one load, and the end of both.
fn one_round(settings: &Settings, scenario: &Scenario, server: &Server, load: &[String]) -> Result<Value> {
    let logs = settings.root.join("target/logs");
    fs::create_dir_all(&logs)?;
    let log = logs.join(format!("{}.log", server.name));
    let root = settings.root.to_string_lossy();
    let data = settings.root.join("target/data");
    if data.exists() {
        fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
    }
    let filled = |arg: &&str| arg.replace("{bench}", &root).replace("{data}", &data.to_string_lossy());
    let mut args: Vec<String> = server.args.iter().map(filled).collect();
    let (certificate, key) = settings.certificate();
    if scenario.tls {
        args.extend(["--tls-cert".to_owned(), certificate.to_string_lossy().into_owned()]);
        args.extend(["--tls-key".to_owned(), key.to_string_lossy().into_owned()]);
    }
    let split = settings.is_split(scenario);
    let (server_cpus, load_cpus) = settings.cpus(scenario, server);
    let running = Running::start(&settings.program(server), &args, server_cpus, !split, &log)?;
    let mut command = Command::new(settings.target(&settings.root).join("load"));
    command.args(load).args(["--path", server.path, "--mode", if split { "split" } else { "same-core" }]);
    command.args(["--addr", &running.addr.to_string(), "--pid", &running.pid().to_string()]);
    let load_cpus: Vec<String> = load_cpus.iter().map(ToString::to_string).collect();
    command.args(["--cpus", &load_cpus.join(",")]);
    if scenario.tls {
        command.arg("--ca").arg(&certificate);
    }
    let output = command.output().context("cannot run the load generator")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} ({}); the server's log is {}", said.trim(), output.status, log.display());
    serde_json::from_slice(&output.stdout).context("the load generator printed no JSON")
}

/// The server's name, with the version that the lock file has.
fn label(settings: &Settings, server: &Server) -> Result<String> {
    let Some(library) = server.library else { return Ok(server.name.to_owned()) };
    let lock = fs::read_to_string(settings.root.join("Cargo.lock")).context("cannot read bench/Cargo.lock")?;
    let mut lines = lock.lines();
    lines.find(|line| *line == format!("name = \"{library}\"")).with_context(|| format!("{library} is not locked"))?;
    let version = lines.next().and_then(|line| line.split('"').nth(1)).context("a locked package has no version")?;
    Ok(format!("{} {version}", server.name))
}

fn about(settings: &Settings) -> Result<Value> {
    let git = |args: &[&str]| {
        let output = Command::new("git").current_dir(&settings.root).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let compiler = Command::new("rustc").arg("--version").output().context("cannot run rustc")?;
    let changed = git(&["status", "--porcelain", "--", ".", "../lib", "../crates"]).is_none_or(|list| !list.is_empty());
    let words: Vec<String> = std::env::args().skip(1).collect();
    Ok(json!({
        "command": format!("cargo xtask bench {}", words.join(" ")).trim(),
        "mode": if settings.split { "split" } else { "same-core" },
        "rounds": settings.rounds,
        "duration_ms": settings.duration.as_millis() as u64,
        "profile": settings.profile().1,
        "commit": git(&["rev-parse", "--short", "HEAD"]),
        "date": git(&["log", "-1", "--format=%cs"]),
        "uncommitted_changes": changed,
        "compiler": String::from_utf8_lossy(&compiler.stdout).trim(),
        "machine": machine::describe(),
    }))
}
