//! What is done to sessions from outside: the application's disconnections and unsubscriptions, and what clients send to each other alone.

use crate::index::Found;
use crate::session::Session;
use crate::sessions::{OWN, Sessions};
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{
    AppId, ChannelName, Control, Disconnect, Event, Recipient, RejectCode, SessionId, Signal, Time,
};
use switchboard_dialects::Dialect;
use switchboard_hub::{Broker, ChannelKey, ControlRequest, History, SubscriberId};

impl<B: Broker + History> Sessions<B> {
    /// Does what has come for sessions of this shard: at the end of the turn, behind what was published to them before.
    pub(crate) fn obey_controls(&mut self, now: Time) {
        while let Some(ControlRequest { app, control, origin }) = self.shard.poll_control() {
            let mut concerned = 0;
            for id in self.find(&app, control.whom()) {
                let Some(mut session) = self.take(id) else { continue };
                // Its name says nothing of its application.
                if session.app.id == app && session.closing.is_none() {
                    concerned += u64::from(self.obey(now, &mut session, &control));
                }
                self.put_back(session);
            }
            self.shard.answer_control(now, origin, concerned);
        }
    }

    fn find(&mut self, app: &AppId, whom: &Recipient) -> Found {
        match whom {
            Recipient::User(user) => self.index.of_user(app, user),
            Recipient::Session(SessionId { serial, .. }) => {
                let all = self.sessions.iter().flatten().map(|session| session.id());
                self.index.named(*serial, all).into_iter().collect()
            }
        }
    }

    /// Returns whether the session was concerned.
    fn obey(&mut self, now: Time, session: &mut Session, control: &Control) -> bool {
        match control {
            Control::Disconnect { disconnect, .. } => {
                self.end(session, disconnect);
                true
            }
            Control::Unsubscribe { channel, .. } => self.take_away(now, session, channel, RejectCode::Removed),
            Control::Signal { signal, .. } => self.signal(session, signal),
        }
    }

    fn signal(&mut self, session: &mut Session, signal: &Signal) -> bool {
        let own = signal.from.as_ref().is_some_and(|(_, sender)| *sender == session.name);
        let is_there = session.channels.contains(&signal.channel) || is_planted(Canary::SignalToStrangers);
        !own && is_there && self.tell(session, &Event::Signal(signal.clone()))
    }

    /// Ends a subscription, tells the client why, and returns whether there was one.
    pub(crate) fn take_away(
        &mut self,
        now: Time,
        session: &mut Session,
        channel: &ChannelName,
        code: RejectCode,
    ) -> bool {
        let Some((channel, known)) = session.channels.remove(channel) else { return false };
        self.count_subscriptions(session);
        session.forget_authorized(&channel);
        session.pending += 1;
        let key = ChannelKey::new(session.app.id.clone(), channel.clone());
        if self.shard.revoke(now, session.id(), (known.asked, code), OWN, &session.app, key, known.member) {
            self.tell(session, &Event::Unsubscribed { channel, code });
        }
        true
    }

    /// Ends the subscriptions for which the session has no right any more.
    pub(crate) fn end_what_overstays(&mut self, now: Time, session: &mut Session) {
        for channel in session.overstayed(now) {
            self.take_away(now, session, &channel, RejectCode::PermissionDenied);
        }
    }

    /// Tells a client of an event, and returns whether its protocol has words for it. It may be one that the connection does not survive.
    pub(crate) fn tell(&mut self, session: &mut Session, event: &Event) -> bool {
        let mut end = None;
        let encoded = self.encode(session, |session, out| end = session.dialect.on_event(event, out));
        let told = encoded.is_some();
        if let Some(encoded) = encoded {
            self.shard.push(session.id(), encoded);
        }
        if let Some(disconnect) = end {
            self.end(session, &disconnect);
        }
        told
    }

    /// The session's user is another than before.
    pub(crate) fn index_user(&mut self, session: &Session, before: Option<&switchboard_core::UserId>) {
        let app = &session.app.id;
        if let Some(before) = before {
            self.index.remove_user(app, before, session.id());
        }
        if let Some(user) = session.named_user() {
            self.index.add_user(app, user, session.id());
        }
    }

    /// The session has left its place.
    pub(crate) fn forget_session(&mut self, session: &Session) {
        if let Some(user) = session.named_user() {
            self.index.remove_user(&session.app.id, user, session.id());
        }
    }

    /// Ends a session by our will: the client is told, and [`closing`](Self::closing) says how the transport shall close.
    pub fn disconnect(&mut self, id: SubscriberId, disconnect: &Disconnect) {
        let Some(mut session) = self.take(id) else { return };
        self.end(&mut session, disconnect);
        self.put_back(session);
    }
}
