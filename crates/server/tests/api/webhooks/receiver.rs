//! A receiver of webhooks.
//!
//! Owns what it was told and what it answers. Knows nothing of what should have been told.

use crate::support::within;
use aws_lc_rs::hmac;
use core::net::SocketAddr;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A server that notes what it is told. It answers as was planned, and then with 200, and keeps its connections.
#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    told: Mutex<Vec<Told>>,
    planned: Mutex<VecDeque<&'static str>>,
    /// Connections that were made, and those of them that the server has ended.
    opened: AtomicUsize,
    ended: AtomicUsize,
    news: Notify,
}

/// Planned in place of an answer: the connection ends without one.
pub(super) const NOTHING: &str = "";
/// At the end of an answer: the connection ends behind it, and nothing that a client reads says so.
pub(super) const HANGS_UP: &str = "X-Plan: hang up\r\n\r\n";
pub(super) const FAILS: &str = "500 x\r\nContent-Length: 0\r\n\r\n";
pub(super) const OK: &str = "200 OK\r\nContent-Length: 0\r\n\r\n";

#[derive(Clone, Debug)]
pub(super) struct Told {
    /// In lower case.
    pub(super) head: String,
    pub(super) body: String,
    pub(super) taken: bool,
}

impl Receiver {
    pub(super) async fn start(planned: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, planned)
    }

    pub(super) fn start_on(listener: TcpListener, planned: &[&'static str]) -> Self {
        let state = Arc::new(State { planned: Mutex::new(planned.iter().copied().collect()), ..State::default() });
        let receiver = Self { address: listener.local_addr().unwrap(), state: Arc::clone(&state) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Self::serve(stream, Arc::clone(&state)));
            }
        });
        receiver
    }

    async fn serve(mut stream: TcpStream, state: Arc<State>) {
        state.opened.fetch_add(1, Ordering::SeqCst);
        let mut bytes = Vec::new();
        while let Some((head, body)) = Self::request(&mut stream, &mut bytes).await {
            let answer = state.planned.lock().unwrap().pop_front().unwrap_or(OK);
            let taken = answer.starts_with('2');
            state.told.lock().unwrap().push(Told { head, body, taken });
            state.news.notify_one();
            if answer == NOTHING {
                return;
            }
            let _ = stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await;
            if answer.ends_with(HANGS_UP) {
                return;
            }
        }
        state.ended.fetch_add(1, Ordering::SeqCst);
        state.news.notify_one();
    }

    /// The next request: its head and its body.
    async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, String)> {
        loop {
            let text = String::from_utf8_lossy(bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let head = head.to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
                if let Some(body) = body.get(..length) {
                    bytes.drain(..head.len() + 4 + length);
                    return Some((head, body.to_owned()));
                }
            }
            if stream.read_buf(bytes).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// How many connections were made, and how many of them the server has ended.
    pub(super) fn connections(&self) -> (usize, usize) {
        (self.state.opened.load(Ordering::SeqCst), self.state.ended.load(Ordering::SeqCst))
    }

    /// Waits until there are so many connections: made, and of them ended.
    pub(super) async fn has_connections(&self, connections: (usize, usize)) {
        within(20, async {
            while self.connections() != connections {
                self.state.news.notified().await;
            }
        })
        .await;
    }

    pub(super) fn told(&self) -> Vec<Told> {
        self.state.told.lock().unwrap().clone()
    }

    /// Waits until it was told so many times.
    pub(super) async fn times(&self, count: usize) -> Vec<Told> {
        within(20, async {
            while self.told().len() < count {
                self.state.news.notified().await;
            }
        })
        .await;
        self.told()
    }

    /// Waits until this was told and taken.
    pub(super) async fn hears(&self, event: &str) {
        within(20, async {
            while !self.taken().iter().any(|known| known == event) {
                self.state.news.notified().await;
            }
        })
        .await;
    }

    /// The events that it has taken, in short.
    pub(super) fn taken(&self) -> Vec<String> {
        self.told().iter().filter(|told| told.taken).flat_map(Told::events).collect()
    }
}

impl Told {
    pub(super) fn events(&self) -> Vec<String> {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        assert!(body["time_ms"].as_u64().unwrap() > 1_700_000_000_000, "{body}");
        let show = |event: &Value| {
            let name = event["name"].as_str().unwrap();
            let more = ["event", "user_id", "subscription_count"].map(|key| match &event[key] {
                Value::Null => String::new(),
                Value::String(text) => format!(" {text}"),
                other => format!(" {other}"),
            });
            format!("{name} {}{}", event["channel"].as_str().unwrap(), more.concat())
        };
        body["events"].as_array().unwrap().iter().map(show).collect()
    }

    pub(super) fn assert_signed(&self, app_key: &str, secret: &str) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature: String =
            hmac::sign(&key, self.body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        for line in [
            "content-type: application/json".to_owned(),
            format!("x-pusher-key: {app_key}"),
            format!("x-pusher-signature: {signature}"),
        ] {
            assert!(self.head.lines().any(|known| known == line), "{line} in {}", self.head);
        }
    }
}
