//! New epochs for a history that has gone back in time: all of it stays, and no position of before is taken for one of now.

use crate::node::{Node, options};
use std::time::Duration;
use switchboard_store::{Faults, FaultyDisk, Fsync, JournalOptions, renew};

const CHANNELS: [&str; 3] = ["a", "b", "c/d"];
const SIZE: usize = 10;

fn node(fsync: Fsync) -> Node {
    let (mut node, _) = Node::start(FaultyDisk::new(3), fsync, options(SIZE), 1_000);
    for round in 0..20 {
        for channel in CHANNELS {
            node.publish(channel, Some(&format!("id{round}")), None);
        }
        node.settle();
    }
    node
}

#[test]
fn however_far_it_came_the_history_is_whole_and_when_it_is_done_nobody_resumes() {
    for fsync in [Fsync::Always, Fsync::Interval(Duration::from_millis(100))] {
        let mut node = node(fsync);
        node.pass(Duration::from_secs(1));
        let disk = node.disk.clone();
        let before = CHANNELS.map(|channel| (node.position(channel), node.latest(channel)));
        for operations in 0.. {
            let disk = disk.copy(operations);
            disk.set_faults(Faults { operations_left: Some(operations), ..Faults::default() });
            let renewed = renew(disk.clone(), JournalOptions::new(1, 77 << 40), &mut |_, _| {});
            let is_done = !disk.has_stopped();
            disk.lose_power();
            let report = node.restart(disk.clone());
            assert!(report.damage.is_empty(), "{operations}: {report:?}");
            assert_eq!(report.new_epochs, 0, "{operations}: a start ends no epoch that was begun in order");
            let now = CHANNELS.map(|channel| (node.position(channel), node.latest(channel)));
            for ((old, kept), (new, found)) in before.iter().zip(&now) {
                // What was trimmed last may be back.
                assert!(found.ends_with(kept), "{operations}: {found:?} where {kept:?} was");
                if is_done {
                    assert_ne!(old.epoch, new.epoch);
                }
            }
            node.check_resumes();
            node.check_nothing_invented();
            if is_done {
                assert_eq!((renewed.unwrap().channels, report.clean), (CHANNELS.len(), true));
                break;
            }
            assert!(renewed.is_err() && operations < 100, "{operations}");
        }
        // Life goes on, through compaction too.
        for _ in 0..100 {
            for channel in CHANNELS {
                node.publish(channel, None, None);
            }
            node.settle();
        }
        let epochs = CHANNELS.map(|channel| node.position(channel).epoch);
        let disk = node.disk.clone();
        let report = node.restart(disk);
        assert_eq!((report.damage.len(), report.new_epochs), (0, 0));
        assert_eq!(CHANNELS.map(|channel| node.position(channel).epoch), epochs);
        node.check_resumes();
    }
}

/// Each record tells the epoch in which it was written, and what continues that one must still know its ids when they are written again.
#[test]
fn ids_outlive_the_epoch_that_they_came_in_and_their_segment() {
    let mut node = node(Fsync::Always);
    let disk = node.disk.clone();
    renew(disk.clone(), JournalOptions::new(1, 77 << 40), &mut |_, _| {}).unwrap();
    node.restart(disk.clone());
    for _ in 0..100 {
        for channel in CHANNELS {
            node.publish(channel, None, None);
        }
        node.settle();
    }
    node.restart(disk);
    for channel in CHANNELS {
        (0..20).for_each(|round| node.publish(channel, Some(&format!("id{round}")), None));
    }
    node.settle();
    assert_eq!(node.books.duplicates, 60);
}
