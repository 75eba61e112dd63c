//! Who and how many are where: occupied channels, one channel, and the users of a presence channel.

use super::PusherState;
use super::answer::PusherError;
use super::names;
use super::request::{Signed, shown};
use crate::answer::json_response;
use crate::clock;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use switchboard_core::{App, ChannelName, Command, Occupancy, Outcome, Payload, Publication};
use switchboard_dialects::pusher::{Kind, data_text, event_name, to_pusher};

/// Channels that the hub is asked for at a time.
const PAGE: usize = 1_000;
/// Channels of one answer.
const CHANNELS_MAX: usize = 100_000;

/// What is told of a channel besides its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    users: bool,
    subscriptions: bool,
    cache: bool,
}

impl Attributes {
    /// Reads `info`: names with commas between them.
    pub(super) fn parse(info: Option<&str>) -> Result<Self, PusherError> {
        let mut this = Self::default();
        for name in info.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "user_count" => this.users = true,
                "subscription_count" => this.subscriptions = true,
                "cache" => this.cache = true,
                name => {
                    let message =
                        format!("\"info\" has {:?}; there are user_count, subscription_count and cache", shown(name));
                    return Err(PusherError::bad_request(message));
                }
            }
        }
        Ok(this)
    }

    pub(super) fn any(self) -> bool {
        self != Self::default()
    }

    /// Users are counted on presence channels only.
    fn check(self, presence: bool, culprit: &str) -> Result<(), PusherError> {
        if self.users && !presence {
            return Err(PusherError::bad_request(format!("user_count is for presence channels: {culprit}")));
        }
        Ok(())
    }

    pub(super) fn of(self, occupancy: &Occupancy) -> Map<String, Value> {
        let mut told = Map::new();
        if self.users && Kind::of(occupancy.channel.as_str()).presence {
            let users = occupancy.presence.map_or(0, |presence| presence.users);
            told.insert("user_count".into(), users.into());
        }
        if self.subscriptions {
            told.insert("subscription_count".into(), occupancy.subscribers.into());
        }
        told
    }
}

/// `GET …/channels`
pub(super) async fn channels(
    State(state): State<PusherState>,
    Path(app_id): Path<String>,
    request: Request,
) -> Result<Response, PusherError> {
    let signed = Signed::ask(&state, &app_id, request).await?;
    let prefix = signed.parameter("filter_by_prefix").unwrap_or_default();
    let attributes = Attributes::parse(signed.parameter("info"))?;
    attributes.check(prefix.starts_with("presence-"), "\"filter_by_prefix\" does not begin with presence-")?;
    if attributes.cache {
        return Err(PusherError::bad_request("cache is told of one channel at a time, not in a list"));
    }
    // What is escaped in Pusher's names has another prefix in ours: then each name is looked at.
    let ours = if prefix.contains('=') { "" } else { prefix };
    let mut listed = Map::new();
    let mut after: Option<Box<str>> = None;
    loop {
        let command = Command::Channels { prefix: ours.into(), after, limit: PAGE };
        let (page, more) = match state.hub.submit(Arc::clone(&signed.app.app), command).await {
            Outcome::Channels { channels, more } => (channels, more),
            outcome => return Err(names::refused(outcome)),
        };
        after = page.last().map(|last| last.channel.as_str().into());
        for occupancy in page {
            let name = to_pusher(occupancy.channel.as_str());
            if name.starts_with(prefix) {
                listed.insert(name.into_owned(), attributes.of(&occupancy).into());
            }
        }
        if listed.len() > CHANNELS_MAX {
            let message =
                format!("there are more than {CHANNELS_MAX} channels: ask for some of them, with \"filter_by_prefix\"");
            return Err(PusherError::bad_request(message));
        }
        if !more || after.is_none() {
            return Ok(json_response(StatusCode::OK, &json!({ "channels": listed })));
        }
    }
}

/// `GET …/channels/{channel}`
pub(super) async fn channel(
    State(state): State<PusherState>,
    Path((app_id, name)): Path<(String, String)>,
    request: Request,
) -> Result<Response, PusherError> {
    let signed = Signed::ask(&state, &app_id, request).await?;
    let channel = names::channel(&name)?;
    let attributes = Attributes::parse(signed.parameter("info"))?;
    attributes.check(Kind::of(channel.as_str()).presence, "this is none")?;
    let (occupied, mut told) = ask(&state, &signed.app.app, channel, attributes).await?;
    told.insert("occupied".into(), occupied.into());
    Ok(json_response(StatusCode::OK, &Value::Object(told)))
}

/// `GET …/channels/{channel}/users`
pub(super) async fn users(
    State(state): State<PusherState>,
    Path((app_id, name)): Path<(String, String)>,
    request: Request,
) -> Result<Response, PusherError> {
    let signed = Signed::ask(&state, &app_id, request).await?;
    let channel = names::channel(&name)?;
    if !Kind::of(channel.as_str()).presence {
        return Err(PusherError::bad_request("only presence channels know their users"));
    }
    let command = Command::Presence { channel, limit: None };
    match state.hub.submit(Arc::clone(&signed.app.app), command).await {
        Outcome::Presence { users, .. } => {
            let users: Vec<Value> = users.iter().map(|present| json!({ "id": present.user.as_str() })).collect();
            Ok(json_response(StatusCode::OK, &json!({ "users": users })))
        }
        outcome => Err(names::refused(outcome)),
    }
}

/// What is wanted of a channel, as an object.
pub(super) async fn told(
    state: &PusherState,
    app: &Arc<App>,
    channel: ChannelName,
    attributes: Attributes,
) -> Result<Value, PusherError> {
    if !attributes.any() {
        return Ok(json!({}));
    }
    Ok(ask(state, app, channel, attributes).await?.1.into())
}

/// Whether a channel is occupied, and what is wanted of it.
async fn ask(
    state: &PusherState,
    app: &Arc<App>,
    channel: ChannelName,
    attributes: Attributes,
) -> Result<(bool, Map<String, Value>), PusherError> {
    match state.hub.submit(Arc::clone(app), Command::Channel { channel }).await {
        Outcome::Channel { occupancy, cached, .. } => {
            let mut told = attributes.of(&occupancy);
            if attributes.cache {
                let cached = cached.map(|kept| value(app, &kept));
                told.insert("cache".into(), cached.into());
            }
            Ok((occupancy.is_occupied(), told))
        }
        outcome => Err(names::refused(outcome)),
    }
}

/// A cached value, and for how many seconds it will be kept.
fn value(app: &App, kept: &Publication) -> Value {
    let until = kept.timestamp + app.channels.of(&kept.channel).cache_ttl;
    let ttl = until.since(clock::now()).as_secs();
    let (event, data) = (event_name(kept.event.as_deref()), data_text(&kept.payload));
    let mut told = json!({ "event": event, "data": data, "ttl": ttl });
    if let (Payload::Binary(_), Some(told)) = (&kept.payload, told.as_object_mut()) {
        told.insert("encoding".into(), "base64".into());
    }
    told
}
