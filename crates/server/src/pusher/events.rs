//! Publishing: one event on several channels, or several events.

use super::PusherState;
use super::answer::PusherError;
use super::channels::{Attributes, told};
use super::names;
use super::request::{Signed, shown};
use crate::answer::json_response;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use futures_util::future::join_all;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, json};
use std::borrow::Cow;
use std::sync::Arc;
use switchboard_core::{App, ChannelName, Command, Outcome, Payload, Publish, SessionId};
use switchboard_dialects::pusher::{self, EVENT_BYTES_MAX, payload_of_text};

/// Channels of one event.
const CHANNELS_MAX: usize = 100;
/// Events of one batch.
const BATCH_MAX: usize = 10;
/// What a body may have beside the data, in bytes.
const ENVELOPE_BYTES: usize = 4 * 1024;

#[derive(Debug, Deserialize)]
struct EventBody<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    channels: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    socket_id: Option<Cow<'a, str>>,
    /// What the answer shall tell of each channel.
    #[serde(borrow)]
    info: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
struct BatchBody<'a> {
    #[serde(borrow)]
    batch: Vec<EventBody<'a>>,
}

pub(super) async fn events(
    State(state): State<PusherState>,
    Path(app_id): Path<String>,
    request: Request,
) -> Result<Response, PusherError> {
    let names = CHANNELS_MAX * (pusher::NAME_BYTES_MAX + 3);
    let bytes_max = |data_max| escaped(data_max) + ENVELOPE_BYTES + names;
    let (signed, body) = Signed::read(&state, &app_id, request, bytes_max).await?;
    let data_max = signed.data_max();
    let body: EventBody<'_> = parse(&body)?;
    let named = match (&body.channel, &body.channels) {
        (None, Some(channels)) => channels.as_slice(),
        (Some(channel), None) => core::slice::from_ref(channel),
        (None, None) => return Err(PusherError::bad_request("\"channels\" is missing")),
        (Some(_), Some(_)) => return Err(PusherError::bad_request("\"channel\" and \"channels\" exclude each other")),
    };
    if named.is_empty() || named.len() > CHANNELS_MAX {
        let message = format!("\"channels\" has {} names, not 1 to {CHANNELS_MAX}", named.len());
        return Err(PusherError::bad_request(message));
    }
    let channels = named.iter().map(|name| names::target(name)).collect::<Result<Vec<_>, _>>()?;
    let event = Event::read(&body, data_max)?;
    let app = &signed.app.app;
    publish(&state, app, channels.iter().map(|channel| (channel.clone(), &event))).await?;
    if !event.info.any() {
        return Ok(json_response(StatusCode::OK, &json!({})));
    }
    let told = join_all(channels.into_iter().map(|channel| told(&state, app, channel, event.info))).await;
    let mut by_name = Map::new();
    for (name, told) in named.iter().zip(told) {
        by_name.insert(name.clone().into_owned(), told?);
    }
    Ok(json_response(StatusCode::OK, &json!({ "channels": by_name })))
}

pub(super) async fn batch_events(
    State(state): State<PusherState>,
    Path(app_id): Path<String>,
    request: Request,
) -> Result<Response, PusherError> {
    let bytes_max = |data_max| BATCH_MAX * (escaped(data_max) + ENVELOPE_BYTES);
    let (signed, body) = Signed::read(&state, &app_id, request, bytes_max).await?;
    let data_max = signed.data_max();
    let BatchBody { batch } = parse(&body)?;
    if batch.is_empty() || batch.len() > BATCH_MAX {
        let message = format!("\"batch\" has {} events, not 1 to {BATCH_MAX}", batch.len());
        return Err(PusherError::bad_request(message));
    }
    let mut events = Vec::with_capacity(batch.len());
    for (index, body) in batch.iter().enumerate() {
        let at =
            |error: PusherError| PusherError { message: format!("batch[{index}]: {}", error.message).into(), ..error };
        let name = body.channel.as_deref();
        let name = name.ok_or_else(|| PusherError::bad_request(format!("batch[{index}]: \"channel\" is missing")))?;
        events.push((names::target(name).map_err(at)?, Event::read(body, data_max).map_err(at)?));
    }
    let app = &signed.app.app;
    publish(&state, app, events.iter().map(|(channel, event)| (channel.clone(), event))).await?;
    if !events.iter().any(|(_, event)| event.info.any()) {
        return Ok(json_response(StatusCode::OK, &json!({})));
    }
    let told = join_all(events.into_iter().map(|(channel, event)| told(&state, app, channel, event.info))).await;
    let told = told.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(json_response(StatusCode::OK, &json!({ "batch": told })))
}

/// An event whose form is good.
#[derive(Debug)]
struct Event {
    name: Arc<str>,
    payload: Payload,
    exclude: Option<SessionId>,
    info: Attributes,
}

impl Event {
    fn read(body: &EventBody<'_>, data_max: usize) -> Result<Self, PusherError> {
        let EventBody { name, data, socket_id, info, .. } = body;
        if name.is_empty() || name.len() > EVENT_BYTES_MAX {
            let message = format!("\"name\" has {} bytes, not 1 to {EVENT_BYTES_MAX}", name.len());
            return Err(PusherError::bad_request(message));
        }
        if name.chars().any(char::is_control) {
            return Err(PusherError::bad_request("\"name\" contains a control character"));
        }
        if !data.get().starts_with('"') {
            return Err(PusherError::bad_request(
                "\"data\" must be a string; what is not one is encoded as JSON first",
            ));
        }
        let text: Cow<'_, str> =
            serde_json::from_str(data.get()).map_err(|error| PusherError::bad_request(format!("\"data\": {error}")))?;
        if text.len() > data_max {
            let message = format!("\"data\" has {} bytes, more than {data_max}", text.len());
            return Err(PusherError::too_large(message));
        }
        let exclude = match socket_id.as_deref() {
            None => None,
            Some(id) => Some(pusher::session_of(id).ok_or_else(|| {
                PusherError::bad_request(format!("\"socket_id\" {:?} is not of the form 1.2", shown(id)))
            })?),
        };
        Ok(Self {
            name: (&**name).into(),
            payload: payload_of_text(&text),
            exclude,
            info: Attributes::parse(info.as_deref())?,
        })
    }
}

/// Publishes in order. What is refused on one channel does not hold up the others, and is what the answer tells.
async fn publish(
    state: &PusherState,
    app: &Arc<App>,
    events: impl Iterator<Item = (ChannelName, &Event)>,
) -> Result<(), PusherError> {
    let submitted = events.map(|(channel, event)| {
        let publish = Publish {
            event: Some(Arc::clone(&event.name)),
            cache: pusher::caching(&channel),
            exclude: event.exclude,
            ..Publish::new(event.payload.clone())
        };
        state.hub.submit(Arc::clone(app), Command::Publish { channel, publish, exclude_self: false })
    });
    // They set out in their order, so that two on the same channel stay in it.
    for outcome in join_all(submitted).await {
        match outcome {
            Outcome::Published { .. } => {}
            outcome => return Err(names::refused(outcome)),
        }
    }
    Ok(())
}

/// Inside of a string, quotes take two bytes and `ä` may take six in place of two.
fn escaped(data_max: usize) -> usize {
    data_max.saturating_mul(3)
}

/// A JSON object. What is nested in it where nothing is expected is skipped without recursion.
fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, PusherError> {
    // serde would take the members in their order from an array.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(PusherError::bad_request("the body is not a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| PusherError::bad_request(format!("the body: {error}")))
}
