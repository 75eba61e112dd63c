//! The parts of the HTTP API that only look: history and presence.

use super::{ApiState, PositionBody, authenticate, parse_body, parse_channel, read_body, unexpected};
use crate::answer::{ApiError, json_response};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use switchboard_core::{Command, Outcome, Payload, Publication, ReadFrom};

/// A question has no payload.
const BODY_BYTES: usize = 4 * 1024;
/// Publications of one answer, if nothing else is asked for, and at most.
const HISTORY_LIMIT: (u64, u64) = (100, 1_000);

#[derive(Debug, Deserialize)]
struct HistoryBody<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    since: Option<PositionBody<'a>>,
    #[serde(borrow)]
    before: Option<PositionBody<'a>>,
    limit: Option<u64>,
}

pub(super) async fn history(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let app = authenticate(&state.apps, &headers)?;
    let body = read_body(body, BODY_BYTES).await?;
    let HistoryBody { channel, since, before, limit } = parse_body(&body)?;
    let from = match (since, before) {
        (None, None) => ReadFrom::Latest,
        (Some(since), None) => ReadFrom::After(since.position()),
        (None, Some(before)) => ReadFrom::Before(before.position()),
        (Some(_), Some(_)) => return Err(ApiError::bad_request("\"since\" and \"before\" exclude each other")),
    };
    let (usual, most) = HISTORY_LIMIT;
    let limit = limit.unwrap_or(usual);
    if !(1..=most).contains(&limit) {
        return Err(ApiError::bad_request(format!("\"limit\" is {limit}, not 1 to {most}")));
    }
    let command = Command::History {
        channel: parse_channel(&channel)?,
        from,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    };
    match state.hub.submit(app, command).await {
        Outcome::History { channel, position, publications, more } => {
            let publications = publications.iter().map(|publication| shown(publication)).collect::<Result<Vec<_>, _>>();
            let publications = publications.map_err(|error| unexpected(&error))?;
            let position = PositionBody::json(position);
            let answer = json!({ "channel": channel.as_str(), "position": position, "more": more });
            Ok(json_response(StatusCode::OK, &with_publications(&answer, &publications)))
        }
        Outcome::Rejected(reject) => Err(reject.into()),
        outcome => Err(unexpected(&outcome)),
    }
}

/// A payload goes out as it was written: numbers keep their digits, members their order.
fn shown(publication: &Publication) -> Result<String, serde_json::Error> {
    let mut rest = Map::new();
    rest.insert("offset".into(), publication.position.offset.into());
    rest.insert("timestamp".into(), publication.timestamp.as_millis().into());
    if let Some(event) = &publication.event {
        rest.insert("event".into(), Value::from(&**event));
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

#[derive(Debug, Deserialize)]
struct PresenceBody<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    limit: Option<u64>,
}

pub(super) async fn presence(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let app = authenticate(&state.apps, &headers)?;
    let body = read_body(body, BODY_BYTES).await?;
    let PresenceBody { channel, limit } = parse_body(&body)?;
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    match state.hub.submit(app, Command::Presence { channel: parse_channel(&channel)?, limit }).await {
        Outcome::Presence { channel, users, total, connections } => {
            let users = users.iter().map(|present| {
                let mut user = json!({ "user": present.user.as_str(), "connections": present.connections });
                // It was checked as it came in a token.
                if let (Some(info), Some(user)) = (&present.info, user.as_object_mut())
                    && let Ok(info) = serde_json::from_str::<&RawValue>(info)
                {
                    user.insert("info".into(), serde_json::to_value(info).unwrap_or_default());
                }
                user
            });
            let users: Vec<Value> = users.collect();
            let answer =
                json!({ "channel": channel.as_str(), "users": users, "total": total, "connections": connections });
            Ok(json_response(StatusCode::OK, &answer))
        }
        Outcome::Rejected(reject) => Err(reject.into()),
        outcome => Err(unexpected(&outcome)),
    }
}
