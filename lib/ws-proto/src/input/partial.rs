//! A message, or a control frame, that has begun and is not whole: what came of it, until it is. Owns fragmentation (RFC 6455 §5.4). The
//! rules for single frames are those of `input`.

use bytes::{Buf, BytesMut};

use super::{Begun, Incoming, Source};
use crate::frame::{FrameHeader, Opcode};
use crate::utf8::Utf8Stream;
use crate::{Limits, Message, ProtocolError, Utf8Bytes, mask};

#[derive(Debug, Default)]
pub(super) struct Partial {
    /// The frame whose payload is not whole.
    pub(super) frame: Option<PartialFrame>,
    /// The payload so far.
    pub(super) payload: BytesMut,
    /// How much of `payload` is unmasked and checked. What lies behind was read there directly.
    pub(super) payload_done: usize,
    /// Text or Binary, between a message's first frame and its last.
    pub(super) message: Option<Opcode>,
    /// It is compressed: what has come of it is in the source's `inbound`, not in `payload`.
    pub(super) compressed: bool,
    pub(super) fragments: usize,
    pub(super) pieces: Pieces,
    /// Bytes of the message that were given in pieces. Not of a compressed one, which is counted where it is inflated.
    pub(super) given: u64,
    pub(super) utf8: Utf8Stream,
    /// The payload so far of a control frame that was cut.
    control: BytesMut,
}

/// How the message that has begun is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pieces {
    /// Whole.
    #[default]
    None,
    /// In pieces, and the first is due.
    First,
    Further,
    /// A piece was given, and the rest is not wanted.
    Skipped,
}

#[derive(Debug)]
pub(super) struct PartialFrame {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    /// The key as it meets the next byte. Zero (which changes nothing) where frames are not masked.
    pub(super) key: [u8; 4],
    pub(super) remaining: u64,
}

pub(super) enum Progress {
    Incoming(Incoming),
    /// A frame ended that is not its message's last.
    Fragment,
    Starved,
}

impl Partial {
    /// Nothing has begun.
    pub(super) fn rests(&self) -> bool {
        self.frame.is_none() && self.message.is_none()
    }

    /// Whether bytes were read directly that were not looked at.
    pub(super) fn has_news(&self) -> bool {
        self.payload.len() != self.payload_done
    }

    /// Whether so much is still to come that it is better read where the payload lies.
    pub(super) fn reads_directly(&self) -> bool {
        let Some(frame) = &self.frame else { return false };
        let large = self.payload.len() >= DIRECT_BYTES_MIN && frame.remaining >= DIRECT_BYTES_MIN as u64;
        large && !frame.opcode.is_control()
    }

    /// The payload, with room at its end.
    pub(super) fn read_buffer(&mut self) -> &mut BytesMut {
        let remaining = self.frame.as_ref().map_or(0, |frame| frame.remaining);
        reserve(&mut self.payload, remaining, DIRECT_BYTES_MIN);
        &mut self.payload
    }

    pub(super) fn poll(
        &mut self,
        source: &mut Source,
        masked: bool,
        limits: &Limits,
    ) -> Result<Option<Incoming>, ProtocolError> {
        if self.pieces != Pieces::None {
            let skipped = self.skip_pieces(source, masked, limits)?;
            if skipped.is_some() || self.pieces != Pieces::None {
                return Ok(skipped);
            }
        }
        loop {
            if self.frame.is_some() {
                match self.continue_frame(source, limits)? {
                    Progress::Incoming(incoming) => return Ok(Some(incoming)),
                    Progress::Fragment => continue,
                    Progress::Starved => return Ok(None),
                }
            }
            let Some(header) = source.next_header()? else { return Ok(None) };
            let key = source.check(&header, masked, limits, self.begun(source))?;
            let length = header.payload_len as usize;
            let alone = header.fin && self.message.is_none() && header.rsv == 0;
            if source.chunk.len() >= length && (header.opcode.is_control() || alone) {
                return source.whole(header.opcode, key, 0, length).map(Some);
            }
            self.begin(&header, key);
        }
    }

    pub(super) fn begun(&self, source: &Source) -> Begun {
        let bytes = match &source.inbound {
            Some(inbound) if self.compressed => inbound.received(),
            _ => self.given + self.payload.len() as u64,
        };
        Begun { message: self.message, fragments: self.fragments, bytes, compressed: self.compressed }
    }

    #[inline(never)]
    pub(super) fn begin(&mut self, header: &FrameHeader, key: [u8; 4]) {
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
    fn continue_frame(&mut self, source: &mut Source, limits: &Limits) -> Result<Progress, ProtocolError> {
        let Some(frame) = &self.frame else { return Ok(Progress::Fragment) };
        if frame.opcode.is_control() {
            return Ok(self.continue_control(source));
        }
        if self.compressed {
            self.inflate(source, limits)?;
        } else {
            self.absorb(source)?;
        }
        match &self.frame {
            Some(frame) if frame.remaining > 0 => Ok(Progress::Starved),
            Some(frame) if frame.fin => self.finish_message(source),
            _ => {
                self.frame = None;
                Ok(Progress::Fragment)
            }
        }
    }

    pub(super) fn continue_control(&mut self, source: &mut Source) -> Progress {
        let Some(frame) = &mut self.frame else { return Progress::Fragment };
        let length = source.chunk.len().min(frame.remaining as usize);
        self.control.extend_from_slice(source.chunk.get(..length).unwrap_or_default());
        source.chunk.advance(length);
        frame.remaining -= length as u64;
        if frame.remaining > 0 {
            return Progress::Starved;
        }
        let (opcode, key) = (frame.opcode, frame.key);
        self.frame = None;
        let mut payload = core::mem::take(&mut self.control);
        mask::apply(key, &mut payload);
        let payload = payload.freeze();
        Progress::Incoming(match opcode {
            Opcode::Close => Incoming::Close(payload),
            Opcode::Ping => Incoming::Ping(payload),
            _ => Incoming::Pong(payload),
        })
    }

    /// Unmasks and checks what has come of a data frame while it is in the cache.
    pub(super) fn absorb(&mut self, source: &mut Source) -> Result<(), ProtocolError> {
        let Some(frame) = &mut self.frame else { return Ok(()) };
        let read_directly = (self.payload.len() - self.payload_done) as u64;
        if read_directly > frame.remaining {
            // More than the frame was read into its buffer: the next frames.
            let mut next = self.payload.split_off(self.payload_done + frame.remaining as usize);
            next.extend_from_slice(&source.chunk);
            source.chunk = BytesMut::from(&next[..]);
        } else {
            let length = (source.chunk.len() as u64).min(frame.remaining - read_directly) as usize;
            if length > 0 {
                reserve(&mut self.payload, frame.remaining, length);
                self.payload.extend_from_slice(source.chunk.get(..length).unwrap_or_default());
                source.chunk.advance(length);
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
    fn inflate(&mut self, source: &mut Source, limits: &Limits) -> Result<(), ProtocolError> {
        let (Some(frame), Some(inbound)) = (&mut self.frame, &mut source.inbound) else { return Ok(()) };
        let length = (source.chunk.len() as u64).min(frame.remaining) as usize;
        let fresh = source.chunk.get_mut(..length).unwrap_or_default();
        mask::apply(frame.key, fresh);
        frame.key = mask::rotated(frame.key, length);
        frame.remaining -= length as u64;
        let utf8 = (self.message == Some(Opcode::Text)).then_some(&mut self.utf8);
        let inflated = inbound.feed(fresh, utf8, limits.message_bytes_max);
        source.chunk.advance(length);
        inflated
    }

    fn finish_message(&mut self, source: &mut Source) -> Result<Progress, ProtocolError> {
        self.frame = None;
        self.fragments = 0;
        self.payload_done = 0;
        let text = self.message.take() == Some(Opcode::Text);
        let compressed = core::mem::take(&mut self.compressed);
        let payload = match &mut source.inbound {
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
