//! A server that says that it is a Switchboard: requests out of commands, and what it sends in words. Owns which answer belongs to which request and which
//! channels were seen. Knows the messages of the native protocol as its reference describes them, and no more of the server.

use super::command::Request;
use core::fmt::Write;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// A conversation in the native protocol.
#[derive(Debug)]
pub(crate) struct Native {
    next_id: u64,
    asked: BTreeMap<u64, Request>,
    channels: BTreeSet<String>,
    /// To what a connection that is made anew subscribes again.
    subscribed: BTreeSet<String>,
    disconnect: Option<Disconnect>,
}

/// How the server wants its last words understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disconnect {
    pub(crate) reconnect: bool,
    pub(crate) after_ms: Option<u64>,
}

/// What a message of the server comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// In words, each line by itself. Nothing for what only keeps the connection alive.
    pub(crate) lines: Vec<String>,
    /// To be sent at once.
    pub(crate) answer: Option<String>,
}

/// Payloads as they were written, with their own order of members and numbers of any length.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Written<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Vec<Payload<'a>>,
    #[serde(borrow)]
    publications: Vec<Payload<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Requests whose answers are waited for. What is asked beyond is answered all the same, and shown as it comes.
const ASKED_MAX: usize = 1_000;
/// Channels that are remembered for completion.
const CHANNELS_MAX: usize = 1_000;

impl Native {
    /// Whether this is the first message of a Switchboard, and what it says. `before` is what was known on an earlier connection.
    pub(crate) fn welcome(text: &str, before: Option<Self>) -> Option<(Self, String)> {
        let welcome: Value = serde_json::from_str(text).ok()?;
        let is_welcome = word(&welcome, "type") == "welcome"
            && welcome.get("session").is_some_and(Value::is_string)
            && welcome.get("version").is_some_and(Value::is_u64);
        if !is_welcome {
            return None;
        }
        let who = match welcome.get("user").and_then(Value::as_str) {
            Some(user) => format!("as {user}"),
            None => "and wants a token".to_owned(),
        };
        let said =
            format!("a Switchboard: session {}, {who}; /help lists what one can ask of it", word(&welcome, "session"));
        let empty = || Self {
            next_id: 1,
            asked: BTreeMap::new(),
            channels: BTreeSet::new(),
            subscribed: BTreeSet::new(),
            disconnect: None,
        };
        let mut this = before.unwrap_or_else(empty);
        this.asked.clear();
        this.disconnect = None;
        Some((this, said))
    }

    /// Subscriptions of an earlier connection, to be asked for again.
    pub(crate) fn again(&mut self) -> Vec<String> {
        let channels: Vec<String> = self.subscribed.iter().cloned().collect();
        channels.into_iter().map(|channel| self.request(Request::Subscribe(channel))).collect()
    }

    /// Channels that were seen.
    pub(crate) fn channels(&self) -> impl Iterator<Item = &str> {
        self.channels.iter().map(String::as_str)
    }

    /// What the server said before it closed.
    pub(crate) fn disconnect(&self) -> Option<Disconnect> {
        self.disconnect
    }

    /// The message for a request.
    pub(crate) fn request(&mut self, request: Request) -> String {
        let id = self.next_id;
        self.next_id += 1;
        let (kind, channel, more) = match &request {
            Request::Subscribe(channel) => ("subscribe", channel, None),
            Request::Unsubscribe(channel) => ("unsubscribe", channel, None),
            Request::Presence(channel) => ("presence", channel, None),
            Request::Publish(channel, data) => {
                let data = serde_json::from_str(data).unwrap_or_else(|_| Value::String(data.clone()));
                ("publish", channel, Some(("data", data)))
            }
            Request::History(channel, limit) => ("history", channel, limit.map(|limit| ("limit", limit.into()))),
        };
        let name =
            if is_pattern(channel) && matches!(kind, "subscribe" | "unsubscribe") { "pattern" } else { "channel" };
        let mut message = Map::new();
        message.insert("type".to_owned(), kind.into());
        message.insert("id".to_owned(), id.into());
        message.insert(name.to_owned(), channel.as_str().into());
        message.extend(more.map(|(name, value)| (name.to_owned(), value)));
        self.see(channel);
        if self.asked.len() < ASKED_MAX {
            self.asked.insert(id, request);
        }
        Value::Object(message).to_string()
    }

    /// Understands a message. `None` if it is not one of the protocol, and is to be shown as it is.
    pub(crate) fn hear(&mut self, text: &str) -> Option<Told> {
        let message: Value = serde_json::from_str(text).ok()?;
        let written: Written<'_> = serde_json::from_str(text).unwrap_or_default();
        let channel = word(&message, "channel").to_owned();
        self.see(&channel);
        let line = |line: String| Some(Told { lines: vec![line], answer: None });
        match message.get("type").and_then(Value::as_str)? {
            "ping" => Some(Told { lines: Vec::new(), answer: Some(json!({ "type": "pong" }).to_string()) }),
            "pong" => Some(Told::default()),
            "message" => line(publication(&channel, &message, written.data)),
            "batch" => {
                let messages = message.get("messages")?.as_array()?.iter().zip(written.messages);
                let lines = messages.map(|(each, written)| publication(word(each, "channel"), each, written.data));
                Some(Told { lines: lines.collect(), answer: None })
            }
            "ok" => Some(Told { lines: self.answered(&message, &written)?, answer: None }),
            "error" => {
                self.take(&message);
                line(format!("refused: {} ({})", word(&message, "message"), word(&message, "code")))
            }
            "join" | "leave" => line(format!("[{channel}] {} {}s", word(&message, "user"), word(&message, "type"))),
            "signal" => line(format!("[{channel}] signal from {}: {}", from(&message), data(&message, written.data))),
            "caught_up" => line(format!("[{channel}] all that was missed has come")),
            "gap" => {
                let (from, to) = (number(&message, "from"), number(&message, "to"));
                line(format!("[{channel}] messages {from} to {to} are lost"))
            }
            "unsubscribed" => {
                self.subscribed.remove(&channel);
                line(format!("[{channel}] the server ended the subscription: {}", word(&message, "code")))
            }
            "token_expiring" => line("the token ends soon".to_owned()),
            "disconnect" => line(self.goodbye(&message)),
            _ => None,
        }
    }

    /// The header of a binary message in words, and the bytes behind it. `None` if it is not one of the protocol.
    pub(crate) fn hear_binary<'a>(&mut self, bytes: &'a [u8]) -> Option<(String, &'a [u8])> {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (header, payload) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let header: Value = serde_json::from_slice(header).ok()?;
        let channel = word(&header, "channel").to_owned();
        self.see(&channel);
        (word(&header, "type") == "message")
            .then(|| (format!("{}: {} bytes", head(&channel, &header), payload.len()), payload))
    }

    fn see(&mut self, channel: &str) {
        if !channel.is_empty() && self.channels.len() < CHANNELS_MAX && !self.channels.contains(channel) {
            self.channels.insert(channel.to_owned());
        }
    }

    fn take(&mut self, answer: &Value) -> Option<Request> {
        self.asked.remove(&answer.get("id")?.as_u64()?)
    }

    fn answered(&mut self, answer: &Value, written: &Written<'_>) -> Option<Vec<String>> {
        let position = || match answer.get("position") {
            Some(position) => format!(" at {}:{}", word(position, "epoch"), number(position, "offset")),
            None => String::new(),
        };
        Some(match self.take(answer)? {
            Request::Subscribe(channel) => {
                let line = format!("subscribed to {channel}{}", position());
                if self.subscribed.len() < CHANNELS_MAX {
                    self.subscribed.insert(channel);
                }
                vec![line]
            }
            Request::Unsubscribe(channel) => {
                self.subscribed.remove(&channel);
                vec![format!("unsubscribed from {channel}")]
            }
            Request::Publish(channel, _) => vec![format!("published to {channel}{}", position())],
            Request::Presence(channel) => presence(&channel, answer),
            Request::History(channel, _) => history(&channel, &position(), answer, &written.publications),
        })
    }

    fn goodbye(&mut self, message: &Value) -> String {
        let reconnect = message.get("reconnect").and_then(Value::as_bool).unwrap_or(true);
        let after_ms = message.get("after_ms").and_then(Value::as_u64);
        self.disconnect = Some(Disconnect { reconnect, after_ms });
        let hint = match (reconnect, after_ms) {
            (false, _) => "; there is no use in coming back".to_owned(),
            (true, Some(after)) => format!("; come back in {after} ms"),
            (true, None) => String::new(),
        };
        format!("the server says goodbye: {} {}{hint}", number(message, "code"), word(message, "reason"))
    }
}

/// Whether a name stands for several channels: a level of it is a wildcard.
fn is_pattern(name: &str) -> bool {
    name.split('/').any(|level| matches!(level, "+" | "#"))
}

/// `[room:lobby] #5 ann greeting: {"text":"hello"}`
fn publication(channel: &str, message: &Value, written: Option<&RawValue>) -> String {
    format!("{}: {}", head(channel, message), data(message, written))
}

fn head(channel: &str, message: &Value) -> String {
    let mut head = format!("[{channel}] #{}", number(message, "offset"));
    let publisher = message.get("publisher").map(|publisher| word(publisher, "user")).unwrap_or_default();
    for part in [publisher, word(message, "event")].into_iter().filter(|part| !part.is_empty()) {
        // Writing into a string does not fail.
        let _ = write!(head, " {part}");
    }
    let key = word(message, "key");
    if !key.is_empty() {
        let _ = write!(head, " key={key}");
    }
    if message.get("cached") == Some(&Value::Bool(true)) {
        head.push_str(" (kept)");
    }
    if let Some(count) = message.get("conflated").and_then(Value::as_u64) {
        let _ = write!(head, " (in place of {count} others)");
    }
    head
}

fn data<'a>(message: &'a Value, written: Option<&'a RawValue>) -> Cow<'a, str> {
    if word(message, "encoding") == "base64" {
        return format!("base64 {}", word(message, "data")).into();
    }
    written.map_or("null", RawValue::get).into()
}

fn from(message: &Value) -> String {
    let from = message.get("from").unwrap_or(&Value::Null);
    format!("{} ({})", word(from, "user"), word(from, "session"))
}

fn presence(channel: &str, answer: &Value) -> Vec<String> {
    let users = answer.get("users").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (total, connections) = (number(answer, "total"), number(answer, "connections"));
    let mut lines = vec![format!("on {channel}: users {total}, connections {connections}")];
    lines.extend(users.iter().map(|user| {
        let info = user.get("info").map(|info| format!(" {info}")).unwrap_or_default();
        format!("  {} {}{info}", word(user, "user"), number(user, "connections"))
    }));
    lines
}

fn history(channel: &str, position: &str, answer: &Value, written: &[Payload<'_>]) -> Vec<String> {
    let publications = answer.get("publications").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let more = if answer.get("more") == Some(&Value::Bool(true)) { ", and there are more" } else { "" };
    let mut lines = vec![format!("{channel} is{position}; {} publications{more}", publications.len())];
    let each = publications.iter().zip(written);
    lines.extend(each.map(|(each, written)| publication(channel, each, written.data)));
    lines
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_u64).map_or_else(|| "?".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WELCOME: &str = r#"{"type":"welcome","session":"0-1","version":1,"user":"guest-0-1","heartbeat_ms":25000}"#;

    fn native() -> Native {
        Native::welcome(WELCOME, None).unwrap().0
    }

    fn lines(native: &mut Native, text: &str) -> Vec<String> {
        native.hear(text).unwrap().lines
    }

    #[test]
    fn a_switchboard_is_known_by_its_welcome() {
        assert!(Native::welcome(WELCOME, None).unwrap().1.contains("session 0-1, as guest-0-1"));
        for other in ["", "hello", "[]", r#"{"type":"welcome"}"#, r#"{"type":"hello","session":"a","version":1}"#] {
            assert!(Native::welcome(other, None).is_none(), "{other}");
        }
    }

    #[test]
    fn answers_belong_to_their_requests() {
        let mut native = native();
        assert_eq!(
            native.request(Request::Subscribe("room:a".into())),
            r#"{"channel":"room:a","id":1,"type":"subscribe"}"#
        );
        assert_eq!(
            native.request(Request::Publish("room:a".into(), "{\"x\":1}".into())),
            r#"{"channel":"room:a","data":{"x":1},"id":2,"type":"publish"}"#
        );
        assert_eq!(
            native.request(Request::Publish("b".into(), "plain text".into())),
            r#"{"channel":"b","data":"plain text","id":3,"type":"publish"}"#
        );
        assert!(native.request(Request::Subscribe("s/+/t".into())).contains("\"pattern\":\"s/+/t\""));
        assert!(native.request(Request::Subscribe("#user".into())).contains("\"channel\":\"#user\""));
        assert!(native.request(Request::History("room:a".into(), Some(2))).contains("\"limit\":2"));
        assert_eq!(
            lines(&mut native, r#"{"type":"ok","id":2,"channel":"room:a","position":{"epoch":"e1","offset":7}}"#),
            ["published to room:a at e1:7"]
        );
        assert_eq!(
            lines(&mut native, r#"{"type":"ok","id":1,"channel":"room:a","position":{"epoch":"e1","offset":7}}"#),
            ["subscribed to room:a at e1:7"]
        );
        assert_eq!(
            lines(
                &mut native,
                r#"{"type":"error","id":3,"code":"permission_denied","message":"no right","temporary":false}"#
            ),
            ["refused: no right (permission_denied)"]
        );
        assert_eq!(
            lines(
                &mut native,
                r#"{"type":"ok","id":6,"position":{"epoch":"e1","offset":9},"publications":[{"data":1,"offset":9}],"more":true}"#
            ),
            ["room:a is at e1:9; 1 publications, and there are more", "[room:a] #9: 1"]
        );
        assert_eq!(native.hear(r#"{"type":"ok","id":99}"#), None);
        assert_eq!(native.channels().collect::<Vec<_>>(), ["#user", "b", "room:a", "s/+/t"]);
        let (mut next, _) = Native::welcome(WELCOME, Some(native)).unwrap();
        assert_eq!(next.again().len(), 1);
    }

    #[test]
    fn what_comes_is_said_in_words() {
        let mut native = native();
        let mut said = |text: &str| lines(&mut native, text).join("|");
        assert_eq!(
            said(
                r#"{"type":"message","channel":"a","data":{"text":"hi"},"offset":5,"timestamp":1,"event":"e","key":"k","publisher":{"user":"ann"},"conflated":2}"#
            ),
            "[a] #5 ann e key=k (in place of 2 others): {\"text\":\"hi\"}"
        );
        assert_eq!(
            said(
                r#"{"type":"batch","messages":[{"channel":"a","data":1,"offset":1},{"channel":"a","data":2,"offset":2}]}"#
            ),
            "[a] #1: 1|[a] #2: 2"
        );
        assert_eq!(
            said(r#"{"type":"message","channel":"a","data":{"b":1.0,"a":12345678901234567890123},"offset":6}"#),
            "[a] #6: {\"b\":1.0,\"a\":12345678901234567890123}"
        );
        assert_eq!(said(r#"{"type":"join","channel":"a","user":"bob"}"#), "[a] bob joins");
        assert_eq!(said(r#"{"type":"gap","channel":"a","from":2,"to":4}"#), "[a] messages 2 to 4 are lost");
        assert_eq!(
            said(r#"{"type":"disconnect","code":4200,"reason":"drain","reconnect":true,"after_ms":70}"#),
            "the server says goodbye: 4200 drain; come back in 70 ms"
        );
        assert_eq!(native.disconnect(), Some(Disconnect { reconnect: true, after_ms: Some(70) }));
        let heard = native.hear(r#"{"type":"ping"}"#).unwrap();
        assert_eq!((heard.lines.len(), heard.answer.as_deref()), (0, Some(r#"{"type":"pong"}"#)));
        assert_eq!(native.hear("not JSON"), None);
        assert_eq!(native.hear(r#"{"type":"new"}"#), None);
        let header = br#"{"type":"message","channel":"a","offset":3}"#;
        let binary = [&[0, 43], &header[..], b"\x01\x02"].concat();
        assert_eq!(native.hear_binary(&binary), Some(("[a] #3: 2 bytes".to_owned(), &b"\x01\x02"[..])));
        assert_eq!(native.hear_binary(b"\xff\xff"), None);
    }

    proptest! {
        #[test]
        fn anything_may_come(text in "\\PC{0,60}", kind in "[a-z_]{0,12}", bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut native = native();
            let _ = native.hear(&text);
            let _ = native.hear(&json!({ "type": kind, "channel": text, "id": 1, "messages": [1, null], "users": 3 }).to_string());
            let _ = native.hear_binary(&bytes);
        }
    }
}
