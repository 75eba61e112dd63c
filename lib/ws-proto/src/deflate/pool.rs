//! Compressors, decompressors and scratch memory that belong to a thread and are lent to its connections. Each thread has its own, so nobody
//! waits. Knows nothing of messages.

use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use std::thread::LocalKey;

use zlib_rs::{Deflate, DeflateConfig, Inflate};

use super::WINDOW_BITS_MAX;

/// What a message is inflated by: the most that is held of it before it is checked.
pub(super) const BLOCK_BYTES: usize = 12 * 1024;

/// Which compressor: they differ in window and level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) window_bits: u8,
    pub(super) level: u8,
}

pub(super) fn take_inflate() -> Inflate {
    // The largest window whatever is agreed: it costs the same, and takes what a peer sends whose zlib makes 9 of 8.
    take(&INFLATES, Vec::pop).unwrap_or_else(|| Inflate::new(false, WINDOW_BITS_MAX))
}

pub(super) fn give_inflate(mut inflate: Inflate) {
    // This sets the window to 15 bits, which is what it had.
    inflate.reset(false);
    give(&INFLATES, inflate, INFLATES_MAX);
}

pub(super) fn take_deflate(kind: Kind) -> Deflate {
    let found = take(&DEFLATES, |kept| {
        let at = kept.iter().position(|(known, _)| *known == kind)?;
        Some(kept.swap_remove(at).1)
    });
    found.unwrap_or_else(|| {
        Deflate::new_with_config(DeflateConfig {
            level: i32::from(kind.level.clamp(1, 9)),
            // Negative: without zlib's header and checksum.
            window_bits: -i32::from(kind.window_bits),
            mem_level: MEMORY_LEVEL,
            ..DeflateConfig::default()
        })
    })
}

pub(super) fn give_deflate(kind: Kind, mut deflate: Deflate) {
    deflate.reset();
    give(&DEFLATES, (kind, deflate), DEFLATES_MAX);
}

/// Lends the thread's memory for one block that is inflated.
pub(super) fn with_block<T>(run: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut block = take(&BLOCK, |block| Some(core::mem::take(block))).unwrap_or_default();
    if block.is_empty() {
        block = vec![0; BLOCK_BYTES];
    }
    let result = run(&mut block);
    let _ = BLOCK.try_with(|slot| slot.replace(block));
    result
}

/// Lends the thread's memory for one message that is compressed. It may grow, and shrinks again when it is given back.
pub(super) fn with_output<T>(run: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut output = take(&OUTPUT, |output| Some(core::mem::take(output))).unwrap_or_default();
    if output.is_empty() {
        output = vec![0; BLOCK_BYTES];
    }
    let result = run(&mut output);
    if output.len() <= OUTPUT_BYTES_MAX {
        let _ = OUTPUT.try_with(|slot| slot.replace(output));
    }
    result
}

/// While a thread ends there is no pool any more: then what is taken is made, and what is given is dropped.
fn take<P, T>(pool: &'static LocalKey<RefCell<P>>, take: impl FnOnce(&mut P) -> Option<T>) -> Option<T> {
    pool.try_with(|pool| take(&mut pool.borrow_mut())).ok().flatten()
}

fn give<T>(pool: &'static LocalKey<RefCell<Vec<T>>>, item: T, items_max: usize) {
    let _ = pool.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < items_max {
            pool.push(item);
        }
    });
}

std::thread_local! {
    static INFLATES: RefCell<Vec<Inflate>> = const { RefCell::new(Vec::new()) };
    static DEFLATES: RefCell<Vec<(Kind, Deflate)>> = const { RefCell::new(Vec::new()) };
    static BLOCK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Without context takeover, only messages that came in part hold one: a thread rarely needs more.
const INFLATES_MAX: usize = 16;

const DEFLATES_MAX: usize = 4;

const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// Of 9. Messages are flushed one by one, so more buys nothing, and 8, the usual, costs 100 KiB more.
const MEMORY_LEVEL: i32 = 5;
