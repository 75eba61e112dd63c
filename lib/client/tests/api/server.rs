//! A server that says what the test tells it to.

use crate::support::WELCOME;
use core::sync::atomic::{AtomicUsize, Ordering};
use serde_json::Value;
use std::sync::Arc;
use switchboard_client::ws::{AcceptOptions, CloseCode, WebSocket, handshake::ServerRequest, read_request};
use switchboard_client::{Builder, Client, Config};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Server(TcpListener);

/// One connection.
pub(crate) struct Peer {
    pub(crate) ws: WebSocket<TcpStream>,
    pub(crate) request: ServerRequest,
}

impl Server {
    pub(crate) async fn bind() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn client(&self) -> Builder {
        Client::builder(format!("ws://{}/ws", self.0.local_addr().unwrap())).config(self.config())
    }

    /// A client that finds the server by a way of its own.
    pub(crate) fn client_that_dials(&self, dialled: Arc<AtomicUsize>) -> Builder {
        let address = self.0.local_addr().unwrap();
        Client::builder("ws://[::2]:81/ws").config(self.config()).dial(move |host, port| {
            assert_eq!((&*host, port), ("::2", 81));
            let attempt = dialled.fetch_add(1, Ordering::Relaxed);
            async move {
                // The proxy, say, is not there at first.
                if attempt == 0 { Err(std::io::Error::other("not yet")) } else { TcpStream::connect(address).await }
            }
        })
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        config.backoff_base = core::time::Duration::from_millis(1);
        config
    }

    pub(crate) async fn accept(&self) -> Peer {
        let (stream, _) = self.0.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let pending = read_request(stream, &AcceptOptions::default()).await.unwrap();
        let request = pending.request().clone();
        let ws = pending.accept(Some("switchboard.v1.json"), &[]).await.unwrap();
        Peer { ws, request }
    }

    pub(crate) async fn refuse(&self, status: u16) {
        let (stream, _) = self.0.accept().await.unwrap();
        let pending = read_request(stream, &AcceptOptions::default()).await.unwrap();
        pending.reject(status, &[], b"why").await.unwrap();
    }

    /// Accepts and says welcome.
    pub(crate) async fn welcome(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.say(WELCOME).await;
        peer
    }
}

impl Peer {
    pub(crate) async fn say(&mut self, text: &str) {
        self.ws.send(text.to_owned()).await.unwrap();
    }

    /// The next message, which must have this type.
    pub(crate) async fn hear(&mut self, kind: &str) -> Value {
        let message = self.ws.recv().await.unwrap().unwrap();
        let json: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
        assert_eq!(json["type"], kind, "{json}");
        json
    }

    /// Answers the next message, which must have this type.
    pub(crate) async fn answer(&mut self, kind: &str, answer: &str) -> Value {
        let asked = self.hear(kind).await;
        let (id, channel) = (&asked["id"], &asked["channel"]);
        self.say(&format!(r#"{{"type":"ok","id":{id},"channel":{channel},{answer}}}"#)).await;
        asked
    }

    pub(crate) async fn publish(&mut self, channel: &str, offset: u64, data: &str) {
        self.say(&format!(
            r#"{{"type":"message","channel":"{channel}","data":{data},"offset":{offset},"timestamp":1}}"#
        ))
        .await;
    }

    /// The client closes; what it said before is none.
    pub(crate) async fn closed(mut self) -> Option<CloseCode> {
        let message = self.ws.recv().await;
        assert!(message.is_none(), "{message:?} and no close");
        self.ws.close_frame().map(|frame| frame.code)
    }
}

pub(crate) fn position(offset: u64) -> String {
    format!(r#""position":{{"epoch":"e","offset":{offset}}}"#)
}
