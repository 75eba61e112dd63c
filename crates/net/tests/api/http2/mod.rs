//! HTTP/2 on the product's listener.

mod floods;
mod limits;
mod sessions;

use switchboard_net::Server;
use switchboard_ws::Connector;
use switchboard_ws::http2::{Http2Connection, Http2Stream};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

type Socket = switchboard_ws::WebSocket<Http2Stream>;

async fn connect(server: &Server) -> Http2Connection {
    Connector::new().connect_http2(&format!("ws://{}", server.local_addr())).await.unwrap()
}

async fn open(connection: &Http2Connection, path: &str) -> Socket {
    connection.open(path).await.unwrap_or_else(|error| panic!("{path}: {error}")).0
}

async fn text(socket: &mut Socket) -> String {
    socket.recv().await.unwrap().unwrap().as_text().unwrap().to_owned()
}

/// A connection that has sent its preface, to be written to by hand.
async fn raw(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

/// A literal field that is not indexed (RFC 7541 §6.2.2), with strings shorter than 127 bytes.
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

/// The head of a request for a WebSocket.
fn head(path: &str) -> Vec<u8> {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "127.0.0.1"),
        ("sec-websocket-version", "13"),
    ];
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// The next frame: kind, flags, stream, payload; `None` at the end of the connection.
async fn read_frame(stream: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut header = [0; 9];
    stream.read_exact(&mut header).await.ok()?;
    let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.ok()?;
    let id = u32::from_be_bytes(header[5..9].try_into().unwrap());
    Some((header[3], header[4], id, payload))
}
