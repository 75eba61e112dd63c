//! The broker of one node without a disk: a bounded log a channel, in memory.
//!
//! Owns order, offsets, epochs, conditions and trimming. Knows nothing of subscribers.

use crate::address::ChannelKey;
use crate::broker::{Broker, BrokerEvent, Guarantees, History, HistoryLost, PublishRequest, Read, Slice};
use crate::idempotency::Idempotency;
use core::convert::Infallible;
use core::time::Duration;
use hashbrown::HashMap;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use switchboard_core::{ChannelOptions, Epoch, Position, Publication, ReadFrom, Reject, RejectCode, Since, Time};

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

    /// What all channels keep, in bytes; 0 once everything is forgotten.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets publications until all fit, those that would expire first before others; ids last.
    fn make_room(&mut self) {
        while self.bytes > self.bytes_max {
            let Some((_, key)) = self.due.pop_first() else { return };
            let Some(log) = self.logs.get_mut(&key) else { continue };
            log.due = None;
            if log.is_empty() && !log.in_use {
                self.forget(&key);
                continue;
            }
            charge(&mut self.bytes, log, Log::forget_oldest);
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

    fn log(&mut self, key: &ChannelKey) -> &mut Log {
        self.logs.entry_ref(key).or_insert_with(|| {
            self.bytes += LOG_COST;
            Log::new(Epoch(self.epoch))
        })
    }

    /// What is answered in place of publishing, if the publication is a duplicate or its comparison fails.
    fn check(&mut self, now: Time, request: &PublishRequest, id: Option<&str>) -> Option<BrokerEvent> {
        if let Some(id) = id
            && let Some(log) = self.logs.get_mut(&request.key)
            && let Some(offset) = charge(&mut self.bytes, log, |log| log.ids.find(now, id))
        {
            let position = Position { epoch: log.epoch, offset };
            return Some(BrokerEvent::Duplicate { key: request.key.clone(), position, origin: request.origin });
        }
        let demanded = request.publish.if_position?;
        let position = self.position(&request.key);
        (demanded != Since::Position(position)).then(|| {
            let message = format!("channel '{}' is not at the position that was demanded", request.key.channel);
            let reject = Reject::new(RejectCode::Conflict, message).at(position);
            BrokerEvent::Refused { origin: request.origin, reject }
        })
    }
}

impl Broker for MemoryBroker {
    type Request = Infallible;
    type Reply = Infallible;

    fn publish(&mut self, now: Time, request: PublishRequest) {
        let id = request.id_key();
        if let Some(instead) = self.check(now, &request, id.as_deref()) {
            return self.events.push_back(instead);
        }
        let PublishRequest { key, app, publish, publisher, exclude, origin } = request;
        let log = self.log(&key);
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
        let options = app.channels.of(&key.channel);
        let sooner = id.is_some() || options.history_ttl < log.ttl;
        // A log that is listed is mostly not due sooner for a new publication. To look at its oldest each time would be a cache miss.
        let listed = log.due.is_some() && !sooner;
        if let Some(log) = self.logs.get_mut(&key) {
            charge(&mut self.bytes, log, |log| log.append(now, &publication, id, options));
        }
        if !listed {
            self.reschedule(&key);
        }
        self.make_room();
        self.events.push_back(BrokerEvent::Published { key, publication, origin });
    }

    fn poll_event(&mut self) -> Option<BrokerEvent> {
        self.events.pop_front()
    }

    fn poll_request(&mut self) -> Option<Infallible> {
        None
    }

    fn handle_reply(&mut self, _: Time, reply: Infallible) {
        match reply {}
    }

    fn is_congested(&self) -> bool {
        false
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
            charge(&mut self.bytes, log, |log| log.expire(now));
            if log.is_empty() && !log.in_use && log.idle_until <= now {
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
        let log = self.log(key);
        log.in_use = true;
        Position { epoch: log.epoch, offset: log.offset }
    }

    fn release(&mut self, now: Time, key: &ChannelKey) {
        let Some(log) = self.logs.get_mut(key) else { return };
        log.in_use = false;
        log.idle_until = log.idle_until.max(now + Duration::from_secs(1));
        self.reschedule(key);
    }

    fn read(&mut self, now: Time, key: &ChannelKey, read: Read) -> Result<Slice, HistoryLost> {
        let end = self.position(key);
        let after = |since| match since {
            Since::Position(at) if at.epoch == end.epoch && at.offset <= end.offset => Ok(at.offset),
            Since::Position(_) | Since::Unknown => Err(HistoryLost { complete_after: None }),
        };
        let (offset, forwards) = match read.from {
            ReadFrom::Latest => (end.offset + 1, false),
            ReadFrom::After(since) => (after(since)?, true),
            ReadFrom::Before(since) => (after(since)?, false),
        };
        let Some(log) = self.logs.get_mut(key) else { return Ok(Slice::default()) };
        charge(&mut self.bytes, log, |log| log.expire(now));
        if forwards { log.after(offset, read) } else { Ok(log.before(offset, read)) }
    }
}

/// What a log costs besides its publications and ids, in bytes.
const LOG_COST: usize = 300;

/// Changes a log and keeps the sum of all costs true.
fn charge<T>(bytes: &mut usize, log: &mut Log, change: impl FnOnce(&mut Log) -> T) -> T {
    *bytes -= log.cost();
    let result = change(log);
    *bytes += log.cost();
    result
}

/// At least one, then as many as fit.
fn take(publications: impl Iterator<Item = Arc<Publication>>, read: Read) -> Slice {
    let mut slice = Slice::default();
    let mut room = read.bytes;
    for publication in publications {
        let cost = publication.cost();
        if slice.publications.len() >= read.limit || (cost > room && !slice.publications.is_empty()) {
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
    ids: Idempotency,
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
            ids: Idempotency::default(),
            ttl: Duration::ZERO,
            due: None,
            in_use: false,
            idle_until: Time::default(),
        }
    }

    fn after(&self, offset: u64, read: Read) -> Result<Slice, HistoryLost> {
        if offset < self.trimmed {
            return Err(HistoryLost { complete_after: Some(self.trimmed) });
        }
        let start = self.ring.partition_point(|publication| publication.position.offset <= offset);
        Ok(take(self.ring.range(start..).cloned(), read))
    }

    fn before(&self, offset: u64, read: Read) -> Slice {
        let end = self.ring.partition_point(|publication| publication.position.offset < offset);
        let mut slice = take(self.ring.range(..end).rev().cloned(), read);
        slice.publications.reverse();
        slice
    }

    fn append(&mut self, now: Time, publication: &Arc<Publication>, id: Option<Box<str>>, options: &ChannelOptions) {
        self.ttl = options.history_ttl;
        self.idle_until = publication.timestamp + self.ttl;
        self.bytes += publication.cost();
        self.ring.push_back(Arc::clone(publication));
        while self.ring.len() > options.history_size || self.bytes > options.history_bytes && !self.ring.is_empty() {
            self.pop();
        }
        if let Some(id) = id {
            self.ids.remember(now, id, self.offset, options.idempotency_ttl, options.idempotency_ids);
        }
    }

    fn expire(&mut self, now: Time) {
        while self.ring.front().is_some_and(|oldest| oldest.timestamp + self.ttl <= now) {
            self.pop();
        }
        self.ids.expire(now);
    }

    fn forget_oldest(&mut self) {
        if self.ring.is_empty() {
            self.ids.forget_oldest();
        } else {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some(oldest) = self.ring.pop_front() else { return };
        self.trimmed = oldest.position.offset;
        self.bytes -= oldest.cost();
    }

    fn cost(&self) -> usize {
        self.bytes + self.ids.cost()
    }

    fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.ids.is_empty()
    }

    /// When somebody must look at the log again: as its oldest publication or id expires or, if it is empty, as it may be forgotten.
    fn next_due(&self) -> Option<Time> {
        let publication = self.ring.front().map(|oldest| oldest.timestamp + self.ttl);
        let idle = (self.is_empty() && !self.in_use).then_some(self.idle_until);
        [publication, self.ids.poll_timeout(), idle].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use switchboard_core::{App, AppId, ChannelName, ClientInfo, Payload, Publish, UserId};

    fn after(position: Position, limit: usize, bytes: usize) -> Read {
        Read { from: ReadFrom::After(Since::Position(position)), limit, bytes }
    }

    fn latest(limit: usize, bytes: usize) -> Read {
        Read { from: ReadFrom::Latest, limit, bytes }
    }

    fn key(name: &str) -> ChannelKey {
        ChannelKey::new(AppId::new("app"), ChannelName::parse(name).unwrap())
    }

    fn publish(broker: &mut MemoryBroker, now: u64, options: ChannelOptions, text: &str) -> Position {
        let app = Arc::new(App { channels: options.into(), ..App::new(AppId::new("app")) });
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
            other => panic!("{other:?}"),
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
        assert_eq!(offsets(&broker.read(now, &key("c"), after(at(2), 10, usize::MAX)).unwrap()), [3, 4, 5]);
        let lost = broker.read(now, &key("c"), after(at(1), 10, usize::MAX)).unwrap_err();
        assert_eq!(lost.complete_after, Some(2));
        // A position that was never given is no position.
        assert!(broker.read(now, &key("c"), after(at(6), 10, usize::MAX)).is_err());
        let other = Position { epoch: Epoch(8), offset: 5 };
        assert_eq!(broker.read(now, &key("c"), after(other, 10, usize::MAX)).unwrap_err().complete_after, None);
    }

    #[test]
    fn slices_stop_at_their_limits_but_hold_at_least_one() {
        let mut broker = MemoryBroker::new(7, usize::MAX);
        for n in 0..5 {
            publish(&mut broker, n, ChannelOptions::default(), "x");
        }
        let now = Time::from_secs(5);
        let slice = broker.read(now, &key("c"), latest(2, usize::MAX)).unwrap();
        assert_eq!((offsets(&slice), slice.more), (vec![4, 5], true));
        let slice = broker.read(now, &key("c"), latest(10, 1)).unwrap();
        assert_eq!((offsets(&slice), slice.more), (vec![5], true));
        let all = broker.read(now, &key("c"), latest(5, usize::MAX)).unwrap();
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
        assert_eq!(offsets(&broker.read(Time::from_secs(10), &key("c"), latest(9, 9999)).unwrap()), [2]);
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
        assert_eq!(
            broker.read(Time::from_secs(100), &key("c"), latest(999, usize::MAX)).unwrap().publications.len(),
            9
        );
    }

    #[test]
    fn without_history_nothing_is_kept_and_a_position_still_tells_who_missed_something() {
        let mut broker = MemoryBroker::new(7, usize::MAX);
        let options = ChannelOptions { history_size: 0, ..ChannelOptions::default() };
        broker.retain(&key("c"));
        let first = publish(&mut broker, 0, options.clone(), "x");
        let now = Time::from_secs(1);
        assert!(broker.read(now, &key("c"), after(first, 9, 9)).unwrap().publications.is_empty());
        publish(&mut broker, 0, options, "x");
        assert!(broker.read(now, &key("c"), after(first, 9, 9)).is_err());
    }

    /// Publishes on conditions; the outcome as text.
    fn publish_if(broker: &mut MemoryBroker, now: u64, user: &str, id: Option<&str>, at: Option<Since>) -> String {
        let app = Arc::new(App::new(AppId::new("app")));
        let publish = Publish { id: id.map(Into::into), if_position: at, ..Publish::new(Payload::Text("x".into())) };
        let publisher = (!user.is_empty()).then(|| ClientInfo { user: UserId::parse(user).unwrap() });
        let request = PublishRequest { key: key("c"), app, publish, publisher, exclude: None, origin: None };
        broker.publish(Time::from_secs(now), request);
        match broker.poll_event().unwrap() {
            BrokerEvent::Published { publication, .. } => format!("{}", publication.position.offset),
            BrokerEvent::Duplicate { position, .. } => format!("again {}", position.offset),
            BrokerEvent::Refused { reject, .. } => {
                format!("{} at {}", reject.code.as_str(), reject.position.unwrap().offset)
            }
        }
    }

    #[test]
    fn an_id_is_published_once_and_each_user_has_ids_of_its_own() {
        let mut broker = MemoryBroker::new(7, usize::MAX);
        let mut publish = |now, user, id| publish_if(&mut broker, now, user, Some(id), None);
        assert_eq!(publish(0, "ann", "a"), "1");
        assert_eq!(publish(1, "ann", "a"), "again 1");
        assert_eq!(publish(1, "bob", "a"), "2");
        assert_eq!(publish(1, "", "a"), "3");
        // Guests have another name after each reconnection.
        assert_eq!(
            (publish(1, "guest-0-1", "a"), publish(2, "guest-0-2", "a")),
            ("4".to_owned(), "again 4".to_owned())
        );
        assert_eq!(publish(119, "ann", "a"), "again 1");
        assert_eq!(publish(120, "ann", "a"), "5");
    }

    #[test]
    fn ids_are_charged_and_freed() {
        let mut broker = MemoryBroker::new(7, usize::MAX);
        publish_if(&mut broker, 0, "", Some("a"), None);
        let with_id = broker.bytes;
        publish_if(&mut broker, 0, "", None, None);
        assert_eq!(broker.bytes - with_id, with_id - LOG_COST - 82);
        broker.handle_timeout(Time::from_secs(120));
        broker.handle_timeout(Time::from_secs(300));
        assert_eq!((broker.bytes, broker.logs.len(), broker.poll_timeout()), (0, 0, None));
        // For want of room the ids go after the publications.
        let mut broker = MemoryBroker::new(7, LOG_COST + 100);
        publish_if(&mut broker, 0, "", Some("a"), None);
        assert_eq!(broker.bytes, LOG_COST + 82);
        assert_eq!(publish_if(&mut broker, 0, "", Some("a"), None), "again 1");
    }

    #[test]
    fn a_comparison_lets_one_publisher_through_and_tells_the_other_where_the_channel_is() {
        let mut broker = MemoryBroker::new(7, usize::MAX);
        let at = |epoch, offset| Some(Since::Position(Position { epoch: Epoch(epoch), offset }));
        let mut publish = |id, at| publish_if(&mut broker, 0, "", id, at);
        assert_eq!(publish(None, at(7, 0)), "1");
        assert_eq!(publish(None, at(7, 0)), "conflict at 1");
        assert_eq!(publish(None, at(8, 1)), "conflict at 1");
        assert_eq!(publish(None, Some(Since::Unknown)), "conflict at 1");
        assert_eq!(publish(Some("a"), at(7, 1)), "2");
        // Asked again after a lost answer: no conflict with itself.
        assert_eq!(publish(Some("a"), at(7, 1)), "again 2");
        assert_eq!(publish(Some("b"), at(7, 1)), "conflict at 2");
        assert_eq!(publish(Some("b"), at(7, 2)), "3");
    }

    #[test]
    fn history_is_read_backwards_until_nothing_older_is_kept() {
        let mut broker = MemoryBroker::new(7, usize::MAX);
        let options = ChannelOptions { history_size: 4, ..ChannelOptions::default() };
        for n in 0..6 {
            publish(&mut broker, n, options.clone(), "x");
        }
        let mut read = |epoch, offset| {
            let from = ReadFrom::Before(Since::Position(Position { epoch: Epoch(epoch), offset }));
            let slice = broker.read(Time::from_secs(6), &key("c"), Read { from, limit: 2, bytes: usize::MAX });
            slice.map(|slice| (offsets(&slice), slice.more))
        };
        assert_eq!(read(7, 6), Ok((vec![4, 5], true)));
        assert_eq!(read(7, 4), Ok((vec![3], false)));
        assert_eq!(read(7, 1), Ok((vec![], false)));
        assert!(read(7, 7).is_err() && read(8, 6).is_err());
    }
}
