//! The process or the machine stops anywhere: what was promised holds.

use crate::node::{Node, options};
use std::time::Duration;
use switchboard_core::{CacheRequest, ChannelOptions, Position, Since, Time};
use switchboard_store::{Faults, FaultyDisk, Fsync};
use switchboard_testkit::Rng;

const CHANNELS: [&str; 3] = ["a", "b", "c/d"];
const SIZE: usize = 20;

/// One step of a node's life.
fn step(node: &mut Node, rng: &mut Rng) {
    let channel = CHANNELS[rng.below(CHANNELS.len())];
    match rng.below(13) {
        0..5 => node.publish(channel, None, None),
        5 => {
            let id = format!("id{}", rng.below(40));
            node.publish(channel, Some(&id), None);
        }
        6 => {
            let position = node.position(channel);
            let offset = position.offset + rng.below(3) as u64;
            node.publish(channel, None, Some(Since::Position(Position { offset, ..position })));
        }
        7..9 => node.collect(),
        9..11 => {
            node.collect();
            node.commit(1 + rng.below(12));
        }
        // Seldom, so that a value outlives its history and its segment.
        11 => match rng.below(12) {
            0..2 => node.publish_cached(channel, None, None, CacheRequest::Keep),
            2 => node.publish_cached(channel, None, None, CacheRequest::Clear),
            _ => node.publish(channel, None, None),
        },
        _ => node.pass(Duration::from_millis(rng.number() % 300)),
    }
}

fn run(seed: u64, fsync: Fsync) {
    let mut rng = Rng::new(seed);
    let disk = FaultyDisk::new(seed);
    // Small segments, so that they are begun, rewritten and removed all the time.
    let (mut node, _) = Node::start(disk, fsync, options(SIZE), 400 + rng.below(3_000));
    for life in 0..4 {
        let operations = rng.one_in(4).then(|| rng.below(60) as u64).or(Some(rng.below(600) as u64));
        node.disk.set_faults(Faults { operations_left: operations, ..Faults::default() });
        for _ in 0..rng.below(400) {
            step(&mut node, &mut rng);
            if node.disk.has_stopped() {
                break;
            }
        }
        let power = rng.one_in(2);
        let report = node.crash(if power { FaultyDisk::lose_power } else { FaultyDisk::kill });
        assert!(report.damage.is_empty(), "seed {seed}, life {life}: a crash is no damage: {:?}", report.damage);
        assert_eq!(report.new_epochs, 0, "seed {seed}, life {life}");
        node.check_nothing_invented();
        node.check_resumes();
        for channel in CHANNELS {
            node.check_cached_was_one(channel);
        }
        if fsync == Fsync::Always {
            for channel in CHANNELS {
                node.check_all_there(channel, SIZE);
                node.check_last_resumes(channel);
                node.check_cached(channel);
            }
        }
    }
    assert!(node.books.acknowledged > 0 || node.books.asked.len() < 300, "seed {seed}: nothing happens");
}

#[test]
fn what_was_acknowledged_under_always_is_there_after_any_crash() {
    for seed in seeds() {
        run(seed, Fsync::Always);
    }
}

#[test]
fn a_resume_never_lies_whatever_was_not_synced() {
    for seed in seeds() {
        run(seed, Fsync::Interval(Duration::from_millis(100)));
        run(seed, Fsync::Never);
    }
}

/// More of them: `SWITCHBOARD_STORE_SEEDS=3000 cargo nextest run -p switchboard-store --all-features crash`.
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
fn seeds() -> core::ops::Range<u64> {
    0..std::env::var("SWITCHBOARD_STORE_SEEDS").map_or(60, |seeds| seeds.parse().expect("a number of seeds"))
}

/// A channel that keeps nothing but a cached value is forgotten with that, and would go on without the disk. Should it be back after a crash, whoever was there
/// before would miss what was published since and be told of nothing.
#[test]
fn what_is_forgotten_does_not_come_back_behind_what_was_published_since() {
    for (fsync, full) in [(Fsync::Always, false), (Fsync::Always, true), (Fsync::Never, false), (Fsync::Never, true)] {
        let keeps_nothing = ChannelOptions { cache_ttl: Duration::from_secs(5), ..options(0) };
        let (mut node, _) = Node::start(FaultyDisk::new(1), fsync, keeps_nothing, 1 << 16);
        node.publish_cached("a", None, None, CacheRequest::Keep);
        node.settle();
        let Position { epoch, offset } = node.position("a");
        if full {
            node.disk.set_faults(Faults { capacity: Some(node.disk.bytes()), ..Faults::default() });
            node.publish_cached("b", None, None, CacheRequest::Keep);
            node.settle();
        }
        let acknowledged = node.books.acknowledged;
        (0..100).for_each(|_| node.pass(Duration::from_secs(1)));
        assert_ne!(node.position("a").epoch, epoch, "it is forgotten");
        node.publish("a", None, None);
        assert_eq!(node.books.acknowledged, acknowledged, "the journal still has it as it was");
        // Whoever was there goes on, and has missed nothing.
        let crashed = node.disk.copy(1);
        crashed.set_faults(Faults::default());
        crashed.lose_power();
        let (disk, now) = (node.disk.clone(), node.now);
        node.settle();
        if full {
            assert_eq!(node.books.acknowledged, acknowledged, "the disk cannot let go of it");
            node.disk.set_faults(Faults::default());
            node.pass(Duration::from_secs(2));
            node.publish("a", None, None);
            node.settle();
        }
        assert_eq!(node.books.acknowledged, acknowledged + 1, "{fsync:?}, {full}: it begins anew");
        disk.lose_power();
        node.restart(disk);
        assert_eq!(
            node.after("a", epoch.0, offset),
            None,
            "{fsync:?}, {full}: what was published since is not passed over"
        );
        node.now = now;
        node.restart(crashed);
        // Under the other setting what it had in reserve is in doubt.
        let nothing_missed = (fsync == Fsync::Always).then(Vec::new);
        assert_eq!(node.after("a", epoch.0, offset), nothing_missed);
    }
}

/// Whether its segment is written anew in the batch in which it is forgotten is a matter of how much came before.
#[test]
fn what_is_forgotten_is_not_written_anew_in_the_same_batch() {
    for before in 0..40 {
        let keeps_nothing = ChannelOptions { cache_ttl: Duration::from_secs(5), ..options(0) };
        let (mut node, _) = Node::start(FaultyDisk::new(1), Fsync::Always, keeps_nothing, 600);
        node.publish_cached("a", None, None, CacheRequest::Keep);
        node.settle();
        let epoch = node.position("a").epoch;
        for batch in 0.. {
            node.pass(if batch < before { Duration::ZERO } else { Duration::from_secs(1) });
            let is_forgotten = node.position("a").epoch != epoch;
            node.publish_cached("b", None, None, CacheRequest::Keep);
            node.settle();
            if is_forgotten {
                break;
            }
        }
        node.crash(FaultyDisk::kill);
        assert_ne!(node.position("a").epoch, epoch, "behind {before}");
    }
}

#[test]
fn under_always_nobody_is_told_before_the_disk_has_it() {
    let (mut node, _) = Node::start(FaultyDisk::new(1), Fsync::Always, options(SIZE), 1 << 16);
    node.publish("a", None, None);
    assert_eq!((node.books.acknowledged, node.position("a").offset, node.disk.syncs()), (0, 0, 1));
    node.settle();
    assert_eq!((node.books.acknowledged, node.position("a").offset, node.disk.syncs()), (1, 1, 2));
    // One sync for all that came in together.
    for _ in 0..50 {
        node.publish("a", None, None);
        node.publish("b", None, None);
    }
    node.settle();
    assert_eq!((node.books.acknowledged, node.disk.syncs()), (101, 3));
}

#[test]
fn conditions_hold_among_publications_that_are_not_committed_yet() {
    let (mut node, _) = Node::start(FaultyDisk::new(1), Fsync::Always, options(SIZE), 1 << 16);
    node.publish("a", Some("x"), None);
    let here = node.position("a");
    let at = |offset| Some(Since::Position(Position { offset, ..here }));
    let (first, second) = (at(1), at(2));
    node.publish("a", Some("x"), None);
    node.publish("a", None, first);
    node.publish("a", None, first);
    node.publish("a", None, second);
    assert_eq!((node.books.acknowledged, node.books.duplicates, node.books.conflicts), (0, 0, 0));
    node.settle();
    assert_eq!((node.books.acknowledged, node.books.duplicates, node.books.conflicts), (3, 1, 1));
    // And across a restart.
    node.crash(FaultyDisk::kill);
    node.publish("a", Some("x"), None);
    let (wrong, right) = (at(2), at(3));
    node.publish("a", None, wrong);
    node.publish("a", None, right);
    node.settle();
    assert_eq!((node.books.acknowledged, node.books.duplicates, node.books.conflicts), (4, 2, 2));
}

#[test]
fn what_waits_for_the_disk_longer_than_its_id_is_remembered_is_still_the_same() {
    let options = ChannelOptions { idempotency_ttl: Duration::from_secs(2), ..options(SIZE) };
    let (mut node, _) = Node::start(FaultyDisk::new(1), Fsync::Always, options, 1 << 16);
    node.publish("a", Some("once"), None);
    node.pass(Duration::from_secs(3));
    node.publish("a", Some("once"), None);
    node.settle();
    assert_eq!((node.books.acknowledged, node.books.duplicates), (1, 1));
}

#[test]
fn ids_outlive_their_publications_and_their_segments() {
    let (mut node, _) = Node::start(FaultyDisk::new(1), Fsync::Always, options(2), 600);
    node.publish("a", Some("once"), None);
    for _ in 0..200 {
        node.publish("a", None, None);
        node.settle();
    }
    assert!(node.disk.bytes() < 8_000, "{}", node.disk.bytes());
    let disk = node.disk.clone();
    node.restart(disk);
    node.publish("a", Some("once"), None);
    node.settle();
    assert_eq!((node.books.acknowledged, node.books.duplicates), (201, 1));
}

#[test]
fn after_a_clean_end_nothing_is_skipped_and_after_a_crash_only_what_was_in_use() {
    let fsync = Fsync::Interval(Duration::from_millis(100));
    let (mut node, _) = Node::start(FaultyDisk::new(1), fsync, options(SIZE), 1 << 16);
    for channel in CHANNELS {
        node.publish(channel, None, None);
    }
    node.settle();
    // Two of them become quiet and give back what they had in reserve.
    for _ in 0..30 {
        node.pass(Duration::from_secs(1));
        node.publish("a", None, None);
        node.settle();
    }
    let crashed = node.disk.copy(1);
    crashed.lose_power();
    let report = node.restart(crashed);
    assert_eq!((report.clean, report.skipped), (false, 1));
    assert_eq!((node.position("b").offset, node.position("a").offset > 1_000), (1, true));
    node.check_resumes();
    let books = core::mem::take(&mut node.books);
    // The skip holds although nothing was published, and the end was clean.
    let disk = node.disk.clone();
    let at = node.position("a");
    assert!(node.close());
    let report = node.restart(disk);
    assert_eq!((report.clean, report.skipped, node.position("a")), (true, 0, at));
    node.books = books;
    node.check_resumes();
}

#[test]
fn an_end_in_which_a_request_was_lost_is_no_clean_one() {
    for lost in [false, true] {
        let (mut node, _) = Node::start(FaultyDisk::new(1), Fsync::Never, options(SIZE), 1 << 16);
        node.publish("a", None, None);
        node.settle();
        node.publish("a", None, None);
        assert_eq!(node.books.acknowledged, 2);
        if !lost {
            node.settle();
        }
        assert_eq!(node.close(), !lost);
        let disk = node.disk.clone();
        let report = node.restart(disk);
        assert_eq!((report.clean, report.skipped), (!lost, usize::from(lost)));
        node.check_resumes();
    }
}

#[test]
fn a_channel_that_is_forgotten_and_begins_anew_within_one_batch_keeps_its_epochs_apart() {
    let options = ChannelOptions { history_ttl: Duration::from_secs(1), ..options(10) };
    let (mut node, _) = Node::start(FaultyDisk::new(5), Fsync::Never, options, 500);
    node.publish("a", None, None);
    node.settle();
    let before = node.position("a").epoch;
    // All of this waits for the disk: one more of the old epoch, its end, and the first of the new one.
    node.publish("a", None, None);
    node.pass(Duration::from_secs(3));
    node.pass(Duration::from_secs(1));
    node.publish("a", None, None);
    node.settle();
    assert_ne!(node.position("a").epoch, before);
    // Until the segment in which they meet is written anew.
    for _ in 0..60 {
        node.publish("b", None, None);
        node.settle();
    }
    let seen = node.latest("a");
    assert_eq!(seen.len(), 1);
    node.crash(FaultyDisk::kill);
    assert_eq!(node.latest("a"), seen);
    node.check_nothing_invented();
}

#[test]
fn an_id_that_was_published_again_is_that_of_the_later_publication_after_a_restart() {
    let options = ChannelOptions { idempotency_ids: 2, ..options(2) };
    let (mut node, _) = Node::start(FaultyDisk::new(5), Fsync::Never, options, 500);
    for id in ["again", "x", "y", "again"] {
        node.publish("a", Some(id), None);
        node.settle();
    }
    let at = node.position("a").offset;
    // Until the segment of the first, whose id is still in its time, is written anew: behind the second.
    for _ in 0..60 {
        node.publish("b", None, None);
        node.settle();
    }
    node.crash(FaultyDisk::kill);
    node.publish("a", Some("again"), None);
    node.settle();
    assert_eq!((node.books.duplicates, at), (1, 4), "the books know which it is of");
}

#[test]
fn a_clock_that_was_set_between_two_starts_loses_nothing_that_has_time_and_gives_nothing_away_again() {
    for (fsync, back) in [Fsync::Always, Fsync::Never].into_iter().flat_map(|fsync| [(fsync, true), (fsync, false)]) {
        let (mut node, _) = Node::start(FaultyDisk::new(1), fsync, options(SIZE), 600);
        for n in 0..12 {
            node.publish("a", Some(&format!("before{n}")), None);
            node.settle();
        }
        let seen = node.latest("a");
        let other = Duration::from_secs(500);
        node.now = if back { Time::default() + node.now.since(Time::default() + other) } else { node.now + other };
        node.crash(FaultyDisk::kill);
        assert_eq!(node.latest("a"), if back { seen } else { Vec::new() });
        for n in 0..12 {
            node.publish("a", Some(&format!("after{n}")), None);
            node.settle();
            node.pass(Duration::from_millis(300));
        }
        node.check_resumes();
        node.crash(FaultyDisk::lose_power);
        node.check_resumes();
        node.check_nothing_invented();
        if fsync == Fsync::Always {
            node.check_last_resumes("a");
            node.publish("a", Some("after11"), None);
            node.settle();
            assert_eq!(node.books.duplicates, 1);
        }
    }
}
