//! The frames in a stream of bytes, as they are on the wire: each header, when the header is there. Owns finding them behind the opening handshake;
//! unmasks, joins and inflates nothing, and finds no fault: a stream that breaks the rules is the connection's to judge, and watched no further.

use core::fmt;
use switchboard_ws_proto::{FrameHeader, Opcode};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the server.
    In,
    /// To the server.
    Out,
}

impl Direction {
    /// As in a recording.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct FrameWatch(State);

#[derive(Debug)]
enum State {
    /// Within the head of the handshake; whether the line has been empty so far.
    Head { empty: bool },
    /// Within a frame's header.
    Header(Vec<u8>),
    /// So many bytes of a payload are still to come.
    Payload(u64),
    /// Frames cannot be told apart any longer.
    Lost,
}

impl FrameWatch {
    /// Of a stream that begins with the head of an HTTP message, or with a frame.
    pub(crate) fn new(head: bool) -> Self {
        Self(if head { State::Head { empty: false } } else { State::Header(Vec::new()) })
    }

    /// Takes bytes, and tells each header that is whole.
    pub(crate) fn receive(&mut self, mut bytes: &[u8], mut told: impl FnMut(FrameHeader)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match &mut self.0 {
                State::Head { empty } => {
                    bytes = rest;
                    match byte {
                        b'\n' if *empty => self.0 = State::Header(Vec::new()),
                        b'\n' => *empty = true,
                        b'\r' => {}
                        _ => *empty = false,
                    }
                }
                State::Header(held) => {
                    bytes = rest;
                    held.push(byte);
                    match FrameHeader::parse(held) {
                        Ok(None) => {}
                        Ok(Some((header, _))) => {
                            self.0 = match header.payload_len {
                                0 => State::Header(Vec::new()),
                                length => State::Payload(length),
                            };
                            told(header);
                        }
                        Err(_) => self.0 = State::Lost,
                    }
                }
                State::Payload(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.split_at_checked(here).unwrap_or_default().1;
                    *left -= here as u64;
                    if *left == 0 {
                        self.0 = State::Header(Vec::new());
                    }
                }
                State::Lost => return,
            }
        }
    }
}

/// What an opcode is called.
pub(crate) fn opcode_name(opcode: Opcode) -> &'static str {
    match opcode {
        Opcode::Continuation => "continuation",
        Opcode::Text => "text",
        Opcode::Binary => "binary",
        Opcode::Close => "close",
        Opcode::Ping => "ping",
        Opcode::Pong => "pong",
    }
}

/// A header for people.
pub(crate) struct Shown<'a>(pub(crate) &'a FrameHeader);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(header) = self;
        write!(f, "{} fin={}", opcode_name(header.opcode), u8::from(header.fin))?;
        write!(f, " rsv={:03b} length={}", header.rsv, header.payload_len)?;
        match header.mask {
            Some([a, b, c, d]) => write!(f, " mask={a:02x}{b:02x}{c:02x}{d:02x}"),
            None => f.write_str(" unmasked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(head: bool, chunks: &[&[u8]]) -> Vec<String> {
        let mut watch = FrameWatch::new(head);
        let mut seen = Vec::new();
        for chunk in chunks {
            watch.receive(chunk, |header| seen.push(Shown(&header).to_string()));
        }
        seen
    }

    #[test]
    fn frames_are_found_behind_the_handshake() {
        let bytes = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05Hello\xc1\x00\x02\x82\x01\x02\x03\x04\xff\xff";
        let expected = [
            "text fin=1 rsv=000 length=5 unmasked",
            "text fin=1 rsv=100 length=0 unmasked",
            "binary fin=0 rsv=000 length=2 mask=01020304",
        ];
        assert_eq!(seen(true, &[bytes]), expected);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(seen(true, &single), expected);
    }

    #[test]
    fn what_breaks_the_rules_is_watched_no_further() {
        assert_eq!(seen(false, &[b"\x83\x00\x81\x00"]), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn chunks_change_nothing(lengths in proptest::collection::vec(0_u64..300, 0..10), mask in any::<Option<[u8; 4]>>(), cut in 1_usize..40) {
            let mut bytes = Vec::new();
            for length in &lengths {
                let header = FrameHeader { mask, ..FrameHeader::new(Opcode::Binary, *length) };
                header.encode(&mut bytes);
                bytes.extend((0..*length).map(|_| 0x81));
            }
            let mut watch = FrameWatch::new(false);
            let mut found = Vec::new();
            bytes.chunks(cut).for_each(|chunk| watch.receive(chunk, |header| found.push(header.payload_len)));
            prop_assert_eq!(found, lengths);
        }
    }
}
