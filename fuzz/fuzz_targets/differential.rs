//! The same bytes to a server of tungstenite 0.30 and to ours: the same messages, and both fail or neither does.
//!
//! Known differences, all of them permitted, and how the comparison meets them:
//! - We may notice earlier: a rule that a header breaks fails before the payload has come, a character that cannot be right before the end of its
//!   frame (§8.1 allows both). So where we fail, tungstenite may still wait for more, but must not have said more.
//! - tungstenite takes a length that is not in its shortest form (§5.2 forbids it), and tells of a Close with a code that §7.4 reserves as one with
//!   1002. Where we fail for one of these, only what was said before is compared.
//! - It counts no fragments; our limit is lifted.
//!
//! Input: a byte of switches, then a script of frames, or raw bytes.
#![no_main]

use std::io::{self, Cursor, Read, Write};
use std::iter::from_fn;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use switchboard_fuzz::{Input, frames};
use switchboard_ws_proto::{Config, Connection, Event, Limits, Message, Role};
use tungstenite::protocol::{Role as TheirRole, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message as Theirs};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let stream = if input.byte() & RAW == 0 { frames(input.rest(), true) } else { input.rest().to_vec() };
    let (ours, theirs) = (our_reading(&stream), their_reading(&stream));
    let common = ours.said.len().min(theirs.said.len());
    assert_eq!(
        ours.said[..common],
        theirs.said[..common],
        "ours, theirs; ours ended {:?}, theirs {:?}",
        ours.end,
        theirs.end
    );
    match (&ours.end, &theirs.end) {
        (End::Failed(error), _) if stricter(error) => assert_eq!(ours.said.len(), common),
        (End::Failed(_), End::Failed(_) | End::Open) => assert_eq!(ours.said, theirs.said, "ours ended {:?}", ours.end),
        (ours_end, theirs_end) => {
            assert_eq!(ours_end, theirs_end, "after {:?}", ours.said);
            assert_eq!(ours.said, theirs.said);
        }
    }
});

const RAW: u8 = 1;
const BYTES_MAX: usize = 1 << 20;

#[derive(Debug, PartialEq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

#[derive(Debug)]
enum End {
    /// The stream is over, the connection had not come to its end.
    Open,
    Closed,
    Failed(String),
}

impl PartialEq for End {
    /// For what reason is each implementation's own affair.
    fn eq(&self, other: &Self) -> bool {
        core::mem::discriminant(self) == core::mem::discriminant(other)
    }
}

struct Reading {
    said: Vec<Said>,
    end: End,
}

fn stricter(error: &str) -> bool {
    ["LengthNotMinimal", "InvalidCloseCode"].iter().any(|name| error.starts_with(name))
}

fn our_reading(stream: &[u8]) -> Reading {
    let limits = Limits { message_bytes_max: BYTES_MAX, frame_bytes_max: BYTES_MAX, fragments_max: usize::MAX };
    let mut connection = Connection::new(Role::Server, Config::default().limits(limits));
    connection.receive(BytesMut::from(stream));
    let mut reading = Reading { said: Vec::new(), end: End::Open };
    for event in from_fn(|| connection.poll_event()) {
        let said = match event {
            Event::Message(Message::Text(text)) => Said::Text(text.as_str().to_owned()),
            Event::Message(Message::Binary(bytes)) => Said::Binary(bytes.to_vec()),
            Event::Ping(bytes) => Said::Ping(bytes.to_vec()),
            Event::Pong(bytes) => Said::Pong(bytes.to_vec()),
            Event::Close(frame) => {
                reading.end = End::Closed;
                Said::Close(frame.map(|frame| (frame.code.as_u16(), frame.reason.as_str().to_owned())))
            }
            Event::Failed(error) => {
                reading.end = End::Failed(format!("{error:?}"));
                continue;
            }
            other => panic!("{other:?} out of nowhere"),
        };
        reading.said.push(said);
    }
    reading
}

fn their_reading(stream: &[u8]) -> Reading {
    let config = WebSocketConfig::default().max_message_size(Some(BYTES_MAX)).max_frame_size(Some(BYTES_MAX));
    let mut socket = WebSocket::from_raw_socket(Wire(Cursor::new(stream)), TheirRole::Server, Some(config));
    let mut reading = Reading { said: Vec::new(), end: End::Open };
    loop {
        let said = match socket.read() {
            Ok(Theirs::Text(text)) => Said::Text(text.as_str().to_owned()),
            Ok(Theirs::Binary(bytes)) => Said::Binary(bytes.to_vec()),
            Ok(Theirs::Ping(bytes)) => Said::Ping(bytes.to_vec()),
            Ok(Theirs::Pong(bytes)) => Said::Pong(bytes.to_vec()),
            Ok(Theirs::Close(frame)) => {
                let frame = frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned()));
                reading.said.push(Said::Close(frame));
                reading.end = End::Closed;
                return reading;
            }
            Ok(Theirs::Frame(frame)) => panic!("{frame:?} is not for readers"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return reading,
            Err(error) => {
                reading.end = End::Failed(format!("{error:?}"));
                return reading;
            }
        };
        reading.said.push(said);
    }
}

/// The stream, after which nothing comes for the time being. What is written is lost.
struct Wire<'a>(Cursor<&'a [u8]>);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
