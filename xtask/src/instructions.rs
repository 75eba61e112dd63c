//! `cargo xtask instructions`: how many instructions the protocol takes for one message, beside the numbers that are committed.
//!
//! Owns how they are counted and compared. What is run is the program of `bench/instructions`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::{self, output_of};
use crate::runner::Outcome;
use crate::tools::{self, Tool};

/// `[--update]`: compares, or writes down what is counted.
///
/// # Errors
/// A wrong argument, a missing tool, or a program that does not build.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<Outcome> {
    let update = match arguments {
        [] => false,
        ["--update"] => true,
        _ => bail!("instructions takes only --update"),
    };
    tools::install(root, &[Tool::Valgrind])?;
    let counted = Record { toolchain: toolchain(root)?, counts: count_all(root)? };
    let file = root.join(FILE);
    if update {
        std::fs::write(&file, counted.to_text()).with_context(|| format!("cannot write {FILE}"))?;
        println!("{FILE} is written");
        return Ok(Outcome::Passed);
    }
    let recorded = Record::parse(&std::fs::read_to_string(&file).with_context(|| format!("cannot read {FILE}"))?)?;
    let (report, failed) = compare(&recorded, &counted);
    println!("{report}");
    Ok(if failed { Outcome::Failed } else { Outcome::Passed })
}

/// The step: fails where more instructions are taken than was written down.
///
/// # Errors
/// As [`run`], and that.
pub(crate) fn check(root: &Path) -> Result<()> {
    match run(root, &[])? {
        Outcome::Passed => Ok(()),
        Outcome::Failed => bail!("more instructions than {FILE} says; see above, and {README}"),
    }
}

/// Numbers, and what they were counted with.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    toolchain: String,
    counts: BTreeMap<String, u64>,
}

impl Record {
    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let first = lines.next().and_then(|line| line.strip_prefix("# "));
        let toolchain = first.with_context(|| format!("{FILE}: no first line with the toolchain"))?.to_owned();
        let mut counts = BTreeMap::new();
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, count) = line.split_once(' ').with_context(|| format!("{FILE}: {line}"))?;
            counts.insert(name.to_owned(), count.trim().parse().with_context(|| format!("{FILE}: {line}"))?);
        }
        Ok(Self { toolchain, counts })
    }

    fn to_text(&self) -> String {
        let mut text = format!("# {}\n", self.toolchain);
        text.push_str(
            "# Instructions for one round. Written by `cargo xtask instructions --update`; see bench/README.md.\n",
        );
        for (name, count) in &self.counts {
            let _ = writeln!(text, "{name:<22}{count:>9}");
        }
        text
    }
}

/// A table, and whether anything took too many.
fn compare(recorded: &Record, counted: &Record) -> (String, bool) {
    let same = recorded.toolchain == counted.toolchain;
    let percent_max = if same { PERCENT_MAX } else { PERCENT_MAX_OTHERWISE };
    let mut text = format!("instructions for one round, at most {percent_max} % more than written down\n");
    if !same {
        let _ = writeln!(text, "counted with {}, written down with {}", counted.toolchain, recorded.toolchain);
    }
    let mut failed = false;
    for (name, &count) in &counted.counts {
        let Some(&before) = recorded.counts.get(name) else {
            failed = true;
            let _ = writeln!(text, "{name:<22}{count:>9}  not written down");
            continue;
        };
        let more = (count as f64 / before.max(1) as f64 - 1.0) * 100.0;
        let verdict = if count * 100 > before * (100 + percent_max) {
            failed = true;
            "TOO MANY"
        } else if count * (100 + percent_max) < before * 100 {
            "fewer: write it down with --update"
        } else {
            ""
        };
        let _ = writeln!(text, "{}", format!("{name:<22}{count:>9}{more:>+8.1} %  {verdict}").trim_end());
    }
    for name in recorded.counts.keys().filter(|name| !counted.counts.contains_key(*name)) {
        failed = true;
        let _ = writeln!(text, "{name:<22} is written down, but no longer there");
    }
    (text, failed)
}

fn count_all(root: &Path) -> Result<BTreeMap<String, u64>> {
    let mut build = Command::new("cargo");
    build.current_dir(root.join("bench")).env("CARGO_TARGET_DIR", root.join("bench/target"));
    process::run(build.args(["build", "--release", "--locked", "--package", PROGRAM]), BUILD_LIMIT)?;
    let program = root.join("bench/target/release").join(PROGRAM);
    let names = output_of(&mut Command::new(&program)).context("the program does not list its scenarios")?;
    let mut counts = BTreeMap::new();
    for name in names.lines() {
        let (once, twice) = (count(&program, name, ROUNDS)?, count(&program, name, 2 * ROUNDS)?);
        ensure!(twice > once, "{name}: twice as many rounds took no more instructions");
        counts.insert(name.to_owned(), (twice - once) / ROUNDS);
    }
    Ok(counts)
}

/// All instructions of the process.
fn count(program: &Path, name: &str, rounds: u64) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).args([name, &rounds.to_string()]);
    // What the environment holds must not matter. One instruction that copies is counted once for each byte, and where glibc begins to use it
    // depends on the processor: never, then.
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=268435456");
    let output = command.output().context("valgrind does not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed under valgrind:\n{said}");
    let total = said.lines().find_map(|line| line.split("Collected :").nth(1)?.trim().parse().ok());
    total.with_context(|| format!("{name}: valgrind told no count:\n{said}"))
}

/// What the numbers depend on beside the code.
fn toolchain(root: &Path) -> Result<String> {
    let rustc = output_of(Command::new("rustc").arg("--version").current_dir(root)).context("rustc does not start")?;
    Ok(format!("{}, {}", rustc.trim(), std::env::consts::ARCH))
}

const FILE: &str = "bench/instructions/recorded.txt";
const README: &str = "bench/README.md";
const PROGRAM: &str = "bench-instructions";
const ROUNDS: u64 = 200;
const PERCENT_MAX: u64 = 5;
/// Another compiler makes other instructions of the same code.
const PERCENT_MAX_OTHERWISE: u64 = 25;
const BUILD_LIMIT: Duration = Duration::from_secs(900);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(toolchain: &str, counts: &[(&str, u64)]) -> Record {
        Record {
            toolchain: toolchain.to_owned(),
            counts: counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let written = record("rustc 1.0, x86_64", &[("a-name", 7), ("b", 123_456)]);
        assert_eq!(Record::parse(&written.to_text()).unwrap(), written);
        assert!(Record::parse("no toolchain\n").is_err() && Record::parse("# x\na b\n").is_err());
    }

    #[test]
    fn only_too_many_instructions_fail() {
        let before = record("a", &[("x", 1000)]);
        for (toolchain, count, fails) in
            [("a", 1050, false), ("a", 1051, true), ("a", 500, false), ("b", 1250, false), ("b", 1251, true)]
        {
            let (report, failed) = compare(&before, &record(toolchain, &[("x", count)]));
            assert_eq!(failed, fails, "{toolchain} {count}: {report}");
        }
        assert!(compare(&before, &record("a", &[("x", 500)])).0.contains("--update"));
    }

    #[test]
    fn a_scenario_that_only_one_side_has_fails() {
        let (one, two) = (record("a", &[("x", 1)]), record("a", &[("x", 1), ("y", 1)]));
        assert!(compare(&one, &two).1 && compare(&two, &one).1);
    }
}
