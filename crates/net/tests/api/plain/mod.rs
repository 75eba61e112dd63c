//! Clients of plain HTTP: streams of events and lines, polls, requests.

mod faults;
pub(crate) mod http2;
mod requests;
mod streams;

use core::net::SocketAddr;
use serde_json::Value;
use switchboard_net::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection of HTTP/1.1 and what has come on it.
pub(crate) struct Http {
    pub(crate) stream: TcpStream,
    pub(crate) input: String,
}

impl Http {
    pub(crate) async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, input: String::new() }
    }

    /// One whose kernel takes little on its behalf.
    pub(crate) async fn connect_narrow(server: &Server) -> Self {
        Self::connect_narrow_to(server.local_addr()).await
    }

    pub(crate) async fn connect_narrow_to(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        Self { stream: socket.connect(address).await.unwrap(), input: String::new() }
    }

    /// Sends a head, in lines, and a body.
    pub(crate) async fn ask(&mut self, head: &str, body: &str) {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = head.replace('\n', "\r\n");
        let request = head
            .split_once("\r\n")
            .map_or((head.as_str(), String::new()), |(line, rest)| (line, format!("{rest}\r\n")));
        let request = format!("{} HTTP/1.1\r\nHost: a\r\n{}{length}\r\n{body}", request.0, request.1);
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    /// Reads until the input has `end`, and takes all up to there.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.input.find(end) {
                let rest = self.input.split_off(at + end.len());
                return core::mem::replace(&mut self.input, rest);
            }
            let mut bytes = vec![0; 16 * 1024];
            let count = self.stream.read(&mut bytes).await.unwrap();
            assert_ne!(count, 0, "the server hung up after {:?}", self.input);
            self.input.push_str(core::str::from_utf8(&bytes[..count]).unwrap());
        }
    }

    /// The next event or comment of a stream, as its lines.
    pub(crate) async fn event(&mut self) -> String {
        self.until("\n\n").await.trim_end().to_owned()
    }

    /// A head with the body that its length says.
    pub(crate) async fn answer(&mut self) -> (u16, String, String) {
        let head = self.until("\r\n\r\n").await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = self.body(&head).await;
        (status, head, body)
    }

    /// The body behind a head that says its length.
    pub(crate) async fn body(&mut self, head: &str) -> String {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while self.input.len() < length {
            let mut bytes = vec![0; 16 * 1024];
            let count = self.stream.read(&mut bytes).await.unwrap();
            assert_ne!(count, 0, "the body is not whole");
            self.input.push_str(core::str::from_utf8(&bytes[..count]).unwrap());
        }
        let rest = self.input.split_off(length);
        core::mem::replace(&mut self.input, rest)
    }

    /// All that comes before the server hangs up.
    pub(crate) async fn rest(mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.stream.read_to_end(&mut bytes).await;
        self.input + &String::from_utf8_lossy(&bytes)
    }
}

/// Asks on a connection of its own.
pub(crate) async fn ask(server: &Server, head: &str, body: &str) -> (u16, Value) {
    let mut http = Http::connect(server).await;
    http.ask(head, body).await;
    let (status, _, body) = http.answer().await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

pub(crate) async fn publish(server: &Server, channel: &str, data: &Value) -> String {
    let body = serde_json::json!({ "channel": channel, "data": data }).to_string();
    let (status, answer) = ask(server, "POST /client/v1/publish", &body).await;
    assert_eq!(status, 200, "{answer}");
    let position = &answer["position"];
    format!("{}:{}", position["epoch"].as_str().unwrap(), position["offset"])
}

/// Waits until so many sessions speak the dialect.
pub(crate) async fn sessions(server: &Server, dialect: &str, count: u64) {
    let index = switchboard_session::DIALECTS.iter().position(|known| *known == dialect).unwrap();
    for _ in 0..5_000 {
        if server.hub().stats().total.sessions[index] == count {
            return;
        }
        tokio::time::sleep(core::time::Duration::from_millis(2)).await;
    }
    panic!("{:?} instead of {count} sessions of {dialect}", server.hub().stats().total.sessions);
}
