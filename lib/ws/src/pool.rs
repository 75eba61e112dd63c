//! Buffers that belong to a thread, not to a connection: an idle connection owns none.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;

/// What one read may bring: a message of 64 KiB with its header, which is a popular size.
const INPUT_BYTES: usize = 64 * 1024 + 256;

/// Where in a page a read should begin at the earliest. The kernel copies from pages of its own into ours, and a processor that sees stores and loads
/// whose addresses are equal in the last twelve bits makes one wait for the other: reads that begin where a page begins are up to 20 % slower.
const INPUT_PAGE_OFFSET_MIN: usize = 512;

const PAGE_BYTES: usize = 4096;

/// A buffer that messages still hold part of is used on while this much of it is free.
const INPUT_FREE_BYTES_MIN: usize = 32 * 1024;

const OUTPUT_BYTES: usize = 16 * 1024;

/// What grew past this is given back to the allocator.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// More are never of use: a connection holds one of each only from one call of the runtime to the next, unless its peer is slow.
const BUFFERS_MAX: usize = 16;

/// The buffer that was used last, and is in the cache, apart from the others.
struct Pool {
    last: Cell<Option<BytesMut>>,
    others: RefCell<Vec<BytesMut>>,
}

thread_local! {
    static INPUT: Pool = const { Pool::new() };
    static OUTPUT: Pool = const { Pool::new() };
}

impl Pool {
    const fn new() -> Self {
        Self { last: Cell::new(None), others: RefCell::new(Vec::new()) }
    }

    #[inline]
    fn take(&self) -> Option<BytesMut> {
        self.last.take().or_else(|| self.take_other())
    }

    #[cold]
    fn take_other(&self) -> Option<BytesMut> {
        self.others.borrow_mut().pop()
    }

    #[inline]
    fn give(&self, buffer: BytesMut) {
        if let Some(before) = self.last.replace(Some(buffer)) {
            self.give_other(before);
        }
    }

    #[cold]
    fn give_other(&self, buffer: BytesMut) {
        let mut others = self.others.borrow_mut();
        if others.len() < BUFFERS_MAX {
            others.push(buffer);
        }
    }
}

pub(crate) fn take_input() -> BytesMut {
    INPUT.with(Pool::take).map_or_else(new_input, renew_input)
}

/// An empty buffer to read into, this one if it will do.
#[inline]
pub(crate) fn renew_input(mut buffer: BytesMut) -> BytesMut {
    buffer.clear();
    // Without a message that holds on to it, the whole buffer is free again.
    if buffer.try_reclaim(INPUT_BYTES) || buffer.try_reclaim(INPUT_FREE_BYTES_MIN) { buffer } else { new_input() }
}

/// Of a few allocations that do not begin where a page begins the first, if there is one.
#[cold]
fn new_input() -> BytesMut {
    let mut buffer = BytesMut::with_capacity(INPUT_BYTES);
    let mut misplaced = Vec::new();
    for more in [512, 1024, 2048] {
        if buffer.as_ptr().addr() % PAGE_BYTES >= INPUT_PAGE_OFFSET_MIN {
            break;
        }
        // Kept until the next is made, which therefore lies elsewhere.
        misplaced.push(std::mem::replace(&mut buffer, BytesMut::with_capacity(INPUT_BYTES + more)));
    }
    buffer
}

#[inline]
pub(crate) fn give_input(mut buffer: BytesMut) {
    buffer.clear();
    give(&INPUT, buffer);
}

pub(crate) fn take_output() -> BytesMut {
    OUTPUT.with(Pool::take).unwrap_or_else(|| BytesMut::with_capacity(OUTPUT_BYTES))
}

pub(crate) fn give_output(buffer: BytesMut) {
    if (OUTPUT_BYTES..=OUTPUT_BYTES_MAX).contains(&buffer.capacity()) {
        give(&OUTPUT, buffer);
    }
}

#[inline]
fn give(pool: &'static std::thread::LocalKey<Pool>, buffer: BytesMut) {
    // While the thread ends there is no pool, and then the buffer is simply dropped.
    let _ = pool.try_with(|pool| pool.give(buffer));
}
