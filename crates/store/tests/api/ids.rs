//! What ids cost the disk that are remembered longer than their publications are kept.

use crate::node::{Node, options};
use std::time::Duration;
use switchboard_core::ChannelOptions;
use switchboard_store::{FaultyDisk, Fsync};

const SEGMENT: usize = 4_000;
/// More than the record of an id alone has in these tests, in bytes.
const ID: usize = 70;

fn node(ids: usize) -> Node {
    let options = ChannelOptions { idempotency_ids: ids, idempotency_ttl: Duration::from_secs(3_600), ..options(5) };
    Node::start(FaultyDisk::new(5), Fsync::Always, options, SEGMENT).0
}

fn publish(node: &mut Node, count: std::ops::Range<usize>) {
    for n in count {
        node.publish("a", Some(&format!("id-{n}")), None);
        node.settle();
    }
}

#[test]
fn ids_beyond_their_number_leave_the_disk() {
    let mut node = node(50);
    let mut most = 0;
    for n in 0..5_000 {
        publish(&mut node, n..n + 1);
        most = most.max(node.store.stats().bytes);
    }
    assert!(most < (2 * 50 * ID + 8 * SEGMENT) as u64, "{most}");
    // Those that are remembered are there, after an end in the midst too.
    node.crash(FaultyDisk::lose_power);
    for n in [4_950, 4_999] {
        publish(&mut node, n..n + 1);
    }
    assert_eq!(node.books.duplicates, 2);
}

#[test]
fn ids_that_are_all_remembered_are_not_written_again_and_again() {
    let mut node = node(usize::MAX);
    publish(&mut node, 0..3_000);
    let stats = node.store.stats();
    // Each publication once, and its id with what is written anew for each time that the journal has grown to twice its size.
    assert!(stats.bytes_written < 3_000 * (200 + 3 * ID) as u64, "{stats:?}");
    assert!(stats.bytes < (2 * 3_000 * ID + 8 * SEGMENT) as u64, "{stats:?}");
    // When their time is over they go, whatever else there is.
    node.pass(Duration::from_secs(3_601));
    for _ in 0..200 {
        node.publish("b", None, None);
        node.settle();
    }
    let stats = node.store.stats();
    assert!(stats.bytes < 10 * SEGMENT as u64, "{stats:?}");
}

#[test]
fn a_start_puts_in_order_what_is_far_more_than_it_should_be() {
    let mut node = node(usize::MAX);
    publish(&mut node, 0..3_000);
    // Nobody was there to see their time end, and the next ones do not live long either.
    node.now = node.now + Duration::from_secs(3_601);
    for life in 0..20 {
        node.crash(FaultyDisk::kill);
        let stats = node.store.stats();
        assert!(stats.bytes < 9 * SEGMENT as u64, "in life {life}: {stats:?}");
        node.publish("b", None, None);
        node.settle();
    }
    node.check_nothing_invented();
}

/// Each process writes a part of the oldest segment anew, and is gone before that can be removed.
#[test]
fn ids_are_not_written_anew_by_each_process_that_is_ended_in_the_midst_of_it() {
    let mut node = node(usize::MAX);
    publish(&mut node, 0..400);
    for life in 0..600 {
        for _ in 0..2 {
            node.publish("b", None, None);
            node.settle();
        }
        node.crash(FaultyDisk::kill);
        let stats = node.store.stats();
        assert!(stats.bytes_live < (400 * ID + SEGMENT) as u64, "in life {life}: {stats:?}");
        assert!(stats.bytes < (2 * (2 * 400 * ID + 4 * SEGMENT)) as u64, "in life {life}: {stats:?}");
        assert!(stats.segments <= 513, "in life {life}: {stats:?}");
    }
    for n in 0..400 {
        publish(&mut node, n..n + 1);
    }
    assert_eq!(node.books.duplicates, 400);
}
