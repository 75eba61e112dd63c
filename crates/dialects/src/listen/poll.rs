//! A poll: one request, one answer (`docs/reference/http-clients.md`). What was missed is the answer at once; else the first that comes is, or nothing
//! when the client's patience ends.
//!
//! Owns what an answer holds, how much of it, and where the next poll goes on. The codes by which it ends are HTTP's.

use super::post::status;
use super::{Wanted, cursor, marked, write_error};
use crate::dialect::{Commands, Dialect, Incoming, Welcome};
use crate::native::{Object, shown, write_event, write_message};
use crate::writer::Writer;
use bytes::Bytes;
use core::time::Duration;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{ChannelName, Disconnect, Epoch, Event, Mark, OpId, Outcome, Position, Publication, Since};

/// One poll.
#[derive(Debug)]
pub struct Poll {
    wanted: Wanted,
    has_patterns: bool,
    messages_max: usize,
    wait: Duration,
    /// In the address's order.
    channels: Vec<Place>,
    /// Subscriptions that are not answered yet, and replays that are not complete.
    waits_for: usize,
    /// Whether the answer is due although there is no message: the client learns a position.
    due: bool,
    messages: Vec<Bytes>,
    bytes: usize,
}

/// A channel in an answer.
#[derive(Debug)]
struct Place {
    channel: ChannelName,
    since: Option<Since>,
    recovered: Option<bool>,
    /// Where it will stand when the channel's cached value has come.
    then: Option<Position>,
}

/// A publication that moves the client's position.
const MESSAGE: u8 = 0;
/// Anything else that the client is told.
const NOTICE: u8 = 1;
/// A subscription begins where the client was, or where the channel is: all that it missed follows.
const RECOVERED: u8 = 2;
/// It begins where the channel is, without what the client missed.
const LOST: u8 = 3;
/// It begins where the channel is. The client had no position.
const NEW: u8 = 4;
/// A replay is complete, or a pattern is watched.
const SETTLED: u8 = 5;
/// As [`LOST`] and [`NEW`], and the channel's cached value follows.
const LOST_CACHED: u8 = 8;
const NEW_CACHED: u8 = 9;
/// That value. Without it the client is not where its subscription began: it would never get it.
const CACHED: u8 = 10;
/// Nothing more comes.
const END: u8 = 6;
/// The whole answer: an error, whose status stands in the offset's place.
const REFUSED: u8 = 7;

/// Bytes of messages in one answer, beyond which the next poll gets the rest.
const BYTES_MAX: usize = 256 * 1024;

impl Poll {
    pub(crate) fn new(wanted: Wanted, messages_max: usize, wait: Duration) -> Self {
        let place = |(channel, since): &(ChannelName, Option<Since>)| Place {
            channel: channel.clone(),
            since: *since,
            recovered: None,
            then: None,
        };
        let channels = wanted.channels.iter().map(place).collect();
        let has_patterns = !wanted.patterns.is_empty();
        let waits_for = wanted.channels.len() + wanted.patterns.len();
        let due = wait.is_zero();
        Self { wanted, has_patterns, messages_max, wait, channels, waits_for, due, messages: Vec::new(), bytes: 0 }
    }

    fn place(&mut self, channel: &str) -> Option<&mut Place> {
        self.channels.iter_mut().find(|place| shown(&place.channel) == channel)
    }

    fn move_to(&mut self, channel: &str, position: Position) -> Option<&mut Place> {
        let place = self.place(channel)?;
        place.since = Some(Since::Position(position));
        Some(place)
    }

    /// Takes one part in. Returns whether the answer is complete.
    fn take(&mut self, part: &marked::Part<'_>, block: &Bytes) -> bool {
        match part.kind {
            MESSAGE | NOTICE => {
                if part.kind == MESSAGE {
                    self.move_to(part.channel, part.position);
                }
                self.bytes += part.body.len();
                self.messages.push(block.slice(part.body.clone()));
            }
            RECOVERED | LOST | NEW => {
                // A replay that was promised is told to be complete.
                self.waits_for -= usize::from(part.kind != RECOVERED && self.waits_for > 0);
                self.due |= part.kind != RECOVERED;
                if let Some(place) = self.move_to(part.channel, part.position) {
                    place.recovered = (part.kind != NEW).then_some(part.kind == RECOVERED);
                }
            }
            LOST_CACHED | NEW_CACHED => {
                self.due = true;
                if let Some(place) = self.place(part.channel) {
                    place.then = Some(part.position);
                    place.recovered = (part.kind == LOST_CACHED).then_some(false);
                }
            }
            CACHED => {
                self.waits_for = self.waits_for.saturating_sub(1);
                if let Some(place) = self.place(part.channel)
                    && let Some(position) = place.then.take()
                {
                    place.since = Some(Since::Position(position));
                }
                self.bytes += part.body.len();
                self.messages.push(block.slice(part.body.clone()));
            }
            SETTLED => self.waits_for = self.waits_for.saturating_sub(1),
            _ => return true,
        }
        self.messages.len() >= self.messages_max || self.bytes >= BYTES_MAX || (self.waits_for == 0 && self.due)
    }

    /// Whether what there is at the end of a turn is answer enough.
    fn is_enough(&self) -> bool {
        self.waits_for == 0 && !self.messages.is_empty()
    }

    fn answer(&mut self) -> Bytes {
        let mut answer = Vec::with_capacity(self.bytes + 64 * (self.channels.len() + 2) + self.messages.len());
        answer.extend_from_slice(br#"{"messages":["#);
        for (index, message) in self.messages.drain(..).enumerate() {
            if index > 0 {
                answer.push(b',');
            }
            answer.extend_from_slice(&message);
        }
        answer.extend_from_slice(br#"],"cursor":""#);
        cursor::write(self.channels.iter().map(|place| place.since), &mut answer);
        answer.push(b'"');
        if self.wanted.returns {
            let all = self.channels.iter().all(|place| place.recovered != Some(false));
            let known = all && !self.has_patterns;
            answer.extend_from_slice(if known { br#","recovered":true"# } else { br#","recovered":false"# });
        }
        answer.extend_from_slice(br#","channels":["#);
        for (index, place) in self.channels.iter().enumerate() {
            if index > 0 {
                answer.push(b',');
            }
            let mut object = Object::begin_untyped(&mut answer);
            object.string("channel", shown(&place.channel));
            if let Some(Since::Position(position)) = place.since {
                object.position(position);
            }
            if let Some(recovered) = place.recovered {
                object.boolean("recovered", recovered);
            }
            object.end();
        }
        answer.extend_from_slice(b"]}\n");
        answer.into()
    }
}

impl Dialect for Poll {
    fn open(&mut self, _: &Welcome<'_>, commands: &mut Commands, _: &mut Writer<'_>) -> Option<Disconnect> {
        self.wanted.subscribe(commands);
        None
    }

    fn receive(&mut self, _: Incoming<'_>, _: &mut Commands, _: &mut Writer<'_>) {}

    fn answer(&mut self, _: OpId, outcome: &Outcome, out: &mut Writer<'_>) -> Option<Disconnect> {
        match outcome {
            Outcome::Subscribed { channel, position, recovered, cached, .. } => {
                let kind = match (recovered, cached) {
                    (Some(true), _) => RECOVERED,
                    (Some(false), false) => LOST,
                    (Some(false), true) => LOST_CACHED,
                    (None, false) => NEW,
                    (None, true) => NEW_CACHED,
                };
                let begins_at = self.wanted.begins_at(channel, *position, *recovered);
                out.text(|out| marked::part_of(out, kind, shown(channel), begins_at, |_| {}));
                None
            }
            Outcome::Watching { .. } => {
                out.text(|out| marked::part(out, SETTLED, |_| {}));
                None
            }
            Outcome::Rejected(reject) => {
                let status = Position { epoch: Epoch(0), offset: u64::from(status(reject.code)) };
                out.text(|out| marked::part_of(out, REFUSED, "", status, |out| write_error(reject, out)));
                None
            }
            _ => None,
        }
    }

    fn on_event(&mut self, event: &Event, out: &mut Writer<'_>) -> Option<Disconnect> {
        match event {
            Event::CaughtUp { .. } => out.text(|out| marked::part(out, SETTLED, |_| {})),
            Event::Gap { .. } | Event::Signal(_) => {
                out.text(|out| marked::part(out, NOTICE, |json| write_event(json, event)));
            }
            // The next poll is refused for it.
            Event::Unsubscribed { .. } => out.text(|out| marked::part(out, END, |_| {})),
            Event::TokenExpiring { .. } => {}
        }
        None
    }

    fn on_silence(&mut self, _: &mut Writer<'_>) {}

    /// The end of the client's patience among the reasons: whatever there is by then is the answer, and the next poll goes on from it.
    fn on_disconnect(&mut self, disconnect: &Disconnect, out: &mut Writer<'_>) -> Disconnect {
        out.text(|out| marked::part(out, END, |_| {}));
        Disconnect { code: OK, ..disconnect.clone() }
    }

    fn can_refuse(&self) -> bool {
        false
    }

    fn transmit(&mut self, block: Bytes, out: &mut VecDeque<Bytes>) -> Option<Disconnect> {
        for part in marked::parts(&block) {
            if part.kind == REFUSED {
                let code = u16::try_from(part.position.offset).unwrap_or(500);
                out.push_back(block.slice(part.body));
                return Some(Disconnect { code, ..COMPLETE });
            }
            if self.take(&part, &block) {
                if is_planted(Canary::PollJumps) {
                    let messages = marked::parts(&block).filter(|part| part.kind == MESSAGE);
                    messages.for_each(|part| _ = self.move_to(part.channel, part.position));
                }
                out.push_back(self.answer());
                return Some(COMPLETE);
            }
        }
        None
    }

    fn finish(&mut self, out: &mut VecDeque<Bytes>) -> Option<Disconnect> {
        if !self.is_enough() {
            return None;
        }
        out.push_back(self.answer());
        Some(COMPLETE)
    }

    fn patience(&self) -> Option<Duration> {
        Some(if self.wait.is_zero() { ANSWER_MAX } else { self.wait })
    }

    /// Its polls come and go; a client that wants to be seen connects.
    fn is_present(&self) -> bool {
        false
    }
}

const OK: u16 = 200;
const COMPLETE: Disconnect = Disconnect { code: OK, reason: Cow::Borrowed("the answer is complete"), after: None };
/// How long the hub may take for one who does not want to wait at all.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Writes a run of publications: the native protocol's messages, marked with where each leaves the client.
pub(crate) fn write_publications(publications: &[Arc<Publication>], mark: Mark, out: &mut Writer<'_>) {
    for publication in publications {
        let message = |out: &mut Vec<u8>| write_message(out, publication, mark);
        out.text(|out| match mark {
            Mark::Cached => marked::part_of(out, CACHED, shown(&publication.channel), publication.position, message),
            _ => marked::part_of(out, MESSAGE, shown(&publication.channel), publication.position, message),
        });
    }
}
