//! Sending compressed messages: what is compressed and what is not, contexts, windows, fragments, frames for many receivers.

use bytes::Bytes;
use proptest::prelude::*;
use switchboard_ws_proto::deflate::{Tuning, compress_frame};
use switchboard_ws_proto::{
    CloseCode, Config, Connection, Event, FrameHeader, Limits, Message, Opcode, Role, SendError,
};

use crate::deflate::{ALONE, TAKEOVER, agreed, any_payload, config, send};
use crate::looking_back::farthest;
use crate::support::*;

fn sender(answer: &str) -> Connection {
    agreed(Role::Server, answer, Limits::default())
}

fn sender_from(answer: &str, message_bytes_min: usize) -> Connection {
    let mut config = config(answer, Limits::default());
    config.deflate.as_mut().unwrap().tuning = Tuning { message_bytes_min, ..Tuning::default() };
    Connection::new(Role::Server, config)
}

/// What was queued, as frames of a header and a payload.
fn frames(connection: &mut Connection) -> Vec<(FrameHeader, Vec<u8>)> {
    let bytes = written(connection);
    let mut rest = &bytes[..];
    let mut found = Vec::new();
    while let Some((header, length)) = FrameHeader::parse(rest).unwrap() {
        let end = length + usize::try_from(header.payload_len).unwrap();
        found.push((header, rest[length..end].to_vec()));
        rest = &rest[end..];
    }
    assert!(rest.is_empty());
    found
}

/// Bytes in which nothing repeats.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn small_messages_are_sent_as_they_are() {
    for answer in [TAKEOVER, ALONE] {
        let mut connection = sender_from(answer, 100);
        for (length, rsv) in [(0, 0), (1, 0), (99, 0), (100, 4), (1000, 4)] {
            connection.send(Message::from("a".repeat(length))).unwrap();
            connection.send_text(&"a".repeat(length)).unwrap();
            connection.send_data(Opcode::Binary, &vec![b'a'; length]).unwrap();
            let found = frames(&mut connection);
            assert!(found.iter().all(|(header, _)| header.rsv == rsv && header.fin), "{answer} {length}");
            assert_eq!(found.len(), 3);
        }
        // A message in one fragment is a message.
        connection.send_fragment(Opcode::Text, true, Bytes::from_static(b"aaa")).unwrap();
        connection.ping(&[0; 125]).unwrap();
        assert!(frames(&mut connection).iter().all(|(header, _)| header.rsv == 0));
    }
}

#[test]
fn what_does_not_shrink_is_sent_as_it_is() {
    for answer in [TAKEOVER, ALONE] {
        for length in [300, 5000, 100_000, 1 << 20] {
            let mut connection = sender(answer);
            let mut receiver = agreed(CLIENT, answer, Limits::default());
            let text = "the same words again ".repeat(20);
            for message in [Message::from(text.clone()), Message::from(noise(length)), Message::from(text.clone())] {
                connection.send(message.clone()).unwrap();
                let bytes = written(&mut connection);
                if message.as_text().is_none() {
                    // A short one may be compressed all the same, for the context's sake.
                    assert!(bytes[0] == 0x82 || (length == 300 && answer == TAKEOVER), "{answer} {length}");
                    assert!(bytes.len() <= length + 42);
                } else {
                    assert_eq!(bytes[0], 0xc1);
                }
                receiver.receive(bytes[..].into());
                assert_eq!(receiver.poll_event(), Some(Event::Message(message)), "{answer} {length}");
            }
        }
    }
}

#[test]
fn a_few_bytes_do_not_cost_the_context() {
    let mut connection = sender(TAKEOVER);
    let text = noise(60).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    connection.send(Message::from(text.clone())).unwrap();
    let first = written(&mut connection).len();
    // On its own it grows, but by little: it is sent compressed, and the text after it is still known.
    connection.send(Message::from(noise(40))).unwrap();
    assert_eq!(frames(&mut connection)[0].0.rsv, 4);
    connection.send(Message::from(text)).unwrap();
    assert!(written(&mut connection).len() < first / 4);
}

#[test]
fn context_is_kept_only_where_it_was_agreed() {
    let table = [
        (TAKEOVER, true, true),
        (ALONE, false, false),
        ("permessage-deflate; server_no_context_takeover", false, true),
        ("permessage-deflate; client_no_context_takeover", true, false),
    ];
    for (answer, server_keeps, client_keeps) in table {
        for (role, keeps) in [(Role::Server, server_keeps), (CLIENT, client_keeps)] {
            let mut connection = agreed(role, answer, Limits::default());
            let mut sizes = [0; 2];
            for size in &mut sizes {
                connection.send(Message::from("some words that come twice")).unwrap();
                *size = written(&mut connection).len();
            }
            assert_eq!(sizes[1] < sizes[0], keeps, "{role:?} {answer}: {sizes:?}");
            // Fragments neither lose it nor make one.
            for size in &mut sizes {
                connection.send_fragment(Opcode::Text, false, Bytes::from_static(b"some words ")).unwrap();
                connection.send_fragment(Opcode::Continuation, true, Bytes::from_static(b"that come twice")).unwrap();
                connection.send(Message::from("some words that come twice")).unwrap();
                *size = written(&mut connection).len();
            }
            assert_eq!(sizes[1] < 50, keeps, "{role:?} {answer}: {sizes:?}");
        }
    }
}

#[test]
fn no_more_than_the_agreed_window_is_looked_back() {
    // Repetitions at distances in each window's range, and some that every compressor finds.
    let mut text = noise(200);
    for distance in [220, 300, 500, 900, 1800, 3500, 7000, 14_000, 30_000, 40_000] {
        text.resize(text.len() + distance - 200, b'a');
        text.extend_from_within(text.len() - distance..text.len() - distance + 200);
    }
    for bits in 9..=15u8 {
        for level in 1..=9 {
            let mut config = config(&format!("{TAKEOVER}; server_max_window_bits={bits}"), Limits::default());
            config.deflate.as_mut().unwrap().tuning.level = level;
            let mut connection = Connection::new(Role::Server, config);
            assert_eq!(connection.deflate_window_bits(), Some(bits));
            let mut stream = Vec::new();
            for part in text.chunks(5000) {
                connection.send_data(Opcode::Binary, part).unwrap();
                let (header, compressed) = frames(&mut connection).remove(0);
                assert_eq!(header.rsv, 4, "{bits} bits, level {level}");
                stream.extend_from_slice(&compressed);
                stream.extend_from_slice(&[0, 0, 0xff, 0xff]);
            }
            let found = farthest(&stream);
            let window = 1 << bits;
            assert!((200..=window).contains(&found), "{bits} bits, level {level}: {found} bytes back");
        }
    }
}

#[test]
fn a_window_of_eight_bits_is_never_compressed_for() {
    let mut connection = agreed(CLIENT, "permessage-deflate; client_max_window_bits=8", Limits::default());
    assert_eq!(connection.deflate_window_bits(), None);
    connection.send(Message::from("a".repeat(1000))).unwrap();
    assert!(frames(&mut connection).iter().all(|(header, _)| header.rsv == 0));
    // The other direction is as it was agreed.
    assert_eq!(feed(&mut connection, &hex("c1 07 f248cdc9c90700")), ["Text(Hello)"]);
}

#[test]
fn fragments_are_one_stream() {
    for answer in [TAKEOVER, ALONE] {
        let mut connection = sender(answer);
        connection.send_fragment(Opcode::Text, false, Bytes::from_static(b"Hel")).unwrap();
        connection.send_fragment(Opcode::Continuation, false, Bytes::new()).unwrap();
        connection.ping(b"x").unwrap();
        connection.send_fragment(Opcode::Continuation, false, Bytes::from_static(b"lo")).unwrap();
        connection.send_fragment(Opcode::Continuation, true, Bytes::new()).unwrap();
        let found: Vec<_> =
            frames(&mut connection).into_iter().map(|(header, payload)| (header.rsv, header.opcode, payload)).collect();
        assert_eq!(found.len(), 5);
        assert_eq!((found[0].0, found[0].1), (4, Opcode::Text));
        assert!(found[1..].iter().all(|(rsv, ..)| *rsv == 0));
        // §7.2.3.6: the empty last fragment is the byte that stands for an empty block.
        assert_eq!(found[4].2, [0]);
        // And then another message.
        connection.send(Message::from("Hello Hello Hello")).unwrap();
        assert_eq!(written(&mut connection)[0], 0xc1);
    }
}

#[test]
fn frames_for_many_receivers() {
    let payload = "for everybody ".repeat(30);
    let shared = compress_frame(Opcode::Text, payload.as_bytes(), 12, Tuning::default());
    assert_eq!(shared[0], 0xc1);
    for answer in [TAKEOVER, ALONE, "permessage-deflate; server_max_window_bits=12"] {
        let (mut connection, mut receiver) = (sender(answer), agreed(CLIENT, answer, Limits::default()));
        let own = Message::from("for one of them ".repeat(30));
        connection.send(own.clone()).unwrap();
        connection.send_encoded(shared.clone()).unwrap();
        connection.send(own.clone()).unwrap();
        // Several in one piece, the compressed one not the first.
        let several = [&frame(true, Opcode::Text, b"plain")[..], &shared].concat();
        connection.send_encoded(several.into()).unwrap();
        connection.send(own.clone()).unwrap();
        receiver.receive(written(&mut connection)[..].into());
        let found: Vec<Event> = std::iter::from_fn(|| receiver.poll_event()).collect();
        let everybody = Message::from(payload.clone());
        let expected = [&own, &everybody, &own, &Message::from("plain"), &everybody, &own];
        assert_eq!(found, expected.map(|message| Event::Message(message.clone())), "{answer}");
    }
    let mut without = server();
    assert_eq!(without.send_encoded(shared), Err(SendError::CompressionNotAgreed));
    assert_eq!(without.transmit_len(), 0);
}

#[test]
fn one_encoding_is_compressed_by_each_for_itself() {
    let text = |number: u32| format!("{{\"number\":{number},{}}}", r#""text":"for everybody","#.repeat(20));
    let shared: Vec<u8> = (0..3)
        .flat_map(|number| frame(true, Opcode::Text, text(number).as_bytes()))
        .chain(frame(true, Opcode::Binary, b"short"))
        .chain(frame(false, Opcode::Text, &[b'a'; 300]))
        .chain(frame(true, Opcode::Continuation, &[b'a'; 300]))
        .chain(frame(true, Opcode::Binary, &[7; 5000]))
        .collect();
    let expected: Vec<Message> = [0, 1, 2]
        .map(|number| Message::from(text(number)))
        .into_iter()
        .chain([Message::from(b"short".to_vec()), Message::from("a".repeat(600)), Message::from(vec![7; 5000])])
        .collect();
    let eight = "permessage-deflate; server_max_window_bits=8";
    for (answer, compressed) in [(Some(TAKEOVER), 5), (Some(ALONE), 4), (Some(eight), 0), (None, 0)] {
        let (mut connection, mut receiver) = match answer {
            Some(answer) => (sender(answer), agreed(CLIENT, answer, Limits::default())),
            None => (server(), client()),
        };
        let mut lengths = Vec::new();
        for round in 0..3 {
            assert_eq!(connection.compress_encoded(shared.clone().into()), Ok(compressed), "{answer:?}");
            let bytes = written(&mut connection);
            lengths.push(bytes.len());
            receiver.receive(bytes[..].into());
            let found: Vec<Event> = std::iter::from_fn(|| receiver.poll_event()).collect();
            let expected: Vec<Event> = expected.iter().cloned().map(Event::Message).collect();
            assert_eq!(found, expected, "{answer:?}, {round}");
        }
        match answer {
            Some(TAKEOVER) => assert!(lengths[1] < lengths[0], "{lengths:?}"),
            Some(ALONE) => assert!(lengths[1] == lengths[0] && lengths[0] < shared.len() / 3, "{lengths:?}"),
            _ => assert_eq!(lengths, [shared.len(); 3]),
        }
    }
    // What a caller must not do is told, and does no harm.
    assert_eq!(
        agreed(CLIENT, TAKEOVER, Limits::default()).compress_encoded(shared.into()),
        Err(SendError::ClientMustMask)
    );
    for cut in [1, 2, 5] {
        let mut connection = sender(TAKEOVER);
        connection.compress_encoded(frame(true, Opcode::Text, &[b'a'; 9])[..cut].to_vec().into()).unwrap();
        assert_eq!(connection.transmit_len(), cut);
    }
    let mut closed = sender(TAKEOVER);
    closed.close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(closed.compress_encoded(frame(true, Opcode::Text, b"a").into()), Err(SendError::Closing));
}

#[test]
fn a_frame_that_would_grow_is_for_everybody() {
    let raw = |opcode, payload: &[u8]| {
        let frame = compress_frame(opcode, payload, 15, Tuning::default());
        FrameHeader::parse(&frame).unwrap().unwrap().0.rsv == 0 && frame.ends_with(payload)
    };
    assert!(raw(Opcode::Binary, &noise(1000)));
    assert!(raw(Opcode::Binary, &noise(100_000)));
    assert!(raw(Opcode::Text, b"short"));
    assert!(raw(Opcode::Text, b""));
    assert!(raw(Opcode::Ping, &[b'a'; 125]));
    assert!(!raw(Opcode::Text, &[b'a'; 1000]));
    // Windows that no compressor has are taken for the nearest.
    for bits in [0, 8, 16, 255] {
        assert_eq!(compress_frame(Opcode::Text, &[b'a'; 1000], bits, Tuning::default())[0], 0xc1);
    }
}

#[test]
fn nothing_is_compressed_unless_it_was_agreed() {
    for role in [Role::Server, CLIENT] {
        let mut connection = Connection::new(role, Config::default());
        assert_eq!(connection.deflate_window_bits(), None);
        connection.send(Message::from("a".repeat(1000))).unwrap();
        connection.send_fragment(Opcode::Text, false, Bytes::from(vec![b'a'; 1000])).unwrap();
        assert!(frames(&mut connection).iter().all(|(header, _)| header.rsv == 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Compressors go from one connection to the next, and connections from one thread to another; each goes on with its own context.
    #[test]
    fn contexts_do_not_mix(
        steps in proptest::collection::vec((0usize..7, 0usize..5, 0usize..8000, 0u8..12), 0..60),
        bits in 9u8..=15,
    ) {
        let answer = format!("{TAKEOVER}; server_max_window_bits={bits}");
        let texts: Vec<String> = ["one", "two", "three"].map(|word| format!("{word} and again ").repeat(600)).into();
        let elsewhere = compress_frame(Opcode::Text, texts[0].as_bytes(), 9, Tuning::default());
        let mut pairs: Vec<_> = (0..7).map(|_| (sender(&answer), agreed(CLIENT, &answer, Limits::default()))).collect();
        for (which, what, length, how) in steps {
            let (from, to) = &mut pairs[which];
            let message = match what {
                3 => Message::from(noise(length)),
                4 => Message::from(noise(length / 8).iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
                text => Message::from(texts[text][..length].to_owned()),
            };
            let mut expected = vec![Event::Message(message.clone())];
            match how {
                0 => std::thread::scope(|scope| scope.spawn(|| from.send(message).unwrap()).join().unwrap()),
                1 => {
                    from.send_encoded(elsewhere.clone()).unwrap();
                    expected.insert(0, Event::Message(Message::from(texts[0].clone())));
                    from.send(message).unwrap();
                }
                2 => {
                    let (opcode, payload) = match message {
                        Message::Text(text) => (Opcode::Text, text.into_bytes()),
                        Message::Binary(bytes) => (Opcode::Binary, bytes),
                    };
                    let half = payload.len() / 2;
                    from.send_fragment(opcode, false, payload.slice(..half)).unwrap();
                    from.send_fragment(Opcode::Continuation, true, payload.slice(half..)).unwrap();
                }
                _ => from.send(message).unwrap(),
            }
            to.receive(written(from)[..].into());
            let found: Vec<Event> = std::iter::from_fn(|| to.poll_event()).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_is_sent_is_received(
        messages in proptest::collection::vec((any_payload(), any::<bool>(), 1usize..5), 0..12),
        cut in 1usize..5000,
        level in 1u8..=9,
        bits in 9u8..=15,
        message_bytes_min in prop::sample::select(&[0usize, 64, 1000][..]),
        keeps in any::<(bool, bool)>(),
    ) {
        let mut answer = format!("{TAKEOVER}; server_max_window_bits={bits}; client_max_window_bits={bits}");
        for (keep, name) in [(keeps.0, "server"), (keeps.1, "client")] {
            if !keep {
                answer += &format!("; {name}_no_context_takeover");
            }
        }
        let mut config = config(&answer, Limits::default());
        config.deflate.as_mut().unwrap().tuning = Tuning { level, message_bytes_min };
        for (from, to) in [(CLIENT, Role::Server), (Role::Server, CLIENT)] {
            let (mut from, mut to) = (Connection::new(from, config.clone()), Connection::new(to, config.clone()));
            for (payload, text, parts) in &messages {
                send(&mut from, payload.clone(), *text, *parts);
            }
            let mut found = Vec::new();
            for chunk in written(&mut from).chunks(cut) {
                to.receive(chunk.into());
                found.extend(std::iter::from_fn(|| to.poll_event()));
            }
            found.retain(|event| !matches!(event, Event::Ping(_)));
            prop_assert_eq!(found.len(), messages.len());
            for (event, (payload, ..)) in found.iter().zip(&messages) {
                let Event::Message(message) = event else { panic!("{event:?}") };
                prop_assert_eq!(message.as_bytes(), &payload[..]);
            }
        }
    }
}
