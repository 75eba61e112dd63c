//! Requests as Pusher's libraries sign them, and a client of Pusher's.

use crate::support::{Answer, Socket, connect, receive, request};
use aws_lc_rs::hmac;
use core::net::SocketAddr;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub const NEXT_SECRET: &str = "fedcba9876543210fedcba9876543210";

/// The first has two secrets, the second has other ones, the third does not serve Pusher's clients.
pub const APPS: &str = r#"
    [limits]
    message_bytes = "4KiB"
    [[apps]]
    id = "100"
    key = "key-a"
    secret = "0123456789abcdef0123456789abcdef"
    secrets = [{ kid = "next", value = "fedcba9876543210fedcba9876543210" }]
    api_keys = ["api-key-of-application-a"]
    anonymous = [{ match = "*", allow = ["subscribe", "history"] }]
    [[apps]]
    id = "200"
    key = "key-b"
    secret = "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb"
    api_keys = ["api-key-of-application-b"]
    anonymous = [{ match = "*", allow = ["subscribe", "history"] }]
    [[apps]]
    id = "300"
    key = "key-c"
    secret = "ccccccccccccccccdddddddddddddddd"
    protocols = ["native"]
"#;

/// What a request is signed with; each test spoils something of it.
#[derive(Clone, Debug)]
pub struct Signing {
    pub key: &'static str,
    pub secret: &'static str,
    pub version: &'static str,
    pub timestamp: u64,
}

impl Signing {
    pub fn of_a() -> Self {
        Self { key: "key-a", secret: SECRET, version: "1.0", timestamp: seconds() }
    }

    pub fn of_b() -> Self {
        Self { key: "key-b", secret: "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb", ..Self::of_a() }
    }

    /// The query of a request, with its signature.
    pub fn query(&self, method: &str, path: &str, parameters: &[(&str, &str)], body: &str) -> String {
        let mut all: Vec<(&str, String)> =
            parameters.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        all.push(("auth_key", self.key.to_owned()));
        all.push(("auth_timestamp", self.timestamp.to_string()));
        all.push(("auth_version", self.version.to_owned()));
        if !body.is_empty() {
            all.push(("body_md5", hex(&Md5::digest(body))));
        }
        all.sort();
        let query: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = query.join("&");
        format!("{query}&auth_signature={}", sign(self.secret, &format!("{method}\n{path}\n{query}")))
    }
}

pub fn sign(secret: &str, text: &str) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub async fn post(address: SocketAddr, path: &str, body: &str) -> Answer {
    post_as(&Signing::of_a(), address, path, body).await
}

pub async fn post_as(signing: &Signing, address: SocketAddr, path: &str, body: &str) -> Answer {
    let query = signing.query("POST", path, &[], body);
    request(address, &format!("POST {path}?{query}\nContent-Type: application/json"), body).await
}

pub async fn get(address: SocketAddr, path: &str, parameters: &[(&str, &str)]) -> Answer {
    get_as(&Signing::of_a(), address, path, parameters).await
}

pub async fn get_as(signing: &Signing, address: SocketAddr, path: &str, parameters: &[(&str, &str)]) -> Answer {
    let query = signing.query("GET", path, parameters, "");
    request(address, &format!("GET {path}?{query}"), "").await
}

/// An error as Pusher's libraries expect it: a line of text.
pub fn text(answer: &Answer) -> &str {
    assert!(answer.has_header("content-type: text/plain; charset=utf-8"), "{answer:?}");
    answer.body.trim_end()
}

/// A client of Pusher's, connected.
pub struct Client {
    pub socket: Socket,
    pub id: String,
    key: &'static str,
    secret: &'static str,
}

impl Client {
    pub async fn of_a(address: SocketAddr) -> Self {
        Self::new(address, "key-a", SECRET).await
    }

    pub async fn of_b(address: SocketAddr) -> Self {
        Self::new(address, "key-b", "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb").await
    }

    async fn new(address: SocketAddr, key: &'static str, secret: &'static str) -> Self {
        let mut socket = connect(&format!("ws://{address}/app/{key}?protocol=7")).await;
        let established = receive(&mut socket).await;
        let data: Value = serde_json::from_str(established["data"].as_str().unwrap()).unwrap();
        Self { socket, id: data["socket_id"].as_str().unwrap().to_owned(), key, secret }
    }

    /// Subscribes, as the user `user` where that is told.
    pub async fn subscribe(&mut self, channel: &str, user: &str) -> Value {
        let mut data = json!({ "channel": channel });
        if channel.starts_with("private-") {
            data["auth"] = self.auth(&format!("{}:{channel}", self.id)).into();
        } else if channel.starts_with("presence-") {
            let member = json!({ "user_id": user }).to_string();
            data["auth"] = self.auth(&format!("{}:{channel}:{member}", self.id)).into();
            data["channel_data"] = member.into();
        }
        self.send(&json!({ "event": "pusher:subscribe", "data": data })).await;
        let answer = self.next().await;
        assert_eq!(answer["event"], "pusher_internal:subscription_succeeded", "{answer}");
        answer
    }

    /// Becomes a user.
    pub async fn sign_in(&mut self, user: &str) {
        let data = json!({ "id": user }).to_string();
        let auth = self.auth(&format!("{}::user::{data}", self.id));
        self.send(&json!({ "event": "pusher:signin", "data": { "auth": auth, "user_data": data } })).await;
        let answer = self.next().await;
        assert_eq!(answer["event"], "pusher:signin_success", "{answer}");
    }

    pub fn auth(&self, text: &str) -> String {
        format!("{}:{}", self.key, sign(self.secret, text))
    }

    pub async fn send(&mut self, message: &Value) {
        self.socket.send(message.to_string()).await.unwrap();
    }

    pub async fn next(&mut self) -> Value {
        receive(&mut self.socket).await
    }

    /// The next event's name and its data as a text.
    pub async fn event(&mut self) -> (String, String) {
        let event = self.next().await;
        let text = |name: &str| event[name].as_str().unwrap_or_else(|| panic!("{event}")).to_owned();
        (text("event"), text("data"))
    }

    /// Whether nothing has come: what is asked now is answered next.
    pub async fn has_nothing(&mut self) -> bool {
        self.send(&json!({ "event": "pusher:ping", "data": {} })).await;
        self.next().await["event"] == "pusher:pong"
    }
}
