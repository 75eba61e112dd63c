//! The broker of one shard whose publications survive a restart.
//!
//! Owns order, conditions and what is on its way to the journal. What is kept it has in memory too ([`Logs`]), so reading never waits for a disk. Knows
//! nothing of files or threads: it writes requests to the [`Store`](crate::Store) and reads its replies.
//!
//! Under `fsync = always` a publication has a place from the moment it is taken, and is there (delivered, acknowledged, in history, the channel's
//! position) once it is committed. What follows it on the channel waits behind it: a duplicate of it, a comparison with its position, the next
//! publication. If it is refused, so is all that waits, and its offset is given to another. Under the other settings it is there at once, provided that its offset
//! is reserved on the disk; reservations are made in blocks ahead of need, and given back when a channel is quiet.

use crate::asking::{Asked, Asking, What};
use crate::record::{Cached, Kept};
use crate::recovery::RecoveredChannel;
use crate::store::{Fsync, Reply, ReplyKind, Request, RequestKind, StoreState};
use crate::waiting::{Queue, Spare, Waiting};
use core::sync::atomic::AtomicU64;
use core::time::Duration;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{CacheEffect, ChannelOptions, Epoch, Position, Publication, Reject, RejectCode, Since, Time};
use switchboard_hub::{
    Broker, BrokerEvent, ChannelKey, ControlRequest, Guarantees, History, HistoryLost, Logs, Loss, Placed,
    PublishRequest, Read, Restored, ReturnAddress, ShardId, Slice, shrink,
};

/// Orders publications and has the store keep them.
#[derive(Debug)]
pub struct DurableBroker {
    fsync: Fsync,
    logs: Logs,
    /// Channels that the journal knows, or will.
    channels: HashMap<ChannelKey, Durable, foldhash::fast::RandomState>,
    /// Channels that are forgotten here and may still be in the journal: after a crash they would be back, and what was published under their names meanwhile
    /// must not be missing then.
    forgetting: BTreeMap<ChannelKey, Forgetting>,
    events: VecDeque<BrokerEvent>,
    asking: Asking,
    state: StoreState,
    /// Queues for what will wait.
    spare: Spare,
    /// Channels with offsets in reserve, each at most once, by when to look whether they still need them.
    quiet: BTreeSet<(Time, ChannelKey)>,
}

/// A channel as the journal has it, and what is on the way.
#[derive(Debug, Default)]
struct Durable {
    /// The latest offset that the journal was told.
    told: Option<u64>,
    /// The same, as far as it has confirmed.
    confirmed: Option<u64>,
    /// The cached value that the journal was told.
    told_cached: Option<Cached>,
    /// Offsets through this one may be given away.
    reserved: u64,
    /// A reservation is on its way.
    reserving: bool,
    /// When something was last published.
    published: Time,
    /// Whether it stands in `quiet`.
    listed: bool,
    /// What waits; none if nothing does.
    queue: Option<Box<Queue>>,
}

/// A channel that the journal is to let go of.
#[derive(Debug)]
struct Forgetting {
    epoch: Epoch,
    /// It has been refused, and is asked again when the disk is well.
    refused: bool,
}

/// Offsets that are reserved together.
const RESERVE: u64 = 1_024;
/// How long a channel is quiet before its reservation is given back.
const QUIET: Duration = Duration::from_secs(10);
/// What a channel costs that the journal knows, besides its log, in bytes: its places here, among those that are quiet, and in the journal's index.
const CHANNEL_COST: usize = 1_136;
/// What a publication costs in the journal's index.
const PUBLICATION_COST: usize = 64;

impl DurableBroker {
    /// A broker for a shard. No two runs of a server may begin with the same `epoch` or near it: draw it at random. All channels of the shard together cost
    /// at most `bytes_max` bytes, with what the journal has of them in memory. `fsync` is the store's.
    pub fn new(shard: ShardId, fsync: Fsync, epoch: u64, bytes_max: usize) -> Self {
        let mut logs = Logs::new(epoch, bytes_max);
        logs.tell_losses();
        logs.charge_publications(PUBLICATION_COST);
        Self {
            fsync,
            logs,
            channels: HashMap::default(),
            forgetting: BTreeMap::new(),
            events: VecDeque::new(),
            asking: Asking::new(shard),
            state: StoreState::Writable,
            spare: Spare::default(),
            quiet: BTreeSet::new(),
        }
    }

    /// Takes back a channel that was found when the store was opened. It must be one whose home is this shard.
    pub fn restore(&mut self, now: Time, channel: RecoveredChannel) {
        let RecoveredChannel { key, epoch, head, complete_after, ttl, publications, ids, cached, .. } = channel;
        let mut known = Durable { told: Some(head), confirmed: Some(head), reserved: head, ..Durable::default() };
        known.told_cached =
            cached.as_ref().map(|(value, until)| Cached { offset: value.position.offset, until: *until });
        self.channels.insert(key.clone(), known);
        self.logs.charge_channel(&key, CHANNEL_COST);
        let position = Position { epoch, offset: head };
        let ttl = Duration::from_micros(ttl);
        let restored = Restored { position, complete_after, ttl, publications, ids, cached };
        self.logs.restore(now, &key, restored);
        self.report_losses();
    }

    /// Publications on their way to the journal have about so many bytes at most, in place of 8 MiB.
    pub fn bound_asked(&mut self, bytes_max: usize) {
        self.asking.asked_bytes_max = bytes_max;
    }

    /// All cached values together have at most so many bytes, in place of 32 MiB.
    pub fn bound_cached(&mut self, bytes_max: usize) {
        self.logs.bound_cached(bytes_max);
    }

    /// What all channels keep, in bytes; 0 once everything is forgotten.
    pub fn bytes(&self) -> usize {
        self.logs.bytes()
    }

    /// How many requests that want an answer there have been, for [`Store::close`](crate::Store::close).
    pub fn issued(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.asking.issued)
    }

    fn refuse(&mut self, origin: Option<ReturnAddress>) {
        let message = match self.state {
            StoreState::Writable => {
                "the publication could not be written to the history; it may be tried again".to_owned()
            }
            StoreState::Full => "the disk of the history is full: nothing is taken for channels with history until there is room".to_owned(),
            StoreState::Failed(_) => {
                "the disk of the history has failed: nothing is taken for channels with history until the server has been restarted".to_owned()
            }
        };
        self.events.push_back(BrokerEvent::Refused { origin, reject: Reject::new(RejectCode::Unavailable, message) });
    }

    /// What is answered or kept waiting in place of publishing, if the publication is a duplicate or its comparison fails.
    fn check(&mut self, now: Time, request: PublishRequest, id: Option<&str>) -> Option<PublishRequest> {
        let origin = request.origin;
        if let Some(position) = id.and_then(|id| self.logs.find_id(now, &request.key, id)) {
            self.events.push_back(BrokerEvent::Duplicate { key: request.key, position, origin });
            return None;
        }
        let place = self.logs.position(&request.key);
        let queue = self.channels.get_mut(&request.key).and_then(|channel| channel.queue.as_mut());
        let Some(queue) = queue else {
            if request.publish.if_position.is_some_and(|demanded| demanded != Since::Position(place)) {
                let place = self.logs.meet(now, &request.key);
                self.report_losses();
                self.events.push_back(BrokerEvent::Refused { origin, reject: request.conflict(place) });
                return None;
            }
            return Some(request);
        };
        if let Some(offset) = id.and_then(|id| queue.ids.get(id)) {
            let position = Position { offset: *offset, ..place };
            queue.waiting.push_back(Waiting::Duplicate { position, origin });
            return None;
        }
        let ahead = Position { offset: queue.last().unwrap_or(place.offset), ..place };
        if request.publish.if_position.is_some_and(|demanded| demanded != Since::Position(ahead)) {
            queue.waiting.push_back(Waiting::Conflict(Box::new(request)));
            return None;
        }
        Some(request)
    }

    fn publish_in_memory(&mut self, now: Time, request: PublishRequest, id: Option<Box<str>>) {
        let at = self.logs.enter(&request.key);
        let placed = request.place(now, Position { offset: at.offset + 1, ..at }, at.offset);
        self.publish_placed(placed, id);
    }

    /// It is there now.
    fn publish_placed(&mut self, placed: Placed, id: Option<Box<str>>) {
        self.events.push_back(keep(&mut self.logs, placed, id));
        self.report_losses();
    }

    fn publish_durably(&mut self, now: Time, request: PublishRequest, id: Option<Box<str>>) {
        let Self { fsync, logs, channels, asking, spare, .. } = self;
        let at = logs.enter(&request.key);
        let channel = channels.entry_ref(&request.key).or_insert_with(|| {
            logs.charge_channel(&request.key, CHANNEL_COST);
            Durable::default()
        });
        channel.published = now;
        let previous = channel.last_waiting().unwrap_or(at.offset);
        let offset = previous + 1;
        let placed = request.place(now, Position { offset, ..at }, previous);
        let waits = match fsync {
            Fsync::Always => !is_planted(Canary::AcknowledgedEarly),
            Fsync::Interval(_) | Fsync::Never => offset > channel.reserved || channel.queue.is_some(),
        };
        if !waits {
            channel.append(asking, logs, &placed, id.as_deref());
            let key = placed.key.clone();
            self.publish_placed(placed, id);
            return self.reserve_ahead(&key, offset);
        }
        let is_always = *fsync == Fsync::Always;
        let ticket = is_always.then(|| channel.append(asking, logs, &placed, id.as_deref()));
        let queue = channel.queue.get_or_insert_with(|| {
            logs.hold(&placed.key, true);
            spare.take()
        });
        if let Some(id) = &id {
            queue.ids.insert(id.clone(), offset);
        }
        let key = placed.key.clone();
        queue.waiting.push_back(Waiting::Publication { ticket, placed, id });
        if !is_always {
            self.reserve_ahead(&key, offset);
        }
    }

    /// Reserves more offsets before the last is given away.
    fn reserve_ahead(&mut self, key: &ChannelKey, offset: u64) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        if !channel.listed {
            channel.listed = true;
            self.quiet.insert((channel.published + QUIET, key.clone()));
        }
        if channel.reserving || channel.reserved >= offset.saturating_add(RESERVE / 2) {
            return;
        }
        channel.reserving = true;
        let through = offset.saturating_add(RESERVE);
        self.reserve(key.clone(), through, What::Reserve { through });
    }

    fn reserve(&mut self, key: ChannelKey, through: u64, what: What) {
        let Position { epoch, offset: head } = self.logs.position(&key);
        self.asking.reserve(key, epoch, head, through, what);
    }

    /// The store has done what it was asked, or refused.
    fn answered(&mut self, asked: Asked, refused: bool) {
        let Asked { ticket, key, what, .. } = asked;
        match what {
            What::Append { .. } if self.fsync != Fsync::Always => {}
            What::Append { .. } if refused => self.roll_back(&key, ticket),
            What::Append { offset } => {
                self.release(&key, Some(offset), |waiting| waiting.ticket() == Some(ticket));
            }
            What::GiveBack => {}
            What::Forget { epoch } => {
                let known = self.forgetting.get_mut(&key).filter(|forgetting| forgetting.epoch == epoch);
                match known {
                    Some(forgetting) if refused => forgetting.refused = true,
                    Some(_) => _ = self.forgetting.remove(&key),
                    None => {}
                }
            }
            What::Reserve { through } => {
                let Some(channel) = self.channels.get_mut(&key) else { return };
                channel.reserving = false;
                if refused {
                    return self.refuse_waiting(&key);
                }
                channel.reserved = through;
                self.release(&key, None, |waiting| waiting.offset() <= through);
                let last = self.channels.get(&key).and_then(Durable::last_waiting);
                if let Some(last) = last {
                    self.reserve_ahead(&key, last);
                }
            }
        }
    }

    /// Lets go what waits, from the front, as long as `is_ready` says so of publications. `confirmed` is what the journal has.
    fn release(&mut self, key: &ChannelKey, confirmed: Option<u64>, is_ready: impl Fn(&Waiting) -> bool) {
        let Self { fsync, logs, channels, asking, events, spare, .. } = self;
        let Some(channel) = channels.get_mut(key) else { return };
        channel.confirmed = confirmed.or(channel.confirmed);
        let Some(mut queue) = channel.queue.take() else { return };
        let ready = |waiting: &Waiting| !matches!(waiting, Waiting::Publication { .. }) || is_ready(waiting);
        while queue.waiting.front().is_some_and(ready) {
            match queue.waiting.pop_front() {
                Some(Waiting::Publication { placed, id, .. }) => {
                    if let Some(id) = &id {
                        queue.ids.remove(id);
                    }
                    if *fsync != Fsync::Always {
                        channel.append(asking, logs, &placed, id.as_deref());
                    }
                    events.push_back(keep(logs, placed, id));
                }
                Some(Waiting::Duplicate { position, origin }) => {
                    events.push_back(BrokerEvent::Duplicate { key: key.clone(), position, origin });
                }
                Some(Waiting::Conflict(request)) => {
                    let reject = request.conflict(logs.position(key));
                    events.push_back(BrokerEvent::Refused { origin: request.origin, reject });
                }
                None => break,
            }
        }
        if queue.waiting.is_empty() {
            spare.give_back(queue);
            logs.hold(key, false);
        } else {
            channel.queue = Some(queue);
        }
        self.report_losses();
    }

    /// One was refused: so is what waits behind it. It is the first that waits, unless it was given up together with one before it.
    fn roll_back(&mut self, key: &ChannelKey, ticket: u64) {
        let queue = self.channels.get(key).and_then(|channel| channel.queue.as_ref());
        if queue.is_some_and(|queue| queue.has(ticket)) {
            self.refuse_waiting(key);
        }
    }

    fn refuse_waiting(&mut self, key: &ChannelKey) {
        let cached = self.logs.cached_at(key).map(|(offset, until)| Cached { offset, until });
        let Some(channel) = self.channels.get_mut(key) else { return };
        (channel.told, channel.told_cached) = (channel.confirmed, cached);
        if let Some(mut queue) = channel.queue.take() {
            for waiting in core::mem::take(&mut queue.waiting) {
                self.refuse(waiting.origin());
            }
            self.spare.give_back(queue);
        }
        self.logs.hold(key, false);
    }

    /// Asks once more for what a disk that is well again has refused.
    fn forget_again(&mut self) {
        for (key, forgetting) in self.forgetting.iter_mut().filter(|(_, forgetting)| forgetting.refused) {
            forgetting.refused = false;
            self.asking.forget(key.clone(), forgetting.epoch);
        }
    }

    /// Gives back what quiet channels have in reserve: after a crash they have nothing to doubt then.
    fn release_quiet(&mut self, now: Time) {
        while let Some((due, _)) = self.quiet.first()
            && *due <= now
        {
            let Some((_, key)) = self.quiet.pop_first() else { return };
            let Some(channel) = self.channels.get_mut(&key) else { continue };
            let quiet_at = channel.published + QUIET;
            if quiet_at > now || channel.reserving || channel.queue.is_some() {
                self.quiet.insert((quiet_at.max(now + Duration::from_secs(1)), key));
                continue;
            }
            let head = self.logs.position(&key).offset;
            (channel.reserved, channel.listed) = (head, false);
            self.reserve(key, head, What::GiveBack);
        }
    }

    fn report_losses(&mut self) {
        while let Some(loss) = self.logs.poll_loss() {
            let kind = match loss {
                Loss::Trimmed { key, epoch, through } if self.channels.contains_key(&key) => {
                    RequestKind::Trim { key, epoch, through }
                }
                Loss::Uncached { key, epoch, offset } if self.channels.contains_key(&key) => {
                    if let Some(channel) = self.channels.get_mut(&key) {
                        channel.told_cached.take_if(|cached| cached.offset == offset);
                    }
                    RequestKind::Uncache { key, epoch, offset }
                }
                Loss::Forgotten { key, epoch } => {
                    if self.channels.remove(&key).is_some() {
                        shrink(&mut self.channels);
                        self.forgetting.insert(key.clone(), Forgetting { epoch, refused: false });
                        self.asking.forget(key, epoch);
                    }
                    continue;
                }
                Loss::Trimmed { .. } | Loss::Uncached { .. } => continue,
            };
            self.asking.tell(kind);
        }
    }
}

impl Durable {
    /// Asks the store to keep a publication.
    fn append(&mut self, asking: &mut Asking, logs: &Logs, placed: &Placed, id: Option<&str>) -> u64 {
        let Placed { key, app, publication, .. } = placed;
        let options = app.channels.of(&key.channel);
        let offset = publication.position.offset;
        let cached = match publication.cache {
            CacheEffect::None => self.told_cached,
            CacheEffect::Keep(ttl) => Some(Cached { offset, until: publication.timestamp + ttl }),
            CacheEffect::Clear if is_planted(Canary::ClearedComesBack) => self.told_cached,
            CacheEffect::Clear => None,
        };
        self.told_cached = cached;
        let (dropped, ids_from) = logs.dropped(key);
        let begins = self.told.replace(offset) != Some(publication.previous);
        let kept = Kept {
            key: key.clone(),
            publication: Arc::clone(publication),
            head: offset,
            dropped,
            ttl: u64::try_from(options.history_ttl.as_micros()).unwrap_or(u64::MAX),
            id: id.map(|id| (id.into(), publication.timestamp + options.idempotency_ttl)),
            ids_from,
            cached,
            reserved: None,
        };
        asking.append(kept, begins, publication.cost())
    }

    /// The offset of the last publication that waits.
    fn last_waiting(&self) -> Option<u64> {
        self.queue.as_ref()?.last()
    }
}

/// It is there now.
fn keep(logs: &mut Logs, placed: Placed, id: Option<Box<str>>) -> BrokerEvent {
    let Placed { key, app, publication, origin } = placed;
    logs.append(&key, &publication, id, app.channels.of(&key.channel));
    BrokerEvent::Published { key, publication, origin }
}

/// A channel that keeps no history has nothing to lose but a cached value.
fn keeps(options: &ChannelOptions) -> bool {
    options.history_size > 0 && options.history_bytes > 0 && !options.history_ttl.is_zero()
}

impl Broker for DurableBroker {
    type Request = Request;
    type Reply = Reply;

    fn publish(&mut self, now: Time, request: PublishRequest) {
        let options = request.app.channels.of(&request.key.channel);
        let caches = matches!(request.cache_effect(), CacheEffect::Keep(ttl) if !ttl.is_zero());
        let keeps = caches || keeps(options);
        let remembers = options.idempotency_ids > 0 && !options.idempotency_ttl.is_zero();
        let id = request.id_key().filter(|_| remembers);
        let Some(request) = self.check(now, request, id.as_deref()) else { return };
        let is_going = self.forgetting.contains_key(&request.key) && !is_planted(Canary::ForgottenComesBack);
        let is_known = is_going || self.channels.contains_key(&request.key);
        if !keeps && !is_known {
            return self.publish_in_memory(now, request, id);
        }
        if self.state != StoreState::Writable {
            return self.refuse(request.origin);
        }
        self.publish_durably(now, request, id);
    }

    fn control(&mut self, _: Time, request: ControlRequest) {
        self.events.push_back(BrokerEvent::Control(request));
    }

    fn poll_event(&mut self) -> Option<BrokerEvent> {
        self.events.pop_front()
    }

    fn poll_request(&mut self) -> Option<Request> {
        self.asking.poll_request()
    }

    fn handle_reply(&mut self, _: Time, Reply(kind): Reply) {
        match kind {
            ReplyKind::Done { through, refused } => {
                while let Some(asked) = self.asking.poll_answered(through) {
                    // Both are in the order of tickets, and refusals are rare.
                    let was_refused = refused.binary_search(&asked.ticket).is_ok();
                    self.answered(asked, was_refused);
                }
            }
            ReplyKind::State(state) => {
                self.state = state;
                if self.state == StoreState::Writable {
                    self.forget_again();
                }
            }
        }
    }

    fn is_congested(&self) -> bool {
        self.asking.is_congested()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let quiet = self.quiet.first().map(|(due, _)| *due);
        [quiet, self.logs.poll_timeout()].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Time) {
        self.release_quiet(now);
        self.logs.handle_timeout(now);
        self.report_losses();
    }

    fn guarantees(&self) -> Guarantees {
        // Under the other settings a crash may take the latest with it.
        Guarantees { survives_restart: self.fsync == Fsync::Always, crosses_nodes: false }
    }
}

impl History for DurableBroker {
    fn position(&self, key: &ChannelKey) -> Position {
        self.logs.position(key)
    }

    fn retain(&mut self, key: &ChannelKey) -> Position {
        self.logs.retain(key)
    }

    fn release(&mut self, now: Time, key: &ChannelKey) {
        self.logs.release(now, key);
    }

    fn read(&mut self, now: Time, key: &ChannelKey, read: Read) -> Result<Slice, HistoryLost> {
        let read = self.logs.read(now, key, read);
        self.report_losses();
        read
    }

    fn cached(&self, now: Time, key: &ChannelKey) -> Option<Arc<Publication>> {
        self.logs.cached(now, key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Channel, Entry};

    /// What is charged is no less than the places in the tables take at worst: just after they have grown.
    #[test]
    fn a_channel_is_charged_for_what_it_takes() {
        // A table grows when 7/8 of it are full, to twice its size.
        let table = |slot: usize| (slot + 1) * 16 / 7;
        let tables = table(size_of::<(ChannelKey, Durable)>()) + table(size_of::<(ChannelKey, Channel)>());
        let listed = 2 * size_of::<(Time, ChannelKey)>();
        // A list of the index has four places at least, and then twice what it needs.
        let takes = tables + listed + 4 * size_of::<Entry>();
        assert!(takes <= CHANNEL_COST, "{takes} bytes a channel");
        assert_eq!(2 * size_of::<Entry>(), PUBLICATION_COST);
    }
}
