//! Frames as a client sends them, right and wrong, and those that a server sends.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use switchboard_ws_proto::{CloseCode, FrameHeader, Opcode, ProtocolError};

/// A key that changes what it masks. Whether a key can be foreseen is of no matter here: nothing between us and the server is attacked.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) fn mask(payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

/// A frame whose first byte is free.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    let header = FrameHeader { mask: Some(KEY), ..FrameHeader::new(Opcode::Binary, payload.len() as u64) };
    header.encode(&mut out);
    if let Some(byte) = out.first_mut() {
        *byte = first;
    }
    out.extend_from_slice(&mask(payload, KEY));
    out.freeze()
}

/// A whole message, or a control frame.
pub(crate) fn whole(opcode: Opcode, payload: &[u8]) -> Bytes {
    frame(0x80 | opcode as u8, payload)
}

pub(crate) fn text(payload: &str) -> Bytes {
    whole(Opcode::Text, payload.as_bytes())
}

pub(crate) fn ping(payload: &[u8]) -> Bytes {
    whole(Opcode::Ping, payload)
}

/// A fragment that is not the last.
pub(crate) fn fragment(opcode: Opcode, payload: &[u8]) -> Bytes {
    frame(opcode as u8, payload)
}

/// A Close with a code.
pub(crate) fn close(code: u16, reason: &[u8]) -> Bytes {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason);
    whole(Opcode::Close, &payload)
}

/// A frame with a length written in a form of our choice: 126 in two bytes, 127 in eight.
pub(crate) fn odd_length(first: u8, form: u8, length: u64, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(first);
    out.put_u8(0x80 | form);
    match form {
        126 => out.put_u16(u16::try_from(length).unwrap_or(u16::MAX)),
        _ => out.put_u64(length),
    }
    out.extend_from_slice(&KEY);
    out.extend_from_slice(&mask(payload, KEY));
    out.freeze()
}

/// Several after one another.
pub(crate) fn all(frames: impl IntoIterator<Item = Bytes>) -> Bytes {
    let mut out = BytesMut::new();
    frames.into_iter().for_each(|frame| out.extend_from_slice(&frame));
    out.freeze()
}

/// What a server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A whole message.
    Message(Opcode, Bytes),
    Ping(Bytes),
    Pong(Bytes),
    /// A Close and its code.
    Close(Option<u16>),
}

/// Reads a server's frames, and finds what is wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    buffer: BytesMut,
    message: Option<(Opcode, BytesMut)>,
    /// Compression was agreed: RSV1 is allowed on the first frame of a message.
    pub(crate) compressed: bool,
}

/// What the server sent wrong.
pub(crate) type Fault = String;

/// A message that is longer is none that we have asked for.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

impl Reader {
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes of a frame that is not whole.
    pub(crate) fn rest(&self) -> usize {
        self.buffer.len()
    }

    /// The next header and payload.
    fn frame(&mut self) -> Result<Option<(FrameHeader, Bytes)>, Fault> {
        let wrong = |error: ProtocolError| format!("the server broke the protocol itself: {error}");
        let Some((header, length)) = FrameHeader::parse(&self.buffer).map_err(wrong)? else { return Ok(None) };
        let payload = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
        if payload > MESSAGE_BYTES_MAX {
            return Err(format!("the server announced a frame of {payload} bytes"));
        }
        if self.buffer.len() < length + payload {
            return Ok(None);
        }
        self.buffer.advance(length);
        Ok(Some((header, self.buffer.split_to(payload).freeze())))
    }

    /// The next whole thing. Compressed messages come as they are.
    pub(crate) fn next(&mut self) -> Result<Option<Seen>, Fault> {
        while let Some((header, payload)) = self.frame()? {
            if header.mask.is_some() {
                return Err("the server masked a frame (RFC 6455 §5.1)".to_owned());
            }
            let first = matches!(header.opcode, Opcode::Text | Opcode::Binary);
            if header.rsv & 3 != 0 || (header.rsv & 4 != 0 && !(self.compressed && first)) {
                return Err("the server set a reserved bit that nothing was agreed for (RFC 6455 §5.2)".to_owned());
            }
            if let Some(seen) = self.take(header, payload)? {
                return Ok(Some(seen));
            }
        }
        Ok(None)
    }

    fn take(&mut self, header: FrameHeader, payload: Bytes) -> Result<Option<Seen>, Fault> {
        Ok(match (header.opcode, &mut self.message) {
            (Opcode::Ping, _) => Some(Seen::Ping(payload)),
            (Opcode::Pong, _) => Some(Seen::Pong(payload)),
            (Opcode::Close, _) => Some(Seen::Close(close_code(&payload)?)),
            (Opcode::Continuation, None) => return Err("the server continued no message (RFC 6455 §5.4)".to_owned()),
            (Opcode::Continuation, Some((_, message))) => {
                message.extend_from_slice(&payload);
                if message.len() > MESSAGE_BYTES_MAX {
                    return Err("the server's message has no end".to_owned());
                }
                if !header.fin {
                    return Ok(None);
                }
                self.message.take().map(|(opcode, message)| Seen::Message(opcode, message.freeze()))
            }
            (_, Some(_)) => return Err("the server began a message within another (RFC 6455 §5.4)".to_owned()),
            (opcode, None) if header.fin => Some(Seen::Message(opcode, payload)),
            (opcode, None) => {
                self.message = Some((opcode, BytesMut::from(&payload[..])));
                None
            }
        })
    }
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, Fault> {
    match payload {
        [] => Ok(None),
        [_] => Err("the server sent a Close with one byte (RFC 6455 §5.5.1)".to_owned()),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if core::str::from_utf8(reason).is_err() {
                return Err("the server sent a Close whose reason is not UTF-8 (RFC 6455 §5.5.1)".to_owned());
            }
            if !CloseCode::new(code).is_allowed() {
                return Err(format!("the server sent a Close with {code}, which must not be sent (RFC 6455 §7.4.1)"));
            }
            Ok(Some(code))
        }
    }
}
