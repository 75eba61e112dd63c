//! A stream of events or of lines: what its client is told, and where its ids say that it stands.
//!
//! Owns the promises to a client that only listens, read by a parser written from the reference. Knows nothing of how it comes back.

use crate::Violation;
use crate::conversation::{Checked, News, Position, violation};
use crate::message::{Code, Message, Origin, parse_cursor};
use crate::promises::{Begins, options_of};
use crate::rights::{Right, Rights};
use crate::subscription::{Came, Phase, Subscription, Wish};
use crate::truth::{Place, Truth, number_in};
use crate::world::Seen;
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_core::{App, SessionId, Time};

/// How a stream looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Events whose data is the payload, of one channel.
    Data,
    /// Events whose data is a message.
    Messages,
    /// Lines.
    Lines,
}

#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) name: SessionId,
    app: Arc<App>,
    look: Look,
    rights: Rights,
    /// As presence counts it.
    member: String,
    /// In the order of the address, with where the client was.
    channels: Vec<(String, Option<Position>)>,
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
    /// Where its ids must say that it is, on the channels that have moved.
    moved: BTreeMap<String, Position>,
    unread: Vec<u8>,
    welcomed: bool,
    pub(crate) news: Vec<News>,
    pub(crate) seen: Seen,
}

/// An event as a browser has it.
#[derive(Debug, Default)]
struct Event {
    id: Option<String>,
    kind: String,
    data: String,
}

impl Listening {
    pub(crate) fn new(
        name: SessionId,
        app: &Arc<App>,
        look: Look,
        (rights, member): (Rights, String),
        channels: Vec<(String, Option<Position>)>,
        (wish, now): (Wish, Time),
    ) -> Self {
        let begin = |(channel, since): &(String, Option<Position>)| {
            (channel.clone(), Subscription::new(now, Wish { since: *since, ..wish }))
        };
        Self {
            name,
            app: Arc::clone(app),
            look,
            rights,
            member,
            subscriptions: channels.iter().map(begin).collect(),
            channels,
            moved: BTreeMap::new(),
            unread: Vec::new(),
            welcomed: false,
            news: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// Where it is on its channels, for the next connection.
    pub(crate) fn end(self) -> BTreeMap<String, Position> {
        self.moved
    }

    /// Bytes came.
    pub(crate) fn receive(&mut self, truth: &Truth, bytes: &[u8]) -> Checked {
        self.unread.extend_from_slice(bytes);
        let end: &[u8] = if self.look == Look::Lines { b"\n" } else { b"\n\n" };
        while let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
            let rest = self.unread.split_off(at + end.len());
            let whole = core::mem::replace(&mut self.unread, rest);
            let Ok(text) = core::str::from_utf8(&whole) else { return violation("listener: not UTF-8") };
            self.handle_text(truth, text)
                .map_err(|violation| violation.about(&format!("{} got {text:?}", self.name)))?;
        }
        Ok(())
    }

    fn handle_text(&mut self, truth: &Truth, text: &str) -> Checked {
        if self.look == Look::Lines {
            return self.handle(truth, &read(text)?, None);
        }
        let mut event = Event::default();
        for line in text.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => event.id = Some(value.to_owned()),
                "event" => value.clone_into(&mut event.kind),
                "data" => event.data.push_str(value),
                "" | "retry" => {}
                _ => return violation("listener: a line that is none of an event"),
            }
        }
        if event.data.is_empty() {
            return Ok(());
        }
        let at = event
            .id
            .as_deref()
            .map(|id| parse_cursor(id).ok_or_else(|| Violation::new("listener: no cursor", String::new())));
        let at = at.transpose()?;
        let is_own = event.kind.starts_with("switchboard:");
        match self.look {
            Look::Data if !is_own => {
                let (Some((channel, _)), Some(Some(position))) =
                    (self.channels.first().cloned(), at.as_ref().and_then(|at| at.first()))
                else {
                    // A value that was kept for those who come moves nobody.
                    return self.take_cached(truth, &event.data);
                };
                let came = Came { offset: position.1, number: number_in(event.data.as_bytes()), ..Came::default() };
                self.take(truth, &channel, came, true)?;
            }
            _ => self.handle(truth, &read(&event.data)?, at.as_ref())?,
        }
        match at {
            Some(at) => self.check_cursor(&at),
            None => Ok(()),
        }
    }

    /// The payload alone does not say which publication it was, so it is looked for.
    fn take_cached(&mut self, truth: &Truth, data: &str) -> Checked {
        let Some((channel, _)) = self.channels.first().cloned() else { return Ok(()) };
        let number = number_in(data.as_bytes());
        let offset = number.and_then(|number| truth.place_of(number)).map_or(0, |(_, at)| at.offset);
        self.take(truth, &channel, Came { offset, number, cached: true, ..Came::default() }, true)
    }

    /// An id says where the client stands: on all of its channels, and on none ahead of what it got.
    fn check_cursor(&self, at: &[Option<Position>]) -> Checked {
        let expected = self.channels.iter().map(|(channel, since)| self.moved.get(channel).copied().or(*since));
        let expected: Vec<Option<Position>> = expected.collect();
        if at == expected {
            return Ok(());
        }
        Err(Violation::new("listener: an id that is not where it stands", format!("{at:?}, not {expected:?}")))
    }

    /// A publication. Where nothing says how many it stands for, that is not compared.
    fn take(&mut self, truth: &Truth, channel: &str, came: Came, bare: bool) -> Checked {
        let place = self.place(channel);
        self.seen.messages += 1;
        self.seen.cached += u64::from(came.cached);
        self.seen.conflated += u64::from(came.conflated > 0);
        let Some(subscription) = self.subscriptions.get_mut(channel) else {
            return violation("listener: a message of a channel that it does not listen to");
        };
        match bare {
            true => subscription.receive_bare(truth, &place, self.name, came)?,
            false => subscription.receive(truth, &place, self.name, came)?,
        }
        if !came.cached {
            self.moved.insert(channel.to_owned(), subscription.position());
        }
        Ok(())
    }

    fn handle(&mut self, truth: &Truth, message: &Message<'_>, _: Option<&Vec<Option<Position>>>) -> Checked {
        if !self.welcomed && !matches!(message.kind, "welcome" | "end" | "disconnect") {
            return violation("listener: something came before the welcome");
        }
        let channel = message.channel.unwrap_or_default();
        match message.kind {
            "welcome" => {
                let is_right = message.session == Some(&*self.name.to_string());
                self.seen.streams += 1;
                match !core::mem::replace(&mut self.welcomed, true) && is_right {
                    true => Ok(()),
                    false => violation("listener: welcomed twice or as another"),
                }
            }
            "subscribed" => self.begin(truth, channel, message),
            "message" => {
                let came = Came {
                    offset: message.offset.unwrap_or_default(),
                    number: message.number(),
                    conflated: message.conflated.unwrap_or_default(),
                    cached: message.cached == Some(true),
                };
                self.take(truth, channel, came, false)
            }
            "gap" | "caught_up" | "join" | "leave" => self.handle_event(truth, channel, message),
            "unsubscribed" => {
                match message.code {
                    Some(Code::Word("removed")) => self.news.push(News::Removed { channel: channel.to_owned() }),
                    _ => return violation("rights: a subscription that is covered was ended"),
                }
                self.subscriptions.remove(channel);
                Ok(())
            }
            "signal" => {
                let number = message.number().unwrap_or_default();
                let sender = match message.from {
                    Some(Origin::Sender { session }) => Some(Some(session.to_owned())),
                    None => Some(None),
                    Some(Origin::Offset(_)) => return violation("signal: from nobody"),
                };
                self.news.push(News::Signal { number, channel: channel.to_owned(), sender });
                Ok(())
            }
            "end" | "disconnect" => match message.code {
                Some(Code::Number(code)) => {
                    self.news.push(News::Ended { code });
                    Ok(())
                }
                _ => violation("listener: an end without a code"),
            },
            "ping" | "token_expiring" => Ok(()),
            _ => violation("listener: an unknown event"),
        }
    }

    fn begin(&mut self, truth: &Truth, channel: &str, message: &Message<'_>) -> Checked {
        let place = self.place(channel);
        let position = message.position.as_ref().and_then(|position| Some((position.epoch()?, position.offset)));
        let known = self.subscriptions.get_mut(channel).filter(|known| known.phase == Phase::Asked);
        let (Some(position), Some(subscription)) = (position, known) else {
            return violation("listener: subscribed twice, or without a position");
        };
        let since = self.channels.iter().find(|(known, _)| *known == channel).and_then(|(_, since)| *since);
        let may_resume = self.rights.allow(Right::History, channel);
        let recovered = message.recovered == Some(true);
        Begins { asked: subscription.asked, since, position, recovered: message.recovered, may_resume }
            .check(truth, &place)?;
        self.seen.recovered += u64::from(recovered);
        self.seen.lost += u64::from(message.recovered == Some(false) && may_resume);
        let from = since.filter(|_| recovered);
        subscription.member = Some(self.member.clone());
        subscription.begin(position, from.map(|(_, offset)| offset));
        subscription.expect(truth, &place, self.name, &options_of(&self.app, channel), may_resume, recovered);
        let users = message.users.as_ref().map(|users| users.iter().map(|user| user.user.to_owned()).collect());
        subscription.list_users(users, self.app.limits.presence_users)?;
        self.moved.insert(channel.to_owned(), from.unwrap_or(position));
        Ok(())
    }

    fn handle_event(&mut self, truth: &Truth, channel: &str, message: &Message<'_>) -> Checked {
        let (place, name) = (self.place(channel), self.name);
        let Some(subscription) = self.subscriptions.get_mut(channel) else {
            return violation("listener: an event of a channel that it does not listen to");
        };
        self.seen.gaps += u64::from(message.kind == "gap");
        match message.kind {
            "gap" => {
                let from = message.from.and_then(Origin::offset).unwrap_or_default();
                subscription.gap(truth, &place, name, from, message.to.unwrap_or_default())
            }
            "caught_up" => subscription.caught_up(truth, &place, name),
            kind => subscription.presence_changed(kind == "join", message.user.unwrap_or_default()),
        }
    }

    pub(crate) fn check_quiet(&self, truth: &Truth) -> Checked {
        if !self.welcomed {
            return violation("listener: never welcomed");
        }
        self.subscriptions.iter().try_for_each(|(channel, subscription)| {
            let checked = subscription.check_quiet(truth, &self.place(channel), self.name);
            checked.map_err(|violation| violation.about(&format!("{} on {channel}", self.name)))
        })
    }

    pub(crate) fn place(&self, channel: &str) -> Place {
        (self.app.id.clone(), channel.to_owned())
    }
}

fn read(text: &str) -> Result<Message<'_>, Violation> {
    serde_json::from_str(text).map_err(|error| Violation::new("listener: not a message", error.to_string()))
}
