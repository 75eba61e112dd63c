//! Clients that only listen: their address says to what, and what they get is a stream of events (`docs/reference/sse.md`) or of lines of JSON
//! (`docs/reference/http-clients.md`).
//!
//! Owns the form of both, and where a client of several channels stands on each of them. It sends nothing, so a refusal ends the connection.

mod cursor;
mod event;
mod marked;
mod poll;
mod post;

pub use cursor::parse_cursor;
pub use post::PostKind;

pub(crate) use poll::{Poll, write_publications as write_polled};
pub(crate) use post::Post;

use crate::dialect::{Commands, Dialect, Incoming, Welcome};
use crate::native::{Object, shown, write_change, write_event, write_message};
use crate::writer::Writer;
use bytes::Bytes;
use event::Name;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{
    ChannelName, ChannelPattern, Command, Disconnect, Event, Mark, OpId, Outcome, Payload, Position, PresenceChange,
    Publication, Reject, RejectCode, Since,
};

/// What a client's address asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Channels, with where the client was when it left.
    pub channels: Vec<(ChannelName, Option<Since>)>,
    /// Patterns of channels.
    pub patterns: Vec<ChannelPattern>,
    /// Whether it wants to be told who is there, comes and goes.
    pub presence: bool,
    /// Deliveries in a second on each channel at most; 0 is as many as there are.
    pub rate: u32,
    /// Whether it wants the channels' cached values.
    pub cached: bool,
    /// Whether it has been here before. What it missed on patterns is not known.
    pub returns: bool,
}

impl Wanted {
    /// A subscription for each, named by its place.
    fn subscribe(&mut self, commands: &mut Commands) {
        let (presence, rate, cached) = (self.presence, self.rate, self.cached);
        let channels = self.channels.iter().map(|(channel, since)| Command::Subscribe {
            channel: channel.clone(),
            since: *since,
            presence,
            rate,
            cached,
        });
        let patterns = self.patterns.drain(..).map(|pattern| Command::Watch { pattern });
        commands.extend(channels.chain(patterns).zip(0..).map(|(command, op)| (OpId(op), command)));
    }

    /// Where the client stands on a channel when its subscription begins: where it was, if what came since follows.
    fn begins_at(&self, channel: &ChannelName, position: Position, recovered: Option<bool>) -> Position {
        let since =
            self.channels.iter().find(|(known, _)| shown(known) == shown(channel)).and_then(|(_, since)| *since);
        match (since, recovered) {
            (Some(Since::Position(since)), Some(true)) => since,
            _ => position,
        }
    }
}

/// How a listener's stream looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Events with the payload as it is: of one channel.
    Data,
    /// Events with the native protocol's messages: of one channel, whose position is the event's id.
    Messages,
    /// The same of several channels: each event's id tells where this client stands on all of them.
    Many,
    /// Lines with the native protocol's messages.
    Lines,
}

impl Form {
    fn is_events(self) -> bool {
        self != Self::Lines
    }
}

/// One listener.
#[derive(Debug)]
pub struct Listener {
    form: Form,
    wanted: Wanted,
    /// How many are left.
    subscriptions: usize,
    /// Where it stands, as far as bytes went out: of [`Form::Many`], in the address's order.
    positions: Vec<(ChannelName, Option<Since>)>,
}

/// A part that moves the client's position.
const MOVES: u8 = 1;
/// Any other.
const STAYS: u8 = 0;

/// How long a client shall wait before it comes back, in milliseconds, unless it is told otherwise.
const RETRY_MS: u64 = 2_000;
/// The same for one that shall not come back: a page that does not listen to the end of its stream does so nevertheless.
const RETRY_NEVER_MS: u64 = 60_000;

impl Listener {
    pub(crate) fn new(form: Form, wanted: Wanted) -> Self {
        let positions = match form {
            Form::Many => wanted.channels.clone(),
            _ => Vec::new(),
        };
        let subscriptions = wanted.channels.len() + wanted.patterns.len();
        Self { form, wanted, subscriptions, positions }
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Something besides publications: an event of ours, or a line.
    fn tell(
        &self,
        out: &mut Writer<'_>,
        name: &'static str,
        at: Option<(&ChannelName, Position)>,
        members: impl FnOnce(&mut Object<'_>),
    ) {
        let write = |json: &mut Vec<u8>| {
            let mut object = Object::begin(json, name);
            members(&mut object);
            object.end();
        };
        out.text(|out| tell(self.form, out, name, at, write));
    }
}

fn tell(
    form: Form,
    out: &mut Vec<u8>,
    name: &'static str,
    at: Option<(&ChannelName, Position)>,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let name = Some(Name::Own(name));
    match form {
        Form::Lines => line(out, write),
        Form::Data | Form::Messages => event::event(out, at.map(|(_, position)| position), name, write),
        Form::Many => match at {
            Some((channel, position)) => {
                marked::part_of(out, MOVES, shown(channel), position, |out| event::event(out, None, name, write));
            }
            None => marked::part(out, STAYS, |out| event::event(out, None, name, write)),
        },
    }
}

/// One line. What was published may have line breaks where JSON allows them, between its tokens.
fn line(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    for byte in out.iter_mut().skip(start) {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.push(b'\n');
}

impl Dialect for Listener {
    fn open(&mut self, welcome: &Welcome<'_>, commands: &mut Commands, out: &mut Writer<'_>) -> Option<Disconnect> {
        if self.form.is_events() {
            out.text(|out| {
                let write = |out: &mut Vec<u8>| write_retry(RETRY_MS, out);
                if self.form == Form::Many { marked::part(out, STAYS, write) } else { write(out) }
            });
        }
        self.tell(out, "welcome", None, |object| {
            object.string("session", &welcome.session.to_string());
            match welcome.user {
                Some(user) => object.string("user", user.as_str()),
                None => object.raw("user", "null"),
            };
            object.number("heartbeat_ms", u64::try_from(welcome.heartbeat.as_millis()).unwrap_or(u64::MAX));
        });
        self.wanted.subscribe(commands);
        None
    }

    fn receive(&mut self, _: Incoming<'_>, _: &mut Commands, _: &mut Writer<'_>) {}

    fn answer(&mut self, _: OpId, outcome: &Outcome, out: &mut Writer<'_>) -> Option<Disconnect> {
        match outcome {
            Outcome::Subscribed { channel, position, recovered, users, .. } => {
                let begins_at = self.wanted.begins_at(channel, *position, *recovered);
                self.tell(out, "subscribed", Some((channel, begins_at)), |object| {
                    object.string("channel", shown(channel)).position(*position);
                    if let Some(recovered) = recovered {
                        object.boolean("recovered", *recovered);
                    }
                    if let Some(users) = users {
                        object.users(users);
                    }
                });
                None
            }
            Outcome::Watching { pattern } => {
                let returns = self.wanted.returns;
                self.tell(out, "subscribed", None, |object| {
                    object.string("pattern", pattern.as_str());
                    if returns {
                        object.boolean("recovered", false);
                    }
                });
                None
            }
            Outcome::Rejected(reject) => Some(refused(reject)),
            _ => None,
        }
    }

    fn on_event(&mut self, event: &Event, out: &mut Writer<'_>) -> Option<Disconnect> {
        let name = match event {
            Event::CaughtUp { .. } => "caught_up",
            Event::Gap { .. } => "gap",
            Event::Unsubscribed { .. } => "unsubscribed",
            Event::Signal(_) => "signal",
            Event::TokenExpiring { .. } => "token_expiring",
        };
        out.text(|out| tell(self.form, out, name, None, |json| write_event(json, event)));
        let Event::Unsubscribed { code, .. } = event else { return None };
        self.subscriptions = self.subscriptions.saturating_sub(1);
        let end = match code {
            RejectCode::Removed => Disconnect::BY_APPLICATION,
            _ => Disconnect::refused("the right to subscribe has ended".into()),
        };
        (self.subscriptions == 0).then_some(end)
    }

    fn on_silence(&mut self, out: &mut Writer<'_>) {
        out.text(|out| match self.form {
            Form::Lines => line(out, |json| json.extend_from_slice(br#"{"type":"ping"}"#)),
            Form::Data | Form::Messages => out.extend_from_slice(COMMENT),
            Form::Many => marked::part(out, STAYS, |out| out.extend_from_slice(COMMENT)),
        });
    }

    fn on_disconnect(&mut self, disconnect: &Disconnect, out: &mut Writer<'_>) -> Disconnect {
        let after = disconnect.after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        if self.form.is_events() {
            let retry = match disconnect.reconnect() {
                true => after.unwrap_or(RETRY_MS),
                false => RETRY_NEVER_MS,
            };
            out.text(|out| {
                let write = |out: &mut Vec<u8>| write_retry(retry, out);
                if self.form == Form::Many { marked::part(out, STAYS, write) } else { write(out) }
            });
        }
        let name = if self.form.is_events() { "end" } else { "disconnect" };
        self.tell(out, name, None, |object| {
            object.number("code", u64::from(disconnect.code)).string("reason", &disconnect.reason);
            object.boolean("reconnect", disconnect.reconnect());
            if let Some(after) = after {
                object.number("after_ms", after);
            }
        });
        disconnect.clone()
    }

    fn can_refuse(&self) -> bool {
        false
    }

    fn transmit(&mut self, block: Bytes, out: &mut VecDeque<Bytes>) -> Option<Disconnect> {
        if self.form != Form::Many {
            out.push_back(block);
            return None;
        }
        let known = if is_planted(Canary::CursorOfOne) { 1 } else { self.positions.len() };
        for part in marked::parts(&block) {
            if part.kind == MOVES
                && let Some((_, position)) =
                    self.positions.iter_mut().take(known).find(|(known, _)| shown(known) == part.channel)
            {
                *position = Some(Since::Position(part.position));
                let mut id = Vec::with_capacity(24 * self.positions.len());
                id.extend_from_slice(b"id: ");
                cursor::write(self.positions.iter().map(|(_, position)| *position), &mut id);
                id.push(b'\n');
                out.push_back(id.into());
            }
            out.push_back(block.slice(part.body));
        }
        None
    }
}

/// A comment: nobody is told of it, and whatever is between notices that the connection lives.
const COMMENT: &[u8] = b":\n\n";

fn write_retry(milliseconds: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"retry: ");
    out.extend_from_slice(itoa::Buffer::new().format(milliseconds).as_bytes());
    out.push(b'\n');
}

/// A connection that consists of what it subscribes to ends when that is refused. Whoever may be served later is told to come back.
fn refused(reject: &Reject) -> Disconnect {
    match reject.temporary {
        true => Disconnect { code: 1013, reason: reject.message.clone(), after: None },
        false => Disconnect::refused(reject.message.clone()),
    }
}

/// Writes a run of publications in a form.
pub(crate) fn write_publications(form: Form, publications: &[Arc<Publication>], mark: Mark, out: &mut Writer<'_>) {
    for publication in publications {
        let position = publication.position;
        // A value that was published before the client came says nothing of where it stands.
        let moves = mark != Mark::Cached;
        let id = moves.then_some(position);
        let message = |out: &mut Vec<u8>| write_message(out, publication, mark);
        out.text(|out| match form {
            Form::Lines => line(out, message),
            Form::Data => write_data(publication, id, mark, out),
            Form::Messages => event::event(out, id, None, message),
            Form::Many if moves => marked::part_of(out, MOVES, shown(&publication.channel), position, |out| {
                event::event(out, None, None, message);
            }),
            Form::Many => marked::part(out, STAYS, |out| event::event(out, None, None, message)),
        });
    }
}

/// The payload as it is. Bytes, which an event cannot hold, come as a message of ours that says so.
fn write_data(publication: &Publication, id: Option<Position>, mark: Mark, out: &mut Vec<u8>) {
    let name = publication.event.as_deref().map(Name::Publication);
    match &publication.payload {
        Payload::Json(text) | Payload::Text(text) => {
            event::event(out, id, name, |out| out.extend_from_slice(text.as_bytes()));
        }
        Payload::Binary(_) => {
            event::event(out, id, Some(Name::Own("binary")), |out| write_message(out, publication, mark));
        }
    }
}

/// Writes a run of presence changes in a form.
pub(crate) fn write_presence(form: Form, channel: &ChannelName, changes: &[PresenceChange], out: &mut Writer<'_>) {
    for change in changes {
        let name = if change.joined { "join" } else { "leave" };
        out.text(|out| {
            tell(form, out, name, None, |json| write_change(json, channel, change));
        });
    }
}

/// An error, in the form of all answers over HTTP.
fn write_error(reject: &Reject, out: &mut Vec<u8>) {
    let mut object = Object::begin_untyped(out);
    object.nested("error", |error| {
        error.string("code", reject.code.as_str()).string("message", &reject.message);
        error.boolean("temporary", reject.temporary);
        if let Some(position) = reject.position {
            error.position(position);
        }
    });
    object.end();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::BytesMut;
    use switchboard_core::{Epoch, FrameKind, Framing};

    #[derive(Debug)]
    struct Plain;

    impl Framing for Plain {
        fn frame(&self, _: FrameKind, payload: &[u8], out: &mut BytesMut) {
            out.extend_from_slice(payload);
        }
    }

    /// What comes of it, and what was written.
    fn written<T>(act: impl FnOnce(&mut Writer<'_>) -> T) -> (T, String) {
        let (mut scratch, mut out) = (Vec::new(), BytesMut::new());
        let outcome = act(&mut Writer::new(&Plain, &mut scratch, &mut out));
        (outcome, String::from_utf8(out.to_vec()).unwrap())
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name).unwrap()
    }

    /// The id of the first event is what a client that is lost at once comes back with.
    #[test]
    fn a_client_stands_where_it_was_only_if_all_that_came_since_follows() {
        let position = |offset| Position { epoch: Epoch(0xe1), offset };
        let since = |position| Some(Since::Position(position));
        let wanted =
            Wanted { channels: vec![(channel("a"), since(position(3))), (channel("b"), None)], ..Wanted::default() };
        for (name, recovered, stands) in
            [("a", Some(true), 3), ("a", Some(false), 9), ("a", None, 9), ("b", None, 9), ("c", Some(true), 9)]
        {
            assert_eq!(
                wanted.begins_at(&channel(name), position(9), recovered),
                position(stands),
                "{name} {recovered:?}"
            );
        }
    }

    #[test]
    fn whoever_returns_to_a_pattern_is_told_that_something_may_be_missing() {
        for (returns, told) in [(false, ""), (true, r#","recovered":false"#)] {
            let mut listener = Listener::new(Form::Lines, Wanted { returns, ..Wanted::default() });
            let watching = Outcome::Watching { pattern: ChannelPattern::parse("sensors/#").unwrap() };
            let (end, text) = written(|out| listener.answer(OpId(0), &watching, out));
            assert_eq!(end, None);
            assert_eq!(text, format!("{{\"type\":\"subscribed\",\"pattern\":\"sensors/#\"{told}}}\n"));
        }
    }

    #[test]
    fn a_stream_ends_with_the_last_of_its_subscriptions() {
        for (code, end) in [(RejectCode::Removed, 4003), (RejectCode::PermissionDenied, 4004)] {
            let channels = vec![(channel("a"), None), (channel("b"), None)];
            let mut listener = Listener::new(Form::Lines, Wanted { channels, ..Wanted::default() });
            let mut unsubscribed = |name| {
                let event = Event::Unsubscribed { channel: channel(name), code };
                written(|out| listener.on_event(&event, out)).0
            };
            assert_eq!(unsubscribed("a"), None);
            assert_eq!(unsubscribed("b").map(|end| end.code), Some(end));
        }
    }
}
