//! From bytes to frames to messages. Owns the buffers of what came and the rules between frames: fragmentation (RFC 6455 §5.4), limits,
//! unmasking, UTF-8. Inflating is `deflate`'s. Knows nothing of closing, of output or of time.

mod partial;
mod pieces;

use alloc::boxed::Box;

use bytes::{Buf, Bytes, BytesMut};

use crate::deflate::Inbound;
use crate::frame::{FRAME_HEADER_BYTES_MAX, FrameHeader, Opcode, RSV1};
use crate::{Limits, Message, Piece, ProtocolError, Utf8Bytes, mask, utf8};
use partial::{Partial, Pieces};

#[derive(Debug)]
pub(crate) struct Input {
    source: Source,
    /// How much of the unread bytes is known to be too little for a header.
    seen: u8,
    /// Boxed, since most of a connection's life there is none.
    partial: Option<Box<Partial>>,
}

/// What came and was not read yet, and what it takes to read it.
#[derive(Debug)]
struct Source {
    /// The caller's buffer.
    chunk: BytesMut,
    head: PartialHead,
    inbound: Option<Box<Inbound>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Message(Message),
    Ping(Bytes),
    Pong(Bytes),
    Close(Bytes),
    Piece(Piece),
}

/// The beginning of a header whose end has not come, kept apart so that no buffer is held for it.
#[derive(Debug, Default)]
struct PartialHead {
    bytes: [u8; FRAME_HEADER_BYTES_MAX],
    len: u8,
}

/// What the rules for the next frame depend on.
#[derive(Clone, Copy, Debug, Default)]
struct Begun {
    message: Option<Opcode>,
    fragments: usize,
    /// Bytes of the message that came; of a compressed one as they came.
    bytes: u64,
    compressed: bool,
}

impl Input {
    /// With `inbound` if the handshake has agreed to compression.
    pub(crate) fn new(inbound: Option<Box<Inbound>>) -> Self {
        Self {
            source: Source { chunk: BytesMut::new(), head: PartialHead::default(), inbound },
            seen: 0,
            partial: None,
        }
    }

    pub(crate) fn receive(&mut self, chunk: BytesMut) {
        self.set_head_aside();
        if self.source.chunk.is_empty() {
            self.source.chunk = chunk;
        } else {
            self.source.chunk.extend_from_slice(&chunk);
        }
    }

    /// Takes a buffer only to give it back: nothing is read any more.
    pub(crate) fn discard(&mut self, mut chunk: BytesMut) {
        chunk.clear();
        self.source.chunk = chunk;
    }

    #[inline]
    pub(crate) fn reclaim(&mut self) -> Option<BytesMut> {
        if self.source.chunk.len() != usize::from(self.seen) {
            return None;
        }
        self.set_head_aside();
        let chunk = core::mem::take(&mut self.source.chunk);
        // A buffer that was never given, or that was used up, is nothing to give back.
        (chunk.capacity() > 0).then_some(chunk)
    }

    /// Where to read what comes next.
    #[inline]
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        if self.seen == 0 && self.partial.is_none() { &mut self.source.chunk } else { self.buffer_of_partial() }
    }

    #[inline(never)]
    fn buffer_of_partial(&mut self) -> &mut BytesMut {
        self.set_head_aside();
        match &mut self.partial {
            Some(partial) if self.source.chunk.is_empty() && partial.reads_directly() => partial.read_buffer(),
            _ => &mut self.source.chunk,
        }
    }

    /// The same where nothing is read any more: what was read before is forgotten.
    pub(crate) fn discarded_buffer(&mut self) -> &mut BytesMut {
        self.source.chunk.clear();
        &mut self.source.chunk
    }

    /// The buffer of the message in progress, with room for what is still to come, if that is much.
    pub(crate) fn direct_buffer(&mut self) -> Option<&mut BytesMut> {
        let partial = self.partial.as_mut()?;
        (self.source.chunk.is_empty() && partial.reads_directly()).then(|| partial.read_buffer())
    }

    /// Whether a frame of a message waits whole in the buffer.
    pub(crate) fn message_waiting(&self) -> bool {
        if self.partial.as_ref().is_some_and(|partial| partial.frame.is_some()) || self.source.head.len > 0 {
            return false;
        }
        match FrameHeader::parse(&self.source.chunk) {
            Ok(Some((header, length))) => (self.source.chunk.len() - length) as u64 >= header.payload_len,
            _ => false,
        }
    }

    pub(crate) fn clear(&mut self) {
        let mut chunk = core::mem::take(&mut self.source.chunk);
        chunk.clear();
        *self = Self::new(None);
        self.source.chunk = chunk;
    }

    /// Whether there are bytes that were not looked at.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.source.chunk.len() != usize::from(self.seen)
            || self.partial.as_ref().is_some_and(|partial| partial.has_news())
    }

    /// Whether [`poll`](Self::poll) may find something that it had not before.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        self.source.chunk.len() != usize::from(self.seen)
            || self.partial.as_ref().is_some_and(|partial| partial.has_news() || partial.pieces != Pieces::None)
    }

    /// Whether there is enough for [`poll_small`](Self::poll_small) to look at.
    #[inline(always)]
    pub(crate) fn has_header(&self) -> bool {
        self.source.chunk.len() >= SMALL_HEADER_BYTES
    }

    /// The next message, if it is what most of a client's are: whole, of 1 to `bytes_max` bytes (at most 125), and breaking no rule. Anything
    /// else is for [`poll`](Self::poll), of which this is a shortcut for servers.
    #[inline(always)]
    pub(crate) fn poll_small(&mut self, bytes_max: u8) -> Option<Message> {
        if self.partial.is_some() || self.source.head.len > 0 {
            return None;
        }
        let (header, rest) = self.source.chunk.split_first_chunk_mut::<SMALL_HEADER_BYTES>()?;
        let [first, second, key @ ..] = *header;
        let text = match first {
            0x81 => true,
            0x82 => false,
            _ => return None,
        };
        // Without a mask it is more than 127.
        let length = second ^ 0x80;
        if length.wrapping_sub(1) >= bytes_max {
            return None;
        }
        let length = usize::from(length);
        let payload = rest.get_mut(..length)?;
        let ascii = mask::apply_and_look(key, payload);
        if text && !ascii && !utf8::is_utf8(payload) {
            mask::apply(key, payload);
            return None;
        }
        let mut payload = self.source.chunk.split_to(SMALL_HEADER_BYTES + length).freeze();
        payload.advance(SMALL_HEADER_BYTES);
        Some(if text { Message::Text(Utf8Bytes::from_checked(payload)) } else { Message::Binary(payload) })
    }

    /// The next message or control frame that is whole.
    #[inline]
    pub(crate) fn poll(&mut self, masked: bool, limits: &Limits) -> Result<Option<Incoming>, ProtocolError> {
        if self.partial.is_some() || self.source.head.len > 0 {
            return self.poll_on(masked, limits);
        }
        let Some((header, header_len)) = FrameHeader::parse(&self.source.chunk)? else {
            return Ok(self.starve());
        };
        let key = self.source.check(&header, masked, limits, Begun::default())?;
        // As `check` has compared it with a limit, or it is a control frame's, the length fits.
        let length = header.payload_len as usize;
        if self.source.chunk.len() - header_len >= length
            && (header.opcode.is_control() || (header.fin && header.rsv == 0))
        {
            return self.source.whole(header.opcode, key, header_len, length).map(Some);
        }
        self.poll_on(masked, limits)
    }

    /// The same where a message has begun, or begins.
    #[inline(never)]
    fn poll_on(&mut self, masked: bool, limits: &Limits) -> Result<Option<Incoming>, ProtocolError> {
        self.with_partial(|partial, source| partial.poll(source, masked, limits))
    }

    /// The next piece of a message, or control frame that is whole.
    pub(crate) fn poll_piece(&mut self, masked: bool, limits: &Limits) -> Result<Option<Incoming>, ProtocolError> {
        self.with_partial(|partial, source| partial.poll_piece(source, masked, limits))
    }

    /// What begins and ends within the buffer needs no allocation.
    #[inline]
    fn with_partial(
        &mut self,
        poll: impl FnOnce(&mut Partial, &mut Source) -> Result<Option<Incoming>, ProtocolError>,
    ) -> Result<Option<Incoming>, ProtocolError> {
        let mut begins = None;
        let partial = match &mut self.partial {
            Some(partial) => &mut **partial,
            None => begins.insert(Partial::default()),
        };
        let found = poll(partial, &mut self.source)?;
        let rests = partial.rests();
        if found.is_none() {
            self.starve();
        }
        match begins {
            Some(begins) if !rests => self.partial = Some(Box::new(begins)),
            None if rests => self.partial = None,
            _ => {}
        }
        Ok(found)
    }

    /// More bytes are needed. At most a part of a header is left.
    #[inline]
    fn starve(&mut self) -> Option<Incoming> {
        debug_assert!(self.source.chunk.len() < FRAME_HEADER_BYTES_MAX, "unread bytes are left");
        self.seen = self.source.chunk.len() as u8;
        None
    }

    /// Before the buffer changes.
    #[inline]
    fn set_head_aside(&mut self) {
        if self.seen > 0 {
            self.keep_head();
        }
    }

    #[cold]
    fn keep_head(&mut self) {
        if self.source.chunk.len() == usize::from(self.seen) {
            self.source.head.take_all(&mut self.source.chunk);
        }
        self.seen = 0;
    }
}

impl Source {
    #[inline]
    fn next_header(&mut self) -> Result<Option<FrameHeader>, ProtocolError> {
        if self.head.len > 0 {
            return self.head.complete(&mut self.chunk);
        }
        let Some((header, length)) = FrameHeader::parse(&self.chunk)? else { return Ok(None) };
        self.chunk.advance(length);
        Ok(Some(header))
    }

    /// The rules between this frame and the connection, the limits and the frames before. Answers the masking key.
    #[inline]
    fn check(
        &self,
        header: &FrameHeader,
        masked: bool,
        limits: &Limits,
        begun: Begun,
    ) -> Result<[u8; 4], ProtocolError> {
        if header.rsv != 0 {
            self.check_rsv(header, begun.message)?;
        }
        let key = match (header.mask, masked) {
            (Some(key), true) => key,
            (None, false) => [0; 4],
            (None, true) => return Err(ProtocolError::Unmasked),
            (Some(_), false) => return Err(ProtocolError::Masked),
        };
        if header.opcode.is_control() {
            return Ok(key);
        }
        match (header.opcode, begun.message) {
            (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ProtocolError::ExpectedContinuation),
            _ => {}
        }
        if header.payload_len > limits.frame_bytes_max as u64 {
            return Err(ProtocolError::FrameTooBig { bytes: header.payload_len, max: limits.frame_bytes_max });
        }
        let bytes_max = if header.rsv == 0 && !begun.compressed {
            limits.message_bytes_max as u64
        } else {
            compressed_bytes_max(limits)
        };
        let bytes = header.payload_len.saturating_add(begun.bytes);
        if bytes > bytes_max {
            return Err(ProtocolError::MessageTooBig { bytes, max: limits.message_bytes_max });
        }
        if begun.fragments >= limits.fragments_max {
            return Err(ProtocolError::TooManyFragments { max: limits.fragments_max });
        }
        Ok(key)
    }

    /// RFC 7692 §6: RSV1 marks the first frame of a compressed message, and means nothing on any other, nor unless that was agreed (§5.2).
    #[cold]
    fn check_rsv(&self, header: &FrameHeader, begun: Option<Opcode>) -> Result<(), ProtocolError> {
        let first = matches!(header.opcode, Opcode::Text | Opcode::Binary) && begun.is_none();
        if header.rsv == RSV1 && first && self.inbound.is_some() {
            return Ok(());
        }
        Err(ProtocolError::ReservedBits(header.rsv))
    }

    /// A frame that lies whole in the buffer and needs no other: split off, without a copy.
    #[inline(always)]
    fn whole(
        &mut self,
        opcode: Opcode,
        key: [u8; 4],
        header_len: usize,
        length: usize,
    ) -> Result<Incoming, ProtocolError> {
        let mut ascii = false;
        let payload = if length == 0 {
            self.chunk.advance(header_len);
            Bytes::new()
        } else {
            let mut frame = self.chunk.split_to(header_len + length);
            let masked = frame.get_mut(header_len..).unwrap_or_default();
            if opcode == Opcode::Text && length < utf8::SIMD_BYTES_MIN {
                ascii = mask::apply_and_look(key, masked);
            } else {
                mask::apply(key, masked);
            }
            let mut payload = frame.freeze();
            payload.advance(header_len);
            payload
        };
        Ok(match opcode {
            Opcode::Text => {
                if !ascii && !utf8::is_utf8(&payload) {
                    return Err(ProtocolError::InvalidUtf8);
                }
                Incoming::Message(Message::Text(Utf8Bytes::from_checked(payload)))
            }
            Opcode::Binary | Opcode::Continuation => Incoming::Message(Message::Binary(payload)),
            Opcode::Close => Incoming::Close(payload),
            Opcode::Ping => Incoming::Ping(payload),
            Opcode::Pong => Incoming::Pong(payload),
        })
    }
}

impl PartialHead {
    /// Everything that is left, of which the caller knows that it is less than a header.
    fn take_all(&mut self, chunk: &mut BytesMut) {
        let end = usize::from(self.len) + chunk.len();
        if let Some(free) = self.bytes.get_mut(self.len.into()..end) {
            free.copy_from_slice(chunk);
            // No more than the longest header.
            self.len = end as u8;
            chunk.clear();
        }
    }

    /// Takes from `chunk` as little as completes the header.
    #[inline(never)]
    fn complete(&mut self, chunk: &mut BytesMut) -> Result<Option<FrameHeader>, ProtocolError> {
        loop {
            if let Some((header, _)) = FrameHeader::parse(self.bytes.get(..self.len.into()).unwrap_or_default())? {
                self.len = 0;
                return Ok(Some(header));
            }
            let Some(slot) = self.bytes.get_mut(usize::from(self.len)) else { return Ok(None) };
            if chunk.is_empty() {
                return Ok(None);
            }
            *slot = chunk.get_u8();
            self.len += 1;
        }
    }
}

/// Of a frame of up to 125 bytes, with a mask.
const SMALL_HEADER_BYTES: usize = 6;

/// What may come of a compressed message: the limit is of what it is inflated to, which may be less. But a message that inflates to nothing has
/// to end too.
#[cold]
fn compressed_bytes_max(limits: &Limits) -> u64 {
    (limits.message_bytes_max as u64).saturating_mul(2).saturating_add(COMPRESSED_BYTES_MORE)
}

/// What compression may add where it cannot shorten, and the ends of many small fragments.
const COMPRESSED_BYTES_MORE: u64 = 16 * 1024;
