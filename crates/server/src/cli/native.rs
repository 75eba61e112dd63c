//! A small client of the native protocol, for the commands that publish and subscribe.

use super::client::{ServerArguments, Socket};
use super::exit::Failure;
use core::time::Duration;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use switchboard_ws::{CloseCode, Message};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that was welcomed.
#[derive(Debug)]
pub(super) struct Native {
    socket: Socket,
}

/// What came.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A JSON message without its data; the data, and all of it, as they came: numbers may be larger or finer than ours.
    Json(Value, Option<Box<RawValue>>, String),
    /// A binary message: its header and its payload.
    Binary(Value, Vec<u8>),
}

impl Native {
    /// Connects and waits for the welcome.
    pub(super) async fn connect(server: &ServerArguments) -> Result<Self, Failure> {
        let mut connector = server.trust.connector()?.subprotocols(["switchboard.v1.json"]);
        if let Some(token) = server.token()? {
            connector = connector.header("Authorization", format!("Bearer {token}"));
        }
        let connected = connector.connect(&server.url).await;
        let (socket, _) = connected.map_err(|error| Failure::connecting(&server.url, &error))?;
        let mut this = Self { socket };
        // An address of raw connections opens as well, and says nothing.
        let welcome = this.answer_within(server.trust.timeout()).await.map_err(|failure| match failure.message() {
            Some(why) if failure.code() == 3 => {
                Failure::connection(format!("{}: {why}; the native protocol is spoken at /ws", server.url))
            }
            _ => failure,
        })?;
        if text(&welcome, "type") != "welcome" {
            return Err(Failure::connection(format!(
                "{} does not speak the native protocol of Switchboard",
                server.url
            )));
        }
        if welcome.get("user").is_none_or(Value::is_null) {
            let message =
                "the server wants a token: put it into the environment variable SWITCHBOARD_TOKEN, or use --token-file";
            return Err(Failure::refused(message));
        }
        Ok(this)
    }

    pub(super) async fn send(&mut self, message: &impl Serialize) -> Result<(), Failure> {
        let message = serde_json::to_string(message).map_err(|error| Failure::other(error.to_string()))?;
        self.socket.send(message).await.map_err(|error| Failure::connection(error.to_string()))
    }

    /// The next message. The end of the connection is a failure: nobody asks who does not expect something.
    pub(super) async fn receive(&mut self) -> Result<Incoming, Failure> {
        match self.socket.recv().await {
            Some(Ok(Message::Text(text))) => {
                split_text(&text).ok_or_else(|| Failure::connection("the server sent something that is not JSON"))
            }
            Some(Ok(Message::Binary(bytes))) => split_binary(&bytes)
                .ok_or_else(|| Failure::connection("the server sent a binary message without a header")),
            Some(Err(error)) => Err(Failure::connection(error.to_string())),
            None => Err(self.ended()),
        }
    }

    fn ended(&self) -> Failure {
        let Some(frame) = self.socket.close_frame() else {
            return Failure::connection("the server closed the connection");
        };
        let message = format!("the server closed the connection: {} {}", u16::from(frame.code), &*frame.reason);
        if matches!(u16::from(frame.code), 4001..=4003) {
            Failure::refused(message)
        } else {
            Failure::connection(message)
        }
    }

    /// The next message that is no publication, within the time for answers.
    pub(super) async fn answer(&mut self) -> Result<Value, Failure> {
        self.answer_within(ANSWER_TIMEOUT).await
    }

    async fn answer_within(&mut self, timeout: Duration) -> Result<Value, Failure> {
        let waiting = async {
            loop {
                if let Incoming::Json(message, ..) = self.receive().await?
                    && !matches!(text(&message, "type"), "message" | "batch" | "ping")
                {
                    return Ok(message);
                }
            }
        };
        let answered = tokio::time::timeout(timeout, waiting).await;
        let late = |_| Failure::connection(format!("the server did not answer within {} s", timeout.as_secs()));
        answered.map_err(late)?
    }

    pub(super) async fn close(&mut self) {
        // It goes away either way.
        let _ = self.socket.close(CloseCode::NORMAL, "").await;
    }
}

/// An `error` as the failure of a command.
pub(super) fn rejected(error: &Value) -> Failure {
    let message = format!("refused: {} ({})", text(error, "message"), text(error, "code"));
    match text(error, "code") {
        "unauthenticated" | "bad_token" | "permission_denied" => Failure::refused(message),
        _ => Failure::other(message),
    }
}

/// A member that is a text; anything else is an empty one.
pub(super) fn text<'a>(message: &'a Value, name: &str) -> &'a str {
    message.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Data in one line: a text as it is, unless it would break the line; else as it was written.
pub(super) fn one_line(data: &RawValue) -> String {
    match serde_json::from_str::<String>(data.get()) {
        Ok(text) if !text.contains(char::is_control) => text,
        // Between the parts of JSON a line break says as much as a blank, and inside of them there is none.
        _ => data.get().replace(['\n', '\r'], " "),
    }
}

fn split_text(text: &str) -> Option<Incoming> {
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).ok()?;
    let data = members.remove("data");
    let others = members.into_iter().map(|(name, value)| Some((name, serde_json::from_str(value.get()).ok()?)));
    Some(Incoming::Json(Value::Object(others.collect::<Option<_>>()?), data, text.to_owned()))
}

fn split_binary(bytes: &[u8]) -> Option<Incoming> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (header, payload) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some(Incoming::Binary(serde_json::from_slice(header).ok()?, payload.to_vec()))
}
