//! One core's part of the hub: it joins homes, roster, subscribers and mail.
//!
//! Each call does its work at once, but for two things that wait for [`Shard::end_turn`]: fan-out, so that a turn's publications travel
//! together, and mail, which the driver takes when there is room.

use crate::address::{Caller, ChannelKey, ReturnAddress, ShardId, SubscriberId};
use crate::broker::{Broker, ControlRequest, History};
use crate::check::Checks;
use crate::fanout::{self, Effects};
use crate::figures::{Backlog, ShardStats};
use crate::gather::Gathers;
use crate::herald::NoticeBatch;
use crate::home::Homes;
use crate::mail::{Letter, Outgoing, Request, RequestKind, SubscribeRequest};
use crate::outbox::Outbox;
use crate::patterns::Watchers;
use crate::presence::Member;
use crate::roster::Roster;
use crate::settings::ShardConfig;
use crate::slow::is_behind;
use crate::subscriber::Subscriber;
use crate::trace::Named;
use slab::Slab;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use switchboard_core::{
    App, ClientInfo, Encode, Encoded, Event, OpId, Outcome, Publish, ReadFrom, SessionId, Time, WireFormat,
};

/// One core's part of the hub.
#[derive(Debug)]
pub struct Shard<B> {
    pub(crate) config: ShardConfig,
    pub(crate) homes: Homes<B>,
    pub(crate) roster: Roster,
    pub(crate) subscribers: Slab<Subscriber>,
    pub(crate) next_serial: u64,
    /// Mail by shard.
    pub(crate) outgoing: Vec<Outgoing>,
    /// What this shard has asked and not been answered, in bytes.
    pub(crate) unanswered: usize,
    pub(crate) answers: VecDeque<(Caller, OpId, Outcome)>,
    pub(crate) events: VecDeque<(SubscriberId, Event)>,
    pub(crate) effects: Effects,
    /// When something that waits by key is let out, by slot.
    pub(crate) conflation_timers: BTreeSet<(Time, u32)>,
    /// Slots of subscribers with a replay, who take turns.
    pub(crate) replaying: VecDeque<u32>,
    pub(crate) checks: Checks,
    pub(crate) watchers: Watchers,
    pub(crate) named: Named,
    pub(crate) gathers: Gathers,
    /// What is to be done to this shard's sessions. Bounded by the turn, at whose end it is done.
    pub(crate) controls: VecDeque<ControlRequest>,
    /// An empty list, for the next letters.
    pub(crate) routed: Vec<(ShardId, Letter)>,
    pub(crate) publications: u64,
    overflows: u64,
    pub(crate) losses: u64,
}

impl<B: Broker + History> Shard<B> {
    /// An empty shard.
    pub fn new(config: ShardConfig, broker: B) -> Self {
        Self {
            config,
            homes: Homes::new(broker, &config),
            roster: Roster::default(),
            subscribers: Slab::new(),
            next_serial: config.first_serial,
            outgoing: (0..config.shards).map(|_| Outgoing::new(config.mailbox_bytes)).collect(),
            unanswered: 0,
            answers: VecDeque::new(),
            events: VecDeque::new(),
            effects: Effects::new(config.portions.trace),
            conflation_timers: BTreeSet::new(),
            replaying: VecDeque::new(),
            checks: Checks::default(),
            watchers: Watchers::default(),
            named: Named::new(),
            gathers: Gathers::default(),
            controls: VecDeque::new(),
            routed: Vec::new(),
            publications: 0,
            overflows: 0,
            losses: 0,
        }
    }

    /// Adds a subscriber whose bytes have this format. Its session's name is new.
    pub fn open(&mut self, app: &Arc<App>, format: WireFormat) -> (SubscriberId, SessionId) {
        let session = SessionId { node: self.config.node, shard: self.config.id.0, serial: self.next_serial };
        self.next_serial += 1;
        let slot = self.subscribers.insert(Subscriber::new(app, format, session));
        self.trace(slot);
        (SubscriberId { slot: u32::try_from(slot).unwrap_or(u32::MAX), serial: session.serial }, session)
    }

    /// Removes a subscriber: its subscriptions end, what waits for it is freed.
    pub fn close(&mut self, now: Time, id: SubscriberId) {
        let Some(subscriber) = self.subscriber(id) else { return };
        subscriber.closing = true;
        subscriber.lost = true;
        subscriber.outbox.clear();
        self.finish_closing(now, id);
    }

    /// Subscribes. Answered by [`poll_answer`](Self::poll_answer).
    pub fn subscribe(
        &mut self,
        now: Time,
        id: SubscriberId,
        op: OpId,
        app: &Arc<App>,
        key: ChannelKey,
        request: SubscribeRequest,
    ) {
        let kind = RequestKind::Subscribe(Box::new(request));
        self.request(now, Caller::Subscriber(id), op, app, key, kind);
    }

    /// Ends a subscription; `member` as it was given when it began.
    pub fn unsubscribe(
        &mut self,
        now: Time,
        id: SubscriberId,
        op: OpId,
        app: &Arc<App>,
        key: ChannelKey,
        member: Option<Arc<Member>>,
    ) {
        let kind = RequestKind::Unsubscribe { answer: true, member };
        self.request(now, Caller::Subscriber(id), op, app, key, kind);
    }

    /// Publishes.
    #[expect(clippy::too_many_arguments, reason = "a publication's parts have no life of their own before the broker")]
    pub fn publish(
        &mut self,
        now: Time,
        caller: Caller,
        op: OpId,
        app: &Arc<App>,
        key: ChannelKey,
        publish: Publish,
        publisher: Option<ClientInfo>,
        exclude: Option<SessionId>,
    ) {
        self.request(now, caller, op, app, key, RequestKind::Publish { publish, publisher, exclude });
    }

    /// Asks who is on a channel; with a limit of 0, only how many.
    pub fn presence(
        &mut self,
        now: Time,
        caller: Caller,
        op: OpId,
        app: &Arc<App>,
        key: ChannelKey,
        limit: Option<usize>,
    ) {
        self.request(now, caller, op, app, key, RequestKind::Presence { limit });
    }

    /// Asks what was published.
    #[expect(clippy::too_many_arguments, reason = "a question's parts have no life of their own")]
    pub fn history(
        &mut self,
        now: Time,
        caller: Caller,
        op: OpId,
        app: &Arc<App>,
        key: ChannelKey,
        from: ReadFrom,
        limit: usize,
    ) {
        self.request(now, caller, op, app, key, RequestKind::History { from, limit });
    }

    /// The next answer.
    pub fn poll_answer(&mut self) -> Option<(Caller, OpId, Outcome)> {
        self.answers.pop_front()
    }

    /// The next event for a subscriber, to be told after its answers and before [`end_turn`](Self::end_turn) is called again.
    pub fn poll_event(&mut self) -> Option<(SubscriberId, Event)> {
        if self.events.is_empty() {
            // To tell of a loss may have cost another.
            self.report_dropped();
        }
        self.events.pop_front()
    }

    /// Lets replays go on. What is complete becomes an event; tell it before [`end_turn`](Self::end_turn).
    pub fn continue_replays(&mut self, encode: &mut dyn Encode) {
        for _ in 0..self.replaying.len() {
            let Some(slot) = self.replaying.pop_front() else { return };
            let run_bytes = self.config.portions.run_bytes;
            let (roster, subscribers) = (&mut self.roster, &mut self.subscribers);
            let complete = fanout::replay(slot, run_bytes, roster, subscribers, encode, &mut self.effects);
            let Some(subscriber) = self.subscribers.get(slot as usize) else { continue };
            let id = subscriber.id(slot);
            if subscriber.replaying {
                self.replaying.push_back(slot);
            }
            for number in complete {
                if let Some(channel) = self.roster.channels.get(number as usize) {
                    self.events.push_back((id, Event::CaughtUp { channel: channel.key.channel.clone() }));
                }
            }
        }
    }

    /// Fans out what came in since. Returns whether more is left for another turn, after the outboxes were flushed.
    pub fn end_turn(&mut self, now: Time, encode: &mut dyn Encode) -> bool {
        self.effects.now = now;
        // What was on its way when somebody subscribed by name comes before what comes that way.
        self.deliver_to_watchers(now, encode);
        let more = fanout::fan_out(&mut self.roster, &mut self.subscribers, &self.config, encode, &mut self.effects);
        self.let_out(now, encode);
        self.report_lost();
        self.report_dropped();
        more || self.has_replay_with_room()
    }

    /// Whether a replay, or what waits by key, waits for nothing but another turn.
    pub fn has_replay_with_room(&self) -> bool {
        let has_room = |slot: &u32| {
            self.subscribers
                .get(*slot as usize)
                .is_some_and(|subscriber| subscriber.outbox.room_for_replay() > 0 && !subscriber.lost)
        };
        self.replaying.iter().any(has_room) || self.has_conflated_with_room()
    }

    /// The same for one subscriber, whose outbox has just been drained.
    pub fn goes_on_with_room(&self, id: SubscriberId) -> bool {
        self.subscribers.get(id.slot as usize).is_some_and(|subscriber| {
            !subscriber.lost
                && (subscriber.replaying && subscriber.outbox.room_for_replay() > 0
                    || subscriber.conflating && !is_behind(subscriber))
        })
    }

    /// Whether the session of a subscriber that the hub still has is ending, or its outbox overflowed.
    pub fn is_given_up(&self, id: SubscriberId) -> bool {
        self.subscribers.get(id.slot as usize).is_some_and(|subscriber| subscriber.lost)
    }

    /// Whether the shard has taken in more than it gets rid of: take no more input until it has not.
    pub fn is_congested(&self) -> bool {
        self.roster.pending_bytes > self.config.portions.pending_bytes_max || self.homes.broker.is_congested()
    }

    /// Whether so much that was asked here is unanswered that nobody shall ask more. Mail, which brings the answers, is taken all the same: two shards that
    /// wait for each other would wait for ever.
    pub fn is_waiting(&self) -> bool {
        self.unanswered >= self.config.portions.unanswered_bytes_max
    }

    /// Whether whoever asks now shall have its answers before it asks again, so that a few do not bring it to where everybody waits.
    pub fn is_strained(&self) -> bool {
        self.unanswered >= self.config.portions.unanswered_bytes_max / 2
    }

    /// Queues an answer's or event's bytes for a subscriber.
    pub fn push(&mut self, id: SubscriberId, encoded: Encoded) {
        if let Some(subscriber) = self.subscribers.get_mut(id.slot as usize)
            && subscriber.session.serial == id.serial
        {
            fanout::push_event(subscriber, id.slot, encoded, &mut self.effects);
        }
    }

    /// Has the driver look at a subscriber even if nothing was pushed.
    pub fn mark_dirty(&mut self, id: SubscriberId) {
        if let Some(subscriber) = self.subscribers.get_mut(id.slot as usize)
            && subscriber.session.serial == id.serial
        {
            fanout::mark_dirty(subscriber, id.slot, &mut self.effects);
        }
    }

    /// Lets a subscriber that was given up be told so. Nothing else waits for it any more.
    pub fn reopen_for_last_words(&mut self, id: SubscriberId) {
        if let Some(subscriber) = self.subscriber(id)
            && subscriber.lost
        {
            subscriber.outbox.clear_for_last_words();
            subscriber.lost = false;
        }
    }

    /// Takes nothing more for a subscriber whose session is ending.
    pub fn give_up(&mut self, id: SubscriberId) {
        if let Some(subscriber) = self.subscriber(id) {
            subscriber.lost = true;
        }
    }

    /// The next subscriber with something to write.
    pub fn poll_dirty(&mut self) -> Option<SubscriberId> {
        loop {
            let slot = self.effects.dirty.pop()?;
            if let Some(subscriber) = self.subscribers.get_mut(slot as usize)
                && core::mem::take(&mut subscriber.dirty)
            {
                return Some(subscriber.id(slot));
            }
        }
    }

    /// The next subscriber whose outbox overflowed. Its session must end.
    pub fn poll_overflowed(&mut self) -> Option<SubscriberId> {
        let slot = self.effects.overflowed.pop()?;
        self.overflows += 1;
        self.subscribers.get(slot as usize).map(|subscriber| subscriber.id(slot))
    }

    /// A subscriber's outbox, to be drained into its socket.
    pub fn outbox(&mut self, id: SubscriberId) -> Option<&mut Outbox> {
        self.subscriber(id).map(|subscriber| &mut subscriber.outbox)
    }

    /// The same where nothing but the outbox needs a look: the session is not ending, and nothing waits for room in it.
    #[inline]
    pub fn usual_outbox(&mut self, id: SubscriberId) -> Option<&mut Outbox> {
        let usual = |subscriber: &&mut Subscriber| !subscriber.lost && !subscriber.replaying && !subscriber.conflating;
        self.subscriber(id).filter(usual).map(|subscriber| &mut subscriber.outbox)
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        let conflated = self.conflation_timers.first().map(|(at, _)| *at);
        let replayed = self.effects.replayed.poll_timeout();
        [self.homes.poll_timeout(), conflated, replayed, self.checks.poll_timeout()].into_iter().flatten().min()
    }

    /// Forgets what is too old.
    pub fn handle_timeout(&mut self, now: Time) {
        self.wake_conflated(now);
        self.effects.replayed.handle_timeout(now);
        self.homes.handle_timeout(now);
        self.check_positions(now);
        self.route(now);
    }

    /// The next request of the broker to its backend. Call it when the way there has room.
    pub fn poll_broker_request(&mut self) -> Option<B::Request> {
        self.homes.broker.poll_request()
    }

    /// The broker's backend has answered.
    pub fn handle_broker_reply(&mut self, now: Time, reply: B::Reply) {
        self.homes.broker.handle_reply(now, reply);
        self.homes.drain_broker(now);
        self.route(now);
    }

    /// What the applications' servers shall be told. Call it when the way there has room.
    pub fn take_notices(&mut self) -> NoticeBatch {
        self.homes.herald.take()
    }

    /// Clients leave from now on because the process ends, and the next one will know what was told: nobody is told as gone.
    pub fn keep_told(&mut self) {
        self.homes.herald.end();
    }

    /// Whether there is something to tell.
    pub fn has_notices(&self) -> bool {
        self.homes.herald.has_notices()
    }

    /// Counters and gauges.
    pub fn stats(&self) -> ShardStats {
        ShardStats {
            channels: self.homes.len() as u64,
            subscribers: self.subscribers.len() as u64,
            deliveries: self.effects.deliveries,
            publications: self.publications,
            overflows: self.overflows,
            losses: self.losses,
        }
    }

    /// What waits here now. It looks at every subscriber.
    pub fn backlog(&self) -> Backlog {
        let (pending, unanswered) = (self.roster.pending_bytes, self.unanswered);
        let mut backlog = Backlog { pending, unanswered, ..Backlog::default() };
        for (_, subscriber) in &self.subscribers {
            backlog.outbox_max = backlog.outbox_max.max(subscriber.outbox.len());
            let conflated = subscriber.conflation.as_ref().map_or(0, |conflation| conflation.bytes);
            backlog.conflated_max = backlog.conflated_max.max(conflated);
            let replays = subscriber.subscriptions.iter().filter_map(|subscription| subscription.replay.as_ref());
            backlog.replay_max = replays.map(|replay| replay.bytes).fold(backlog.replay_max, usize::max);
        }
        for outgoing in &self.outgoing {
            backlog.mail_max = backlog.mail_max.max(outgoing.bytes());
            backlog.letters_max = backlog.letters_max.max(outgoing.len());
        }
        backlog
    }

    /// Channels with subscribers on this shard.
    pub fn local_channels(&self) -> usize {
        self.roster.len()
    }

    pub(crate) fn subscriber(&mut self, id: SubscriberId) -> Option<&mut Subscriber> {
        self.subscribers.get_mut(id.slot as usize).filter(|subscriber| subscriber.session.serial == id.serial)
    }

    pub(crate) fn request(
        &mut self,
        now: Time,
        caller: Caller,
        op: OpId,
        app: &Arc<App>,
        key: ChannelKey,
        kind: RequestKind,
    ) {
        if let Caller::Subscriber(id) = caller {
            let Some(subscriber) = self.subscriber(id) else { return };
            subscriber.pending += 1;
        }
        let bytes = kind.cost();
        self.unanswered += bytes as usize;
        let from = ReturnAddress { shard: self.config.id, caller, op, bytes };
        self.send_home(now, Request { key, app: Arc::clone(app), from, kind });
    }
}
