//! From frames to requests. Every fault is named; nothing here keeps state.

use super::member::{bad, boolean, label, payload, position, present, string};
use super::refuse;
use crate::json;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use switchboard_core::{
    CacheRequest, ChannelName, ChannelPattern, Command, Payload, Publish, ReadFrom, Recipient, Reject, RejectCode,
    SessionId, UserId,
};

/// What a frame holds.
pub(super) enum Frame<'a> {
    One(Request<'a>),
    Batch(Vec<&'a RawValue>),
}

/// What a message asks for. `id` is the JSON text as the client wrote it.
pub(super) enum Request<'a> {
    Command { id: Option<&'a str>, command: Command },
    Ping { id: Option<&'a str> },
    Pong,
    Refused { id: Option<&'a str>, reject: Reject },
}

/// A text frame.
pub(super) fn text(text: &str) -> Frame<'_> {
    match Members::parse(text) {
        Ok(members) => members.frame(),
        Err(reject) => Frame::One(Request::Refused { id: None, reject }),
    }
}

/// A message inside a batch. A batch in a batch would be a way to make one frame cost much.
pub(super) fn one_of_batch(raw: &str) -> Request<'_> {
    match text(raw) {
        Frame::One(request) => request,
        Frame::Batch(_) => {
            Request::Refused { id: None, reject: refuse(RejectCode::BadRequest, "a batch cannot hold a batch") }
        }
    }
}

/// A request whose type is known from elsewhere.
pub(crate) fn request(kind: &str, text: &str) -> Result<Command, Reject> {
    Members::parse(text)?.command(kind)
}

/// A binary frame: the header's length, the header, the payload.
pub(super) fn binary(frame: &[u8]) -> Frame<'_> {
    Frame::One(binary_request(frame).unwrap_or_else(|reject| Request::Refused { id: None, reject }))
}

fn binary_request(frame: &[u8]) -> Result<Request<'_>, Reject> {
    let bad = |message: &'static str| refuse(RejectCode::BadRequest, message);
    let (length, rest) = frame.split_first_chunk::<2>().ok_or_else(|| bad("a binary frame begins with two bytes"))?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (header, payload) =
        rest.split_at_checked(length).ok_or_else(|| bad("the header is longer than the binary frame"))?;
    let header = core::str::from_utf8(header).map_err(|_| bad("the header of a binary frame is not UTF-8"))?;
    let members = Members::parse(header)?;
    let id = members.id();
    if members.kind()? != "publish" {
        return Err(bad("only \"publish\" may be a binary frame"));
    }
    if members.data.is_some() {
        return Err(bad("a binary frame has its payload behind the header, not in \"data\""));
    }
    let id = id?;
    Ok(match members.publish(Payload::Binary(Bytes::copy_from_slice(payload))) {
        Ok(command) => Request::Command { id, command },
        Err(reject) => Request::Refused { id, reject },
    })
}

/// All members that any request has, uninterpreted. Flat, since `RawValue` fails inside tagged enums.
#[derive(Deserialize, Default)]
struct Members<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    encoding: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    idempotency_key: Option<&'a RawValue>,
    #[serde(borrow)]
    if_position: Option<&'a RawValue>,
    #[serde(borrow)]
    exclude_self: Option<&'a RawValue>,
    #[serde(borrow)]
    since: Option<&'a RawValue>,
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    presence: Option<&'a RawValue>,
    #[serde(borrow)]
    pattern: Option<&'a RawValue>,
    #[serde(borrow)]
    rate: Option<&'a RawValue>,
    #[serde(borrow)]
    cached: Option<&'a RawValue>,
    #[serde(borrow)]
    cache: Option<&'a RawValue>,
    #[serde(borrow)]
    limit: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    user: Option<&'a RawValue>,
    #[serde(borrow)]
    session: Option<&'a RawValue>,
}

/// `null` is data like any other.
fn even_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&'de RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Members<'a> {
    fn parse(text: &'a str) -> Result<Self, Reject> {
        if !json::is_object(text) {
            return Err(refuse(RejectCode::BadJson, "a message must be a JSON object"));
        }
        if !json::is_shallow(text.as_bytes()) {
            return Err(refuse(RejectCode::BadJson, "JSON is nested more than 64 deep"));
        }
        serde_json::from_str(text).map_err(|error| refuse(RejectCode::BadJson, format!("not JSON: {error}")))
    }

    fn frame(self) -> Frame<'a> {
        let id = match self.id() {
            Ok(id) => id,
            Err(reject) => return Frame::One(Request::Refused { id: None, reject }),
        };
        let request = self.kind().and_then(|kind| match &*kind {
            "batch" => self.batch().map(Frame::Batch),
            "ping" => Ok(Frame::One(Request::Ping { id })),
            "pong" => Ok(Frame::One(Request::Pong)),
            kind => self.command(kind).map(|command| Frame::One(Request::Command { id, command })),
        });
        request.unwrap_or_else(|reject| Frame::One(Request::Refused { id, reject }))
    }

    fn kind(&self) -> Result<Cow<'a, str>, Reject> {
        string("type", self.kind)
    }

    fn id(&self) -> Result<Option<&'a str>, Reject> {
        let Some(raw) = self.id.map(RawValue::get) else { return Ok(None) };
        let good = match raw.as_bytes().first() {
            Some(b'"') => string("id", self.id)?.len() <= ID_BYTES_MAX,
            // An integer as JSON writes it, not 1.0 or 1e3: it is repeated as it was written.
            _ => raw.bytes().all(|b| b.is_ascii_digit()) && raw.parse::<u64>().is_ok_and(|id| id <= INTEGER_MAX),
        };
        if good {
            Ok(Some(raw))
        } else {
            Err(bad("\"id\" must be a string of at most 64 bytes or an integer from 0 to 2^53-1"))
        }
    }

    fn batch(&self) -> Result<Vec<&'a RawValue>, Reject> {
        let raw = self.messages.ok_or_else(|| bad("\"messages\" is missing"))?;
        let messages: Vec<&'a RawValue> =
            serde_json::from_str(raw.get()).map_err(|_| bad("\"messages\" must be an array"))?;
        if messages.len() > BATCH_MAX {
            return Err(bad("\"messages\" has more than 128 elements"));
        }
        Ok(messages)
    }

    fn command(self, kind: &str) -> Result<Command, Reject> {
        Ok(match kind {
            "authenticate" => Command::Authenticate { token: string("token", self.token)?.into_owned() },
            "subscribe" if self.pattern.is_some() => {
                self.no_more_than_a_pattern()?;
                Command::Watch { pattern: self.pattern()? }
            }
            "unsubscribe" if self.pattern.is_some() => Command::Unwatch { pattern: self.pattern()? },
            "subscribe" => Command::Subscribe {
                channel: self.channel()?,
                since: position("since", self.since)?,
                presence: boolean("presence", self.presence)?,
                rate: self.rate()?,
                cached: boolean("cached", self.cached)?,
            },
            "unsubscribe" => Command::Unsubscribe { channel: self.channel()? },
            "publish" => {
                let payload = payload(self.data.ok_or_else(|| bad("\"data\" is missing"))?, self.encoding)?;
                self.publish(payload)?
            }
            "signal" => Command::Signal {
                whom: self.whom()?,
                event: label("event", self.event, LABEL_BYTES_MAX)?,
                payload: payload(self.data.ok_or_else(|| bad("\"data\" is missing"))?, self.encoding)?,
                channel: self.channel()?,
            },
            "presence" => Command::Presence { channel: self.channel()?, limit: self.users()? },
            "history" => Command::History { channel: self.channel()?, from: self.read_from()?, limit: self.limit()? },
            other => {
                let shown: String = other.chars().take(50).collect();
                return Err(refuse(RejectCode::UnknownType, format!("unknown type {shown:?}")));
            }
        })
    }

    fn publish(self, payload: Payload) -> Result<Command, Reject> {
        let publish = Publish {
            event: label("event", self.event, LABEL_BYTES_MAX)?,
            key: label("key", self.key, LABEL_BYTES_MAX)?,
            id: self.idempotency_key()?,
            if_position: position("if_position", self.if_position)?,
            cache: self.cache()?,
            ..Publish::new(payload)
        };
        let exclude_self = boolean("exclude_self", self.exclude_self)?;
        Ok(Command::Publish { channel: self.channel()?, publish, exclude_self })
    }

    fn channel(&self) -> Result<ChannelName, Reject> {
        let name = string("channel", self.channel)?;
        if name == ChannelName::USERS {
            return Ok(ChannelName::own());
        }
        ChannelName::parse(&name).map_err(|error| refuse(RejectCode::BadChannel, error.to_string()))
    }

    fn whom(&self) -> Result<Recipient, Reject> {
        match (present(self.user), present(self.session)) {
            (Some(user), None) => {
                let user = UserId::parse(&string("user", Some(user))?);
                user.map(Recipient::User).map_err(|error| bad(format!("\"user\": {error}")))
            }
            (None, Some(session)) => {
                let session = SessionId::parse(&string("session", Some(session))?);
                session.map(Recipient::Session).ok_or_else(|| bad("\"session\" is no session's name"))
            }
            _ => Err(bad("either \"user\" or \"session\" says to whom")),
        }
    }

    fn idempotency_key(&self) -> Result<Option<Arc<str>>, Reject> {
        let id = label("idempotency_key", self.idempotency_key, Publish::ID_BYTES_MAX)?;
        if id.as_deref().is_some_and(str::is_empty) {
            return Err(bad("\"idempotency_key\" is empty"));
        }
        Ok(id)
    }

    fn read_from(&self) -> Result<ReadFrom, Reject> {
        Ok(match (position("since", self.since)?, position("before", self.before)?) {
            (None, None) => ReadFrom::Latest,
            (Some(since), None) => ReadFrom::After(since),
            (None, Some(before)) => ReadFrom::Before(before),
            (Some(_), Some(_)) => return Err(bad("\"since\" and \"before\" exclude each other")),
        })
    }

    fn cache(&self) -> Result<CacheRequest, Reject> {
        match present(self.cache).map(RawValue::get) {
            None => Ok(CacheRequest::ByOptions),
            Some(r#""keep""#) => Ok(CacheRequest::Keep),
            Some(r#""clear""#) => Ok(CacheRequest::Clear),
            Some(_) => Err(bad("\"cache\" must be \"keep\" or \"clear\"")),
        }
    }

    /// How many users are listed: here 0 is a number like any other.
    fn users(&self) -> Result<Option<usize>, Reject> {
        let Some(raw) = present(self.limit) else { return Ok(None) };
        let limit = raw.get().parse().map_err(|_| bad("\"limit\" must be an integer from 0 on"))?;
        Ok(Some(limit))
    }

    fn pattern(&self) -> Result<ChannelPattern, Reject> {
        let pattern = string("pattern", self.pattern)?;
        ChannelPattern::parse(&pattern).map_err(|error| refuse(RejectCode::BadChannel, error.to_string()))
    }

    /// What a subscription to a pattern cannot have is refused, rather than promised in silence.
    fn no_more_than_a_pattern(&self) -> Result<(), Reject> {
        let others = [
            ("channel", self.channel),
            ("since", self.since),
            ("presence", self.presence),
            ("rate", self.rate),
            ("cached", self.cached),
        ];
        match others.into_iter().find(|(_, member)| present(*member).is_some_and(|raw| raw.get() != "false")) {
            Some((name, _)) => Err(bad(format!("\"{name}\" cannot stand beside \"pattern\""))),
            None => Ok(()),
        }
    }

    fn rate(&self) -> Result<u32, Reject> {
        let Some(raw) = present(self.rate) else { return Ok(0) };
        match raw.get().parse::<u32>() {
            Ok(rate @ 1..=RATE_MAX) => Ok(rate),
            _ => Err(bad("\"rate\" must be an integer from 1 to 1000")),
        }
    }

    fn limit(&self) -> Result<usize, Reject> {
        let Some(raw) = present(self.limit) else { return Ok(LIMIT_DEFAULT) };
        match raw.get().parse::<usize>() {
            Ok(limit @ 1..=LIMIT_MAX) => Ok(limit),
            _ => Err(bad("\"limit\" must be an integer from 1 to 1000")),
        }
    }
}

const ID_BYTES_MAX: usize = 64;
const INTEGER_MAX: u64 = (1 << 53) - 1;
const BATCH_MAX: usize = 128;
const LABEL_BYTES_MAX: usize = 200;
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;
const RATE_MAX: u32 = 1_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The refusal of a frame, or what it asks for.
    fn check(frame: &str) -> String {
        match text(frame) {
            Frame::One(Request::Refused { id, reject }) => {
                format!("{}{}: {}", id.map(|id| format!("{id} ")).unwrap_or_default(), reject.code.as_str(), reject)
            }
            Frame::One(Request::Command { command, .. }) => format!("{command:?}"),
            Frame::One(Request::Ping { .. } | Request::Pong) => "heartbeat".into(),
            Frame::Batch(requests) => format!("batch of {}", requests.len()),
        }
    }

    #[test]
    fn faults_are_named() {
        for (frame, fault) in [
            ("", "bad_json: a message must be a JSON object"),
            ("[]", "bad_json: a message must be a JSON object"),
            ("{", "bad_json: not JSON: EOF while parsing an object at line 1 column 1"),
            (r#"{"type":"ping","type":"ping"}"#, "bad_json: not JSON: duplicate field `type` at line 1 column 21"),
            ("{}", "bad_request: \"type\" is missing"),
            (r#"{"type":7}"#, "bad_request: \"type\" must be a string"),
            (r#"{"type":"x","id":1}"#, "1 unknown_type: unknown type \"x\""),
            (
                r#"{"type":"ping","id":-1}"#,
                "bad_request: \"id\" must be a string of at most 64 bytes or an integer from 0 to 2^53-1",
            ),
            (
                r#"{"type":"ping","id":1.0}"#,
                "bad_request: \"id\" must be a string of at most 64 bytes or an integer from 0 to 2^53-1",
            ),
            (
                r#"{"type":"ping","id":9007199254740992}"#,
                "bad_request: \"id\" must be a string of at most 64 bytes or an integer from 0 to 2^53-1",
            ),
            (r#"{"type":"subscribe","id":"a"}"#, "\"a\" bad_request: \"channel\" is missing"),
            (r#"{"type":"subscribe","channel":""}"#, "bad_channel: channel name is empty"),
            (
                r#"{"type":"publish","channel":"a","data":1,"idempotency_key":""}"#,
                "bad_request: \"idempotency_key\" is empty",
            ),
            (
                r#"{"type":"publish","channel":"a","data":1,"if_position":{"epoch":"e1"}}"#,
                "bad_request: \"if_position\" must be {\"epoch\": a string, \"offset\": an integer from 0 on}",
            ),
            (
                r#"{"type":"history","channel":"a","since":{"epoch":"e","offset":1},"before":{"epoch":"e","offset":1}}"#,
                "bad_request: \"since\" and \"before\" exclude each other",
            ),
            (
                r#"{"type":"subscribe","channel":"a","since":1}"#,
                "bad_request: \"since\" must be {\"epoch\": a string, \"offset\": an integer from 0 on}",
            ),
            (r#"{"type":"subscribe","channel":"a","presence":1}"#, "bad_request: \"presence\" must be true or false"),
            (
                r#"{"type":"subscribe","pattern":"a/#","since":{"epoch":"e1","offset":0}}"#,
                "bad_request: \"since\" cannot stand beside \"pattern\"",
            ),
            (r#"{"type":"subscribe","pattern":"a#"}"#, "bad_channel: '#' must be a whole level of a pattern"),
            (
                r#"{"type":"subscribe","channel":"a","rate":0}"#,
                "bad_request: \"rate\" must be an integer from 1 to 1000",
            ),
            (
                r#"{"type":"publish","channel":"a","data":1,"cache":true}"#,
                "bad_request: \"cache\" must be \"keep\" or \"clear\"",
            ),
            (r#"{"type":"presence","channel":"a","limit":-1}"#, "bad_request: \"limit\" must be an integer from 0 on"),
            (r#"{"type":"publish","channel":"a"}"#, "bad_request: \"data\" is missing"),
            (
                r#"{"type":"publish","channel":"a","data":1,"event":"a\nb"}"#,
                "bad_request: \"event\" contains a control character",
            ),
            (
                r#"{"type":"publish","channel":"a","data":"\ud800"}"#,
                "bad_json: \"data\": unexpected end of hex escape at line 1 column 8",
            ),
            (
                r#"{"type":"history","channel":"a","limit":0}"#,
                "bad_request: \"limit\" must be an integer from 1 to 1000",
            ),
            (r#"{"type":"batch","messages":{}}"#, "bad_request: \"messages\" must be an array"),
        ] {
            assert_eq!(check(frame), fault, "{frame}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |depth: usize| {
            format!(r#"{{"type":"publish","channel":"a","data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth))
        };
        assert!(check(&nested(63)).starts_with("Publish"));
        assert_eq!(check(&nested(64)), "bad_json: JSON is nested more than 64 deep");
        let text = format!(r#"{{"type":"publish","channel":"a","data":"\"{}"}}"#, "[".repeat(100));
        assert!(check(&text).starts_with("Publish"));
    }

    #[test]
    fn a_batch_holds_no_batch_and_not_too_many() {
        let many = |n: usize| format!(r#"{{"type":"batch","messages":[{}]}}"#, vec!["{}"; n].join(","));
        assert_eq!(check(&many(128)), "batch of 128");
        assert_eq!(check(&many(129)), "bad_request: \"messages\" has more than 128 elements");
        assert!(matches!(one_of_batch(&many(1)), Request::Refused { .. }));
    }

    #[test]
    fn a_json_string_is_text_and_other_values_stay_as_written() {
        let data = |json: &str| match text(&format!(r#"{{"type":"publish","channel":"a","data":{json}}}"#)) {
            Frame::One(Request::Command { command: Command::Publish { publish, .. }, .. }) => publish.payload,
            _ => panic!("not a publish"),
        };
        assert_eq!(data(r#""a\u00e4\"""#), Payload::Text("aä\"".into()));
        assert_eq!(data("{\"b\": 1.50 }"), Payload::Json("{\"b\": 1.50 }".into()));
        assert_eq!(data("null"), Payload::Json("null".into()));
        assert_eq!(data(r#""AP8Q","encoding":"base64""#), Payload::Binary(Bytes::from_static(b"\0\xff\x10")));
        assert_eq!(data(r#""AP8Q","encoding":null"#), Payload::Text("AP8Q".into()));
        let refused = |rest: &str| check(&format!(r#"{{"type":"publish","channel":"a",{rest}}}"#));
        assert_eq!(refused(r#""data":"A","encoding":"base64""#), "bad_request: \"data\" is not base64");
        assert_eq!(refused(r#""data":1,"encoding":"base64""#), "bad_request: \"data\" must be a string");
        assert_eq!(refused(r#""data":"A","encoding":"hex""#), "bad_request: \"encoding\" must be \"base64\"");
    }

    #[test]
    fn binary_frames_are_checked() {
        let refused = |frame: &[u8]| match binary(frame) {
            Frame::One(Request::Refused { reject, .. }) => reject.message.into_owned(),
            _ => "accepted".into(),
        };
        assert_eq!(refused(&[]), "a binary frame begins with two bytes");
        assert_eq!(refused(&[0, 3, b'{', b'}']), "the header is longer than the binary frame");
        assert_eq!(refused(&[0, 1, 0xff]), "the header of a binary frame is not UTF-8");
        assert_eq!(refused(b"\0\x0f{\"type\":\"ping\"}"), "only \"publish\" may be a binary frame");
        assert_eq!(
            refused(b"\0\x1f{\"type\":\"publish\",\"channel\":\"a\"}\x01"),
            "the header of a binary frame is not UTF-8".replace(
                "the header of a binary frame is not UTF-8",
                "not JSON: EOF while parsing an object at line 1 column 31"
            )
        );
        assert_eq!(refused(b"\0\x20{\"type\":\"publish\",\"channel\":\"a\"}\x01"), "accepted");
    }
}
