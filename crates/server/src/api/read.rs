//! The parts of the HTTP API that only look: history, presence, and which channels are occupied by how many.

use super::body::{PositionBody, channel_or_user, integer, name, parse_body, parse_channel, place};
use super::{Call, unexpected};
use crate::answer::ApiError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use switchboard_core::{ChannelName, Command, Occupancy, Outcome, Payload, Publication, ReadFrom};

/// What one answer lists, if nothing else is asked for, and at most.
const LIMIT: (u64, u64) = (100, 1_000);

#[derive(Debug, Deserialize)]
struct HistoryBody<'a> {
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    since: Option<PositionBody<'a>>,
    #[serde(borrow)]
    before: Option<PositionBody<'a>>,
    #[serde(borrow)]
    limit: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct PresenceBody<'a> {
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    limit: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct ChannelBody<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct ChannelsBody<'a> {
    prefix: Option<Box<str>>,
    after: Option<Box<str>>,
    #[serde(borrow)]
    limit: Option<&'a RawValue>,
}

impl Call<'_> {
    pub(super) async fn history(&self, body: &[u8]) -> Result<String, ApiError> {
        let HistoryBody { channel, user, since, before, limit: written } = parse_body(body)?;
        let from = match (since, before) {
            (None, None) => ReadFrom::Latest,
            (Some(since), None) => ReadFrom::After(since.position()),
            (None, Some(before)) => ReadFrom::Before(before.position()),
            (Some(_), Some(_)) => return Err(ApiError::bad_request("\"since\" and \"before\" exclude each other")),
        };
        let channel = channel_or_user(channel.as_deref(), user.as_deref())?;
        match self.ask(Command::History { channel, from, limit: limit(written)? }).await? {
            Outcome::History { channel, position, publications, more } => {
                let publications =
                    publications.iter().map(|publication| shown(publication)).collect::<Result<Vec<_>, _>>();
                let publications = publications.map_err(|error| unexpected(&error))?;
                let (kind, name) = place(&channel);
                let answer = json!({ kind: name, "position": PositionBody::json(position), "more": more });
                Ok(with_publications(&answer, &publications))
            }
            outcome => Err(unexpected(&outcome)),
        }
    }

    pub(super) async fn presence(&self, body: &[u8]) -> Result<String, ApiError> {
        let PresenceBody { channel, user, limit } = parse_body(body)?;
        // More than there are is all of them.
        let limit = integer("limit", limit, 0..=u64::MAX)?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let channel = channel_or_user(channel.as_deref(), user.as_deref())?;
        match self.ask(Command::Presence { channel, limit }).await? {
            Outcome::Presence { channel, users, total, connections } => {
                let users: Vec<Value> = users.iter().map(present).collect();
                let (kind, name) = place(&channel);
                Ok(json!({ kind: name, "users": users, "total": total, "connections": connections }).to_string())
            }
            outcome => Err(unexpected(&outcome)),
        }
    }

    pub(super) async fn channel(&self, body: &[u8]) -> Result<String, ApiError> {
        let ChannelBody { channel } = parse_body(body)?;
        match self.ask(Command::Channel { channel: parse_channel(&channel)? }).await? {
            Outcome::Channel { occupancy: known, position, cached } => {
                let mut answer = occupancy(&known);
                answer.insert("occupied".into(), known.is_occupied().into());
                answer.insert("position".into(), PositionBody::json(position));
                answer.insert("cached".into(), cached.is_some().into());
                Ok(Value::from(answer).to_string())
            }
            outcome => Err(unexpected(&outcome)),
        }
    }

    pub(super) async fn channels(&self, body: &[u8]) -> Result<String, ApiError> {
        let ChannelsBody { prefix, after, limit: written } = parse_body(body)?;
        // Any text is a place in the order of names, but not a book.
        for (member, text) in [("prefix", &prefix), ("after", &after)] {
            let text = text.as_deref().filter(|text| !text.is_empty());
            name(member, text, ChannelName::BYTES_MAX)?;
        }
        let command = Command::Channels { prefix: prefix.unwrap_or_default(), after, limit: limit(written)? };
        match self.ask(command).await? {
            Outcome::Channels { channels, more } => {
                let channels: Vec<Value> = channels.iter().map(|known| occupancy(known).into()).collect();
                Ok(json!({ "channels": channels, "more": more }).to_string())
            }
            outcome => Err(unexpected(&outcome)),
        }
    }
}

fn limit(written: Option<&RawValue>) -> Result<usize, ApiError> {
    let (usual, most) = LIMIT;
    let limit = integer("limit", written, 1..=most)?.unwrap_or(usual);
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

fn occupancy(known: &Occupancy) -> Map<String, Value> {
    let mut answer = Map::new();
    answer.insert("channel".into(), known.channel.as_str().into());
    answer.insert("subscribers".into(), known.subscribers.into());
    if let Some(presence) = known.presence {
        answer.insert("users".into(), presence.users.into());
        answer.insert("connections".into(), presence.connections.into());
    }
    answer
}

fn present(present: &switchboard_core::PresentUser) -> Value {
    let mut user = json!({ "user": present.user.as_str(), "connections": present.connections });
    // It was checked as it came in a token.
    if let (Some(info), Some(user)) = (&present.info, user.as_object_mut())
        && let Ok(info) = serde_json::from_str::<&RawValue>(info)
    {
        user.insert("info".into(), serde_json::to_value(info).unwrap_or_default());
    }
    user
}

/// A payload goes out as it was written: numbers keep their digits, members their order.
fn shown(publication: &Publication) -> Result<String, serde_json::Error> {
    let mut rest = Map::new();
    rest.insert("offset".into(), publication.position.offset.into());
    rest.insert("timestamp".into(), publication.timestamp.as_millis().into());
    if let Some(event) = &publication.event {
        rest.insert("event".into(), Value::from(&**event));
    }
    if let Some(key) = &publication.key {
        rest.insert("key".into(), Value::from(&**key));
    }
    if let Some(publisher) = &publication.publisher {
        rest.insert("publisher".into(), json!({ "user": publisher.user.as_str() }));
    }
    let data: Cow<'_, str> = match &publication.payload {
        Payload::Json(json) => Cow::Borrowed(json),
        Payload::Text(text) => serde_json::to_string(&**text)?.into(),
        Payload::Binary(bytes) => {
            rest.insert("encoding".into(), "base64".into());
            serde_json::to_string(&STANDARD.encode(bytes))?.into()
        }
    };
    let rest = serde_json::to_string(&rest)?;
    Ok(format!("{{\"data\":{data},{}", rest.strip_prefix('{').unwrap_or_default()))
}

fn with_publications(answer: &Value, publications: &[String]) -> String {
    let head = answer.to_string();
    let head = head.strip_suffix('}').unwrap_or_default();
    format!("{head},\"publications\":[{}]}}", publications.join(","))
}
