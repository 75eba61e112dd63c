//! A node with its brokers and its store, and the books that a client would keep about it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use switchboard_core::{
    App, AppId, CacheEffect, CacheRequest, ChannelName, ChannelOptions, Epoch, OpId, Payload, Position, Publish,
    ReadFrom, RejectCode, Since, Time,
};
use switchboard_hub::{Broker, BrokerEvent, Caller, ChannelKey, History, PublishRequest, Read, ReturnAddress, ShardId};
use switchboard_store::{
    DurableBroker, FaultyDisk, Fsync, JournalOptions, Replies, Report, Request, Store, StoreOptions, StoreState,
};

pub(crate) const SHARDS: u16 = 2;

/// What clients were told over the whole life of a disk.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Delivered publications, by channel and place. One place never has two contents.
    pub(crate) delivered: BTreeMap<(String, u64, u64), String>,
    /// What each request was about.
    pub(crate) asked: BTreeMap<u64, (String, String, Option<String>)>,
    /// Ids that were acknowledged, with their place.
    pub(crate) ids: BTreeMap<(String, String), (u64, u64)>,
    /// What was done to the cached value of each channel: the texts that may be it, and the offset of what was acknowledged last.
    pub(crate) cached: BTreeMap<String, Cached>,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) unavailable: u64,
    pub(crate) conflicts: u64,
    pub(crate) duplicates: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Cached {
    /// The last that was acknowledged; `None` if it was cleared, or never was one.
    acknowledged: Option<String>,
    /// What was asked for since, and is not answered.
    asked: Vec<(u64, Option<String>)>,
    /// Everything that ever was asked for.
    ever: BTreeSet<String>,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) disk: FaultyDisk,
    pub(crate) store: Store<FaultyDisk>,
    pub(crate) brokers: Vec<DurableBroker>,
    mail: VecDeque<Request>,
    pub(crate) now: Time,
    pub(crate) books: Books,
    app: Arc<App>,
    next: u64,
    fsync: Fsync,
    starts: u64,
    pub(crate) segment_bytes: usize,
}

pub(crate) fn options(size: usize) -> ChannelOptions {
    ChannelOptions { history_size: size, history_ttl: Duration::from_secs(60), ..ChannelOptions::default() }
}

fn key(channel: &str) -> ChannelKey {
    ChannelKey::new(AppId::new("app"), ChannelName::parse(channel).unwrap())
}

impl Node {
    pub(crate) fn start(
        disk: FaultyDisk,
        fsync: Fsync,
        options: ChannelOptions,
        segment_bytes: usize,
    ) -> (Self, Report) {
        let app = Arc::new(App { channels: options.into(), ..App::new(AppId::new("app")) });
        let now = Time::from_secs(1_000);
        let (store, brokers, report) = open(&disk, fsync, now, segment_bytes, 1);
        let books = Books::default();
        let mail = VecDeque::new();
        (Self { disk, store, brokers, mail, now, books, app, next: 0, fsync, starts: 1, segment_bytes }, report)
    }

    /// The process ends so, and another begins on what is left.
    pub(crate) fn crash(&mut self, end: fn(&FaultyDisk)) -> Report {
        end(&self.disk);
        self.restart(self.disk.clone())
    }

    /// The process is gone, and another begins on what the disk has.
    pub(crate) fn restart(&mut self, disk: FaultyDisk) -> Report {
        self.starts += 1;
        let (store, brokers, report) = open(&disk, self.fsync, self.now, self.segment_bytes, self.starts);
        (self.disk, self.store, self.brokers) = (disk, store, brokers);
        self.mail.clear();
        report
    }

    pub(crate) fn publish(&mut self, channel: &str, id: Option<&str>, if_position: Option<Since>) {
        self.publish_cached(channel, id, if_position, CacheRequest::ByOptions);
    }

    pub(crate) fn publish_cached(
        &mut self,
        channel: &str,
        id: Option<&str>,
        if_position: Option<Since>,
        cache: CacheRequest,
    ) {
        self.next += 1;
        let number = self.next;
        // Sizes vary, so that records fall on all places of a sector.
        let text = format!("{number}:{}", "x".repeat((number * 37 % 90) as usize));
        self.books.asked.insert(number, (channel.to_owned(), text.clone(), id.map(ToOwned::to_owned)));
        let cached = self.books.cached.entry(channel.to_owned()).or_default();
        match cache {
            CacheRequest::ByOptions => {}
            CacheRequest::Keep => {
                cached.asked.push((number, Some(text.clone())));
                cached.ever.insert(text.clone());
            }
            CacheRequest::Clear => cached.asked.push((number, None)),
        }
        let key = key(channel);
        let shard = key.home(SHARDS);
        let publish =
            Publish { id: id.map(Into::into), if_position, cache, ..Publish::new(Payload::Text(text.into())) };
        let origin = ReturnAddress { shard, caller: Caller::External(number), op: OpId(number), bytes: 0 };
        let app = Arc::clone(&self.app);
        let request = PublishRequest { key, app, publish, publisher: None, exclude: None, origin: Some(origin) };
        self.brokers[usize::from(shard.0)].publish(self.now, request);
        self.events(usize::from(shard.0));
    }

    /// Takes requests from the brokers; they are on their way then.
    pub(crate) fn collect(&mut self) {
        for broker in &mut self.brokers {
            self.mail.extend(core::iter::from_fn(|| broker.poll_request()));
        }
    }

    /// The store takes so many requests as one batch, and its replies arrive.
    pub(crate) fn commit(&mut self, count: usize) {
        let count = count.min(self.mail.len());
        let batch: Vec<Request> = self.mail.drain(..count).collect();
        let replies = self.store.handle(self.now, batch);
        self.receive(replies);
    }

    pub(crate) fn settle(&mut self) {
        loop {
            self.collect();
            if self.mail.is_empty() {
                return;
            }
            self.commit(usize::MAX);
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        for shard in 0..self.brokers.len() {
            if self.brokers[shard].poll_timeout().is_some_and(|due| due <= self.now) {
                self.brokers[shard].handle_timeout(self.now);
            }
        }
        if self.store.poll_timeout().is_some_and(|due| due <= self.now) {
            let replies = self.store.handle_timeout(self.now);
            self.receive(replies);
        }
    }

    fn receive(&mut self, replies: Replies) {
        for (ShardId(shard), replies) in replies {
            for reply in replies {
                self.brokers[usize::from(shard)].handle_reply(self.now, reply);
            }
            self.events(usize::from(shard));
        }
    }

    fn events(&mut self, shard: usize) {
        while let Some(event) = self.brokers[shard].poll_event() {
            self.event(event);
        }
    }

    fn event(&mut self, event: BrokerEvent) {
        let asked = |books: &Books, origin: Option<ReturnAddress>| {
            let Caller::External(number) = origin.unwrap().caller else { unreachable!() };
            books.asked[&number].clone()
        };
        match event {
            BrokerEvent::Published { key, publication, origin } => {
                let (channel, text, id) = asked(&self.books, origin);
                assert_eq!(channel, key.channel.as_str());
                let cached = self.books.cached.get_mut(&channel).unwrap();
                match publication.cache {
                    CacheEffect::None => {}
                    CacheEffect::Keep(_) => cached.acknowledged = Some(text.clone()),
                    CacheEffect::Clear => cached.acknowledged = None,
                }
                let number: u64 = text.split_once(':').unwrap().0.parse().unwrap();
                cached.asked.retain(|(asked, _)| *asked > number);
                let Position { epoch: Epoch(epoch), offset } = publication.position;
                let other = self.books.delivered.insert((channel.clone(), epoch, offset), text);
                assert_eq!(other, None, "{channel} {epoch} {offset} was given away twice");
                if let Some(id) = id {
                    let twice = self.books.ids.insert((channel, id.clone()), (epoch, offset));
                    // A publication that was lost takes its id with it.
                    assert!(twice.is_none() || self.fsync != Fsync::Always, "{id} was published twice");
                }
                self.books.acknowledged += 1;
            }
            BrokerEvent::Duplicate { position, origin, .. } => {
                let (channel, _, id) = asked(&self.books, origin);
                let first = self.books.ids.get(&(channel, id.unwrap()));
                assert!(first.is_none_or(|(_, offset)| *offset == position.offset), "{position:?} {first:?}");
                self.books.duplicates += 1;
            }
            BrokerEvent::Loaded { .. } => panic!("it has everything at hand"),
            BrokerEvent::Control(_) => panic!("nobody asked for it"),
            BrokerEvent::Refused { reject, .. } => {
                self.books.refused += 1;
                match reject.code {
                    RejectCode::Unavailable => self.books.unavailable += 1,
                    RejectCode::Conflict => self.books.conflicts += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    pub(crate) fn position(&self, channel: &str) -> Position {
        let key = key(channel);
        self.brokers[usize::from(key.home(SHARDS).0)].position(&key)
    }

    pub(crate) fn read(&mut self, channel: &str, from: ReadFrom) -> Option<Vec<(u64, String)>> {
        let key = key(channel);
        let now = self.now;
        let slice = self.brokers[usize::from(key.home(SHARDS).0)].read(now, &key, Read::all(from)).ok()?;
        let text = |payload: &Payload| match payload {
            Payload::Text(text) => text.to_string(),
            other => panic!("{other:?}"),
        };
        let line = |publication: &Arc<switchboard_core::Publication>| {
            (publication.position.offset, text(&publication.payload))
        };
        Some(slice.publications.iter().map(line).collect())
    }

    pub(crate) fn after(&mut self, channel: &str, epoch: u64, offset: u64) -> Option<Vec<(u64, String)>> {
        self.read(channel, ReadFrom::After(Since::Position(Position { epoch: Epoch(epoch), offset })))
    }

    pub(crate) fn latest(&mut self, channel: &str) -> Vec<(u64, String)> {
        self.read(channel, ReadFrom::Latest).unwrap()
    }

    /// Resumes from every place that anybody was ever told of. What is said to be complete must be. Returns how many could resume and how many not.
    pub(crate) fn check_resumes(&mut self) -> (usize, usize) {
        let mut counts = (0, 0);
        let delivered = self.books.delivered.clone();
        for (channel, epoch, offset) in delivered.keys() {
            match self.after(channel, *epoch, *offset) {
                None => counts.1 += 1,
                Some(missed) => {
                    counts.0 += 1;
                    let from = (channel.clone(), *epoch, offset + 1);
                    let to = (channel.clone(), *epoch, u64::MAX);
                    for ((_, _, offset), text) in delivered.range(from..=to) {
                        assert!(
                            missed.iter().any(|(at, found)| at == offset && found == text),
                            "{channel} {offset} {text} is missing in {missed:?}, of {delivered:#?}"
                        );
                    }
                }
            }
        }
        counts
    }

    pub(crate) fn cached(&self, channel: &str) -> Option<String> {
        let key = key(channel);
        let found = self.brokers[usize::from(key.home(SHARDS).0)].cached(self.now, &key)?;
        match &found.payload {
            Payload::Text(text) => Some(text.to_string()),
            other => panic!("{other:?}"),
        }
    }

    /// The cached value is the last that was acknowledged, or one that was asked for after it.
    pub(crate) fn check_cached(&mut self, channel: &str) {
        let found = self.cached(channel);
        let cached = self.books.cached.entry(channel.to_owned()).or_default();
        let right = cached.acknowledged == found || cached.asked.iter().any(|(_, asked)| *asked == found);
        assert!(right, "{channel}: {found:?} of {cached:?}");
        // What was not answered has happened or not.
        (cached.acknowledged, cached.asked) = (found, Vec::new());
    }

    /// The cached value was one at some time.
    pub(crate) fn check_cached_was_one(&self, channel: &str) {
        if let Some(found) = self.cached(channel) {
            assert!(
                self.books.cached[channel].ever.contains(&found),
                "{channel}: {found:?} of {:?}",
                self.books.cached
            );
        }
    }

    /// What is there was published, at most once, and in order.
    pub(crate) fn check_nothing_invented(&mut self) {
        let mut channels: Vec<String> = self.books.asked.values().map(|(channel, ..)| channel.clone()).collect();
        channels.sort();
        channels.dedup();
        for channel in channels {
            let kept = self.latest(&channel);
            assert!(kept.is_sorted_by(|(a, _), (b, _)| a < b), "{kept:?}");
            let texts: BTreeSet<&String> = kept.iter().map(|(_, text)| text).collect();
            assert_eq!(texts.len(), kept.len(), "{kept:?}");
            for (_, text) in kept {
                let number: u64 = text.split_once(':').unwrap().0.parse().unwrap();
                assert_eq!(self.books.asked[&number].0, channel);
                assert_eq!(self.books.asked[&number].1, text);
            }
        }
    }

    /// Everything acknowledged of this channel that its options keep is there, under the place that was told.
    pub(crate) fn check_all_there(&mut self, channel: &str, size: usize) {
        let epoch = self.position(channel).epoch.0;
        let from = (channel.to_owned(), epoch, 0);
        let to = (channel.to_owned(), epoch, u64::MAX);
        let told: Vec<(u64, String)> =
            self.books.delivered.range(from..=to).map(|((_, _, offset), text)| (*offset, text.clone())).collect();
        let kept = self.latest(channel);
        // What was not acknowledged may be there too, and then pushes out the oldest.
        let others = kept.iter().filter(|line| !told.contains(line)).count();
        for line in told.iter().rev().take(size.saturating_sub(others)) {
            assert!(kept.contains(line), "{channel} {line:?} is lost: {kept:?}");
        }
    }

    /// Whoever saw the last that was delivered can go on from there.
    pub(crate) fn check_last_resumes(&mut self, channel: &str) {
        let places = self.books.delivered.keys().filter(|(of, ..)| of == channel);
        let Some((_, epoch, offset)) = places.max().cloned() else { return };
        assert!(self.after(channel, epoch, offset).is_some(), "{channel} {epoch} {offset} cannot go on");
    }

    /// Ends the process in order. Returns whether everything had arrived.
    pub(crate) fn close(&mut self) -> bool {
        let issued: Vec<u64> = self.brokers.iter().map(|broker| broker.issued().load(Ordering::Acquire)).collect();
        let (other, _, _) = open(&FaultyDisk::new(9), Fsync::Never, self.now, 1 << 16, 1);
        core::mem::replace(&mut self.store, other).close(&issued).unwrap()
    }

    pub(crate) fn state(&self) -> StoreState {
        self.store.state()
    }
}

fn open(
    disk: &FaultyDisk,
    fsync: Fsync,
    now: Time,
    segment_bytes: usize,
    start: u64,
) -> (Store<FaultyDisk>, Vec<DurableBroker>, Report) {
    // None, some and all that a segment has room for.
    let ahead_bytes = [segment_bytes, 0, 150][(start % 3) as usize];
    let journal = JournalOptions { segment_bytes, ahead_bytes, ..JournalOptions::new(0x5eed, start << 32) };
    let options = StoreOptions { fsync, journal };
    let (store, channels, report) = Store::open(disk.clone(), options, now, SHARDS, &mut |_, _| {}).unwrap();
    let broker =
        |shard| DurableBroker::new(ShardId(shard), fsync, start << 32 | 1 << 20 | u64::from(shard) << 24, 1 << 20);
    let mut brokers: Vec<DurableBroker> = (0..SHARDS).map(broker).collect();
    for channel in channels {
        brokers[usize::from(channel.key.home(SHARDS).0)].restore(now, channel);
    }
    (store, brokers, report)
}
