//! Owns one client connection: the handshake, what may still be sent, what arrived and whether it was right.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    events,
    scenario::Target,
    transport::Transport,
    wire::{Script, check_response, request},
};

/// How long a connection may stay silent when something is due.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);
const READ_BUFFER: usize = 256 * 1024;

/// The read buffer that all connections share.
#[derive(Debug)]
pub struct Scratch(Vec<u8>);

impl Default for Scratch {
    fn default() -> Self {
        Self(vec![0; READ_BUFFER])
    }
}

#[derive(Debug)]
pub struct Client {
    pub socket: Transport,
    /// Bytes of the script: sent, allowed to be sent, received.
    sent: u64,
    allowed: u64,
    received: u64,
    /// Whether every byte is compared with the script; otherwise bytes are counted.
    checked: bool,
}

impl Client {
    /// Connects, shakes hands (blocking) and leaves the socket non-blocking. `{n}` in the path becomes the number.
    pub fn connect(target: &Target, number: usize, checked: bool) -> Result<Self> {
        let (socket, _) = shake_hands(target, number, "")?;
        Ok(Self { socket, sent: 0, allowed: 0, received: 0, checked })
    }

    /// Lets `messages` more messages go out; [`Client::write`] sends them.
    pub fn allow(&mut self, script: &Script, messages: u64) {
        self.allowed += messages * script.frame_len();
    }

    /// Sends what is allowed, as far as the socket takes it.
    pub fn write(&mut self, script: &Script) -> Result<()> {
        while self.sent < self.allowed {
            match self.socket.write(script.outgoing(self.sent, self.allowed)) {
                Ok(n) => self.sent += n as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot write to the server"),
            }
        }
        Ok(())
    }

    /// Reads all that is there and returns how many messages are complete by now, since the beginning.
    pub fn read(&mut self, script: &Script, scratch: &mut Scratch) -> Result<u64> {
        loop {
            match self.socket.read(&mut scratch.0) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(n) => {
                    let chunk = &scratch.0[..n];
                    if self.checked {
                        ensure!(script.matches(self.received, chunk), "wrong bytes after {} right ones", self.received);
                    }
                    self.received += n as u64;
                    if self.socket.is_drained(n, scratch.0.len()) {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read from the server"),
            }
        }
        Ok(self.messages_received(script))
    }

    pub fn messages_received(&self, script: &Script) -> u64 {
        self.received / script.reply_len()
    }

    pub fn messages_allowed(&self, script: &Script) -> u64 {
        self.allowed / script.frame_len()
    }

    /// Whether exactly `messages` messages came, to the byte.
    pub fn received_exactly(&self, script: &Script, messages: u64) -> bool {
        self.received == messages * script.reply_len()
    }
}

/// Opens `count` connections one after another; the first few and the last are checked byte by byte.
pub fn connect_all(target: &Target, count: usize) -> Result<Vec<Client>> {
    (0..count)
        .map(|index| Client::connect(target, index, index < CHECKED || index + 1 == count))
        .collect::<Result<_>>()
        .with_context(|| format!("while opening {count} connections"))
}

const CHECKED: usize = 3;

/// Connects and shakes hands (blocking), with more header lines: the socket, non-blocking, and the head of the answer.
pub fn shake_hands(target: &Target, number: usize, headers: &str) -> Result<(Transport, String)> {
    let (socket, head, rest) = open(target, number, headers)?;
    ensure!(rest.is_empty(), "the server sent {} bytes unasked after the handshake", rest.len());
    socket.tcp().set_nonblocking(true)?;
    Ok((socket, head))
}

/// A socket, the head of the answer, and what has come behind that.
pub type Opened = (Transport, String, Vec<u8>);

/// The same with a socket that stays blocking, and with what the server has sent behind the head.
pub fn open(target: &Target, number: usize, headers: &str) -> Result<Opened> {
    let path = target.path.replace("{n}", &number.to_string());
    ask(target, &request(&path, &target.addr.to_string(), headers), check_response)
}

/// Opens a stream of events: as [`open`].
pub fn open_events(target: &Target, number: usize) -> Result<Opened> {
    let path = target.path.replace("{n}", &number.to_string());
    ask(target, &events::request(&path, &target.addr.to_string()), events::check_response)
}

/// A WebSocket's handshake whose answer is not awaited yet.
#[derive(Debug)]
pub struct Shaking(Transport);

impl Shaking {
    pub fn begin(target: &Target, number: usize) -> Result<Self> {
        let path = target.path.replace("{n}", &number.to_string());
        let mut socket = Transport::open(target)?;
        socket.write_all(&request(&path, &target.addr.to_string(), "")).context("cannot shake hands")?;
        Ok(Self(socket))
    }

    pub fn finish(self) -> Result<Opened> {
        answer(self.0, check_response)
    }
}

/// `check` finds the end of the answer's head.
fn ask(target: &Target, request: &[u8], check: fn(&[u8]) -> Result<Option<usize>>) -> Result<Opened> {
    let mut socket = Transport::open(target)?;
    socket.write_all(request).context("cannot shake hands")?;
    answer(socket, check)
}

fn answer(mut socket: Transport, check: fn(&[u8]) -> Result<Option<usize>>) -> Result<Opened> {
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    let head_len = loop {
        let n = socket.read(&mut chunk).context("no answer to the handshake")?;
        ensure!(n > 0, "the server closed the connection during the handshake: {}", String::from_utf8_lossy(&head));
        head.extend_from_slice(&chunk[..n]);
        if let Some(len) = check(&head)? {
            break len;
        }
    };
    let rest = head.split_off(head_len);
    Ok((socket, String::from_utf8_lossy(&head).into_owned(), rest))
}
