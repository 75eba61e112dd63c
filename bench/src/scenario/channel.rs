//! Fan-out through a dialect: one client of the native protocol publishes on a channel, subscribers that speak what their address says receive. A
//! message is complete when the last one has it, and lets another go; `window` may be in flight.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Span, Target, fanout::Flight};
use crate::{
    client::{Opened, SILENCE_MAX, open, open_events},
    events::next_event,
    sys::Epoll,
    transport::Transport,
    wire::{Message, OPCODE_TEXT, mask_key, put_header},
};

const PUBLISH_AT: &str = "/ws";
const READ_BUFFER: usize = 256 * 1024;
/// Subscribers whose every message is looked at; of the others messages are counted.
const CHECKED: usize = 3;

#[derive(Debug)]
pub struct Channel {
    pub size: usize,
    pub subscribers: usize,
    pub window: usize,
    pub warm_up: Duration,
    pub duration: Duration,
}

impl Channel {
    pub fn run(&self, target: &Target) -> Result<Value> {
        let speech = Speech::at(&target.path)?;
        let publishing = Target { path: PUBLISH_AT.to_owned(), tls: None, ..*target };
        let mut publisher = Client::connect(&publishing, 0, &NATIVE, self.size)?;
        let mut subscribers = Vec::with_capacity(self.subscribers);
        for number in 0..self.subscribers {
            let mut client = Client::connect(target, number, speech, self.size)?;
            if let Some(subscribe) = speech.subscribe {
                client.send(subscribe)?;
            }
            client.wait_for(speech.subscribed)?;
            client.socket.tcp().set_nonblocking(true)?;
            client.reader.checked = number < CHECKED || number + 1 == self.subscribers;
            subscribers.push(client);
        }
        let mut epoll = Epoll::new(subscribers.len())?;
        for (token, client) in subscribers.iter().enumerate() {
            epoll.add(&client.socket, token)?;
        }
        let mut span = Span::new(target.pid, self.warm_up, self.duration);
        self.drive(&mut publisher, &mut subscribers, &mut epoll, &mut span)?;
        Ok(span.result())
    }

    fn drive(&self, publisher: &mut Client, clients: &mut [Client], epoll: &mut Epoll, span: &mut Span) -> Result<()> {
        let mut scratch = vec![0; READ_BUFFER];
        let mut flight = Flight::new(clients.len());
        let (mut sent, mut deliveries, mut allowed) = (0_u64, 0_u64, self.window as u64);
        loop {
            flight.launch(allowed);
            for _ in 0..allowed {
                let text = text(sent, self.size);
                publisher.send(&format!(r#"{{"type":"publish","channel":"bench","data":"{text}"}}"#))?;
                sent += 1;
            }
            if flight.is_empty() {
                break;
            }
            let mut woken = false;
            for token in epoll.wait(SILENCE_MAX)? {
                woken = true;
                let client = clients.get_mut(token).context("the kernel reported an unknown connection")?;
                let before = client.reader.received;
                client.read(&mut scratch)?;
                flight.delivered(before, client.reader.received)?;
                deliveries += client.reader.received - before;
            }
            ensure!(woken, "no delivery for {} s; {} messages are incomplete", SILENCE_MAX.as_secs(), flight.len());
            let complete = flight.land();
            allowed = if span.goes_on(deliveries)? { complete } else { 0 };
        }
        ensure!(
            clients.iter().all(|client| client.reader.received == sent),
            "a subscriber got other than the {sent} messages"
        );
        Ok(())
    }
}

/// How a subscriber is spoken to.
#[derive(Debug)]
struct Speech {
    /// What it says to subscribe, if its address does not.
    subscribe: Option<&'static str>,
    /// What is in the answer.
    subscribed: &'static str,
    connect: fn(&Target, usize) -> Result<Opened>,
    next: Next,
}

/// Finds the first message in what has been read, if it is whole.
type Next = fn(&[u8]) -> Result<Option<Message<'_>>>;

const NATIVE: Speech = Speech {
    subscribe: Some(r#"{"type":"subscribe","id":1,"channel":"bench"}"#),
    subscribed: r#""type":"ok""#,
    connect: connect_websocket,
    next: next_frame,
};

const PUSHER: Speech = Speech {
    subscribe: Some(r#"{"event":"pusher:subscribe","data":{"channel":"bench"}}"#),
    subscribed: "subscription_succeeded",
    ..NATIVE
};

const EVENTS: Speech =
    Speech { subscribe: None, subscribed: r#""type":"subscribed""#, connect: open_events, next: next_event };

impl Speech {
    fn at(path: &str) -> Result<&'static Self> {
        match path {
            path if path.starts_with("/ws") => Ok(&NATIVE),
            path if path.starts_with("/app/") => Ok(&PUSHER),
            path if path.starts_with("/sse?channel=bench") => Ok(&EVENTS),
            path => bail!("nothing is known of how to subscribe at {path}"),
        }
    }
}

fn connect_websocket(target: &Target, number: usize) -> Result<Opened> {
    open(target, number, "")
}

/// A message's payload: what stands in it stands in no other.
fn text(number: u64, size: usize) -> String {
    format!("{:a>size$}", format!("#{number:09}#"))
}

#[derive(Debug)]
struct Client {
    socket: Transport,
    reader: Reader,
}

/// Finds messages in what comes, however it is cut.
#[derive(Debug)]
struct Reader {
    next: Next,
    size: usize,
    /// The beginning of a message.
    rest: Vec<u8>,
    received: u64,
    checked: bool,
}

impl Reader {
    fn take(&mut self, chunk: &[u8]) -> Result<()> {
        let joined = (!self.rest.is_empty()).then(|| [core::mem::take(&mut self.rest), chunk.to_vec()].concat());
        let mut bytes = joined.as_deref().unwrap_or(chunk);
        while let Some(message) = (self.next)(bytes)? {
            if self.checked {
                let expected = text(self.received, self.size);
                ensure!(
                    has(message.payload, expected.as_bytes()),
                    "message {} is not what was published",
                    self.received
                );
            }
            self.received += 1;
            bytes = &bytes[message.len..];
        }
        self.rest = bytes.to_vec();
        Ok(())
    }
}

impl Client {
    fn connect(target: &Target, number: usize, speech: &Speech, size: usize) -> Result<Self> {
        let (socket, _, rest) = (speech.connect)(target, number)?;
        Ok(Self { socket, reader: Reader { next: speech.next, size, rest, received: 0, checked: true } })
    }

    fn send(&mut self, text: &str) -> Result<()> {
        let (mut frame, key) = (Vec::with_capacity(text.len() + 14), mask_key(0));
        put_header(&mut frame, OPCODE_TEXT, text.len(), 0x80);
        frame.extend_from_slice(&key);
        frame.extend(text.bytes().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.socket.write_all(&frame).context("cannot write to the server")
    }

    /// Reads messages until one has a text in it. What is behind it stays.
    fn wait_for(&mut self, text: &str) -> Result<()> {
        let mut chunk = [0; 4096];
        loop {
            while let Some(message) = (self.reader.next)(&self.reader.rest)? {
                let found = has(message.payload, text.as_bytes());
                let len = message.len;
                self.reader.rest.drain(..len);
                if found {
                    return Ok(());
                }
            }
            let n = self.socket.read(&mut chunk).context("cannot read from the server")?;
            ensure!(n > 0, "the server closed a connection");
            self.reader.rest.extend_from_slice(&chunk[..n]);
        }
    }

    /// Reads all that is there.
    fn read(&mut self, scratch: &mut [u8]) -> Result<()> {
        loop {
            match self.socket.read(scratch) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(n) => {
                    self.reader.take(&scratch[..n])?;
                    if self.socket.is_drained(n, scratch.len()) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read from the server"),
            }
        }
    }
}

/// The first frame of what a server sent, if it is whole: text, in one piece, and no larger than 64 KiB.
fn next_frame(bytes: &[u8]) -> Result<Option<Message<'_>>> {
    let (head, size) = match bytes {
        [0x81, size @ 0..126, ..] => (2, usize::from(*size)),
        [0x81, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [0x81, 127, ..] => bail!("a frame is larger than 64 KiB"),
        [] | [0x81] | [0x81, 126, ..] => return Ok(None),
        [first, ..] => bail!("a frame begins with {first:#x}"),
    };
    Ok(bytes.get(head..head + size).map(|payload| Message { payload, len: head + size }))
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_one_after_the_other_and_only_if_they_are_whole() {
        let mut bytes = vec![0x81, 2, b'a', b'b', 0x81, 126, 0, 126];
        bytes.extend([b'x'; 126]);
        let first = next_frame(&bytes).unwrap().unwrap();
        assert_eq!((first.payload, first.len), (&b"ab"[..], 4));
        let second = next_frame(&bytes[4..]).unwrap().unwrap();
        assert_eq!((second.payload.len(), second.len), (126, 130));
        for cut in 4..bytes.len() {
            assert!(next_frame(&bytes[4..cut]).unwrap().is_none(), "{cut}");
        }
        assert!(next_frame(&[0x88, 2, 3, 0xe8]).is_err());
    }

    fn events(numbers: impl Iterator<Item = u64>) -> Vec<u8> {
        numbers.flat_map(|n| format!("id: 7f:{n}\ndata: {}\n\n", text(n, 32)).into_bytes()).collect()
    }

    fn reader(checked: bool) -> Reader {
        Reader { next: next_event, size: 32, rest: Vec::new(), received: 0, checked }
    }

    #[test]
    fn events_are_counted_wherever_they_are_cut() {
        let stream = events(0..12);
        for cut in 0..=stream.len() {
            let mut reader = reader(true);
            reader.take(&stream[..cut]).unwrap();
            let whole = stream[..cut].windows(2).filter(|pair| *pair == b"\n\n").count();
            assert_eq!(reader.received, whole as u64, "{cut}");
            reader.take(&stream[cut..]).unwrap();
            assert_eq!((reader.received, reader.rest.len()), (12, 0), "{cut}");
        }
    }

    #[test]
    fn an_event_that_is_not_the_next_one_is_found() {
        let order = events([0, 2, 1].into_iter());
        let mut damaged = events(0..3);
        let at = damaged.iter().rposition(|byte| *byte == b'a').unwrap();
        damaged[at] = b'b';
        for (stream, right) in [(order, 1), (damaged, 2)] {
            let mut checking = reader(true);
            assert!(checking.take(&stream).is_err());
            assert_eq!(checking.received, right);
            let mut counting = reader(false);
            counting.take(&stream).unwrap();
            assert_eq!(counting.received, 3);
        }
    }
}
