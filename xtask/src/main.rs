//! The project's own commands, run as `cargo xtask COMMAND`.
//!
//! Owns what CI runs, which tools that takes and the rules of `tidy`. Knows nothing of what the product does: it drives
//! cargo, Python and Node as a person would, and looks only at their exit status.

// A command-line tool for developers talks on its standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod fuzz;
mod instructions;
mod miri;
mod process;
mod runner;
mod sim;
mod start;
mod steps;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::runner::{Outcome, run_steps};
use crate::steps::{Step, Tier};
use crate::workspace::repository_root;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(Outcome::Passed) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(words: &[&str]) -> Result<Outcome> {
    let root = repository_root()?;
    match words {
        [] | ["help" | "--help" | "-h", ..] => {
            print!("{}", help());
            Ok(Outcome::Passed)
        }
        ["tidy"] => tidy::run(&root),
        ["ci"] | ["test"] => run_steps(&root, &steps::all()),
        ["test", "--quick"] => run_steps(&root, &steps::of_tier(Tier::Quick)),
        ["test", names @ ..] => run_steps(&root, &steps::named(names)?),
        ["deps", names @ ..] => {
            let chosen = if names.is_empty() { steps::all() } else { steps::named(names)? };
            tools::install_for(&root, &chosen)
        }
        [command @ ("conformance" | "interop" | "bench"), rest @ ..] => steps::passthrough(&root, command, rest),
        ["sim", rest @ ..] => sim::run(&root, rest),
        ["fuzz", rest @ ..] => fuzz::run(&root, rest),
        ["instructions", rest @ ..] => instructions::run(&root, rest),
        ["miri", rest @ ..] => miri::run(&root, rest),
        [other, ..] => bail!("there is no command `{other}`; `cargo xtask help` lists what there is"),
    }
}

fn help() -> String {
    let mut text = String::from(
        "cargo xtask COMMAND\n\n\
         test                every step below, in this order, after installing what it needs\n\
         test --quick        the steps that need only cargo\n\
         test STEP…          these steps\n\
         ci                  what CI runs: the same as `test`\n\
         tidy                the project's own rules, and nothing else\n\
         deps [STEP…]        only install the tools that the steps need\n\
         conformance [ARG…]  conformance/autobahn/run.py, with its own arguments\n\
         interop [ARG…]      interop/run.py, with its own arguments\n\
         bench [ARG…]        the benchmark driver, with its own arguments\n\
         sim [ARG…]          a simulated node, seed by seed; `sim --help` says what it takes\n\
         fuzz [ARG…]         every fuzz target for 20 s each; [TARGET] [--seconds N] for more\n\
         instructions        the protocol's instructions for a message beside the recorded ones; --update records them\n\
         miri                what `unsafe` relies on, under Miri\n\n\
         steps:\n",
    );
    for Step { name, about, .. } in steps::all() {
        text.push_str(&format!("  {name:<18}{about}\n"));
    }
    text
}
