//! One direction of a connection: bytes in order, late, in pieces, and no more of them on the way than the buffers of two kernels hold.

use core::time::Duration;
use std::collections::VecDeque;
use switchboard_core::Time;
use switchboard_testkit::Rng;

/// Bytes on their way.
#[derive(Debug)]
pub(crate) struct Pipe {
    flight: VecDeque<(Time, Vec<u8>)>,
    /// Arrived and not read.
    ready: VecDeque<u8>,
    /// On the way and unread.
    bytes: usize,
    capacity: usize,
    last_arrival: Time,
}

impl Pipe {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { flight: VecDeque::new(), ready: VecDeque::new(), bytes: 0, capacity, last_arrival: Time::default() }
    }

    /// Takes as many bytes as there is room for. Returns how many, and when the last of them arrive.
    pub(crate) fn write(&mut self, now: Time, bytes: &[u8], latency: Latency, rng: &mut Rng) -> (usize, Time) {
        let taken = bytes.len().min(self.capacity.saturating_sub(self.bytes));
        let mut rest = bytes.get(..taken).unwrap_or_default();
        while !rest.is_empty() {
            // Mostly whole, sometimes torn anywhere.
            let piece = if rng.one_in(4) { 1 + rng.below(rest.len()) } else { rest.len() };
            let (now_sent, later) = rest.split_at(piece);
            self.last_arrival = self.last_arrival.max(now + latency.draw(rng));
            self.flight.push_back((self.last_arrival, now_sent.to_vec()));
            rest = later;
        }
        self.bytes += taken;
        (taken, self.last_arrival)
    }

    /// What has arrived becomes readable.
    pub(crate) fn arrive(&mut self, now: Time) {
        while let Some((at, _)) = self.flight.front()
            && *at <= now
        {
            let Some((_, piece)) = self.flight.pop_front() else { return };
            self.ready.extend(piece);
        }
    }

    /// Reads at most `limit` bytes.
    pub(crate) fn read(&mut self, limit: usize) -> Vec<u8> {
        let count = limit.min(self.ready.len());
        self.bytes -= count;
        self.ready.drain(..count).collect()
    }

    /// Forgets everything: the connection was reset.
    pub(crate) fn clear(&mut self) {
        self.flight.clear();
        self.ready.clear();
        self.bytes = 0;
    }
}

/// How long something takes.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// At least, in microseconds.
    pub min: u64,
    /// At most.
    pub max: u64,
}

impl Latency {
    pub(crate) fn draw(self, rng: &mut Rng) -> Duration {
        Duration::from_micros(self.min + rng.number() % (self.max - self.min + 1))
    }
}

/// Finds messages in a stream: kind, length, payload, as the test kit frames them.
#[derive(Debug, Default)]
pub(crate) struct Deframer {
    buffer: Vec<u8>,
    start: usize,
}

/// A text message.
pub(crate) const TEXT: u8 = 0;
/// A binary message.
pub(crate) const BINARY: u8 = 1;
/// The end of the connection: two bytes of code.
pub(crate) const CLOSE: u8 = 2;

impl Deframer {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message.
    pub(crate) fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let rest = self.buffer.get(self.start..)?;
        let (kind, rest) = rest.split_first()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let payload = rest.get(..length)?.to_vec();
        let kind = *kind;
        self.start += 5 + length;
        if self.start > 64 * 1024 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        Some((kind, payload))
    }
}

/// A message as the other end will find it.
pub(crate) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
