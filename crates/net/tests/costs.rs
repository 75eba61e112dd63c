//! What a subscriber more costs on the message path, over sockets: its own write, and neither an allocation nor a look at the clock.
//!
//! Counted by an allocator for the whole process, in which nothing else runs meanwhile: a binary of its own, with one test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use core::time::Duration;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelMatch, Grant, Limits, Operations};
use switchboard_net::{Server, Settings};
use switchboard_testkit::FakeDirectory;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: usize = 60;
const FEW: usize = 10;
/// Several slices of a roster.
const MANY: usize = 310;
/// What turns and timers add, for each delivery: far from the one that would be each subscriber's.
const NOISE: f64 = 0.2;

/// Counted over some rounds, in each of which one message goes to all.
#[derive(Clone, Copy, Debug)]
struct Counted {
    allocations: usize,
    writes: u64,
    clock_reads: u64,
}

fn start() -> Server {
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let limits = Limits { operations_per_second: 0, ..Limits::default() };
    let app = Arc::new(App { limits, anonymous, ..App::new(AppId::new("open")) });
    let mut settings = Settings::new("127.0.0.1:0".parse().unwrap(), 7);
    settings.shards = 1;
    let directory = Arc::new(FakeDirectory { apps: vec![app], ..FakeDirectory::default() });
    switchboard_net::bind(settings, directory).unwrap().serve(&axum::Router::new()).unwrap()
}

/// A client that allocates nothing once it is there.
struct Client {
    stream: TcpStream,
    payload: [u8; 512],
}

impl Client {
    fn connect(server: &Server, path: &str) -> Self {
        let mut stream = TcpStream::connect(server.local_addr()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self { stream, payload: [0; 512] }
    }

    /// A short text, masked by zeroes.
    fn send(&mut self, text: &str) {
        let mut frame = [0; 132];
        (frame[0], frame[1]) = (0x81, 0x80 | u8::try_from(text.len()).unwrap());
        frame[6..6 + text.len()].copy_from_slice(text.as_bytes());
        self.stream.write_all(&frame[..6 + text.len()]).unwrap();
    }

    /// The next text.
    fn receive(&mut self) -> &[u8] {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        assert_eq!(head[0], 0x81);
        let mut length = usize::from(head[1]);
        if length == 126 {
            self.stream.read_exact(&mut head).unwrap();
            length = usize::from(u16::from_be_bytes(head));
        }
        self.stream.read_exact(&mut self.payload[..length]).unwrap();
        &self.payload[..length]
    }
}

fn raw(server: &Server) -> Client {
    Client::connect(server, "/raw/room")
}

fn native(server: &Server) -> Client {
    let mut client = Client::connect(server, "/ws");
    assert!(client.receive().starts_with(br#"{"type":"welcome""#));
    client.send(r#"{"type":"subscribe","channel":"room","id":1}"#);
    assert!(client.receive().starts_with(br#"{"type":"ok""#));
    client
}

fn count(server: &Server) -> Counted {
    let stats = server.hub().stats().total;
    let heap = ALLOCATOR.stats();
    let allocations = heap.allocations + heap.reallocations;
    Counted { allocations, writes: stats.writes, clock_reads: stats.clock_reads }
}

fn measure(subscribers: usize, connect: impl Fn(&Server) -> Client) -> Counted {
    let server = start();
    let mut publisher = raw(&server);
    let mut clients: Vec<_> = (0..subscribers).map(|_| connect(&server)).collect();
    let mut round = || {
        publisher.send("to all who are here");
        assert_eq!(publisher.receive(), b"to all who are here");
        for client in &mut clients {
            let received = client.receive();
            assert!(received.windows(19).any(|words| words == b"to all who are here"));
        }
    };
    // Lists find their size, and the history its own.
    (0..200).for_each(|_| round());
    let before = count(&server);
    (0..ROUNDS).for_each(|_| round());
    let after = count(&server);
    server.stop();
    Counted {
        allocations: after.allocations - before.allocations,
        writes: after.writes - before.writes,
        clock_reads: after.clock_reads - before.clock_reads,
    }
}

#[test]
fn a_subscriber_more_is_a_write_more_and_nothing_else() {
    for (name, connect) in [("raw", raw as fn(&Server) -> Client), ("native", native)] {
        let (few, many) = (measure(FEW, connect), measure(MANY, connect));
        let each = |few: f64, many: f64| (many - few) / ((MANY - FEW) * ROUNDS) as f64;
        let allocations = each(few.allocations as f64, many.allocations as f64);
        let clock_reads = each(few.clock_reads as f64, many.clock_reads as f64);
        let writes = each(few.writes as f64, many.writes as f64);
        assert!(allocations < NOISE, "{name}: {allocations:.3} allocations for each subscriber: {few:?}, {many:?}");
        assert!(clock_reads < NOISE, "{name}: {clock_reads:.3} looks at the clock for each: {few:?}, {many:?}");
        assert!((1.0 - NOISE..1.0 + NOISE).contains(&writes), "{name}: {writes:.3} writes for each: {few:?}, {many:?}");
    }
}
