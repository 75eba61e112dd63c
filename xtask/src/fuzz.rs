//! `cargo xtask fuzz`: every fuzz target for a short while, or one for as long as a person likes.
//!
//! Owns how the targets are found and run. Knows nothing of what they promise: `fuzz/README.md` does.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::{self, output_of};
use crate::runner::Outcome;

/// `[TARGET] [--seconds N]`. Goes on with the next target after one that fails.
///
/// # Errors
/// A wrong argument, a missing tool, or targets that do not build.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<Outcome> {
    let targets = targets(root)?;
    let Plan { target, seconds } = parse(arguments, &targets)?;
    find_tools()?;
    // No target is timed while it is built.
    process::run(nightly(root).arg("build"), BUILD_LIMIT)?;
    let mut failed = Vec::new();
    for name in targets.iter().filter(|name| target.is_none_or(|target| target == name.as_str())) {
        let corpus = format!("fuzz/corpus/{name}");
        std::fs::create_dir_all(root.join(&corpus)).with_context(|| format!("cannot create {corpus}"))?;
        let mut command = nightly(root);
        command.args(["run", name, &corpus, &format!("fuzz/seeds/{name}"), "--"]);
        command.args([&format!("-max_total_time={seconds}"), "-max_len=16384", "-print_final_stats=1"]);
        // The seeds are run first, and the last input is finished.
        if let Err(error) = process::run(&mut command, Duration::from_secs(seconds) + SPARE) {
            println!("{error:#}");
            failed.push(name.as_str());
        }
    }
    if failed.is_empty() {
        println!("nothing was found in {seconds} s a target");
        return Ok(Outcome::Passed);
    }
    println!("failed: {}; the inputs are in fuzz/artifacts", failed.join(", "));
    Ok(Outcome::Failed)
}

#[derive(Debug, PartialEq, Eq)]
struct Plan<'a> {
    target: Option<&'a str>,
    seconds: u64,
}

fn parse<'a>(arguments: &[&'a str], targets: &[String]) -> Result<Plan<'a>> {
    let mut plan = Plan { target: None, seconds: SECONDS };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "--seconds" => {
                let number = rest.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
                plan.seconds = number.context("--seconds takes a number")?;
            }
            name if targets.iter().any(|target| target == name) && plan.target.is_none() => plan.target = Some(name),
            other => bail!("there is no target `{other}`; there are: {}", targets.join(", ")),
        }
    }
    Ok(plan)
}

/// The files are the list.
fn targets(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join("fuzz/fuzz_targets")).context("cannot read fuzz/fuzz_targets")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

fn find_tools() -> Result<()> {
    if output_of(Command::new("cargo").args(["+nightly", "--version"])).is_none() {
        bail!("the nightly compiler is missing; get it with: rustup toolchain install nightly");
    }
    if output_of(Command::new("cargo").args(["fuzz", "--version"])).is_none() {
        bail!("cargo-fuzz is missing; get it with: cargo install --locked cargo-fuzz");
    }
    Ok(())
}

fn nightly(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    // The compiler that runs this command must not choose the one that fuzzes.
    command.args(["+nightly", "fuzz"]).current_dir(root).env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC");
    command
}

/// The short tier, for each target.
const SECONDS: u64 = 20;
const SPARE: Duration = Duration::from_secs(180);
const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn arguments() {
        let known = ["close".to_owned(), "inflate".to_owned()];
        assert_eq!(parse(&[], &known).unwrap(), Plan { target: None, seconds: SECONDS });
        let plan = Plan { target: Some("close"), seconds: 5 };
        assert_eq!(parse(&["close", "--seconds", "5"], &known).unwrap(), plan);
        assert_eq!(parse(&["--seconds", "5", "close"], &known).unwrap(), plan);
        for wrong in [&["nope"][..], &["close", "inflate"], &["--seconds"], &["--seconds", "0"], &["--seconds", "x"]] {
            assert!(parse(wrong, &known).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn each_target_is_declared_and_has_seeds() {
        let root = crate::workspace::repository_root().unwrap();
        let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        let targets = targets(&root).unwrap();
        assert!(!targets.is_empty());
        for name in targets {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not declared");
            let seeds = std::fs::read_dir(root.join("fuzz/seeds").join(&name)).unwrap();
            assert!(seeds.count() > 0, "{name} has no seeds");
        }
    }
}
