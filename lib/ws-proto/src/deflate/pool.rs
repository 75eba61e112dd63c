//! Compressors, decompressors and scratch memory that belong to a thread and are lent to its connections. Each thread has its own, so nobody
//! waits. Knows nothing of messages.

use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::sync::atomic::{AtomicU64, Ordering};
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

/// A context of one connection, at one place of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    connection: u64,
    place: u64,
}

impl Owner {
    pub(super) fn new() -> Self {
        Self { connection: CONNECTIONS.fetch_add(1, Ordering::Relaxed), place: 0 }
    }

    /// What compressors know of an earlier place is of no use any more: on this thread or on another, where the connection was before.
    pub(super) fn moves_on(&mut self) {
        self.place += 1;
    }
}

static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// A compressor, and what it knows.
struct Used {
    kind: Kind,
    owner: Option<Owner>,
    deflate: Deflate,
}

pub(super) fn take_inflate() -> Inflate {
    // The largest window whatever is agreed: it costs the same, and takes what a peer sends whose zlib makes 9 of 8.
    take(&INFLATES, Vec::pop).unwrap_or_else(|| Inflate::new(false, WINDOW_BITS_MAX))
}

pub(super) fn give_inflate(mut inflate: Inflate) {
    // This sets the window to 15 bits, which is what it had.
    inflate.reset(false);
    let _ = INFLATES.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if kept.len() < INFLATES_MAX {
            kept.push(inflate);
        }
    });
}

/// A compressor for the next message of a connection with this context, of which `context` is the end.
pub(super) fn take_deflate(kind: Kind, owner: Option<Owner>, context: &[u8]) -> Deflate {
    let own = |used: &Used| owner.is_some() && used.owner == owner;
    let taken = take(&DEFLATES, |kept| {
        let full = kept.len() == DEFLATES_MAX;
        // The one that made its last message still knows all of its context. Of the others, first what nobody will ask for.
        let at = kept
            .iter()
            .position(own)
            .or_else(|| kept.iter().position(|used| used.kind == kind && used.owner.is_none()))
            .or_else(|| kept.iter().position(|used| used.kind == kind && full))?;
        Some(kept.remove(at))
    });
    let mut deflate = match taken {
        Some(used) if own(&used) => return used.deflate,
        Some(mut used) => {
            used.deflate.reset();
            used.deflate
        }
        None => new_deflate(kind),
    };
    if !context.is_empty() {
        // It can fail only in the midst of a message. Without it nothing is looked back at.
        let _ = deflate.set_dictionary(context);
    }
    deflate
}

fn new_deflate(kind: Kind) -> Deflate {
    Deflate::new_with_config(DeflateConfig {
        level: i32::from(kind.level.clamp(1, 9)),
        // Negative: without zlib's header and checksum.
        window_bits: -i32::from(kind.window_bits),
        mem_level: MEMORY_LEVEL,
        ..DeflateConfig::default()
    })
}

/// Takes a compressor back, with the context that it has if somebody may go on with it.
pub(super) fn give_deflate(kind: Kind, owner: Option<Owner>, deflate: Deflate) {
    let _ = DEFLATES.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if kept.len() == DEFLATES_MAX {
            kept.remove(0);
        }
        kept.push(Used { kind, owner, deflate });
    });
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

std::thread_local! {
    static INFLATES: RefCell<Vec<Inflate>> = const { RefCell::new(Vec::new()) };
    static DEFLATES: RefCell<Vec<Used>> = const { RefCell::new(Vec::new()) };
    static BLOCK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Without context takeover, only messages that came in part hold one: a thread rarely needs more.
const INFLATES_MAX: usize = 16;

/// The connections that used them last find their whole context there.
const DEFLATES_MAX: usize = 4;

const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// Of 9. Messages are flushed one by one, so more buys nothing, and 8, the usual, costs 100 KiB more.
const MEMORY_LEVEL: i32 = 5;
