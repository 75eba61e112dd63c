//! Compression (RFC 7692): echo of JSON, and the memory of connections that have echoed one message. What the server sends back depends on
//! how it compresses, so replies are counted by frames, and inflated and compared on a few connections.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use miniz_oxide::{
    DataFormat, MZFlush,
    deflate::{core::CompressorOxide, stream::deflate},
    inflate::stream::{InflateState, inflate},
};
use serde_json::{Value, json};

use super::{Span, Target};
use crate::{
    client::{SILENCE_MAX, shake_hands},
    machine,
    sys::Epoll,
    transport::Transport,
    wire::{OPCODE_TEXT, mask_key, put_header},
};

/// Echo of compressed JSON.
#[derive(Debug)]
pub struct DeflateEcho {
    pub size: usize,
    pub connections: usize,
    /// Messages in flight on each connection.
    pub depth: usize,
    /// No side keeps a context.
    pub alone: bool,
    pub warm_up: Duration,
    pub duration: Duration,
}

/// Connections that have echoed one compressed message.
#[derive(Debug)]
pub struct DeflateIdle {
    pub size: usize,
    pub connections: usize,
    pub alone: bool,
    pub settle: Duration,
}

impl DeflateEcho {
    pub fn run(&self, target: &Target) -> Result<Value> {
        let script = Script::new(self.size, self.alone)?;
        let mut clients = Vec::with_capacity(self.connections);
        let mut epoll = Epoll::new(self.connections)?;
        for index in 0..self.connections {
            let checked = index < CHECKED || index + 1 == self.connections;
            let mut client = Client::connect(target, index, checked, self.alone)?;
            epoll.add(&client.socket, index)?;
            client.allowed += self.depth as u64;
            client.write(&script)?;
            clients.push(client);
        }
        let mut span = Span::new(target.pid, self.warm_up, self.duration);
        let mut scratch = vec![0; 256 * 1024];
        let (mut total, mut running) = (0, true);
        let mut outstanding = (self.connections * self.depth) as u64;
        while outstanding > 0 {
            let mut woken = false;
            for token in epoll.wait(SILENCE_MAX)? {
                woken = true;
                let Some(client) = clients.get_mut(token) else { bail!("the kernel reported an unknown connection") };
                let replies = client.read(&script, &mut scratch)?;
                total += replies;
                if running {
                    client.allowed += replies;
                } else {
                    outstanding = outstanding.checked_sub(replies).context("more replies than messages")?;
                }
                client.write(&script)?;
            }
            ensure!(woken, "no reply for {} s", SILENCE_MAX.as_secs());
            running = running && span.goes_on(total)?;
        }
        for client in &clients {
            ensure!(
                client.received == client.allowed && client.input.is_empty(),
                "a connection got more than its replies"
            );
        }
        let mut result = span.result();
        let bytes: u64 = clients.iter().map(|client| client.bytes).sum();
        result["reply_bytes_each"] = json!(bytes as f64 / total.max(1) as f64);
        Ok(result)
    }
}

impl DeflateIdle {
    pub fn run(&self, target: &Target) -> Result<Value> {
        let script = Script::new(self.size, self.alone)?;
        // The first connections pay for what the server allocates once.
        let first = self.open(target, &script, 0..FIRST)?;
        std::thread::sleep(self.settle);
        let before = machine::rss_bytes(target.pid)?;
        let rest = self.open(target, &script, FIRST..FIRST + self.connections)?;
        std::thread::sleep(self.settle);
        let grown = machine::rss_bytes(target.pid)?.saturating_sub(before);
        drop((first, rest));
        Ok(json!({
            "connections": self.connections,
            "server_rss_bytes_each": grown as f64 / self.connections as f64,
            "server_rss_bytes_before": before,
        }))
    }

    fn open(&self, target: &Target, script: &Script, numbers: std::ops::Range<usize>) -> Result<Vec<Client>> {
        let mut scratch = vec![0; 64 * 1024];
        let mut clients = Vec::with_capacity(numbers.len());
        for number in numbers {
            let mut client = Client::connect(target, number, true, self.alone)?;
            let mut epoll = Epoll::new(1)?;
            epoll.add(&client.socket, 0)?;
            client.allowed = 1;
            client.write(script)?;
            while client.received == 0 {
                ensure!(epoll.wait(SILENCE_MAX)?.next().is_some(), "no echo for {} s", SILENCE_MAX.as_secs());
                client.read(script, &mut scratch)?;
            }
            clients.push(client);
        }
        Ok(clients)
    }
}

/// Connections whose replies are inflated and compared.
const CHECKED: usize = 3;
const FIRST: usize = 16;

/// Messages that repeat every [`PERIOD`]. Each round begins a new context, as a sender may, so that the bytes repeat too.
struct Script {
    payloads: Vec<Vec<u8>>,
    frames: Vec<u8>,
    /// Where each message's frame ends in `frames`.
    ends: Vec<usize>,
}

const PERIOD: usize = 64;

impl Script {
    fn new(size: usize, alone: bool) -> Result<Self> {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let payloads: Vec<Vec<u8>> = (0..PERIOD).map(|index| document(&mut random, index, size)).collect();
        let (mut frames, mut ends) = (Vec::new(), Vec::new());
        let mut compressor = compressor();
        for (index, payload) in payloads.iter().enumerate() {
            if alone {
                compressor = self::compressor();
            }
            let compressed = compress(&mut compressor, payload)?;
            let key = mask_key(index);
            put_header(&mut frames, OPCODE_TEXT | RSV1, compressed.len(), 0x80);
            frames.extend_from_slice(&key);
            frames.extend(compressed.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
            ends.push(frames.len());
        }
        Ok(Self { payloads, frames, ends })
    }

    /// The bytes up to the end of so many messages.
    fn end_of(&self, messages: u64) -> u64 {
        let (rounds, rest) = (messages / PERIOD as u64, (messages % PERIOD as u64) as usize);
        rounds * self.frames.len() as u64 + rest.checked_sub(1).map_or(0, |last| self.ends[last] as u64)
    }

    /// What to send from byte `from` of the stream up to byte `to`; possibly shorter.
    fn outgoing(&self, from: u64, to: u64) -> &[u8] {
        let start = (from % self.frames.len() as u64) as usize;
        let end = self.frames.len().min(start + (to - from) as usize);
        &self.frames[start..end]
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) % bound
    }
}

/// Trades as a feed would tell them: names repeat, numbers do not.
fn document(random: &mut Random, index: usize, size: usize) -> Vec<u8> {
    let mut text = format!(r#"{{"type":"message","channel":"market:trades","offset":{},"data":["#, 4_711_000 + index);
    loop {
        let trade = format!(
            r#"{{"id":{},"symbol":"{}","price":{}.{:02},"size":{},"side":"{}","at":"2026-11-21T12:{:02}:{:02}.{:03}Z"}}"#,
            900_000_000 + random.below(90_000_000),
            ["ACME", "GLOBEX", "INITECH", "UMBRELLA", "HOOLI"][random.below(5) as usize],
            random.below(900) + 100,
            random.below(100),
            random.below(5000),
            ["buy", "sell"][random.below(2) as usize],
            random.below(60),
            random.below(60),
            random.below(1000),
        );
        if text.len() + trade.len() + 3 > size {
            text.push_str("]}");
            return text.into_bytes();
        }
        if !text.ends_with('[') {
            text.push(',');
        }
        text.push_str(&trade);
    }
}

fn compressor() -> Box<CompressorOxide> {
    let mut compressor = Box::<CompressorOxide>::default();
    compressor.set_format_and_level(DataFormat::Raw, 6);
    compressor
}

/// RFC 7692 §7.2.1: flushed, without the tail.
fn compress(compressor: &mut CompressorOxide, payload: &[u8]) -> Result<Vec<u8>> {
    let mut output = vec![0; payload.len() + 128];
    let result = deflate(compressor, payload, &mut output, MZFlush::Sync);
    ensure!(result.status.is_ok() && result.bytes_consumed == payload.len(), "the generator cannot compress");
    output.truncate(result.bytes_written);
    ensure!(output.ends_with(&TAIL), "the generator's compressor does not flush");
    output.truncate(output.len() - TAIL.len());
    Ok(output)
}

const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
const RSV1: u8 = 0x40;

struct Client {
    socket: Transport,
    /// Bytes of the script that were sent.
    sent: u64,
    /// Messages: that may be sent, that came back.
    allowed: u64,
    received: u64,
    /// Bytes that came back.
    bytes: u64,
    /// The beginning of a frame.
    input: Vec<u8>,
    /// On connections that are checked.
    inflate: Option<Box<InflateState>>,
    alone: bool,
}

impl Client {
    fn connect(target: &Target, number: usize, checked: bool, alone: bool) -> Result<Self> {
        let offer = if alone { ALONE } else { "permessage-deflate" };
        let (socket, head) = shake_hands(target, number, &format!("Sec-WebSocket-Extensions: {offer}\r\n"))?;
        let answer = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-extensions").then(|| value.trim().to_owned())
        });
        let answer = answer.context("the server agreed to no compression")?;
        ensure!(answer.contains("no_context_takeover") == alone, "the server agreed to something else: {answer}");
        let inflate = checked.then(|| InflateState::new_boxed(DataFormat::Raw));
        Ok(Self { socket, sent: 0, allowed: 0, received: 0, bytes: 0, input: Vec::new(), inflate, alone })
    }

    fn write(&mut self, script: &Script) -> Result<()> {
        let end = script.end_of(self.allowed);
        while self.sent < end {
            match self.socket.write(script.outgoing(self.sent, end)) {
                Ok(n) => self.sent += n as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot write to the server"),
            }
        }
        Ok(())
    }

    /// Reads all that is there: how many messages it completed.
    fn read(&mut self, script: &Script, scratch: &mut [u8]) -> Result<u64> {
        let before = self.received;
        loop {
            match self.socket.read(scratch) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(n) => {
                    self.bytes += n as u64;
                    self.input.extend_from_slice(&scratch[..n]);
                    self.take_frames(script)?;
                    if self.socket.is_drained(n, scratch.len()) {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read from the server"),
            }
        }
        Ok(self.received - before)
    }

    fn take_frames(&mut self, script: &Script) -> Result<()> {
        let mut at = 0;
        while let Some((start, len)) = header(&self.input[at..])? {
            let Some(payload) = self.input.get(at + start..at + start + len) else { break };
            ensure!(self.received < self.allowed, "a reply to what was not sent");
            if let Some(state) = &mut self.inflate {
                if self.alone {
                    state.reset(DataFormat::Raw);
                }
                let expected = &script.payloads[(self.received % PERIOD as u64) as usize];
                ensure!(inflated(state, payload, expected.len())? == *expected, "reply {} is wrong", self.received);
            }
            self.received += 1;
            at += start + len;
        }
        self.input.drain(..at);
        Ok(())
    }
}

const ALONE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The length of the header and of the payload, once the header is whole. Every reply has to be one frame, compressed.
fn header(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    ensure!(*first == 0x80 | RSV1 | OPCODE_TEXT, "a reply begins with {first:#x}: no compressed text in one frame");
    Ok(match (second, rest) {
        (126, [high, low, ..]) => Some((4, usize::from(u16::from_be_bytes([*high, *low])))),
        (126, _) => None,
        (len @ 0..126, _) => Some((2, usize::from(*len))),
        _ => bail!("a reply is masked, or larger than what was sent"),
    })
}

fn inflated(state: &mut InflateState, payload: &[u8], len: usize) -> Result<Vec<u8>> {
    let mut output = vec![0; len + 64];
    let mut written = 0;
    for mut input in [payload, &TAIL] {
        while !input.is_empty() {
            let result = inflate(state, input, &mut output[written..], MZFlush::None);
            ensure!(result.bytes_consumed + result.bytes_written > 0, "a reply cannot be inflated");
            written += result.bytes_written;
            input = &input[result.bytes_consumed..];
        }
    }
    output.truncate(written);
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_inflates_to_json_round_after_round() {
        for alone in [false, true] {
            let script = Script::new(1024, alone).unwrap();
            let mut state = InflateState::new_boxed(DataFormat::Raw);
            for round in 0..2 {
                let mut start = 0;
                for (index, end) in script.ends.iter().enumerate() {
                    let frame = &script.frames[start..*end];
                    let header = if frame[1] & 0x7f == 126 { 4 } else { 2 };
                    let key = &frame[header..header + 4];
                    let clear: Vec<u8> =
                        frame[header + 4..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
                    if alone {
                        state.reset(DataFormat::Raw);
                    }
                    let found = inflated(&mut state, &clear, 1024).unwrap();
                    assert_eq!(found, script.payloads[index], "{round} {index}");
                    assert!(
                        (900..=1024).contains(&found.len()) && clear.len() < 600,
                        "{} {}",
                        found.len(),
                        clear.len()
                    );
                    serde_json::from_slice::<Value>(&found).unwrap();
                    start = *end;
                }
            }
            assert_eq!(script.end_of(PERIOD as u64), script.frames.len() as u64);
            assert_eq!(script.end_of(PERIOD as u64 + 1), (script.frames.len() + script.ends[0]) as u64);
        }
    }

    #[test]
    fn replies_that_are_not_compressed_are_refused() {
        assert!(header(&[0x81, 5, 0]).is_err());
        assert!(header(&[0xc1]).unwrap().is_none());
        assert!(header(&[0xc1, 126, 1]).unwrap().is_none());
        assert_eq!(header(&[0xc1, 126, 1, 0]).unwrap(), Some((4, 256)));
        assert!(header(&[0xc1, 0x85]).is_err());
    }
}
