//! From bytes to frames to messages. Owns the buffers of what came and the rules between frames: fragmentation (RFC 6455 §5.4), limits,
//! unmasking, UTF-8. Inflating is `deflate`'s. Knows nothing of closing, of output or of time.

mod pieces;

use alloc::boxed::Box;

use bytes::{Buf, Bytes, BytesMut};

use crate::deflate::Inbound;
use crate::frame::{FRAME_HEADER_BYTES_MAX, FrameHeader, Opcode, RSV1};
use crate::utf8::{self, Utf8Stream};
use crate::{Limits, Message, Piece, ProtocolError, Utf8Bytes, mask};

#[derive(Debug)]
pub(crate) struct Input {
    /// Unread bytes: the caller's buffer.
    chunk: BytesMut,
    /// `chunk` holds no whole header, and no payload that `frame` waits for.
    starved: bool,
    head: PartialHead,
    /// The frame whose payload is not whole.
    frame: Option<PartialFrame>,
    /// The payload so far of a message that is fragmented or was cut.
    payload: BytesMut,
    /// How much of `payload` is unmasked and checked. What lies behind was read there directly.
    payload_done: usize,
    /// Text or Binary, between a message's first frame and its last.
    message: Option<Opcode>,
    /// It is compressed: what has come of it is in `inbound`, not in `payload`.
    compressed: bool,
    inbound: Option<Box<Inbound>>,
    fragments: usize,
    pieces: Pieces,
    /// Bytes of the message that were given in pieces. Not of a compressed one, which is counted where it is inflated.
    given: u64,
    utf8: Utf8Stream,
    /// The payload so far of a control frame that was cut.
    control: Option<Box<BytesMut>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Message(Message),
    Ping(Bytes),
    Pong(Bytes),
    Close(Bytes),
    Piece(Piece),
}

/// How the message that has begun is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pieces {
    /// Whole.
    None,
    /// In pieces, and the first is due.
    First,
    Further,
    /// A piece was given, and the rest is not wanted.
    Skipped,
}

#[derive(Debug)]
struct PartialFrame {
    opcode: Opcode,
    fin: bool,
    /// The key as it meets the next byte. Zero (which changes nothing) where frames are not masked.
    key: [u8; 4],
    remaining: u64,
}

/// The beginning of a header whose end has not come, kept apart so that no buffer is held for it.
#[derive(Debug, Default)]
struct PartialHead {
    bytes: [u8; FRAME_HEADER_BYTES_MAX],
    len: u8,
}

impl Input {
    /// With `inbound` if the handshake has agreed to compression.
    pub(crate) fn new(inbound: Option<Box<Inbound>>) -> Self {
        Self {
            chunk: BytesMut::new(),
            starved: true,
            head: PartialHead::default(),
            frame: None,
            payload: BytesMut::new(),
            payload_done: 0,
            message: None,
            compressed: false,
            inbound,
            fragments: 0,
            pieces: Pieces::None,
            given: 0,
            utf8: Utf8Stream::default(),
            control: None,
        }
    }

    pub(crate) fn receive(&mut self, chunk: BytesMut) {
        if self.starved && !self.chunk.is_empty() {
            self.head.take_all(&mut self.chunk);
        }
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            self.chunk.extend_from_slice(&chunk);
        }
        self.starved = false;
    }

    /// Takes a buffer only to give it back: nothing is read any more.
    pub(crate) fn discard(&mut self, mut chunk: BytesMut) {
        chunk.clear();
        self.chunk = chunk;
    }

    pub(crate) fn reclaim(&mut self) -> Option<BytesMut> {
        if !self.starved {
            return None;
        }
        if !self.chunk.is_empty() {
            self.head.take_all(&mut self.chunk);
        }
        let chunk = core::mem::take(&mut self.chunk);
        // A buffer that was never given, or that was used up, is nothing to give back.
        (chunk.capacity() > 0).then_some(chunk)
    }

    /// The buffer of the message in progress, with room for what is still to come, if that is much.
    pub(crate) fn read_buffer(&mut self) -> Option<&mut BytesMut> {
        let frame = self.frame.as_ref()?;
        let direct = !frame.opcode.is_control() && self.chunk.is_empty() && self.payload.len() >= DIRECT_BYTES_MIN;
        if !direct || frame.remaining < DIRECT_BYTES_MIN as u64 {
            return None;
        }
        reserve(&mut self.payload, frame.remaining, DIRECT_BYTES_MIN);
        Some(&mut self.payload)
    }

    /// Whether a frame of a message waits whole in the buffer.
    pub(crate) fn message_waiting(&self) -> bool {
        if self.starved || self.frame.is_some() || self.head.len > 0 {
            return false;
        }
        match FrameHeader::parse(&self.chunk) {
            Ok(Some((header, length))) => (self.chunk.len() - length) as u64 >= header.payload_len,
            _ => false,
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { chunk: core::mem::take(&mut self.chunk), ..Self::new(None) };
        self.chunk.clear();
    }

    /// Whether [`poll`](Self::poll) may find something that it had not before.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        !self.starved || self.payload.len() != self.payload_done || self.pieces != Pieces::None
    }

    /// The next message or control frame that is whole.
    #[inline]
    pub(crate) fn poll(&mut self, masked: bool, limits: &Limits) -> Result<Option<Incoming>, ProtocolError> {
        if self.pieces != Pieces::None || self.frame.is_some() || self.head.len > 0 {
            return self.poll_on(masked, limits);
        }
        let Some((header, header_len)) = FrameHeader::parse(&self.chunk)? else {
            self.starved = true;
            return Ok(None);
        };
        let key = self.check(&header, masked, limits)?;
        self.chunk.advance(header_len);
        // As `check` has compared it with a limit, or it is a control frame's, the length fits.
        let length = header.payload_len as usize;
        let alone = header.fin && self.message.is_none() && header.rsv == 0;
        if self.chunk.len() >= length && (header.opcode.is_control() || alone) {
            return self.whole(header.opcode, key, length).map(Some);
        }
        self.begin(&header, key);
        self.poll_on(masked, limits)
    }

    /// The same where something was begun.
    #[inline(never)]
    fn poll_on(&mut self, masked: bool, limits: &Limits) -> Result<Option<Incoming>, ProtocolError> {
        if self.pieces != Pieces::None {
            let skipped = self.skip_pieces(masked, limits)?;
            if skipped.is_some() || self.pieces != Pieces::None {
                return Ok(skipped);
            }
        }
        loop {
            if self.frame.is_some() {
                match self.continue_frame(limits)? {
                    Progress::Incoming(incoming) => return Ok(Some(incoming)),
                    Progress::Fragment => continue,
                    Progress::Starved => break,
                }
            }
            let Some(header) = self.next_header()? else { break };
            let key = self.check(&header, masked, limits)?;
            let length = header.payload_len as usize;
            let alone = header.fin && self.message.is_none() && header.rsv == 0;
            if self.chunk.len() >= length && (header.opcode.is_control() || alone) {
                return self.whole(header.opcode, key, length).map(Some);
            }
            self.begin(&header, key);
        }
        self.starved = true;
        Ok(None)
    }

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
    fn check(&self, header: &FrameHeader, masked: bool, limits: &Limits) -> Result<[u8; 4], ProtocolError> {
        if header.rsv != 0 {
            self.check_rsv(header)?;
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
        match (header.opcode, self.message) {
            (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ProtocolError::ExpectedContinuation),
            _ => {}
        }
        if header.payload_len > limits.frame_bytes_max as u64 {
            return Err(ProtocolError::FrameTooBig { bytes: header.payload_len, max: limits.frame_bytes_max });
        }
        let (received, bytes_max) = if header.rsv == 0 && !self.compressed {
            (self.given + self.payload.len() as u64, limits.message_bytes_max as u64)
        } else {
            self.compressed_bytes(limits)
        };
        let bytes = header.payload_len.saturating_add(received);
        if bytes > bytes_max {
            return Err(ProtocolError::MessageTooBig { bytes, max: limits.message_bytes_max });
        }
        if self.fragments >= limits.fragments_max {
            return Err(ProtocolError::TooManyFragments { max: limits.fragments_max });
        }
        Ok(key)
    }

    /// RFC 7692 §6: RSV1 marks the first frame of a compressed message, and means nothing on any other, nor unless that was agreed (§5.2).
    #[cold]
    fn check_rsv(&self, header: &FrameHeader) -> Result<(), ProtocolError> {
        let first = matches!(header.opcode, Opcode::Text | Opcode::Binary) && self.message.is_none();
        if header.rsv == RSV1 && first && self.inbound.is_some() {
            return Ok(());
        }
        Err(ProtocolError::ReservedBits(header.rsv))
    }

    /// What came of a compressed message, and how much may: the limit is of what it is inflated to, which may be less. But a message that
    /// inflates to nothing has to end too.
    #[cold]
    fn compressed_bytes(&self, limits: &Limits) -> (u64, u64) {
        let received = self.inbound.as_ref().map_or(0, |inbound| inbound.received());
        (received, (limits.message_bytes_max as u64).saturating_mul(2).saturating_add(COMPRESSED_BYTES_MORE))
    }

    /// A frame that lies whole in the buffer and needs no other: split off, without a copy.
    #[inline]
    fn whole(&mut self, opcode: Opcode, key: [u8; 4], length: usize) -> Result<Incoming, ProtocolError> {
        let payload = if length == 0 {
            Bytes::new()
        } else {
            let mut payload = self.chunk.split_to(length);
            mask::apply(key, &mut payload);
            payload.freeze()
        };
        Ok(match opcode {
            Opcode::Text => {
                if !utf8::is_utf8(&payload) {
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

    #[inline(never)]
    fn begin(&mut self, header: &FrameHeader, key: [u8; 4]) {
        if !header.opcode.is_control() {
            if header.opcode != Opcode::Continuation {
                self.message = Some(header.opcode);
                self.compressed = header.rsv != 0;
            }
            self.fragments += 1;
        }
        self.frame = Some(PartialFrame { opcode: header.opcode, fin: header.fin, key, remaining: header.payload_len });
    }

    /// Takes what has come of the frame's payload, and ends the frame if that was all.
    #[inline(never)]
    fn continue_frame(&mut self, limits: &Limits) -> Result<Progress, ProtocolError> {
        let Some(frame) = &self.frame else { return Ok(Progress::Fragment) };
        if frame.opcode.is_control() {
            return Ok(self.continue_control());
        }
        if self.compressed {
            self.inflate(limits)?;
        } else {
            self.absorb()?;
        }
        match &self.frame {
            Some(frame) if frame.remaining > 0 => Ok(Progress::Starved),
            Some(frame) if frame.fin => self.finish_message(),
            _ => {
                self.frame = None;
                Ok(Progress::Fragment)
            }
        }
    }

    fn continue_control(&mut self) -> Progress {
        let Some(frame) = &mut self.frame else { return Progress::Fragment };
        let length = self.chunk.len().min(frame.remaining as usize);
        let control = self.control.get_or_insert_default();
        control.extend_from_slice(self.chunk.get(..length).unwrap_or_default());
        self.chunk.advance(length);
        frame.remaining -= length as u64;
        if frame.remaining > 0 {
            return Progress::Starved;
        }
        let (opcode, key) = (frame.opcode, frame.key);
        self.frame = None;
        let mut payload = self.control.take().map(|control| *control).unwrap_or_default();
        mask::apply(key, &mut payload);
        let payload = payload.freeze();
        Progress::Incoming(match opcode {
            Opcode::Close => Incoming::Close(payload),
            Opcode::Ping => Incoming::Ping(payload),
            _ => Incoming::Pong(payload),
        })
    }

    /// Unmasks and checks what has come of a data frame while it is in the cache.
    fn absorb(&mut self) -> Result<(), ProtocolError> {
        let Some(frame) = &mut self.frame else { return Ok(()) };
        let read_directly = (self.payload.len() - self.payload_done) as u64;
        if read_directly > frame.remaining {
            // More than the frame was read into its buffer: the next frames.
            let mut next = self.payload.split_off(self.payload_done + frame.remaining as usize);
            next.extend_from_slice(&self.chunk);
            self.chunk = BytesMut::from(&next[..]);
            self.starved = false;
        } else {
            let length = (self.chunk.len() as u64).min(frame.remaining - read_directly) as usize;
            if length > 0 {
                reserve(&mut self.payload, frame.remaining, length);
                self.payload.extend_from_slice(self.chunk.get(..length).unwrap_or_default());
                self.chunk.advance(length);
            }
        }
        let fresh = self.payload.get_mut(self.payload_done..).unwrap_or_default();
        mask::apply(frame.key, fresh);
        if self.message == Some(Opcode::Text) {
            self.utf8.feed(fresh).map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        frame.key = mask::rotated(frame.key, fresh.len());
        frame.remaining -= fresh.len() as u64;
        self.payload_done = self.payload.len();
        Ok(())
    }

    /// The same for a compressed message, which is inflated as it comes and never held as it was sent.
    fn inflate(&mut self, limits: &Limits) -> Result<(), ProtocolError> {
        let (Some(frame), Some(inbound)) = (&mut self.frame, &mut self.inbound) else { return Ok(()) };
        let length = (self.chunk.len() as u64).min(frame.remaining) as usize;
        let fresh = self.chunk.get_mut(..length).unwrap_or_default();
        mask::apply(frame.key, fresh);
        frame.key = mask::rotated(frame.key, length);
        frame.remaining -= length as u64;
        let utf8 = (self.message == Some(Opcode::Text)).then_some(&mut self.utf8);
        let inflated = inbound.feed(fresh, utf8, limits.message_bytes_max);
        self.chunk.advance(length);
        inflated
    }

    fn finish_message(&mut self) -> Result<Progress, ProtocolError> {
        self.frame = None;
        self.fragments = 0;
        self.payload_done = 0;
        let text = self.message.take() == Some(Opcode::Text);
        let compressed = core::mem::take(&mut self.compressed);
        let payload = match &mut self.inbound {
            Some(inbound) if compressed => inbound.finish()?,
            _ => core::mem::take(&mut self.payload).freeze(),
        };
        Ok(Progress::Incoming(Incoming::Message(if text {
            self.utf8.finish().map_err(|_| ProtocolError::InvalidUtf8)?;
            Message::Text(Utf8Bytes::from_checked(payload))
        } else {
            Message::Binary(payload)
        })))
    }
}

enum Progress {
    Incoming(Incoming),
    /// A frame ended that is not its message's last.
    Fragment,
    Starved,
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

/// What compression may add where it cannot shorten, and the ends of many small fragments.
const COMPRESSED_BYTES_MORE: u64 = 16 * 1024;

/// From this size on, a payload is read directly into its own buffer.
const DIRECT_BYTES_MIN: usize = 16 * 1024;

/// Makes room for `incoming` bytes, and for more of the `remaining` ones in proportion to what the peer has really sent: it declares a
/// length in 14 bytes, but for each byte that we reserve it has to send some.
fn reserve(payload: &mut BytesMut, remaining: u64, incoming: usize) {
    if payload.capacity() - payload.len() >= incoming {
        return;
    }
    let received = payload.len() + incoming;
    let trusted =
        if received < DIRECT_BYTES_MIN { SMALL_RESERVE_BYTES.max(received) } else { received.saturating_mul(16) };
    let room = (remaining.min(trusted as u64) as usize).max(incoming);
    if payload.is_empty() && room >= DIRECT_BYTES_MIN {
        // A large buffer often begins where a page begins, and there the kernel's copies into it are slow (they alias with their source).
        *payload = BytesMut::with_capacity(room + PAGE_OFFSET);
        payload.resize(PAGE_OFFSET, 0);
        payload.advance(PAGE_OFFSET);
    }
    payload.reserve(room);
}

const PAGE_OFFSET: usize = 1024;

const SMALL_RESERVE_BYTES: usize = 4096;
