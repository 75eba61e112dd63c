//! Each call to the disk fails once, with each kind of error, and the disk goes on as if nothing had been: what was promised holds, through kill -9 and a loss of power.

use crate::node::{Node, options};
use std::io::ErrorKind;
use std::time::Duration;
use switchboard_core::CacheRequest;
use switchboard_store::{Faults, FaultyDisk, Fsync, JournalOptions, Store, StoreOptions, StoreState};

const SIZE: usize = 8;
const CHANNELS: [&str; 2] = ["a", "b"];
const SEGMENT: usize = 900;

/// No room, and what is worse.
const ERRORS: [ErrorKind; 2] = [ErrorKind::StorageFull, ErrorKind::Other];

/// Some rounds of publications of every kind, over several segments.
fn publish(node: &mut Node, rounds: usize) {
    for round in 0..rounds {
        for channel in CHANNELS {
            let id = format!("{channel}{}", node.books.asked.len());
            node.publish(channel, (round % 2 == 0).then_some(&*id), None);
        }
        match round % 5 {
            1 => node.publish_cached("a", None, None, CacheRequest::Keep),
            3 => node.publish_cached("b", None, None, CacheRequest::Clear),
            _ => {}
        }
        node.settle();
        node.pass(Duration::from_millis(150));
    }
}

fn check(node: &mut Node, fsync: Fsync) {
    node.check_nothing_invented();
    node.check_resumes();
    for channel in CHANNELS {
        node.check_cached_was_one(channel);
        if fsync == Fsync::Always {
            node.check_all_there(channel, SIZE);
            node.check_last_resumes(channel);
            node.check_cached(channel);
        }
    }
}

/// What follows a fault: the process ends, is served from, goes on, and ends again.
fn go_on(node: &mut Node, fsync: Fsync, ends: [fn(&FaultyDisk); 2]) {
    for end in ends {
        node.crash(end);
        check(node, fsync);
        publish(node, 2);
        assert_eq!(node.state(), StoreState::Writable);
        check(node, fsync);
    }
}

const ENDS: [[fn(&FaultyDisk); 2]; 3] = [
    [FaultyDisk::kill, FaultyDisk::lose_power],
    [FaultyDisk::lose_power, FaultyDisk::kill],
    [FaultyDisk::lose_power, FaultyDisk::lose_power],
];

const FSYNCS: [Fsync; 3] = [Fsync::Always, Fsync::Interval(Duration::from_millis(100)), Fsync::Never];

#[test]
fn whichever_call_fails_while_the_server_runs() {
    for (fsync, error) in FSYNCS.into_iter().flat_map(|fsync| ERRORS.map(|error| (fsync, error))) {
        for call in 0.. {
            let ends = ENDS[call as usize % ENDS.len()];
            let (mut node, _) = Node::start(FaultyDisk::new(call), fsync, options(SIZE), SEGMENT);
            publish(&mut node, 6);
            node.disk.set_faults(Faults { failing_at: Some((call, error)), ..Faults::default() });
            publish(&mut node, 16);
            let is_over = node.disk.is_still_to_fail();
            // Room is looked for.
            node.pass(Duration::from_secs(2));
            publish(&mut node, 2);
            go_on(&mut node, fsync, ends);
            if is_over {
                assert!(call > 20, "{call} calls");
                break;
            }
        }
    }
}

#[test]
fn whichever_call_fails_at_the_start() {
    for (fsync, error) in FSYNCS.into_iter().flat_map(|fsync| ERRORS.map(|error| (fsync, error))) {
        // What the last process left: an empty folder, an end that was not synced, and one whose sync failed.
        let failed = Faults { failing_syncs: 1, ..Faults::default() };
        for before in [None, Some(Faults::default()), Some(failed)] {
            for call in 0.. {
                let (mut node, _) = Node::start(FaultyDisk::new(call), fsync, options(SIZE), SEGMENT);
                match before {
                    None => node.disk = FaultyDisk::new(call),
                    Some(faults) => {
                        publish(&mut node, 6);
                        node.disk.set_faults(faults);
                        publish(&mut node, 1);
                        node.disk.kill();
                    }
                }
                node.disk.set_faults(Faults { failing_at: Some((call, error)), ..Faults::default() });
                let journal = JournalOptions { segment_bytes: SEGMENT, ..JournalOptions::new(9, 99 << 32) };
                let opened =
                    Store::open(node.disk.clone(), StoreOptions { fsync, journal }, node.now, 2, &mut |_, _| {});
                let is_over = node.disk.is_still_to_fail();
                assert!(!is_over || opened.is_ok());
                drop(opened);
                go_on(&mut node, fsync, ENDS[call as usize % ENDS.len()]);
                if is_over {
                    assert!(call > 3, "{call} calls");
                    break;
                }
            }
        }
    }
}
