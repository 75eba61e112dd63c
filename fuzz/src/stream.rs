//! From a fuzzer's bytes to what a peer might send. Owns the little script that most inputs are written in. Knows no connection.
//!
//! A fuzzer rarely guesses a length and a mask that fit, so a script makes frames that are mostly right: a byte that says what, a byte for
//! the length, the payload. Everything that a peer may do wrong can still be said, raw bytes among it.

use switchboard_ws_proto::deflate::{Tuning, compress_frame};
use switchboard_ws_proto::{FrameHeader, Opcode};

/// Bytes taken one after another; zero when there are no more.
#[derive(Clone, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of them.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// The next one.
    pub fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    /// The next two.
    pub fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// As many as there are, at most `count`.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        self.0.split_off(..count.min(self.0.len())).unwrap_or_default()
    }

    /// All that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    /// None are left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The frames of a script, with or without masks.
///
/// What: bits 0 to 2 are text, binary, continuation, ping, pong, close, raw bytes or a whole message really compressed; 0x08 is "not the last
/// fragment", 0x10 is RSV1, 0x20 is "masked where it must not be, or the other way round", 0x40 is RSV2, 0x80 is "payload repeated 100 times".
/// Length: up to 250 as it is, beyond that 0, 125, 126, 1,000 or 65,536 bytes are declared, whatever comes.
pub fn frames(script: &[u8], masked: bool) -> Vec<u8> {
    let mut input = Input::new(script);
    let mut stream = Vec::new();
    while !input.is_empty() && stream.len() < STREAM_BYTES_MAX {
        let (what, length) = (input.byte(), input.byte());
        let mut payload = input.take(usize::from(length.min(250))).to_vec();
        let declared = match length {
            251.. => Some([0u64, 125, 126, 1_000, 65_536][usize::from(length - 251)]),
            _ => None,
        };
        let opcode = match what & 7 {
            0 => Opcode::Text,
            1 => Opcode::Binary,
            2 => Opcode::Continuation,
            3 => Opcode::Ping,
            4 => Opcode::Pong,
            5 => Opcode::Close,
            6 => {
                stream.extend_from_slice(&payload);
                continue;
            }
            _ => Opcode::Binary,
        };
        if what & 0x80 != 0 {
            payload = payload.repeat(100);
        }
        let mut rsv = (what >> 2 & 4) | (what >> 5 & 2);
        if what & 7 == 7 {
            payload = compressed(&payload);
            rsv = 4;
        }
        let mask = (masked != (what & 0x20 != 0)).then_some([what, length, 0x5a, 0xc3]);
        let payload_len = declared.unwrap_or(payload.len() as u64);
        FrameHeader { fin: what & 8 == 0, rsv, opcode, mask, payload_len }.encode(&mut stream);
        let key = mask.unwrap_or_default();
        stream.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
    stream
}

fn compressed(payload: &[u8]) -> Vec<u8> {
    let tuning = Tuning { message_bytes_min: 0, ..Tuning::default() };
    let frame = compress_frame(Opcode::Binary, payload, 15, tuning);
    let header = FrameHeader::parse(&frame).ok().flatten().map_or(0, |(_, length)| length);
    frame.slice(header..).to_vec()
}

/// The repeated and compressed pieces make more of an input than it has.
const STREAM_BYTES_MAX: usize = 256 * 1024;
