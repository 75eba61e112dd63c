//! What is written for which calls.

use bytes::{Buf, Bytes, BytesMut};
use switchboard_ws_proto::{CloseCode, Event, FrameHeader, Message, Opcode, SendError};

use crate::support::*;

#[test]
fn a_servers_frames() {
    let mut connection = server();
    connection.send("Hello".into()).unwrap();
    connection.send(vec![1, 2].into()).unwrap();
    connection.send_text("é").unwrap();
    connection.send_data(Opcode::Text, b"t").unwrap();
    connection.send_data(Opcode::Binary, b"\xff").unwrap();
    connection.send_encoded(Bytes::from_static(b"\x81\x01e")).unwrap();
    connection.ping(b"p").unwrap();
    connection.pong(b"").unwrap();
    assert_eq!(
        to_hex(&written(&mut connection)),
        "81 05 48 65 6c 6c 6f 82 02 01 02 81 02 c3 a9 81 01 74 82 01 ff 81 01 65 89 01 70 8a 00"
    );
}

#[test]
fn wrong_calls() {
    let mut connection = server();
    let long = [0; 126];
    assert_eq!(connection.ping(&long), Err(SendError::ControlTooLong));
    assert_eq!(connection.pong(&long), Err(SendError::ControlTooLong));
    assert_eq!(connection.send_data(Opcode::Ping, b""), Err(SendError::NotData));
    assert_eq!(connection.send_data(Opcode::Continuation, b""), Err(SendError::NotData));
    assert_eq!(connection.send_data(Opcode::Text, b"\xff"), Err(SendError::InvalidUtf8));
    assert_eq!(connection.send_fragment(Opcode::Continuation, true, Bytes::new()), Err(SendError::OutsideFragments));
    assert_eq!(connection.send_fragment(Opcode::Close, true, Bytes::new()), Err(SendError::NotData));
    assert_eq!(client().send_encoded(Bytes::from_static(b"\x81\x00")), Err(SendError::ClientMustMask));
    assert_eq!(written(&mut connection), []);
}

#[test]
fn fragments() {
    let mut connection = server();
    let piece = |bytes: &'static [u8]| Bytes::from_static(bytes);
    connection.send_fragment(Opcode::Text, false, piece(b"a\xe2")).unwrap();
    assert_eq!(connection.send("no".into()), Err(SendError::InsideFragments));
    assert_eq!(connection.send_encoded(piece(b"\x81\x00")), Err(SendError::InsideFragments));
    assert_eq!(connection.send_fragment(Opcode::Text, true, piece(b"b")), Err(SendError::InsideFragments));
    connection.ping(b"").unwrap();
    assert_eq!(connection.send_fragment(Opcode::Continuation, false, piece(b"\xff")), Err(SendError::InvalidUtf8));
    let mut connection = server();
    connection.send_fragment(Opcode::Text, false, piece(b"a\xe2")).unwrap();
    connection.send_fragment(Opcode::Continuation, false, piece(b"\x82")).unwrap();
    connection.send_fragment(Opcode::Continuation, true, piece(b"\xac")).unwrap();
    connection.send_fragment(Opcode::Binary, false, piece(b"\xff")).unwrap();
    connection.close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(to_hex(&written(&mut connection)), "01 02 61 e2 00 01 82 80 01 ac 02 01 ff 88 02 03 e8");
}

#[test]
fn a_text_may_not_end_inside_of_a_character() {
    let mut connection = server();
    connection.send_fragment(Opcode::Text, false, Bytes::from_static(b"\xe2\x82")).unwrap();
    assert_eq!(connection.send_fragment(Opcode::Continuation, true, Bytes::new()), Err(SendError::InvalidUtf8));
}

#[test]
fn a_client_masks_with_keys_that_differ() {
    let mut connection = client();
    let large = vec![5; 10_000];
    let shared = Bytes::from(large.clone());
    connection.send("same".into()).unwrap();
    connection.send("same".into()).unwrap();
    connection.send(large.clone().into()).unwrap();
    connection.send(shared.clone().into()).unwrap();
    let bytes = written(&mut connection);
    let first = FrameHeader::parse(&bytes).unwrap().unwrap().0.mask.unwrap();
    let second = FrameHeader::parse(&bytes[10..]).unwrap().unwrap().0.mask.unwrap();
    assert_ne!(first, second);
    assert_eq!(shared, large, "another holder's bytes are not touched");
    let found = feed(&mut server(), &bytes);
    assert_eq!(found, ["Text(same)", "Text(same)", "Binary(10000 bytes)", "Binary(10000 bytes)"]);
    let mut other = server();
    other.receive(BytesMut::from(&bytes[20..]));
    assert_eq!(other.poll_event(), Some(Event::Message(Message::Binary(shared))));
}

#[test]
fn replies_to_one_read_are_one_chunk() {
    let mut connection = server();
    connection.receive(BytesMut::from(&masked(&hex("81 01 61 89 01 62 81 01 63"))[..]));
    while let Some(event) = connection.poll_event() {
        if let Event::Message(message) = event {
            connection.send(message).unwrap();
        }
    }
    let transmit = connection.transmit();
    assert_eq!(to_hex(transmit.chunk()), "81 01 61 8a 01 62 81 01 63");
    assert_eq!(transmit.chunk().len(), transmit.remaining());
}

#[test]
fn a_large_payload_is_not_copied() {
    let payload = Bytes::from(vec![1; 4096]);
    let mut connection = server();
    connection.send(payload.clone().into()).unwrap();
    let transmit = connection.transmit();
    transmit.advance(4);
    assert_eq!(transmit.chunk().as_ptr(), payload.as_ptr());
}

#[test]
fn what_is_logged_of_a_connection_is_not_what_is_said() {
    let mut connection = server();
    connection.send(Message::from("a s3cret")).unwrap();
    connection.send(Message::from(vec![b'x'; 10_000])).unwrap();
    connection.receive(BytesMut::from(&b"\x81\xfe\x7f\xff\0\0\0\0s3cret"[..]));
    assert!(connection.poll_event().is_none());
    let queue = format!("{:?}", connection.transmit());
    let shown = format!("{connection:?} {queue}");
    assert!(!shown.contains("s3cret") && !shown.contains("xxx") && shown.len() < 1000, "{shown}");
}

#[test]
fn a_lent_buffer_comes_back() {
    let mut connection = server();
    let buffer = BytesMut::with_capacity(1000);
    let start = buffer.as_ptr();
    connection.lend_transmit(buffer);
    connection.send("x".into()).unwrap();
    assert_eq!(connection.transmit().chunk().as_ptr(), start);
    assert!(connection.reclaim_transmit().is_none(), "something waits in it");
    written(&mut connection);
    assert_eq!(connection.reclaim_transmit().unwrap().as_ptr(), start);
    assert!(connection.reclaim_transmit().is_none());
    connection.send("y".into()).unwrap();
    // What was queued moves into the larger buffer.
    connection.lend_transmit(BytesMut::with_capacity(1000));
    assert_eq!(to_hex(&written(&mut connection)), "81 01 79");
}

#[test]
fn a_peer_that_only_asks_is_answered_in_bounded_space() {
    let mut connection = server();
    let ping = masked(&hex("89 7d 70*125"));
    // Answers alone fill the bound. Miri would take a quarter of an hour to make them: there most of it is full already.
    let (waiting, pings) = if cfg!(miri) { (64_000, 20) } else { (0, 10_000) };
    connection.send(vec![0; waiting].into()).unwrap();
    for _ in 0..pings {
        feed(&mut connection, &ping);
        drop(connection.reclaim_input());
    }
    feed(&mut connection, &masked(&hex("89 04 6c617374")));
    assert!(connection.transmit_len() < 66_000, "{}", connection.transmit_len());
    let mut bytes = Vec::new();
    while connection.transmit_len() > 0 {
        let chunk = connection.transmit().chunk().to_vec();
        connection.transmit().advance(chunk.len());
        bytes.extend(chunk);
    }
    // §5.5.3: the last one is answered.
    assert!(bytes.ends_with(b"\x8a\x04last"));
}
