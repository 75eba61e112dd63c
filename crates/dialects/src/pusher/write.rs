//! From outcomes, events and publications to Pusher's messages: objects with `event`, mostly `channel`, and `data` as a JSON text in a string.

use super::names::{self, Kind};
use super::read::payload_of_text;
use crate::json::write_string;
use crate::writer::Writer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::sync::Arc;
use switchboard_core::{ChannelName, Payload, PresenceChange, PresentUser, Publication, Signal};

/// What publications without an event name are called.
const EVENT_DEFAULT: &str = "message";

pub(super) fn established(socket_id: &str, activity_timeout: u64, out: &mut Writer<'_>) {
    event("pusher:connection_established", None, out, |data| {
        data.extend_from_slice(b"{\"socket_id\":");
        write_string(data, socket_id);
        data.extend_from_slice(format!(",\"activity_timeout\":{activity_timeout}}}").as_bytes());
    });
}

pub(super) fn ping(out: &mut Writer<'_>) {
    out.text(|json| json.extend_from_slice(br#"{"event":"pusher:ping","data":"{}"}"#));
}

pub(super) fn pong(out: &mut Writer<'_>) {
    out.text(|json| json.extend_from_slice(br#"{"event":"pusher:pong","data":"{}"}"#));
}

/// `code` says what the client shall do; it is absent where the connection goes on and the protocol has no number.
pub(super) fn error(code: Option<u16>, message: &str, channel: Option<&str>, out: &mut Writer<'_>) {
    event("pusher:error", channel, out, |data| {
        data.extend_from_slice(b"{\"message\":");
        write_string(data, message);
        match code {
            Some(code) => data.extend_from_slice(format!(",\"code\":{code}}}").as_bytes()),
            None => data.extend_from_slice(b",\"code\":null}"),
        }
    });
}

pub(super) fn subscription_error(channel: &str, kind: &str, status: u16, message: &str, out: &mut Writer<'_>) {
    event("pusher:subscription_error", Some(channel), out, |data| {
        data.extend_from_slice(b"{\"type\":");
        write_string(data, kind);
        data.extend_from_slice(b",\"error\":");
        write_string(data, message);
        data.extend_from_slice(format!(",\"status\":{status}}}").as_bytes());
    });
}

/// `users` if it is a presence channel.
pub(super) fn subscribed(channel: &str, users: Option<&[PresentUser]>, out: &mut Writer<'_>) {
    event("pusher_internal:subscription_succeeded", Some(channel), out, |data| {
        let Some(users) = users else { return data.extend_from_slice(b"{}") };
        data.extend_from_slice(format!("{{\"presence\":{{\"count\":{},\"ids\":[", users.len()).as_bytes());
        for (index, present) in users.iter().enumerate() {
            separate(data, index);
            write_string(data, present.user.as_str());
        }
        data.extend_from_slice(b"],\"hash\":{");
        for (index, present) in users.iter().enumerate() {
            separate(data, index);
            write_string(data, present.user.as_str());
            data.push(b':');
            data.extend_from_slice(present.info.as_deref().unwrap_or("null").as_bytes());
        }
        data.extend_from_slice(b"}}}");
    });
}

pub(super) fn cache_miss(channel: &str, out: &mut Writer<'_>) {
    event("pusher:cache_miss", Some(channel), out, |data| data.extend_from_slice(b"{}"));
}

pub(super) fn signed_in(user_data: &str, out: &mut Writer<'_>) {
    event("pusher:signin_success", None, out, |data| {
        data.extend_from_slice(b"{\"user_data\":");
        write_string(data, user_data);
        data.push(b'}');
    });
}

/// What somebody sends to this client alone is an event on the channel like any other.
pub(super) fn signal(signal: &Signal, out: &mut Writer<'_>) {
    out.text(|json| {
        json.extend_from_slice(b"{\"event\":");
        write_string(json, &event_name(Some(signal.event.as_deref().unwrap_or("signal"))));
        json.extend_from_slice(b",\"channel\":");
        write_string(json, &names::to_pusher(signal.channel.as_str()));
        json.extend_from_slice(b",\"data\":");
        write_payload(json, &signal.payload);
        if let Some((sender, _)) = &signal.from {
            json.extend_from_slice(b",\"user_id\":");
            write_string(json, sender.user.as_str());
        }
        json.push(b'}');
    });
}

/// A run of publications, each a message of its own.
pub(crate) fn write_publications(publications: &[Arc<Publication>], out: &mut Writer<'_>) {
    for publication in publications {
        let kind = Kind::of(publication.channel.as_str());
        out.text(|json| {
            json.extend_from_slice(b"{\"event\":");
            write_string(json, &event_name(publication.event.as_deref()));
            json.extend_from_slice(b",\"channel\":");
            write_string(json, &names::to_pusher(publication.channel.as_str()));
            json.extend_from_slice(b",\"data\":");
            write_payload(json, &publication.payload);
            // Who sent a client event is told where everybody is known anyway.
            if kind.presence
                && let Some(publisher) = &publication.publisher
            {
                json.extend_from_slice(b",\"user_id\":");
                write_string(json, publisher.user.as_str());
            }
            json.push(b'}');
        });
    }
}

/// A run of presence changes. Only presence channels tell of them.
pub(crate) fn write_presence(channel: &ChannelName, changes: &[PresenceChange], out: &mut Writer<'_>) {
    if channel.user().is_some() {
        return watchlist_events(changes, out);
    }
    if !Kind::of(channel.as_str()).presence {
        return;
    }
    let name = names::to_pusher(channel.as_str());
    for change in changes {
        let kind = if change.joined { "pusher_internal:member_added" } else { "pusher_internal:member_removed" };
        event(kind, Some(&name), out, |data| {
            data.extend_from_slice(b"{\"user_id\":");
            write_string(data, change.user.as_str());
            if change.joined {
                data.extend_from_slice(b",\"user_info\":");
                data.extend_from_slice(change.info.as_deref().unwrap_or("null").as_bytes());
            }
            data.push(b'}');
        });
    }
}

/// How many subscribe. Presence channels tell who, instead.
pub(crate) fn write_count(channel: &ChannelName, count: u64, out: &mut Writer<'_>) {
    if Kind::of(channel.as_str()).presence {
        return;
    }
    event("pusher_internal:subscription_count", Some(&names::to_pusher(channel.as_str())), out, |data| {
        data.extend_from_slice(format!("{{\"subscription_count\":{count}}}").as_bytes());
    });
}

/// Who watches a user is told of its coming and going, each change by itself so that their order stays.
fn watchlist_events(changes: &[PresenceChange], out: &mut Writer<'_>) {
    event("pusher_internal:watchlist_events", None, out, |data| {
        data.extend_from_slice(b"{\"events\":[");
        for (index, change) in changes.iter().enumerate() {
            separate(data, index);
            data.extend_from_slice(b"{\"name\":");
            write_string(data, if change.joined { "online" } else { "offline" });
            data.extend_from_slice(b",\"user_ids\":[");
            write_string(data, change.user.as_str());
            data.extend_from_slice(b"]}");
        }
        data.extend_from_slice(b"]}");
    });
}

/// The protocol's own events come from the server alone: a publication that bears such a name gets a mark before it.
pub fn event_name(event: Option<&str>) -> Cow<'_, str> {
    match event {
        None | Some("") => EVENT_DEFAULT.into(),
        Some(name) if name.starts_with("pusher:") || name.starts_with("pusher_internal:") => format!("_{name}").into(),
        Some(name) => name.into(),
    }
}

/// `data`: a text which, read as Pusher's libraries read it, gives the content.
fn write_payload(json: &mut Vec<u8>, payload: &Payload) {
    write_string(json, &data_text(payload));
    if matches!(payload, Payload::Binary(_)) {
        json.extend_from_slice(b",\"encoding\":\"base64\"");
    }
}

/// What `data` says of a payload; of bytes, their base64.
pub fn data_text(payload: &Payload) -> Cow<'_, str> {
    match payload {
        Payload::Json(text) => Cow::Borrowed(text),
        Payload::Text(text) if is_read_as_text(text) => Cow::Borrowed(text),
        // Text that would be read as something else, such as a number.
        Payload::Text(text) => {
            let mut quoted = Vec::new();
            write_string(&mut quoted, text);
            Cow::Owned(String::from_utf8(quoted).unwrap_or_default())
        }
        Payload::Binary(bytes) => Cow::Owned(STANDARD.encode(bytes)),
    }
}

fn is_read_as_text(text: &str) -> bool {
    matches!(payload_of_text(text), Payload::Text(read) if *read == *text)
}

fn event(name: &str, channel: Option<&str>, out: &mut Writer<'_>, data: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    data(&mut inner);
    out.text(|json| {
        json.extend_from_slice(b"{\"event\":");
        write_string(json, name);
        if let Some(channel) = channel {
            json.extend_from_slice(b",\"channel\":");
            write_string(json, channel);
        }
        json.extend_from_slice(b",\"data\":");
        write_string(json, core::str::from_utf8(&inner).unwrap_or_default());
        json.push(b'}');
    });
}

fn separate(json: &mut Vec<u8>, index: usize) {
    if index > 0 {
        json.push(b',');
    }
}
