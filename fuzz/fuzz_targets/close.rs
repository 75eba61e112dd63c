//! Closing: the payload of a Close against a second reading of §7.4, and any order of the calls around the end of a connection.
//!
//! Input: a byte of switches, then a payload; or, with the switch `CALLS`, a list of calls.
#![no_main]

use std::iter::from_fn;
use std::time::Duration;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use switchboard_fuzz::{CLIENT, Input, decoded_by, frames, written};
use switchboard_ws_proto::{
    CloseCode, CloseFrame, Config, Connection, Event, FrameHeader, Message, Opcode, ProtocolError, Role, SendError,
    Time,
};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let switches = input.byte();
    let (role, other) = if switches & SERVER != 0 { (Role::Server, CLIENT) } else { (CLIENT, Role::Server) };
    if switches & CALLS != 0 {
        calls(role, other, &mut input);
    } else {
        let payload = input.take(125);
        received(payload);
        sent(role, other, payload);
    }
});

const SERVER: u8 = 1;
const CALLS: u8 = 2;

/// A Close with this payload, to a client.
fn received(payload: &[u8]) {
    let mut frame = BytesMut::new();
    FrameHeader::new(Opcode::Close, payload.len() as u64).encode(&mut frame);
    frame.extend_from_slice(payload);
    let mut connection = Connection::new(CLIENT, Config::default());
    connection.receive(frame);
    let event = connection.poll_event().expect("a Close is an event");
    let answer = decoded_by(Role::Server, &Config::default(), &written(&mut connection));
    let (expected, code) = expected(payload);
    assert_eq!(event, expected);
    let [Event::Close(found)] = &answer[..] else { panic!("answered by {answer:?}") };
    assert_eq!(found.as_ref().map(|frame| frame.code.as_u16()), code);
}

/// What §5.5.1 and §7.4 say, and the code of the answer.
fn expected(payload: &[u8]) -> (Event, Option<u16>) {
    let (code, reason) = match payload {
        [] => return (Event::Close(None), None),
        [_] => return (Event::Failed(ProtocolError::CloseTooShort), Some(1002)),
        [high, low, reason @ ..] => (u16::from(*high) * 256 + u16::from(*low), reason),
    };
    let reserved = [1004, 1005, 1006, 1015].contains(&code);
    if !(1000..5000).contains(&code) || (1016..3000).contains(&code) || reserved {
        return (Event::Failed(ProtocolError::InvalidCloseCode(code)), Some(1002));
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => (Event::Close(Some(CloseFrame::new(CloseCode::new(code), reason.to_owned()))), Some(code)),
        Err(_) => (Event::Failed(ProtocolError::InvalidUtf8), Some(1007)),
    }
}

/// Any code and reason of a caller: refused, or read by the peer, with as much of the reason as fits.
fn sent(role: Role, other: Role, payload: &[u8]) {
    let mut input = Input::new(payload);
    let code = input.number();
    let reason = String::from_utf8_lossy(input.rest()).repeat(2);
    let mut connection = Connection::new(role, Config::default());
    match connection.close(CloseCode::new(code), &reason) {
        Err(error) => assert_eq!(error, SendError::InvalidCloseCode(code)),
        Ok(()) => match &decoded_by(other, &Config::default(), &written(&mut connection))[..] {
            [Event::Close(None)] => assert_eq!(code, 1005),
            [Event::Close(Some(frame))] => {
                assert_eq!(frame.code.as_u16(), code);
                let cut = frame.reason.as_str();
                assert!(reason.starts_with(cut) && (cut.len() == reason.len() || cut.len() > 119));
            }
            other => panic!("{other:?}"),
        },
    }
}

/// Both sides may do anything in any order. Nothing follows a Close, no event follows the end, and patience ends.
fn calls(role: Role, other: Role, input: &mut Input<'_>) {
    let config = Config::default().ping_interval(Some(Duration::from_secs(1)));
    let mut connection = Connection::new(role, config);
    let mut now = Time::from_micros(1);
    let (mut output, mut events, mut ended) = (Vec::new(), Vec::new(), false);
    while !input.is_empty() {
        let (call, argument) = (input.byte(), input.byte());
        let open = connection.is_open();
        match call & 7 {
            0 => drop(connection.close(CloseCode::new(u16::from(argument) * 20), "bye")),
            1 => assert!(connection.send(Message::from("hello")).is_ok() || !open || sending(&mut connection)),
            2 => drop(connection.ping(&vec![0; usize::from(argument)])),
            // A stream that has ended brings nothing more.
            3 | 4 if ended => {}
            3 => connection.receive(BytesMut::from(&frames(input.take(usize::from(argument)), role.is_server())[..])),
            4 => {
                ended = true;
                connection.receive_eof();
            }
            5 => {
                now = now + Duration::from_millis(u64::from(argument) * 40);
                connection.handle_timeout(now);
            }
            6 => drop(connection.send_fragment(Opcode::Text, false, "héllo".into())),
            _ => output.extend(written(&mut connection)),
        }
        events.extend(from_fn(|| connection.poll_event()));
    }
    finishes(&mut connection, now);
    events.extend(from_fn(|| connection.poll_event()));
    output.extend(written(&mut connection));
    let end = events.iter().position(|event| {
        matches!(event, Event::Close(_) | Event::Failed(_) | Event::Unresponsive | Event::Eof { .. })
    });
    let behind = end.map_or(&[][..], |end| &events[end + 1..]);
    assert!(behind.iter().all(|event| matches!(event, Event::Eof { .. } | Event::Unresponsive)), "{events:?}");
    nothing_follows_a_close(other, &output);
}

/// Fragments are under way: then another message is refused.
fn sending(connection: &mut Connection) -> bool {
    connection.send(Message::from("")) == Err(SendError::InsideFragments)
}

/// A driver that only waits, and whose peer is silent, is done after a bounded number of timeouts.
fn finishes(connection: &mut Connection, mut now: Time) {
    let closing = connection.is_closing();
    for _ in 0..20 {
        let Some(next) = connection.poll_timeout() else { break };
        now = now.max(next);
        connection.handle_timeout(now);
        while connection.poll_event().is_some() {}
    }
    assert!(!closing || connection.is_finished(), "still closing after every timeout");
}

fn nothing_follows_a_close(peer: Role, output: &[u8]) {
    let mut rest = output;
    while let Ok(Some((header, length))) = FrameHeader::parse(rest) {
        // What was cleared when the peer was given up may end in the middle of nothing, never in the middle of a frame.
        rest = rest.get(length + usize::try_from(header.payload_len).unwrap_or(usize::MAX)..).expect("whole frames");
        assert!(header.opcode != Opcode::Close || rest.is_empty(), "a frame follows the Close");
    }
    assert!(rest.is_empty());
    decoded_by(peer, &Config::default(), output);
}
