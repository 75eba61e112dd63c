//! One client: who it is, what it may do, what it waits for, and when it must be looked at again.
//!
//! Every right is checked here and nowhere else.

use crate::bucket::Bucket;
use crate::deadlines::Deadlines;
use crate::subscribed::Subscribed;
use hashbrown::HashMap;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{
    App, ChannelName, ChannelPattern, ClientInfo, Deadline, Disconnect, FramingId, Identity, OpId, Operations, Reject,
    RejectCode, SessionId, Time, UserId, WireFormat,
};
use switchboard_dialects::{AnyDialect, Dialect};
use switchboard_hub::{Member, SubscriberId};

/// Ten thousands of these are idle: what few need is boxed.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) slot: u32,
    pub(crate) name: SessionId,
    pub(crate) app: Arc<App>,
    pub(crate) dialect: AnyDialect,
    pub(crate) framing: FramingId,
    /// Who it is. Absent as long as it must authenticate.
    pub(crate) user: Option<UserId>,
    /// From its token.
    pub(crate) identity: Option<Arc<Identity>>,
    /// What it subscribes to or has asked to.
    pub(crate) channels: Subscribed,
    pub(crate) bucket: Bucket,
    /// Requests that the hub has not answered.
    pub(crate) pending: u32,
    /// Bytes that came before it authenticated.
    pub(crate) early_bytes: u32,
    /// Why it ends, once that is decided.
    pub(crate) closing: Option<Box<Disconnect>>,
    pub(crate) deadlines: Deadlines,
    /// What the timers hold.
    pub(crate) timer: Deadline,
    /// The driver was told not to read.
    pub(crate) paused: bool,
    /// It is sent away as soon as it has its answers: it is not read any more.
    pub(crate) leaving: bool,
    /// Asked when the shard had much unanswered: it is not read before it has all its answers.
    pub(crate) held: bool,
    rare: Option<Box<Rare>>,
}

/// What only some sessions have, once they have had it.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// What the application's signatures allow it on single channels, and whom presence shows there.
    pub(crate) authorized: HashMap<ChannelName, (Operations, Option<Arc<Member>>), foldhash::fast::RandomState>,
    /// The application has signed for its name.
    pub(crate) signed_in: bool,
    /// What it is shown with, once it has signed in.
    pub(crate) info: Option<Arc<str>>,
    /// Users about whose coming and going it is told.
    pub(crate) watched: Vec<UserId>,
    /// The patterns it subscribes to.
    pub(crate) patterns: Vec<ChannelPattern>,
}

/// A subscription that was asked for, granted and not ended.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The operation that asked.
    pub(crate) asked: OpId,
    /// How presence counts it.
    pub(crate) member: Option<Arc<Member>>,
    /// The rights without which it ends.
    pub(crate) needs: Operations,
}

/// Somebody, for a planted bug.
const FIRST: SessionId = SessionId { node: 0, shard: 0, serial: 0 };

const NOBODY: &str = "only a user whom a token or a signature names has a channel of its own";

/// What users may do with their own channels: the application publishes there.
const OWN_OPERATIONS: Operations = Operations::READ;

impl Session {
    /// Before it is known who it is.
    pub(crate) fn new(
        now: Time,
        slot: u32,
        name: SessionId,
        app: Arc<App>,
        dialect: AnyDialect,
        framing: FramingId,
    ) -> Self {
        Self {
            slot,
            name,
            user: (app.anonymous.is_some() || !dialect.can_authenticate()).then(|| UserId::guest(name)),
            identity: None,
            channels: Subscribed::default(),
            bucket: Bucket::default(),
            pending: 0,
            early_bytes: 0,
            closing: None,
            deadlines: Deadlines {
                heartbeat: (now + app.limits.heartbeat).into(),
                patience: dialect.patience().map(|patience| now + patience).into(),
                ..Deadlines::default()
            },
            timer: Deadline::NEVER,
            paused: false,
            leaving: false,
            held: false,
            rare: None,
            app,
            dialect,
            framing,
        }
    }

    /// As the hub knows it.
    pub(crate) fn id(&self) -> SubscriberId {
        SubscriberId { slot: self.slot, serial: self.name.serial }
    }

    /// What makes its bytes equal to those of others.
    pub(crate) fn format(&self) -> WireFormat {
        WireFormat { dialect: self.dialect.format(), framing: self.framing }
    }

    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// The patterns it subscribes to.
    pub(crate) fn patterns(&self) -> &[ChannelPattern] {
        self.rare.as_ref().map_or(&[], |rare| &rare.patterns)
    }

    /// Users about whose coming and going it is told.
    pub(crate) fn watched(&self) -> &[UserId] {
        self.rare.as_ref().map_or(&[], |rare| &rare.watched)
    }

    /// What a signature allowed it on the channel is over.
    pub(crate) fn forget_authorized(&mut self, channel: &ChannelName) {
        if let Some(rare) = &mut self.rare {
            rare.authorized.remove(channel);
        }
    }

    /// Takes on an identity: rights, name and end.
    pub(crate) fn identify(&mut self, now: Time, identity: Identity) {
        self.user = Some(identity.user.clone());
        self.deadlines.authentication = None.into();
        self.deadlines.expiry = identity.expires.into();
        // Warned 30 s before the end, or a tenth of the life if that is less.
        let warning = identity.expires.map(|expires| {
            let life = expires.since(now);
            now + (life - (life / 10).min(core::time::Duration::from_secs(30)))
        });
        self.deadlines.expiry_warning = warning.into();
        self.identity = Some(Arc::new(identity));
        self.plan_grants(now);
    }

    /// Looks again at what it may do when the next of its rights ends.
    pub(crate) fn plan_grants(&mut self, now: Time) {
        let grants = self.identity.iter().flat_map(|identity| &identity.grants);
        let next = grants.filter_map(|grant| grant.expires).filter(|expires| *expires > now).min();
        self.deadlines.grants = next.into();
    }

    /// What it subscribes to and may no longer, in the order of names.
    pub(crate) fn overstayed(&self, now: Time) -> Vec<ChannelName> {
        let over = self.channels.iter().filter(|(channel, known)| !self.allows(now, channel, known.needs));
        over.map(|(channel, _)| channel.clone()).collect()
    }

    /// The channel that is meant by the one that a client names.
    pub(crate) fn resolve(&self, channel: &mut ChannelName) -> Result<(), Reject> {
        if channel.is_own() {
            match self.named_user() {
                Some(_) if is_planted(Canary::OneForAllUsers) => *channel = ChannelName::of_user(&UserId::guest(FIRST)),
                Some(user) => *channel = ChannelName::of_user(user),
                None => return Err(Reject::new(RejectCode::PermissionDenied, NOBODY)),
            }
        }
        Ok(())
    }

    /// The user, if a token or a signature names one.
    pub(crate) fn named_user(&self) -> Option<&UserId> {
        let signed_in = || self.rare.as_ref().is_some_and(|rare| rare.signed_in);
        self.user.as_ref().filter(|_| self.identity.is_some() || signed_in())
    }

    /// Whether it is the own channel of this session's user.
    fn owns(&self, channel: &ChannelName) -> bool {
        channel.user().is_some() && channel.user() == self.named_user().map(UserId::as_str)
    }

    /// The largest message that the client may send now, in bytes.
    pub(crate) fn message_bytes(&self) -> usize {
        let limits = &self.app.limits;
        match self.user {
            Some(_) => limits.message_bytes,
            None => limits.message_bytes.min(limits.message_bytes_unauthenticated),
        }
    }

    /// Whether it shall not be read for now.
    pub(crate) fn must_wait(&self) -> bool {
        let paced = self.deadlines.pace != Deadline::NEVER;
        self.held || self.leaving || paced || self.pending as usize >= self.app.limits.operations_pending
    }

    pub(crate) fn allows(&self, now: Time, channel: &ChannelName, operations: Operations) -> bool {
        if self.owns(channel) {
            return OWN_OPERATIONS.contains(operations);
        }
        if self.authorized(channel).is_some_and(|(allowed, _)| allowed.contains(operations)) {
            return true;
        }
        self.app.allows(self.identity.as_deref(), now, channel, operations)
    }

    /// The one place that refuses for want of a right.
    pub(crate) fn check(
        &self,
        now: Time,
        channel: &ChannelName,
        operations: Operations,
        verb: &str,
    ) -> Result<(), Reject> {
        if self.user.is_none() {
            return Err(Reject::new(RejectCode::Unauthenticated, "authenticate first"));
        }
        if self.allows(now, channel, operations) {
            return Ok(());
        }
        if channel.user().is_some() {
            return Err(Reject::new(RejectCode::PermissionDenied, format!("no right to {verb} the channel of a user")));
        }
        Err(Reject::new(RejectCode::PermissionDenied, format!("no right to {verb} channel '{channel}'")))
    }

    pub(crate) fn member(&self, channel: &ChannelName) -> Option<Arc<Member>> {
        if !self.app.channels.of(channel).presence || !self.dialect.is_present() {
            return None;
        }
        if let Some(member) = self.authorized_member(channel) {
            return Some(member.clone());
        }
        let signed = || self.rare.as_ref().and_then(|rare| rare.info.clone());
        let info = self.identity.as_ref().and_then(|identity| identity.info.clone()).or_else(signed);
        self.user.clone().map(|user| Arc::new(Member { user, client: self.name, info }))
    }

    /// Channels and patterns share one limit.
    pub(crate) fn has_room_for_subscription(&self) -> Result<(), Reject> {
        let limit = self.app.limits.channels;
        if self.channels.len() + self.patterns().len() < limit {
            return Ok(());
        }
        Err(Reject::new(RejectCode::LimitExceeded, format!("subscribed to {limit} channels already")))
    }

    pub(crate) fn publisher(&self, channel: &ChannelName) -> Option<ClientInfo> {
        let user = self.authorized_member(channel).map(|member| &member.user).or(self.user.as_ref());
        user.cloned().map(|user| ClientInfo { user })
    }

    fn authorized_member(&self, channel: &ChannelName) -> Option<&Arc<Member>> {
        self.authorized(channel)?.1.as_ref()
    }

    fn authorized(&self, channel: &ChannelName) -> Option<&(Operations, Option<Arc<Member>>)> {
        self.rare.as_ref()?.authorized.get(channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small() {
        assert!(size_of::<Session>() <= 248, "{} bytes", size_of::<Session>());
    }
}
