//! Bytes written as hex, events written as text.

use bytes::{Buf, BytesMut};
use switchboard_ws_proto::{Config, Connection, Event, FrameHeader, Limits, Message, Opcode, Role};

pub(crate) const CLIENT: Role = Role::Client { mask_seed: [7; 32] };

/// `81 05 48…`, spaces anywhere; `*` and a number after a group repeats the last byte so often: `61*125`.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        let (digits, count) =
            word.split_once('*').map_or((word, 1), |(digits, count)| (digits, count.parse().unwrap()));
        let group: Vec<u8> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        bytes.extend_from_slice(&group[..group.len() - 1]);
        bytes.extend(std::iter::repeat_n(group[group.len() - 1], count));
    }
    bytes
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

pub(crate) fn show(event: &Event) -> String {
    let bytes = |bytes: &[u8]| if bytes.len() > 32 { format!("{} bytes", bytes.len()) } else { to_hex(bytes) };
    match event {
        Event::Message(Message::Text(text)) if text.len() > 32 => format!("Text({} bytes)", text.len()),
        Event::Message(Message::Text(text)) => format!("Text({text})"),
        Event::Message(Message::Binary(payload)) => format!("Binary({})", bytes(payload)),
        Event::Ping(payload) => format!("Ping({})", bytes(payload)),
        Event::Pong(payload) => format!("Pong({})", bytes(payload)),
        Event::Close(None) => "Close".into(),
        Event::Close(Some(frame)) => format!("Close({} {})", frame.code, frame.reason),
        Event::Failed(error) => format!("Failed({error:?})"),
        Event::Unresponsive => "Unresponsive".into(),
        Event::Eof { clean } => format!("Eof(clean: {clean})"),
        _ => panic!("an event without a form: {event:?}"),
    }
}

pub(crate) fn events(connection: &mut Connection) -> Vec<String> {
    std::iter::from_fn(|| connection.poll_event()).map(|event| show(&event)).collect()
}

/// What is queued, which is then done with.
pub(crate) fn written(connection: &mut Connection) -> Vec<u8> {
    let transmit = connection.transmit();
    let bytes = transmit.copy_to_bytes(transmit.remaining()).to_vec();
    assert_eq!(connection.transmit_len(), 0);
    bytes
}

pub(crate) fn server() -> Connection {
    Connection::new(Role::Server, Config::default())
}

pub(crate) fn client() -> Connection {
    Connection::new(CLIENT, Config::default())
}

pub(crate) fn limited(limits: Limits) -> Connection {
    Connection::new(Role::Server, Config::default().limits(limits))
}

pub(crate) fn feed(connection: &mut Connection, bytes: &[u8]) -> Vec<String> {
    connection.receive(BytesMut::from(bytes));
    events(connection)
}

/// Adds masks to frames written without: what a client would send.
pub(crate) fn masked(mut frames: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut key = [0x37, 0xfa, 0x21, 0x3d];
    while let Some((header, length)) = FrameHeader::parse(frames).unwrap() {
        frames = &frames[length..];
        let (payload, rest) = frames.split_at(usize::try_from(header.payload_len).unwrap());
        FrameHeader { mask: Some(key), ..header }.encode(&mut out);
        out.extend(payload.iter().zip(key.into_iter().cycle()).map(|(byte, key)| byte ^ key));
        frames = rest;
        key.rotate_left(1);
        key[0] = key[0].wrapping_add(17);
    }
    assert!(frames.is_empty(), "not whole frames");
    out
}

pub(crate) fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    FrameHeader { fin, ..FrameHeader::new(opcode, payload.len() as u64) }.encode(&mut out);
    out.extend_from_slice(payload);
    out
}

/// To a client, as one buffer, byte by byte, and to a server with masks, also both ways: always the same events.
#[track_caller]
pub(crate) fn check(frames: &str, expected: &[&str]) {
    let bytes = hex(frames);
    let to_client = [feed(&mut client(), &bytes), one_by_one(&mut client(), &bytes)];
    for found in &to_client {
        assert_eq!(found, expected, "to a client: {frames}");
    }
    let bytes = masked(&bytes);
    for found in [feed(&mut server(), &bytes), one_by_one(&mut server(), &bytes)] {
        assert_eq!(found, expected, "to a server: {frames}");
    }
}

pub(crate) fn one_by_one(connection: &mut Connection, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for byte in bytes {
        found.extend(feed(connection, &[*byte]));
        // As a driver does.
        drop(connection.reclaim_input());
    }
    found
}
