//! What reaches single sessions: signals of other clients, and what the application does to them.
//!
//! Owns who may be reached by what, and who must. Knows nothing of channels' contents.

use crate::Violation;
use crate::conversation::News;
use crate::pipe::TEXT;
use crate::rights::user;
use crate::subscription::Phase;
use crate::world::{Talk, World};
use std::collections::BTreeSet;
use std::sync::Arc;
use switchboard_core::{
    ChannelName, Command, Control, Disconnect, Outcome, Payload, Recipient, SessionId, Time, UserId,
};

/// Something for one session, or for all of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Session(SessionId),
    User(String),
}

/// A signal that a client has sent.
#[derive(Debug)]
pub(crate) struct Sent {
    app: usize,
    channel: String,
    whom: Whom,
    /// A client, or the application.
    sender: Option<SessionId>,
    /// Whoever got it.
    got: BTreeSet<usize>,
    /// How many it reached, as the sender was told.
    told: Option<u64>,
    /// A connection that it cannot fail to reach as long as its subscription, asked for then, lives.
    certain: Option<(usize, Time)>,
}

/// What the application has asked to be done to sessions.
#[derive(Debug)]
pub(crate) struct Order {
    ticket: u64,
    app: usize,
    whom: Whom,
    /// Their subscription to this ends, and not they.
    channel: Option<String>,
    /// Connections whom it concerns for certain, with when they asked for that subscription.
    concerned: Vec<(usize, Time)>,
}

impl World<'_> {
    /// A client sends to another one alone.
    pub(crate) fn signal(&mut self, client: usize, channel: usize, whom: usize, by_user: bool) {
        let (Some(from), Some(to)) = (self.clients[client].link, self.clients[whom].link) else { return };
        let channel = self.plan.setup.channel(channel);
        let whom = if by_user { Whom::User(user(whom)) } else { Whom::Session(self.links[to].name) };
        let number = self.next_number;
        let (app, sender) = (self.clients[client].app, self.links[from].name);
        let roomy = self.plan.setup.mailbox_bytes >= 1024 * 1024;
        let is_certain = roomy && !by_user && to != from && self.clients[self.links[to].client].app == app;
        let certain = self.subscribed_for_certain(to, &channel).filter(|_| is_certain).map(|asked| (to, asked));
        let Some(Talk::Native(conversation)) = &mut self.links[from].talk else { return };
        self.next_number += 1;
        let name = match &whom {
            Whom::Session(session) => ("session", session.to_string()),
            Whom::User(user) => ("user", user.clone()),
        };
        let request = conversation.signal(self.now, &channel, number, (name.0, &name.1));
        let sent = Sent { app, channel, whom, sender: Some(sender), got: BTreeSet::new(), told: None, certain };
        self.signals.insert(number, sent);
        self.client_sends(from, TEXT, &request);
    }

    /// The application sends to a client alone. Returns what it asks for.
    pub(crate) fn signal_by_application(
        &mut self,
        app: usize,
        channel: usize,
        whom: usize,
        by_user: bool,
    ) -> Option<(u64, Command)> {
        let to = self.clients[whom].link?;
        let channel = self.plan.setup.channel(channel);
        let name = ChannelName::parse(channel.as_str()).ok()?;
        let (recipient, whom) = match by_user {
            true => (Recipient::User(UserId::parse(user(whom).as_str()).ok()?), Whom::User(user(whom))),
            false => (Recipient::Session(self.links[to].name), Whom::Session(self.links[to].name)),
        };
        let is_certain =
            self.plan.setup.mailbox_bytes >= 1024 * 1024 && !by_user && self.clients[self.links[to].client].app == app;
        let certain = self.subscribed_for_certain(to, &channel).filter(|_| is_certain).map(|asked| (to, asked));
        let number = self.next_number;
        self.next_number += 1;
        let sent = Sent { app, channel, whom, sender: None, got: BTreeSet::new(), told: None, certain };
        self.signals.insert(number, sent);
        let payload = Payload::Json(format!("[{number}]").into());
        Some((number, Command::Signal { channel: name, whom: recipient, event: None, payload }))
    }

    /// Whoever has sent to one client alone is told how many it reached.
    pub(crate) fn signalled(&mut self, number: u64, sessions: u64) -> Result<(), Violation> {
        let about = |kind: &'static str| Err(Violation::new(kind, format!("{number}, reached {sessions}")));
        let Some(sent) = self.signals.get_mut(&number) else { return about("signal: that nobody sent") };
        sent.told = Some(sessions);
        let (certain, channel) = (sent.certain, sent.channel.clone());
        let still = certain.is_some_and(|(link, asked)| {
            let open = self.links[link].session_open && self.links[link].client_open;
            open && self.subscribed_for_certain(link, &channel) == Some(asked)
        });
        if still && sessions == 0 { about("signal: not to whom it was for") } else { Ok(()) }
    }

    /// The application ends sessions, or their subscription to a channel.
    pub(crate) fn control(&mut self, whom: usize, by_user: bool, channel: Option<usize>) {
        let Some(link) = self.clients[whom].link.filter(|_| self.node.up) else { return };
        let app = self.clients[whom].app;
        let name = self.links[link].name;
        let Ok(user_id) = UserId::parse(user(whom).as_str()) else { return };
        let (recipient, whom) = match by_user {
            true => (Recipient::User(user_id), Whom::User(user(whom))),
            false => (Recipient::Session(name), Whom::Session(name)),
        };
        let channel = channel.map(|channel| self.plan.setup.channel(channel));
        let concerned = (0..self.links.len()).filter_map(|link| {
            let one = &self.links[link];
            let reached = one.session_open && one.client_open && self.is_whom(one.client, one.name, app, &whom);
            match (&channel, &one.talk) {
                _ if !reached => None,
                (Some(channel), _) => self.subscribed(link, channel).map(|asked| (link, asked)),
                (None, _) => Some((link, self.now)),
            }
        });
        let concerned = concerned.collect();
        let control = match channel.as_deref().map(ChannelName::parse) {
            Some(Ok(channel)) => Control::Unsubscribe { whom: recipient, channel },
            Some(Err(_)) => return,
            None => Control::Disconnect { whom: recipient, disconnect: Disconnect::BY_APPLICATION },
        };
        let application = Arc::clone(&self.plan.setup.apps[app]);
        let ticket = self.ask(&application, Command::Control(control));
        self.orders.push(Order { ticket, app, whom, channel, concerned });
    }

    /// Since when a connection has a subscription, as it knows, that nobody has asked to end.
    fn subscribed(&self, link: usize, channel: &str) -> Option<Time> {
        let Some(Talk::Native(conversation)) = &self.links[link].talk else { return None };
        let subscription = conversation.subscriptions.get(channel)?;
        (subscription.phase == Phase::Live).then_some(subscription.asked)
    }

    /// The same, unless a token or the application may have ended it and the client has not read so yet.
    fn subscribed_for_certain(&self, link: usize, channel: &str) -> Option<Time> {
        let one = &self.links[link];
        let Some(Talk::Native(conversation)) = &one.talk else { return None };
        let may_have_ended = !conversation.knows_its_rights()
            || self.orders_of(one.client, one.name).any(|order| order.channel.as_deref() == Some(channel));
        if may_have_ended { None } else { self.subscribed(link, channel) }
    }

    /// Whether this is a connection of whom it is about. A user is known by a token that was taken.
    fn is_whom(&self, client: usize, name: SessionId, app: usize, whom: &Whom) -> bool {
        let is_of_app = self.clients[client].app == app;
        is_of_app
            && match whom {
                Whom::Session(session) => *session == name,
                Whom::User(known) => {
                    let link = self.links.iter().find(|link| link.name == name);
                    let named = link.is_some_and(|link| match &link.talk {
                        Some(Talk::Native(conversation)) => conversation.user() == Some(known),
                        Some(Talk::Pusher(channels)) => channels.is_user(known),
                        _ => link.user == *known,
                    });
                    named && user(client) == *known
                }
            }
    }

    /// A client was told something that is not about itself alone.
    pub(crate) fn learn(&mut self, link: usize, news: &News) -> Result<(), Violation> {
        let about = |kind: &'static str, news: &News| Err(Violation::new(kind, format!("connection {link}: {news:?}")));
        let (client, name) = (self.links[link].client, self.links[link].name);
        match news {
            News::Signal { number, channel, sender } => {
                self.seen.signals += 1;
                let Some(sent) = self.signals.get(number) else { return about("signal: that nobody sent", news) };
                let is_right = sent.channel == *channel
                    && sent.sender != Some(name)
                    && sender.as_ref().is_none_or(|sender| *sender == sent.sender.map(|sender| sender.to_string()))
                    && self.clients[client].app == sent.app
                    && match &sent.whom {
                        Whom::Session(session) => *session == name,
                        Whom::User(known) => user(client) == *known,
                    };
                if !is_right {
                    return about("signal: to somebody else", news);
                }
                match self.signals.get_mut(number).is_some_and(|sent| sent.got.insert(link)) {
                    true => Ok(()),
                    false => about("signal: twice", news),
                }
            }
            News::Signalled { number, sessions } => self.signalled(*number, *sessions),
            News::Removed { channel } => {
                self.seen.removed += 1;
                match self.is_ordered(client, name, Some(channel)) {
                    true => Ok(()),
                    false => about("control: a subscription ended that nobody wanted to end", news),
                }
            }
            // Pusher's number for it is that of other ends too.
            News::Ended { code } => {
                // What consists of one subscription ends with it.
                let is_right = |order: &Order| order.channel.is_none() || self.links[link].plain;
                let ordered = self.orders_of(client, name).any(is_right);
                match *code == Disconnect::BY_APPLICATION.code && !ordered {
                    true => about("control: a session ended that nobody wanted to end", news),
                    false => Ok(()),
                }
            }
        }
    }

    /// Whether the application has asked for the end of this.
    pub(crate) fn is_ordered(&self, client: usize, name: SessionId, channel: Option<&String>) -> bool {
        self.orders_of(client, name).any(|order| order.channel.as_ref() == channel)
    }

    fn orders_of(&self, client: usize, name: SessionId) -> impl Iterator<Item = &Order> {
        let app = self.clients[client].app;
        self.orders.iter().filter(move |order| {
            let is_whom = match &order.whom {
                Whom::Session(session) => *session == name,
                Whom::User(known) => user(client) == *known,
            };
            order.app == app && is_whom
        })
    }

    /// What was asked for is done, and signals reached as many as they were said to.
    pub(crate) fn check_reach(&self) -> Result<(), Violation> {
        for order in &self.orders {
            // Who asked before a crash was never answered.
            let Some(outcome) = self.outcomes.get(&order.ticket) else { continue };
            let Outcome::Affected { .. } = outcome else {
                return Err(Violation::new("control: not answered as asked", format!("{order:?}: {outcome:?}")));
            };
            let lives = |(link, asked): &&(usize, Time)| {
                let one = &self.links[*link];
                let open = one.session_open && one.client_open;
                open && order.channel.as_ref().is_none_or(|channel| self.subscribed(*link, channel) == Some(*asked))
            };
            if let Some(left) = order.concerned.iter().find(lives) {
                return Err(Violation::new("control: what was to end goes on", format!("{left:?}: {order:?}")));
            }
        }
        for (number, sent) in &self.signals {
            let Some(told) = sent.told else { continue };
            let gone = match &sent.whom {
                Whom::Session(name) => self.links.iter().all(|link| link.name != *name || !link.session_open),
                Whom::User(known) => self.links.iter().any(|link| user(link.client) == *known && !link.session_open),
            };
            let got = sent.got.len() as u64;
            if got > told || got < told && !gone {
                return Err(Violation::new(
                    "signal: reached another number than was told",
                    format!("{number}: {sent:?}"),
                ));
            }
        }
        Ok(())
    }
}
