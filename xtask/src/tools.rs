//! The programs that steps need: how to see that one is there, and how to install it by its package's name.
//!
//! Knows nothing of what they are used for. Installs from crates.io and Debian only what is missing; where it may not
//! (no root, no apt), it says what is missing and how to get it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::{self, find_program, output_of};
use crate::runner::Outcome;
use crate::steps::Step;

/// A program, or a family of programs that come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Rustfmt,
    Clippy,
    /// The core library for a processor without an operating system, where there is no standard library.
    BareMetal,
    Git,
    Nextest,
    CargoDeny,
    /// 3.11 or later, with `venv` and `pip`.
    Python,
    /// 20 or later, with npm.
    Node,
    Chromium,
    Openssl,
    /// 8.1 or later, on the command line.
    Php,
    /// With the WebSocket that its programs use.
    Go,
    /// 17 or later, with a compiler and Gson.
    Java,
    /// With the WebSocket that its programs use.
    Ruby,
    /// .NET as Debian has it, with Json.NET.
    Mono,
    Nginx,
    Haproxy,
    Curl,
    /// What looks at units; nothing runs under it.
    Systemd,
    /// A compiler of C++: libFuzzer is written in it.
    Cxx,
    /// Counts instructions.
    Valgrind,
}

/// Installs what is missing of `tools`.
///
/// # Errors
/// Names the first tool that is missing and cannot be installed, with what would install it.
pub(crate) fn install(root: &Path, tools: &[Tool]) -> Result<()> {
    for tool in tools {
        let spec = spec_of(*tool);
        if (spec.present)(root) {
            continue;
        }
        println!("{} is missing; installing it: {}", spec.name, spec.source.hint());
        let missing = || format!("{} is missing; get it with: {}", spec.name, spec.source.hint());
        install_from(root, &spec.source).with_context(missing)?;
        if !(spec.present)(root) {
            bail!("{} is still missing or too old after: {}", spec.name, spec.source.hint());
        }
    }
    Ok(())
}

/// `cargo xtask deps`: the same for all the tools of `steps`, each told.
pub(crate) fn install_for(root: &Path, steps: &[Step]) -> Result<Outcome> {
    let mut outcome = Outcome::Passed;
    let mut told: Vec<Tool> = Vec::new();
    for tool in steps.iter().flat_map(|step| step.needs) {
        if told.contains(tool) {
            continue;
        }
        told.push(*tool);
        match install(root, &[*tool]) {
            Ok(()) => println!("ok      {}", spec_of(*tool).name),
            Err(error) => {
                outcome = Outcome::Failed;
                println!("MISSING {error:#}");
            }
        }
    }
    Ok(outcome)
}

struct Spec {
    name: &'static str,
    present: fn(&Path) -> bool,
    source: Source,
}

/// Where a tool comes from.
enum Source {
    Rustup(&'static str),
    /// A platform to build for.
    Target(&'static str),
    /// A crate. Built without optimisation: these tools wait for files and processes, and the build is what costs.
    Cargo(&'static str),
    /// Debian packages.
    Debian(&'static [&'static str]),
}

impl Source {
    fn hint(&self) -> String {
        match self {
            Self::Rustup(component) => format!("rustup component add {component}"),
            Self::Target(target) => format!("rustup target add {target}"),
            Self::Cargo(package) => format!("cargo install --locked --debug {package}"),
            Self::Debian(packages) => format!("apt-get install {}", packages.join(" ")),
        }
    }
}

fn spec_of(tool: Tool) -> Spec {
    let (name, present, source): (_, fn(&Path) -> bool, _) = match tool {
        Tool::Rustfmt => ("rustfmt", |_| cargo_has("fmt"), Source::Rustup("rustfmt")),
        Tool::Clippy => ("clippy", |_| cargo_has("clippy"), Source::Rustup("clippy")),
        Tool::BareMetal => ("the target for no_std", |_| has_target(BARE_METAL), Source::Target(BARE_METAL)),
        Tool::Git => ("git", |_| find_program("git").is_some(), Source::Debian(&["git"])),
        Tool::Nextest => ("cargo-nextest", |_| cargo_has("nextest"), Source::Cargo("cargo-nextest")),
        Tool::CargoDeny => ("cargo-deny", |_| cargo_has("deny"), Source::Cargo("cargo-deny")),
        Tool::Python => ("Python 3.11 with venv and pip", |_| python_is_whole(), Source::Debian(PYTHON)),
        Tool::Node => ("Node 20 with npm", |_| node_is_whole(), Source::Debian(&["nodejs", "npm"])),
        Tool::Chromium => ("chromium", |_| chromium().is_some(), Source::Debian(&["chromium"])),
        Tool::Openssl => ("openssl", |_| find_program("openssl").is_some(), Source::Debian(&["openssl"])),
        Tool::Php => ("PHP 8.1", |_| php_is_new(), Source::Debian(&["php-cli"])),
        Tool::Go => ("Go with gorilla/websocket", |_| has("go", GORILLA), Source::Debian(GO)),
        Tool::Java => ("Java 17 with Gson", |_| has("javac", GSON), Source::Debian(JAVA)),
        Tool::Ruby => {
            ("Ruby with faye-websocket", |_| ruby_has_faye(), Source::Debian(&["ruby", "ruby-faye-websocket"]))
        }
        Tool::Mono => ("Mono with Json.NET", |_| has("mcs", JSON_NET), Source::Debian(MONO)),
        Tool::Nginx => ("nginx", |_| server_there("nginx"), Source::Debian(&["nginx"])),
        Tool::Haproxy => ("HAProxy", |_| server_there("haproxy"), Source::Debian(&["haproxy"])),
        Tool::Curl => ("curl", |_| find_program("curl").is_some(), Source::Debian(&["curl"])),
        Tool::Systemd => {
            ("systemd-analyze", |_| find_program("systemd-analyze").is_some(), Source::Debian(&["systemd"]))
        }
        Tool::Cxx => ("g++", |_| find_program("g++").is_some(), Source::Debian(&["g++"])),
        Tool::Valgrind => ("valgrind", |_| find_program("valgrind").is_some(), Source::Debian(&["valgrind"])),
    };
    Spec { name, present, source }
}

/// The browser, by any of the names that systems give it.
pub(crate) fn chromium() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(find_program)
}

/// A Cortex-M: 32 bits, an allocator of the application's own, and no operating system.
pub(crate) const BARE_METAL: &str = "thumbv7em-none-eabi";

fn has_target(target: &str) -> bool {
    let mut command = Command::new("rustc");
    command.args(["--print", "target-libdir", "--target", target]);
    output_of(&mut command).is_some_and(|folder| Path::new(folder.trim()).is_dir())
}

const PYTHON: &[&str] = &["python3", "python3-venv", "python3-pip"];

fn python_is_whole() -> bool {
    let probe = "import ensurepip, pip, sys, venv; sys.exit(sys.version_info < (3, 11))";
    output_of(Command::new("python3").args(["-c", probe])).is_some()
}

fn node_is_whole() -> bool {
    let probe = "process.exit(parseInt(process.versions.node, 10) < 20 ? 1 : 0)";
    output_of(Command::new("node").args(["-e", probe])).is_some() && find_program("npm").is_some()
}

fn php_is_new() -> bool {
    let probe = "exit(PHP_VERSION_ID < 80100 || !extension_loaded('sodium') ? 1 : 0);";
    output_of(Command::new("php").args(["-r", probe])).is_some()
}

const GO: &[&str] = &["golang-go", "golang-github-gorilla-websocket-dev"];
const GORILLA: &str = "/usr/share/gocode/src/github.com/gorilla/websocket";
const JAVA: &[&str] = &["default-jdk-headless", "libgoogle-gson-java"];
const GSON: &str = "/usr/share/java/gson.jar";
const MONO: &[&str] = &["mono-mcs", "mono-runtime", "libnewtonsoft-json5.0-cil"];
const JSON_NET: &str = "/usr/lib/cli/Newtonsoft.Json-5.0/Newtonsoft.Json.dll";

/// A program, and a library that Debian puts into a place of its own.
fn has(program: &str, library: &str) -> bool {
    find_program(program).is_some() && Path::new(library).exists()
}

fn ruby_has_faye() -> bool {
    output_of(Command::new("ruby").args(["-e", "require 'faye/websocket'"])).is_some()
}

/// Debian keeps servers where only root's shell looks.
fn server_there(name: &str) -> bool {
    find_program(name).is_some() || Path::new("/usr/sbin").join(name).is_file()
}

fn install_from(root: &Path, source: &Source) -> Result<()> {
    match source {
        Source::Rustup(component) => {
            process::run(Command::new("rustup").args(["component", "add", component]), INSTALL_LIMIT)
        }
        Source::Target(target) => process::run(Command::new("rustup").args(["target", "add", target]), INSTALL_LIMIT),
        Source::Cargo(package) => {
            let target = root.join("target").join("tools");
            let mut command = Command::new("cargo");
            command.args(["install", "--locked", "--debug", package]).env("CARGO_TARGET_DIR", target);
            process::run(&mut command, INSTALL_LIMIT)
        }
        Source::Debian(packages) => install_debian(packages),
    }
}

fn install_debian(packages: &[&str]) -> Result<()> {
    if find_program("apt-get").is_none() {
        bail!("this system has no apt-get; install what Debian calls {}", packages.join(" "));
    }
    if output_of(Command::new("id").arg("-u")).is_none_or(|id| id.trim() != "0") {
        bail!("only root may install Debian packages");
    }
    process::run(Command::new("apt-get").args(["-q", "update"]), INSTALL_LIMIT)?;
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["-q", "-y", "--no-install-recommends", "install"]).args(packages);
    process::run(&mut command, INSTALL_LIMIT)
}

fn cargo_has(command: &str) -> bool {
    output_of(Command::new("cargo").args([command, "--version"])).is_some()
}

const INSTALL_LIMIT: Duration = Duration::from_secs(20 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_commands_that_name_the_package() {
        assert_eq!(Source::Debian(&["chromium", "xvfb"]).hint(), "apt-get install chromium xvfb");
        assert_eq!(spec_of(Tool::BareMetal).source.hint(), "rustup target add thumbv7em-none-eabi");
        assert_eq!(spec_of(Tool::CargoDeny).source.hint(), "cargo install --locked --debug cargo-deny");
    }

    #[test]
    fn a_program_that_is_not_there_is_not_found() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-here").is_none());
        assert!(!cargo_has("no-such-command-here"));
    }
}
