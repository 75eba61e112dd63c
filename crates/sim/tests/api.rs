//! The simulation itself: it is deterministic, it comes to the hard parts, and it finds what is planted. The seeds run in `cargo xtask sim`.

use std::process::Command;
use switchboard_core::canary::{self, Canary};
use switchboard_sim::{Plan, Seen, shrink, simulate};

const OPERATIONS: usize = 1_500;

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..3 {
        let [first, second] = [0, 1].map(|_| simulate(&Plan::new(seed, OPERATIONS), false));
        assert_eq!((first.hash, first.events, first.seen), (second.hash, second.events, second.seen), "seed {seed}");
        let other = simulate(&Plan::new(seed + 1_000, OPERATIONS), false);
        assert_ne!(first.hash, other.hash, "seed {seed}");
    }
}

/// Maps have another order in each process: nothing that happens may depend on it.
#[test]
fn two_processes_say_the_same_of_the_same_seed() {
    let say = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard-sim"));
        let output = command.args(["--operations", "1500"]).args(arguments).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        output.stdout
    };
    for arguments in [&["--hashes", "--from", "40", "--seeds", "8"][..], &["--seed", "5", "--trace"]] {
        let [first, second] = [0, 1].map(|_| say(arguments));
        assert!(first.len() > 100 && first == second, "{arguments:?}");
    }
}

#[test]
fn the_runs_come_to_the_hard_parts() {
    let mut seen = Seen::default();
    for seed in 100..115 {
        let report = simulate(&Plan::new(seed, OPERATIONS), false);
        assert_eq!(report.violation, None, "seed {seed}");
        seen.add(&report.seen);
    }
    let Seen { messages, answers, recovered, lost, gaps, ended, duplicates, refused, crashes, .. } = seen;
    let Seen { conflated, cached, signals, removed, notices, polls, streams, shown, calls, watched, .. } = seen;
    let counts = [
        [messages, answers, recovered, lost, gaps, ended, duplicates, refused],
        [crashes, conflated, cached, signals, removed, notices, polls, streams],
    ];
    let counts = counts.as_flattened();
    assert!(shown.min(calls).min(watched) > 0 && counts.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn a_planted_bug_is_found_and_made_small() {
    canary::plant(Some(Canary::LeaveLost));
    let found = (0..50).find_map(|seed| {
        let plan = Plan::new(seed, OPERATIONS);
        simulate(&plan, false).violation.map(|violation| (plan, violation))
    });
    let (plan, violation) = found.expect("a lost leave is found");
    let small = shrink(&plan, &violation, 300);
    canary::plant(None);
    assert_eq!(small.violation.kind, violation.kind);
    assert!(small.plan.steps.len() < 20, "{:?}", small.plan.steps);
    assert_eq!(simulate(&small.plan, false).violation, None, "without the bug nothing is wrong");
}
