//! The steps that make up a complete test, in the order that finds the cheap mistakes first.
//!
//! Owns each step's command, time limit and list of tools. Knows nothing of how tools are installed or results summed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::instructions;
use crate::process;
use crate::runner::Outcome;
use crate::sim;
use crate::start;
use crate::tidy;
use crate::tools::{self, Tool};

/// What a step needs around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Only cargo and its components.
    Quick,
    /// Other languages, browsers, services or minutes.
    Full,
}

/// One thing that must pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) tier: Tier,
    pub(crate) needs: &'static [Tool],
    pub(crate) run: fn(&Path) -> Result<()>,
}

impl Step {
    #[cfg(test)]
    pub(crate) const EMPTY: Self = Self { name: "", about: "", tier: Tier::Quick, needs: &[], run: |_| Ok(()) };
}

/// Every step.
pub(crate) fn all() -> Vec<Step> {
    STEPS.to_vec()
}

/// The steps of one tier.
pub(crate) fn of_tier(tier: Tier) -> Vec<Step> {
    STEPS.iter().filter(|step| step.tier == tier).copied().collect()
}

/// The steps with these names, in the order of the list.
pub(crate) fn named(names: &[&str]) -> Result<Vec<Step>> {
    for name in names {
        if !STEPS.iter().any(|step| step.name == *name) {
            let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
            bail!("there is no step `{name}`; there are: {}", known.join(", "));
        }
    }
    Ok(STEPS.iter().filter(|step| names.contains(&step.name)).copied().collect())
}

/// Runs the program behind `command` with the arguments given, for a person who wants more than the step does.
pub(crate) fn passthrough(root: &Path, command: &str, arguments: &[&str]) -> Result<Outcome> {
    let mut program = match command {
        "conformance" => python(root, AUTOBAHN),
        "interop" => python(root, "interop/run.py"),
        "bench" => bench_driver(root, arguments.contains(&"--quick")),
        other => bail!("`{other}` takes no arguments"),
    };
    match process::run(program.args(arguments), minutes(180)) {
        Ok(()) => Ok(Outcome::Passed),
        Err(error) => {
            println!("{error:#}");
            Ok(Outcome::Failed)
        }
    }
}

const STEPS: &[Step] = &[
    Step { name: "fmt", about: "rustfmt has nothing to change", tier: Tier::Quick, needs: &[Tool::Rustfmt], run: fmt },
    Step { name: "tidy", about: "the project's own rules", tier: Tier::Quick, needs: &[Tool::Git], run: tidy_step },
    Step { name: "clippy", about: "no warning anywhere", tier: Tier::Quick, needs: &[Tool::Clippy], run: clippy },
    Step {
        name: "no-std",
        about: "the protocol builds where there is no standard library",
        tier: Tier::Quick,
        needs: &[Tool::BareMetal],
        run: no_std,
    },
    Step { name: "unit", about: "every Rust test", tier: Tier::Quick, needs: &[Tool::Nextest], run: unit },
    Step {
        name: "sim",
        about: "a simulated node by seed, and that every planted bug is found",
        tier: Tier::Quick,
        needs: &[],
        run: sim::step,
    },
    Step {
        name: "doc",
        about: "examples in the documentation run, and it has no broken link",
        tier: Tier::Quick,
        needs: &[],
        run: doc,
    },
    Step {
        name: "deny",
        about: "licences, banned crates and sources of every dependency",
        tier: Tier::Full,
        needs: &[Tool::CargoDeny],
        run: deny,
    },
    Step {
        name: "console",
        about: "the console's own tests, and that its committed build is what its sources give",
        tier: Tier::Full,
        needs: &[Tool::Node],
        run: console,
    },
    Step {
        name: "typescript",
        about: "the TypeScript client's own tests, and that its package builds",
        tier: Tier::Full,
        needs: &[Tool::Node],
        run: typescript,
    },
    Step {
        name: "clients",
        about: "the client protocol suite and 15 outages: the Rust client, and the TypeScript client in Node and Chromium",
        tier: Tier::Full,
        needs: &[Tool::Node, Tool::Chromium],
        run: clients,
    },
    Step {
        name: "conformance",
        about: "Autobahn's testsuite against the library, as server and as client; our own battery against five servers",
        tier: Tier::Full,
        needs: &[Tool::Python, Tool::Node],
        run: conformance,
    },
    Step {
        name: "interop",
        about: "other people's clients and servers against ours",
        tier: Tier::Full,
        needs: &[Tool::Python, Tool::Node, Tool::Chromium, Tool::Openssl, Tool::Php],
        run: interop,
    },
    Step {
        name: "pages",
        about: "the tutorial with nginx and HAProxy, programs in eight languages and how-tos, done as their pages say",
        tier: Tier::Full,
        needs: PAGES,
        run: pages,
    },
    Step {
        name: "browser",
        about: "the console and plain pages in Chromium, with a terminal in the same room",
        tier: Tier::Full,
        needs: &[Tool::Node, Tool::Chromium],
        run: browser,
    },
    Step {
        name: "examples",
        about: "every example in Chromium, as several people see it",
        tier: Tier::Full,
        needs: &[Tool::Node, Tool::Chromium],
        run: examples,
    },
    Step {
        name: "fuzz-build",
        about: "the fuzz targets compile, without a warning",
        tier: Tier::Full,
        needs: &[Tool::Rustfmt, Tool::Clippy, Tool::Cxx],
        run: fuzz_build,
    },
    Step { name: "start", about: "the README's first command", tier: Tier::Full, needs: &[], run: start::check },
    Step {
        name: "instructions",
        about: "the protocol takes no more instructions for a message than is written down",
        tier: Tier::Full,
        needs: &[Tool::Valgrind],
        run: instructions::check,
    },
    Step {
        name: "bench",
        about: "the benchmark still runs; its figures decide nothing",
        tier: Tier::Full,
        needs: &[Tool::Rustfmt, Tool::Clippy],
        run: bench,
    },
];

const PAGES: &[Tool] = &[
    Tool::Python,
    Tool::Node,
    Tool::Chromium,
    Tool::Openssl,
    Tool::Curl,
    Tool::Php,
    Tool::Go,
    Tool::Java,
    Tool::Ruby,
    Tool::Mono,
    Tool::Nginx,
    Tool::Haproxy,
    Tool::Systemd,
];

fn fmt(root: &Path) -> Result<()> {
    cargo(root, &["fmt", "--all", "--check"], minutes(2))
}

fn tidy_step(root: &Path) -> Result<()> {
    match tidy::run(root)? {
        Outcome::Passed => Ok(()),
        Outcome::Failed => bail!("the rules listed above are broken"),
    }
}

fn clippy(root: &Path) -> Result<()> {
    let with = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--locked",
        "--keep-going",
        "--",
        "-D",
        "warnings",
    ];
    cargo(root, &with, minutes(30))?;
    // Without features the protocol needs no standard library.
    let without = ["clippy", "--package", PROTOCOL, "--no-default-features", "--locked", "--", "-D", "warnings"];
    cargo(root, &without, minutes(10))?;
    // Whoever turns on one of these has turned on no other.
    for feature in WEBSOCKET_FEATURES {
        let alone = ["clippy", "--package", WEBSOCKET, "--lib", "--no-default-features", "--features", feature];
        cargo(root, &[&alone[..], &["--locked", "--", "-D", "warnings"]].concat(), minutes(10))?;
    }
    Ok(())
}

fn no_std(root: &Path) -> Result<()> {
    let build = ["build", "--package", PROTOCOL, "--no-default-features", "--locked", "--target", tools::BARE_METAL];
    cargo(root, &build, minutes(10))
}

fn unit(root: &Path) -> Result<()> {
    cargo(root, &["nextest", "run", "--workspace", "--all-features", "--locked", "--no-fail-fast"], minutes(40))?;
    // Compression takes another way through the protocol: the one without it is tested too.
    cargo(root, &["nextest", "run", "--package", PROTOCOL, "--locked", "--no-fail-fast"], minutes(10))
}

const PROTOCOL: &str = "switchboard-ws-proto";
const WEBSOCKET: &str = "switchboard-ws";

/// Each, and none.
const WEBSOCKET_FEATURES: &[&str] =
    &["", "deflate", "client", "tls", "native-roots", "hyper", "http2", "tower", "axum"];

fn doc(root: &Path) -> Result<()> {
    cargo(root, &["test", "--workspace", "--all-features", "--doc", "--locked"], minutes(15))?;
    let mut command = cargo_command(root);
    command.args(["doc", "--workspace", "--all-features", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings");
    process::run(&mut command, minutes(15))
}

fn deny(root: &Path) -> Result<()> {
    // Advisories need a database from the network and have a command of their own in CONTRIBUTING.md.
    cargo(
        root,
        &["deny", "--workspace", "--all-features", "--locked", "check", "bans", "licenses", "sources"],
        minutes(5),
    )
}

/// The TypeScript client: its own tests, and that the package can be built from what is committed.
fn typescript(root: &Path) -> Result<()> {
    let npm = |arguments: &[&str], limit| npm(root, TYPESCRIPT, arguments, limit);
    npm(&["ci", "--no-audit", "--no-fund", "--ignore-scripts"], minutes(5))?;
    npm(&["test"], minutes(5))?;
    npm(&["run", "build"], minutes(5))
}

/// One suite for every client: what it is given is the program that takes its orders. Then each beside the real server, with outages.
fn clients(root: &Path) -> Result<()> {
    let run = |program: &str, arguments: &[&str], adapter: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).args(adapter).current_dir(root);
        command.env("SWITCHBOARD_BIN", target_folder(root).join("debug/switchboard"));
        if let Some(chromium) = tools::chromium() {
            command.env("CHROMIUM", chromium);
        }
        process::run(&mut command, minutes(10))
    };
    cargo(root, &["build", "--locked", "--package", "switchboard-server"], minutes(20))?;
    cargo(root, &["build", "--locked", "--package", "switchboard-client", "--example", "suite"], minutes(20))?;
    npm(root, TYPESCRIPT, &["ci", "--no-audit", "--no-fund", "--ignore-scripts"], minutes(5))?;
    // Compiles what follows uses, too.
    run("npm", &["--prefix", TYPESCRIPT, "run", "test:chromium"], &[])?;
    let rust = target_folder(root).join("debug/examples/suite");
    let node = ["node", "sdk/typescript/build/test/adapter.js"];
    let chromium = ["node", "sdk/typescript/build/test/chromium.js"];
    for adapter in [&[&*rust.to_string_lossy()][..], &node, &chromium] {
        run("node", &["conformance/client/run.mjs", "--"], adapter)?;
        run("node", &["conformance/client/outages.mjs", "--"], adapter)?;
    }
    // Where no WebSocket gets through. The transcripts are of WebSockets.
    for way in ["stream", "poll"] {
        run("node", &["conformance/client/outages.mjs", "--http", "--"], &[node[0], node[1], way])?;
    }
    Ok(())
}

const TYPESCRIPT: &str = "sdk/typescript";

fn npm(root: &Path, folder: &str, arguments: &[&str], limit: Duration) -> Result<()> {
    let mut command = Command::new("npm");
    command.args(arguments).current_dir(root.join(folder));
    process::run(&mut command, limit)
}

fn console(root: &Path) -> Result<()> {
    let npm = |arguments: &[&str], limit| npm(root, "console", arguments, limit);
    npm(&["ci", "--no-audit", "--no-fund"], minutes(5))?;
    npm(&["test"], minutes(5))?;
    let committed = contents(&root.join(CONSOLE_BUILD))?;
    npm(&["run", "build"], minutes(5))?;
    let built = contents(&root.join(CONSOLE_BUILD))?;
    let mut differ: Vec<String> = Vec::new();
    for path in committed.keys().chain(built.keys()) {
        let shown = path.display().to_string();
        if committed.get(path) != built.get(path) && !differ.contains(&shown) {
            differ.push(shown);
        }
    }
    if !differ.is_empty() {
        bail!("the build was not what the sources give; it is now, commit {CONSOLE_BUILD}: {}", differ.join(", "));
    }
    Ok(())
}

const CONSOLE_BUILD: &str = "crates/server/assets/console";

/// Every file below `folder`, with what is in it.
fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let bytes = std::fs::read(&path)?;
                found.insert(path.strip_prefix(folder)?.to_path_buf(), bytes);
            }
        }
    }
    Ok(found)
}

fn conformance(root: &Path) -> Result<()> {
    let unittest = ["-m", "unittest", "discover", "--start-directory", "conformance/autobahn"];
    process::run(Command::new("python3").args(unittest).current_dir(root), minutes(2))?;
    // The page that compares with others is made of stored outcomes, these among them.
    process::run(python(root, "bench/compare/compare.py").arg("--check"), minutes(1))?;
    cargo(root, &["build", "--locked", "--package", "switchboard-ws", "--examples"], minutes(20))?;
    process::run(python(root, AUTOBAHN).arg("install"), minutes(15))?;
    for (tier, deflate) in [("ci", None), ("compression-ci", Some("--deflate"))] {
        for (role, example, more) in
            [("server", "echo_server", ["--listen", "127.0.0.1:0"].as_slice()), ("client", "echo_client", &[])]
        {
            let expected = format!("conformance/autobahn/expected-{role}.json");
            let mut command = python(root, AUTOBAHN);
            command
                .args([role, "--tier", tier, "--compare", &expected, "--"])
                .arg(target_folder(root).join("debug/examples").join(example));
            process::run(command.args(more).args(deflate), minutes(20))?;
        }
    }
    // What our own battery says of servers, ours and others.
    process::run(&mut python(root, "conformance/check/run.py"), minutes(20))
}

const AUTOBAHN: &str = "conformance/autobahn/run.py";

fn interop(root: &Path) -> Result<()> {
    process::run(&mut python(root, "interop/run.py"), minutes(20))?;
    process::run(&mut python(root, "interop/deflate/suites.py"), minutes(20))
}

fn pages(root: &Path) -> Result<()> {
    process::run(&mut python(root, "interop/pages/run.py"), minutes(20))
}

fn browser(root: &Path) -> Result<()> {
    cargo(root, &["build", "--locked", "--package", "switchboard-server"], minutes(20))?;
    let mut command = Command::new("node");
    command.arg("interop/browser/run.mjs").current_dir(root);
    command.env("SWITCHBOARD_BIN", target_folder(root).join("debug/switchboard"));
    if let Some(chromium) = tools::chromium() {
        command.env("CHROMIUM", chromium);
    }
    process::run(&mut command, minutes(10))
}

/// What people see of the examples: each with its own configuration and backend.
fn examples(root: &Path) -> Result<()> {
    cargo(root, &["build", "--locked", "--package", "switchboard-server"], minutes(20))?;
    npm(root, TYPESCRIPT, &["ci", "--no-audit", "--no-fund", "--ignore-scripts"], minutes(5))?;
    npm(root, TYPESCRIPT, &["run", "build"], minutes(5))?;
    let mut command = Command::new("node");
    command.arg("examples/test/run.mjs").current_dir(root);
    command.env("SWITCHBOARD_BIN", target_folder(root).join("debug/switchboard"));
    if let Some(chromium) = tools::chromium() {
        command.env("CHROMIUM", chromium);
    }
    process::run(&mut command, minutes(10))
}

/// The benchmark is a workspace of its own, so the steps for the product's workspace do not see it.
fn bench(root: &Path) -> Result<()> {
    cargo(root, &["fmt", "--manifest-path", BENCH, "--all", "--check"], minutes(2))?;
    let clippy =
        ["clippy", "--manifest-path", BENCH, "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    cargo(root, &clippy, minutes(20))?;
    cargo(root, &["test", "--manifest-path", BENCH, "--workspace", "--locked", "--quiet"], minutes(20))?;
    process::run(bench_driver(root, true).arg("--quick"), minutes(20))
}

const BENCH: &str = "bench/Cargo.toml";

/// A workspace of its own too. To fuzz takes another compiler, but not to see that the targets keep up with what they call.
fn fuzz_build(root: &Path) -> Result<()> {
    cargo(root, &["fmt", "--manifest-path", FUZZ, "--check"], minutes(2))?;
    let mut clippy = cargo_command(root);
    clippy.args(["clippy", "--manifest-path", FUZZ, "--locked", "--", "-D", "warnings"]);
    // The fuzzer's own builds, with their flags, are in `fuzz/target`.
    process::run(clippy.env("CARGO_TARGET_DIR", root.join("fuzz/target/check")), minutes(20))
}

const FUZZ: &str = "fuzz/Cargo.toml";

fn bench_driver(root: &Path, quick: bool) -> Command {
    let mut command = cargo_command(root);
    command.arg("run");
    if !quick {
        command.arg("--release");
    }
    command.args(["--locked", "--manifest-path", BENCH, "--bin", "bench", "--"]);
    command
}

fn python(root: &Path, script: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(script).current_dir(root);
    command
}

/// Where cargo builds, as cargo itself decides it.
fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

fn cargo(root: &Path, arguments: &[&str], limit: Duration) -> Result<()> {
    process::run(cargo_command(root).args(arguments), limit)
}

fn cargo_command(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root);
    command
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_feature_of_the_library_is_looked_at_alone() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../lib/ws/Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        let (_, features) = manifest.split_once("[features]").unwrap();
        let (features, _) = features.split_once("\n[").unwrap();
        let names = features.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
        let mut names: Vec<_> = names.map(|name| if name == "default" { "" } else { name }).collect();
        let mut known = WEBSOCKET_FEATURES.to_vec();
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
    }

    #[test]
    fn names_are_unique_and_a_wrong_one_is_refused_with_the_right_ones() {
        for (index, step) in STEPS.iter().enumerate() {
            assert!(STEPS.iter().skip(index + 1).all(|other| other.name != step.name), "{} twice", step.name);
        }
        let error = named(&["fmt", "nope"]).unwrap_err().to_string();
        assert!(error.contains("`nope`") && error.contains("clippy"), "{error}");
        let chosen: Vec<&str> = named(&["tidy", "fmt"]).unwrap().iter().map(|step| step.name).collect();
        assert_eq!(chosen, ["fmt", "tidy"]);
    }

    #[test]
    fn contents_are_every_file_below_a_folder() {
        let found = contents(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
        assert!(found.contains_key(Path::new("tidy/mod.rs")) && found.contains_key(Path::new("main.rs")));
        assert!(contents(Path::new("no-such-folder")).is_err());
    }

    #[test]
    fn the_quick_tier_is_a_true_part_of_the_whole() {
        let quick = of_tier(Tier::Quick).len();
        assert!(quick > 0 && quick < all().len());
    }
}
