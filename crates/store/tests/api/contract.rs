//! The contract that every broker keeps, with a store behind the broker.

use core::time::Duration;
use std::cell::RefCell;
use std::rc::Rc;
use switchboard_core::Time;
use switchboard_hub::ShardId;
use switchboard_store::{DurableBroker, FaultyDisk, Fsync, JournalOptions, Reply, Store, StoreOptions};
use switchboard_testkit::{Rig, check_broker};

/// When the suite begins. The store's clock stands still: it matters for what may leave the disk, not for what is answered.
const BEGIN: Time = Time::from_secs(1_700_000_000);

fn open(disk: &FaultyDisk, fsync: Fsync, bytes_max: usize, start: u64) -> (Store<FaultyDisk>, DurableBroker) {
    let journal = JournalOptions { segment_bytes: 2_000, ..JournalOptions::new(5, start << 32) };
    let options = StoreOptions { fsync, journal };
    let (store, channels, report) = Store::open(disk.clone(), options, BEGIN, 1, &mut |_, _| {}).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    let mut broker = DurableBroker::new(ShardId(0), fsync, start << 32 | 1 << 20, bytes_max);
    channels.into_iter().for_each(|channel| broker.restore(BEGIN, channel));
    (store, broker)
}

fn rig(fsync: Fsync, bytes_max: usize, end: fn(&FaultyDisk)) -> Rig<DurableBroker> {
    let disk = FaultyDisk::new(7);
    let (store, broker) = open(&disk, fsync, bytes_max, 1);
    let store = Rc::new(RefCell::new(store));
    let carried = Rc::clone(&store);
    let mut starts = 1;
    Rig {
        broker,
        backend: Box::new(move |request| {
            let replies = carried.borrow_mut().handle(BEGIN, [request]);
            replies.into_iter().flat_map(|(_, replies)| replies).collect::<Vec<Reply>>()
        }),
        reopen: Box::new(move |_| {
            starts += 1;
            end(&disk);
            let broker;
            (*store.borrow_mut(), broker) = open(&disk, fsync, bytes_max, starts);
            broker
        }),
    }
}

#[test]
fn it_holds_under_every_setting_and_whatever_ends_the_process() {
    for fsync in [Fsync::Always, Fsync::Interval(Duration::from_millis(100)), Fsync::Never] {
        for end in [FaultyDisk::kill, FaultyDisk::lose_power] {
            check_broker(|bytes_max| rig(fsync, bytes_max, end));
        }
    }
}
