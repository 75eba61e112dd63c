//! From requests to frames. Knows nothing of when they are sent.

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;
use switchboard_ws::Message as Frame;

use super::wanted::{Name, Wanted};
use crate::types::{Cache, Data, Position, Receiver};
use crate::{Refusal, RequestError};

/// What an application asks of the server.
///
/// ```
/// use switchboard_client::core::Request;
///
/// let request = Request::Presence { channel: "room:lobby".into(), limit: None };
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Request {
    /// Publish to a channel.
    Publish {
        /// Where.
        channel: String,
        /// What.
        data: Data,
        /// A name for this kind of message.
        event: Option<String>,
        /// Which earlier message it replaces, on channels that keep the latest.
        key: Option<String>,
        /// Not to this connection.
        exclude_self: bool,
        /// The name under which the server does it only once; with it, it is sent again after a lost connection.
        idempotency_key: Option<String>,
        /// Only if the channel is there.
        if_position: Option<Position>,
        /// What it leaves to those who come.
        cache: Option<Cache>,
    },
    /// Send something to one client, past the channel's history.
    Signal {
        /// To those who subscribe to it.
        channel: String,
        /// To whom of them.
        to: Receiver,
        /// What: JSON.
        data: Box<RawValue>,
        /// A name for this kind of signal.
        event: Option<String>,
    },
    /// Who is on a channel.
    Presence {
        /// Where.
        channel: String,
        /// How many users at most are listed.
        limit: Option<u32>,
    },
    /// What was published to a channel.
    History {
        /// Where.
        channel: String,
        /// Only what came after it.
        since: Option<Position>,
        /// Only what came before it.
        before: Option<Position>,
        /// How many messages at most.
        limit: Option<u32>,
    },
}

/// A message of the client with all members that any has.
#[derive(Serialize, Default)]
struct Outgoing<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    exclude_self: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<&'a Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    if_position: Option<&'a Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Cache>,
    #[serde(skip_serializing_if = "is_false")]
    presence: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    #[serde(skip_serializing_if = "is_false")]
    cached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

pub(super) fn request(id: u64, request: &Request) -> Result<Frame, RequestError> {
    let id = Some(id);
    let outgoing = match request {
        Request::Publish { channel, data, event, key, exclude_self, idempotency_key, if_position, cache } => {
            let publish = Outgoing {
                kind: "publish",
                id,
                channel: Some(channel),
                event: event.as_deref(),
                key: key.as_deref(),
                exclude_self: *exclude_self,
                idempotency_key: idempotency_key.as_deref(),
                if_position: if_position.as_ref(),
                cache: *cache,
                ..Outgoing::default()
            };
            match data {
                Data::Json(json) => Outgoing { data: Some(json), ..publish },
                Data::Bytes(payload) => return binary(&publish, payload),
            }
        }
        Request::Signal { channel, to, data, event } => {
            let (user, session) = match to {
                Receiver::User(user) => (Some(&**user), None),
                Receiver::Session(session) => (None, Some(&**session)),
            };
            let event = event.as_deref();
            let (channel, data) = (Some(&**channel), Some(&**data));
            Outgoing { kind: "signal", id, channel, user, session, event, data, ..Outgoing::default() }
        }
        Request::Presence { channel, limit } => {
            Outgoing { kind: "presence", id, channel: Some(channel), limit: *limit, ..Outgoing::default() }
        }
        Request::History { channel, since, before, limit } => {
            let (since, before, limit) = (since.as_ref(), before.as_ref(), *limit);
            Outgoing { kind: "history", id, channel: Some(channel), since, before, limit, ..Outgoing::default() }
        }
    };
    outgoing.text()
}

fn binary(header: &Outgoing<'_>, payload: &[u8]) -> Result<Frame, RequestError> {
    let header = header.json()?;
    let too_large = |_| RequestError::TooLarge { bytes: header.len(), bytes_max: usize::from(u16::MAX) };
    let length = u16::try_from(header.len()).map_err(too_large)?;
    let mut frame = BytesMut::with_capacity(2 + header.len() + payload.len());
    frame.put_u16(length);
    frame.put_slice(header.as_bytes());
    frame.put_slice(payload);
    Ok(frame.freeze().into())
}

/// Behind `since`, whatever was wanted first.
pub(super) fn subscribe(id: u64, wanted: &Wanted, since: Option<&Position>) -> Result<Frame, RequestError> {
    let subscribe = Outgoing { kind: "subscribe", id: Some(id), ..Outgoing::named(&wanted.name) };
    if matches!(wanted.name, Name::Pattern(_)) {
        return subscribe.text();
    }
    let Wanted { presence, rate, cached, .. } = *wanted;
    Outgoing { since, presence, rate, cached, ..subscribe }.text()
}

pub(super) fn unsubscribe(name: &Name) -> Result<Frame, RequestError> {
    Outgoing { kind: "unsubscribe", ..Outgoing::named(name) }.text()
}

pub(super) fn authenticate(id: u64, token: &str) -> Result<Frame, RequestError> {
    Outgoing { kind: "authenticate", id: Some(id), token: Some(token), ..Outgoing::default() }.text()
}

pub(super) fn ping() -> Frame {
    r#"{"type":"ping"}"#.into()
}

/// What the server would refuse as a name, so that it is known without a connection.
pub(super) fn check_channel(name: &str) -> Result<(), Refusal> {
    let what = match name {
        "" => "the name is empty",
        name if name.len() > CHANNEL_BYTES_MAX => "the name is longer than 200 bytes",
        OWN_CHANNEL => return Ok(()),
        name if name.contains(['+', '#']) || name.contains(char::is_control) => {
            "the name contains '+', '#' or a control character"
        }
        _ => return Ok(()),
    };
    Err(Refusal::new("bad_channel", what))
}

impl<'a> Outgoing<'a> {
    fn named(name: &'a Name) -> Self {
        match name {
            Name::Channel(channel) => Self { channel: Some(channel), ..Self::default() },
            Name::Pattern(pattern) => Self { pattern: Some(pattern), ..Self::default() },
        }
    }

    fn json(&self) -> Result<String, RequestError> {
        serde_json::to_string(self).map_err(|error| RequestError::Json(error.to_string()))
    }

    fn text(&self) -> Result<Frame, RequestError> {
        Ok(self.json()?.into())
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

const CHANNEL_BYTES_MAX: usize = 200;

/// The channel of the user that the token names.
const OWN_CHANNEL: &str = "#user";
