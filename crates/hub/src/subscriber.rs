//! What a shard keeps for one subscriber: its outbox and where it stands on each channel.

use crate::address::SubscriberId;
use crate::conflation::Conflation;
use crate::outbox::Outbox;
use crate::presence::Member;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::{
    App, ChannelName, ChannelPattern, Earlier, Identity, OpId, Publication, RejectCode, SessionId, Time, WireFormat,
};

/// Ten thousands of these are idle: what few need is boxed.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) session: SessionId,
    pub(crate) app: Arc<App>,
    pub(crate) format: WireFormat,
    pub(crate) outbox: Outbox,
    /// Few, so a list.
    pub(crate) subscriptions: Vec<Subscription>,
    /// Requests that are not answered yet.
    pub(crate) pending: u32,
    /// Its session has ended; it goes when nothing is pending.
    pub(crate) closing: bool,
    /// In the shard's list of those with something to write.
    pub(crate) dirty: bool,
    /// In the shard's list of those with a replay.
    pub(crate) replaying: bool,
    /// Its outbox overflowed: nothing is pushed any more.
    pub(crate) lost: bool,
    /// Absent for the usual subscriber, who is neither slow nor has a rate.
    pub(crate) conflation: Option<Box<Conflation>>,
    /// Its rights, for what its patterns show.
    pub(crate) identity: Option<Arc<Identity>>,
    /// In the shard's list of those with something conflated that waits.
    pub(crate) conflating: bool,
    /// What concerns it is remembered in every detail, now and, if it was drawn, since it came.
    pub(crate) traced: bool,
    pub(crate) drawn: bool,
    /// It has ended a subscription or a pattern.
    pub(crate) has_left: bool,
    rare: Option<Box<Rare>>,
}

/// What only some subscribers have, once they have had it.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    pub(crate) patterns: Vec<ChannelPattern>,
    /// Patterns that some homes do not know of yet, by the request, with their number.
    pub(crate) watching: Vec<(OpId, u16)>,
    /// When the shard's timers look at what is conflated.
    pub(crate) conflation_due: Option<Time>,
    /// Operations whose subscription was taken away before it was there.
    revoked: Vec<(OpId, RejectCode)>,
}

impl Subscriber {
    pub(crate) fn new(app: &Arc<App>, format: WireFormat, session: SessionId) -> Self {
        Self {
            session,
            app: Arc::clone(app),
            format,
            outbox: Outbox::new(app.limits.outbox_bytes),
            subscriptions: Vec::new(),
            pending: 0,
            closing: false,
            dirty: false,
            replaying: false,
            lost: false,
            conflation: None,
            identity: None,
            conflating: false,
            traced: false,
            drawn: false,
            has_left: false,
            rare: None,
        }
    }

    pub(crate) fn id(&self, slot: u32) -> SubscriberId {
        SubscriberId { slot, serial: self.session.serial }
    }

    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Patterns that it watches.
    pub(crate) fn patterns(&self) -> &[ChannelPattern] {
        self.rare.as_ref().map_or(&[], |rare| &rare.patterns)
    }

    pub(crate) fn conflation_due(&self) -> Option<Time> {
        self.rare.as_ref()?.conflation_due
    }

    pub(crate) fn subscription(&mut self, channel: u32) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|subscription| subscription.channel == channel)
    }

    /// The usual subscriber has one, and no room for others.
    pub(crate) fn add_subscription(&mut self, subscription: Subscription) {
        if self.subscriptions.is_empty() {
            self.subscriptions.reserve_exact(1);
        }
        self.subscriptions.push(subscription);
    }

    /// Whether the channel's publications wait for it by key.
    pub(crate) fn holds(&self, channel: &ChannelName) -> bool {
        self.conflation.as_ref().is_some_and(|conflation| conflation.holds(channel))
    }

    /// The operation subscribes to what is taken away meanwhile.
    pub(crate) fn revoke(&mut self, op: OpId, why: RejectCode) {
        self.rare().revoked.push((op, why));
    }

    /// Why what the operation subscribed to was taken away meanwhile, if it was.
    pub(crate) fn take_revoked(&mut self, op: OpId) -> Option<RejectCode> {
        let revoked = &mut self.rare.as_mut()?.revoked;
        let index = revoked.iter().position(|(known, _)| *known == op)?;
        Some(revoked.swap_remove(index).1)
    }

    pub(crate) fn take_subscription(&mut self, channel: u32) -> Option<Subscription> {
        let index = self.subscriptions.iter().position(|subscription| subscription.channel == channel)?;
        self.has_left = true;
        Some(self.subscriptions.swap_remove(index))
    }
}

#[derive(Debug)]
pub(crate) struct Subscription {
    /// The shard's number for the channel.
    pub(crate) channel: u32,
    /// Where the channel's roster has it.
    pub(crate) index: u32,
    /// The channel's offset when it began.
    pub(crate) began: u64,
    pub(crate) earlier: Given,
    /// As presence counts it.
    pub(crate) member: Option<Arc<Member>>,
    /// What is still to be replayed; live publications queue up behind it.
    pub(crate) replay: Option<Box<Replay>>,
}

/// What a subscription was given of the time before it began, in eight bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given(u64);

impl Given {
    pub(crate) const fn new(earlier: Earlier) -> Self {
        Self(match earlier {
            Earlier::Nothing => 0,
            Earlier::After(offset) => offset << 2 | 1,
            Earlier::Cached(offset) => offset << 2 | 2,
        })
    }

    pub(crate) const fn earlier(self) -> Earlier {
        match self.0 & 3 {
            1 => Earlier::After(self.0 >> 2),
            2 => Earlier::Cached(self.0 >> 2),
            _ => Earlier::Nothing,
        }
    }
}

/// Publications that go out as the outbox drains, so that a long absence does not overflow it. They are shared, not copied.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// Comes first.
    pub(crate) cached: Option<Arc<Publication>>,
    /// Its end is told.
    pub(crate) promised: bool,
    pub(crate) queue: VecDeque<Arc<Publication>>,
    pub(crate) bytes: usize,
}

impl Replay {
    pub(crate) fn new(missed: Vec<Arc<Publication>>, cached: Option<Arc<Publication>>, promised: bool) -> Self {
        let bytes = missed.iter().map(|publication| publication.cost()).sum();
        Self { cached, promised, queue: missed.into(), bytes }
    }

    pub(crate) fn push(&mut self, publication: Arc<Publication>) {
        self.bytes += publication.cost();
        self.queue.push_back(publication);
    }

    pub(crate) fn pop(&mut self) -> Option<Arc<Publication>> {
        let publication = self.queue.pop_front()?;
        self.bytes -= publication.cost();
        Some(publication)
    }
}
