//! A framing that a test can take apart again.

use bytes::{Buf, BufMut, BytesMut};
use switchboard_core::{FrameKind, Framing};

/// Kind, length, payload.
#[derive(Debug)]
pub struct TestFraming;

impl Framing for TestFraming {
    fn frame(&self, kind: FrameKind, payload: &[u8], out: &mut BytesMut) {
        out.put_u8(u8::from(kind == FrameKind::Binary));
        out.put_u32(u32::try_from(payload.len()).expect("a test's message fits"));
        out.put_slice(payload);
    }
}

/// Nothing around a message, as over plain HTTP.
#[derive(Debug)]
pub struct PlainFraming;

impl Framing for PlainFraming {
    fn frame(&self, _: FrameKind, payload: &[u8], out: &mut BytesMut) {
        out.put_slice(payload);
    }
}

/// A message as a client receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

impl Received {
    /// Takes whole messages apart.
    pub fn split(mut bytes: &[u8]) -> Vec<Self> {
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            let binary = bytes.get_u8() == 1;
            let length = bytes.get_u32() as usize;
            let payload = bytes.copy_to_bytes(length).to_vec();
            messages.push(match binary {
                true => Self::Binary(payload),
                false => Self::Text(String::from_utf8(payload).expect("text messages are UTF-8")),
            });
        }
        messages
    }

    /// The message's JSON.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => serde_json::from_str(text).expect("JSON"),
            Self::Binary(_) => panic!("{self:?} is not JSON"),
        }
    }
}
