//! The hub from outside: the brokers that it brings, by the suite that every broker passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use switchboard_hub::MemoryBroker;
use switchboard_testkit::{DeferredBroker, Rig, check_broker};

#[test]
fn memory_does_what_every_broker_must() {
    check_broker(|bytes_max| Rig {
        broker: MemoryBroker::new(7, bytes_max),
        backend: Box::new(|request| match request {}),
        reopen: Box::new(move |_| MemoryBroker::new(1_000, bytes_max)),
    });
}

/// The suite itself carries requests, replies and what waits for them.
#[test]
fn so_does_a_broker_whose_backend_is_elsewhere() {
    let make = |epoch, bytes_max| DeferredBroker::new(MemoryBroker::new(epoch, bytes_max), 64);
    check_broker(|bytes_max| Rig {
        broker: make(7, bytes_max),
        backend: Box::new(|request| vec![request]),
        reopen: Box::new(move |_| make(1_000, bytes_max)),
    });
}
