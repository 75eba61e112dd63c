//! A poll: one request, one answer, and the position from which the next goes on.

use crate::Violation;
use crate::conversation::{Checked, News, Position, violation};
use crate::message::{Message, Origin, parse_cursor};
use crate::promises::options_of;
use crate::rights::{Right, Rights};
use crate::subscription::{Came, Subscription, Wish};
use crate::truth::{Place, Truth};
use crate::world::Seen;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_core::{App, SessionId, Time};

#[derive(Debug)]
pub(crate) struct Polling {
    name: SessionId,
    app: Arc<App>,
    rights: Rights,
    /// In the order of the address, with where the client was.
    channels: Vec<(String, Option<Position>)>,
    wish: Wish,
    limit: usize,
    asked: Time,
    unread: Vec<u8>,
    pub(crate) news: Vec<News>,
    pub(crate) seen: Seen,
}

/// The answer, by the reference.
#[derive(Debug, Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    messages: Option<Vec<&'a RawValue>>,
    cursor: Option<&'a str>,
    recovered: Option<bool>,
    #[serde(borrow)]
    channels: Option<Vec<One<'a>>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct One<'a> {
    channel: &'a str,
    #[serde(borrow)]
    position: Option<crate::message::Position<'a>>,
    recovered: Option<bool>,
}

impl Polling {
    pub(crate) fn new(
        name: SessionId,
        app: &Arc<App>,
        rights: Rights,
        channels: Vec<(String, Option<Position>)>,
        wish: Wish,
        limit: usize,
        asked: Time,
    ) -> Self {
        let app = Arc::clone(app);
        Self {
            name,
            app,
            rights,
            channels,
            wish,
            limit,
            asked,
            unread: Vec::new(),
            news: Vec::new(),
            seen: Seen::default(),
        }
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The answer is whole, or its connection has broken: then nothing has come of it. Returns where the client is.
    pub(crate) fn end(&mut self, truth: &Truth) -> Result<BTreeMap<String, Position>, Violation> {
        let unread = core::mem::take(&mut self.unread);
        if !unread.ends_with(b"}\n") {
            return Ok(BTreeMap::new());
        }
        let text = String::from_utf8_lossy(&unread).into_owned();
        self.read(truth, &text).map_err(|violation| violation.about(&format!("{} got {text}", self.name)))
    }

    fn read(&mut self, truth: &Truth, text: &str) -> Result<BTreeMap<String, Position>, Violation> {
        let wrong = |kind: &'static str| Err(Violation::new(kind, String::new()));
        let Ok(answer) = serde_json::from_str::<Answer<'_>>(text) else { return wrong("poll: not an answer") };
        if answer.error.is_some() {
            return Ok(BTreeMap::new());
        }
        let (Some(messages), Some(cursor), Some(channels)) = (answer.messages, answer.cursor, answer.channels) else {
            return wrong("poll: an answer that is not whole");
        };
        let returns = self.channels.iter().any(|(_, since)| since.is_some());
        let lost = channels.iter().any(|one| one.recovered == Some(false));
        if answer.recovered != returns.then_some(!lost)
            || messages.len() > self.limit
            || channels.len() != self.channels.len()
        {
            return wrong("poll: an answer in another form");
        }
        self.seen.polls += 1;
        let cursor = parse_cursor(cursor).unwrap_or_default();
        let mut places = BTreeMap::new();
        for (index, one) in channels.iter().enumerate() {
            let position = one.position.as_ref().and_then(|position| Some((position.epoch()?, position.offset)));
            if one.channel != self.channels[index].0 || cursor.get(index) != Some(&position) {
                return wrong("poll: a cursor that is not where the channels are");
            }
            if let Some(position) = position {
                places.insert(one.channel.to_owned(), position);
                self.check_channel(truth, &messages, one, position, self.channels[index].1)?;
            }
        }
        Ok(places)
    }

    /// All that was published between where the client was and where it is now, and nothing else.
    fn check_channel(
        &mut self,
        truth: &Truth,
        messages: &[&RawValue],
        one: &One<'_>,
        position: Position,
        since: Option<Position>,
    ) -> Checked {
        let place: Place = (self.app.id.clone(), one.channel.to_owned());
        let may_read = self.rights.allow(Right::History, one.channel);
        let recovered = one.recovered == Some(true);
        self.seen.recovered += u64::from(recovered);
        // The answer may be complete before the channel has its turn.
        if since.is_some() && one.recovered.is_none() && since == Some(position) {
            return Ok(());
        }
        if one.recovered.is_some() != since.is_some()
            || recovered && (!may_read || since.is_none_or(|since| since.0 != position.0))
        {
            return violation("poll: recovered what it could not, or without having asked");
        }
        let options = options_of(&self.app, one.channel);
        let mut subscription = Subscription::new(self.asked, Wish { since, ..self.wish });
        let mut own = Vec::new();
        for raw in messages {
            let Ok(message) = serde_json::from_str::<Message<'_>>(raw.get()) else {
                return violation("poll: not a message");
            };
            if message.channel == Some(one.channel) {
                own.push(message);
            }
        }
        let offset =
            |message: &Message<'_>| message.offset.or(message.from.and_then(Origin::offset)).unwrap_or_default();
        // Without a position it began somewhere before the first that came, or where it is.
        let first = own
            .iter()
            .find(|message| matches!(message.kind, "message" | "gap") && message.cached != Some(true))
            .map_or(position.1, |first| offset(first).saturating_sub(1));
        subscription.begin_at(since.filter(|_| recovered).unwrap_or((position.0, first)));
        // A value that did not fit into the answer comes with the next: the client has not moved.
        let has_moved = since != Some(position);
        subscription.expect(truth, &place, self.name, &options, may_read, recovered);
        if !has_moved {
            subscription.may_lack_cached();
        }
        subscription.take_at_once();
        for message in &own {
            match message.kind {
                "message" => {
                    let (conflated, cached) = (message.conflated.unwrap_or_default(), message.cached == Some(true));
                    let came = Came { offset: offset(message), number: message.number(), conflated, cached };
                    self.seen.messages += 1;
                    self.seen.cached += u64::from(cached);
                    subscription.receive_bare(truth, &place, self.name, came)?;
                }
                "gap" => subscription.gap(truth, &place, self.name, offset(message), message.to.unwrap_or_default())?,
                "signal" => {
                    let (number, channel) = (message.number().unwrap_or_default(), one.channel.to_owned());
                    self.news.push(News::Signal { number, channel, sender: None });
                }
                _ => return violation("poll: an unknown message"),
            }
        }
        if position.1 > truth.end(&place, position.0) {
            return violation("poll: a position ahead of its channel");
        }
        subscription.check_reached(truth, &place, self.name, position)
    }
}
