//! Compression (RFC 7692) on a shard: what is agreed with a client, the framings of those who share one compressed frame, and the count of both.
//! Knows nothing of sockets. Why it is so: `docs/decisions`.

use crate::framing::{FIRST_COMPRESSED, WEBSOCKET, opcode};
use crate::limits::Permit;
use bytes::BytesMut;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use switchboard_core::{FrameKind, Framing, FramingId};
use switchboard_ws_proto::deflate::{Agreed, Policy, Tuning, compress_frame_into};
use switchboard_ws_proto::handshake::{Rejection, UpgradeRequest};

/// How messages are compressed for clients that offer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// 1 (fast) to 9 (small).
    pub level: u8,
    /// Smaller messages are sent as they are.
    pub message_bytes_min: usize,
    /// Connections that may keep a context from message to message, in both directions, at the cost of 51 KiB each. Those beyond, and
    /// all if it is 0, share frames that were compressed once.
    pub contexts_max: usize,
}

impl Default for Compression {
    fn default() -> Self {
        let Tuning { level, message_bytes_min } = Tuning::default();
        Self { level, message_bytes_min, contexts_max: 0 }
    }
}

impl Compression {
    fn tuning(&self) -> Tuning {
        Tuning { level: self.level, message_bytes_min: self.message_bytes_min }
    }

    /// What to answer to a client's offer, if anything. A place for a context is taken only by who will use it.
    pub(crate) fn agree(&self, upgrade: &UpgradeRequest, permit: &mut Permit) -> Result<Option<Agreed>, Rejection> {
        let alone = Policy::default();
        let keeping = alone.context_takeover(true).peer_context_takeover(true);
        let params = match upgrade.deflate(&keeping)? {
            Some(params) if params.server_no_context_takeover && params.client_no_context_takeover => Some(params),
            Some(params) if permit.take_context() => Some(params),
            Some(_) => upgrade.deflate(&alone)?,
            None => None,
        };
        Ok(params.map(|params| Agreed { params, tuning: self.tuning() }))
    }

    /// The framings for each window, to be put behind those without compression.
    pub(crate) fn framings(self, counts: &Arc<Counts>) -> impl Iterator<Item = Box<dyn Framing>> {
        let tuning = self.tuning();
        let counts = Arc::clone(counts);
        (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).map(move |window_bits| {
            Box::new(DeflateFraming { window_bits, tuning, counts: Arc::clone(&counts) }) as Box<dyn Framing>
        })
    }
}

/// How a connection's output is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Not here: its frames are ready, compressed for many or not at all.
    Ready(FramingId),
    /// By itself, with its own context, as it is written.
    Own,
}

impl Output {
    pub(crate) fn of(agreed: Option<&Agreed>) -> Self {
        let Some(params) = agreed.map(|agreed| agreed.params) else { return Self::Ready(WEBSOCKET) };
        if !params.server_no_context_takeover {
            return Self::Own;
        }
        // `Policy::answer` agrees to no window that there is no compressor for.
        let window_bits = params.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX);
        Self::Ready(FramingId(FIRST_COMPRESSED + window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX) - WINDOW_BITS_MIN))
    }

    /// What its sessions' messages are framed by.
    pub(crate) fn framing(self) -> FramingId {
        match self {
            Self::Ready(framing) => framing,
            Self::Own => WEBSOCKET,
        }
    }
}

/// What compression did on a shard since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Messages that were compressed, each once however many get it.
    messages: AtomicU64,
    /// Bytes of frames for clients with compression, before it.
    bytes_before: AtomicU64,
    /// The same after it.
    bytes_after: AtomicU64,
}

impl Counts {
    pub(crate) fn add(&self, messages: usize, before: usize, after: usize) {
        for (counter, more) in [(&self.messages, messages), (&self.bytes_before, before), (&self.bytes_after, after)] {
            counter.fetch_add(more as u64, Ordering::Relaxed);
        }
    }

    /// Messages, bytes before, bytes after.
    pub(crate) fn read(&self) -> [u64; 3] {
        [&self.messages, &self.bytes_before, &self.bytes_after].map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// Frames of a server, each compressed by itself: equal for all who inflate with at least this window.
#[derive(Debug)]
struct DeflateFraming {
    window_bits: u8,
    tuning: Tuning,
    counts: Arc<Counts>,
}

impl Framing for DeflateFraming {
    fn frame(&self, kind: FrameKind, payload: &[u8], out: &mut BytesMut) {
        let start = out.len();
        let compressed = compress_frame_into(opcode(kind), payload, self.window_bits, self.tuning, out);
        self.counts.add(usize::from(compressed), payload.len(), out.len() - start);
    }
}

const WINDOW_BITS_MIN: u8 = 9;
const WINDOW_BITS_MAX: u8 = 15;
