//! From commands to the hub: rights and limits first.

use crate::session::{Session, Subscription};
use crate::sessions::Sessions;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{
    App, ChannelName, ChannelPattern, Command, Control, Described, OpId, Operations, Outcome, Reject, RejectCode,
    Signal, Signed, Since, Time,
};
use switchboard_hub::{Broker, Caller, ChannelKey, History, Member, Shard, SubscribeRequest};

impl<B: Broker + History> Sessions<B> {
    /// Carries out a client's command, or refuses it.
    pub(crate) fn execute(&mut self, now: Time, session: &mut Session, op: OpId, command: Command) {
        if session.closing.is_some() {
            return;
        }
        if let Err(reject) = self.try_execute(now, session, op, command) {
            self.count_reject();
            self.answer(session, op, &Outcome::Rejected(reject));
        }
    }

    fn try_execute(&mut self, now: Time, session: &mut Session, op: OpId, mut command: Command) -> Result<(), Reject> {
        if let Some(channel) = command.channel_mut() {
            session.resolve(channel)?;
        }
        match command {
            Command::Authenticate { token } => return self.authenticate(now, session, op, &token),
            Command::Authorize { channel, operations, member, signed } => {
                return self.authorize(session, op, channel, (operations, member), &signed);
            }
            Command::SignIn { user, watched, signed } => {
                return self.sign_in(now, session, op, user, watched, &signed);
            }
            Command::Subscribe { channel, since, presence, rate, cached } => {
                let wanted = SubscribeRequest { since, presence, rate, cached, ..SubscribeRequest::default() };
                self.subscribe(now, session, op, channel, wanted)?;
            }
            Command::Unsubscribe { channel } => self.unsubscribe(now, session, op, &channel)?,
            Command::Watch { pattern } => self.watch(now, session, op, pattern)?,
            Command::Unwatch { pattern } => self.unwatch(now, session, op, pattern)?,
            Command::Publish { channel, publish, exclude_self } => {
                session.check(now, &channel, Operations::PUBLISH, "publish to")?;
                let echo = session.app.channels.of(&channel).echo && !exclude_self;
                let exclude = (!echo).then_some(session.name);
                let caller = Caller::Subscriber(session.id());
                let publisher = session.publisher(&channel);
                self.shard.publish(
                    now,
                    caller,
                    op,
                    &session.app,
                    key(&session.app, channel),
                    publish,
                    publisher,
                    exclude,
                );
            }
            Command::Presence { channel, limit } => {
                session.check(now, &channel, Operations::PRESENCE, "see who is on")?;
                let caller = Caller::Subscriber(session.id());
                self.shard.presence(now, caller, op, &session.app, key(&session.app, channel), limit);
            }
            Command::History { channel, from, limit } => {
                session.check(now, &channel, Operations::HISTORY, "read the history of")?;
                let caller = Caller::Subscriber(session.id());
                self.shard.history(now, caller, op, &session.app, key(&session.app, channel), from, limit);
            }
            Command::Signal { channel, whom, event, payload } => {
                session.check(now, &channel, Operations::SIGNAL, "signal on")?;
                let from = session.publisher(&channel).map(|sender| (sender, session.name));
                let signal = Signal { channel, event, payload, from };
                let caller = Caller::Subscriber(session.id());
                self.shard.control(now, caller, op, &session.app.id, Control::Signal { whom, signal });
            }
            Command::Control(_) | Command::Channel { .. } | Command::Channels { .. } | Command::Why(_) => {
                let message = "only the application itself can ask for this";
                return Err(Reject::new(RejectCode::PermissionDenied, message));
            }
        }
        session.pending += 1;
        session.held |= self.shard.is_strained();
        Ok(())
    }

    fn subscribe(
        &mut self,
        now: Time,
        session: &mut Session,
        op: OpId,
        channel: ChannelName,
        mut wanted: SubscribeRequest,
    ) -> Result<(), Reject> {
        session.check(now, &channel, Operations::SUBSCRIBE, "subscribe to")?;
        if wanted.presence {
            session.check(now, &channel, Operations::PRESENCE, "see who is on")?;
        }
        if session.channels.contains(&channel) {
            let message = format!("already subscribed to channel '{channel}'");
            return Err(Reject::new(RejectCode::AlreadySubscribed, message));
        }
        session.has_room_for_subscription()?;
        // Who may not read history gets none by way of a position either.
        let may_resume = session.allows(now, &channel, Operations::HISTORY) || is_planted(Canary::ReplayWithoutRight);
        wanted.cached &= may_resume;
        wanted.since = wanted.since.map(|since| if may_resume { since } else { Since::Unknown });
        wanted.member = session.member(&channel);
        let needs = if wanted.presence { Operations::SUBSCRIBE | Operations::PRESENCE } else { Operations::SUBSCRIBE };
        let member = wanted.member.clone();
        let subscription = Subscription { asked: op, member, needs };
        session.channels.insert(channel.clone(), subscription);
        self.count_subscriptions(session);
        let key = key(&session.app, channel);
        self.shard.subscribe(now, session.id(), op, &session.app, key, wanted);
        Ok(())
    }

    fn unsubscribe(&mut self, now: Time, session: &mut Session, op: OpId, channel: &ChannelName) -> Result<(), Reject> {
        if session.user.is_none() {
            return Err(Reject::new(RejectCode::Unauthenticated, "authenticate first"));
        }
        let Some((channel, Subscription { member, .. })) = session.channels.remove(channel) else {
            let message = format!("not subscribed to channel '{channel}'");
            return Err(Reject::new(RejectCode::NotSubscribed, message));
        };
        self.count_subscriptions(session);
        session.forget_authorized(&channel);
        self.shard.unsubscribe(now, session.id(), op, &session.app, key(&session.app, channel), member);
        Ok(())
    }

    /// Takes the application's word for what this session may do on a channel.
    fn authorize(
        &mut self,
        session: &mut Session,
        op: OpId,
        channel: ChannelName,
        (operations, member): (Operations, Option<Described>),
        signed: &Signed,
    ) -> Result<(), Reject> {
        self.directory.check_signed(&session.app.id, signed)?;
        if session.channels.contains(&channel) {
            let message = format!("already subscribed to channel '{channel}'");
            return Err(Reject::new(RejectCode::AlreadySubscribed, message));
        }
        let limit = session.app.limits.channels;
        let member = member.map(|Described { user, info }| Arc::new(Member { user, client: session.name, info }));
        let authorized = &mut session.rare().authorized;
        if authorized.len() >= limit && !authorized.contains_key(&channel) {
            return Err(Reject::new(RejectCode::LimitExceeded, format!("subscribed to {limit} channels already")));
        }
        authorized.insert(channel.clone(), (operations, member));
        self.answer(session, op, &Outcome::Authorized { channel });
        Ok(())
    }

    fn unwatch(&mut self, now: Time, session: &mut Session, op: OpId, pattern: ChannelPattern) -> Result<(), Reject> {
        let Some(index) = session.patterns().iter().position(|known| *known == pattern) else {
            let message = format!("not subscribed to pattern '{pattern}'");
            return Err(Reject::new(RejectCode::NotSubscribed, message));
        };
        session.rare().patterns.swap_remove(index);
        self.shard.unwatch(now, session.id(), op, pattern);
        Ok(())
    }

    /// Anybody may: what the pattern shows is looked at for each publication.
    fn watch(&mut self, now: Time, session: &mut Session, op: OpId, pattern: ChannelPattern) -> Result<(), Reject> {
        if session.user.is_none() {
            return Err(Reject::new(RejectCode::Unauthenticated, "authenticate first"));
        }
        if session.patterns().contains(&pattern) {
            let message = format!("already subscribed to pattern '{pattern}'");
            return Err(Reject::new(RejectCode::AlreadySubscribed, message));
        }
        session.has_room_for_subscription()?;
        self.shard.watch(now, session.id(), op, &pattern);
        session.rare().patterns.push(pattern);
        Ok(())
    }

    /// A first token, or a fresh one of the same user. Subscriptions that it does not cover end.
    fn authenticate(&mut self, now: Time, session: &mut Session, op: OpId, token: &str) -> Result<(), Reject> {
        let identity = self.directory.authenticate(&session.app.id, token, now)?;
        if let Some(known) = &session.identity
            && known.user != identity.user
        {
            return Err(Reject::new(RejectCode::BadToken, "the token names another user than this connection"));
        }
        let outcome = Outcome::Authenticated { user: identity.user.clone(), expires: identity.expires };
        let before = session.named_user().cloned();
        session.identify(now, identity);
        self.index_user(session, before.as_ref());
        self.shard.set_identity(session.id(), session.identity.clone());
        self.answer(session, op, &outcome);
        self.end_what_overstays(now, session);
        Ok(())
    }
}

/// Carries out a command of the application itself.
pub(crate) fn external<B: Broker + History>(
    shard: &mut Shard<B>,
    now: Time,
    ticket: u64,
    app: &Arc<App>,
    command: Command,
    refused: &mut VecDeque<(u64, Outcome)>,
) {
    let caller = Caller::External(ticket);
    let op = OpId(0);
    match command {
        Command::Publish { channel, publish, .. } => {
            let exclude = publish.exclude;
            shard.publish(now, caller, op, app, key(app, channel), publish, None, exclude);
        }
        Command::Presence { channel, limit } => shard.presence(now, caller, op, app, key(app, channel), limit),
        Command::History { channel, from, limit } => {
            shard.history(now, caller, op, app, key(app, channel), from, limit);
        }
        Command::Control(control) => shard.control(now, caller, op, &app.id, control),
        Command::Signal { channel, whom, event, payload } => {
            let signal = Signal { channel, event, payload, from: None };
            shard.control(now, caller, op, &app.id, Control::Signal { whom, signal });
        }
        Command::Channel { channel } => shard.channel(now, caller, op, app, key(app, channel)),
        Command::Channels { prefix, after, limit } => {
            shard.channels(now, caller, op, &app.id, prefix, after, limit);
        }
        Command::Why(question) => shard.why(now, caller, op, app.id.clone(), question),
        Command::Authenticate { .. }
        | Command::Authorize { .. }
        | Command::SignIn { .. }
        | Command::Subscribe { .. }
        | Command::Unsubscribe { .. }
        | Command::Watch { .. }
        | Command::Unwatch { .. } => {
            let message = "only a session can authenticate, subscribe and unsubscribe";
            refused.push_back((ticket, Outcome::Rejected(Reject::new(RejectCode::BadRequest, message))));
        }
    }
}

fn key(app: &App, channel: ChannelName) -> ChannelKey {
    ChannelKey::new(app.id.clone(), channel)
}
