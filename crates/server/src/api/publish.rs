//! Publishing: to a channel, to many, to a user.

use super::body::{PositionBody, name, parse_body, parse_channel, parse_user, place, too_large};
use super::{Call, unexpected};
use crate::answer::ApiError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use switchboard_core::{CacheRequest, ChannelName, Command, Outcome, Payload, Publish, RejectCode};

/// The longest `event` or `key`, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 200;
/// Channels of one broadcast.
pub(super) const BROADCAST_MAX: usize = 100;
/// How deep `data` may be nested: what is deeper overflows somebody's parser.
const DEPTH_MAX: usize = 64;

impl Call<'_> {
    pub(super) async fn publish(&self, body: &[u8]) -> Result<String, ApiError> {
        let (channel, publish) = parse(body, self.id, self.app.limits.message_bytes)?;
        Ok(self.submit(channel, publish).await?.to_string())
    }

    /// The same on the own channel of a user.
    pub(super) async fn send_to_user(&self, body: &[u8]) -> Result<String, ApiError> {
        let body: PublishBody<'_> = parse_body(body)?;
        let user = body.user.as_deref().ok_or_else(|| ApiError::bad_request("\"user\" is missing"))?;
        let channel = ChannelName::of_user(&parse_user(user)?);
        let publish = body.check(self.id, self.app.limits.message_bytes)?;
        Ok(self.submit(channel, publish).await?.to_string())
    }

    /// The same to many channels. Each stands for itself: what is refused on one is published on the others.
    pub(super) async fn broadcast(&self, body: &[u8]) -> Result<String, ApiError> {
        let mut publish: PublishBody<'_> = parse_body(body)?;
        let channels = core::mem::take(&mut publish.channels);
        if channels.is_empty() || channels.len() > BROADCAST_MAX {
            let message = format!("\"channels\" has {} names, not 1 to {BROADCAST_MAX}", channels.len());
            return Err(ApiError::bad_request(message));
        }
        let channels = channels.iter().enumerate().map(|(index, channel)| {
            let named = |error: ApiError| error.of(format_args!("\"channels\"[{index}]"));
            parse_channel(channel).map_err(named)
        });
        let channels = channels.collect::<Result<Vec<_>, _>>()?;
        let publish = publish.check(self.id, self.app.limits.message_bytes)?;
        let mut results = Vec::with_capacity(channels.len());
        for channel in channels {
            let name = channel.clone();
            let result = self.submit(channel, publish.clone()).await;
            results.push(result.unwrap_or_else(|error| json!({ "channel": name.as_str(), "error": error.json() })));
        }
        Ok(json!({ "results": results }).to_string())
    }

    async fn submit(&self, channel: ChannelName, publish: Publish) -> Result<Value, ApiError> {
        match self.ask(Command::Publish { channel, publish, exclude_self: false }).await? {
            Outcome::Published { channel, position, duplicate } => {
                let (kind, name) = place(&channel);
                let mut answer = Map::new();
                answer.insert(kind.into(), name.into());
                answer.insert("position".into(), PositionBody::json(position));
                if duplicate {
                    answer.insert("duplicate".into(), true.into());
                }
                Ok(answer.into())
            }
            outcome => Err(unexpected(&outcome)),
        }
    }
}

/// The body of a publication. Unknown members are ignored, as everywhere in the protocol.
#[derive(Debug, Deserialize)]
struct PublishBody<'a> {
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    channels: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    data: &'a RawValue,
    event: Option<Box<str>>,
    key: Option<Box<str>>,
    encoding: Option<Box<str>>,
    idempotency_key: Option<Box<str>>,
    #[serde(borrow)]
    if_position: Option<PositionBody<'a>>,
    cache: Option<Box<str>>,
}

fn parse(body: &[u8], id: Option<&str>, data_bytes_max: usize) -> Result<(ChannelName, Publish), ApiError> {
    let body: PublishBody<'_> = parse_body(body)?;
    let channel = body.channel.as_deref().ok_or_else(|| ApiError::bad_request("\"channel\" is missing"))?;
    Ok((parse_channel(channel)?, body.check(id, data_bytes_max)?))
}

impl PublishBody<'_> {
    /// `id` is what the request's head says.
    fn check(self, id: Option<&str>, data_bytes_max: usize) -> Result<Publish, ApiError> {
        let payload = payload(self.data.get(), self.encoding.as_deref())?;
        if payload.len() > data_bytes_max {
            return Err(too_large(data_bytes_max));
        }
        if let (Some(head), Some(body)) = (id, self.idempotency_key.as_deref())
            && head != body
        {
            return Err(ApiError::bad_request("the header Idempotency-Key and \"idempotency_key\" differ"));
        }
        Ok(Publish {
            event: name("event", self.event.as_deref(), NAME_BYTES_MAX)?,
            key: name("key", self.key.as_deref(), NAME_BYTES_MAX)?,
            id: name("idempotency_key", id.or(self.idempotency_key.as_deref()), Publish::ID_BYTES_MAX)?,
            if_position: self.if_position.map(|position| position.position()),
            cache: cache(self.cache.as_deref())?,
            ..Publish::new(payload)
        })
    }
}

fn cache(asked: Option<&str>) -> Result<CacheRequest, ApiError> {
    match asked {
        None => Ok(CacheRequest::ByOptions),
        Some("keep") => Ok(CacheRequest::Keep),
        Some("clear") => Ok(CacheRequest::Clear),
        Some(_) => Err(ApiError::bad_request("\"cache\" is neither \"keep\" nor \"clear\"")),
    }
}

/// A JSON string is text, whichever protocol it goes out by.
pub(super) fn payload(data: &str, encoding: Option<&str>) -> Result<Payload, ApiError> {
    if depth(data) > DEPTH_MAX {
        let message = format!("\"data\" is nested deeper than {DEPTH_MAX}");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, RejectCode::BadJson.as_str(), message));
    }
    let text = data.starts_with('"').then(|| serde_json::from_str::<String>(data)).transpose();
    let text = text.map_err(|error| ApiError::bad_request(format!("\"data\": {error}")))?;
    match (encoding, text) {
        (None, Some(text)) => Ok(Payload::Text(text.into())),
        (None, None) => Ok(Payload::Json(data.into())),
        (Some("base64"), Some(text)) => {
            let bytes = STANDARD.decode(text).map_err(|_| ApiError::bad_request("\"data\" is not base64"))?;
            Ok(Payload::Binary(bytes.into()))
        }
        (Some("base64"), None) => {
            Err(ApiError::bad_request("\"data\" is not a string, which \"encoding\":\"base64\" needs"))
        }
        (Some(_), _) => Err(ApiError::bad_request("\"encoding\" is not \"base64\"")),
    }
}

fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;

    fn payload_of(body: &str) -> Result<Payload, &'static str> {
        parse(body.as_bytes(), None, 100).map(|(_, publish)| publish.payload).map_err(|error| error.code)
    }

    #[test]
    fn data_is_kept_as_it_was_written() {
        assert_eq!(
            payload_of(r#"{"channel":"c","data":{"b": 1,"a":[2]}}"#),
            Ok(Payload::Json(r#"{"b": 1,"a":[2]}"#.into()))
        );
        assert_eq!(payload_of(r#"{"channel":"c","data":"a\nb"}"#), Ok(Payload::Text("a\nb".into())));
        assert_eq!(payload_of(r#"{"channel":"c","data":null}"#), Ok(Payload::Json("null".into())));
        let binary = Payload::Binary(Bytes::from_static(b"\0\xff\x10"));
        assert_eq!(payload_of(r#"{"channel":"c","data":"AP8Q","encoding":"base64"}"#), Ok(binary));
    }

    #[test]
    fn what_cannot_be_published_is_refused() {
        for (body, code) in [
            ("", "bad_json"),
            ("{", "bad_json"),
            ("[]", "bad_json"),
            (r#"["c",1,null,null,null]"#, "bad_json"),
            ("1", "bad_json"),
            ("{}", "bad_request"),
            (r#"{"channel":"c"}"#, "bad_request"),
            (r#"{"channel":1,"data":1}"#, "bad_request"),
            (r#"{"channel":"a#b","data":1}"#, "bad_channel"),
            (r#"{"channel":"","data":1}"#, "bad_channel"),
            (r#"{"channel":"c","data":1,"event":""}"#, "bad_request"),
            (r#"{"channel":"c","data":1,"event":1}"#, "bad_request"),
            (r#"{"channel":"c","data":1,"event":"a\nb"}"#, "bad_request"),
            (r#"{"channel":"c","data":1,"idempotency_key":""}"#, "bad_request"),
            (r#"{"channel":"c","data":1,"if_position":{"epoch":"e1"}}"#, "bad_request"),
            (r#"{"channel":"c","data":1,"cache":"drop"}"#, "bad_request"),
            (r#"{"channel":"c","data":1,"cache":true}"#, "bad_request"),
            (r#"{"channel":"c","data":1,"encoding":"base64"}"#, "bad_request"),
            (r#"{"channel":"c","data":"=","encoding":"base64"}"#, "bad_request"),
            (r#"{"channel":"c","data":"x","encoding":"hex"}"#, "bad_request"),
            (r#"{"channel":"c","data":"\ud800"}"#, "bad_request"),
        ] {
            assert_eq!(payload_of(body), Err(code), "{body}");
        }
        let body = |data: &str| format!(r#"{{"channel":"c","data":{data}}}"#);
        assert!(payload_of(&body(&format!("\"{}\"", "x".repeat(100)))).is_ok());
        assert_eq!(payload_of(&body(&format!("\"{}\"", "x".repeat(101)))), Err("limit_exceeded"));
        assert_eq!(payload_of(&body(&format!("{}{}", "[".repeat(65), "]".repeat(65)))), Err("bad_json"));
        let long = format!(r#"{{"channel":"c","data":1,"key":"{}"}}"#, "x".repeat(201));
        assert_eq!(payload_of(&long), Err("bad_request"));
    }

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        for (json, expected) in
            [("1", 0), ("[]", 1), (r#"{"a":[{}]}"#, 3), (r#""[[[""#, 0), (r#"["\"[",[]]"#, 2), (r#"["\\",[]]"#, 2)]
        {
            assert_eq!(depth(json), expected, "{json}");
        }
    }
}
