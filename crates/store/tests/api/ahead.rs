//! Zeros that are written ahead: syncs find the file as long as before, and nobody takes them for anything else.

use crate::node::{Node, options};
use std::time::Duration;
use switchboard_store::{Disk, Faults, FaultyDisk, Fsync, StoreState};

const SIZE: usize = 10;
const SEGMENT: usize = 4_000;

/// A node whose third start it is, which writes as many zeros ahead as a segment has room for.
fn third_start() -> Node {
    let (mut node, _) = Node::start(FaultyDisk::new(7), Fsync::Always, options(SIZE), SEGMENT);
    for _ in 0..2 {
        let disk = node.disk.clone();
        node.restart(disk);
    }
    node
}

fn publish(node: &mut Node, count: usize) {
    for _ in 0..count {
        node.publish("a", None, None);
        node.settle();
    }
}

fn segments(node: &mut Node) -> Vec<(String, u64)> {
    let mut names = node.disk.list().unwrap();
    names.retain(|name| name.starts_with("journal-"));
    names.sort_unstable();
    let mut length = |name: &String| node.disk.length(name).unwrap();
    names.iter().map(|name| (name.clone(), length(name))).collect()
}

#[test]
fn a_segment_is_as_long_at_its_beginning_as_at_its_end() {
    let mut node = third_start();
    publish(&mut node, 1);
    let begun = segments(&mut node);
    assert_eq!(begun.last().unwrap().1, SEGMENT as u64);
    publish(&mut node, 10);
    assert_eq!(segments(&mut node), begun);
    publish(&mut node, 100);
    let all = segments(&mut node);
    assert!(all.len() > begun.len(), "{all:?}");
    for (name, length) in all.iter().rev().skip(1) {
        let last = node.disk.read(name, length - 1, 1).unwrap();
        assert_ne!(last, [0], "{name} is followed by another and ends with zeros");
    }
}

#[test]
fn zeros_are_neither_damage_nor_torn() {
    for power in [false, true] {
        let mut node = third_start();
        publish(&mut node, 6);
        let report = node.crash(if power { FaultyDisk::lose_power } else { FaultyDisk::kill });
        assert_eq!((report.torn, report.damage.len(), report.new_epochs), (0, 0, 0));
        assert_eq!(node.latest("a").len(), 6);
        node.check_last_resumes("a");
    }
}

#[test]
fn where_there_is_room_for_a_batch_but_not_for_zeros_it_is_taken() {
    let mut node = third_start();
    node.disk.set_faults(Faults { capacity: Some(node.disk.bytes() + 500), ..Faults::default() });
    publish(&mut node, 1);
    assert_eq!((node.state(), node.books.acknowledged), (StoreState::Writable, 1));
    publish(&mut node, 9);
    assert_eq!(node.state(), StoreState::Full);
    node.disk.set_faults(Faults::default());
    node.pass(Duration::from_secs(2));
    assert_eq!(node.state(), StoreState::Writable);
    publish(&mut node, 1);
    let acknowledged = node.books.acknowledged;
    let report = node.crash(FaultyDisk::lose_power);
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(node.latest("a").len() as u64, acknowledged);
    node.check_resumes();
}
