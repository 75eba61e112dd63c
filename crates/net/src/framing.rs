//! How the transports frame a dialect's messages. Their numbers are their places in [`framings`].

use crate::compression::{Compression, Counts};
use bytes::BytesMut;
use std::sync::Arc;
use switchboard_core::{FrameKind, Framing, FramingId};
use switchboard_ws_proto::{FRAME_HEADER_BYTES_MAX, FrameHeader, Opcode};

/// WebSocket frames of a server: unmasked, so equal for all.
pub(crate) const WEBSOCKET: FramingId = FramingId(0);

/// Nothing around a message: what a stream of HTTP carries is the dialect's own.
pub(crate) const IDENTITY: FramingId = FramingId(1);
/// What comes behind these.
pub(crate) const FIRST_COMPRESSED: u8 = 2;

pub(crate) fn framings(compression: Option<Compression>, counts: &Arc<Counts>) -> Vec<Box<dyn Framing>> {
    let plain: [Box<dyn Framing>; 2] = [Box::new(WebSocketFraming), Box::new(IdentityFraming)];
    let compressed = compression.into_iter().flat_map(|compression| compression.framings(counts));
    plain.into_iter().chain(compressed).collect()
}

pub(crate) fn opcode(kind: FrameKind) -> Opcode {
    match kind {
        FrameKind::Text => Opcode::Text,
        FrameKind::Binary => Opcode::Binary,
    }
}

#[derive(Debug)]
struct WebSocketFraming;

impl Framing for WebSocketFraming {
    fn frame(&self, kind: FrameKind, payload: &[u8], out: &mut BytesMut) {
        out.reserve(payload.len() + FRAME_HEADER_BYTES_MAX);
        FrameHeader::new(opcode(kind), payload.len() as u64).encode(out);
        out.extend_from_slice(payload);
    }
}

#[derive(Debug)]
struct IdentityFraming;

impl Framing for IdentityFraming {
    fn frame(&self, _: FrameKind, payload: &[u8], out: &mut BytesMut) {
        out.extend_from_slice(payload);
    }
}
