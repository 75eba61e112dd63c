//! Messages taken in pieces: the same messages as whole ones, however they are cut, in memory that does not grow with them.

use allocation_counter::measure;
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use switchboard_ws_proto::{Connection, Event, Limits, Message, Opcode, Piece};

use crate::properties::{LIMITS, Way, any_stream};
use crate::support::*;

/// How one message is asked for after another.
type Turns<'a> = &'a mut dyn FnMut() -> bool;

/// Puts pieces together again. Of a message whose rest was passed over, what was told is in `skipped`.
#[derive(Default)]
pub(crate) struct Joiner {
    text: bool,
    payload: Vec<u8>,
    inside: bool,
    pub(crate) found: Vec<Event>,
    pub(crate) skipped: Vec<Vec<u8>>,
}

impl Joiner {
    pub(crate) fn take(&mut self, event: Event) {
        let Event::Piece(Piece { data, first, last }) = event else {
            let between = matches!(event, Event::Ping(_) | Event::Pong(_) | Event::Close(_));
            if !between && std::mem::take(&mut self.inside) {
                self.skipped.push(std::mem::take(&mut self.payload));
            }
            return self.found.push(event);
        };
        if first && std::mem::take(&mut self.inside) {
            self.skipped.push(std::mem::take(&mut self.payload));
        }
        assert_eq!(first, !self.inside);
        assert!(last || !data.is_empty(), "an empty piece");
        self.text = data.as_text().is_some();
        if let Some(text) = data.as_text() {
            assert!(std::str::from_utf8(text.as_bytes()).is_ok(), "half a character");
        }
        self.payload.extend_from_slice(data.as_bytes());
        self.inside = !last;
        if last {
            let payload = std::mem::take(&mut self.payload);
            let text = self.text.then(|| String::from_utf8(payload.clone()).unwrap());
            self.found.push(Event::Message(text.map_or_else(|| Message::from(payload), Message::from)));
        }
    }
}

/// As a driver does. `turns` tells whether to ask for a piece.
pub(crate) fn drive(
    connection: &mut Connection,
    bytes: &[u8],
    cuts: &[prop::sample::Index],
    turns: Turns<'_>,
) -> Joiner {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    let mut joiner = Joiner::default();
    let mut take = |connection: &mut Connection| {
        while let Some(event) = if turns() { connection.poll_piece() } else { connection.poll_event() } {
            joiner.take(event);
        }
    };
    for (cut, way) in at.windows(2).zip([Way::Direct, Way::InPlace].into_iter().cycle()) {
        way.receive(connection, &bytes[cut[0]..cut[1]]);
        take(connection);
        drop(connection.reclaim_input());
    }
    connection.receive_eof();
    take(connection);
    joiner
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn pieces_are_the_same_messages(
        bytes in any_stream(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let (mut whole, mut pieces) = (limited(LIMITS), limited(LIMITS));
        let expected = drive(&mut whole, &bytes, &[], &mut || false).found;
        prop_assert_eq!(drive(&mut pieces, &bytes, &cuts, &mut || true).found, expected);
        prop_assert_eq!(written(&mut pieces), written(&mut whole));
    }

    #[test]
    fn whole_messages_and_pieces_may_be_asked_for_in_turns(
        bytes in any_stream(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        turns in proptest::collection::vec(any::<bool>(), 1..20),
    ) {
        let (mut whole, mut mixed) = (limited(LIMITS), limited(LIMITS));
        let expected = drive(&mut whole, &bytes, &[], &mut || false).found;
        let mut turns = turns.into_iter().cycle();
        let joined = drive(&mut mixed, &bytes, &cuts, &mut || turns.next().unwrap());
        // In order, and none is missing but those whose rest was passed over.
        let mut skipped = joined.skipped.iter();
        let mut found = joined.found.iter().peekable();
        for event in &expected {
            if found.next_if_eq(&event).is_none() {
                let Event::Message(message) = event else { panic!("missing: {event:?}") };
                let begun = skipped.next().expect("a message is missing of which no piece was told");
                prop_assert!(message.as_bytes().starts_with(begun));
            }
        }
        prop_assert_eq!(found.next(), None);
    }
}

#[test]
fn a_fragment_is_told_before_the_message_ends() {
    let mut connection = server();
    connection.receive(BytesMut::from(&masked(&hex("01 03 48656c 89 00 80 02 6c6f"))[..]));
    let piece = |text, first, last| Some(Event::Piece(Piece { data: Message::from(text), first, last }));
    assert_eq!(connection.poll_piece(), piece("Hel", true, false));
    assert_eq!(connection.poll_piece(), Some(Event::Ping(Bytes::new())));
    assert_eq!(connection.poll_piece(), piece("lo", false, true));
    assert_eq!(connection.poll_piece(), None);
    assert_eq!(to_hex(&written(&mut connection)), "8a 00");
}

#[test]
fn text_is_cut_between_characters() {
    // "aé🌍" in fragments that cut both characters, the second twice.
    let mut connection = client();
    let mut texts = Vec::new();
    connection.receive(BytesMut::from(&hex("01 02 61c3 00 02 a9f0 00 01 9f 80 02 8c8d")[..]));
    while let Some(Event::Piece(piece)) = connection.poll_piece() {
        texts.push((piece.data.as_text().unwrap().to_owned(), piece.last));
    }
    assert_eq!(texts, [("a".into(), false), ("é".into(), false), ("🌍".into(), true)]);
    for (bytes, pieces) in [("01 01 61 00 01 ff", 1), ("01 02 61c3 80 00", 1), ("01 01 c3 80 01 61", 0)] {
        let mut connection = client();
        connection.receive(BytesMut::from(&hex(bytes)[..]));
        let told = std::iter::from_fn(|| connection.poll_piece()).collect::<Vec<_>>();
        assert_eq!(show(told.last().unwrap()), "Failed(InvalidUtf8)", "{bytes}");
        assert_eq!(told.len() - 1, pieces, "{bytes}");
    }
}

#[test]
fn what_was_collected_is_the_first_piece() {
    for (length, direct) in [(10, false), (40_000, true)] {
        let mut connection = server();
        let bytes = masked(&frame(true, Opcode::Binary, &vec![7; 3 * length]));
        let (begin, rest) = bytes.split_at(length);
        assert!(feed(&mut connection, begin).is_empty());
        drop(connection.reclaim_input());
        // Read there already, and not yet looked at.
        let (read, rest) = rest.split_at(length);
        match connection.read_buffer() {
            Some(buffer) if direct => buffer.extend_from_slice(read),
            _ => connection.receive(BytesMut::from(read)),
        }
        let Some(Event::Piece(first)) = connection.poll_piece() else { panic!() };
        assert!(first.first && !first.last && first.data.len() + 14 >= length, "{}", first.data.len());
        assert!(connection.read_buffer().is_none());
        let mut joiner = Joiner::default();
        joiner.take(Event::Piece(first));
        std::iter::from_fn(|| connection.poll_piece()).for_each(|event| joiner.take(event));
        connection.receive(BytesMut::from(rest));
        std::iter::from_fn(|| connection.poll_piece()).for_each(|event| joiner.take(event));
        assert_eq!(joiner.found, [Event::Message(Message::from(vec![7; 3 * length]))]);
    }
}

#[test]
fn limits_hold_for_all_pieces_together() {
    let cases = [
        (Limits { message_bytes_max: 10, ..Limits::default() }, "MessageTooBig { bytes: 12, max: 10 }"),
        (Limits { fragments_max: 2, ..Limits::default() }, "TooManyFragments { max: 2 }"),
        (Limits { frame_bytes_max: 3, ..Limits::default() }, "FrameTooBig { bytes: 4, max: 3 }"),
    ];
    for (limits, error) in cases {
        let mut connection = limited(limits);
        let frames = "02 04 01020304 00 04 01020304 80 04 01020304";
        connection.receive(BytesMut::from(&masked(&hex(frames))[..]));
        let told = std::iter::from_fn(|| connection.poll_piece()).collect::<Vec<_>>();
        assert_eq!(show(told.last().unwrap()), format!("Failed({error})"));
    }
}

const GIB: u64 = 1 << 30;

#[test]
fn a_message_of_a_tebibyte_costs_a_buffer() {
    let mut connection = limited(Limits::NONE);
    let mut header = hex("82 ff");
    header.extend_from_slice(&(1024 * GIB).to_be_bytes());
    header.extend_from_slice(&[0; 4]);
    let chunk = vec![0; 64 * 1024];
    let info = measure(|| {
        connection.receive(BytesMut::from(&header[..]));
        assert_eq!(connection.poll_piece(), None);
        let mut told = 0;
        while told < 256 << 20 {
            connection.receive(BytesMut::from(&chunk[..]));
            while let Some(Event::Piece(piece)) = connection.poll_piece() {
                assert!(!piece.last);
                told += piece.data.len();
            }
            drop(connection.reclaim_input());
        }
    });
    assert!(info.bytes_max < 80 * 1024, "{} bytes", info.bytes_max);
}

#[cfg(feature = "deflate")]
mod compressed {
    use switchboard_ws_proto::deflate::{Tuning, compress_frame};

    use super::*;
    use crate::deflate::{ALONE, TAKEOVER, agreed};
    use crate::support::CLIENT;

    #[test]
    fn a_bomb_of_128_mib_costs_its_pieces() {
        let bomb = compress_frame(Opcode::Binary, &vec![0; 128 << 20], 15, Tuning { level: 9, ..Tuning::default() });
        let most = std::thread::scope(|scope| {
            let run = || {
                let mut connection = agreed(CLIENT, ALONE, Limits::NONE);
                let info = measure(|| {
                    let mut told = 0;
                    connection.receive(BytesMut::from(&bomb[..]));
                    while let Some(Event::Piece(piece)) = connection.poll_piece() {
                        assert!(piece.data.len() <= 12 * 1024);
                        told += piece.data.len();
                    }
                    assert_eq!(told, 128 << 20);
                });
                usize::try_from(info.bytes_max).unwrap() - bomb.len()
            };
            scope.spawn(run).join().unwrap()
        });
        // The decompressor's window and a block or two.
        assert!(most < 128 * 1024, "{most} bytes");
    }

    #[test]
    fn the_limit_is_of_what_it_is_inflated_to() {
        let bomb = compress_frame(Opcode::Binary, &vec![0; 1 << 20], 15, Tuning::default());
        let limits = Limits { message_bytes_max: 100_000, ..Limits::default() };
        let mut connection = agreed(CLIENT, ALONE, limits);
        connection.receive(BytesMut::from(&bomb[..]));
        let told = std::iter::from_fn(|| connection.poll_piece()).collect::<Vec<_>>();
        assert_eq!(show(told.last().unwrap()), "Failed(MessageTooBig { bytes: 100001, max: 100000 })");
    }

    fn any_text() -> impl Strategy<Value = String> {
        // Some far longer than a block, some that hardly compress.
        ("[a-zé€🌍]{0,40}", prop_oneof![8 => Just(1usize), 2 => 2usize..3000])
            .prop_map(|(text, times)| text.repeat(times))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn compressed_pieces_are_the_same_messages(
            texts in proptest::collection::vec((any_text(), any::<bool>(), 1usize..4), 1..6),
            answer in prop::sample::select(&[TAKEOVER, ALONE][..]),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
            spoiled in proptest::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
            skip: bool,
        ) {
            let mut sender = agreed(CLIENT, answer, Limits::default());
            for (text, binary, parts) in &texts {
                let opcode = if *binary { Opcode::Binary } else { Opcode::Text };
                let size = text.len().div_ceil(*parts).max(1);
                let mut left = Bytes::from(text.clone().into_bytes());
                let mut opcode = opcode;
                loop {
                    let part = left.split_to(size.min(left.len()));
                    sender.send_fragment(opcode, left.is_empty(), part).unwrap();
                    opcode = Opcode::Continuation;
                    if left.is_empty() {
                        break;
                    }
                }
            }
            let mut bytes = written(&mut sender);
            if let Some((at, bits)) = spoiled {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            let receiver = || agreed(switchboard_ws_proto::Role::Server, answer, LIMITS);
            let expected = drive(&mut receiver(), &bytes, &[], &mut || false).found;
            prop_assert_eq!(&drive(&mut receiver(), &bytes, &cuts, &mut || true).found, &expected);
            if skip {
                // Passing over the rest of a message must leave the context as it would be.
                let mut turn = 0;
                let joined = drive(&mut receiver(), &bytes, &cuts, &mut || { turn += 1; turn % 3 == 0 });
                prop_assert_eq!(joined.found.last(), expected.last());
                prop_assert_eq!(joined.found.len() + joined.skipped.len() >= expected.len(), true);
            }
        }
    }
}
