//! Bounded logs of channels' latest publications, in memory, and their cached values.
//!
//! Owns positions, epochs, ids that are remembered, trimming and reading. Knows nothing of who publishes, of subscribers or of disks. Every broker of a node
//! keeps its publications in here, whatever else it does with them.

use crate::address::ChannelKey;
use crate::broker::{HistoryLost, Read, Slice};
use crate::cache::Cache;
use crate::log::Log;
use core::hash::Hash;
use core::time::Duration;
use hashbrown::HashMap;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{CacheEffect, ChannelOptions, Epoch, Position, Publication, ReadFrom, Since, Time};

/// Keeps each channel's latest publications within its options, and all of them within one bound.
#[derive(Debug)]
pub struct Logs {
    logs: HashMap<ChannelKey, Log, foldhash::fast::RandomState>,
    /// Each log at most once, by when somebody must look at it.
    due: BTreeSet<(Time, ChannelKey)>,
    epoch: u64,
    bytes: usize,
    bytes_max: usize,
    /// What is kept of each publication beside its log, by whoever has the logs, in bytes.
    each_beside: usize,
    /// Cached values, within a bound of their own. A channel that has one is not forgotten.
    cache: Cache,
    /// What went without anything having come, if somebody wants to know.
    losses: Option<VecDeque<Loss>>,
}

/// Something that is kept no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Publications through this offset.
    Trimmed {
        /// The channel.
        key: ChannelKey,
        /// Its epoch.
        epoch: Epoch,
        /// The last offset.
        through: u64,
    },
    /// The channel's cached value, unless there is a later one.
    Uncached {
        /// The channel.
        key: ChannelKey,
        /// Its epoch.
        epoch: Epoch,
        /// The value's offset.
        offset: u64,
    },
    /// The whole channel: should its name come again, it begins anew.
    Forgotten {
        /// The channel.
        key: ChannelKey,
        /// Its epoch.
        epoch: Epoch,
    },
}

/// A channel as it was before a restart.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Where it is.
    pub position: Position,
    /// From which offset on nothing is missing.
    pub complete_after: u64,
    /// How long publications are kept.
    pub ttl: Duration,
    /// What is kept, in order.
    pub publications: Vec<Arc<Publication>>,
    /// Ids with their publications' offsets, and until when they are remembered.
    pub ids: Vec<(Arc<str>, u64, Time)>,
    /// The cached value, and until when it is kept.
    pub cached: Option<(Arc<Publication>, Time)>,
}

impl Logs {
    /// Nothing yet. No two runs of a server may begin with the same `epoch` or near it: draw it at random. All channels together cost at most
    /// `bytes_max` bytes: their publications, their ids and themselves.
    pub fn new(epoch: u64, bytes_max: usize) -> Self {
        let cache = Cache::new(CACHE_BYTES_MAX);
        Self {
            logs: HashMap::default(),
            due: BTreeSet::new(),
            epoch,
            bytes: 0,
            bytes_max,
            each_beside: 0,
            cache,
            losses: None,
        }
    }

    /// All cached values together have at most so many bytes, in place of 32 MiB.
    pub fn bound_cached(&mut self, bytes_max: usize) {
        self.cache.bound(bytes_max);
    }

    /// Whoever has the logs keeps so many bytes more of each publication: they are charged with it. To be said before there are any.
    pub fn charge_publications(&mut self, bytes: usize) {
        self.each_beside = bytes;
    }

    /// The same of a channel, until it is forgotten.
    pub fn charge_channel(&mut self, key: &ChannelKey, bytes: usize) {
        self.log(key).own += bytes;
        self.bytes += bytes;
    }

    /// Has [`poll_loss`](Self::poll_loss) tell what goes from now on, but for what a new publication pushes out: who appends it can ask
    /// [`dropped`](Self::dropped).
    pub fn tell_losses(&mut self) {
        self.losses.get_or_insert_default();
    }

    /// What went since.
    pub fn poll_loss(&mut self) -> Option<Loss> {
        self.losses.as_mut()?.pop_front()
    }

    /// What all channels cost, in bytes; 0 once everything is forgotten.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Channels that are known.
    pub fn len(&self) -> usize {
        self.logs.len()
    }

    /// Whether no channel is known.
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Puts back a channel that was there before a restart.
    pub fn restore(&mut self, now: Time, key: &ChannelKey, restored: Restored) {
        let Restored { position, complete_after, ttl, publications, ids, cached } = restored;
        let log = self.log(key);
        (log.epoch, log.offset, log.complete_after, log.ttl) = (position.epoch, position.offset, complete_after, ttl);
        // Whoever was there gets a chance to come back.
        log.idle_until = now + ttl.max(RESTORED_FOR);
        if let Some(log) = self.logs.get_mut(key) {
            charge(&mut self.bytes, log, |log| {
                for publication in publications {
                    log.bytes += publication.cost();
                    log.ring.push_back(publication);
                }
                let mut ids = ids;
                ids.sort_unstable_by_key(|(_, offset, _)| *offset);
                for (id, offset, until) in ids {
                    log.ids.remember(now, (*id).into(), offset, until.since(now), usize::MAX);
                }
            });
        }
        self.shrink(key, |log| log.expire(now));
        if let Some((publication, until)) = cached {
            self.cache_value(key, &publication, until);
            self.cache.handle_timeout(now);
        }
        self.forget_cached();
        self.reschedule(key);
        self.make_room();
    }

    /// Where the publication is that has this id, if that is remembered.
    pub fn find_id(&mut self, now: Time, key: &ChannelKey, id: &str) -> Option<Position> {
        let log = self.logs.get_mut(key)?;
        let offset = charge(&mut self.bytes, log, |log| log.ids.find(now, id))?;
        Some(Position { epoch: log.epoch, offset })
    }

    /// Where the channel is. One that is not known yet is from now on, and has this epoch until it is forgotten.
    pub fn enter(&mut self, key: &ChannelKey) -> Position {
        self.log(key).position()
    }

    /// Where the channel is, for somebody who shall find it there: a channel that is not known yet would else have another epoch as soon as any other is
    /// forgotten.
    pub fn meet(&mut self, now: Time, key: &ChannelKey) -> Position {
        if !self.logs.contains_key(key) {
            self.log(key).idle_until = now + MET_FOR;
            self.reschedule(key);
            self.make_room();
        }
        self.position(key)
    }

    /// Keeps the channel from being forgotten while something of it is on its way, or no longer.
    pub fn hold(&mut self, key: &ChannelKey, held: bool) {
        let log = self.log(key);
        log.held = held;
        // One that is listed and keeps publications is due for the oldest of them, held or not. To look at that each time would be a cache miss.
        if !held && (log.due.is_none() || log.ring.is_empty()) {
            self.reschedule(key);
        }
    }

    /// The latest offset whose publication is not kept any more, and the first whose id may be remembered.
    pub fn dropped(&self, key: &ChannelKey) -> (u64, u64) {
        self.logs.get(key).map_or((0, 0), |log| (log.dropped(), log.ids.oldest().unwrap_or(log.offset + 1)))
    }

    /// Adds a publication, whose place follows the channel's position.
    pub fn append(
        &mut self,
        key: &ChannelKey,
        publication: &Arc<Publication>,
        id: Option<Box<str>>,
        options: &ChannelOptions,
    ) {
        let Some(log) = self.logs.get_mut(key) else { return };
        let sooner = id.is_some() || options.history_ttl < log.ttl;
        // A log that is listed is mostly not due sooner for a new publication. To look at its oldest each time would be a cache miss.
        let listed = log.due.is_some() && !sooner;
        charge(&mut self.bytes, log, |log| log.append(publication, id, options));
        match publication.cache {
            CacheEffect::None => {}
            CacheEffect::Keep(ttl) => self.cache_value(key, publication, publication.timestamp + ttl),
            CacheEffect::Clear if is_planted(Canary::ClearedStays) => {}
            CacheEffect::Clear => self.clear_cached(key),
        }
        if !listed {
            self.reschedule(key);
        }
        self.make_room();
    }

    /// The channel's cached value.
    pub fn cached(&self, now: Time, key: &ChannelKey) -> Option<&Arc<Publication>> {
        self.cache.find(now, key)
    }

    /// The offset of the channel's cached value, and until when it is kept.
    pub fn cached_at(&self, key: &ChannelKey) -> Option<(u64, Time)> {
        self.cache.kept(key)
    }

    fn cache_value(&mut self, key: &ChannelKey, publication: &Arc<Publication>, until: Time) {
        if let Some(log) = self.logs.get_mut(key) {
            log.is_cached = true;
            self.cache.keep(key, publication, until);
        }
        self.forget_cached();
    }

    fn clear_cached(&mut self, key: &ChannelKey) {
        self.cache.clear(key);
        if let Some(log) = self.logs.get_mut(key).filter(|log| log.is_cached) {
            log.is_cached = false;
            self.reschedule(key);
        }
    }

    /// Channels whose value is gone may be forgotten.
    fn forget_cached(&mut self) {
        while let Some((key, offset)) = self.cache.poll_gone() {
            let Some(log) = self.logs.get_mut(&key) else { continue };
            log.is_cached = false;
            if let Some(losses) = &mut self.losses {
                losses.push_back(Loss::Uncached { key: key.clone(), epoch: log.epoch, offset });
            }
            self.reschedule(&key);
        }
    }

    /// Where the channel is.
    pub fn position(&self, key: &ChannelKey) -> Position {
        self.logs.get(key).map_or(Position { epoch: Epoch(self.epoch), offset: 0 }, Log::position)
    }

    /// Where the channel is; until it is [released](Self::release) its epoch stays.
    pub fn retain(&mut self, key: &ChannelKey) -> Position {
        let log = self.log(key);
        log.in_use = true;
        log.position()
    }

    /// Nobody subscribes to the channel any more.
    pub fn release(&mut self, now: Time, key: &ChannelKey) {
        let Some(log) = self.logs.get_mut(key) else { return };
        log.in_use = false;
        log.idle_until = log.idle_until.max(now + Duration::from_secs(1));
        self.reschedule(key);
    }

    /// Reads as [`History::read`](crate::History::read) says.
    ///
    /// # Errors
    /// What follows the position is not all there.
    pub fn read(&mut self, now: Time, key: &ChannelKey, read: Read) -> Result<Slice, HistoryLost> {
        let end = self.position(key);
        let after = |since| match since {
            Since::Position(at) if at.epoch == end.epoch && at.offset <= end.offset => Ok(at.offset),
            Since::Position(_) | Since::Unknown => Err(HistoryLost { complete_after: None }),
        };
        let (offset, forwards) = match read.from {
            ReadFrom::Latest => (end.offset + 1, false),
            ReadFrom::After(since) => (after(since)?, true),
            ReadFrom::Before(since) => (after(since)? + u64::from(is_planted(Canary::BeforeIncluded)), false),
        };
        self.shrink(key, |log| log.expire(now));
        let Some(log) = self.logs.get(key) else { return Ok(Slice::default()) };
        if forwards { log.after(offset, read) } else { Ok(log.before(offset, read)) }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        let due = self.due.first().map(|(due, _)| *due);
        [due, self.cache.poll_timeout()].into_iter().flatten().min()
    }

    /// Forgets what is too old.
    pub fn handle_timeout(&mut self, now: Time) {
        self.cache.handle_timeout(now);
        self.forget_cached();
        while let Some((due, _)) = self.due.first()
            && *due <= now
        {
            let Some((_, key)) = self.due.pop_first() else { return };
            self.shrink(&key, |log| {
                log.due = None;
                log.expire(now);
            });
            if self.logs.get(&key).is_some_and(|log| log.is_idle() && log.idle_until <= now) {
                self.forget(&key);
                continue;
            }
            self.reschedule(&key);
        }
    }

    /// Forgets until all fit, what would go first before the rest: publications, then their channel's ids, then, if nobody uses it, its cached value and the
    /// channel itself.
    fn make_room(&mut self) {
        while self.bytes > self.bytes_max {
            let Some((_, key)) = self.due.pop_first() else { return };
            let Some(log) = self.logs.get_mut(&key) else { continue };
            log.due = None;
            if log.is_at_rest() {
                self.cache.give_up(&key);
                self.forget_cached();
                self.forget(&key);
                continue;
            }
            self.shrink(&key, Log::forget_oldest);
            self.reschedule(&key);
        }
    }

    /// Takes something out of a log, and tells of it.
    fn shrink(&mut self, key: &ChannelKey, change: impl FnOnce(&mut Log)) {
        let Some(log) = self.logs.get_mut(key) else { return };
        let before = log.dropped();
        charge(&mut self.bytes, log, change);
        if let Some(losses) = &mut self.losses
            && log.dropped() != before
        {
            losses.push_back(Loss::Trimmed { key: key.clone(), epoch: log.epoch, through: log.dropped() });
        }
    }

    fn forget(&mut self, key: &ChannelKey) {
        if let Some(log) = self.logs.remove(key) {
            self.bytes -= log.cost();
            // The list still has it if its cached value went as it was forgotten.
            if let Some(due) = log.due {
                self.due.remove(&(due, key.clone()));
            }
            shrink(&mut self.logs);
            // Whoever comes back to this channel must not take its new offsets for the old ones.
            self.epoch += u64::from(!is_planted(Canary::EpochKept));
            if let Some(losses) = &mut self.losses {
                losses.push_back(Loss::Forgotten { key: key.clone(), epoch: log.epoch });
            }
        }
    }

    /// Sees to it that the log stands in the list no later than it is due. It may stand earlier: a full log's oldest publication changes with
    /// every new one, and moving the log each time would cost more than looking at it once in vain.
    fn reschedule(&mut self, key: &ChannelKey) {
        let Some(log) = self.logs.get_mut(key) else { return };
        let Some(due) = log.next_due(|| self.cache.kept(key).map(|(_, until)| until)) else { return };
        match log.due {
            Some(listed) if listed <= due => return,
            Some(listed) => _ = self.due.remove(&(listed, key.clone())),
            None => {}
        }
        log.due = Some(due);
        self.due.insert((due, key.clone()));
    }

    fn log(&mut self, key: &ChannelKey) -> &mut Log {
        self.logs.entry_ref(key).or_insert_with(|| {
            self.bytes += own_cost(key);
            let each = PUBLICATION_COST + key.channel.as_str().len() + self.each_beside;
            Log::new(Epoch(self.epoch), own_cost(key), each)
        })
    }
}

/// How long a channel that was there before a restart is known at least, if nothing of it is kept.
const RESTORED_FOR: Duration = Duration::from_secs(60);

/// How long a channel is known whose position somebody was told to publish at.
const MET_FOR: Duration = Duration::from_secs(60);

/// What all cached values cost at most, in bytes.
const CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a log costs besides its publications, its ids and its name, in bytes: its place in a table that has just grown, and in the list of those that are due.
const LOG_COST: usize = 700;

/// What a publication costs in a log besides [`Publication::cost`] and its name, in bytes: its place in a ring that has just grown, and what memory in small pieces
/// takes more than is asked for.
pub(crate) const PUBLICATION_COST: usize = 144;

/// A table with no more places than these is left as it is, however little is in it.
const TABLE_KEPT: usize = 1_024;

/// Gives back what a table that was once large holds, for what goes is not charged any more.
pub fn shrink<K: Eq + Hash, V>(table: &mut HashMap<K, V, foldhash::fast::RandomState>) {
    if table.capacity() > TABLE_KEPT && table.len() < table.capacity() / 4 {
        table.shrink_to(2 * table.len());
    }
}

/// What a log costs by itself. A name is as long as who chooses it likes.
pub(crate) fn own_cost(key: &ChannelKey) -> usize {
    LOG_COST + key.channel.as_str().len()
}

/// Changes a log and keeps the sum of all costs true.
fn charge<T>(bytes: &mut usize, log: &mut Log, change: impl FnOnce(&mut Log) -> T) -> T {
    *bytes -= log.cost();
    let result = change(log);
    *bytes += log.cost();
    result
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use switchboard_core::{AppId, ChannelName, Payload};

    const EPOCH: Epoch = Epoch(3);

    fn key() -> ChannelKey {
        ChannelKey::new(AppId::new("app"), ChannelName::parse("c").unwrap())
    }

    fn publication(offset: u64, previous: u64, now: u64) -> Arc<Publication> {
        Arc::new(Publication {
            channel: key().channel,
            position: Position { epoch: EPOCH, offset },
            previous,
            timestamp: Time::from_secs(now),
            event: None,
            key: None,
            payload: Payload::Text("x".into()),
            publisher: None,
            exclude: None,
            cache: switchboard_core::CacheEffect::None,
        })
    }

    fn restored(offset: u64, complete_after: u64, publications: Vec<Arc<Publication>>) -> Restored {
        let position = Position { epoch: EPOCH, offset };
        let ids = vec![("late".into(), 2, Time::from_secs(50)), ("early".into(), 1, Time::from_secs(20))];
        Restored { position, complete_after, ttl: Duration::from_secs(30), publications, ids, cached: None }
    }

    fn after(logs: &mut Logs, offset: u64) -> Result<Vec<u64>, Option<u64>> {
        let since = Since::Position(Position { epoch: EPOCH, offset });
        let slice = logs.read(Time::from_secs(10), &key(), Read::all(ReadFrom::After(since)));
        let offsets = |slice: Slice| slice.publications.iter().map(|publication| publication.position.offset).collect();
        slice.map(offsets).map_err(|lost| lost.complete_after)
    }

    #[test]
    fn what_was_restored_goes_on_and_nothing_is_resumed_across_a_hole() {
        let mut logs = Logs::new(9, usize::MAX);
        let now = Time::from_secs(10);
        let kept = vec![publication(1, 0, 1), publication(2, 1, 2), publication(5, 4, 5)];
        logs.restore(now, &key(), restored(5, 4, kept));
        assert_eq!(logs.position(&key()), Position { epoch: EPOCH, offset: 5 });
        assert_eq!((after(&mut logs, 4), after(&mut logs, 2)), (Ok(vec![5]), Err(Some(4))));
        let all = logs.read(now, &key(), Read::all(ReadFrom::Latest)).unwrap();
        assert_eq!(all.publications.len(), 3);
        assert_eq!(logs.find_id(now, &key(), "early"), Some(Position { epoch: EPOCH, offset: 1 }));
        assert_eq!(logs.find_id(Time::from_secs(20), &key(), "early"), None);
        // Offsets were skipped: who is before the skip may have missed what was in it.
        logs.append(&key(), &publication(9, 8, 10), None, &ChannelOptions::default());
        assert_eq!((after(&mut logs, 8), after(&mut logs, 5)), (Ok(vec![9]), Err(Some(8))));
    }

    #[test]
    fn ids_go_in_the_order_of_their_publications_after_a_restart_too() {
        let mut logs = Logs::new(9, usize::MAX);
        let until = Time::from_secs(50);
        let ids = vec![("a".into(), 3, until), ("b".into(), 1, until), ("c".into(), 2, until)];
        let now = Time::from_secs(10);
        logs.restore(now, &key(), Restored { ids, ..restored(3, 3, Vec::new()) });
        let options = ChannelOptions { idempotency_ids: 2, ..ChannelOptions::default() };
        logs.append(&key(), &publication(4, 3, 10), Some("d".into()), &options);
        let known = ["a", "b", "c", "d"].map(|id| logs.find_id(now, &key(), id).is_some());
        assert_eq!(known, [true, false, false, true]);
    }

    /// What is charged for a channel that keeps nothing is no less than its place in the tables takes at worst: just after they have grown.
    #[test]
    fn a_log_is_charged_for_what_it_takes() {
        let slot = size_of::<(ChannelKey, Log)>() + 1;
        let listed = 2 * size_of::<(Time, ChannelKey)>();
        // A table grows when 7/8 of it are full, to twice its size.
        let reference_counts = 2 * size_of::<usize>();
        assert!(slot * 16 / 7 + listed + reference_counts <= LOG_COST, "{slot} bytes a slot, {listed} in the list");
        assert_eq!(own_cost(&key()), LOG_COST + 1);
    }

    #[test]
    fn what_goes_is_told_and_what_is_held_stays() {
        let mut logs = Logs::new(9, usize::MAX);
        logs.tell_losses();
        let nothing = Restored { ids: Vec::new(), ..restored(2, 0, vec![publication(1, 0, 1), publication(2, 1, 5)]) };
        logs.restore(Time::from_secs(10), &key(), nothing);
        logs.hold(&key(), true);
        logs.handle_timeout(Time::from_secs(31));
        let trimmed = |through| Some(Loss::Trimmed { key: key(), epoch: EPOCH, through });
        assert_eq!((logs.poll_loss(), logs.dropped(&key()).0), (trimmed(1), 1));
        logs.handle_timeout(Time::from_secs(100));
        assert_eq!((logs.poll_loss(), logs.poll_loss(), logs.len()), (trimmed(2), None, 1));
        logs.hold(&key(), false);
        logs.handle_timeout(Time::from_secs(100));
        assert_eq!((logs.poll_loss(), logs.is_empty()), (Some(Loss::Forgotten { key: key(), epoch: EPOCH }), true));
        assert_eq!((logs.bytes(), logs.poll_timeout()), (0, None));
    }

    #[test]
    fn what_was_once_many_leaves_no_room_behind() {
        let mut logs = Logs::new(9, usize::MAX);
        logs.enter(&key());
        let options = ChannelOptions { history_size: 10_000, idempotency_ids: 10_000, ..ChannelOptions::default() };
        for n in 1..=10_000 {
            logs.append(&key(), &publication(n, n - 1, 10), Some(n.to_string().into()), &options);
        }
        let few = ChannelOptions { history_size: 3, idempotency_ids: 3, ..options };
        logs.append(&key(), &publication(10_001, 10_000, 10), Some("last".into()), &few);
        let log = logs.logs.get(&key()).unwrap();
        assert!(log.ring.len() == 3 && log.ring.capacity() <= 64, "{} places", log.ring.capacity());
        assert!(log.ids.places() <= 1_024, "{} places", log.ids.places());
        let keys = (0..10_000).map(|n| ChannelKey::new(AppId::new("app"), ChannelName::parse(&n.to_string()).unwrap()));
        keys.for_each(|key| _ = logs.meet(Time::from_secs(10), &key));
        logs.handle_timeout(Time::from_secs(100));
        assert_eq!(logs.len(), 1);
        assert!(logs.logs.capacity() <= TABLE_KEPT, "{} places", logs.logs.capacity());
    }
}
