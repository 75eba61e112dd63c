//! Bytes that are not what was written: found, refused, and nothing built on them.

use crate::node::{Node, options};
use std::collections::BTreeSet;
use std::time::Duration;
use switchboard_core::{CacheRequest, ChannelOptions};
use switchboard_store::{Disk, FaultyDisk, Fsync, JournalOptions, RecoverError, Store, StoreOptions};

/// A log that has every kind of record, in several segments: channels that are trimmed, forgotten, cached and cleared, ids that outlive their publications, and an end
/// in order or not.
fn varied(fsync: Fsync, closed: bool) -> Node {
    let options = ChannelOptions { idempotency_ttl: Duration::from_secs(3_600), ..options(2) };
    let (mut node, _) = Node::start(FaultyDisk::new(3), fsync, options, 300);
    node.publish("quiet", Some("id"), None);
    node.publish_cached("kept", None, None, CacheRequest::Keep);
    node.publish_cached("cleared", None, None, CacheRequest::Keep);
    (0..3).for_each(|_| node.publish("quiet", None, None));
    node.settle();
    let more = |node: &mut Node, count| {
        for _ in 0..count {
            node.publish("a", None, None);
            node.settle();
        }
    };
    more(&mut node, 20);
    node.publish("gone", None, None);
    node.publish_cached("cleared", None, None, CacheRequest::Clear);
    node.settle();
    // One channel is forgotten; those that have an id or a cached value are not.
    node.pass(Duration::from_secs(61));
    node.pass(Duration::from_secs(61));
    node.settle();
    node.publish_cached("kept", None, None, CacheRequest::Keep);
    more(&mut node, 6);
    node.pass(Duration::from_millis(300));
    node.settle();
    if closed {
        assert!(node.close());
    }
    node
}

/// The kinds of the records in all segments, as their bodies begin.
fn kinds(disk: &FaultyDisk) -> BTreeSet<u8> {
    let mut kinds = BTreeSet::new();
    for (name, length) in names(disk).into_iter().filter(|(name, _)| name != "STORE") {
        let bytes = disk.clone().read(&name, 0, length).unwrap();
        let mut at = 48;
        while at < length {
            let body = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
            kinds.insert(bytes[at + 16]);
            at += 16 + body;
        }
    }
    kinds
}

const CHANNELS: [&str; 6] = ["gone", "quiet", "kept", "cleared", "a", "b"];

/// Whatever the disk has: nothing is served that was not published, and nobody is told to have all who has not.
fn check_honest(node: &mut Node) {
    node.check_nothing_invented();
    node.check_resumes();
    for channel in CHANNELS {
        node.check_cached_was_one(channel);
    }
}

#[test]
fn each_byte_of_each_kind_of_record_turned_over_is_noticed() {
    let mut seen = BTreeSet::new();
    for (fsync, closed) in
        [(Fsync::Always, true), (Fsync::Always, false), (Fsync::Interval(Duration::from_millis(100)), true)]
    {
        let mut node = varied(fsync, closed);
        let disk = node.disk.clone();
        seen.extend(kinds(&disk));
        let report = node.restart(disk.copy(0));
        assert_eq!((report.damage.len(), report.cached, report.clean), (0, 1, closed), "{report:?}");
        for (name, length) in names(&disk) {
            for byte in 0..length {
                let damaged = disk.copy(byte as u64);
                damaged.flip(&name, byte, (byte % 8) as u8);
                let report = node.restart(damaged);
                let noticed = name == "STORE" || !report.damage.is_empty() || report.torn > 0;
                assert!(noticed, "{name} byte {byte}: {report:?}");
                check_honest(&mut node);
            }
        }
    }
    assert_eq!(seen, (1..=7).collect(), "a kind of record is not looked at");
}

#[test]
fn a_log_that_is_cut_anywhere_is_served_as_far_as_it_can_be_believed() {
    for fsync in [Fsync::Always, Fsync::Interval(Duration::from_millis(100))] {
        let mut node = varied(fsync, true);
        let disk = node.disk.clone();
        let files = names(&disk);
        let last = files.last().map(|(name, _)| name.clone());
        for (name, length) in &files {
            for keep in 0..*length {
                let damaged = disk.copy(1);
                damaged.shorten(name, keep);
                let report = node.restart(damaged);
                node.check_nothing_invented();
                CHANNELS.iter().for_each(|channel| node.check_cached_was_one(channel));
                // The end of the last file may be missing without a trace: such a disk has not kept what it said that it had.
                if Some(name) != last.as_ref() {
                    node.check_resumes();
                    assert!(name == "STORE" || !report.damage.is_empty(), "{name} {keep}: {report:?}");
                }
            }
        }
    }
}

/// A log of some segments, at rest.
fn log(fsync: Fsync) -> Node {
    let (mut node, _) = Node::start(FaultyDisk::new(3), fsync, options(100), 900);
    for n in 0..24 {
        node.publish(["a", "b"][n % 2], (n % 5 == 0).then_some("id").filter(|_| n == 0), None);
        node.settle();
    }
    // The last sync, and the mark behind it.
    node.pass(Duration::from_secs(1));
    node.pass(Duration::from_secs(1));
    node
}

fn names(disk: &FaultyDisk) -> Vec<(String, usize)> {
    let mut disk = disk.clone();
    let mut names = disk.list().unwrap();
    names.sort();
    names.into_iter().map(|name| (name.clone(), disk.length(&name).unwrap() as usize)).collect()
}

#[test]
fn each_byte_turned_over_is_noticed_and_the_rest_is_served() {
    for fsync in [Fsync::Always, Fsync::Interval(Duration::from_millis(100))] {
        let mut node = log(fsync);
        let disk = node.disk.clone();
        for (name, length) in names(&disk) {
            for byte in 0..length {
                let damaged = disk.copy(byte as u64);
                damaged.flip(&name, byte, (byte % 8) as u8);
                let report = node.restart(damaged.clone());
                let what = format!("{name} byte {byte}: {report:?}");
                node.check_nothing_invented();
                let (resumed, _) = node.check_resumes();
                let kept = node.latest("a").len() + node.latest("b").len();
                if name == "STORE" {
                    assert_eq!((kept, report.damage.len()), (24, 0), "{what}");
                    continue;
                }
                assert!(!report.damage.is_empty() || report.torn > 0, "{what}");
                assert!(kept >= 23, "{what}");
                // A channel whose records all stand before the damage cannot show that it has all; the other can.
                assert!(report.damage.is_empty() || report.new_epochs <= 2, "{what}");
                assert!(resumed == 24 || report.new_epochs > 0 || report.skipped > 0, "{what}");
            }
        }
    }
}

/// Under an interval, what is delivered may go with a loss of power. That its offset was given away stands in the record of the reservation, which may be what is
/// damaged.
#[test]
fn no_offset_is_given_away_again_after_damage_and_a_loss_of_power() {
    // What the disk has kept, and a node that has delivered one more since.
    let life = || {
        let (mut node, _) =
            Node::start(FaultyDisk::new(3), Fsync::Interval(Duration::from_millis(100)), options(100), 900);
        for _ in 0..8 {
            node.publish("a", None, None);
            node.settle();
        }
        node.pass(Duration::from_secs(1));
        node.pass(Duration::from_secs(1));
        let kept = node.disk.copy(1);
        node.publish("a", None, None);
        node.settle();
        (kept, node)
    };
    let (disk, _) = life();
    for (name, length) in names(&disk).into_iter().filter(|(name, _)| name != "STORE") {
        for byte in 0..length {
            let (_, mut node) = life();
            let damaged = disk.copy(byte as u64);
            damaged.flip(&name, byte, (byte % 8) as u8);
            node.restart(damaged);
            // It would be told two things of one place.
            node.publish("a", None, None);
            node.settle();
            node.check_nothing_invented();
        }
    }
}

#[test]
fn after_damage_life_goes_on_and_the_next_start_has_nothing_to_add() {
    let mut node = log(Fsync::Always);
    let disk = node.disk.clone();
    let (name, length) = names(&disk).into_iter().filter(|(name, _)| name != "STORE").nth(1).unwrap();
    for byte in (0..length).step_by(7) {
        let damaged = disk.copy(byte as u64);
        damaged.flip(&name, byte, 3);
        node.books = log(Fsync::Always).books;
        let first = node.restart(damaged.clone());
        let epochs = [node.position("a").epoch, node.position("b").epoch];
        for channel in ["a", "b"] {
            node.publish(channel, None, None);
            node.publish(channel, None, None);
        }
        node.settle();
        node.check_resumes();
        let second = node.restart(damaged.clone());
        assert_eq!((second.damage.len(), second.new_epochs), (first.damage.len(), 0), "byte {byte}");
        assert_eq!([node.position("a").epoch, node.position("b").epoch], epochs);
        assert_eq!(node.latest("a").len() + node.latest("b").len(), second.publications);
        assert!(second.publications >= 27, "byte {byte}: {second:?}");
        node.check_resumes();
        node.check_nothing_invented();
    }
}

#[test]
fn a_segment_that_is_cut_or_gone_is_damage_and_not_the_end() {
    let mut node = log(Fsync::Always);
    let disk = node.disk.clone();
    let segments: Vec<_> = names(&disk).into_iter().filter(|(name, _)| name != "STORE").collect();
    assert!(segments.len() > 2, "{segments:?}");
    let (middle, length) = &segments[1];
    for keep in 0..*length {
        let damaged = disk.copy(1);
        damaged.shorten(middle, keep);
        let report = node.restart(damaged);
        assert!(!report.damage.is_empty(), "{keep}");
        node.check_nothing_invented();
        node.check_resumes();
    }
    let mut damaged = disk.copy(1);
    damaged.remove(middle).unwrap();
    let report = node.restart(damaged);
    assert!(report.damage.iter().any(|damage| damage.to_string().contains("missing")), "{report:?}");
    node.check_resumes();
}

#[test]
fn what_cannot_be_read_is_damage_too() {
    let mut node = log(Fsync::Always);
    let disk = node.disk.copy(1);
    disk.spoil("journal-0000000000000002", 300..301);
    let report = node.restart(disk);
    assert!(!report.damage.is_empty(), "{report:?}");
    node.check_nothing_invented();
    node.check_resumes();
}

#[test]
fn a_store_without_any_beginning_is_refused_by_name() {
    let node = log(Fsync::Always);
    for (name, _) in names(&node.disk) {
        node.disk.flip(&name, 20, 0);
    }
    let options = StoreOptions { fsync: Fsync::Always, journal: JournalOptions::new(1, 1) };
    let error = Store::open(node.disk.clone(), options, node.now, 1, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, RecoverError::Unreadable), "{error}");
}
