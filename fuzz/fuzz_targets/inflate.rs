//! Compressed messages: what we inflate is what another implementation inflates, within the limit and its memory; what we compress comes back.
//!
//! Input: a byte of switches, the limit, the size of fragments, then compressed messages, each with its length in two bytes; or, with the switch
//! `ROUND_TRIP`, a level, and plain messages. The other implementation (miniz_oxide) takes distances that reach before the beginning, which zlib
//! does not, so only what we accept is compared.
#![no_main]

use bytes::{Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};
use libfuzzer_sys::fuzz_target;
use switchboard_fuzz::{CLIENT, Input, bytes_held, decoded_by, written};
use switchboard_ws_proto::deflate::{Agreed, Params, Policy, Tuning};
use switchboard_ws_proto::{Config, Connection, Event, FrameHeader, Limits, Message, Opcode, ProtocolError, Role};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (switches, limit, fragment) = (input.byte(), input.byte(), usize::from(input.byte()).max(1));
    let params = params(switches);
    if switches & ROUND_TRIP != 0 {
        return round_trip(params, switches, fragment, &mut input);
    }
    let limits = Limits { message_bytes_max: 1 << (limit & 15), fragments_max: usize::MAX, ..Limits::default() };
    let config = Config::default().limits(limits).deflate(Some(Agreed::new(params)));
    let mut connection = Connection::new(CLIENT, config);
    let mut oracle = Oracle { inflate: Decompress::new(false), takeover: switches & TAKEOVER != 0 };
    while !input.is_empty() {
        let length = usize::from(input.number());
        let message = input.take(length);
        let frames = fragments(message, fragment);
        let (held, event) = bytes_held(|| {
            connection.receive(frames);
            connection.poll_event()
        });
        let allowed = 2 * limits.message_bytes_max + 16 * message.len() + 64 * 1024;
        assert!(held <= allowed, "{held} bytes held, allowed are {allowed}");
        match event {
            Some(Event::Message(found)) => {
                assert!(found.len() <= limits.message_bytes_max);
                assert_eq!(Some(found.as_bytes()), oracle.message(message).as_deref());
            }
            Some(Event::Failed(ProtocolError::InvalidCompression | ProtocolError::MessageTooBig { .. })) => return,
            other => panic!("{other:?}"),
        }
        drop(connection.reclaim_input());
    }
});

const TAKEOVER: u8 = 1;
const ROUND_TRIP: u8 = 2;

fn params(switches: u8) -> Params {
    let takeover = switches & TAKEOVER != 0;
    let policy = Policy::default().context_takeover(takeover).peer_context_takeover(takeover);
    let policy = policy.window_bits(9 + (switches >> 5)).peer_window_bits(9 + (switches >> 5));
    let answer = policy.answer(["permessage-deflate; client_max_window_bits"]);
    answer.expect("a good offer").expect("an acceptable offer")
}

fn fragments(message: &[u8], size: usize) -> BytesMut {
    let mut frames = BytesMut::new();
    let count = message.len().div_ceil(size).max(1);
    for number in 0..count {
        let piece = &message[number * size..message.len().min((number + 1) * size)];
        let (opcode, rsv) = if number == 0 { (Opcode::Binary, 4) } else { (Opcode::Continuation, 0) };
        let header = FrameHeader { fin: number + 1 == count, rsv, opcode, mask: None, payload_len: piece.len() as u64 };
        header.encode(&mut frames);
        frames.extend_from_slice(piece);
    }
    frames
}

/// RFC 7692 §7.2.2 by another implementation of deflate.
struct Oracle {
    inflate: Decompress,
    takeover: bool,
}

impl Oracle {
    fn message(&mut self, compressed: &[u8]) -> Option<Vec<u8>> {
        let mut plain = Vec::new();
        let ended = self.feed(compressed, &mut plain)?;
        if !ended && !compressed.is_empty() {
            self.feed(&[0, 0, 0xff, 0xff], &mut plain)?;
        }
        if !self.takeover {
            self.inflate.reset(false);
        }
        Some(plain)
    }

    /// Whether the last byte ended a stream.
    fn feed(&mut self, mut rest: &[u8], plain: &mut Vec<u8>) -> Option<bool> {
        let mut ended = false;
        let mut full = false;
        while full || !rest.is_empty() {
            let mut block = [0; 4096];
            let (read, made) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(rest, &mut block, FlushDecompress::Sync).ok()?;
            let read = usize::try_from(self.inflate.total_in() - read).ok()?;
            let made = usize::try_from(self.inflate.total_out() - made).ok()?;
            rest = &rest[read..];
            plain.extend_from_slice(&block[..made]);
            full = made == block.len();
            ended = status == Status::StreamEnd;
            if ended {
                self.inflate.reset(false);
                full = false;
            } else if read == 0 && made == 0 {
                break;
            }
        }
        Some(ended)
    }
}

fn round_trip(params: Params, switches: u8, fragment: usize, input: &mut Input<'_>) {
    let tuning = Tuning { level: switches >> 2 & 15, message_bytes_min: 0 };
    let config = Config::default().deflate(Some(Agreed { params, tuning }));
    for (role, other) in [(Role::Server, CLIENT), (CLIENT, Role::Server)] {
        let mut input = input.clone();
        let mut sender = Connection::new(role, config.clone());
        let mut expected = Vec::new();
        while !input.is_empty() {
            let (what, length) = (input.byte(), usize::from(input.byte()));
            let message = Bytes::from(input.take(length).repeat(1 + usize::from(what >> 2)));
            expected.push(Event::Message(Message::Binary(message.clone())));
            if what & 1 == 0 {
                assert_eq!(sender.send(Message::Binary(message)), Ok(()));
            } else {
                send_fragments(&mut sender, &message, fragment * 16);
            }
        }
        assert_eq!(decoded_by(other, &config, &written(&mut sender)), expected);
    }
}

fn send_fragments(sender: &mut Connection, message: &Bytes, size: usize) {
    let count = message.len().div_ceil(size).max(1);
    for number in 0..count {
        let piece = message.slice(number * size..message.len().min((number + 1) * size));
        let opcode = if number == 0 { Opcode::Binary } else { Opcode::Continuation };
        assert_eq!(sender.send_fragment(opcode, number + 1 == count, piece), Ok(()));
    }
}
