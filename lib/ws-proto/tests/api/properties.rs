//! What holds for all inputs.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use switchboard_ws_proto::{Connection, Event, Limits, Message, Opcode};

use crate::support::*;

pub(crate) const LIMITS: Limits = Limits { message_bytes_max: 70_000, frame_bytes_max: 66_000, fragments_max: 8 };

/// Frames of a peer that is mostly right: whole messages, fragments, control frames, and now and then bytes of any kind.
pub(crate) fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        8 => "[a-zé€🌍]{0,40}".prop_map(String::into_bytes),
        4 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => prop::sample::select(&[125usize, 126, 4095, 4096, 16384, 20_000, 65535, 65536, 66_000][..]).prop_map(|length| vec![b'x'; length]),
    ];
    let opcodes = &[Opcode::Text, Opcode::Binary, Opcode::Continuation, Opcode::Ping, Opcode::Pong, Opcode::Close];
    let weights = prop::sample::select(&[0usize, 0, 0, 1, 1, 2, 2, 2, 3, 4, 5][..]);
    let piece = prop_oneof![
        30 => (prop::bool::weighted(0.7), weights, payload).prop_map(|(fin, which, mut payload)| {
            let opcode = opcodes[which];
            if opcode.is_control() {
                payload.truncate(125);
            }
            if opcode == Opcode::Close {
                payload.splice(..0, [0x03, 0xe8]);
                payload.truncate(125);
            }
            masked(&frame(fin || opcode.is_control(), opcode, &payload))
        }),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// How a driver hands over what it has read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// By chunks.
    Chunks,
    /// Through `read_buffer` where that is offered.
    Direct,
    /// Always where the connection wants it.
    InPlace,
}

pub(crate) fn any_way() -> impl Strategy<Value = Way> {
    prop::sample::select(&[Way::Chunks, Way::Direct, Way::InPlace][..])
}

impl Way {
    pub(crate) fn receive(self, connection: &mut Connection, chunk: &[u8]) {
        match self {
            Self::InPlace => {
                let buffer = connection.input_buffer();
                if buffer.is_empty() && !buffer.try_reclaim(chunk.len()) {
                    *buffer = BytesMut::with_capacity(chunk.len());
                }
                buffer.extend_from_slice(chunk);
            }
            Self::Direct if connection.read_buffer().is_some() => {
                connection.read_buffer().unwrap().extend_from_slice(chunk);
            }
            Self::Direct | Self::Chunks => connection.receive(BytesMut::from(chunk)),
        }
    }
}

/// As a driver does, giving buffers back or not.
fn drive(bytes: &[u8], cuts: &[prop::sample::Index], way: Way, reclaim: bool) -> (Vec<Event>, Vec<u8>) {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    let mut connection = limited(LIMITS);
    let mut found = Vec::new();
    for cut in at.windows(2) {
        let chunk = &bytes[cut[0]..cut[1]];
        way.receive(&mut connection, chunk);
        found.extend(std::iter::from_fn(|| connection.poll_event()));
        if reclaim {
            drop(connection.reclaim_input());
        }
    }
    connection.receive_eof();
    found.extend(std::iter::from_fn(|| connection.poll_event()));
    (found, written(&mut connection))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_same_bytes_yields_the_same_events(
        bytes in any_stream(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        way in any_way(),
        reclaim: bool,
    ) {
        let whole = drive(&bytes, &[], Way::Chunks, false);
        prop_assert_eq!(drive(&bytes, &cuts, way, reclaim), whole);
    }

    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for connection in [&mut server(), &mut client()] {
            feed(connection, &bytes);
            one_by_one(connection, &bytes);
        }
    }

    #[test]
    fn what_is_sent_is_received(
        messages in proptest::collection::vec(any_message(), 0..10),
        cut in 1usize..5000,
    ) {
        for (mut sender, mut receiver) in [(client(), server()), (server(), client())] {
            for (message, parts) in &messages {
                send_in_parts(&mut sender, message, *parts);
            }
            let mut found = Vec::new();
            for chunk in written(&mut sender).chunks(cut) {
                receiver.receive(BytesMut::from(chunk));
                found.extend(std::iter::from_fn(|| receiver.poll_event()));
            }
            let expected: Vec<Event> = messages.iter().map(|(message, _)| Event::Message(message.clone())).collect();
            prop_assert_eq!(found, expected);
        }
    }
}

fn any_message() -> impl Strategy<Value = (Message, usize)> {
    let message = prop_oneof![
        ".{0,300}".prop_map(Message::from),
        proptest::collection::vec(any::<u8>(), 0..10_000).prop_map(Message::from),
    ];
    (message, 1..5usize)
}

fn send_in_parts(connection: &mut Connection, message: &Message, parts: usize) {
    if parts == 1 {
        return connection.send(message.clone()).unwrap();
    }
    let bytes = message.clone().into_bytes();
    let step = bytes.len().div_ceil(parts).max(1);
    let mut opcode = if message.as_text().is_some() { Opcode::Text } else { Opcode::Binary };
    let mut rest = bytes;
    loop {
        let part = rest.split_to(step.min(rest.len()));
        connection.send_fragment(opcode, rest.is_empty(), Bytes::copy_from_slice(&part)).unwrap();
        if rest.is_empty() {
            return;
        }
        opcode = Opcode::Continuation;
    }
}
