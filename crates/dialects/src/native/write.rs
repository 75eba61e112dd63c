//! From outcomes, events and publications to frames.

use crate::dialect::Welcome;
use crate::json::write_string;
use crate::writer::Writer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;
use switchboard_core::{
    ChannelName, ClientInfo, Disconnect, Event, Mark, Outcome, Payload, Position, PresenceChange, PresentUser,
    Publication, Reject, Time, UserId,
};

pub(super) fn welcome(welcome: &Welcome<'_>, out: &mut Writer<'_>) {
    out.text(|json| {
        let session = welcome.session.to_string();
        let mut object = Object::begin(json, "welcome");
        object.string("session", &session).number("version", 1);
        match welcome.user {
            Some(user) => object.string("user", user.as_str()),
            None => object.raw("user", "null"),
        };
        object.number("heartbeat_ms", u64::try_from(welcome.heartbeat.as_millis()).unwrap_or(u64::MAX));
        object.nested("limits", |limits| {
            limits
                .number("message_bytes", welcome.message_bytes as u64)
                .number("channels", welcome.limits.channels as u64)
                .number("channel_name_bytes", ChannelName::BYTES_MAX as u64);
        });
        object.end();
    });
}

pub(super) fn error(id: Option<&str>, reject: &Reject, out: &mut Writer<'_>) {
    out.text(|json| {
        let mut object = Object::begin(json, "error");
        object.id(id);
        object.string("code", reject.code.as_str()).string("message", &reject.message);
        object.boolean("temporary", reject.temporary);
        if let Some(position) = reject.position {
            object.position(position);
        }
        object.end();
    });
}

pub(super) fn ok(id: Option<&str>, outcome: &Outcome, out: &mut Writer<'_>) {
    out.text(|json| {
        let mut object = Object::begin(json, "ok");
        object.id(id);
        object.outcome(outcome);
        object.end();
    });
}

pub(super) fn event(event: &Event, out: &mut Writer<'_>) {
    out.text(|json| write_event(json, event));
}

/// An event as a JSON object.
pub(crate) fn write_event(json: &mut Vec<u8>, event: &Event) {
    match event {
        Event::CaughtUp { channel } => {
            let mut object = Object::begin(json, "caught_up");
            object.string("channel", shown(channel));
            object.end();
        }
        Event::Gap { channel, from, to } => {
            let mut object = Object::begin(json, "gap");
            object.string("channel", shown(channel)).number("from", *from).number("to", *to);
            object.end();
        }
        Event::Unsubscribed { channel, code } => {
            let mut object = Object::begin(json, "unsubscribed");
            object.string("channel", shown(channel)).string("code", code.as_str());
            object.end();
        }
        Event::Signal(signal) => {
            let mut object = Object::begin(json, "signal");
            object.string("channel", shown(&signal.channel)).payload(&signal.payload);
            if let Some(event) = &signal.event {
                object.string("event", event);
            }
            if let Some((ClientInfo { user }, session)) = &signal.from {
                object.nested("from", |from| {
                    from.string("user", user.as_str()).string("session", &session.to_string());
                });
            }
            object.end();
        }
        Event::TokenExpiring { expires } => {
            let mut object = Object::begin(json, "token_expiring");
            object.number("expires_at", expires.as_millis());
            object.end();
        }
    }
}

pub(super) fn ping(out: &mut Writer<'_>) {
    out.text(|json| json.extend_from_slice(br#"{"type":"ping"}"#));
}

pub(super) fn pong(id: Option<&str>, out: &mut Writer<'_>) {
    out.text(|json| {
        let mut object = Object::begin(json, "pong");
        object.id(id);
        object.end();
    });
}

pub(super) fn disconnect(disconnect: &Disconnect, out: &mut Writer<'_>) {
    out.text(|json| {
        let mut object = Object::begin(json, "disconnect");
        object.number("code", u64::from(disconnect.code)).string("reason", &disconnect.reason);
        object.boolean("reconnect", disconnect.reconnect());
        if let Some(after) = disconnect.after {
            object.number("after_ms", u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        }
        object.end();
    });
}

/// A run of publications: each its own frame, or those with JSON payloads together if the client asked for it.
pub(crate) fn write_publications(publications: &[Arc<Publication>], mark: Mark, batch: bool, out: &mut Writer<'_>) {
    let is_binary = |publication: &Arc<Publication>| matches!(publication.payload, Payload::Binary(_));
    for run in publications.chunk_by(|a, b| batch && !is_binary(a) && !is_binary(b)) {
        match run {
            [one] => message(one, mark, out),
            many => out.text(|json| {
                let mut object = Object::begin(json, "batch");
                object.array("messages", many, |json, publication| write_message(json, publication, mark));
                object.end();
            }),
        }
    }
}

/// A run of presence changes.
pub(crate) fn write_presence(channel: &ChannelName, changes: &[PresenceChange], out: &mut Writer<'_>) {
    for change in changes {
        out.text(|json| write_change(json, channel, change));
    }
}

/// A change of presence as a JSON object.
pub(crate) fn write_change(json: &mut Vec<u8>, channel: &ChannelName, change: &PresenceChange) {
    let mut object = Object::begin(json, if change.joined { "join" } else { "leave" });
    object.string("channel", shown(channel)).string("user", change.user.as_str());
    if let Some(info) = &change.info {
        object.raw("info", info);
    }
    object.end();
}

fn message(publication: &Publication, mark: Mark, out: &mut Writer<'_>) {
    match &publication.payload {
        Payload::Binary(bytes) => out.binary(|frame| {
            frame.extend_from_slice(&[0, 0]);
            let mut header = Object::begin(frame, "message");
            header.string("channel", shown(&publication.channel)).metadata(publication).mark(mark);
            header.end();
            // Names are bounded so that this fits: channel, event, key and user at most 6 × 728 bytes escaped.
            let length = u16::try_from(frame.len() - 2).unwrap_or(u16::MAX);
            if let Some(prefix) = frame.first_chunk_mut::<2>() {
                *prefix = length.to_be_bytes();
            }
            frame.extend_from_slice(bytes);
        }),
        Payload::Json(_) | Payload::Text(_) => out.text(|json| write_message(json, publication, mark)),
    }
}

/// A publication as a JSON object, whose bytes are base64.
pub(crate) fn write_message(json: &mut Vec<u8>, publication: &Publication, mark: Mark) {
    let mut object = Object::begin(json, "message");
    object.string("channel", shown(&publication.channel)).content(publication).mark(mark);
    object.end();
}

/// A channel's name for the client: its user's own is called the same for everybody, since a client has no other of the kind.
pub(crate) fn shown(channel: &ChannelName) -> &str {
    if channel.user().is_some() { ChannelName::USERS } else { channel.as_str() }
}

/// Writes one JSON object, member by member.
pub(crate) struct Object<'a> {
    json: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    pub(crate) fn begin(json: &'a mut Vec<u8>, kind: &str) -> Self {
        let mut object = Self::begin_untyped(json);
        object.string("type", kind);
        object
    }

    pub(crate) fn begin_untyped(json: &'a mut Vec<u8>) -> Self {
        json.push(b'{');
        Self { json, first: true }
    }

    pub(crate) fn end(self) {
        self.json.push(b'}');
    }

    fn name(&mut self, name: &str) {
        if !self.first {
            self.json.push(b',');
        }
        self.first = false;
        self.json.push(b'"');
        self.json.extend_from_slice(name.as_bytes());
        self.json.extend_from_slice(b"\":");
    }

    pub(crate) fn string(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        write_string(self.json, value);
        self
    }

    pub(crate) fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.name(name);
        self.json.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self
    }

    /// A value that is JSON already.
    pub(crate) fn raw(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        self.json.extend_from_slice(value.as_bytes());
        self
    }

    pub(crate) fn boolean(&mut self, name: &str, value: bool) -> &mut Self {
        self.raw(name, if value { "true" } else { "false" })
    }

    pub(crate) fn nested(&mut self, name: &str, write: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        self.name(name);
        let mut object = Object::begin_untyped(self.json);
        write(&mut object);
        object.end();
        self
    }

    pub(crate) fn array<T>(&mut self, name: &str, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) -> &mut Self {
        self.name(name);
        self.json.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.json.push(b',');
            }
            write(self.json, item);
        }
        self.json.push(b']');
        self
    }

    /// What an answer says.
    pub(crate) fn outcome(&mut self, outcome: &Outcome) -> &mut Self {
        match outcome {
            Outcome::Authenticated { user, expires } => {
                self.string("user", user.as_str());
                if let Some(expires) = expires {
                    self.number("expires_at", expires.as_millis());
                }
            }
            Outcome::Subscribed { channel, position, recovered, users, cached: _ } => {
                self.string("channel", shown(channel)).position(*position);
                if let Some(recovered) = recovered {
                    self.boolean("recovered", *recovered);
                }
                if let Some(users) = users {
                    self.users(users);
                }
            }
            Outcome::Watching { pattern } | Outcome::Unwatched { pattern } => {
                self.string("pattern", pattern.as_str());
            }
            Outcome::Unsubscribed { channel } => {
                self.string("channel", shown(channel));
            }
            Outcome::Published { channel, position, duplicate } => {
                self.string("channel", shown(channel)).position(*position);
                if *duplicate {
                    self.raw("duplicate", "true");
                }
            }
            Outcome::Presence { channel, users, total, connections } => {
                self.string("channel", shown(channel));
                self.users(users).number("total", *total).number("connections", *connections);
            }
            Outcome::History { channel, position, publications, more } => {
                self.string("channel", shown(channel)).position(*position);
                self.array("publications", publications, |json, publication| {
                    let mut object = Object::begin_untyped(json);
                    object.content(publication);
                    object.end();
                });
                self.boolean("more", *more);
            }
            Outcome::Affected { sessions } => {
                self.number("sessions", *sessions);
            }
            // Refusals are errors, not answers of this kind; signatures are not of this protocol, and the others are the application's.
            Outcome::Rejected(_)
            | Outcome::Authorized { .. }
            | Outcome::SignedIn { .. }
            | Outcome::Channel { .. }
            | Outcome::Channels { .. }
            | Outcome::Why(_) => {}
        }
        self
    }

    fn id(&mut self, id: Option<&str>) {
        if let Some(id) = id {
            self.raw("id", id);
        }
    }

    pub(crate) fn position(&mut self, position: Position) -> &mut Self {
        self.nested("position", |object| {
            object.string("epoch", &position.epoch.to_string()).number("offset", position.offset);
        })
    }

    pub(crate) fn users(&mut self, users: &[PresentUser]) -> &mut Self {
        self.array("users", users, |json, present| {
            let mut object = Object::begin_untyped(json);
            object.string("user", present.user.as_str()).number("connections", u64::from(present.connections));
            if let Some(info) = &present.info {
                object.raw("info", info);
            }
            object.end();
        })
    }

    /// A publication's payload and what belongs to it.
    fn content(&mut self, publication: &Publication) -> &mut Self {
        self.payload(&publication.payload).metadata(publication)
    }

    fn payload(&mut self, payload: &Payload) -> &mut Self {
        match payload {
            Payload::Json(json) => self.raw("data", json),
            Payload::Text(text) => self.string("data", text),
            Payload::Binary(bytes) => {
                self.name("data");
                self.json.push(b'"');
                self.json.extend_from_slice(STANDARD.encode(bytes).as_bytes());
                self.json.push(b'"');
                self.string("encoding", "base64")
            }
        }
    }

    fn metadata(&mut self, publication: &Publication) -> &mut Self {
        self.number("offset", publication.position.offset).timestamp(publication.timestamp);
        if let Some(event) = &publication.event {
            self.string("event", event);
        }
        if let Some(key) = &publication.key {
            self.string("key", key);
        }
        if let Some(ClientInfo { user }) = &publication.publisher {
            self.publisher(user);
        }
        self
    }

    fn mark(&mut self, mark: Mark) -> &mut Self {
        match mark {
            Mark::Live => self,
            Mark::Cached => self.raw("cached", "true"),
            Mark::Conflated(replaced) => self.number("conflated", u64::from(replaced)),
        }
    }

    fn timestamp(&mut self, time: Time) -> &mut Self {
        self.number("timestamp", time.as_millis())
    }

    fn publisher(&mut self, user: &UserId) -> &mut Self {
        self.nested("publisher", |object| {
            object.string("user", user.as_str());
        })
    }
}
