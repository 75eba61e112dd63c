//! Channels at their home shard: which shards subscribe, who is there, and what is behind.
//!
//! Owns the order between a subscription and the publications around it. Knows nothing of subscribers but the shard they are on.

use crate::address::{Caller, ChannelKey, ReturnAddress, ShardId};
use crate::broker::{Broker, BrokerEvent, ControlRequest, History, Load, PublishRequest, Read, Slice};
use crate::herald::Herald;
use crate::mail::{Letter, Reply, Request, RequestKind, SubscribeRequest, Subscribed};
use crate::occupancy::{Listing, Names};
use crate::patterns::Watched;
use crate::presence::{Joined, Left, Member, Members};
use crate::settings::ShardConfig;
use crate::trace::Ring;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{
    App, ChannelName, ChannelOptions, Happened, NoticeKinds, Occupancy, Outcome, Position, PresenceChange,
    PresenceCount, Publication, ReadFrom, Reject, RejectCode, SessionId, Since, Time, UserId, What,
};

/// The channels whose home is this shard.
#[derive(Debug)]
pub(crate) struct Homes<B> {
    pub(crate) broker: B,
    channels: HashMap<ChannelKey, Home, foldhash::fast::RandomState>,
    names: Names,
    pub(crate) watched: Watched,
    pub(crate) herald: Herald,
    /// This node, for the names of sessions.
    node: u32,
    /// Users whose grace ends then, unless they have returned.
    leaving: BTreeSet<(Time, ChannelKey, UserId)>,
    /// What waits for a channel to be loaded, in order. Bounded by the operations that sessions may have pending.
    loading: HashMap<ChannelKey, Vec<Request>, foldhash::fast::RandomState>,
    /// What is to be sent, in order; to this shard too.
    pub(crate) letters: Vec<(ShardId, Letter)>,
    /// What the broker has announced for sessions.
    pub(crate) controls: Vec<ControlRequest>,
    /// Deliveries from history to a shard that is behind, in bytes a turn.
    catch_up_bytes: usize,
    /// What happened to publications here.
    pub(crate) trace: Ring,
}

#[derive(Debug)]
struct Home {
    options: Arc<ChannelOptions>,
    feeds: SmallVec<[Feed; 2]>,
    members: Members,
    /// The last offset that was published while somebody subscribed; 0 if none was.
    published: u64,
}

/// One shard that subscribes to the channel.
#[derive(Debug)]
struct Feed {
    shard: ShardId,
    subscriptions: u32,
    /// The last offset that was sent to it.
    sent: u64,
    /// It gets the rest from history as its mailbox has room.
    behind: bool,
}

/// What one answer to `history` holds, in bytes of publications.
const HISTORY_BYTES_MAX: usize = 256 * 1024;
/// The most publications of one answer to `history`.
const HISTORY_LIMIT_MAX: usize = 1_000;

impl<B: Broker + History> Homes<B> {
    pub(crate) fn new(broker: B, config: &ShardConfig) -> Self {
        let portions = &config.portions;
        Self {
            broker,
            channels: HashMap::default(),
            names: Names::default(),
            loading: HashMap::default(),
            watched: Watched::default(),
            herald: Herald::new(portions.notice_bytes_max),
            node: config.node,
            leaving: BTreeSet::new(),
            letters: Vec::new(),
            controls: Vec::new(),
            catch_up_bytes: portions.catch_up_bytes,
            trace: Ring::new(portions.trace.steps),
        }
    }

    /// Answers a request, now or when its channel is loaded. What comes behind one that waits waits too, so that nobody is unsubscribed before being subscribed.
    pub(crate) fn handle(&mut self, now: Time, request: Request) {
        if let Some(waiting) = self.loading.get_mut(&request.key) {
            return waiting.push(request);
        }
        if request.kind.reads() && self.broker.load(now, &request.key) == Load::Pending {
            self.loading.insert(request.key.clone(), vec![request]);
        } else {
            self.carry_out(now, request);
        }
    }

    /// What waited for the channel goes on. Where it cannot be had, what needs it is refused.
    fn loaded(&mut self, now: Time, key: &ChannelKey, result: &Result<(), Reject>) {
        let mut waiting = self.loading.remove(key).unwrap_or_default().into_iter();
        while let Some(request) = waiting.next() {
            match result {
                Err(reject) if request.kind.reads() => self.reply(request.from, Outcome::Rejected(reject.clone())),
                // One before it let the channel go.
                Ok(()) if request.kind.reads() && self.broker.load(now, key) == Load::Pending => {
                    self.loading.insert(key.clone(), core::iter::once(request).chain(waiting).collect());
                    return;
                }
                _ => self.carry_out(now, request),
            }
        }
    }

    fn carry_out(&mut self, now: Time, request: Request) {
        let Request { key, app, from, kind } = request;
        let reply = match kind {
            RequestKind::Subscribe(request) => {
                Reply::Subscribed(Box::new(self.subscribe(now, &app, key, from.shard, request)))
            }
            RequestKind::Unsubscribe { answer, member } => {
                self.herald.ignores(&app);
                self.unsubscribe(now, &key, from.shard, member.as_deref());
                if !answer {
                    return;
                }
                Reply::Unsubscribed { key }
            }
            RequestKind::Publish { publish, publisher, exclude } => {
                self.herald.ignores(&app);
                let origin = Some(from);
                if let Some(id) = publish.id.as_ref().filter(|_| self.trace.is_on()) {
                    let what = What::Asked { id: Arc::clone(id) };
                    self.trace.add_asked(now, Some(&key), None, (origin, self.node), what);
                }
                self.broker.publish(now, PublishRequest { key, app, publish, publisher, exclude, origin });
                self.drain_broker(now);
                return;
            }
            RequestKind::Presence { limit } => {
                let members = self.channels.get(&key).map(|home| &home.members);
                let limit = limit.unwrap_or(usize::MAX).min(app.limits.presence_users);
                let users = members.map_or_else(Vec::new, |members| members.snapshot(limit));
                let (total, connections) = members.map_or((0, 0), |members| (members.users(), members.connections()));
                Reply::Outcome(Outcome::Presence { channel: key.channel, users, total, connections })
            }
            RequestKind::Channel => Reply::Outcome(self.channel(now, &app, &key)),
            RequestKind::History { from, limit } => Reply::Outcome(self.history(now, key, from, limit)),
        };
        self.letters.push((from.shard, Letter::Reply { to: from, reply }));
    }

    /// One step: what was missed is read and the shard registered at the same moment, so nothing falls between replay and live.
    fn subscribe(
        &mut self,
        now: Time,
        app: &Arc<App>,
        key: ChannelKey,
        shard: ShardId,
        request: Box<SubscribeRequest>,
    ) -> Subscribed {
        let position = self.broker.retain(&key);
        let mut missed = request.since.map(|since| self.broker.read(now, &key, Read::all(ReadFrom::After(since))).ok());
        if is_planted(Canary::ReadBeforeRegistering)
            && let Some(Some(slice)) = &mut missed
        {
            slice.publications.retain(|publication| publication.timestamp < now);
        }
        let home = self.channels.entry_ref(&key).or_insert_with(|| {
            self.names.insert(&key);
            Home::new(app, &key)
        });
        if home.feeds.is_empty() {
            // Who is in the grace keeps the home, but not the channel's epoch: what was published before may be of another.
            home.published = 0;
        }
        match home.feeds.iter_mut().find(|feed| feed.shard == shard) {
            Some(feed) => feed.subscriptions += 1,
            None => home.feeds.push(Feed { shard, subscriptions: 1, sent: position.offset, behind: false }),
        }
        let users_max = home.options.presence_members;
        let recovered = missed.as_ref().map(Option::is_some);
        let wants_cached = (request.cached || home.options.cache) && recovered != Some(true) && !request.only_presence;
        let told = !self.herald.ignores(app);
        if told {
            self.herald.subscribed(now, &key, home.subscribers());
        }
        if let Some(member) = &request.member {
            match home.members.join(member, users_max) {
                Joined::Nothing => {}
                Joined::Came(change) => {
                    announce(&mut self.letters, home, &key, &change);
                    self.herald.member(now, &key, true, change.user);
                }
                // Else whoever comes and goes leaves an entry behind each time.
                Joined::Returned(leaves) => _ = self.leaving.remove(&(leaves, key.clone(), member.user.clone())),
            }
        }
        let cached = wants_cached.then(|| self.broker.cached(now, &key)).flatten();
        if wants_cached && cached.is_none() {
            self.herald.tell(now, &key, Happened::CacheMiss);
        }
        if told {
            self.herald.count(now, &key);
        }
        Subscribed {
            position,
            recovered,
            cached,
            missed: missed.flatten().map_or_else(Vec::new, |slice| slice.publications),
            users: request.presence.then(|| home.members.snapshot(app.limits.presence_users)),
            presence_serial: if request.presence { home.members.serial() } else { u64::MAX },
            key,
            request,
        }
    }

    fn unsubscribe(&mut self, now: Time, key: &ChannelKey, shard: ShardId, member: Option<&Member>) {
        let Some(home) = self.channels.get_mut(key) else { return };
        if let Some(index) = home.feeds.iter().position(|feed| feed.shard == shard)
            && let Some(feed) = home.feeds.get_mut(index)
        {
            feed.subscriptions -= 1;
            if feed.subscriptions == 0 && !is_planted(Canary::FeedLeft) {
                home.feeds.swap_remove(index);
            }
        }
        if let Some(member) = member {
            match home.members.leave(now, member, home.options.presence_grace) {
                Left::Nothing => {}
                Left::Gone(change) => {
                    announce(&mut self.letters, home, key, &change);
                    self.herald.member(now, key, false, change.user);
                }
                Left::Later(at) => _ = self.leaving.insert((at, key.clone(), member.user.clone())),
            }
        }
        let present = if home.members.is_empty() { now } else { now + home.options.presence_grace };
        self.herald.unsubscribed(now, key, home.subscribers(), present);
        if home.feeds.is_empty() {
            // Whoever is in the grace is still present, even if nobody is there to see it.
            if home.members.is_empty() {
                self.forget(key);
            }
            self.broker.release(now, key);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let leaving = self.leaving.first().map(|(at, ..)| *at);
        let told = self.herald.poll_timeout();
        [self.broker.poll_timeout(), leaving, told].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.broker.handle_timeout(now);
        while let Some((at, ..)) = self.leaving.first()
            && *at <= now
        {
            let Some((_, key, user)) = self.leaving.pop_first() else { break };
            let Some(home) = self.channels.get_mut(&key) else { continue };
            if let Some(change) = home.members.expire(now, &user) {
                announce(&mut self.letters, home, &key, &change);
                self.herald.member(now, &key, false, change.user);
            }
            if home.feeds.is_empty() && home.members.is_empty() {
                self.forget(&key);
            }
        }
        // Behind the users who leave now.
        self.herald.handle_timeout(now);
        self.drain_broker(now);
    }

    fn forget(&mut self, key: &ChannelKey) {
        self.channels.remove(key);
        self.names.remove(key);
    }

    fn history(&mut self, now: Time, key: ChannelKey, from: ReadFrom, limit: usize) -> Outcome {
        let read = Read { from, limit: limit.min(HISTORY_LIMIT_MAX), bytes: HISTORY_BYTES_MAX };
        let slice = self.broker.read(now, &key, read);
        let position = self.broker.position(&key);
        match slice {
            Ok(Slice { publications, more }) => Outcome::History { channel: key.channel, position, publications, more },
            Err(_) => {
                let message = format!("the history of channel '{}' from this position on is gone", key.channel);
                Outcome::Rejected(Reject::new(RejectCode::HistoryLost, message).at(position))
            }
        }
    }

    fn channel(&self, now: Time, app: &App, key: &ChannelKey) -> Outcome {
        let position = self.broker.position(key);
        let cached = self.broker.cached(now, key);
        let occupancy = match self.channels.get(key) {
            Some(home) => home.occupancy(&key.channel),
            None => Home::new(app, key).occupancy(&key.channel),
        };
        Outcome::Channel { occupancy, position, cached }
    }

    /// The occupied channels that were asked for, and one more if there are others.
    pub(crate) fn occupied(&self, listing: &Listing) -> Vec<Occupancy> {
        let homes = self.names.find(listing).filter_map(|name| {
            let key = ChannelKey::new(listing.app.clone(), name.clone());
            self.channels.get(&key).map(|home| home.occupancy(name))
        });
        // Whoever is in the grace is present, and yet nobody subscribes.
        let occupied = homes.filter(|known| known.is_occupied() || is_planted(Canary::GraceListed));
        occupied.take(listing.limit + usize::from(!is_planted(Canary::ListEndsEarly))).collect()
    }

    /// Takes what the broker has ordered to whoever subscribes and to whoever asked.
    pub(crate) fn drain_broker(&mut self, now: Time) {
        while let Some(event) = self.broker.poll_event() {
            match event {
                BrokerEvent::Published { key, publication, origin } => {
                    let mut shards = 0;
                    if let Some(home) = self.channels.get_mut(&key) {
                        home.published = publication.position.offset;
                        shards = home.feeds.len();
                        deliver(&mut self.letters, home, &key, &publication);
                    }
                    let what = What::Published { shards: u16::try_from(shards).unwrap_or(u16::MAX) };
                    self.trace.add_asked(now, Some(&key), Some(publication.position), (origin, self.node), what);
                    for shard in self.watched.shards(&key) {
                        let (key, publication) = (key.clone(), Arc::clone(&publication));
                        self.letters.push((shard, Letter::DeliverWatched { key, publication }));
                    }
                    self.tell_published(now, &key, &publication, origin);
                    if let Some(to) = origin {
                        let (channel, position) = (key.channel, publication.position);
                        self.reply(to, Outcome::Published { channel, position, duplicate: false });
                    }
                }
                BrokerEvent::Duplicate { key, position, origin: Some(to) } => {
                    let by = (Some(to), self.node);
                    self.trace.add_asked(now, Some(&key), Some(position), by, What::Duplicate);
                    self.reply(to, Outcome::Published { channel: key.channel, position, duplicate: true });
                }
                BrokerEvent::Control(request) => self.controls.push(request),
                BrokerEvent::Loaded { key, result } => self.loaded(now, &key, &result),
                BrokerEvent::Refused { origin: Some(to), reject } => {
                    let what = What::Refused { code: reject.code };
                    self.trace.add_asked(now, None, None, (Some(to), self.node), what);
                    self.reply(to, Outcome::Rejected(reject));
                }
                BrokerEvent::Duplicate { origin: None, .. } | BrokerEvent::Refused { origin: None, .. } => {}
            }
        }
    }

    /// What clients publish is told, what the application publishes itself is not.
    fn tell_published(
        &mut self,
        now: Time,
        key: &ChannelKey,
        publication: &Publication,
        origin: Option<ReturnAddress>,
    ) {
        let Some(ReturnAddress { shard, caller: Caller::Subscriber(id), .. }) = origin else { return };
        if !self.herald.wants(key, NoticeKinds::CLIENT_EVENT) {
            return;
        }
        let event = Happened::ClientEvent {
            event: publication.event.clone(),
            payload: publication.payload.clone(),
            publisher: publication.publisher.as_ref().map(|publisher| publisher.user.clone()),
            session: Some(SessionId { node: self.node, shard: shard.0, serial: id.serial }),
        };
        self.herald.tell(now, key, event);
    }

    /// Takes counts of subscribers to the shards that have some.
    pub(crate) fn send_counts(&mut self) {
        while let Some((key, count)) = self.herald.poll_count() {
            let Some(home) = self.channels.get(&key) else { continue };
            for feed in &home.feeds {
                self.letters.push((feed.shard, Letter::Count { key: key.clone(), count }));
            }
        }
    }

    fn reply(&mut self, to: ReturnAddress, outcome: Outcome) {
        self.letters.push((to.shard, Letter::Reply { to, reply: Reply::Outcome(outcome) }));
    }

    /// Up to which offset a shard must have been sent everything by now, if that can be said.
    pub(crate) fn published(&self, key: &ChannelKey, shard: ShardId) -> Option<u64> {
        let home = self.channels.get(key)?;
        let feed = home.feeds.iter().find(|feed| feed.shard == shard)?;
        (!feed.behind && home.published > 0).then_some(home.published)
    }

    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// A delivery found no room. Returns whether the channel was not already behind for that shard.
    pub(crate) fn fall_behind(&mut self, key: &ChannelKey, shard: ShardId, offset: u64) -> bool {
        let Some(feed) = self.feed(key, shard) else { return false };
        let first = !feed.behind;
        if first {
            feed.behind = true;
            feed.sent = offset - 1;
        }
        first
    }

    /// Whether deliveries to the shard must wait for history.
    pub(crate) fn is_behind(&mut self, key: &ChannelKey, shard: ShardId) -> bool {
        self.feed(key, shard).is_some_and(|feed| feed.behind)
    }

    /// What a shard that is behind gets next, and whether that is all.
    pub(crate) fn catch_up(&mut self, now: Time, key: &ChannelKey, shard: ShardId) -> (Vec<Letter>, bool) {
        let mut letters = Vec::new();
        let position = self.broker.position(key);
        let Some(sent) = self.feed(key, shard).filter(|feed| feed.behind).map(|feed| feed.sent) else {
            return (letters, true);
        };
        let mut from = Position { offset: sent, ..position };
        let bytes = self.catch_up_bytes;
        let read = |from| Read { from: ReadFrom::After(Since::Position(from)), limit: usize::MAX, bytes };
        let slice = self.broker.read(now, key, read(from)).or_else(|lost| {
            // Bounded memory has let go what the shard was still to get: say which.
            let to = lost.complete_after.unwrap_or(position.offset);
            letters.push(Letter::Gap { key: key.clone(), from: sent + 1, to });
            self.trace.add(now, key, (sent + 1, to), None, What::Trimmed { shard: shard.0 });
            from.offset = to;
            self.broker.read(now, key, read(from))
        });
        let slice = slice.unwrap_or_default();
        let last = slice.publications.last().map_or(from.offset, |publication| publication.position.offset);
        if last > from.offset {
            self.trace.add(now, key, (from.offset + 1, last), None, What::CaughtUp { shard: shard.0 });
        }
        letters.extend(
            slice.publications.into_iter().map(|publication| Letter::Deliver { key: key.clone(), publication }),
        );
        if let Some(feed) = self.feed(key, shard) {
            feed.sent = last;
            feed.behind = slice.more || is_planted(Canary::BehindForever);
        }
        (letters, !slice.more)
    }

    fn feed(&mut self, key: &ChannelKey, shard: ShardId) -> Option<&mut Feed> {
        self.channels.get_mut(key)?.feeds.iter_mut().find(|feed| feed.shard == shard)
    }
}

impl Home {
    fn new(app: &App, key: &ChannelKey) -> Self {
        let options = Arc::clone(app.channels.of(&key.channel));
        Self { options, feeds: SmallVec::new(), members: Members::default(), published: 0 }
    }

    fn subscribers(&self) -> u64 {
        self.feeds.iter().map(|feed| u64::from(feed.subscriptions)).sum()
    }

    fn occupancy(&self, channel: &ChannelName) -> Occupancy {
        let by_shard = is_planted(Canary::ShardsCounted);
        Occupancy {
            channel: channel.clone(),
            subscribers: if by_shard { self.feeds.len() as u64 } else { self.subscribers() },
            presence: self
                .options
                .presence
                .then(|| PresenceCount { users: self.members.users(), connections: self.members.connections() }),
        }
    }
}

fn deliver(letters: &mut Vec<(ShardId, Letter)>, home: &Home, key: &ChannelKey, publication: &Arc<Publication>) {
    for feed in &home.feeds {
        letters.push((feed.shard, Letter::Deliver { key: key.clone(), publication: Arc::clone(publication) }));
    }
}

fn announce(letters: &mut Vec<(ShardId, Letter)>, home: &Home, key: &ChannelKey, change: &PresenceChange) {
    if !home.options.join_leave {
        return;
    }
    for feed in &home.feeds {
        letters.push((feed.shard, Letter::Presence { key: key.clone(), change: change.clone() }));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{MemoryBroker, Portions, SubscriberId};
    use core::time::Duration;
    use switchboard_core::{AppId, Channels, OpId};

    /// A user that comes and goes all the time leaves nothing behind but the end of the last grace.
    #[test]
    fn who_returns_within_the_grace_leaves_no_entry() {
        let portions = Portions::default();
        let config =
            ShardConfig { id: ShardId(0), shards: 1, node: 0, first_serial: 1, mailbox_bytes: 1 << 20, portions };
        let mut homes = Homes::new(MemoryBroker::new(7, usize::MAX), &config);
        let options = ChannelOptions { presence_grace: Duration::from_secs(60), ..ChannelOptions::default() };
        let app = Arc::new(App { channels: Channels::new(options), ..App::new(AppId::new("app")) });
        let key = ChannelKey::new(app.id.clone(), ChannelName::parse("c").unwrap());
        let (user, mut now) = (UserId::parse("ann").unwrap(), Time::from_secs(1));
        for serial in 0..100 {
            let client = SessionId { node: 0, shard: 0, serial };
            let member = Some(Arc::new(Member { user: user.clone(), client, info: None }));
            let caller = Caller::Subscriber(SubscriberId { slot: 0, serial });
            let from = ReturnAddress { shard: ShardId(0), caller, op: OpId(0), bytes: 0 };
            let subscribe = Box::new(SubscribeRequest { member: member.clone(), ..SubscribeRequest::default() });
            for kind in [RequestKind::Subscribe(subscribe), RequestKind::Unsubscribe { answer: false, member }] {
                homes.handle(now, Request { key: key.clone(), app: Arc::clone(&app), from, kind });
                now = now + Duration::from_millis(1);
            }
            assert_eq!(homes.leaving.len(), 1);
        }
        homes.handle_timeout(now + Duration::from_secs(60));
        assert_eq!((homes.leaving.len(), homes.len(), homes.names.is_empty()), (0, 0, true));
    }
}
