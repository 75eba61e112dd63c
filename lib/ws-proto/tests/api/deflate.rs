//! Compressed messages: the examples of RFC 7692 §7.2.3, what other compressors send, RSV1's rules, malformed streams and limits.

use proptest::prelude::*;
use switchboard_ws_proto::deflate::{Agreed, Policy, Tuning, compress_frame};
use switchboard_ws_proto::{Config, Connection, Event, Limits, Message, Opcode, Role};

use crate::support::*;

/// For a connection on which `answer` is agreed. Everything is compressed.
pub(crate) fn config(answer: &str, limits: Limits) -> Config {
    let offer = Policy::default().context_takeover(true).peer_context_takeover(true).offer();
    let params = offer.check([answer]).unwrap().unwrap();
    let tuning = Tuning { message_bytes_min: 0, ..Tuning::default() };
    Config::default().limits(limits).deflate(Some(Agreed { params, tuning }))
}

pub(crate) fn agreed(role: Role, answer: &str, limits: Limits) -> Connection {
    Connection::new(role, config(answer, limits))
}

pub(crate) const TAKEOVER: &str = "permessage-deflate";
pub(crate) const ALONE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The same frames to both roles, with and without takeover, in one piece and byte by byte.
#[track_caller]
fn check_compressed(frames: &str, expected: &[&str]) {
    for answer in [TAKEOVER, ALONE] {
        check_agreed(answer, frames, expected);
    }
}

#[track_caller]
fn check_agreed(answer: &str, frames: &str, expected: &[&str]) {
    let bytes = hex(frames);
    for (role, bytes) in [(CLIENT, bytes.clone()), (Role::Server, masked(&bytes))] {
        let whole = feed(&mut agreed(role, answer, Limits::default()), &bytes);
        assert_eq!(whole, expected, "{role:?}, {answer}: {frames}");
        let cut = one_by_one(&mut agreed(role, answer, Limits::default()), &bytes);
        assert_eq!(cut, expected, "{role:?}, {answer}, byte by byte: {frames}");
    }
}

#[test]
fn examples_of_the_standard() {
    // §7.2.3.1, and in two fragments.
    check_compressed("c1 07 f248cdc9c90700", &["Text(Hello)"]);
    check_compressed("41 03 f248cd 80 04 c9c90700", &["Text(Hello)"]);
    // §7.2.3.2: the second message looks back into the first.
    check_agreed(TAKEOVER, "c1 07 f248cdc9c90700 c1 05 f200110000", &["Text(Hello)", "Text(Hello)"]);
    check_agreed(ALONE, "c1 07 f248cdc9c90700 c1 07 f248cdc9c90700", &["Text(Hello)", "Text(Hello)"]);
    // §7.2.3.3: a block without compression.
    check_compressed("c1 0b 000500faff48656c6c6f00", &["Text(Hello)"]);
    // §7.2.3.4: a final block, and an empty one behind it.
    check_compressed("c1 08 f348cdc9c9070000", &["Text(Hello)"]);
    // §7.2.3.5: two blocks.
    check_compressed("c1 0d f2480500 0000ffff cac9c90700", &["Text(Hello)"]);
    // §7.2.3.6: an empty message, and an empty last fragment.
    check_compressed("c1 01 00", &["Text()"]);
    check_compressed("41 07 f248cdc9c90700 80 05 0000ffff00", &["Text(Hello)"]);
}

#[test]
fn what_others_send() {
    // Nothing at all, as zlib gives for a second empty message.
    check_compressed("c1 00", &["Text()"]);
    check_agreed(TAKEOVER, "c1 07 f248cdc9c90700 c1 00 c1 05 f200110000", &["Text(Hello)", "Text()", "Text(Hello)"]);
    // A final block with nothing behind it, and then another message.
    check_compressed("c1 07 f348cdc9c90700 c1 07 f248cdc9c90700", &["Text(Hello)", "Text(Hello)"]);
    // A final block in the middle.
    check_compressed("c1 0e f348cdc9c90700 f248cdc9c90700", &["Text(HelloHello)"]);
    // What is not worth it is sent as it is, between what is.
    check_agreed(
        TAKEOVER,
        "c1 07 f248cdc9c90700 81 01 78 c1 05 f200110000",
        &["Text(Hello)", "Text(x)", "Text(Hello)"],
    );
    // Bytes, and the empty fragments that a compressor leaves.
    check_compressed("c2 07 f248cdc9c90700", &["Binary(48 65 6c 6c 6f)"]);
    check_compressed("42 00 00 00 00 07 f248cdc9c90700 80 00", &["Binary(48 65 6c 6c 6f)"]);
}

#[test]
fn python_made_these() {
    let numbers: String = (0..40).map(|number| format!("{{\"n\":{number}}}")).collect();
    for (how, compressed) in NUMBERS {
        let frame = compressed_frame(Opcode::Text, &hex(compressed));
        for answer in [TAKEOVER, ALONE] {
            let mut connection = agreed(CLIENT, answer, Limits::default());
            for _ in 0..2 {
                connection.receive(frame[..].into());
                assert_eq!(connection.poll_event(), Some(Event::Message(Message::from(numbers.clone()))), "{how}");
            }
        }
    }
    let mut connection = agreed(CLIENT, TAKEOVER, Limits::default());
    for (compressed, text) in WITH_CONTEXT {
        let found = feed(&mut connection, &compressed_frame(Opcode::Text, &hex(compressed)));
        assert_eq!(found, [format!("Text({text})")]);
    }
}

/// `zlib.compressobj(6, zlib.DEFLATED, -15)`, each message flushed by `Z_SYNC_FLUSH`, without the tail.
const WITH_CONTEXT: [(&str, &str); 3] = [
    ("2ac94855284acccc5300a2e002200300", "the rain in Spain"),
    ("2a2e49ac2c56c805b2722a41822540050539402e00", "stays mainly in the plain"),
    ("2a415209170400", "the rain in the plain"),
];

/// `{"n":0}{"n":1}…` by `zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)`.
const NUMBERS: [(&str, &str); 3] = [
    (
        "level 9, a block with codes of its own",
        "34cfcb0d80301003d15e5201b6f985a268204aef08ede434a77df28ef6b6679be38f2aaea4b2578eca59b92a77a573be181c01094950c21298d004273ce379e\
         dc2339ef18c673ce319cf78c10b5ed6a378c10b5ef08217bcf4f901",
    ),
    (
        "Z_HUFFMAN_ONLY",
        "04c10111c3400c03412e87206fa76d225022a011f7ee06a3abc1e834184d83d13618dd0d469f06a36f83d1afc1e869307a1b8cced560744e83d19906a3b30d4\
         6e76e303a9f06a3f36d303abf06a3f334189db7c168ae06a3390d46330d46b30d46733718cda7c168be0d46f36b309aa7c168de06a3bd1a8cf63418ed3418ed\
         3618eddd60b49f06a3fd3618edafc1689f06a37dfb07",
    ),
    (
        "Z_FINISH, which ends the stream",
        "35cfcb0d80301003d15e5201b6f985a268204aef08ede434a77df28ef6b6679be38f2aaea4b2578eca59b92a77a573be181c01094950c21298d004273ce379e\
         dc2339ef18c673ce319cf78c10b5ed6a378c10b5ef08217bcf4f901",
    ),
];

fn compressed_frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(true, opcode, payload);
    bytes[0] |= 0x40;
    bytes
}

#[test]
fn rsv1_marks_the_first_frame_and_no_other() {
    check_compressed("41 03 f248cd c0 04 c9c90700", &["Failed(ReservedBits(4))"]);
    check_compressed("c0 00", &["Failed(ReservedBits(4))"]);
    check_compressed("c9 00", &["Failed(ReservedBits(4))"]);
    check_compressed("ca 00", &["Failed(ReservedBits(4))"]);
    check_compressed("c8 00", &["Failed(ReservedBits(4))"]);
    check_compressed("41 03 f248cd c9 00", &["Failed(ReservedBits(4))"]);
    check_compressed("41 03 f248cd c1 07 f248cdc9c90700", &["Failed(ReservedBits(4))"]);
    check_compressed("41 03 f248cd 81 01 78", &["Failed(ExpectedContinuation)"]);
    // The others have no meaning still.
    check_compressed("a1 00", &["Failed(ReservedBits(2))"]);
    check_compressed("91 00", &["Failed(ReservedBits(1))"]);
    check_compressed("e1 00", &["Failed(ReservedBits(6))"]);
    // A message that was not begun as a compressed one is not.
    check_compressed("01 02 4865 c0 03 6c6c6f", &["Failed(ReservedBits(4))"]);
    check_compressed("01 02 4865 80 03 6c6c6f", &["Text(Hello)"]);
    // And none is where that was not agreed.
    check("c1 07 f248cdc9c90700", &["Failed(ReservedBits(4))"]);
}

#[test]
fn control_frames_come_between() {
    check_compressed("41 03 f248cd 89 01 78 80 04 c9c90700", &["Ping(78)", "Text(Hello)"]);
    check_compressed("41 03 f248cd 8a 00 00 00 88 02 03e8", &["Pong()", "Close(1000 )"]);
}

#[test]
fn malformed_streams() {
    let table = [
        // A block of type 3; lengths that are not each other's complement; codes that are none.
        "c1 01 07",
        "c1 01 06",
        "c1 06 00 0100 0000 61",
        "c1 08 ed c0 01 01 00 00 00 00",
        "c1 05 04 00 ff ff ff",
        // Back behind the beginning.
        "c1 05 f200110000",
        // Cut off inside of a block, behind its header, inside of a block without compression.
        "c1 03 f248cd",
        "c1 05 000500faff",
        "c1 07 000500faff4865",
        "41 03 f248cd 80 00",
        // The tail, which is to be left out.
        "c1 0b f248cdc9c907000000ffff",
    ];
    for frames in table {
        check_compressed(frames, &["Failed(InvalidCompression)"]);
        let mut connection = agreed(Role::Server, TAKEOVER, Limits::default());
        feed(&mut connection, &masked(&hex(frames)));
        // 1007: RFC 6455 §7.4.1, data that is not consistent with the type of the message.
        let told = feed(&mut client(), &written(&mut connection));
        assert_eq!(told, ["Close(1007 message cannot be inflated)"], "{frames}");
    }
}

#[test]
fn text_fails_at_its_first_bad_byte() {
    // A block without compression, so that each byte comes out as it goes in.
    let bad = hex("c1 10 000a00f5ff 6162ed a0 80 616263646500");
    let mut connection = agreed(CLIENT, TAKEOVER, Limits::default());
    let mut taken = 0;
    while feed(&mut connection, &bad[taken..=taken]).is_empty() {
        taken += 1;
    }
    assert_eq!(bad[taken], 0xa0);
    assert_eq!(written(&mut connection)[0], 0x88);
    // Its end cuts a character.
    check_compressed("c1 09 000300fcff 6162c300", &["Failed(InvalidUtf8)"]);
    check_compressed("41 08 000300fcff6162c3 80 07 000100feff7800", &["Failed(InvalidUtf8)"]);
    check_compressed("c2 09 000300fcff 6162c300", &["Binary(61 62 c3)"]);
}

fn zeros(length: usize) -> Vec<u8> {
    let frame = compress_frame(Opcode::Binary, &vec![0; length], 15, Tuning::default());
    assert!(length == 0 || frame[0] == 0xc2);
    frame.to_vec()
}

#[test]
fn limits_are_of_what_is_inflated() {
    for max in [1000, 16 * 1024, 100_000] {
        let limits = Limits { message_bytes_max: max, ..Limits::default() };
        for answer in [TAKEOVER, ALONE] {
            let mut connection = agreed(CLIENT, answer, limits);
            assert_eq!(feed(&mut connection, &zeros(max)), [format!("Binary({max} bytes)")]);
            let failed = format!("Failed(MessageTooBig {{ bytes: {}, max: {max} }})", max + 1);
            assert_eq!(feed(&mut connection, &zeros(max + 1)), [&*failed]);
            assert_eq!(written(&mut connection)[0], 0x88);
            let mut connection = agreed(CLIENT, answer, limits);
            assert_eq!(one_by_one(&mut connection, &zeros(max + 20_000)), [&*failed]);
        }
    }
    // Compression may make a message longer, of a fragment too.
    let limits = Limits { message_bytes_max: 5, frame_bytes_max: 11, ..Limits::default() };
    let stored = hex("c1 0b 000500faff48656c6c6f00");
    assert_eq!(feed(&mut agreed(CLIENT, TAKEOVER, limits), &stored), ["Text(Hello)"]);
    let limits = Limits { frame_bytes_max: 10, ..limits };
    assert_eq!(feed(&mut agreed(CLIENT, TAKEOVER, limits), &stored), ["Failed(FrameTooBig { bytes: 11, max: 10 })"]);
}

#[test]
fn a_message_that_inflates_to_nothing_ends() {
    let limits = Limits { message_bytes_max: 1000, fragments_max: usize::MAX, ..Limits::default() };
    let mut connection = agreed(CLIENT, TAKEOVER, limits);
    let empty_blocks = hex("0000 00ff ff").repeat(100);
    let mut found = feed(&mut connection, &[&[0x42, 126, 1, 244][..], &empty_blocks].concat());
    let mut fragments = 1;
    while found.is_empty() && fragments < 100 {
        found = feed(&mut connection, &[&[0x00, 126, 1, 244][..], &empty_blocks].concat());
        fragments += 1;
    }
    assert_eq!(found, [format!("Failed(MessageTooBig {{ bytes: {}, max: 1000 }})", fragments * 500)]);
    assert!(fragments < 40);
}

#[test]
fn a_frame_declared_too_long_fails_at_once() {
    let limits = Limits { message_bytes_max: 1000, ..Limits::default() };
    let mut connection = agreed(CLIENT, TAKEOVER, limits);
    assert_eq!(
        feed(&mut connection, &hex("c2 7f 4000000000000000")),
        ["Failed(MessageTooBig { bytes: 4611686018427387904, max: 1000 })"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Streams that are right, and such in which a byte was changed, dropped or added: the same events however they are cut.
    #[test]
    fn any_split_of_the_same_bytes_yields_the_same_events(
        payloads in proptest::collection::vec((any_payload(), any::<bool>(), 1usize..4), 1..5),
        damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>(), 0..3u8)),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        takeover: bool,
        reclaim: bool,
    ) {
        let answer = if takeover { TAKEOVER } else { ALONE };
        let mut sender = agreed(Role::Server, answer, Limits::default());
        for (payload, text, parts) in payloads {
            send(&mut sender, payload, text, parts);
        }
        let mut bytes = written(&mut sender);
        if let Some((at, byte, how)) = damage {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        let whole = drive(&bytes, &[0, bytes.len()], answer, false);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        prop_assert_eq!(drive(&bytes, &at, answer, reclaim), whole.clone());
        let each: Vec<usize> = (0..=bytes.len()).collect();
        if bytes.len() < 5000 {
            prop_assert_eq!(drive(&bytes, &each, answer, reclaim), whole);
        }
    }

    #[test]
    fn no_compressed_bytes_do_harm(payload in proptest::collection::vec(any::<u8>(), 0..300), fragments: bool) {
        let mut bytes = compressed_frame(Opcode::Binary, &payload);
        if fragments {
            bytes[0] &= 0x7f;
            bytes.extend_from_slice(&frame(true, Opcode::Continuation, &payload));
        }
        let limits = Limits { message_bytes_max: 10_000, ..Limits::default() };
        for answer in [TAKEOVER, ALONE] {
            let whole = feed(&mut agreed(CLIENT, answer, limits), &bytes);
            prop_assert_eq!(one_by_one(&mut agreed(CLIENT, answer, limits), &bytes), whole);
        }
    }
}

pub(crate) fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-e]{0,40}".prop_map(String::into_bytes),
        4 => ("[a-z ]{1,30}", 1usize..2000).prop_map(|(words, times)| words.repeat(times).into_bytes()),
        2 => proptest::collection::vec(any::<u8>(), 0..2000),
        1 => (any::<u8>(), 16_000usize..40_000).prop_map(|(byte, length)| vec![byte; length]),
        1 => "[a-zé€🌍]{0,400}".prop_map(String::into_bytes),
    ]
}

/// `parts` fragments. Bytes that are no text are sent as binary.
pub(crate) fn send(sender: &mut Connection, payload: Vec<u8>, text: bool, parts: usize) {
    let message = match String::from_utf8(payload) {
        Ok(payload) if text => Message::from(payload),
        Ok(payload) => Message::from(payload.into_bytes()),
        Err(error) => Message::from(error.into_bytes()),
    };
    if parts == 1 {
        return sender.send(message).unwrap();
    }
    let mut opcode = if message.as_text().is_some() { Opcode::Text } else { Opcode::Binary };
    let mut rest = message.into_bytes();
    let step = rest.len().div_ceil(parts);
    for part in 1..=parts {
        let piece = rest.split_to(step.min(rest.len()));
        sender.send_fragment(opcode, part == parts, piece).unwrap();
        sender.ping(b"between").unwrap();
        opcode = Opcode::Continuation;
    }
}

/// Ends with the error, if there is one, and what was queued for the peer.
fn drive(bytes: &[u8], at: &[usize], answer: &str, reclaim: bool) -> (Vec<Event>, Vec<u8>) {
    let limits = Limits { message_bytes_max: 30_000, ..Limits::default() };
    let mut connection = Connection::new(Role::Client { mask_seed: [1; 32] }, config(answer, limits));
    let mut found = Vec::new();
    for cut in at.windows(2) {
        connection.receive(bytes[cut[0]..cut[1]].into());
        found.extend(std::iter::from_fn(|| connection.poll_event()));
        if reclaim {
            drop(connection.reclaim_input());
        }
    }
    (found, written(&mut connection))
}
