//! From frames to what they say. Everything in a frame is the server's word, so nothing here may fail but by a returned reason.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::types::{Data, Message, Position, Sender, Signal, User};

/// A message of the server with all members that any has. Flat, since `RawValue` fails inside of tagged enums. Unknown members are ignored.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Incoming<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) channel: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) pattern: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "even_null")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    encoding: Cow<'a, str>,
    offset: Option<u64>,
    timestamp: u64,
    event: Option<String>,
    key: Option<String>,
    publisher: Option<Publisher>,
    conflated: Option<u64>,
    pub(super) cached: bool,
    pub(super) position: Option<Position>,
    pub(super) duplicate: bool,
    pub(super) recovered: Option<bool>,
    pub(super) users: Vec<User>,
    pub(super) total: Option<u64>,
    pub(super) connections: u64,
    #[serde(borrow)]
    pub(super) publications: Vec<&'a RawValue>,
    pub(super) more: bool,
    /// A word in `error` and `unsubscribed`, a number in `disconnect`.
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    pub(super) message: String,
    pub(super) temporary: bool,
    pub(super) session: String,
    pub(super) version: u64,
    pub(super) user: Option<String>,
    pub(super) heartbeat_ms: u64,
    pub(super) limits: ServerLimits,
    #[serde(borrow)]
    pub(super) messages: Vec<&'a RawValue>,
    /// An offset in `gap`, somebody in `signal`.
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    pub(super) to: u64,
    pub(super) sessions: u64,
    pub(super) info: Option<Box<RawValue>>,
    pub(super) reason: String,
    pub(super) reconnect: bool,
    pub(super) after_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Publisher {
    user: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ServerLimits {
    pub(super) message_bytes: Option<usize>,
}

/// `null` is data like any other.
fn even_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&'de RawValue>::deserialize(deserializer).map(Some)
}

/// A text frame, or a message inside of a batch.
pub(super) fn text(text: &str) -> Result<Incoming<'_>, String> {
    // An array would be read as the members in their order.
    if !text.trim_start().starts_with('{') {
        return Err("a message that is not a JSON object".into());
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// A binary frame: the header's length, the header, the payload.
pub(super) fn binary(frame: &Bytes) -> Result<(Incoming<'_>, Bytes), String> {
    let (length, rest) = frame.split_first_chunk::<2>().ok_or("a binary frame of less than two bytes")?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (header, payload) = rest.split_at_checked(length).ok_or("a binary frame shorter than its header")?;
    let header = std::str::from_utf8(header).map_err(|_| "the header of a binary frame is not UTF-8")?;
    // A small payload would keep the whole buffer that it was read into.
    let payload =
        if payload.len() <= COPY_BYTES_MAX { Bytes::copy_from_slice(payload) } else { frame.slice_ref(payload) };
    Ok((text(header)?, payload))
}

impl<'a> Incoming<'a> {
    /// The id of the request that this answers, if it is one of ours: we use integers.
    pub(super) fn answers(&self) -> Option<u64> {
        self.id?.get().parse().ok()
    }

    pub(super) fn code_word(&self) -> String {
        self.code.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    pub(super) fn code_number(&self) -> u16 {
        self.code.and_then(|raw| raw.get().parse().ok()).unwrap_or_default()
    }

    pub(super) fn offset(&self) -> Result<u64, String> {
        self.offset.ok_or_else(|| "a message without an offset".into())
    }

    /// The first offset of a gap.
    pub(super) fn gap_start(&self) -> Result<u64, String> {
        let raw = self.from.ok_or("a gap without its beginning")?;
        raw.get().parse().map_err(|_| "the beginning of a gap is not a number".into())
    }

    /// What another client has sent.
    pub(super) fn signal(self) -> Result<Signal, String> {
        let from: Option<Option<Sender>> = self
            .from
            .map(|raw| serde_json::from_str(raw.get()))
            .transpose()
            .map_err(|error| format!("a signal whose \"from\" is nobody: {error}"))?;
        let data = json_or_base64(self.data.ok_or("a signal without data")?, &self.encoding)?;
        Ok(Signal { data, event: self.event, from: from.flatten() })
    }

    /// A publication; of this epoch, or of none if nothing can be resumed behind it. `payload` is a binary frame's.
    pub(super) fn publication(
        self,
        channel: Arc<str>,
        epoch: Option<Arc<str>>,
        payload: Option<Bytes>,
    ) -> Result<Message, String> {
        let offset = self.offset()?;
        let data = match (payload, self.data) {
            (Some(payload), _) => Data::Bytes(payload),
            (None, Some(data)) => json_or_base64(data, &self.encoding)?,
            (None, None) => return Err("a message without data".into()),
        };
        Ok(Message {
            channel,
            data,
            position: epoch.map(|epoch| Position { epoch, offset }),
            offset,
            timestamp_ms: self.timestamp,
            event: self.event,
            key: self.key,
            publisher: self.publisher.map(|publisher| publisher.user),
            conflated: self.conflated.unwrap_or_default(),
            cached: self.cached,
        })
    }
}

fn json_or_base64(data: &RawValue, encoding: &str) -> Result<Data, String> {
    if encoding.is_empty() {
        return Ok(Data::Json(data.to_owned()));
    }
    if encoding != "base64" {
        return Err(format!("data in an unknown encoding, {encoding:?}"));
    }
    let text: Cow<'_, str> = serde_json::from_str(data.get()).map_err(|_| "base64 that is not a string")?;
    let bytes = STANDARD.decode(text.as_bytes()).map_err(|error| format!("not base64: {error}"))?;
    Ok(Data::Bytes(bytes.into()))
}

const COPY_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn data_of_every_kind() {
        let table = [
            (r#"{"type":"message","channel":"a","data":{"x":1},"offset":1,"timestamp":5}"#, r#"{"x":1}"#),
            (r#"{"type":"message","channel":"a","data":null,"offset":1,"timestamp":5}"#, "null"),
            (
                r#"{"type":"message","channel":"a","data":"AP8Q","encoding":"base64","offset":1,"new":[{}]}"#,
                "\0\u{fffd}\u{10}",
            ),
        ];
        for (frame, expected) in table {
            let message = text(frame).unwrap().publication("a".into(), None, None).unwrap();
            assert_eq!(String::from_utf8_lossy(message.data.as_bytes()), expected);
        }
    }

    #[test]
    fn what_is_not_the_protocol_is_named() {
        for bad in ["", "[]", "{", r#"{"type":1}"#, r#"{"offset":-1}"#, r#"{"users":7}"#] {
            assert!(text(bad).is_err(), "{bad}");
        }
        for bad in [r#"{"offset":1}"#, r#"{"data":1}"#, r#"{"offset":1,"data":1,"encoding":"x"}"#] {
            assert!(text(bad).unwrap().publication("a".into(), None, None).is_err(), "{bad}");
        }
        for bad in [&b""[..], b"\0", b"\0\x05{}", b"\0\x01\xff"] {
            assert!(binary(&Bytes::copy_from_slice(bad)).is_err(), "{bad:?}");
        }
        let (header, payload) = {
            let frame = Bytes::from_static(b"\0\x1a{\"type\":\"message\",\"z\":[1]}\x00\xff");
            let (header, payload) = binary(&frame).unwrap();
            (header.kind.into_owned(), payload)
        };
        assert_eq!((header.as_str(), &payload[..]), ("message", &b"\x00\xff"[..]));
    }
}
