//! What comes out for which bytes.

use bytes::BytesMut;
use switchboard_ws_proto::{Connection, Event, Limits, Opcode};

use crate::support::*;

#[test]
fn the_examples_of_the_standard() {
    // RFC 6455 §5.7.
    check("81 05 48656c6c6f", &["Text(Hello)"]);
    check("01 03 48656c 80 02 6c6f", &["Text(Hello)"]);
    check("89 05 48656c6c6f", &["Ping(48 65 6c 6c 6f)"]);
    check("8a 05 48656c6c6f", &["Pong(48 65 6c 6c 6f)"]);
    assert_eq!(feed(&mut server(), &hex("81 85 37fa213d 7f9f4d5158")), ["Text(Hello)"]);
    assert_eq!(feed(&mut client(), &hex("82 7e 0100 ab*256")), ["Binary(256 bytes)"]);
    assert_eq!(feed(&mut client(), &hex("82 7f 0000000000010000 ab*65536")), ["Binary(65536 bytes)"]);
}

#[test]
fn messages_and_fragments() {
    check("", &[]);
    check("81 00", &["Text()"]);
    check("82 00", &["Binary()"]);
    check("81 00 82 00 81 01 61", &["Text()", "Binary()", "Text(a)"]);
    check("01 00 00 00 80 00", &["Text()"]);
    check("02 01 01 00 00 80 01 02", &["Binary(01 02)"]);
    // A character over three fragments.
    check("01 02 61e2 00 01 82 80 02 ac62", &["Text(a€b)"]);
    // Control frames between fragments (§5.4), and a whole message after them.
    check("01 01 61 89 01 70 8a 00 80 01 62 81 01 63", &["Ping(70)", "Pong()", "Text(ab)", "Text(c)"]);
    check("01 01 61 88 02 03e8", &["Close(1000 )"]);
    check("82 7d 00*125 82 7e 007e 00*126", &["Binary(125 bytes)", "Binary(126 bytes)"]);
    check("89 7d 00*125", &["Ping(125 bytes)"]);
}

#[test]
fn broken_rules() {
    check("c1 00", &["Failed(ReservedBits(4))"]);
    check("a1 00", &["Failed(ReservedBits(2))"]);
    check("99 00", &["Failed(ReservedBits(1))"]);
    check("80 00", &["Failed(UnexpectedContinuation)"]);
    check("00 00", &["Failed(UnexpectedContinuation)"]);
    check("01 00 81 00", &["Failed(ExpectedContinuation)"]);
    check("01 00 02 00", &["Failed(ExpectedContinuation)"]);
    check("01 01 61 80 00 80 00", &["Text(a)", "Failed(UnexpectedContinuation)"]);
    // What came before is told.
    check("81 01 61 c1 00 81 01 62", &["Text(a)", "Failed(ReservedBits(4))"]);
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let expected = format!("Failed(ReservedOpcode({opcode}))");
        for second in [0x80, 0x00] {
            assert_eq!(feed(&mut server(), &[0x80 | opcode, second]), [&*expected]);
            assert_eq!(feed(&mut client(), &[opcode, second]), [&*expected]);
        }
    }
    for opcode in ["08", "09", "0a"] {
        assert_eq!(feed(&mut client(), &hex(&format!("{opcode} 00"))), ["Failed(ControlFragmented)"]);
    }
    for opcode in ["88", "89", "8a"] {
        assert_eq!(feed(&mut client(), &hex(&format!("{opcode} 7e"))), ["Failed(ControlTooLong)"]);
        assert_eq!(feed(&mut client(), &hex(&format!("{opcode} 7f"))), ["Failed(ControlTooLong)"]);
    }
    assert_eq!(feed(&mut server(), &hex("81 00")), ["Failed(Unmasked)"]);
    assert_eq!(feed(&mut client(), &hex("81 80 00000000")), ["Failed(Masked)"]);
    assert_eq!(feed(&mut client(), &hex("82 7e 007d")), ["Failed(LengthNotMinimal(125))"]);
    assert_eq!(feed(&mut client(), &hex("82 7f 000000000000ffff")), ["Failed(LengthNotMinimal(65535))"]);
    assert_eq!(feed(&mut client(), &hex("82 7f 8000000000000000")), ["Failed(LengthOverflow)"]);
    assert_eq!(feed(&mut client(), &hex("82 7f ffffffffffffffff")), ["Failed(LengthOverflow)"]);
}

#[test]
fn text_fails_at_its_first_bad_byte() {
    check("81 03 61ff62", &["Failed(InvalidUtf8)"]);
    check("81 02 61c3", &["Failed(InvalidUtf8)"]);
    check("01 02 61c3 80 01 61", &["Failed(InvalidUtf8)"]);
    check("01 02 61c3 80 00", &["Failed(InvalidUtf8)"]);
    // A surrogate, an overlong form, past the last character: bad before the frame, and the character, are whole.
    for bad in ["eda0", "e080", "f490", "c0", "f5", "ff"] {
        let mut connection = client();
        assert_eq!(feed(&mut connection, &hex(&format!("81 7e 1000 61*10 {bad}"))), ["Failed(InvalidUtf8)"], "{bad}");
        assert_eq!(written(&mut connection)[0], 0x88);
    }
    // Good so far.
    for good in ["ed", "e0a0", "f48f", "c3"] {
        assert_eq!(feed(&mut client(), &hex(&format!("81 7e 1000 61*10 {good}"))), Vec::<String>::new(), "{good}");
    }
    // Binary may be anything.
    check("82 01 ff", &["Binary(ff)"]);
}

/// Short text is looked at while it is unmasked: wherever the byte is that makes it none.
#[test]
fn one_bad_byte_anywhere_in_a_short_text() {
    for length in [1, 3, 4, 7, 8, 20, 125, 126, 127, 128, 129] {
        for bad in 0..length {
            let mut text = vec![b'a'; length];
            text[bad] = 0xff;
            let found = feed(&mut server(), &masked(&frame(true, Opcode::Text, &text)));
            assert_eq!(found, ["Failed(InvalidUtf8)"], "byte {bad} of {length}");
        }
    }
}

/// Asked first each time, it changes nothing of what is told; `expected` says which of it the shortcut told.
#[test]
fn small_messages_by_the_shortcut() {
    for (frames, expected) in [
        ("81 01 61 82 02 0102 82 01 03", "s s s"),
        ("81 00 81 7d 61*125 81 7e007e 61*126 81 01 61", ". s . s"),
        // Not within a message of fragments, and a ping is no message.
        ("01 01 61 89 00 80 01 62 81 01 63", ". . s"),
        ("81 01 61 81 01 ff 81 01 61", "s ."),
        ("81 01 61 88 00 81 01 61", "s ."),
        ("82 01 01 c2 01 01", "s ."),
    ] {
        let bytes = masked(&hex(frames));
        let general = feed(&mut server(), &bytes);
        let (mut connection, mut found, mut by) = (server(), Vec::new(), Vec::new());
        connection.receive(BytesMut::from(&bytes[..]));
        loop {
            let small = connection.poll_small_message().map(Event::Message);
            by.push(if small.is_some() { "s" } else { "." });
            let Some(event) = small.or_else(|| connection.poll_event()) else { break };
            found.push(show(&event));
        }
        by.pop();
        assert_eq!((found, &by.join(" ")[..]), (general, expected), "{frames}");
    }
    // A client's frames have no mask.
    let mut connection = client();
    connection.receive(BytesMut::from(&hex("81 06 616263646566")[..]));
    assert_eq!(connection.poll_small_message(), None);
    assert_eq!(events(&mut connection), ["Text(abcdef)"]);
}

#[test]
fn a_failure_is_answered_and_then_the_peer_is_ignored() {
    for (bytes, code, reason) in [
        ("c1 80 00000000", 1002, "reserved bits are set (RSV 100)"),
        ("81 81 00000000 ff", 1007, "text is not UTF-8"),
        (
            "82 ff 0000000100000000 00000000",
            1009,
            "message has at least 4294967296 bytes, more than the limit of 16777216",
        ),
    ] {
        let mut connection = server();
        assert_eq!(feed(&mut connection, &hex(bytes)).len(), 1);
        assert_eq!(feed(&mut connection, &hex("81 81 00000000 61")), Vec::<String>::new());
        assert_eq!(feed(&mut client(), &written(&mut connection)), [format!("Close({code} {reason})")], "{bytes}");
        assert!(connection.should_shut_down_write() && !connection.is_open() && !connection.is_finished());
        connection.receive_eof();
        assert_eq!(events(&mut connection), ["Eof(clean: false)"]);
        assert!(connection.is_finished());
    }
}

#[test]
fn limits() {
    let limits = Limits { message_bytes_max: 10, frame_bytes_max: 6, fragments_max: 3 };
    let run = |frames: &str| feed(&mut limited(limits), &masked(&hex(frames)));
    assert_eq!(run("82 06 00*6"), ["Binary(00 00 00 00 00 00)"]);
    assert_eq!(run("82 07 00*7"), ["Failed(FrameTooBig { bytes: 7, max: 6 })"]);
    assert_eq!(run("02 06 00*6 80 04 00*4"), ["Binary(00 00 00 00 00 00 00 00 00 00)"]);
    assert_eq!(run("02 06 00*6 80 05 00*5"), ["Failed(MessageTooBig { bytes: 11, max: 10 })"]);
    assert_eq!(run("02 00 00 00 80 00 02 00 00 00 80 00"), ["Binary()", "Binary()"]);
    assert_eq!(run("02 00 00 00 00 00 00 00"), ["Failed(TooManyFragments { max: 3 })"]);
    // Pings are no fragments, and no payload of the message.
    assert_eq!(
        run("02 00 89 00 00 00 89 00 89 07 00*7 80 00"),
        ["Ping()", "Ping()", "Ping(00 00 00 00 00 00 00)", "Binary()"]
    );
    // The header is enough: nothing of the payload needs to come.
    assert_eq!(feed(&mut limited(limits), &hex("82 8b 00000000")), ["Failed(FrameTooBig { bytes: 11, max: 6 })"]);
    // Each limit by itself holds for a message that comes whole.
    let alone = |limits: Limits| feed(&mut limited(limits), &masked(&hex("82 06 00*6")));
    let none = Limits::NONE;
    assert_eq!(alone(Limits { message_bytes_max: 5, ..none }), ["Failed(MessageTooBig { bytes: 6, max: 5 })"]);
    assert_eq!(alone(Limits { frame_bytes_max: 5, ..none }), ["Failed(FrameTooBig { bytes: 6, max: 5 })"]);
    assert_eq!(alone(Limits { fragments_max: 0, ..none }), ["Failed(TooManyFragments { max: 0 })"]);
    assert_eq!(
        alone(Limits { message_bytes_max: 6, frame_bytes_max: 6, fragments_max: 1 }),
        ["Binary(00 00 00 00 00 00)"]
    );
    let mut raised = limited(limits);
    raised.set_limits(Limits::default());
    assert_eq!(feed(&mut raised, &masked(&hex("82 40 00*64"))), ["Binary(64 bytes)"]);
}

#[test]
fn lengths_at_their_edges() {
    for length in [0, 1, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537, 100_000] {
        let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let frames = masked(&frame(true, Opcode::Binary, &payload));
        for step in [1, 7, 4096, frames.len()] {
            let mut connection = server();
            let mut found = Vec::new();
            for chunk in frames.chunks(step) {
                connection.receive(BytesMut::from(chunk));
                found.extend(std::iter::from_fn(|| connection.poll_event()));
                drop(connection.reclaim_input());
            }
            let [switchboard_ws_proto::Event::Message(message)] = &found[..] else { panic!("{length}: {found:?}") };
            assert!(message.as_bytes() == payload, "{length} in steps of {step}");
        }
    }
}

#[test]
fn a_payload_that_lies_whole_in_the_buffer_is_not_copied() {
    let mut connection = server();
    let chunk = BytesMut::from(&masked(&frame(true, Opcode::Text, &[b'x'; 50]))[..]);
    let payload_at = chunk.as_ptr() as usize + 6;
    connection.receive(chunk);
    let Some(switchboard_ws_proto::Event::Message(message)) = connection.poll_event() else { panic!() };
    assert_eq!(message.as_bytes().as_ptr() as usize, payload_at);
}

#[test]
fn buffers_go_back_to_their_pool() {
    let mut connection = server();
    let mut chunk = BytesMut::with_capacity(1000);
    chunk.extend_from_slice(&masked(&hex("81 01 61 81 02 6162")));
    // The end of the second frame is missing.
    chunk.truncate(chunk.len() - 1);
    let start = chunk.as_ptr();
    connection.receive(chunk);
    assert!(connection.reclaim_input().is_none(), "events wait in it");
    assert_eq!(events(&mut connection), ["Text(a)"]);
    let mut chunk = connection.reclaim_input().unwrap();
    assert!(chunk.is_empty() && chunk.try_reclaim(1000));
    assert_eq!(chunk.as_ptr(), start);
    assert!(connection.reclaim_input().is_none());
    let rest = masked(&hex("81 01 61 81 02 6162"));
    assert_eq!(feed(&mut connection, &rest[rest.len() - 1..]), ["Text(ab)"]);
}

#[test]
fn large_payloads_are_read_in_place() {
    let payload = vec![9; 300_000];
    let mut frames = masked(&frame(true, Opcode::Binary, &payload));
    frames.extend(masked(&hex("81 02 6869 81 02 6f6b")));
    let mut connection = server();
    let (first, mut rest) = frames.split_at(20_000);
    let mut found = feed(&mut connection, first);
    let mut direct = 0;
    while !rest.is_empty() {
        let step = if let Some(buffer) = connection.read_buffer() {
            let room = buffer.capacity() - buffer.len();
            let step = room.min(rest.len());
            buffer.extend_from_slice(&rest[..step]);
            direct += step;
            step
        } else {
            connection.receive(BytesMut::from(rest));
            rest.len()
        };
        rest = &rest[step..];
        found.extend(events(&mut connection));
    }
    assert_eq!(found, ["Binary(300000 bytes)", "Text(hi)", "Text(ok)"]);
    assert!(direct > 200_000, "{direct}");
}

#[test]
fn more_than_the_frame_read_in_place_is_the_next_frames() {
    let mut connection = server();
    let frames = [masked(&frame(true, Opcode::Binary, &[1; 40_000])), masked(&hex("81 01 61 81 01 62"))].concat();
    assert!(feed(&mut connection, &frames[..20_000]).is_empty());
    connection.read_buffer().unwrap().extend_from_slice(&frames[20_000..frames.len() - 2]);
    // A chunk given before the events are taken comes after what was read in place.
    connection.receive(BytesMut::from(&frames[frames.len() - 2..]));
    assert_eq!(events(&mut connection), ["Binary(40000 bytes)", "Text(a)", "Text(b)"]);
}

#[test]
fn frames_read_in_place_behind_a_message_wait_like_others() {
    let mut connection = server();
    let frames = [masked(&frame(true, Opcode::Binary, &[1; 40_000])), masked(&hex("81 01 61"))].concat();
    assert!(feed(&mut connection, &frames[..20_000]).is_empty());
    connection.read_buffer().unwrap().extend_from_slice(&frames[20_000..]);
    assert!(connection.poll_event().is_some());
    // A whole frame is left, which must not be taken for the beginning of a header.
    assert!(connection.message_waiting() && connection.reclaim_input().is_none());
    connection.receive(BytesMut::from(&masked(&hex("81 01 62"))[..]));
    assert_eq!(events(&mut connection), ["Text(a)", "Text(b)"]);
}

#[test]
fn a_waiting_message_is_seen() {
    let mut connection = server();
    assert!(!connection.message_waiting());
    connection.receive(BytesMut::from(&masked(&hex("81 01 61 81 01 62"))[..]));
    assert!(connection.message_waiting());
    assert!(connection.poll_event().is_some() && connection.message_waiting());
    assert!(connection.poll_event().is_some() && !connection.message_waiting());
}

/// Checks nothing but that the helper itself can fail.
#[test]
#[should_panic(expected = "to a client")]
fn a_wrong_expectation_fails() {
    check("81 01 61", &["Text(b)"]);
}

#[test]
fn role_is_known() {
    let is_server = |connection: Connection| connection.is_server();
    assert!(is_server(server()) && !is_server(client()));
}
