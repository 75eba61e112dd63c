//! A connection that speaks the native protocol: what the client has asked, what it was told, and whether that can be true.
//!
//! Owns the promises to one client. Knows nothing of shards and sockets.

mod answers;

use crate::Violation;
use crate::found::FOREVER;
use crate::message::{Code, Message, Origin};
use crate::plan::{OWN, Reading};
use crate::rights::Rights;
use crate::subscription::{Came, Phase, Subscription, Wish};
use crate::truth::{Place, Truth};
use crate::watching::Watching;
use crate::world::Seen;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use switchboard_core::{App, ChannelName, SessionId, Time};

/// A position as clients keep it: epoch and offset.
pub(crate) type Position = (u64, u64);

/// One native connection.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) name: SessionId,
    app: Arc<App>,
    /// After the first, the second, … answered `authenticate`; the first entry is before any.
    rights: Vec<Rights>,
    /// How many were sent.
    authentications: usize,
    /// Who it was at the same moments, as presence counts it.
    users: Vec<Option<String>>,
    /// Whether a token had named its user at the same moments.
    named: Vec<bool>,
    /// The own channel of the user that its tokens name.
    own: ChannelName,
    /// When the last token that was taken ends.
    expires: Option<Time>,
    next_id: u64,
    pub(crate) pending: BTreeMap<u64, Asked>,
    /// Requests without an id, each of which may be refused once.
    nameless: u64,
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
    /// Its patterns.
    watching: Watching,
    /// Positions of channels that it no longer subscribes to.
    pub(crate) left: BTreeMap<String, Position>,
    welcomed: bool,
    /// Publications that were acknowledged under an id.
    done: BTreeSet<u64>,
    /// What concerns others too, to be looked at by those who know them.
    pub(crate) news: Vec<News>,
    /// The history is on a disk, which may refuse.
    durable: bool,
    pub(crate) seen: Seen,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Asked {
    at: Time,
    /// Sent after so many `authenticate`s.
    authentications: usize,
    what: Request,
}

/// Something that a client was told and that is not about itself alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Somebody has sent it this: a session or, without one, the application; or it was not told who.
    Signal { number: u64, channel: String, sender: Option<Option<String>> },
    /// What it sent itself has reached so many.
    Signalled { number: u64, sessions: u64 },
    /// The application has ended its subscription.
    Removed { channel: String },
    /// The connection ends.
    Ended { code: u16 },
}

/// A publication, as a client asks for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) number: u64,
    pub(crate) answered: bool,
    pub(crate) if_position: Option<Position>,
    /// Its id.
    pub(crate) once: Option<String>,
}

#[derive(Debug)]
enum Request {
    Subscribe { channel: String, since: Option<Position> },
    Unsubscribe { channel: String },
    Watch { pattern: String },
    Unwatch { pattern: String },
    Publish { channel: String, wanted: Wanted },
    Signal { channel: String, number: u64 },
    Presence { channel: String },
    History { channel: String, from: Reading, at: Option<Position>, limit: usize },
    Authenticate { rights: Rights, user: String, expired: Option<Time> },
    Ping,
    Nonsense,
}

/// What the answer to a request says, or a violation.
pub(crate) type Checked = Result<(), Violation>;

impl Conversation {
    pub(crate) fn new(
        name: SessionId,
        app: &Arc<App>,
        (rights, named): (Rights, bool),
        own: ChannelName,
        expires: Option<Time>,
        left: BTreeMap<String, Position>,
        durable: bool,
    ) -> Self {
        Self {
            name,
            app: Arc::clone(app),
            rights: vec![rights],
            authentications: 0,
            users: Vec::new(),
            named: vec![named],
            own,
            done: BTreeSet::new(),
            news: Vec::new(),
            expires,
            next_id: 1,
            pending: BTreeMap::new(),
            nameless: 0,
            subscriptions: BTreeMap::new(),
            watching: Watching::default(),
            left,
            welcomed: false,
            durable,
            seen: Seen::default(),
        }
    }

    fn ask(&mut self, now: Time, mut message: Value, what: Request) -> Vec<u8> {
        let id = self.next_id;
        self.next_id += 1;
        message["id"] = json!(id);
        self.pending.insert(id, Asked { at: now, authentications: self.authentications, what });
        message.to_string().into_bytes()
    }

    /// `None` if it is subscribed already or about to be.
    pub(crate) fn subscribe(&mut self, now: Time, channel: &str, resume: bool, wish: Wish) -> Option<Vec<u8>> {
        if self.subscriptions.contains_key(channel) {
            return None;
        }
        let since = self.left.get(channel).copied().filter(|_| resume);
        let mut message = json!({"type": "subscribe", "channel": channel, "presence": wish.presence});
        if let Some((epoch, offset)) = since {
            message["since"] = json!({"epoch": format!("{epoch:x}"), "offset": offset});
        }
        if wish.rate > 0 {
            message["rate"] = json!(wish.rate);
        }
        if wish.cached {
            message["cached"] = json!(true);
        }
        self.subscriptions.insert(channel.to_owned(), Subscription::new(now, Wish { since, ..wish }));
        self.watching.name(channel);
        Some(self.ask(now, message, Request::Subscribe { channel: channel.to_owned(), since }))
    }

    pub(crate) fn unsubscribe(&mut self, now: Time, pick: usize) -> Option<Vec<u8>> {
        let live = self.subscriptions.iter_mut().filter(|(_, subscription)| subscription.phase == Phase::Live);
        let (channel, subscription) = live.collect::<Vec<_>>().into_iter().nth(pick)?;
        subscription.phase = Phase::Leaving;
        let channel = channel.clone();
        // From some moment on it comes by the patterns that stand for it.
        self.watching.unname(FOREVER, &channel, subscription.position());
        Some(self.ask(now, json!({"type": "unsubscribe", "channel": channel}), Request::Unsubscribe { channel }))
    }

    /// `None` if it has this pattern already.
    pub(crate) fn watch(&mut self, now: Time, pattern: &str) -> Option<Vec<u8>> {
        self.watching.ask(now, pattern)?;
        let message = json!({"type": "subscribe", "pattern": pattern});
        Some(self.ask(now, message, Request::Watch { pattern: pattern.to_owned() }))
    }

    pub(crate) fn unwatch(&mut self, now: Time, pick: usize) -> Option<Vec<u8>> {
        let pattern = self.watching.leave(pick)?;
        Some(self.ask(now, json!({"type": "unsubscribe", "pattern": pattern}), Request::Unwatch { pattern }))
    }

    /// A publication; `message` is complete but for its id. Without an id nobody answers it unless it is refused.
    pub(crate) fn publish(&mut self, now: Time, channel: &str, wanted: Wanted, mut message: Value) -> Vec<u8> {
        if let Some((epoch, offset)) = wanted.if_position {
            message["if_position"] = json!({"epoch": format!("{epoch:x}"), "offset": offset});
        }
        if let Some(once) = &wanted.once {
            message["idempotency_key"] = json!(once);
        }
        if !wanted.answered {
            self.nameless += 1;
            return message.to_string().into_bytes();
        }
        self.ask(now, message, Request::Publish { channel: channel.to_owned(), wanted })
    }

    /// To a session or to a user, by its name.
    pub(crate) fn signal(&mut self, now: Time, channel: &str, number: u64, whom: (&str, &str)) -> Vec<u8> {
        let mut message = json!({"type": "signal", "channel": channel, "data": [number]});
        message[whom.0] = json!(whom.1);
        self.ask(now, message, Request::Signal { channel: channel.to_owned(), number })
    }

    pub(crate) fn presence(&mut self, now: Time, channel: &str) -> Vec<u8> {
        let message = json!({"type": "presence", "channel": channel});
        self.ask(now, message, Request::Presence { channel: channel.to_owned() })
    }

    pub(crate) fn history(&mut self, now: Time, channel: &str, from: Reading, limit: usize) -> Vec<u8> {
        let mut message = json!({"type": "history", "channel": channel, "limit": limit});
        let at = self.position(channel).filter(|_| from != Reading::Latest);
        if let Some((epoch, offset)) = at {
            let name = if from == Reading::Since { "since" } else { "before" };
            message[name] = json!({"epoch": format!("{epoch:x}"), "offset": offset});
        }
        let from = if at.is_some() { from } else { Reading::Latest };
        self.ask(now, message, Request::History { channel: channel.to_owned(), from, at, limit })
    }

    pub(crate) fn authenticate(
        &mut self,
        now: Time,
        token: &str,
        rights: Rights,
        user: String,
        expires: Option<Time>,
    ) -> Vec<u8> {
        let message = json!({"type": "authenticate", "token": token});
        let bytes = self.ask(now, message, Request::Authenticate { rights, user, expired: expires });
        self.authentications += 1;
        bytes
    }

    pub(crate) fn ping(&mut self, now: Time) -> Vec<u8> {
        self.ask(now, json!({"type": "ping"}), Request::Ping)
    }

    pub(crate) fn nonsense(&mut self, now: Time, kind: usize) -> Vec<u8> {
        match kind {
            0 => self.ask(now, json!({"type": "shout"}), Request::Nonsense),
            1 => self.ask(now, json!({"type": "publish", "data": 1}), Request::Nonsense),
            2 => self.ask(now, json!({"type": "subscribe", "channel": "no#hash"}), Request::Nonsense),
            _ => {
                self.nameless += 1;
                b"{not json".to_vec()
            }
        }
    }

    /// Where it is on a channel, as far as it knows.
    pub(crate) fn position(&self, channel: &str) -> Option<Position> {
        let live = self.subscriptions.get(channel).filter(|subscription| subscription.phase != Phase::Asked);
        live.map(Subscription::position).or_else(|| self.left.get(channel).copied())
    }

    /// The connection is over: what it knows for the next one.
    pub(crate) fn end(mut self) -> BTreeMap<String, Position> {
        for (channel, subscription) in core::mem::take(&mut self.subscriptions) {
            if subscription.phase != Phase::Asked {
                self.left.insert(channel, subscription.position());
            }
        }
        self.left
    }

    /// A message came.
    pub(crate) fn receive(&mut self, now: Time, truth: &Truth, bytes: &[u8]) -> Checked {
        let message: Message<'_> = serde_json::from_slice(bytes).map_err(|error| {
            Violation::new(
                "client: not a message of the protocol",
                format!("{error}: {}", String::from_utf8_lossy(bytes)),
            )
        })?;
        self.handle(now, truth, &message, None)
            .map_err(|violation| violation.about(&format!("{} got {}", self.name, String::from_utf8_lossy(bytes))))
    }

    /// A binary message came.
    pub(crate) fn receive_binary(&mut self, now: Time, truth: &Truth, frame: &[u8]) -> Checked {
        let broken = || Violation::new("client: not a binary message", format!("{frame:?}"));
        let (header, payload) = crate::message::split_binary(frame).ok_or_else(broken)?;
        let message: Message<'_> = serde_json::from_str(header).map_err(|_| broken())?;
        self.handle(now, truth, &message, crate::truth::number_in(payload))
            .map_err(|violation| violation.about(&format!("{} got {header}", self.name)))
    }

    fn handle(&mut self, now: Time, truth: &Truth, message: &Message<'_>, payload: Option<u64>) -> Checked {
        // Who is given up at once gets no welcome.
        if !self.welcomed && !matches!(message.kind, "welcome" | "disconnect") {
            return violation("client: something came before the welcome");
        }
        match message.kind {
            "welcome" => {
                if core::mem::replace(&mut self.welcomed, true) || message.session != Some(&*self.name.to_string()) {
                    return violation("client: welcomed twice or as another");
                }
                self.users.push(message.user.map(str::to_owned));
                Ok(())
            }
            "batch" => {
                for raw in message.messages.iter().flatten() {
                    let inner = serde_json::from_str(raw.get())
                        .map_err(|_| Violation::new("client: not a message in a batch", String::new()))?;
                    self.handle(now, truth, &inner, None)?;
                }
                Ok(())
            }
            "message" => {
                let number = payload.or_else(|| crate::truth::number_in(message.data?.get().as_bytes()));
                let channel = message.channel.unwrap_or_default();
                let place = self.place(channel);
                self.seen.messages += 1;
                let came = Came {
                    offset: message.offset.unwrap_or_default(),
                    number,
                    conflated: message.conflated.unwrap_or_default(),
                    cached: message.cached == Some(true),
                };
                self.seen.conflated += u64::from(came.conflated > 0);
                self.seen.cached += u64::from(came.cached);
                if self.comes_by_pattern(channel, came) {
                    self.seen.shown += 1;
                    if let Some(leaving) = self.subscriptions.get_mut(channel) {
                        leaving.go_on_behind(came.offset);
                    }
                    let rights = self.rights.last().copied().unwrap_or(Rights::Nothing);
                    return self.watching.receive(truth, (&place, self.name), (&self.app, rights), came);
                }
                match self.subscriptions.get_mut(channel) {
                    Some(subscription) => subscription.receive(truth, &place, self.name, came),
                    None => violation("client: a message of a channel that it does not subscribe to"),
                }
            }
            "ok" | "pong" | "error" => self.handle_answer(now, truth, message),
            "gap" | "caught_up" | "join" | "leave" => self.handle_event(truth, message),
            "signal" => self.handle_signal(message),
            "unsubscribed" => {
                let channel = message.channel.unwrap_or_default();
                match message.code {
                    Some(Code::Word("removed")) => self.news.push(News::Removed { channel: channel.to_owned() }),
                    // The only other reason is a token that does not cover it.
                    _ if self.covers(self.rights.len() - 1, channel) => {
                        return violation("rights: a subscription that is covered was ended");
                    }
                    _ => {}
                }
                let Some(subscription) = self.subscriptions.remove(channel) else {
                    return violation("client: unsubscribed from what it does not subscribe to");
                };
                self.watching.unname(now, channel, subscription.position());
                if subscription.phase != Phase::Asked {
                    self.left.insert(channel.to_owned(), subscription.position());
                }
                Ok(())
            }
            "disconnect" => match message.code {
                Some(Code::Number(code)) => {
                    self.news.push(News::Ended { code });
                    Ok(())
                }
                _ => violation("client: a disconnect without a code"),
            },
            "token_expiring" | "ping" => Ok(()),
            _ => violation("client: an unknown message"),
        }
    }

    /// What is subscribed to by name comes by that, from where it began and until its end.
    fn comes_by_pattern(&self, channel: &str, came: Came) -> bool {
        let rights = self.rights.last().copied().unwrap_or(Rights::Nothing);
        let is_named = self.subscriptions.get(channel).is_some_and(|subscription| match subscription.phase {
            Phase::Asked => false,
            Phase::Live => true,
            // No pattern shows what was kept or missed.
            Phase::Leaving => came.cached || subscription.is_missed(came.offset),
        });
        !is_named && self.watching.may_show(channel, rights)
    }

    fn handle_event(&mut self, truth: &Truth, message: &Message<'_>) -> Checked {
        let channel = message.channel.unwrap_or_default();
        let place = self.place(channel);
        let name = self.name;
        let Some(subscription) = self.subscriptions.get_mut(channel) else {
            return violation("client: an event of a channel that it does not subscribe to");
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

    fn handle_signal(&mut self, message: &Message<'_>) -> Checked {
        let channel = message.channel.unwrap_or_default().to_owned();
        if !self.subscriptions.contains_key(&channel) {
            return violation("signal: on a channel that it does not subscribe to");
        }
        let Some(number) = message.data.and_then(|data| crate::truth::number_in(data.get().as_bytes())) else {
            return violation("signal: that nobody sent");
        };
        let sender = match message.from {
            Some(Origin::Sender { session }) => Some(Some(session.to_owned())),
            None => Some(None),
            Some(Origin::Offset(_)) => return violation("signal: from nobody"),
        };
        self.news.push(News::Signal { number, channel, sender });
        Ok(())
    }

    /// Nothing happens any more: is anything missing?
    pub(crate) fn check_quiet(&self, now: Time, truth: &Truth) -> Checked {
        if self.expires.is_some_and(|expires| expires + core::time::Duration::from_secs(10) < now) {
            return Err(Violation::new("rights: a connection has outlived its token", self.name.to_string()));
        }
        if !self.welcomed {
            return violation("client: never welcomed");
        }
        if let Some((id, asked)) = self.pending.first_key_value() {
            return Err(Violation::new("client: never answered", format!("{}: {id} {asked:?}", self.name)));
        }
        for (channel, subscription) in &self.subscriptions {
            subscription
                .check_quiet(truth, &self.place(channel), self.name)
                .map_err(|violation| violation.about(&format!("{} on {channel}", self.name)))?;
        }
        let rights = self.rights.last().copied().unwrap_or(Rights::Nothing);
        let is_named = |channel: &str| self.subscriptions.contains_key(channel);
        self.watching.check_quiet(truth, self.name, (&self.app, rights), is_named)
    }

    pub(crate) fn place(&self, channel: &str) -> Place {
        let name = if channel == OWN { self.own.as_str() } else { channel };
        (self.app.id.clone(), name.to_owned())
    }

    /// The last of each channel that came by a pattern.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&str, Position)> {
        self.watching.shown()
    }

    /// Whether every token that it has shown is answered.
    pub(crate) fn knows_its_rights(&self) -> bool {
        self.rights.len() == self.authentications + 1
    }

    /// Whether nothing has changed what it may do.
    pub(crate) fn keeps_its_rights(&self) -> bool {
        self.authentications == 0
    }

    /// Who it is now, if a token has said so.
    pub(crate) fn user(&self) -> Option<&str> {
        self.users.last().and_then(Option::as_deref).filter(|_| self.named.last() == Some(&true))
    }
}

pub(crate) fn violation(kind: &'static str) -> Checked {
    Err(Violation::new(kind, String::new()))
}
