//! What waits to be written. Owns the order and the buffers of output. Knows nothing of frames but their header's encoding.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::frame::{FIN, FRAME_HEADER_BYTES_MAX, FrameHeader, MASKED, Opcode};
use crate::mask;

/// Everything that was queued since the last write, in order: read it as a [`Buf`], and advance it by what was written.
///
/// Small payloads lie together in one buffer, so that many replies are one chunk; payloads from 4 KiB on are chunks of their own and are
/// not copied. With the feature `std`, [`Buf::chunks_vectored`] lists all of them.
///
/// ```
/// use bytes::Buf;
/// use switchboard_ws_proto::{Config, Connection, Message, Role};
///
/// let mut connection = Connection::new(Role::Server, Config::default());
/// connection.send(Message::from("a"))?;
/// connection.send(Message::from("b"))?;
/// let transmit = connection.transmit();
/// assert_eq!(transmit.chunk(), b"\x81\x01a\x81\x01b");
/// transmit.advance(6);
/// assert_eq!(connection.transmit_len(), 0);
/// # Ok::<(), switchboard_ws_proto::SendError>(())
/// ```
#[derive(Default)]
pub struct Transmit {
    /// Headers and small payloads. Its first `written` bytes are done with.
    small: BytesMut,
    written: usize,
    /// Boxed, since most of a connection's life there is none.
    large: Option<Box<Large>>,
}

/// Payloads that are chunks of their own: at least one.
struct Large {
    /// With the place in `small` that it comes before, as the others.
    first: (usize, Bytes),
    more: VecDeque<(usize, Bytes)>,
    /// Of all, what is not written.
    len: usize,
}

impl Transmit {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.small.len() - self.written + self.large.as_ref().map_or(0, |large| large.len)
    }

    /// What is written is forgotten at once, so what is there waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_none()
    }

    /// Everything, if that is one chunk. It may be empty.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// connection.send_text("a")?;
    /// assert_eq!(connection.transmit().only_chunk(), Some(&b"\x81\x01a"[..]));
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    #[inline]
    pub fn only_chunk(&self) -> Option<&[u8]> {
        if self.large.is_none() { Some(self.small.get(self.written..).unwrap_or_default()) } else { None }
    }

    /// A frame whose payload is copied, and masked if the header has a key.
    #[inline]
    pub(crate) fn push_copied(&mut self, header: &FrameHeader, payload: &[u8]) {
        self.make_room(FRAME_HEADER_BYTES_MAX + payload.len());
        header.encode(&mut self.small);
        let start = self.small.len();
        self.small.extend_from_slice(payload);
        if let Some(key) = header.mask {
            mask::apply(key, self.small.get_mut(start..).unwrap_or_default());
        }
    }

    /// A whole message of at most [`SMALL_BYTES_MAX`] that is not masked: what most of a server's are.
    #[inline]
    pub(crate) fn push_small(&mut self, opcode: Opcode, payload: &[u8]) {
        debug_assert!(payload.len() <= SMALL_BYTES_MAX, "its length takes more than a byte");
        self.make_room(2 + SMALL_BYTES_MAX);
        self.small.extend_from_slice(&[FIN | opcode as u8, payload.len() as u8]);
        self.small.extend_from_slice(payload);
    }

    /// The same of a longer one, below [`LARGE_BYTES_MIN`].
    #[inline]
    pub(crate) fn push_medium(&mut self, opcode: Opcode, payload: &[u8]) {
        debug_assert!((SMALL_BYTES_MAX + 1..LARGE_BYTES_MIN).contains(&payload.len()), "its length takes two bytes");
        self.make_room(4 + payload.len());
        let [high, low] = (payload.len() as u16).to_be_bytes();
        self.small.extend_from_slice(&[FIN | opcode as u8, 126, high, low]);
        self.small.extend_from_slice(payload);
    }

    /// A whole message below [`LARGE_BYTES_MIN`] that is masked, as all of a client's are.
    #[inline(never)]
    pub(crate) fn push_masked(&mut self, key: [u8; 4], opcode: Opcode, payload: &[u8]) {
        debug_assert!(payload.len() < LARGE_BYTES_MIN, "its length takes at most two bytes");
        self.make_room(8 + payload.len());
        let (first, [k0, k1, k2, k3]) = (FIN | opcode as u8, key);
        if payload.len() <= SMALL_BYTES_MAX {
            self.small.extend_from_slice(&[first, MASKED | payload.len() as u8, k0, k1, k2, k3]);
        } else {
            let [high, low] = (payload.len() as u16).to_be_bytes();
            self.small.extend_from_slice(&[first, MASKED | 126, high, low, k0, k1, k2, k3]);
        }
        let start = self.small.len();
        self.small.extend_from_slice(payload);
        mask::apply(key, self.small.get_mut(start..).unwrap_or_default());
    }

    /// As [`push_copied`](Self::push_copied), for a payload of any size, whose length the header need not know.
    pub(crate) fn push_slice(&mut self, header: &FrameHeader, payload: &[u8]) {
        let header = FrameHeader { payload_len: payload.len() as u64, ..*header };
        if payload.len() < LARGE_BYTES_MIN {
            self.push_copied(&header, payload);
        } else {
            self.push(&header, Bytes::copy_from_slice(payload));
        }
    }

    /// A frame whose payload is kept as it is if it is large.
    #[inline]
    pub(crate) fn push(&mut self, header: &FrameHeader, payload: Bytes) {
        if payload.len() < LARGE_BYTES_MIN {
            return self.push_copied(header, &payload);
        }
        let payload = match header.mask {
            None => payload,
            // Nobody else sees these bytes: they are masked where they are.
            Some(key) => match payload.try_into_mut() {
                Ok(mut payload) => {
                    mask::apply(key, &mut payload);
                    payload.freeze()
                }
                Err(shared) => {
                    let mut payload = BytesMut::from(&shared[..]);
                    mask::apply(key, &mut payload);
                    payload.freeze()
                }
            },
        };
        self.make_room(FRAME_HEADER_BYTES_MAX);
        header.encode(&mut self.small);
        self.push_large(payload);
    }

    /// Frames that are encoded already.
    #[inline]
    pub(crate) fn push_encoded(&mut self, frames: Bytes) {
        if frames.len() < LARGE_BYTES_MIN {
            self.make_room(frames.len());
            self.small.extend_from_slice(&frames);
        } else {
            self.push_large(frames);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A buffer to collect output in, instead of one that would be allocated.
    #[inline]
    pub(crate) fn lend(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        if self.small.capacity() == 0 {
            self.small = buffer;
        } else {
            self.move_to(buffer);
        }
    }

    #[cold]
    fn move_to(&mut self, mut buffer: BytesMut) {
        if self.small.capacity() < buffer.capacity() {
            buffer.extend_from_slice(&self.small);
            self.small = buffer;
        }
    }

    #[inline]
    pub(crate) fn reclaim(&mut self) -> Option<BytesMut> {
        if !self.is_empty() || self.small.capacity() == 0 { None } else { Some(core::mem::take(&mut self.small)) }
    }

    /// The buffer, as long as it is empty.
    #[inline]
    pub(crate) fn buffer(&mut self) -> Option<&mut BytesMut> {
        if self.is_empty() { Some(&mut self.small) } else { None }
    }

    fn push_large(&mut self, payload: Bytes) {
        let len = payload.len();
        let placed = (self.small.len(), payload);
        match &mut self.large {
            Some(large) => {
                large.len += len;
                large.more.push_back(placed);
            }
            None => self.large = Some(Box::new(Large { first: placed, more: VecDeque::new(), len })),
        }
    }

    /// Forgets what is written before the buffer would grow, if that is worth its copy: at most one byte is moved for each that was written.
    #[inline]
    fn make_room(&mut self, additional: usize) {
        if self.small.capacity() - self.small.len() < additional {
            self.grow(additional);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, additional: usize) {
        if self.written > 0 && self.written >= self.small.len() - self.written {
            let left = self.small.len() - self.written;
            self.small.copy_within(self.written.., 0);
            self.small.truncate(left);
            if let Some(large) = &mut self.large {
                for (place, _) in core::iter::once(&mut large.first).chain(&mut large.more) {
                    *place -= self.written;
                }
            }
            self.written = 0;
        }
        self.small.reserve(additional);
    }

    /// Where `small` ends for now: at its end, or where a large payload comes.
    fn small_end(&self) -> usize {
        self.large.as_ref().map_or(self.small.len(), |large| large.first.0)
    }

    #[inline(never)]
    fn advance_partly(&mut self, mut count: usize) {
        assert!(count <= self.len(), "advanced past the end");
        loop {
            let step = count.min(self.small_end() - self.written);
            self.written += step;
            count -= step;
            if self.written < self.small_end() {
                return;
            }
            let Some(large) = &mut self.large else { break };
            let (_, payload) = &mut large.first;
            let step = count.min(payload.len());
            payload.advance(step);
            large.len -= step;
            count -= step;
            if !payload.is_empty() {
                return;
            }
            match large.more.pop_front() {
                Some(next) => large.first = next,
                None => self.large = None,
            }
        }
        self.small.clear();
        self.written = 0;
    }
}

impl fmt::Debug for Transmit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What it holds is between the peers.
        f.debug_struct("Transmit").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Buf for Transmit {
    fn remaining(&self) -> usize {
        self.len()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        let small = self.small.get(self.written..self.small_end()).unwrap_or_default();
        match &self.large {
            Some(large) if small.is_empty() => &large.first.1,
            _ => small,
        }
    }

    /// # Panics
    /// As [`Buf::advance`] does, if `count` is more than what remains.
    #[inline]
    fn advance(&mut self, count: usize) {
        if self.large.is_none() && count == self.small.len() - self.written {
            // All is written: the buffer starts again at its beginning.
            self.small.clear();
            self.written = 0;
        } else {
            self.advance_partly(count);
        }
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut from = self.written;
        let large = self.large.iter().flat_map(|large| core::iter::once(&large.first).chain(&large.more));
        let ends = large.map(|(place, payload)| (*place, &payload[..]));
        for (end, payload) in ends.chain([(self.small.len(), &[][..])]) {
            for chunk in [self.small.get(from..end).unwrap_or_default(), payload] {
                if chunk.is_empty() {
                    continue;
                }
                let Some(slot) = slices.get_mut(filled) else { return filled };
                *slot = std::io::IoSlice::new(chunk);
                filled += 1;
            }
            from = end;
        }
        filled
    }
}

/// From this size on a payload is not copied. Below, a copy is cheaper than another piece in the system call.
pub(crate) const LARGE_BYTES_MIN: usize = 4096;

/// The longest payload whose length is one byte of the header.
pub(crate) const SMALL_BYTES_MAX: usize = 125;

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use alloc::vec::Vec;
    use std::io::IoSlice;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Frames of all sizes, written in steps of all sizes, by both ways of reading, with buffers lent and taken back.
        #[test]
        fn bytes_come_out_in_order(steps in proptest::collection::vec((0usize..6000, 0usize..9000, 0u8..8), 1..60)) {
            let mut transmit = Transmit::default();
            let (mut expected, mut written) = (Vec::new(), Vec::new());
            for (number, (length, take, what)) in steps.into_iter().enumerate() {
                let payload = Bytes::from(alloc::vec![number as u8; length]);
                expected.extend_from_slice(&payload);
                if what == 0 {
                    transmit.lend(BytesMut::with_capacity(length));
                }
                transmit.push_encoded(payload);
                prop_assert_eq!(transmit.len(), expected.len() - written.len());
                let mut left = take.min(transmit.len());
                let mut slices = [IoSlice::new(&[]); 200];
                let count = transmit.chunks_vectored(&mut slices);
                let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
                prop_assert_eq!(&all[..], &expected[written.len()..]);
                if what % 2 == 0 {
                    written.extend_from_slice(&all[..left]);
                    transmit.advance(left);
                } else {
                    while left > 0 {
                        let step = transmit.chunk().len().min(left);
                        prop_assert!(step > 0);
                        written.extend_from_slice(&transmit.chunk()[..step]);
                        transmit.advance(step);
                        left -= step;
                    }
                }
                let empty = transmit.is_empty();
                let waiting = transmit.len();
                prop_assert_eq!(empty, waiting == 0);
                if what == 7 {
                    prop_assert!(transmit.reclaim().is_none() || empty);
                }
            }
            prop_assert!(expected.starts_with(&written));
        }
    }
}
