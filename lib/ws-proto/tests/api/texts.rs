//! Every way by which text comes to be: each gives a `str` without checking it again, so each has to have checked. Small, for Miri:
//! between them the tests reach every call of `Utf8Bytes::from_checked` but that of a Close, which `closing` does.

use bytes::{Bytes, BytesMut};
use switchboard_ws_proto::{Connection, Event, Message, Opcode, Utf8Bytes};

use crate::support::*;

const TEXT: &str = "aé€🌍";

fn read(text: &Utf8Bytes) {
    assert_eq!(text.as_str(), TEXT);
    assert!(text.chars().eq(TEXT.chars()));
    assert_eq!(text.to_string(), TEXT);
}

#[test]
fn text_of_our_own() {
    read(&Utf8Bytes::from_static(TEXT));
    read(&Utf8Bytes::from(TEXT));
    read(&Utf8Bytes::from(TEXT.to_owned()));
    read(&TEXT.parse().unwrap());
    assert_eq!(String::from(Utf8Bytes::from(TEXT)), TEXT);
    read(&Utf8Bytes::try_from(Bytes::from_static(TEXT.as_bytes())).unwrap());
    let shared = Bytes::from([b"x", TEXT.as_bytes(), b"x"].concat());
    read(&Utf8Bytes::try_from(shared.slice(1..shared.len() - 1)).unwrap());
    for end in 0..shared.len() {
        // Inside of a character it is no text, and the bytes come back.
        let part = shared.slice(..end);
        let expected = std::str::from_utf8(&part).is_ok();
        assert_eq!(Utf8Bytes::try_from(part).is_ok(), expected, "{end}");
    }
    let Message::Text(text) = Message::from(TEXT).to_compact() else { panic!() };
    read(&text);
}

/// Received whole, cut by the reads at each byte, and in fragments cut at each byte.
#[test]
fn text_that_is_received() {
    let bytes = TEXT.as_bytes();
    let whole = masked(&frame(true, Opcode::Text, bytes));
    for cut in 0..=whole.len() {
        received(&[&whole[..cut], &whole[cut..]]);
    }
    // A client has no shortcut for what is small, and ASCII is not looked at twice.
    received_by(client(), &[&frame(true, Opcode::Text, bytes)]);
    assert_eq!(feed(&mut client(), &frame(true, Opcode::Text, b"plain")), ["Text(plain)"]);
    assert_eq!(feed(&mut server(), &masked(&frame(true, Opcode::Text, b"plain"))), ["Text(plain)"]);
    for cut in 0..=bytes.len() {
        let first = masked(&frame(false, Opcode::Text, &bytes[..cut]));
        let rest = masked(&frame(true, Opcode::Continuation, &bytes[cut..]));
        received(&[&[first, rest].concat()]);
    }
}

/// The same, inflated: from a block that is stored as it is, which takes no time.
#[cfg(feature = "deflate")]
#[test]
fn text_that_is_inflated() {
    use crate::deflate::{ALONE, agreed};
    use switchboard_ws_proto::{FrameHeader, Limits, Role};

    let payload = [&[0, 10, 0, 0xf5, 0xff], TEXT.as_bytes(), &[0]].concat();
    let mut frame = Vec::new();
    FrameHeader { rsv: 0b100, ..FrameHeader::new(Opcode::Text, payload.len() as u64) }.encode(&mut frame);
    frame.extend_from_slice(&payload);
    let frame = masked(&frame);
    for cut in [0, 9, frame.len()] {
        received_by(agreed(Role::Server, ALONE, Limits::default()), &[&frame[..cut], &frame[cut..]]);
    }
    let mut connection = agreed(Role::Server, ALONE, Limits::default());
    assert_eq!(in_pieces(&mut connection, &frame, 5), TEXT);
}

fn received(chunks: &[&[u8]]) {
    received_by(server(), chunks);
}

fn received_by(mut connection: Connection, chunks: &[&[u8]]) {
    let mut found = Vec::new();
    for chunk in chunks {
        connection.receive(BytesMut::from(*chunk));
        found.extend(std::iter::from_fn(|| connection.poll_event()));
    }
    let [Event::Message(Message::Text(text))] = &found[..] else { panic!("{found:?}") };
    read(text);
}

#[test]
fn text_in_pieces() {
    let bytes = TEXT.as_bytes();
    let frames = masked(&frame(true, Opcode::Text, bytes));
    for step in 1..=frames.len() {
        assert_eq!(in_pieces(&mut server(), &frames, step), TEXT, "in steps of {step}");
    }
}

fn in_pieces(connection: &mut Connection, frames: &[u8], step: usize) -> String {
    let mut joined = String::new();
    for chunk in frames.chunks(step) {
        connection.receive(BytesMut::from(chunk));
        while let Some(event) = connection.poll_piece() {
            let Event::Piece(piece) = event else { panic!("{event:?}") };
            joined.push_str(piece.data.as_text().unwrap());
        }
    }
    joined
}
