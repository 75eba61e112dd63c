//! Sessions that become users': signing in, and being told who of those that a user knows comes and goes.
//!
//! A user is there as long as one of its sessions takes part in its own channel.

use crate::session::Session;
use crate::sessions::{OWN, Sessions, WATCH};
use bytes::BytesMut;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{
    ChannelName, Described, Encode, Encoded, OpId, Outcome, PresenceChange, Reject, Signed, Time, UserId,
};
use switchboard_hub::{Broker, ChannelKey, History, SubscribeRequest};

impl<B: Broker + History> Sessions<B> {
    /// Makes a guest a user, by the application's word. Who was another before is that one no longer.
    pub(crate) fn sign_in(
        &mut self,
        now: Time,
        session: &mut Session,
        op: OpId,
        user: Described,
        mut watched: Vec<UserId>,
        signed: &Signed,
    ) -> Result<(), Reject> {
        self.directory.check_signed(&session.app.id, signed)?;
        let outcome = Outcome::SignedIn { user: user.user.clone() };
        let before = session.named_user().cloned();
        watched.sort_unstable();
        watched.dedup();
        watched.retain(|watched| *watched != user.user);
        session.user = Some(user.user);
        session.rare().info = user.info;
        session.rare().signed_in = true;
        if !is_planted(Canary::SignedInUnknown) {
            self.index_user(session, before.as_ref());
        }
        self.end_what_overstays(now, session);
        self.answer(session, op, &outcome);
        self.watch_users(now, session, watched);
        Ok(())
    }

    /// Has a session told of other users than before.
    fn watch_users(&mut self, now: Time, session: &mut Session, users: Vec<UserId>) {
        let key =
            |session: &Session, user: &UserId| ChannelKey::new(session.app.id.clone(), ChannelName::of_user(user));
        for user in core::mem::replace(&mut session.rare().watched, users) {
            session.pending += 1;
            self.shard.unsubscribe(now, session.id(), OWN, &session.app, key(session, &user), None);
        }
        for user in session.watched().to_vec() {
            session.pending += 1;
            let wanted = SubscribeRequest { presence: true, only_presence: true, ..SubscribeRequest::default() };
            self.shard.subscribe(now, session.id(), WATCH, &session.app, key(session, &user), wanted);
        }
    }

    /// What is so at the beginning is told in the form of a change.
    pub(crate) fn tell_watched(&mut self, session: &mut Session, outcome: &Outcome) {
        let Outcome::Subscribed { channel, users: Some(users), .. } = outcome else { return };
        let Some(user) = channel.user().and_then(|user| UserId::parse(user).ok()) else { return };
        if session.closing.is_some() || !session.watched().contains(&user) || is_planted(Canary::WatchedUntold) {
            return;
        }
        let change = PresenceChange { serial: 0, joined: !users.is_empty(), user, info: None };
        let mut out = BytesMut::new();
        self.encoder.presence(session.format(), channel, &[change], &mut out);
        if !out.is_empty() {
            self.shard.push(session.id(), Encoded::new(out.freeze()));
        }
    }
}
