//! The shared suite of dialects, spoken by each. What a dialect has no words for is missing among its abilities, and stands in its reference.

mod listen;
mod native;
mod pusher;
mod raw;

use std::panic::catch_unwind;
use switchboard_core::canary::{self, Canary};
use switchboard_testkit::check_dialect;

#[test]
fn native_does_what_every_dialect_must() {
    check_dialect::<native::Native>();
}

#[test]
fn native_in_batches_does_what_every_dialect_must() {
    check_dialect::<native::Batching>();
}

#[test]
fn raw_does_what_every_dialect_must() {
    check_dialect::<raw::Raw>();
}

#[test]
fn pusher_does_what_every_dialect_must() {
    check_dialect::<pusher::Pusher>();
}

#[test]
fn streams_do_what_every_dialect_must() {
    check_dialect::<listen::Listener<0>>();
    check_dialect::<listen::Listener<1>>();
    check_dialect::<listen::Listener<2>>();
    check_dialect::<listen::Listener<3>>();
}

/// A suite that finds nothing shows nothing.
#[test]
fn the_suite_finds_planted_bugs() {
    let bugs = [
        Canary::ReadBeforeRegistering,
        Canary::LeaveLost,
        Canary::ReplayWithoutRight,
        Canary::LiveOvertakesReplay,
        Canary::DropUntold,
    ];
    for bug in bugs {
        canary::plant(Some(bug));
        let found = catch_unwind(check_dialect::<native::Native>).is_err();
        canary::plant(None);
        assert!(found, "{bug:?} passed");
    }
}
