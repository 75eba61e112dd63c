//! What the server says. Decides what each message means; knows nothing of how it came.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use switchboard_ws::Message as Frame;
use switchboard_ws::proto::Time;

use super::link::{Link, Next, Online, Refresh, TOKEN_EXPIRED};
use super::read::{self, Incoming};
use super::requests::Kind;
use super::subscriptions::{State, SubscriptionId};
use super::wanted::Name;
use super::{Answer, Core, Output, Tokens};
use crate::types::{
    ConnectionEvent, HistoryPage, Member, Position, Presence, Published, Subscribed, SubscriptionEvent, Unsubscribed,
};
use crate::{Cause, Ended, Refusal, RequestError, SubscribeError};

/// `Err` says how the server broke the protocol.
type Handled = Result<(), String>;

impl Core {
    /// A frame has come.
    ///
    /// ```
    /// # use switchboard_client::{core::{Core, Tokens}, ws::proto::Time};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// # core.connect(Time::ZERO);
    /// # core.on_connected(Time::ZERO);
    /// core.receive(Time::ZERO, &r#"{"type":"welcome","version":1,"heartbeat_ms":25000}"#.into());
    /// assert!(core.is_online());
    /// ```
    pub fn receive(&mut self, now: Time, frame: &Frame) {
        match &mut self.link {
            Link::Online(online) => {
                online.heard_at = now;
                online.asked = false;
            }
            Link::Greeting { .. } => {}
            _ => return,
        }
        let handled = match frame {
            Frame::Text(text) => read::text(text).and_then(|incoming| self.handle(now, incoming, None)),
            Frame::Binary(bytes) => {
                read::binary(bytes).and_then(|(incoming, payload)| self.handle(now, incoming, Some(payload)))
            }
        };
        if let Err(fault) = handled {
            self.output.push_back(Output::Close { code: 1002, reason: "not the native protocol" });
            self.lose(now, Cause::Protocol(fault), Next::Backoff);
        }
    }

    fn handle(&mut self, now: Time, incoming: Incoming<'_>, payload: Option<Bytes>) -> Handled {
        match (&*incoming.kind, matches!(self.link, Link::Online(_))) {
            ("welcome", false) => self.on_welcome(now, incoming),
            ("disconnect", _) => self.on_disconnect(now, incoming),
            (kind, false) => return Err(format!("{kind:?} before \"welcome\"")),
            ("message", _) => return self.on_message(incoming, payload),
            ("batch", _) => {
                for raw in &incoming.messages {
                    let message = read::text(raw.get())?;
                    if message.kind == "message" {
                        self.on_message(message, None)?;
                    }
                }
            }
            ("ok", _) => return self.on_ok(incoming),
            ("error", _) => self.on_error(now, incoming),
            ("caught_up", _) => self.on_caught_up(&incoming.channel),
            ("gap", _) => return self.on_gap(&incoming),
            ("signal", _) => return self.on_signal(incoming),
            ("unsubscribed", _) => self.on_unsubscribed(now, &incoming),
            ("join", _) => self.on_member(incoming, SubscriptionEvent::Join),
            ("leave", _) => self.on_member(incoming, SubscriptionEvent::Leave),
            ("token_expiring", _) if self.tokens == Tokens::Fresh && self.refresh == Refresh::None => {
                self.fetch_for_refresh(now, 0);
            }
            // A `ping` has been heard, which is what it is for; the unknown is for newer clients.
            _ => {}
        }
        Ok(())
    }

    fn on_welcome(&mut self, now: Time, incoming: Incoming<'_>) {
        if incoming.version != 1 {
            let ended = Ended::Version(incoming.version);
            self.output.push_back(Output::Close { code: 1000, reason: "" });
            return self.lose(now, Cause::Protocol(ended.to_string()), Next::End(ended));
        }
        self.unauthorized = 0;
        self.bytes_max = incoming.limits.message_bytes.unwrap_or(usize::MAX);
        let heartbeat = Duration::from_millis(incoming.heartbeat_ms).clamp(HEARTBEAT_MIN, HEARTBEAT_MAX);
        self.link = Link::Online(Online { since: now, heard_at: now, heartbeat, asked: false });
        let detached: Vec<SubscriptionId> = self.subscriptions.detached().collect();
        for id in detached {
            self.ask_for(id);
        }
        let connected = ConnectionEvent::Connected { session: incoming.session, user: incoming.user };
        self.output.push_back(Output::Connection(connected));
    }

    fn on_disconnect(&mut self, now: Time, incoming: Incoming<'_>) {
        let code = incoming.code_number();
        let next = match incoming.after_ms {
            Some(after) if incoming.reconnect => Next::After(Duration::from_millis(after)),
            None if incoming.reconnect => Next::Backoff,
            // The code says what may be done about it.
            _ => match self.after_close(code, &incoming.reason) {
                Next::Backoff if code == TOKEN_EXPIRED => Next::Backoff,
                _ => Next::End(Ended::ByServer { code, reason: incoming.reason.clone() }),
            },
        };
        self.output.push_back(Output::Close { code: 1000, reason: "" });
        self.lose(now, Cause::ByServer { code, reason: incoming.reason }, next);
    }

    fn on_message(&mut self, incoming: Incoming<'_>, payload: Option<Bytes>) -> Handled {
        let Some((id, subscription)) = self.subscriptions.by_channel(&incoming.channel) else {
            return self.on_message_of_pattern(incoming, payload);
        };
        // Of a subscription that has ended or is stopped: the resumed one gets it again.
        if subscription.state != State::Live {
            return Ok(());
        }
        let Name::Channel(channel) = &subscription.wanted.name else { return Ok(()) };
        let Some(position) = &mut subscription.position else { return Ok(()) };
        let known = incoming.offset()? <= position.offset;
        // The kept value that greets who comes is not newer than the position that the answer named.
        if known && !incoming.cached {
            return Ok(());
        }
        let message = incoming.publication(Arc::clone(channel), Some(Arc::clone(&position.epoch)), payload)?;
        if !known {
            position.offset = message.offset;
        }
        let position = Some(position.clone());
        self.output.push_back(Output::Subscription { id, event: SubscriptionEvent::Message(message), position });
        Ok(())
    }

    /// The server sends each publication once, however many patterns stand for its channel.
    fn on_message_of_pattern(&mut self, incoming: Incoming<'_>, payload: Option<Bytes>) -> Handled {
        let channel: Arc<str> = incoming.channel.as_ref().into();
        let mut matching = self.subscriptions.matching(&channel).peekable();
        if matching.peek().is_none() {
            return Ok(());
        }
        let message = incoming.publication(Arc::clone(&channel), None, payload)?;
        let told = |id| Output::Subscription { id, event: SubscriptionEvent::Message(message.clone()), position: None };
        self.output.extend(matching.map(told));
        Ok(())
    }

    fn on_ok(&mut self, incoming: Incoming<'_>) -> Handled {
        let Some(id) = incoming.answers() else { return Ok(()) };
        // The answer to a request that was given up.
        let Some(kind) = self.requests.answered(id) else { return Ok(()) };
        let answer = match kind {
            Kind::Subscribe(subscription) => return self.on_subscribed(id, subscription, incoming),
            Kind::Authenticate => {
                self.refresh = Refresh::None;
                return Ok(());
            }
            Kind::Publish { .. } => {
                let position = incoming.position.ok_or("an answer without a position")?;
                Answer::Published(Published { position, duplicate: incoming.duplicate })
            }
            Kind::Signal => Answer::Signalled(incoming.sessions),
            Kind::Presence => {
                let total = incoming.total.unwrap_or(incoming.users.len() as u64);
                Answer::Presence(Presence { users: incoming.users, total, connections: incoming.connections })
            }
            Kind::History { channel } => Answer::History(history(&channel, incoming)?),
        };
        self.answer(id, Ok(answer));
        Ok(())
    }

    fn on_subscribed(&mut self, request: u64, id: SubscriptionId, incoming: Incoming<'_>) -> Handled {
        let Some(subscription) = self.subscriptions.get(id) else { return Ok(()) };
        if subscription.state != State::Asked(request) {
            return Ok(());
        }
        let now_at = match subscription.wanted.name {
            Name::Channel(_) => Some(incoming.position.ok_or("an answer without a position")?),
            Name::Pattern(_) => None,
        };
        let users = incoming.users;
        subscription.state = State::Live;
        subscription.attempt = 0;
        let first = !std::mem::replace(&mut subscription.told, true);
        let recovered = subscription.position.as_ref().map(|_| incoming.recovered == Some(true));
        // The first answer tells the users; later ones tell them with the event.
        let subscribed = first.then(|| Subscribed { position: now_at.clone(), recovered, users: users.clone() });
        let event = match (&mut subscription.position, &now_at) {
            (Some(position), Some(now_at)) if recovered == Some(true) => {
                position.epoch = Arc::clone(&now_at.epoch);
                subscription.replay_end = Some(now_at.offset);
                Some(SubscriptionEvent::Recovered { users })
            }
            // Between two answers about a pattern something may have been published.
            (None, None) if !first => Some(SubscriptionEvent::Lost { position: None, users }),
            (None, _) => None,
            (Some(_), _) => Some(SubscriptionEvent::Lost { position: now_at.clone(), users }),
        };
        if recovered != Some(true) {
            subscription.position = now_at;
        }
        let position = subscription.position.clone();
        if let Some(subscribed) = subscribed {
            self.output.push_back(Output::Subscribed { id, result: Ok(subscribed) });
        }
        if let Some(event) = event {
            self.output.push_back(Output::Subscription { id, event, position });
        }
        Ok(())
    }

    fn on_error(&mut self, now: Time, incoming: Incoming<'_>) {
        let Some(id) = incoming.answers() else { return };
        let Some(kind) = self.requests.answered(id) else { return };
        let refusal = Refusal {
            code: incoming.code_word(),
            message: incoming.message,
            temporary: incoming.temporary,
            position: incoming.position,
        };
        match kind {
            Kind::Subscribe(subscription) => self.on_subscription_refused(now, id, subscription, refusal),
            Kind::Authenticate => self.on_refresh_refused(now, refusal.to_string()),
            Kind::Publish { .. } | Kind::Signal | Kind::Presence | Kind::History { .. } => {
                self.answer(id, Err(RequestError::Refused(refusal)));
            }
        }
    }

    fn on_subscription_refused(&mut self, now: Time, request: u64, id: SubscriptionId, refusal: Refusal) {
        let asked = |state: State| state == State::Asked(request);
        if !self.subscriptions.get(id).is_some_and(|subscription| asked(subscription.state)) {
            return;
        }
        if refusal.temporary {
            return self.subscribe_later(now, id);
        }
        let Some(subscription) = self.subscriptions.remove(id) else { return };
        self.output.push_back(if subscription.told {
            let event = SubscriptionEvent::Unsubscribed(Unsubscribed::Refused(refusal));
            Output::Subscription { id, event, position: subscription.position }
        } else {
            Output::Subscribed { id, result: Err(SubscribeError::Refused(refusal)) }
        });
    }

    fn subscribe_later(&mut self, now: Time, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.get(id) else { return };
        let (base, max) = (self.config.backoff_base, self.config.backoff_max);
        let delay = self.random.delay(base, max, subscription.attempt);
        subscription.attempt = subscription.attempt.saturating_add(1);
        subscription.state = State::Refused { again_at: now + delay };
        subscription.replay_end = None;
    }

    fn on_unsubscribed(&mut self, now: Time, incoming: &Incoming<'_>) {
        let code = incoming.code_word();
        let Some((id, subscription)) = (match &*incoming.pattern {
            "" => self.subscriptions.by_channel(&incoming.channel),
            pattern => self.subscriptions.by_pattern(pattern),
        }) else {
            return;
        };
        // An older subscription's, which was ended from here already.
        if subscription.state != State::Live {
            return;
        }
        if TEMPORARY.contains(&code.as_str()) {
            return self.subscribe_later(now, id);
        }
        let position = subscription.position.clone();
        self.subscriptions.remove(id);
        let event = SubscriptionEvent::Unsubscribed(Unsubscribed::ByServer(code));
        self.output.push_back(Output::Subscription { id, event, position });
    }

    fn on_caught_up(&mut self, channel: &str) {
        self.tell(channel, |subscription_end, position| {
            // Offsets may skip: the end of the replay may lie behind its last message.
            if let Some(end) = subscription_end {
                position.offset = position.offset.max(end);
            }
            SubscriptionEvent::CaughtUp
        });
    }

    fn on_gap(&mut self, incoming: &Incoming<'_>) -> Handled {
        let (from, to) = (incoming.gap_start()?, incoming.to);
        let channel: Arc<str> = incoming.channel.as_ref().into();
        let gap = SubscriptionEvent::Gap { channel: Arc::clone(&channel), from, to };
        if self.subscriptions.by_channel(&channel).is_none() {
            let told = |id| Output::Subscription { id, event: gap.clone(), position: None };
            self.output.extend(self.subscriptions.matching(&channel).map(told));
            return Ok(());
        }
        self.tell(&channel, |_, position| {
            position.offset = position.offset.max(to);
            gap
        });
        Ok(())
    }

    fn on_signal(&mut self, incoming: Incoming<'_>) -> Handled {
        let channel = incoming.channel.clone().into_owned();
        let signal = incoming.signal()?;
        self.tell(&channel, |_, _| SubscriptionEvent::Signal(signal));
        Ok(())
    }

    fn on_member(&mut self, incoming: Incoming<'_>, event: fn(Member) -> SubscriptionEvent) {
        let Some(user) = incoming.user else { return };
        let member = Member { user, info: incoming.info };
        self.tell(&incoming.channel, |_, _| event(member));
    }

    /// Tells the reader of a live subscription. A `caught_up` ends its replay.
    fn tell(&mut self, channel: &str, event: impl FnOnce(Option<u64>, &mut Position) -> SubscriptionEvent) {
        let Some((id, subscription)) = self.subscriptions.by_channel(channel) else { return };
        if subscription.state != State::Live {
            return;
        }
        let Some(position) = &mut subscription.position else { return };
        let event = event(subscription.replay_end, position);
        if matches!(event, SubscriptionEvent::CaughtUp) {
            subscription.replay_end = None;
        }
        let position = subscription.position.clone();
        self.output.push_back(Output::Subscription { id, event, position });
    }
}

fn history(channel: &Arc<str>, incoming: Incoming<'_>) -> Result<HistoryPage, String> {
    let position = incoming.position.ok_or("an answer without a position")?;
    let parse = |raw: &&serde_json::value::RawValue| {
        read::text(raw.get())?.publication(Arc::clone(channel), Some(Arc::clone(&position.epoch)), None)
    };
    let messages = incoming.publications.iter().map(parse).collect::<Result<_, _>>()?;
    Ok(HistoryPage { messages, more: incoming.more, position })
}

/// Codes by which a subscription is ended only for now.
const TEMPORARY: [&str; 3] = ["rate_limited", "unavailable", "internal"];

/// A server that says less or more is not believed: silence has to be noticed, and not at every breath.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
const HEARTBEAT_MAX: Duration = Duration::from_secs(3_600);
