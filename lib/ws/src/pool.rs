//! Buffers that belong to a thread, not to a connection: an idle connection owns none.

use std::cell::RefCell;

use bytes::BytesMut;

/// What one read may bring.
const INPUT_BYTES: usize = 64 * 1024;

/// A buffer that messages still hold part of is used on while this much of it is free.
const INPUT_FREE_BYTES_MIN: usize = 32 * 1024;

const OUTPUT_BYTES: usize = 16 * 1024;

/// What grew past this is given back to the allocator.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// More are never of use: a connection holds one of each only from one call of the runtime to the next, unless its peer is slow.
const BUFFERS_MAX: usize = 16;

thread_local! {
    static INPUT: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn take_input() -> BytesMut {
    if let Some(mut buffer) = INPUT.with_borrow_mut(Vec::pop)
        // Without a message that holds on to it, the whole buffer is free again.
        && (buffer.try_reclaim(INPUT_BYTES) || buffer.try_reclaim(INPUT_FREE_BYTES_MIN))
    {
        return buffer;
    }
    BytesMut::with_capacity(INPUT_BYTES)
}

pub(crate) fn give_input(mut buffer: BytesMut) {
    buffer.clear();
    give(&INPUT, buffer);
}

pub(crate) fn take_output() -> BytesMut {
    OUTPUT.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(OUTPUT_BYTES))
}

pub(crate) fn give_output(buffer: BytesMut) {
    if (OUTPUT_BYTES..=OUTPUT_BYTES_MAX).contains(&buffer.capacity()) {
        give(&OUTPUT, buffer);
    }
}

fn give(pool: &'static std::thread::LocalKey<RefCell<Vec<BytesMut>>>, buffer: BytesMut) {
    // While the thread ends there is no pool, and then the buffer is simply dropped.
    let _ = pool.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < BUFFERS_MAX {
            pool.push(buffer);
        }
    });
}
