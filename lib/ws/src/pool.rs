//! Buffers that belong to a thread, not to a connection: an idle connection owns none.

use std::cell::RefCell;
use std::thread::LocalKey;

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

/// The buffer that was used last, and is in the cache, apart from the others. It may be without capacity.
#[derive(Default)]
struct Pool {
    last: BytesMut,
    others: Vec<BytesMut>,
}

thread_local! {
    static INPUT: RefCell<Pool> = RefCell::default();
    static OUTPUT: RefCell<Pool> = RefCell::default();
}

impl Pool {
    /// For a buffer without capacity.
    #[inline(always)]
    fn lend(&mut self, buffer: &mut BytesMut) {
        std::mem::swap(&mut self.last, buffer);
        if buffer.capacity() == 0 {
            self.lend_other(buffer);
        }
    }

    #[cold]
    #[inline(never)]
    fn lend_other(&mut self, buffer: &mut BytesMut) {
        if let Some(other) = self.others.pop() {
            *buffer = other;
        }
    }

    /// Leaves a buffer without capacity.
    #[inline(always)]
    fn take_back(&mut self, buffer: &mut BytesMut) {
        std::mem::swap(&mut self.last, buffer);
        if buffer.capacity() > 0 {
            self.take_other_back(buffer);
        }
    }

    #[cold]
    #[inline(never)]
    fn take_other_back(&mut self, buffer: &mut BytesMut) {
        let buffer = std::mem::take(buffer);
        if self.others.len() < BUFFERS_MAX {
            self.others.push(buffer);
        }
    }
}

/// Makes room in an empty buffer to read into, or exchanges it for one that has it.
#[inline(always)]
pub(crate) fn prepare_input(buffer: &mut BytesMut) {
    if buffer.capacity() < INPUT_FREE_BYTES_MIN {
        renew_input(buffer);
    }
}

#[inline(always)]
fn renew_input(buffer: &mut BytesMut) {
    if buffer.capacity() == 0 {
        lend(&INPUT, buffer);
    }
    if buffer.capacity() < INPUT_FREE_BYTES_MIN {
        make_input(buffer);
    }
}

#[cold]
#[inline(never)]
fn make_input(buffer: &mut BytesMut) {
    // Without a message that holds on to it, the whole buffer is free again.
    if !buffer.try_reclaim(INPUT_BYTES) && !buffer.try_reclaim(INPUT_FREE_BYTES_MIN) {
        *buffer = new_input();
    }
}

/// An empty buffer that is not needed for now.
#[inline(always)]
pub(crate) fn take_input_back(buffer: &mut BytesMut) {
    take_back(&INPUT, buffer);
}

/// For what is queued first.
#[inline(always)]
pub(crate) fn lend_output(buffer: &mut BytesMut) {
    if buffer.capacity() == 0 {
        lend(&OUTPUT, buffer);
        if buffer.capacity() == 0 {
            make_output(buffer);
        }
    }
}

#[cold]
#[inline(never)]
fn make_output(buffer: &mut BytesMut) {
    *buffer = BytesMut::with_capacity(OUTPUT_BYTES);
}

/// Nothing, where there is no pool: while the thread ends.
#[inline(always)]
fn lend(pool: &'static LocalKey<RefCell<Pool>>, buffer: &mut BytesMut) {
    let _ = pool.try_with(|pool| pool.borrow_mut().lend(buffer));
}

/// The buffer of what was queued, when all is written.
#[inline(always)]
pub(crate) fn take_output_back(buffer: &mut BytesMut) {
    if (OUTPUT_BYTES..=OUTPUT_BYTES_MAX).contains(&buffer.capacity()) {
        take_back(&OUTPUT, buffer);
    } else {
        drop_buffer(buffer);
    }
}

#[inline(always)]
fn take_back(pool: &'static LocalKey<RefCell<Pool>>, buffer: &mut BytesMut) {
    if pool.try_with(|pool| pool.borrow_mut().take_back(buffer)).is_err() {
        // The thread ends, and there is no pool.
        drop_buffer(buffer);
    }
}

#[cold]
#[inline(never)]
fn drop_buffer(buffer: &mut BytesMut) {
    *buffer = BytesMut::new();
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
