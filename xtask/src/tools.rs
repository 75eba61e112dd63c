//! The programs that steps need: how to see that one is there, and how to install it by its package's name.
//!
//! Knows nothing of what they are used for. Installs from crates.io and Debian only what is missing; where it may not
//! (no root, no apt), it says what is missing and how to get it.

use std::path::Path;
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
    Nextest,
    CargoDeny,
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
            bail!("{} was installed, but is still not found", spec.name);
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
    /// A crate. Built without optimisation: these tools wait for files and processes, and the build is what costs.
    Cargo(&'static str),
    /// Debian packages.
    Debian(&'static [&'static str]),
}

impl Source {
    fn hint(&self) -> String {
        match self {
            Self::Rustup(component) => format!("rustup component add {component}"),
            Self::Cargo(package) => format!("cargo install --locked --debug {package}"),
            Self::Debian(packages) => format!("apt-get install {}", packages.join(" ")),
        }
    }
}

fn spec_of(tool: Tool) -> Spec {
    match tool {
        Tool::Rustfmt => Spec { name: "rustfmt", present: |_| cargo_has("fmt"), source: Source::Rustup("rustfmt") },
        Tool::Clippy => Spec { name: "clippy", present: |_| cargo_has("clippy"), source: Source::Rustup("clippy") },
        Tool::Nextest => {
            Spec { name: "cargo-nextest", present: |_| cargo_has("nextest"), source: Source::Cargo("cargo-nextest") }
        }
        Tool::CargoDeny => {
            Spec { name: "cargo-deny", present: |_| cargo_has("deny"), source: Source::Cargo("cargo-deny") }
        }
    }
}

fn install_from(root: &Path, source: &Source) -> Result<()> {
    match source {
        Source::Rustup(component) => {
            process::run(Command::new("rustup").args(["component", "add", component]), INSTALL_LIMIT)
        }
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
        assert_eq!(spec_of(Tool::CargoDeny).source.hint(), "cargo install --locked --debug cargo-deny");
    }

    #[test]
    fn a_program_that_is_not_there_is_not_found() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-here").is_none());
        assert!(!cargo_has("no-such-command-here"));
    }
}
