//! The broker of one node without a disk: order, in memory.
//!
//! Owns offsets and conditions. Knows nothing of subscribers, nor of how what it keeps is kept.

use crate::address::ChannelKey;
use crate::broker::{
    Broker, BrokerEvent, ControlRequest, Guarantees, History, HistoryLost, Placed, PublishRequest, Read, Slice,
};
use crate::logs::Logs;
use core::convert::Infallible;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{Position, Publication, Since, Time};

/// Keeps each channel's latest publications within the options of its application, and all of them within one bound.
#[derive(Debug)]
pub struct MemoryBroker {
    logs: Logs,
    events: VecDeque<BrokerEvent>,
}

impl MemoryBroker {
    /// An empty broker. No two runs of a server may begin with the same `epoch` or near it: draw it at random. All channels together keep at most
    /// `bytes_max` bytes of publications.
    pub fn new(epoch: u64, bytes_max: usize) -> Self {
        Self { logs: Logs::new(epoch, bytes_max), events: VecDeque::new() }
    }

    /// All cached values together have at most so many bytes, in place of 32 MiB.
    pub fn bound_cached(&mut self, bytes_max: usize) {
        self.logs.bound_cached(bytes_max);
    }

    /// What all channels keep, in bytes; 0 once everything is forgotten.
    pub fn bytes(&self) -> usize {
        self.logs.bytes()
    }

    /// What is answered in place of publishing, if the publication is a duplicate or its comparison fails.
    fn check(&mut self, now: Time, request: &PublishRequest, id: Option<&str>) -> Option<BrokerEvent> {
        let id = id.filter(|_| request.publish.if_position.is_none() || !is_planted(Canary::ConflictWithItself));
        if let Some(position) = id.and_then(|id| self.logs.find_id(now, &request.key, id)) {
            return Some(BrokerEvent::Duplicate { key: request.key.clone(), position, origin: request.origin });
        }
        let demanded = request.publish.if_position?;
        if demanded == Since::Position(self.position(&request.key)) || is_planted(Canary::ConditionIgnored) {
            return None;
        }
        let position = self.logs.meet(now, &request.key);
        Some(BrokerEvent::Refused { origin: request.origin, reject: request.conflict(position) })
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
        let at = self.logs.enter(&request.key);
        let position = Position { offset: at.offset + 1, ..at };
        let options = Arc::clone(request.app.channels.of(&request.key.channel));
        let cache = request.cache_effect_with(&options);
        let Placed { key, publication, origin, .. } = request.place_with(cache, now, position, at.offset);
        self.logs.append(&key, &publication, id, &options);
        self.events.push_back(BrokerEvent::Published { key, publication, origin });
    }

    fn control(&mut self, _: Time, request: ControlRequest) {
        self.events.push_back(BrokerEvent::Control(request));
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
        self.logs.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Time) {
        self.logs.handle_timeout(now);
    }

    fn guarantees(&self) -> Guarantees {
        Guarantees { survives_restart: false, crosses_nodes: false }
    }
}

impl History for MemoryBroker {
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
        self.logs.read(now, key, read)
    }

    fn cached(&self, now: Time, key: &ChannelKey) -> Option<Arc<Publication>> {
        self.logs.cached(now, key).cloned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::logs::own_cost;
    use core::time::Duration;
    use switchboard_core::{
        App, AppId, CacheRequest, ChannelName, ChannelOptions, ClientInfo, Epoch, Payload, Publish, ReadFrom, UserId,
    };

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
        assert_eq!((broker.bytes(), broker.poll_timeout()), (own_cost(&key("c")), None));
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
            assert!(broker.bytes() <= 10_000, "{}", broker.bytes());
        }
        assert_eq!(
            broker.read(Time::from_secs(100), &key("c"), latest(999, usize::MAX)).unwrap().publications.len(),
            8
        );
    }

    /// Channels that keep a cached value alone would else be more than any bound, each for as long as its value.
    #[test]
    fn for_want_of_room_cached_values_go_with_their_channels_those_first_that_would_go_first() {
        let mut broker = MemoryBroker::new(7, 10 * own_cost(&key("c00")));
        let keep = |broker: &mut MemoryBroker, n: u64| {
            let options = ChannelOptions { history_size: 0, ..ChannelOptions::default() };
            let app = Arc::new(App { channels: options.into(), ..App::new(AppId::new("app")) });
            let publish = Publish { cache: CacheRequest::Keep, ..Publish::new(Payload::Text("x".into())) };
            let key = key(&format!("c{n:02}"));
            let request = PublishRequest { key, app, publish, publisher: None, exclude: None, origin: None };
            broker.publish(Time::from_secs(n), request);
        };
        (0..30).for_each(|n| keep(&mut broker, n));
        let now = Time::from_secs(30);
        let cached: Vec<u64> = (0..30).filter(|n| broker.cached(now, &key(&format!("c{n:02}"))).is_some()).collect();
        assert_eq!((cached, broker.logs.len()), ((20..30).collect(), 10));
        // Who is subscribed keeps the channel, and with it the value.
        broker.retain(&key("c20"));
        (30..60).for_each(|n| keep(&mut broker, n));
        let now = Time::from_secs(60);
        let cached: Vec<u64> = (0..60).filter(|n| broker.cached(now, &key(&format!("c{n:02}"))).is_some()).collect();
        assert_eq!(cached, core::iter::once(20).chain(51..60).collect::<Vec<u64>>());
        broker.release(now, &key("c20"));
        [90_000, 90_400].into_iter().for_each(|at| broker.handle_timeout(Time::from_secs(at)));
        assert_eq!((broker.bytes(), broker.logs.len(), broker.poll_timeout()), (0, 0, None));
    }

    #[test]
    fn a_channel_whose_cached_value_has_gone_is_forgotten() {
        let mut broker = MemoryBroker::new(7, usize::MAX);
        let cache_ttl = Duration::from_secs(100);
        let options = ChannelOptions { history_size: 0, cache: true, cache_ttl, ..ChannelOptions::default() };
        publish(&mut broker, 0, options, "x");
        broker.handle_timeout(Time::from_secs(99));
        assert_eq!((broker.logs.len(), broker.cached(Time::from_secs(99), &key("c")).is_some()), (1, true));
        // As long as the channel could have kept what it has published.
        [100, 400].into_iter().for_each(|at| broker.handle_timeout(Time::from_secs(at)));
        assert_eq!((broker.bytes(), broker.logs.len(), broker.poll_timeout()), (0, 0, None));
        // One that was cleared keeps the channel no longer either.
        for (now, cache) in [(500, CacheRequest::Keep), (501, CacheRequest::Clear)] {
            let app = Arc::new(App::new(AppId::new("app")));
            let publish = Publish { cache, ..Publish::new(Payload::Text("x".into())) };
            let request = PublishRequest { key: key("c"), app, publish, publisher: None, exclude: None, origin: None };
            broker.publish(Time::from_secs(now), request);
        }
        broker.handle_timeout(Time::from_secs(900));
        assert_eq!((broker.bytes(), broker.logs.len(), broker.poll_timeout()), (0, 0, None));
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
            other @ (BrokerEvent::Loaded { .. } | BrokerEvent::Control(_)) => panic!("{other:?}"),
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
        let with_id = broker.bytes();
        publish_if(&mut broker, 0, "", None, None);
        let (own, id) = (own_cost(&key("c")), 256 + 146);
        assert_eq!(broker.bytes() - with_id, with_id - own - id);
        broker.handle_timeout(Time::from_secs(120));
        broker.handle_timeout(Time::from_secs(300));
        assert_eq!((broker.bytes(), broker.logs.len(), broker.poll_timeout()), (0, 0, None));
        // For want of room the ids go after the publications.
        let mut broker = MemoryBroker::new(7, own + id + 20);
        publish_if(&mut broker, 0, "", Some("a"), None);
        assert_eq!(broker.bytes(), own + id);
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
