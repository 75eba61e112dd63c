//! The sending direction (RFC 7692 §7.2.1): compresses messages, and decides which are better sent as they are. Knows nothing of masks or queues.

use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};
use zlib_rs::{Deflate, DeflateFlush};

use super::pool::{self, Kind};
use super::{Agreed, COMPRESSOR_WINDOW_BITS_MIN, TAIL, Tuning, WINDOW_BITS_MAX};
use crate::frame::{FRAME_HEADER_BYTES_MAX, FrameHeader, Opcode, RSV1};

/// What one connection needs to send compressed messages.
pub(crate) struct Outbound {
    takeover: bool,
    kind: Kind,
    message_bytes_min: usize,
    /// With context takeover the connection's, else that of a message whose last fragment is to be sent.
    deflate: Option<Deflate>,
    /// It has compressed something since [`rest`](Self::rest) was called last.
    used: bool,
}

impl Outbound {
    /// `None` if the peer allows a window of 8 bits only: everything is sent as it is then, which is always allowed (§6).
    pub(crate) fn new(agreed: &Agreed, server: bool) -> Option<Self> {
        let (takeover, window_bits) = agreed.params.ours(server);
        let Tuning { level, message_bytes_min } = agreed.tuning;
        (window_bits >= COMPRESSOR_WINDOW_BITS_MIN).then_some(Self {
            takeover,
            kind: Kind { window_bits, level },
            message_bytes_min,
            deflate: None,
            used: false,
        })
    }

    pub(crate) fn window_bits(&self) -> u8 {
        self.kind.window_bits
    }

    /// Gives a whole message compressed to `send`; answers `None` if it is better sent as it is.
    pub(crate) fn message<T>(&mut self, payload: &[u8], send: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if payload.len() < self.message_bytes_min {
            return None;
        }
        // To send a message as it is after it was compressed costs the context, for the peer will not know it. That is worth a few bytes.
        let bytes_max =
            if self.takeover { payload.len() + CONTEXT_WORTH_BYTES } else { payload.len().saturating_sub(1) };
        pool::with_output(|output| {
            let kind = self.kind;
            let deflate = self.deflate.get_or_insert_with(|| pool::take_deflate(kind));
            self.used = true;
            let compressed = compress(deflate, payload, output, bytes_max.saturating_add(TAIL.len()));
            if !self.takeover || compressed.is_none() {
                self.release();
            }
            compressed.map(|length| send(without_tail(output.get(..length).unwrap_or_default())))
        })
    }

    /// Gives a fragment compressed to `send`. All fragments of a message go this way, or none.
    pub(crate) fn fragment<T>(&mut self, fin: bool, payload: &[u8], send: impl FnOnce(&[u8]) -> T) -> Option<T> {
        pool::with_output(|output| {
            let kind = self.kind;
            let deflate = self.deflate.get_or_insert_with(|| pool::take_deflate(kind));
            self.used = true;
            let length = compress(deflate, payload, output, usize::MAX)?;
            if fin && !self.takeover {
                self.release();
            }
            let compressed = output.get(..length).unwrap_or_default();
            Some(send(if fin { without_tail(compressed) } else { compressed }))
        })
    }

    /// These frames were not made here. If messages among them are compressed, the peer's decompressor has seen what our compressor has not,
    /// which must not look back behind that.
    pub(crate) fn sent_elsewhere(&mut self, mut frames: &[u8]) {
        while self.deflate.is_some()
            && let Ok(Some((header, length))) = FrameHeader::parse(frames)
        {
            if header.rsv & RSV1 != 0 {
                self.release();
            }
            let end = length.saturating_add(header.payload_len as usize);
            frames = frames.get(end..).unwrap_or_default();
        }
    }

    /// Gives the context back if it was of no use since the last call. A sender may begin anew at any message: nobody has to be told.
    pub(crate) fn rest(&mut self) {
        if !core::mem::take(&mut self.used) {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(deflate) = self.deflate.take() {
            pool::give_deflate(self.kind, deflate);
        }
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { takeover, kind, .. } = self;
        f.debug_struct("Outbound").field("takeover", takeover).field("kind", kind).finish_non_exhaustive()
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
    let mut outbound = Outbound {
        takeover: false,
        kind: Kind { window_bits, level: tuning.level },
        message_bytes_min: tuning.message_bytes_min,
        deflate: None,
        used: false,
    };
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

/// By so many bytes a message may grow before the context is given up.
const CONTEXT_WORTH_BYTES: usize = 32;

/// zlib wants room for its flush, or it repeats it.
const FLUSH_BYTES: usize = 64;
