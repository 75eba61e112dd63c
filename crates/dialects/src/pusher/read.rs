//! From a client's messages to what it asks for. Every fault is named; nothing here keeps state.

use super::names::{self, Kind};
use crate::json;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use switchboard_core::{ChannelName, Described, Payload, UserId};

/// What a message asks for. Names of channels are as the client wrote them beside what they mean.
#[derive(Debug)]
pub(super) enum Request {
    Subscribe { channel: ChannelName, auth: Option<String>, channel_data: Option<String> },
    Unsubscribe { channel: ChannelName },
    Signin { auth: String, user_data: String },
    ClientEvent { channel: ChannelName, event: Arc<str>, payload: Payload },
    Ping,
    Pong,
}

/// A fault, with the channel it concerns as the client wrote it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) channel: Option<String>,
    /// Whether the client wanted to subscribe to it.
    pub(super) subscribes: bool,
    pub(super) message: Cow<'static, str>,
}

/// The longest event name, in bytes.
pub const EVENT_BYTES_MAX: usize = 200;
/// The longest description of a member, in bytes: it is shown to everybody on the channel.
const USER_INFO_BYTES_MAX: usize = 2_048;
/// The most users of a watchlist.
const WATCHLIST_MAX: usize = 100;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
    #[serde(borrow)]
    auth: Option<&'a RawValue>,
    #[serde(borrow)]
    channel_data: Option<&'a RawValue>,
    #[serde(borrow)]
    user_data: Option<&'a RawValue>,
}

impl Fault {
    pub(super) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { channel: None, subscribes: false, message: message.into() }
    }

    fn of(channel: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { channel: Some(channel.to_owned()), subscribes: false, message: message.into() }
    }
}

/// A text message.
pub(super) fn text(text: &str) -> Result<Request, Fault> {
    let envelope: Envelope<'_> = object(text)?;
    let event = string("event", envelope.event)?.ok_or_else(|| Fault::new("\"event\" is missing"))?;
    match &*event {
        "pusher:ping" => Ok(Request::Ping),
        "pusher:pong" => Ok(Request::Pong),
        "pusher:subscribe" => subscribe(envelope.data).map_err(|fault| Fault { subscribes: true, ..fault }),
        "pusher:unsubscribe" => {
            let written = nested(envelope.data)?;
            let data: Data<'_> = object(&written)?;
            Ok(Request::Unsubscribe { channel: channel(data.channel)?.1 })
        }
        "pusher:signin" => signin(envelope.data),
        event if event.starts_with("client-") => client_event(event, &envelope),
        event => {
            let shown: String = event.chars().take(50).collect();
            Err(Fault::new(format!(
                "unknown event {shown:?}: clients publish events whose names begin with \"client-\""
            )))
        }
    }
}

fn subscribe(data: Option<&RawValue>) -> Result<Request, Fault> {
    let written = nested(data)?;
    let data: Data<'_> = object(&written)?;
    let (name, channel) = channel(data.channel)?;
    let concerning = |fault: Fault| Fault::of(&name, fault.message);
    let auth = string("auth", data.auth).map_err(concerning)?.map(Cow::into_owned);
    let channel_data = string("channel_data", data.channel_data).map_err(concerning)?.map(Cow::into_owned);
    Ok(Request::Subscribe { channel, auth, channel_data })
}

fn signin(data: Option<&RawValue>) -> Result<Request, Fault> {
    let written = nested(data)?;
    let data: Data<'_> = object(&written)?;
    let need = |name: &str, member| string(name, member)?.ok_or_else(|| Fault::new(format!("\"{name}\" is missing")));
    Ok(Request::Signin {
        auth: need("auth", data.auth)?.into_owned(),
        user_data: need("user_data", data.user_data)?.into_owned(),
    })
}

fn client_event(event: &str, envelope: &Envelope<'_>) -> Result<Request, Fault> {
    let (name, channel) = channel(envelope.channel)?;
    if event.len() > EVENT_BYTES_MAX {
        return Err(Fault::of(&name, format!("the event name has {} bytes, more than 200", event.len())));
    }
    if event.chars().any(char::is_control) {
        return Err(Fault::of(&name, "the event name contains a control character"));
    }
    let kind = Kind::of(channel.as_str());
    if !kind.signed {
        return Err(Fault::of(&name, "client events are only for private and presence channels"));
    }
    if kind.encrypted {
        return Err(Fault::of(&name, "client events are not for encrypted channels"));
    }
    let data = envelope.data.ok_or_else(|| Fault::of(&name, "\"data\" is missing"))?;
    Ok(Request::ClientEvent { channel, event: event.into(), payload: payload(data)? })
}

/// The content that `data` carries. A string is what its text says: JSON, as the libraries send, or text.
pub(super) fn payload(data: &RawValue) -> Result<Payload, Fault> {
    if !data.get().starts_with('"') {
        return Ok(Payload::Json(data.get().into()));
    }
    let text = string("data", Some(data))?.unwrap_or_default();
    Ok(payload_of_text(&text))
}

/// JSON other than a string stays as it is written; a JSON string and everything else is text.
pub fn payload_of_text(text: &str) -> Payload {
    let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
    if trimmed.starts_with('"') {
        return match serde_json::from_str::<String>(trimmed) {
            Ok(inner) => Payload::Text(inner.into()),
            Err(_) => Payload::Text(text.into()),
        };
    }
    if json::is_shallow(text.as_bytes()) && serde_json::from_str::<&RawValue>(text).is_ok() {
        Payload::Json(text.into())
    } else {
        Payload::Text(text.into())
    }
}

/// `{"user_id": …, "user_info": …}`.
pub(super) fn channel_data(text: &str) -> Result<Described, Fault> {
    #[derive(Deserialize)]
    struct Written<'a> {
        #[serde(borrow)]
        user_id: Option<&'a RawValue>,
        #[serde(borrow)]
        user_info: Option<&'a RawValue>,
    }
    let written: Written<'_> = object(text).map_err(|fault| prefixed("channel_data", fault))?;
    Ok(Described { user: user("user_id", written.user_id)?, info: info(written.user_info)? })
}

/// `{"id": …, "user_info": …, "watchlist": […]}`: who it is, and about whose coming and going it is told.
pub(super) fn user_data(text: &str) -> Result<(Described, Vec<UserId>), Fault> {
    #[derive(Deserialize)]
    struct Written<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        #[serde(borrow)]
        user_info: Option<&'a RawValue>,
        #[serde(borrow)]
        watchlist: Option<&'a RawValue>,
    }
    let written: Written<'_> = object(text).map_err(|fault| prefixed("user_data", fault))?;
    let described = Described { user: user("id", written.id)?, info: info(written.user_info)? };
    Ok((described, watchlist(written.watchlist)?))
}

fn watchlist(member: Option<&RawValue>) -> Result<Vec<UserId>, Fault> {
    let Some(raw) = present(member) else { return Ok(Vec::new()) };
    let users: Vec<&RawValue> =
        serde_json::from_str(raw.get()).map_err(|_| Fault::new("\"watchlist\" must be an array"))?;
    if users.len() > WATCHLIST_MAX {
        return Err(Fault::new(format!("\"watchlist\" has {} users, more than {WATCHLIST_MAX}", users.len())));
    }
    users.into_iter().map(|one| user("watchlist", Some(one))).collect()
}

/// A string, or a number as the libraries of some languages write it.
fn user(name: &str, member: Option<&RawValue>) -> Result<UserId, Fault> {
    let raw = present(member).ok_or_else(|| Fault::new(format!("\"{name}\" is missing")))?;
    let text = match raw.get().as_bytes().first() {
        Some(b'0'..=b'9' | b'-') => Cow::Borrowed(raw.get()),
        _ => string(name, Some(raw))?.unwrap_or_default(),
    };
    UserId::parse(&text).map_err(|error| Fault::new(format!("\"{name}\": {error}")))
}

fn info(member: Option<&RawValue>) -> Result<Option<Arc<str>>, Fault> {
    match present(member) {
        Some(raw) if raw.get().len() > USER_INFO_BYTES_MAX => {
            Err(Fault::new(format!("\"user_info\" has {} bytes, more than {USER_INFO_BYTES_MAX}", raw.get().len())))
        }
        member => Ok(member.map(|raw| raw.get().into())),
    }
}

fn channel(member: Option<&RawValue>) -> Result<(String, ChannelName), Fault> {
    let name = string("channel", member)?.ok_or_else(|| Fault::new("\"channel\" is missing"))?;
    match names::from_pusher(&name) {
        Ok(channel) => Ok((name.into_owned(), channel)),
        Err(error) => {
            let shown: String = name.chars().take(names::NAME_BYTES_MAX).collect();
            Err(Fault::of(&shown, error.to_string()))
        }
    }
}

/// `data` is an object, or the text of one.
fn nested(data: Option<&RawValue>) -> Result<Cow<'_, str>, Fault> {
    let raw = present(data).ok_or_else(|| Fault::new("\"data\" is missing"))?;
    if raw.get().starts_with('"') {
        return Ok(string("data", Some(raw))?.unwrap_or_default());
    }
    Ok(Cow::Borrowed(raw.get()))
}

fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Fault> {
    if !json::is_object(text) {
        return Err(Fault::new("not a JSON object"));
    }
    if !json::is_shallow(text.as_bytes()) {
        return Err(Fault::new("JSON is nested more than 64 deep"));
    }
    serde_json::from_str(text).map_err(|error| Fault::new(format!("not JSON: {error}")))
}

fn string<'a>(name: &str, member: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, Fault> {
    let Some(raw) = present(member) else { return Ok(None) };
    match json::string(raw.get()) {
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(error)) => Err(Fault::new(format!("\"{name}\": {error}"))),
        None => Err(Fault::new(format!("\"{name}\" must be a string"))),
    }
}

fn present(member: Option<&RawValue>) -> Option<&RawValue> {
    member.filter(|raw| raw.get() != "null")
}

fn prefixed(name: &str, fault: Fault) -> Fault {
    Fault { message: format!("\"{name}\": {}", fault.message).into(), ..fault }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(message: &str) -> String {
        match text(message) {
            Ok(request) => format!("{request:?}"),
            Err(Fault { channel, message, .. }) => {
                format!("{}{message}", channel.map(|channel| format!("[{channel}] ")).unwrap_or_default())
            }
        }
    }

    #[test]
    fn faults_are_named_with_their_channel() {
        for (message, fault) in [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("{}", "\"event\" is missing"),
            (r#"{"event":7}"#, "\"event\" must be a string"),
            (r#"{"event":"x"}"#, "unknown event \"x\": clients publish events whose names begin with \"client-\""),
            (r#"{"event":"pusher:subscribe"}"#, "\"data\" is missing"),
            (r#"{"event":"pusher:subscribe","data":{}}"#, "\"channel\" is missing"),
            (
                r#"{"event":"pusher:subscribe","data":{"channel":"a:b"}}"#,
                "[a:b] the channel name contains ':'; allowed are letters, digits and _ - = @ , . ;",
            ),
            (
                r#"{"event":"pusher:subscribe","data":{"channel":"private-a","auth":7}}"#,
                "[private-a] \"auth\" must be a string",
            ),
            (r#"{"event":"pusher:signin","data":{"auth":"x"}}"#, "\"user_data\" is missing"),
            (
                r#"{"event":"client-x","channel":"a","data":1}"#,
                "[a] client events are only for private and presence channels",
            ),
            (
                r#"{"event":"client-x","channel":"private-encrypted-a","data":1}"#,
                "[private-encrypted-a] client events are not for encrypted channels",
            ),
            (r#"{"event":"client-x","channel":"private-a"}"#, "[private-a] \"data\" is missing"),
            (
                "{\"event\":\"client-\\r\\nx\",\"channel\":\"private-a\",\"data\":1}",
                "[private-a] the event name contains a control character",
            ),
        ] {
            assert_eq!(check(message), fault, "{message}");
        }
        let long = format!(r#"{{"event":"client-{}","channel":"private-a","data":1}}"#, "x".repeat(194));
        assert_eq!(check(&long), "[private-a] the event name has 201 bytes, more than 200");
        let deep =
            format!(r#"{{"event":"client-x","channel":"private-a","data":{}{}}}"#, "[".repeat(64), "]".repeat(64));
        assert_eq!(check(&deep), "JSON is nested more than 64 deep");
    }

    #[test]
    fn data_may_be_an_object_or_its_text() {
        let object = check(r#"{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"k:s"}}"#);
        let text = check(r#"{"event":"pusher:subscribe","data":"{\"channel\":\"private-a\",\"auth\":\"k:s\"}"}"#);
        assert_eq!(object, text);
        assert!(object.starts_with("Subscribe"), "{object}");
    }

    #[test]
    fn content_is_what_its_text_says() {
        for (text, payload) in [
            (r#"{"a":1.50}"#, Payload::Json(r#"{"a":1.50}"#.into())),
            ("17", Payload::Json("17".into())),
            ("hello", Payload::Text("hello".into())),
            (r#""hello""#, Payload::Text("hello".into())),
            (r#""a" b"#, Payload::Text(r#""a" b"#.into())),
            ("{", Payload::Text("{".into())),
            ("", Payload::Text("".into())),
        ] {
            assert_eq!(payload_of_text(text), payload, "{text}");
        }
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert_eq!(payload_of_text(&deep), Payload::Text(deep.as_str().into()));
    }

    #[test]
    fn members_are_described_by_strings_or_numbers() {
        let data = channel_data(r#"{"user_id":7,"user_info":{"name":"Ann"}}"#).unwrap();
        assert_eq!(data, Described { user: UserId::parse("7").unwrap(), info: Some(r#"{"name":"Ann"}"#.into()) });
        assert_eq!(channel_data(r#"{"user_id":"ann"}"#).unwrap().info, None);
        for (text, fault) in [
            ("x", "\"channel_data\": not a JSON object"),
            ("{}", "\"user_id\" is missing"),
            (r#"{"user_id":true}"#, "\"user_id\" must be a string"),
            (r#"{"user_id":""}"#, "\"user_id\": user name is empty"),
        ] {
            assert_eq!(channel_data(text).unwrap_err().message, fault, "{text}");
        }
        let large = format!(r#"{{"user_id":"a","user_info":"{}"}}"#, "x".repeat(2_048));
        assert_eq!(channel_data(&large).unwrap_err().message, "\"user_info\" has 2050 bytes, more than 2048");
    }
}
