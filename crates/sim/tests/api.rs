//! The simulation itself: it is deterministic, it comes to the hard parts, and it finds what is planted. The seeds run in `cargo xtask sim`.

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

#[test]
fn the_runs_come_to_the_hard_parts() {
    let mut seen = Seen::default();
    for seed in 100..115 {
        let report = simulate(&Plan::new(seed, OPERATIONS), false);
        assert_eq!(report.violation, None, "seed {seed}");
        seen.add(&report.seen);
    }
    let Seen { messages, answers, recovered, lost, gaps, ended, duplicates, refused, crashes, .. } = seen;
    let Seen { conflated, cached, signals, removed, notices, polls, streams, .. } = seen;
    let counts = [
        [messages, answers, recovered, lost, gaps, ended, duplicates, refused],
        [crashes, conflated, cached, signals, removed, notices, polls, streams],
    ];
    let counts = counts.as_flattened();
    assert!(counts.iter().all(|count| *count > 0), "{seen:?}");
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
