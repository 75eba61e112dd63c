//! The receiving direction (RFC 7692 §7.2.2): inflates a message as its bytes arrive, and stops at the limit. Knows nothing of frames.

use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};
use zlib_rs::{Inflate, InflateError, InflateFlush, Status};

use super::{Params, TAIL, pool};
use crate::ProtocolError;
use crate::utf8::Utf8Stream;

/// What one connection needs to receive compressed messages.
pub(crate) struct Inbound {
    /// The peer compresses with what it sent before.
    takeover: bool,
    /// With context takeover the connection's, else the current message's.
    inflate: Option<Inflate>,
    /// The current message, as far as it has come.
    payload: Pieces,
    /// Bytes of it that came.
    received: u64,
    /// The last of them ended a final block, behind which a stream may end too.
    ended: bool,
    /// The last step filled its block: there may be more of what was taken already.
    full: bool,
}

impl Inbound {
    pub(crate) fn new(params: &Params, server: bool) -> Self {
        let (takeover, _) = params.ours(!server);
        Self { takeover, inflate: None, payload: Pieces::default(), received: 0, ended: false, full: false }
    }

    /// Bytes of the current message that came, compressed.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Inflates a part of the message. Text is checked in the order of the stream, and so is the limit: whatever is wrong first fails first,
    /// however the bytes are cut.
    pub(crate) fn feed(
        &mut self,
        mut input: &[u8],
        mut utf8: Option<&mut Utf8Stream>,
        bytes_max: usize,
    ) -> Result<(), ProtocolError> {
        pool::with_block(|block| {
            while self.full || !input.is_empty() {
                let consumed = self.advance(input, block, utf8.as_deref_mut(), bytes_max)?;
                input = input.get(consumed..).unwrap_or_default();
            }
            Ok(())
        })
    }

    /// As [`feed`](Self::feed), but stops as soon as something comes of it, at most a block, which [`take`](Self::take) gives. Answers how much
    /// of `input` was taken. While it [has more](Self::has_more), it is to be called even without input.
    pub(crate) fn feed_block(
        &mut self,
        input: &[u8],
        mut utf8: Option<&mut Utf8Stream>,
        bytes_max: usize,
    ) -> Result<usize, ProtocolError> {
        let before = self.payload.len;
        pool::with_block(|block| {
            let mut rest = input;
            while (self.full || !rest.is_empty()) && self.payload.len == before {
                let consumed = self.advance(rest, block, utf8.as_deref_mut(), bytes_max)?;
                rest = rest.get(consumed..).unwrap_or_default();
            }
            Ok(input.len() - rest.len())
        })
    }

    /// Whether there may be more of the bytes that were fed.
    pub(crate) fn has_more(&self) -> bool {
        self.full
    }

    /// What the message was inflated to since this was called before.
    pub(crate) fn take(&mut self) -> Bytes {
        self.payload.take()
    }

    /// Holds the end of what was taken again.
    pub(crate) fn put_back(&mut self, bytes: &[u8]) {
        self.payload.last.extend_from_slice(bytes);
        self.payload.taken -= bytes.len();
    }

    /// The end of the message: what it was inflated to.
    pub(crate) fn finish(&mut self) -> Result<Bytes, ProtocolError> {
        // Nothing at all is what some compressors make of an empty message.
        let complete = self.received == 0 || self.ended;
        if !complete && !self.stands_between_blocks() {
            return Err(ProtocolError::InvalidCompression);
        }
        self.received = 0;
        self.ended = false;
        if !self.takeover {
            self.release();
        }
        Ok(core::mem::take(&mut self.payload).take())
    }

    /// §7.2.2: the tail that the sender has left out ends an empty block, so that the stream stands between two blocks then. One byte more
    /// is offered; a stream that takes it, or makes anything of the tail, stood inside of a block.
    fn stands_between_blocks(&mut self) -> bool {
        let Some(inflate) = &mut self.inflate else { return false };
        let [a, b, c, d] = TAIL;
        let mut rest = &[a, b, c, d, 0][..];
        for _ in 0..TAIL_STEPS_MAX {
            // `Block` stops wherever a block ends.
            let step = Step::take(inflate, rest, &mut [0], InflateFlush::Block);
            rest = rest.get(step.consumed..).unwrap_or_default();
            if step.status != Ok(Status::Ok) || step.produced > 0 || rest.is_empty() {
                return false;
            }
            if rest.len() == 1 {
                return true;
            }
        }
        false
    }

    /// One step: answers how much of `input` was taken.
    fn advance(
        &mut self,
        input: &[u8],
        block: &mut [u8],
        utf8: Option<&mut Utf8Stream>,
        bytes_max: usize,
    ) -> Result<usize, ProtocolError> {
        let step = self.step(input, block, utf8, bytes_max)?;
        self.received += step.consumed as u64;
        self.full = step.produced == block.len();
        self.ended = step.status == Ok(Status::StreamEnd);
        if self.ended {
            // §7.2.3.4 allows final blocks. What follows is a stream of its own, and knows nothing of what came before, as
            // a compressor that has ended its stream knows nothing.
            self.restart();
            self.full = false;
        } else if step.consumed == 0 && step.produced == 0 && !input.is_empty() {
            return Err(ProtocolError::InvalidCompression);
        }
        Ok(step.consumed)
    }

    fn step(
        &mut self,
        input: &[u8],
        block: &mut [u8],
        utf8: Option<&mut Utf8Stream>,
        bytes_max: usize,
    ) -> Result<Step, ProtocolError> {
        let inflate = self.inflate.get_or_insert_with(pool::take_inflate);
        let step = Step::take(inflate, input, block, InflateFlush::SyncFlush);
        // What was inflated before the stream went wrong comes first.
        self.payload.check_and_append(block.get(..step.produced).unwrap_or_default(), utf8, bytes_max)?;
        if step.status.is_err() { Err(ProtocolError::InvalidCompression) } else { Ok(step) }
    }

    fn restart(&mut self) {
        if let Some(inflate) = &mut self.inflate {
            inflate.reset(false);
        }
    }

    fn release(&mut self) {
        if let Some(inflate) = self.inflate.take() {
            pool::give_inflate(inflate);
        }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { takeover, received, .. } = self;
        f.debug_struct("Inbound").field("takeover", takeover).field("received", received).finish_non_exhaustive()
    }
}

struct Step {
    status: Result<Status, InflateError>,
    consumed: usize,
    produced: usize,
}

impl Step {
    fn take(inflate: &mut Inflate, input: &[u8], output: &mut [u8], flush: InflateFlush) -> Self {
        let (total_in, total_out) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(input, output, flush);
        let consumed = (inflate.total_in() - total_in) as usize;
        let produced = (inflate.total_out() - total_out) as usize;
        Self { status, consumed, produced }
    }
}

/// A payload whose length is not known before its end. It grows by pieces, so that what is there is never copied to make room, and less than
/// the limit is ever held.
#[derive(Default)]
struct Pieces {
    full: Vec<BytesMut>,
    last: BytesMut,
    /// Of the whole message, with what was taken.
    len: usize,
    taken: usize,
}

impl Pieces {
    fn check_and_append(
        &mut self,
        fresh: &[u8],
        utf8: Option<&mut Utf8Stream>,
        bytes_max: usize,
    ) -> Result<(), ProtocolError> {
        let within = fresh.get(..bytes_max.saturating_sub(self.len)).unwrap_or(fresh);
        if let Some(utf8) = utf8 {
            utf8.feed(within).map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        if within.len() < fresh.len() {
            return Err(ProtocolError::MessageTooBig { bytes: bytes_max as u64 + 1, max: bytes_max });
        }
        self.append(fresh, bytes_max);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8], bytes_max: usize) {
        let room = self.last.capacity() - self.last.len();
        let (here, rest) = bytes.split_at(room.min(bytes.len()));
        self.last.extend_from_slice(here);
        self.len += here.len();
        if rest.is_empty() {
            return;
        }
        // The first piece fits exactly: most messages are inflated in one step. Each further one is as large as all before it.
        let more = (self.len - self.taken).min(PIECE_BYTES_MAX).min(bytes_max.saturating_sub(self.len));
        let piece = BytesMut::with_capacity(rest.len().max(more));
        if self.len > self.taken {
            self.full.push(core::mem::replace(&mut self.last, piece));
        } else {
            self.last = piece;
        }
        self.last.extend_from_slice(rest);
        self.len += rest.len();
    }

    /// What is held. The length goes on.
    fn take(&mut self) -> Bytes {
        let held = self.len - self.taken;
        self.taken = self.len;
        let last = core::mem::take(&mut self.last);
        if self.full.is_empty() {
            return last.freeze();
        }
        let mut whole = BytesMut::with_capacity(held);
        for piece in core::mem::take(&mut self.full) {
            whole.extend_from_slice(&piece);
        }
        whole.extend_from_slice(&last);
        whole.freeze()
    }
}

const PIECE_BYTES_MAX: usize = 1 << 20;

/// The tail has room for a handful of tiny blocks.
const TAIL_STEPS_MAX: usize = 64;
