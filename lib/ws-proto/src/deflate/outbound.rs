//! The sending direction (RFC 7692 §7.2.1): compresses messages, and decides which are better sent as they are. Knows nothing of masks or queues.

use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};
use zlib_rs::{Deflate, DeflateFlush};

use super::pool::{self, Kind, Owner};
use super::{Agreed, COMPRESSOR_WINDOW_BITS_MIN, TAIL, Tuning, WINDOW_BITS_MAX};
use crate::frame::{FRAME_HEADER_BYTES_MAX, FrameHeader, Opcode, RSV1};

/// What one connection needs to send compressed messages.
pub(crate) struct Outbound {
    kind: Kind,
    message_bytes_min: usize,
    /// With context takeover.
    context: Option<Context>,
    /// That of a message whose last fragment is to be sent.
    deflate: Option<Deflate>,
    /// Something was compressed since [`rest`](Self::rest) was called last.
    used: bool,
}

impl Outbound {
    /// `None` if the peer allows a window of 8 bits only: everything is sent as it is then, which is always allowed (§6).
    pub(crate) fn new(agreed: &Agreed, server: bool) -> Option<Self> {
        let (takeover, window_bits) = agreed.params.ours(server);
        if window_bits < COMPRESSOR_WINDOW_BITS_MIN {
            return None;
        }
        let mut outbound = Self::alone(window_bits, agreed.tuning);
        outbound.context = takeover.then(|| Context::new(window_bits));
        Some(outbound)
    }

    fn alone(window_bits: u8, tuning: Tuning) -> Self {
        let Tuning { level, message_bytes_min } = tuning;
        Self { kind: Kind { window_bits, level }, message_bytes_min, context: None, deflate: None, used: false }
    }

    pub(crate) fn window_bits(&self) -> u8 {
        self.kind.window_bits
    }

    /// Gives a whole message compressed to `send`; answers `None` if it is better sent as it is.
    pub(crate) fn message<T>(&mut self, payload: &[u8], send: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if payload.len() < self.message_bytes_min {
            return None;
        }
        self.used = true;
        // Only what was sent compressed is context for what follows. That is worth a few bytes.
        let bytes_max = match self.context {
            Some(_) => payload.len().saturating_add(CONTEXT_WORTH_BYTES),
            None => payload.len().saturating_sub(1),
        };
        pool::with_output(|output| {
            let mut deflate = self.take();
            let compressed = compress(&mut deflate, payload, output, bytes_max.saturating_add(TAIL.len()));
            if compressed.is_some() {
                self.remember(payload);
                self.give(deflate);
            } else {
                // It knows now what the peer will not.
                pool::give_deflate(self.kind, None, deflate);
            }
            compressed.map(|length| send(without_tail(output.get(..length).unwrap_or_default())))
        })
    }

    /// Gives a fragment compressed to `send`. All fragments of a message go this way, or none.
    pub(crate) fn fragment<T>(&mut self, fin: bool, payload: &[u8], send: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.used = true;
        pool::with_output(|output| {
            let mut deflate = self.deflate.take().unwrap_or_else(|| self.take());
            let length = compress(&mut deflate, payload, output, usize::MAX)?;
            self.remember(payload);
            if fin {
                self.give(deflate);
            } else {
                self.deflate = Some(deflate);
            }
            let compressed = output.get(..length).unwrap_or_default();
            Some(send(if fin { without_tail(compressed) } else { compressed }))
        })
    }

    /// These frames were not made here. If messages among them are compressed, the peer's decompressor has seen what we have not,
    /// and we must not look back behind that.
    pub(crate) fn sent_elsewhere(&mut self, mut frames: &[u8]) {
        let Some(context) = &mut self.context else { return };
        while !context.is_empty()
            && let Ok(Some((header, length))) = FrameHeader::parse(frames)
        {
            if header.rsv & RSV1 != 0 {
                context.clear();
            }
            let end = length.saturating_add(header.payload_len as usize);
            frames = frames.get(end..).unwrap_or_default();
        }
    }

    /// Gives the context up if it was of no use since the last call. A sender may begin anew at any message: nobody has to be told.
    pub(crate) fn rest(&mut self) {
        if !core::mem::take(&mut self.used)
            && let Some(context) = &mut self.context
        {
            context.clear();
        }
    }

    fn take(&self) -> Deflate {
        match &self.context {
            Some(context) => pool::take_deflate(self.kind, Some(context.owner), &context.bytes),
            None => pool::take_deflate(self.kind, None, &[]),
        }
    }

    fn give(&self, deflate: Deflate) {
        pool::give_deflate(self.kind, self.context.as_ref().map(|context| context.owner), deflate);
    }

    fn remember(&mut self, payload: &[u8]) {
        if let Some(context) = &mut self.context {
            context.push(payload);
        }
    }
}

/// What the peer's decompressor knows for certain: the end of what was sent compressed. Any compressor that is told it can go on from there, so
/// that a connection needs none of its own.
struct Context {
    bytes: Vec<u8>,
    bytes_max: usize,
    owner: Owner,
}

impl Context {
    fn new(window_bits: u8) -> Self {
        // As far as zlib looks back within the window.
        let window = (1 << window_bits) - LOOKAHEAD_BYTES_MIN;
        Self { bytes: Vec::new(), bytes_max: CONTEXT_BYTES_MAX.min(window), owner: Owner::new() }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn push(&mut self, payload: &[u8]) {
        let kept = self.bytes_max.saturating_sub(payload.len()).min(self.bytes.len());
        self.bytes.drain(..self.bytes.len() - kept);
        let fresh = payload.len().min(self.bytes_max);
        self.bytes.extend_from_slice(payload.get(payload.len() - fresh..).unwrap_or_default());
        self.owner.moves_on();
    }

    fn clear(&mut self) {
        self.bytes = Vec::new();
        self.owner.moves_on();
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        if let Some(deflate) = self.deflate.take() {
            pool::give_deflate(self.kind, None, deflate);
        }
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { context, kind, .. } = self;
        f.debug_struct("Outbound").field("takeover", &context.is_some()).field("kind", kind).finish_non_exhaustive()
    }
}

/// A whole frame for many receivers, compressed once: for [`Connection::send_encoded`](crate::Connection::send_encoded) of every connection
/// whose [`deflate_window_bits`](crate::Connection::deflate_window_bits) is `window_bits` or more.
///
/// Not compressed if that makes it no smaller or `tuning` says so; then any connection takes it. `opcode` is text or binary, and text is UTF-8:
/// both are the caller's promise. `window_bits` is 9 to 15; what is outside is taken for the nearest.
///
/// ```
/// use bytes::Buf;
/// use switchboard_ws_proto::deflate::{Agreed, Policy, Tuning, compress_frame};
/// use switchboard_ws_proto::{Config, Connection, Opcode, Role};
///
/// let frame = compress_frame(Opcode::Text, "news ".repeat(100).as_bytes(), 15, Tuning::default());
/// assert_eq!(frame[0], 0xc1);
/// let params = Policy::default().answer(["permessage-deflate"])?.unwrap();
/// let config = Config::default().deflate(Some(Agreed::new(params)));
/// for mut connection in [Connection::new(Role::Server, config.clone()), Connection::new(Role::Server, config)] {
///     connection.send_encoded(frame.clone())?;
///     assert_eq!(connection.transmit().chunk(), frame);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn compress_frame(opcode: Opcode, payload: &[u8], window_bits: u8, tuning: Tuning) -> Bytes {
    let mut frame = BytesMut::new();
    compress_frame_into(opcode, payload, window_bits, tuning, &mut frame);
    frame.freeze()
}

/// As [`compress_frame`], appended to a buffer: several frames may follow each other there. Answers whether the frame is compressed.
///
/// ```
/// use bytes::BytesMut;
/// use switchboard_ws_proto::Opcode;
/// use switchboard_ws_proto::deflate::{Tuning, compress_frame_into};
///
/// let mut frames = BytesMut::new();
/// assert!(compress_frame_into(Opcode::Text, &[b'a'; 1000], 15, Tuning::default(), &mut frames));
/// assert!(!compress_frame_into(Opcode::Text, b"short", 15, Tuning::default(), &mut frames));
/// assert!(frames.ends_with(b"\x81\x05short"));
/// ```
pub fn compress_frame_into(
    opcode: Opcode,
    payload: &[u8],
    window_bits: u8,
    tuning: Tuning,
    out: &mut BytesMut,
) -> bool {
    let window_bits = window_bits.clamp(COMPRESSOR_WINDOW_BITS_MIN, WINDOW_BITS_MAX);
    let mut outbound = Outbound::alone(window_bits, tuning);
    if !opcode.is_control() && outbound.message(payload, |bytes| append(opcode, RSV1, bytes, out)).is_some() {
        return true;
    }
    append(opcode, 0, payload, out);
    false
}

fn append(opcode: Opcode, rsv: u8, payload: &[u8], out: &mut BytesMut) {
    out.reserve(FRAME_HEADER_BYTES_MAX + payload.len());
    FrameHeader { rsv, ..FrameHeader::new(opcode, payload.len() as u64) }.encode(out);
    out.extend_from_slice(payload);
}

/// All of `input`, flushed, at the beginning of `output`, which grows as needed: its length, or `None` once it is more than `bytes_max`.
fn compress(deflate: &mut Deflate, mut input: &[u8], output: &mut Vec<u8>, bytes_max: usize) -> Option<usize> {
    let mut filled = 0;
    loop {
        if output.len() - filled < FLUSH_BYTES {
            output.resize(output.len() * 2, 0);
        }
        let room = output.get_mut(filled..).unwrap_or_default();
        let room_len = room.len();
        let (total_in, total_out) = (deflate.total_in(), deflate.total_out());
        // It can fail only if it was made wrongly, and then the message is sent as it is.
        deflate.compress(input, room, DeflateFlush::SyncFlush).ok()?;
        let (consumed, produced) = (deflate.total_in() - total_in, deflate.total_out() - total_out);
        input = input.get(consumed as usize..).unwrap_or_default();
        filled += produced as usize;
        if filled > bytes_max {
            return None;
        }
        // With room left, everything is flushed.
        if input.is_empty() && (produced as usize) < room_len {
            return Some(filled);
        }
    }
}

/// §7.2.1. Where nothing had to be flushed there is no tail to leave out, and §7.2.3.6 has the byte that stands for an empty block.
fn without_tail(compressed: &[u8]) -> &[u8] {
    if compressed.is_empty() { EMPTY_BLOCK } else { compressed.strip_suffix(&TAIL).unwrap_or(compressed) }
}

const EMPTY_BLOCK: &[u8] = &[0];

/// By so many bytes a message may grow.
const CONTEXT_WORTH_BYTES: usize = 32;

/// What is kept of the context. A compressor is told it before each message, so more costs time as well as memory.
const CONTEXT_BYTES_MAX: usize = 4096;

/// zlib's MIN_LOOKAHEAD: by so much less than the window it looks back.
const LOOKAHEAD_BYTES_MIN: usize = 262;

/// zlib wants room for its flush, or it repeats it.
const FLUSH_BYTES: usize = 64;
