//! `switchboard-sim`: runs seeds, and makes a failing one small. `cargo xtask sim` is how it is meant to be called.

#![allow(clippy::print_stdout, reason = "a command-line tool for developers talks on its standard output")]

use anyhow::{Context as _, Result, bail};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use switchboard_core::canary::{self, Canary};
use switchboard_sim::{Plan, Report, Seen, Violation, kept, shrink, simulate};

const USAGE: &str = "\
switchboard-sim [OPTION…]: a node and its clients, simulated by seed

  --seeds N        seeds to run after the kept ones (500)
  --from S         the first of them (0)
  --seconds T      run for so long instead of a number of seeds
  --operations N   what the clients try in each (4000)
  --seed S         run one seed; if it fails it is shrunk
  --canaries       plant each of the known bugs and see that a seed finds it
  --canary NAME    the same with one of them
  --hashes         print the hash of all that happens in each of the seeds
  --all            go on behind a seed that fails, and list them
  --trace          print everything that happens; with --seed
";

/// How many seeds ran, what they saw, and those that failed.
type Outcome = (u64, Seen, BTreeMap<u64, Violation>);

/// Runs that making a failing seed small may take.
const SHRINK_RUNS: usize = 500;
/// Characters of a violation in a list of them.
const MESSAGE_SHOWN: usize = 300;
/// Steps that are shown of what is left.
const STEPS_SHOWN: usize = 60;

#[derive(Debug)]
struct Options {
    seeds: u64,
    from: u64,
    seconds: Option<u64>,
    operations: usize,
    seed: Option<u64>,
    trace: bool,
    canaries: bool,
    canary: Option<String>,
    all: bool,
    hashes: bool,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(|options| options.map_or(Ok(true), |options| run(&options))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("switchboard-sim: {error:#}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let mut options = Options {
        seeds: 500,
        from: 0,
        seconds: None,
        operations: 4_000,
        seed: None,
        trace: false,
        canaries: false,
        canary: None,
        all: false,
        hashes: false,
    };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        if argument == "--canary" {
            options.canary = Some(arguments.next().context("--canary takes a name")?);
            continue;
        }
        let mut number = || -> Result<u64> {
            let value = arguments.next().with_context(|| format!("{argument} takes a number"))?;
            value.parse().with_context(|| format!("{argument}: '{value}' is not a number"))
        };
        match argument.as_str() {
            "--seeds" => options.seeds = number()?,
            "--from" => options.from = number()?,
            "--seconds" => options.seconds = Some(number()?),
            "--operations" => options.operations = usize::try_from(number()?)?,
            "--seed" => options.seed = Some(number()?),
            "--canaries" => options.canaries = true,
            "--hashes" => options.hashes = true,
            "--all" => options.all = true,
            "--trace" => options.trace = true,
            "--help" | "-h" => {
                print!("{USAGE}");
                return Ok(None);
            }
            other => bail!("there is no option `{other}`"),
        }
    }
    if options.trace && options.seed.is_none() {
        bail!("--trace wants one --seed");
    }
    Ok(Some(options))
}

fn run(options: &Options) -> Result<bool> {
    if options.canaries || options.canary.is_some() {
        return Ok(find_canaries(options));
    }
    if options.hashes {
        return Ok(print_hashes(options));
    }
    if let Some(seed) = options.seed {
        return Ok(run_one(seed, options.operations, options.trace));
    }
    for known in kept() {
        let report = simulate(&Plan::new(known.seed, known.operations), false);
        if let Some(violation) = report.violation {
            println!("a kept seed fails again ({})", known.note);
            explain(known.seed, known.operations, &violation);
            return Ok(false);
        }
    }
    let begin = Instant::now();
    let (seeds, seen, failed) = run_many(options, begin)?;
    let seconds = begin.elapsed().as_secs_f64();
    println!("{seeds} seeds of {} operations in {seconds:.1} s: {seen:?}", options.operations);
    for (seed, Violation { kind, message }) in failed.iter().filter(|_| options.all) {
        println!("seed {seed}: {kind}: {}", message.chars().take(MESSAGE_SHOWN).collect::<String>());
    }
    // The lowest of those that failed at the same time, so that the same call says the same.
    if let Some((seed, violation)) = failed.first_key_value().filter(|_| !options.all) {
        explain(*seed, options.operations, violation);
    }
    Ok(failed.is_empty())
}

/// For comparing two processes: they differ in the order of their maps, and in nothing that a seed stands for.
fn print_hashes(options: &Options) -> bool {
    let mut all = true;
    for seed in options.from..options.from + options.seeds {
        let report = simulate(&Plan::new(seed, options.operations), false);
        println!("seed {seed}: hash {:016x}, {} events", report.hash, report.events);
        all &= report.violation.is_none();
    }
    all
}

/// Plants every known bug in turn. Each must be found within the number of seeds that is asked for.
fn find_canaries(options: &Options) -> bool {
    let mut all = true;
    let is_wanted = |known: &Canary| options.canary.as_ref().is_none_or(|name| format!("{known:?}") == *name);
    let known = Canary::ALL.into_iter().filter(is_wanted).collect::<Vec<_>>();
    if known.is_empty() {
        println!("there is no such bug to be planted");
        return false;
    }
    for known in known {
        canary::plant(Some(known));
        let found = (options.from..options.from + options.seeds).find_map(|seed| {
            simulate(&Plan::new(seed, options.operations), false).violation.map(|found| (seed, found))
        });
        canary::plant(None);
        match found {
            Some((seed, Violation { kind, .. })) => println!("{known:?}: found by seed {seed}: {kind}"),
            None => {
                println!("{known:?}: not found by {} seeds", options.seeds);
                all = false;
            }
        }
    }
    all
}

/// Runs seeds on every core until one fails, or all are done.
fn run_many(options: &Options, begin: Instant) -> Result<Outcome> {
    let next = AtomicU64::new(options.from);
    let stop = AtomicBool::new(false);
    let result = Mutex::new((0, Seen::default(), BTreeMap::new()));
    let until = options.seconds.map(|seconds| begin + Duration::from_secs(seconds));
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let done = match until {
                Some(until) => Instant::now() >= until,
                None => seed >= options.from + options.seeds,
            };
            if done {
                return;
            }
            let Report { seen, violation, .. } = simulate(&Plan::new(seed, options.operations), false);
            let Ok(mut result) = result.lock() else { return };
            result.0 += 1;
            result.1.add(&seen);
            if let Some(violation) = violation {
                stop.store(!options.all, Ordering::Relaxed);
                result.2.insert(seed, violation);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, core::num::NonZero::get);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    result.into_inner().ok().context("a run ended in a panic: see above for where")
}

fn run_one(seed: u64, operations: usize, trace: bool) -> bool {
    let plan = Plan::new(seed, operations);
    let report = simulate(&plan, trace);
    println!("seed {seed}: hash {:016x}, {} events, {:?}", report.hash, report.events, report.seen);
    match report.violation {
        None => true,
        Some(violation) if trace => {
            println!("{}: {}", violation.kind, violation.message);
            false
        }
        Some(violation) => {
            explain(seed, operations, &violation);
            false
        }
    }
}

/// Says what was broken and how to see it again, and shows the smallest run that was found.
fn explain(seed: u64, operations: usize, violation: &Violation) {
    println!("\nseed {seed} breaks a promise: {}\n  {}", violation.kind, violation.message);
    let small = shrink(&Plan::new(seed, operations), violation, SHRINK_RUNS);
    println!("\nafter {} runs these {} of {operations} steps are left:", small.runs, small.plan.steps.len());
    println!("  {:?}", small.plan.setup);
    for step in small.plan.steps.iter().take(STEPS_SHOWN) {
        println!("  {:>10.3?} client {:>2} {:?}", step.after, step.client, step.action);
    }
    println!("  {}: {}", small.violation.kind, small.violation.message);
    println!("\nagain:     cargo xtask sim --operations {operations} --seed {seed} --trace");
    println!("to keep:   add `{seed} {operations} WHAT` to crates/sim/seeds.txt");
}
