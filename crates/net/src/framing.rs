//! How the transports frame a dialect's messages. Their numbers are their places in [`framings`].

use bytes::BytesMut;
use switchboard_core::{FrameKind, Framing, FramingId};
use switchboard_ws_proto::{FRAME_HEADER_BYTES_MAX, FrameHeader, Opcode};

/// WebSocket frames of a server: unmasked, so equal for all.
pub(crate) const WEBSOCKET: FramingId = FramingId(0);

pub(crate) fn framings() -> Vec<Box<dyn Framing>> {
    vec![Box::new(WebSocketFraming)]
}

#[derive(Debug)]
struct WebSocketFraming;

impl Framing for WebSocketFraming {
    fn frame(&self, kind: FrameKind, payload: &[u8], out: &mut BytesMut) {
        let opcode = match kind {
            FrameKind::Text => Opcode::Text,
            FrameKind::Binary => Opcode::Binary,
        };
        out.reserve(payload.len() + FRAME_HEADER_BYTES_MAX);
        FrameHeader::new(opcode, payload.len() as u64).encode(out);
        out.extend_from_slice(payload);
    }
}
