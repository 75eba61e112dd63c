//! The broker of one node without a disk: a bounded log a channel, in memory.
//!
//! Owns order, offsets, epochs and trimming. Knows nothing of subscribers.

use crate::address::ChannelKey;
use crate::broker::{Broker, BrokerEvent, Guarantees, History, HistoryLost, PublishRequest, Slice};
use core::time::Duration;
use hashbrown::HashMap;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use switchboard_core::{ChannelOptions, Epoch, Position, Publication, Time};

/// Keeps each channel's latest publications within the options of its application, and all of them within one bound.
#[derive(Debug)]
pub struct MemoryBroker {
    logs: HashMap<ChannelKey, Log, foldhash::fast::RandomState>,
    /// Each log at most once, by when somebody must look at it.
    due: BTreeSet<(Time, ChannelKey)>,
    events: VecDeque<BrokerEvent>,
    epoch: u64,
    bytes: usize,
    bytes_max: usize,
}

impl MemoryBroker {
    /// An empty broker. No two runs of a server may begin with the same `epoch` or near it: draw it at random. All channels together keep at most
    /// `bytes_max` bytes of publications.
    pub fn new(epoch: u64, bytes_max: usize) -> Self {
        Self { logs: HashMap::default(), due: BTreeSet::new(), events: VecDeque::new(), epoch, bytes: 0, bytes_max }
    }

    /// Forgets publications until all fit, those that would expire first before others.
    fn make_room(&mut self) {
        while self.bytes > self.bytes_max {
            let Some((_, key)) = self.due.pop_first() else { return };
            let Some(log) = self.logs.get_mut(&key) else { continue };
            log.due = None;
            if log.ring.is_empty() && !log.in_use {
                self.forget(&key);
                continue;
            }
            self.bytes -= log.pop();
            self.reschedule(&key);
        }
    }

    fn forget(&mut self, key: &ChannelKey) {
        if self.logs.remove(key).is_some() {
            self.bytes -= LOG_COST;
            // Whoever comes back to this channel must not take its new offsets for the old ones.
            self.epoch += 1;
        }
    }

    /// Sees to it that the log stands in the list no later than it is due. It may stand earlier: a full log's oldest publication changes with
    /// every new one, and moving the log each time would cost more than looking at it once in vain.
    fn reschedule(&mut self, key: &ChannelKey) {
        let Some(log) = self.logs.get_mut(key) else { return };
        let Some(due) = log.next_due() else { return };
        match log.due {
            Some(listed) if listed <= due => return,
            Some(listed) => _ = self.due.remove(&(listed, key.clone())),
            None => {}
        }
        log.due = Some(due);
        self.due.insert((due, key.clone()));
    }

    fn trim(&mut self, now: Time, key: &ChannelKey) {
        let Some(log) = self.logs.get_mut(key) else { return };
        self.bytes -= log.expire(now);
    }
}

impl Broker for MemoryBroker {
    fn publish(&mut self, now: Time, request: PublishRequest) {
        let PublishRequest { key, app, publish, publisher, exclude, origin } = request;
        let log = self.logs.entry_ref(&key).or_insert_with(|| {
            self.bytes += LOG_COST;
            Log::new(Epoch(self.epoch))
        });
        let previous = log.offset;
        log.offset += 1;
        let publication = Arc::new(Publication {
            channel: key.channel.clone(),
            position: Position { epoch: log.epoch, offset: log.offset },
            previous,
            timestamp: now,
            event: publish.event,
            key: publish.key,
            payload: publish.payload,
            publisher,
            exclude,
        });
        let sooner = app.channels.history_ttl < log.ttl;
        self.bytes = self.bytes + log.append(&publication, &app.channels) - log.trim_to_size(&app.channels);
        // A log that is listed is never due sooner for a new publication. To look at its oldest each time would be a cache miss.
        if log.due.is_none() || sooner {
            self.reschedule(&key);
        }
        self.make_room();
        self.events.push_back(BrokerEvent::Published { key, publication, origin });
    }

    fn poll_event(&mut self) -> Option<BrokerEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    fn handle_timeout(&mut self, now: Time) {
        while let Some((due, _)) = self.due.first()
            && *due <= now
        {
            let Some((_, key)) = self.due.pop_first() else { return };
            let Some(log) = self.logs.get_mut(&key) else { continue };
            log.due = None;
            self.bytes -= log.expire(now);
            if log.ring.is_empty() && !log.in_use && log.idle_until <= now {
                self.forget(&key);
                continue;
            }
            self.reschedule(&key);
        }
    }

    fn guarantees(&self) -> Guarantees {
        Guarantees { survives_restart: false, crosses_nodes: false }
    }
}

impl History for MemoryBroker {
    fn position(&self, key: &ChannelKey) -> Position {
        match self.logs.get(key) {
            Some(log) => Position { epoch: log.epoch, offset: log.offset },
            None => Position { epoch: Epoch(self.epoch), offset: 0 },
        }
    }

    fn retain(&mut self, key: &ChannelKey) -> Position {
        let log = self.logs.entry_ref(key).or_insert_with(|| {
            self.bytes += LOG_COST;
            Log::new(Epoch(self.epoch))
        });
        log.in_use = true;
        Position { epoch: log.epoch, offset: log.offset }
    }

    fn release(&mut self, now: Time, key: &ChannelKey) {
        let Some(log) = self.logs.get_mut(key) else { return };
        log.in_use = false;
        log.idle_until = log.idle_until.max(now + Duration::from_secs(1));
        self.reschedule(key);
    }

    fn after(
        &mut self,
        now: Time,
        key: &ChannelKey,
        position: Position,
        limit: usize,
        bytes: usize,
    ) -> Result<Slice, HistoryLost> {
        self.trim(now, key);
        let Some(log) = self.logs.get(key) else {
            let nothing_was_missed = position == self.position(key);
            return if nothing_was_missed { Ok(Slice::default()) } else { Err(HistoryLost { complete_after: None }) };
        };
        if position.epoch != log.epoch || position.offset > log.offset {
            return Err(HistoryLost { complete_after: None });
        }
        if position.offset < log.trimmed {
            return Err(HistoryLost { complete_after: Some(log.trimmed) });
        }
        let start = log.ring.partition_point(|publication| publication.position.offset <= position.offset);
        Ok(take(log.ring.range(start..).cloned(), limit, bytes))
    }

    fn latest(&mut self, now: Time, key: &ChannelKey, limit: usize, bytes: usize) -> Slice {
        self.trim(now, key);
        let Some(log) = self.logs.get(key) else { return Slice::default() };
        let mut slice = take(log.ring.iter().rev().cloned(), limit, bytes);
        slice.publications.reverse();
        slice
    }
}

/// What a log costs besides its publications, in bytes.
const LOG_COST: usize = 300;

/// At least one, then as many as fit.
fn take(publications: impl Iterator<Item = Arc<Publication>>, limit: usize, bytes: usize) -> Slice {
    let mut slice = Slice::default();
    let mut room = bytes;
    for publication in publications {
        let cost = publication.cost();
        if slice.publications.len() >= limit || (cost > room && !slice.publications.is_empty()) {
            slice.more = true;
            break;
        }
        room = room.saturating_sub(cost);
        slice.publications.push(publication);
    }
    slice
}

/// One channel's publications. The ring's offsets are without a hole from `trimmed + 1` to `offset`.
#[derive(Debug)]
struct Log {
    epoch: Epoch,
    offset: u64,
    /// The offset of the latest publication that is gone.
    trimmed: u64,
    ring: VecDeque<Arc<Publication>>,
    bytes: usize,
    ttl: Duration,
    /// Under which time the log stands in the broker's list.
    due: Option<Time>,
    in_use: bool,
    idle_until: Time,
}

impl Log {
    fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            offset: 0,
            trimmed: 0,
            ring: VecDeque::new(),
            bytes: 0,
            ttl: Duration::ZERO,
            due: None,
            in_use: false,
            idle_until: Time::default(),
        }
    }

    /// Returns the bytes added.
    fn append(&mut self, publication: &Arc<Publication>, options: &ChannelOptions) -> usize {
        self.ttl = options.history_ttl;
        self.idle_until = publication.timestamp + self.ttl;
        let cost = publication.cost();
        self.bytes += cost;
        self.ring.push_back(Arc::clone(publication));
        cost
    }

    /// Returns the bytes removed.
    fn trim_to_size(&mut self, options: &ChannelOptions) -> usize {
        let mut removed = 0;
        while self.ring.len() > options.history_size || self.bytes > options.history_bytes && !self.ring.is_empty() {
            removed += self.pop();
        }
        removed
    }

    fn expire(&mut self, now: Time) -> usize {
        let mut removed = 0;
        while self.ring.front().is_some_and(|oldest| oldest.timestamp + self.ttl <= now) {
            removed += self.pop();
        }
        removed
    }

    fn pop(&mut self) -> usize {
        let Some(oldest) = self.ring.pop_front() else { return 0 };
        self.trimmed = oldest.position.offset;
        let cost = oldest.cost();
        self.bytes -= cost;
        cost
    }

    /// When somebody must look at the log again: as its oldest publication expires or, if it is empty, as it may be forgotten.
    fn next_due(&self) -> Option<Time> {
        match self.ring.front() {
            Some(oldest) => Some(oldest.timestamp + self.ttl),
            None if !self.in_use => Some(self.idle_until),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use switchboard_core::{App, AppId, ChannelName, Payload, Publish};

    fn key(name: &str) -> ChannelKey {
        ChannelKey { app: AppId::new("app"), channel: ChannelName::parse(name).unwrap() }
    }

    fn publish(broker: &mut MemoryBroker, now: u64, options: ChannelOptions, text: &str) -> Position {
        let app = Arc::new(App { channels: options, ..App::new(AppId::new("app")) });
        broker.publish(
            Time::from_secs(now),
            PublishRequest {
                key: key("c"),
                app,
                publish: Publish::new(Payload::Text(text.into())),
                publisher: None,
                exclude: None,
                origin: None,
            },
        );
        match broker.poll_event().unwrap() {
            BrokerEvent::Published { publication, .. } => publication.position,
            other @ BrokerEvent::Refused { .. } => panic!("{other:?}"),
        }
    }

    fn offsets(slice: &Slice) -> Vec<u64> {
        slice.publications.iter().map(|publication| publication.position.offset).collect()
    }

    #[test]
    fn what_is_trimmed_by_size_is_lost_and_the_rest_is_complete() {
        let mut broker = MemoryBroker::new(7, usize::MAX);
        let options = ChannelOptions { history_size: 3, ..ChannelOptions::default() };
        for n in 0..5 {
            publish(&mut broker, n, options.clone(), "x");
        }
        let at = |offset| Position { epoch: Epoch(7), offset };
        let now = Time::from_secs(5);
        assert_eq!(offsets(&broker.after(now, &key("c"), at(2), 10, usize::MAX).unwrap()), [3, 4, 5]);
        let lost = broker.after(now, &key("c"), at(1), 10, usize::MAX).unwrap_err();
        assert_eq!(lost.complete_after, Some(2));
        // A position that was never given is no position.
        assert!(broker.after(now, &key("c"), at(6), 10, usize::MAX).is_err());
        let other = Position { epoch: Epoch(8), offset: 5 };
        assert_eq!(broker.after(now, &key("c"), other, 10, usize::MAX).unwrap_err().complete_after, None);
    }

    #[test]
    fn slices_stop_at_their_limits_but_hold_at_least_one() {
        let mut broker = MemoryBroker::new(7, usize::MAX);
        for n in 0..5 {
            publish(&mut broker, n, ChannelOptions::default(), "x");
        }
        let now = Time::from_secs(5);
        let latest = broker.latest(now, &key("c"), 2, usize::MAX);
        assert_eq!((offsets(&latest), latest.more), (vec![4, 5], true));
        let latest = broker.latest(now, &key("c"), 10, 1);
        assert_eq!((offsets(&latest), latest.more), (vec![5], true));
        let all = broker.latest(now, &key("c"), 5, usize::MAX);
        assert_eq!((offsets(&all), all.more), (vec![1, 2, 3, 4, 5], false));
    }

    #[test]
    fn publications_expire_and_the_channel_keeps_its_epoch_while_in_use() {
        let mut broker = MemoryBroker::new(7, usize::MAX);
        let options = ChannelOptions { history_ttl: Duration::from_secs(10), ..ChannelOptions::default() };
        publish(&mut broker, 0, options.clone(), "x");
        publish(&mut broker, 5, options.clone(), "y");
        broker.retain(&key("c"));
        assert_eq!(broker.poll_timeout(), Some(Time::from_secs(10)));
        broker.handle_timeout(Time::from_secs(10));
        assert_eq!(offsets(&broker.latest(Time::from_secs(10), &key("c"), 9, 9999)), [2]);
        broker.handle_timeout(Time::from_secs(15));
        assert_eq!((broker.bytes, broker.poll_timeout()), (LOG_COST, None));
        assert_eq!(broker.position(&key("c")), Position { epoch: Epoch(7), offset: 2 });
        // Forgotten, and its name used again: nobody can take the new offsets for the old ones.
        broker.release(Time::from_secs(20), &key("c"));
        broker.handle_timeout(Time::from_secs(30));
        assert!(broker.logs.is_empty());
        assert_eq!(publish(&mut broker, 31, options, "z"), Position { epoch: Epoch(8), offset: 1 });
    }

    #[test]
    fn all_channels_together_stay_within_the_bound() {
        let mut broker = MemoryBroker::new(7, 10_000);
        for n in 0..100 {
            publish(&mut broker, n, ChannelOptions::default(), &"x".repeat(840));
            assert!(broker.bytes <= 10_000, "{}", broker.bytes);
        }
        assert_eq!(broker.latest(Time::from_secs(100), &key("c"), 999, usize::MAX).publications.len(), 9);
    }

    #[test]
    fn without_history_nothing_is_kept_and_a_position_still_tells_who_missed_something() {
        let mut broker = MemoryBroker::new(7, usize::MAX);
        let options = ChannelOptions { history_size: 0, ..ChannelOptions::default() };
        broker.retain(&key("c"));
        let first = publish(&mut broker, 0, options.clone(), "x");
        let now = Time::from_secs(1);
        assert!(broker.after(now, &key("c"), first, 9, 9).unwrap().publications.is_empty());
        publish(&mut broker, 0, options, "x");
        assert!(broker.after(now, &key("c"), first, 9, 9).is_err());
    }
}
