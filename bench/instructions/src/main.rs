//! `bench-instructions SCENARIO COUNT`: the same few bytes through the protocol's state machine, or the hub, COUNT times, without a socket, a clock or
//! anything random, so that a machine that counts instructions gets the same number each time. `cargo xtask instructions` is that machine:
//! it takes what twice as many cost more. `bench-instructions` alone lists the scenarios.

mod hub;

use std::hint::black_box;
use std::process::ExitCode;

use bytes::{Buf, Bytes, BytesMut};
use switchboard_ws_proto::deflate::{Agreed, Policy};
use switchboard_ws_proto::handshake::{ClientHandshake, ClientRequest, ServerHandshake};
use switchboard_ws_proto::{Config, Connection, Event, FrameHeader, Message, Opcode, Role};

/// Runs a scenario that often.
type Run = fn(usize);

const SCENARIOS: &[(&str, Run)] = &[
    ("receive-20", |count| receive(count, &[(true, Opcode::Binary, 20)])),
    ("receive-20-unmasked", |count| receive_as_client(count, 20)),
    ("receive-20-sixteen", |count| receive(count, &[(true, Opcode::Binary, 20); 16])),
    ("receive-1k-text", |count| receive(count, &[(true, Opcode::Text, 1024)])),
    ("receive-16k", |count| receive(count, &[(true, Opcode::Binary, 16384)])),
    ("receive-fragments", |count| receive(count, FRAGMENTS)),
    ("receive-ping", |count| receive(count, &[(true, Opcode::Ping, 4)])),
    ("receive-cut", receive_cut),
    ("receive-1m", receive_large),
    ("receive-deflate-1k", receive_compressed),
    ("send-20", |count| send(count, Role::Server, 20)),
    ("send-20-masked", |count| send(count, Role::Client { mask_seed: [7; 32] }, 20)),
    ("send-1k", |count| send(count, Role::Server, 1024)),
    ("send-16k", |count| send(count, Role::Server, 16384)),
    ("send-deflate-1k", send_compressed),
    ("echo-20", echo),
    ("handshake-server", shake_hands_as_server),
    ("handshake-client", shake_hands_as_client),
    ("hub-publish", hub::publish),
    ("hub-fan-out-1000", hub::fan_out),
];

/// A text of four fragments with a ping among them.
const FRAGMENTS: &[(bool, Opcode, usize)] = &[
    (false, Opcode::Text, 100),
    (false, Opcode::Continuation, 100),
    (true, Opcode::Ping, 0),
    (false, Opcode::Continuation, 100),
    (true, Opcode::Continuation, 100),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => {
            for (name, _) in SCENARIOS {
                println!("{name}");
            }
            ExitCode::SUCCESS
        }
        [name, count] => {
            let Some((_, run)) = SCENARIOS.iter().find(|(known, _)| known == name) else { return ExitCode::FAILURE };
            let Ok(count) = count.parse() else { return ExitCode::FAILURE };
            run(count);
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

/// Letters that are all different from their neighbours: neither zeros nor one long run.
fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| b'a' + (at * 7 % 26) as u8).collect()
}

fn frame(fin: bool, opcode: Opcode, length: usize, key: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = Vec::new();
    FrameHeader { fin, rsv: 0, opcode, mask: key, payload_len: length as u64 }.encode(&mut out);
    let mask = key.unwrap_or_default();
    out.extend(payload(length).iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

fn frames(list: &[(bool, Opcode, usize)]) -> Vec<u8> {
    list.iter().flat_map(|&(fin, opcode, length)| frame(fin, opcode, length, Some(KEY))).collect()
}

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A buffer that is used again and again, as a server does.
#[derive(Debug)]
struct Buffers {
    input: BytesMut,
    output: BytesMut,
}

impl Buffers {
    fn new() -> Self {
        Self { input: BytesMut::with_capacity(INPUT_BYTES), output: BytesMut::with_capacity(16384) }
    }

    fn receive(&mut self, connection: &mut Connection, bytes: &[u8]) {
        let mut chunk = std::mem::take(&mut self.input);
        chunk.clear();
        if !chunk.try_reclaim(INPUT_BYTES) {
            chunk = BytesMut::with_capacity(INPUT_BYTES);
        }
        chunk.extend_from_slice(bytes);
        connection.receive(chunk);
    }

    fn written(&mut self, connection: &mut Connection) {
        let length = connection.transmit_len();
        connection.transmit().advance(length);
        if let Some(buffer) = connection.reclaim_transmit() {
            self.output = buffer;
        }
        if let Some(buffer) = connection.reclaim_input() {
            self.input = buffer;
        }
    }
}

const INPUT_BYTES: usize = 64 * 1024;

fn receive(count: usize, list: &[(bool, Opcode, usize)]) {
    let bytes = frames(list);
    receive_all(count, &mut Connection::new(Role::Server, Config::default()), &bytes);
}

fn receive_as_client(count: usize, length: usize) {
    let bytes = frame(true, Opcode::Binary, length, None);
    receive_all(count, &mut Connection::new(Role::Client { mask_seed: [7; 32] }, Config::default()), &bytes);
}

fn receive_all(count: usize, connection: &mut Connection, bytes: &[u8]) {
    let mut buffers = Buffers::new();
    for _ in 0..count {
        buffers.receive(connection, bytes);
        while let Some(event) = connection.poll_event() {
            assert!(!matches!(black_box(event), Event::Failed(_)));
        }
        buffers.written(connection);
    }
}

/// A message of 1,000 bytes that comes in three reads, its header cut.
fn receive_cut(count: usize) {
    let bytes = frame(true, Opcode::Binary, 1000, Some(KEY));
    let mut connection = Connection::new(Role::Server, Config::default());
    let mut buffers = Buffers::new();
    for _ in 0..count {
        for piece in [&bytes[..3], &bytes[3..500], &bytes[500..]] {
            buffers.receive(&mut connection, piece);
            while let Some(event) = connection.poll_event() {
                black_box(event);
            }
            buffers.written(&mut connection);
        }
    }
}

/// 1 MiB, the most of it read directly into the message's own buffer.
fn receive_large(count: usize) {
    let bytes = frame(true, Opcode::Binary, 1 << 20, Some(KEY));
    let mut connection = Connection::new(Role::Server, Config::default());
    let mut buffers = Buffers::new();
    for _ in 0..count {
        let mut told = 0;
        for piece in bytes.chunks(60_000) {
            match connection.read_buffer() {
                Some(buffer) => buffer.extend_from_slice(piece),
                None => buffers.receive(&mut connection, piece),
            }
            while let Some(event) = connection.poll_event() {
                told += 1;
                black_box(event);
            }
            buffers.written(&mut connection);
        }
        assert_eq!(told, 1);
    }
}

fn agreed() -> Config {
    let params = Policy::default().answer([&*Policy::default().offer().to_string()]).ok().flatten();
    Config::default().deflate(params.map(Agreed::new))
}

/// Of JSON, as channels carry it.
fn json() -> Bytes {
    let record = |number: usize| format!(r#"{{"id":{number},"name":"sensor-{}","value":{}}}"#, number % 7, number * 37);
    let list: Vec<String> = (0..24).map(record).collect();
    Bytes::from(format!("[{}]", list.join(",")))
}

fn send_compressed(count: usize) {
    let mut connection = Connection::new(Role::Server, agreed());
    let mut buffers = Buffers::new();
    let payload = json();
    for _ in 0..count {
        connection.lend_transmit(std::mem::take(&mut buffers.output));
        assert!(connection.send(Message::Binary(payload.clone())).is_ok());
        assert!(connection.transmit_len() < payload.len() / 2);
        buffers.written(&mut connection);
    }
}

fn receive_compressed(count: usize) {
    let mut client = Connection::new(Role::Client { mask_seed: [7; 32] }, agreed());
    assert!(client.send(Message::Binary(json())).is_ok());
    let length = client.transmit_len();
    let bytes = client.transmit().copy_to_bytes(length);
    receive_all(count, &mut Connection::new(Role::Server, agreed()), &bytes);
}

fn send(count: usize, role: Role, length: usize) {
    let mut connection = Connection::new(role, Config::default());
    let mut buffers = Buffers::new();
    let payload = Bytes::from(payload(length));
    for _ in 0..count {
        connection.lend_transmit(std::mem::take(&mut buffers.output));
        assert!(connection.send(Message::Binary(payload.clone())).is_ok());
        black_box(connection.transmit().chunk());
        buffers.written(&mut connection);
    }
}

fn echo(count: usize) {
    let bytes = frame(true, Opcode::Binary, 20, Some(KEY));
    let mut connection = Connection::new(Role::Server, Config::default());
    let mut buffers = Buffers::new();
    for _ in 0..count {
        buffers.receive(&mut connection, &bytes);
        while let Some(event) = connection.poll_event() {
            let Event::Message(message) = event else { continue };
            connection.lend_transmit(std::mem::take(&mut buffers.output));
            assert!(connection.send(message).is_ok());
        }
        black_box(connection.transmit().chunk());
        buffers.written(&mut connection);
    }
}

/// What a browser sends.
const REQUEST: &[u8] = b"GET /chat?room=1 HTTP/1.1\r\nHost: server.example.com:8080\r\nConnection: Upgrade\r\n\
    Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
    Upgrade: websocket\r\nOrigin: http://example.com\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-GB,en;q=0.9\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Protocol: chat, superchat\r\n\r\n";

fn shake_hands_as_server(count: usize) {
    for _ in 0..count {
        let request = ServerHandshake::new().receive(REQUEST).ok().flatten();
        let response = request.and_then(|request| request.accept(Some("chat"), &[]).ok());
        assert!(black_box(response).is_some());
    }
}

fn shake_hands_as_client(count: usize) {
    let response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nServer: example\r\n\r\n";
    for _ in 0..count {
        let handshake = ClientHandshake::new(ClientRequest::new("example.com", "/chat"), *b"the sample nonce");
        let Ok(mut handshake) = handshake else { return };
        black_box(handshake.request());
        let answer = handshake.receive(&mut BytesMut::from(&response[..]));
        assert!(matches!(black_box(answer), Ok(Some(_))));
    }
}
