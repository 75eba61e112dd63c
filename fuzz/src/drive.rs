//! Drives one connection as a socket's reader does, with its bytes cut anywhere. Owns the order of calls. Knows not what is right.

use std::iter::from_fn;

use bytes::{Buf, BytesMut};
use switchboard_ws_proto::{Config, Connection, Event, Message, Role};

/// A client whose masks are the same in each run.
pub const CLIENT: Role = Role::Client { mask_seed: [7; 32] };

/// What came of a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// All events up to the end of the stream.
    pub events: Vec<Event>,
    /// All that was written.
    pub written: Vec<u8>,
}

/// Gives `stream` to a connection in pieces of the sizes in `cuts`, again and again; in one piece if there are none. Sizes that are odd read
/// into the connection's own buffer where it offers one and give buffers back. With `echo` every message is sent back.
pub fn drive(role: Role, config: &Config, stream: &[u8], cuts: &[u8], echo: bool) -> Outcome {
    let mut connection = Connection::new(role, config.clone());
    let mut outcome = Outcome { events: Vec::new(), written: Vec::new() };
    pieces(&mut connection, stream, cuts, |connection, event| {
        if echo && let Event::Message(message) = &event {
            // Refused once a Close was sent, which cannot be before the last message.
            assert_eq!(connection.send(message.clone()), Ok(()));
        }
        outcome.events.push(event);
    });
    outcome.written = written(&mut connection);
    outcome
}

/// As [`drive`], with every event dropped at once and every answer written at once: what is held is the connection's.
pub fn drop_all(role: Role, config: &Config, stream: &[u8], cuts: &[u8]) {
    let mut connection = Connection::new(role, config.clone());
    pieces(&mut connection, stream, cuts, |connection, _| {
        let transmit = connection.transmit();
        transmit.advance(transmit.remaining());
    });
}

fn pieces(connection: &mut Connection, stream: &[u8], cuts: &[u8], mut on_event: impl FnMut(&mut Connection, Event)) {
    let mut rest = stream;
    let mut sizes = cuts.iter().cycle();
    while !rest.is_empty() {
        let size = sizes.next().copied().map_or(rest.len(), usize::from).clamp(1, rest.len());
        let (piece, behind) = rest.split_at(size);
        rest = behind;
        match size % 3 {
            0 => {
                let buffer = connection.input_buffer();
                buffer.extend_from_slice(piece);
            }
            1 if connection.read_buffer().is_some() => {
                connection.read_buffer().into_iter().for_each(|buffer| buffer.extend_from_slice(piece));
            }
            _ => connection.receive(BytesMut::from(piece)),
        }
        while let Some(event) = connection.poll_event() {
            on_event(connection, event);
        }
        if size % 2 == 1 {
            drop(connection.reclaim_input());
        }
    }
    connection.receive_eof();
    while let Some(event) = connection.poll_event() {
        on_event(connection, event);
    }
}

/// What the other side makes of output, which must be without fault.
pub fn decoded_by(role: Role, config: &Config, written: &[u8]) -> Vec<Event> {
    let mut peer = Connection::new(role, config.clone());
    peer.receive(BytesMut::from(written));
    let events: Vec<Event> = from_fn(|| peer.poll_event()).collect();
    assert!(!events.iter().any(|event| matches!(event, Event::Failed(_))), "output that the peer refuses: {events:?}");
    assert!(!peer.message_waiting());
    events
}

/// The output of a connection that sends these messages.
pub fn send_all(role: Role, config: &Config, messages: &[Message]) -> Vec<u8> {
    let mut connection = Connection::new(role, config.clone());
    for message in messages {
        assert_eq!(connection.send(message.clone()), Ok(()));
    }
    written(&mut connection)
}

/// Everything that a connection has to write, taken.
pub fn written(connection: &mut Connection) -> Vec<u8> {
    let transmit = connection.transmit();
    transmit.copy_to_bytes(transmit.remaining()).to_vec()
}
