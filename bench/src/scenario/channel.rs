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
    client::{SILENCE_MAX, open},
    sys::Epoll,
    transport::Transport,
    wire::{OPCODE_TEXT, mask_key, put_header},
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
        let (subscribe, subscribed) = subscription(&target.path)?;
        let publishing = Target { path: PUBLISH_AT.to_owned(), tls: None, ..*target };
        let mut publisher = Client::connect(&publishing, 0)?;
        let mut subscribers = Vec::with_capacity(self.subscribers);
        for number in 0..self.subscribers {
            let mut client = Client::connect(target, number)?;
            client.send(subscribe)?;
            client.wait_for(subscribed)?;
            client.socket.tcp().set_nonblocking(true)?;
            client.checked = number < CHECKED || number + 1 == self.subscribers;
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
                let text = format!("{:a>size$}", marker(sent), size = self.size);
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
                let before = client.received;
                client.read(&mut scratch)?;
                flight.delivered(before, client.received)?;
                deliveries += client.received - before;
            }
            ensure!(woken, "no delivery for {} s; {} messages are incomplete", SILENCE_MAX.as_secs(), flight.len());
            let complete = flight.land();
            allowed = if span.goes_on(deliveries)? { complete } else { 0 };
        }
        ensure!(
            clients.iter().all(|client| client.received == sent),
            "a subscriber got other than the {sent} messages"
        );
        Ok(())
    }
}

/// What a client says to subscribe, and what is in the answer.
fn subscription(path: &str) -> Result<(&'static str, &'static str)> {
    match path {
        path if path.starts_with("/ws") => Ok((r#"{"type":"subscribe","id":1,"channel":"bench"}"#, r#""type":"ok""#)),
        path if path.starts_with("/app/") => {
            Ok((r#"{"event":"pusher:subscribe","data":{"channel":"bench"}}"#, "subscription_succeeded"))
        }
        path => bail!("nothing is known of how to subscribe at {path}"),
    }
}

/// Stands in each message, and in no other.
fn marker(number: u64) -> String {
    format!("#{number:09}#")
}

#[derive(Debug)]
struct Client {
    socket: Transport,
    /// The beginning of a frame.
    rest: Vec<u8>,
    received: u64,
    checked: bool,
}

impl Client {
    fn connect(target: &Target, number: usize) -> Result<Self> {
        let (socket, _, rest) = open(target, number, "")?;
        Ok(Self { socket, rest, received: 0, checked: true })
    }

    fn send(&mut self, text: &str) -> Result<()> {
        let (mut frame, key) = (Vec::with_capacity(text.len() + 14), mask_key(0));
        put_header(&mut frame, OPCODE_TEXT, text.len(), 0x80);
        frame.extend_from_slice(&key);
        frame.extend(text.bytes().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.socket.write_all(&frame).context("cannot write to the server")
    }

    /// Reads frames until one has a text in it. What is behind it stays.
    fn wait_for(&mut self, text: &str) -> Result<()> {
        let mut chunk = [0; 4096];
        loop {
            while let Some(frame) = next_frame(&self.rest)? {
                let found = has(frame.payload, text.as_bytes());
                let len = frame.len;
                self.rest.drain(..len);
                if found {
                    return Ok(());
                }
            }
            let n = self.socket.read(&mut chunk).context("cannot read from the server")?;
            ensure!(n > 0, "the server closed a connection");
            self.rest.extend_from_slice(&chunk[..n]);
        }
    }

    /// Reads all that is there.
    fn read(&mut self, scratch: &mut [u8]) -> Result<()> {
        loop {
            match self.socket.read(scratch) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(n) => {
                    self.take(&scratch[..n])?;
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

    fn take(&mut self, chunk: &[u8]) -> Result<()> {
        let joined = (!self.rest.is_empty()).then(|| [core::mem::take(&mut self.rest), chunk.to_vec()].concat());
        let mut bytes = joined.as_deref().unwrap_or(chunk);
        while let Some(frame) = next_frame(bytes)? {
            if self.checked {
                let expected = marker(self.received);
                ensure!(has(frame.payload, expected.as_bytes()), "message {} came out of order", self.received);
            }
            self.received += 1;
            bytes = &bytes[frame.len..];
        }
        self.rest = bytes.to_vec();
        Ok(())
    }
}

struct Frame<'a> {
    payload: &'a [u8],
    len: usize,
}

/// The first frame of what a server sent, if it is whole: text, in one piece, and no larger than 64 KiB.
fn next_frame(bytes: &[u8]) -> Result<Option<Frame<'_>>> {
    let (head, size) = match bytes {
        [0x81, size @ 0..126, ..] => (2, usize::from(*size)),
        [0x81, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [0x81, 127, ..] => bail!("a frame is larger than 64 KiB"),
        [] | [0x81] | [0x81, 126, ..] => return Ok(None),
        [first, ..] => bail!("a frame begins with {first:#x}"),
    };
    Ok(bytes.get(head..head + size).map(|payload| Frame { payload, len: head + size }))
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
}
