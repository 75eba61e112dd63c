//! A server in this process, and small clients.

use core::net::SocketAddr;
use core::time::Duration;
use serde_json::Value;
use std::future::Future;
use switchboard_server::config::{self, Config};
use switchboard_server::{Running, start};
use switchboard_ws::{Connector, MaybeTls, Message, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub type Socket = WebSocket<MaybeTls<TcpStream>>;

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub const API_KEY: &str = "api-key-0123456789";

/// Two applications; the first takes anybody on `room:*`, the second wants tokens.
pub const TWO_APPS: &str = r#"
    [[apps]]
    id = "open"
    secret = "0123456789abcdef0123456789abcdef"
    api_keys = ["api-key-0123456789"]
    origins = ["https://*.example.com"]
    anonymous = [{ match = "room:*", allow = ["*"] }]
    [[apps]]
    id = "closed"
    secret = "fedcba9876543210fedcba9876543210"
    api_keys = ["another-key-0123456789"]
    [[raw]]
    path = "/lobby"
    channel = "room:lobby"
"#;

pub fn configured(text: &str) -> Config {
    let mut raw: config::RawConfig = toml::from_str(text).unwrap();
    raw.server.listen = "127.0.0.1:0".to_owned();
    raw.server.admin_listen = "127.0.0.1:0".to_owned();
    raw.server.shards = config::Count(2);
    config::check(&raw, |_| None).unwrap()
}

/// Runs a test against a server that is stopped when the test is over.
pub fn with_server(config: &Config, test: impl AsyncFnOnce(&Running)) {
    // Only the first call installs it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    block_on(async {
        let running = start(config).await.unwrap();
        within(30, test(&running)).await;
        within(30, running.shut_down(Duration::ZERO)).await;
    });
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Nothing in a test may take for ever.
pub async fn within<T>(seconds: u64, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), future).await.expect("in time")
}

pub async fn connect(url: &str) -> Socket {
    Connector::new().connect(url).await.unwrap().0
}

/// A native client that has read its welcome.
pub async fn native(address: SocketAddr) -> Socket {
    let mut socket = connect(&format!("ws://{address}/ws")).await;
    assert_eq!(receive(&mut socket).await["type"], "welcome");
    socket
}

/// The next JSON message.
pub async fn receive(socket: &mut Socket) -> Value {
    serde_json::from_str(&receive_text(socket).await).unwrap()
}

pub async fn receive_text(socket: &mut Socket) -> String {
    match within(10, socket.recv()).await {
        Some(Ok(Message::Text(text))) => text.to_string(),
        other => panic!("{other:?} is no text"),
    }
}

pub async fn ask(socket: &mut Socket, request: &Value) -> Value {
    socket.send(request.to_string()).await.unwrap();
    receive(socket).await
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The code of an error.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }

    pub fn has_header(&self, line: &str) -> bool {
        self.head.lines().any(|known| known == line)
    }
}

/// One request, written by hand so that it can be wrong. `Host` is added unless `head` has it.
pub async fn request(address: SocketAddr, head: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let mut text = format!("{line} HTTP/1.1\r\n");
    let mut headers: Vec<String> =
        headers.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    if !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("host:")) {
        headers.push(format!("Host: {address}"));
    }
    headers.push(format!("Content-Length: {}", body.len()));
    if !headers.iter().any(|header| header.starts_with("Connection:")) {
        headers.push("Connection: close".to_owned());
    }
    for header in headers {
        text.push_str(&header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.push_str(body);
    // A server that refuses early may have closed before all was written.
    let _ = stream.write_all(text.as_bytes()).await;
    let mut bytes = Vec::new();
    let _ = within(10, stream.read_to_end(&mut bytes)).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {line}: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body =
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
    Answer { status, head: head.to_ascii_lowercase().replace("\r\n", "\n"), body }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}
