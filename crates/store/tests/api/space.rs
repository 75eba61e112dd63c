//! No room, and disks that fail: publishers are told, what was promised holds, and the journal stays within its bound.

use crate::node::{Node, options};
use std::time::Duration;
use switchboard_core::ChannelOptions;
use switchboard_store::{Faults, FaultyDisk, Fsync, StoreState};

const SIZE: usize = 10;

fn node(fsync: Fsync) -> Node {
    let (mut node, _) = Node::start(FaultyDisk::new(5), fsync, options(SIZE), 4_000);
    for _ in 0..30 {
        node.publish("a", None, None);
        node.settle();
    }
    node
}

#[test]
fn a_full_disk_refuses_publishers_serves_readers_and_takes_more_when_there_is_room() {
    let mut node = node(Fsync::Always);
    let before = (node.latest("a"), node.position("a"));
    node.disk.set_faults(Faults { capacity: Some(node.disk.bytes() + 50), ..Faults::default() });
    for _ in 0..5 {
        node.publish("a", None, None);
    }
    node.settle();
    assert_eq!((node.state(), node.books.unavailable, node.books.acknowledged), (StoreState::Full, 5, 30));
    // Refused at once now; readers notice nothing.
    node.publish("a", None, None);
    assert_eq!((node.books.unavailable, node.latest("a"), node.position("a")), (6, before.0, before.1));
    node.pass(Duration::from_secs(2));
    assert_eq!(node.state(), StoreState::Full);
    node.disk.set_faults(Faults::default());
    node.pass(Duration::from_secs(2));
    assert_eq!(node.state(), StoreState::Writable);
    node.publish("a", None, None);
    node.settle();
    assert_eq!(node.books.acknowledged, 31);
    node.crash(FaultyDisk::lose_power);
    node.check_all_there("a", SIZE);
    node.check_resumes();
}

#[test]
fn a_sync_that_failed_is_never_taken_for_one_that_succeeded() {
    for fsync in [Fsync::Always, Fsync::Interval(Duration::from_millis(100))] {
        let mut node = node(fsync);
        node.pass(Duration::from_secs(1));
        let acknowledged = node.books.acknowledged;
        node.publish("a", None, None);
        node.disk.set_faults(Faults { failing_syncs: 1, ..Faults::default() });
        node.settle();
        node.pass(Duration::from_secs(1));
        assert!(matches!(node.state(), StoreState::Failed(_)));
        if fsync == Fsync::Always {
            assert_eq!(node.books.acknowledged, acknowledged, "nobody is told");
        }
        for _ in 0..3 {
            node.publish("a", None, None);
            node.pass(Duration::from_secs(2));
            node.settle();
        }
        assert!(node.books.unavailable >= 3);
        let report = node.crash(FaultyDisk::lose_power);
        assert!(report.damage.is_empty(), "{report:?}");
        node.check_resumes();
        node.check_nothing_invented();
        node.publish("a", None, None);
        node.settle();
        assert_eq!(node.state(), StoreState::Writable);
        node.check_resumes();
    }
}

#[test]
fn after_a_failed_sync_the_next_start_does_not_trust_what_the_system_remembers() {
    let mut node = node(Fsync::Always);
    node.publish("a", None, None);
    node.disk.set_faults(Faults { failing_syncs: 1, ..Faults::default() });
    node.settle();
    // The process is started again; the system still has the bytes, the disk does not.
    node.crash(FaultyDisk::kill);
    let seen = node.latest("a");
    assert_eq!(seen.last().map(|(offset, _)| *offset), Some(31));
    node.crash(FaultyDisk::lose_power);
    assert_eq!(node.latest("a"), seen);
}

#[test]
fn nor_does_it_where_there_is_no_room_to_write_it_anew() {
    for room in [0, 10, 1_000] {
        let mut node = node(Fsync::Always);
        node.publish("a", None, None);
        node.disk.set_faults(Faults { failing_syncs: 1, ..Faults::default() });
        node.settle();
        node.disk.kill();
        node.disk.set_faults(Faults { capacity: Some(node.disk.bytes() + room), ..Faults::default() });
        let disk = node.disk.clone();
        node.restart(disk);
        let seen = node.latest("a");
        assert_eq!(seen.last().map(|(offset, _)| *offset), Some(31));
        node.disk.lose_power();
        let disk = node.disk.clone();
        let report = node.restart(disk);
        assert_eq!((node.latest("a"), report.damage), (seen, vec![]));
    }
}

#[test]
fn a_write_that_failed_ends_it_until_the_next_start() {
    let mut node = node(Fsync::Always);
    node.disk.set_faults(Faults { failing_writes: 1, ..Faults::default() });
    node.publish("a", None, None);
    node.settle();
    assert!(matches!(node.state(), StoreState::Failed(_)));
    node.crash(FaultyDisk::kill);
    node.check_all_there("a", SIZE);
}

#[test]
fn the_journal_stays_within_its_bound() {
    let (mut node, _) = Node::start(FaultyDisk::new(5), Fsync::Always, options(50), 4_000);
    // Some channels are quiet: what they keep moves on from segment to segment.
    for n in 0..40 {
        node.publish(&format!("quiet{n}"), None, None);
    }
    node.settle();
    let mut most = 0.0_f64;
    for _ in 0..4_000 {
        node.publish("busy", None, None);
        node.settle();
        let stats = node.store.stats();
        most = most.max(stats.bytes as f64 / (2 * stats.bytes_live + 6 * 4_000) as f64);
    }
    assert!(most <= 1.0, "{most} of the bound");
    node.crash(FaultyDisk::lose_power);
    for n in 0..40 {
        assert_eq!(node.latest(&format!("quiet{n}")).len(), 1);
    }
    node.check_all_there("busy", 50);
    let (resumed, _) = node.check_resumes();
    // What the last publication pushed out is known to the journal with the next one only.
    assert_eq!(resumed, 92);
}

/// What a channel costs is charged as long as it is known, in the broker and in the journal's index, and it is known no longer than there is room.
#[test]
fn however_many_channels_there_ever_were_no_more_are_known_than_there_is_room_for() {
    for fsync in [Fsync::Always, Fsync::Never] {
        let (mut node, _) = Node::start(FaultyDisk::new(5), fsync, options(SIZE), 1 << 16);
        for n in 0..6_000 {
            node.publish(&format!("c{n}"), None, None);
            if n % 50 == 0 {
                node.settle();
                node.pass(Duration::from_millis(1));
            }
        }
        node.settle();
        let known = node.store.stats().channels;
        // Each of two shards has a mebibyte, and a channel with a publication costs two kibibytes.
        assert!((800..1_100).contains(&known), "{known} channels");
        assert!(node.brokers.iter().all(|broker| broker.bytes() <= 1 << 20));
        // Those that have gone have gone for good, and their names begin anew.
        let disk = node.disk.clone();
        node.disk.kill();
        assert_eq!(node.restart(disk).channels as u64, known);
        assert!(node.latest("c0").is_empty() && !node.latest("c5999").is_empty());
        node.check_resumes();
        // All is given back when it is forgotten.
        node.pass(Duration::from_secs(61));
        node.pass(Duration::from_secs(61));
        node.settle();
        assert!(node.brokers.iter().all(|broker| broker.bytes() == 0));
        assert_eq!(node.store.stats().channels, 0);
    }
}

#[test]
fn what_has_expired_leaves_the_disk() {
    let mut node = node(Fsync::Always);
    node.pass(Duration::from_secs(61));
    node.pass(Duration::from_secs(61));
    node.settle();
    for _ in 0..100 {
        node.publish("b", None, None);
        node.settle();
    }
    let stats = node.store.stats();
    assert_eq!((stats.channels, node.latest("a").len()), (1, 0), "{stats:?}");
}

#[test]
fn a_disk_that_is_full_where_a_file_begins_leaves_no_hole() {
    let mut filled = 0;
    for published in 0..40 {
        let (mut node, _) = Node::start(FaultyDisk::new(5), Fsync::Always, options(SIZE), 500);
        for _ in 0..published {
            node.publish("a", None, None);
            node.settle();
        }
        node.disk.set_faults(Faults { capacity: Some(node.disk.bytes() + 60), ..Faults::default() });
        node.publish("a", None, None);
        node.settle();
        filled += u32::from(node.state() == StoreState::Full);
        node.disk.set_faults(Faults::default());
        node.pass(Duration::from_secs(2));
        for _ in 0..10 {
            node.publish("a", None, None);
            node.settle();
        }
        let disk = node.disk.clone();
        let report = node.restart(disk);
        assert_eq!((report.damage, report.new_epochs), (vec![], 0), "after {published}");
        node.check_all_there("a", SIZE);
        node.check_last_resumes("a");
    }
    assert!(filled > 20, "{filled}");
}

#[test]
fn what_a_full_disk_did_not_keep_is_a_known_hole_after_an_end_in_order_too() {
    for fsync in [Fsync::Interval(Duration::from_millis(100)), Fsync::Never] {
        let mut node = node(fsync);
        let before = node.position("a");
        node.disk.set_faults(Faults { capacity: Some(node.disk.bytes()), ..Faults::default() });
        // Delivered at once, and refused by the disk.
        node.publish("a", None, None);
        node.settle();
        assert_eq!((node.state(), node.position("a").offset), (StoreState::Full, before.offset + 1));
        node.disk.set_faults(Faults::default());
        node.pass(Duration::from_secs(2));
        assert!(node.close());
        let disk = node.disk.clone();
        let report = node.restart(disk);
        assert!(report.clean && node.position("a").offset > before.offset, "{report:?}");
        node.check_resumes();
        node.publish("a", None, None);
        node.settle();
        node.check_resumes();
    }
}

#[test]
fn what_was_written_before_the_disk_was_full_is_synced_in_time() {
    let (mut node, _) =
        Node::start(FaultyDisk::new(5), Fsync::Interval(Duration::from_millis(100)), options(SIZE), 4_000);
    node.publish("a", None, None);
    node.settle();
    node.pass(Duration::from_secs(1));
    node.publish("a", None, None);
    node.settle();
    let (kept, syncs) = (node.latest("a"), node.disk.syncs());
    node.disk.set_faults(Faults { capacity: Some(node.disk.bytes()), ..Faults::default() });
    node.publish("a", None, None);
    node.settle();
    assert_eq!((node.state(), node.disk.syncs()), (StoreState::Full, syncs));
    node.pass(Duration::from_millis(100));
    assert_eq!((node.state(), node.disk.syncs()), (StoreState::Full, syncs + 1));
    node.crash(FaultyDisk::lose_power);
    assert_eq!(node.latest("a"), kept);
    node.check_resumes();
}

/// One whose channels are forgotten a few seconds after their last publication.
fn forgetful(fsync: Fsync) -> Node {
    let options = ChannelOptions { history_ttl: Duration::from_secs(5), ..options(SIZE) };
    let (mut node, _) = Node::start(FaultyDisk::new(5), fsync, options, 4_000);
    node.publish("a", None, None);
    node.settle();
    node
}

/// Long enough for what is kept to be too old, and for what is forgotten for it.
fn grow_old(node: &mut Node) {
    for _ in 0..4 {
        node.pass(Duration::from_secs(4));
        node.settle();
    }
}

#[test]
fn a_channel_that_is_forgotten_takes_its_holes_with_it() {
    for (fsync, forgotten_while_full) in [Fsync::Interval(Duration::from_millis(100)), Fsync::Never]
        .into_iter()
        .flat_map(|fsync| [(fsync, true), (fsync, false)])
    {
        let mut node = forgetful(fsync);
        let epoch = node.position("a").epoch;
        node.disk.set_faults(Faults { capacity: Some(node.disk.bytes()), ..Faults::default() });
        // Delivered at once, and refused by the disk.
        node.publish("a", None, None);
        node.settle();
        if forgotten_while_full {
            grow_old(&mut node);
        }
        assert_eq!(node.state(), StoreState::Full);
        node.disk.set_faults(Faults::default());
        node.pass(Duration::from_secs(2));
        grow_old(&mut node);
        assert_eq!((node.state(), node.store.stats().channels), (StoreState::Writable, 0));
        // Its name comes again, and with it another epoch, which an end in order must not take for the old one.
        (0..3).for_each(|_| node.publish("a", None, None));
        node.settle();
        let (at, seen) = (node.position("a"), node.latest("a"));
        assert_ne!(at.epoch, epoch);
        assert!(node.close());
        let disk = node.disk.clone();
        let report = node.restart(disk);
        assert_eq!((report.clean, node.position("a"), node.latest("a")), (true, at, seen), "{fsync:?}");
        node.check_resumes();
    }
}

#[test]
fn a_channel_that_is_forgotten_in_a_batch_for_which_there_is_no_room_stays_forgotten() {
    let mut node = forgetful(Fsync::Never);
    // Nobody has been told that the disk is full when the channel is forgotten.
    node.disk.set_faults(Faults { capacity: Some(node.disk.bytes()), ..Faults::default() });
    grow_old(&mut node);
    assert_eq!(node.state(), StoreState::Full);
    node.disk.set_faults(Faults::default());
    node.pass(Duration::from_secs(2));
    node.settle();
    assert_eq!((node.state(), node.store.stats().channels), (StoreState::Writable, 0));
    let disk = node.disk.clone();
    assert_eq!(node.restart(disk).channels, 0);
}
