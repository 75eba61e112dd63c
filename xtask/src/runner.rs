//! Runs steps one after another, goes on after a failure, and closes with what passed, what did not and how long it took.
//!
//! Knows nothing of what a step does.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::steps::Step;
use crate::tools;

/// How a command ended; an error of its own use is an `Err` beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
}

struct Finished {
    name: &'static str,
    took: Duration,
    /// Why it failed.
    failure: Option<String>,
}

/// Runs every step, in order. A step whose tool is missing and cannot be installed fails: nothing is skipped.
pub(crate) fn run_steps(root: &Path, steps: &[Step]) -> Result<Outcome> {
    let mut finished = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        println!("\n── {}/{} {}: {}", index + 1, steps.len(), step.name, step.about);
        let started = Instant::now();
        let result = tools::install(root, step.needs).and_then(|()| (step.run)(root));
        let failure = result.err().map(|error| format!("{error:#}"));
        let took = started.elapsed();
        match &failure {
            None => println!("── {} passed in {:.1} s", step.name, took.as_secs_f64()),
            Some(why) => println!("── {} FAILED after {:.1} s: {why}", step.name, took.as_secs_f64()),
        }
        finished.push(Finished { name: step.name, took, failure });
    }
    println!("\n{}", summary(&finished));
    let all_passed = finished.iter().all(|step| step.failure.is_none());
    Ok(if all_passed { Outcome::Passed } else { Outcome::Failed })
}

fn summary(finished: &[Finished]) -> String {
    let mut text = String::from("── summary\n");
    let mut failed = 0;
    for Finished { name, took, failure } in finished {
        let word = if failure.is_none() { "ok  " } else { "FAIL" };
        text.push_str(&format!("{word} {name:<14}{:>8.1} s", took.as_secs_f64()));
        if let Some(why) = failure {
            failed += 1;
            text.push_str(&format!("  {}", why.lines().next().unwrap_or_default()));
        }
        text.push('\n');
    }
    // The last line, alone, in the form that readers of logs look for.
    text.push_str(&format!("{} passed, {failed} failed", finished.len() - failed));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_the_steps() {
        let finished = [
            Finished { name: "fmt", took: Duration::from_millis(1200), failure: None },
            Finished { name: "tidy", took: Duration::from_secs(3), failure: Some("broken\nmore".into()) },
        ];
        let text = summary(&finished);
        assert_eq!(text.lines().last(), Some("1 passed, 1 failed"));
        assert!(text.contains("ok   fmt                1.2 s\n"), "{text}");
        assert!(text.contains("FAIL tidy               3.0 s  broken\n"), "{text}");
    }

    fn pass(_: &Path) -> Result<()> {
        Ok(())
    }

    fn fail(_: &Path) -> Result<()> {
        anyhow::bail!("planted")
    }

    #[test]
    fn one_failure_fails_the_run_and_the_steps_after_it_still_run() {
        let step = |name, run| Step { name, run, ..Step::EMPTY };
        let outcome = run_steps(Path::new("."), &[step("first", fail), step("second", pass)]);
        assert!(matches!(outcome, Ok(Outcome::Failed)));
        let outcome = run_steps(Path::new("."), &[step("second", pass)]);
        assert!(matches!(outcome, Ok(Outcome::Passed)));
    }
}
