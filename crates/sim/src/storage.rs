//! The store behind the brokers, as the server's thread drives it: what comes in while a batch is on its way to the disk is the next batch. The disk is
//! the product's own faulty one; it outlives the node.

use crate::Violation;
use crate::found::{Ended, FOREVER};
use crate::node::{Node, shard_id};
use crate::plan::{DiskFault, End, Setup};
use crate::recorder::Inner;
use crate::world::{Due, World};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::Time;
use switchboard_hub::MemoryBroker;
use switchboard_store::{
    Disk, DurableBroker, Faults, FaultyDisk, Fsync, JournalOptions, RecoveredChannel, Replies, Report, Request, Store,
    StoreOptions, StoreState,
};
use switchboard_testkit::Rng;

/// What keeps the history of a node on a disk.
#[derive(Debug)]
pub(crate) struct Storage {
    disk: FaultyDisk,
    fsync: Fsync,
    store: Option<Store<FaultyDisk>>,
    /// Requests on their way, as the shards sent them.
    batches: VecDeque<Vec<Request>>,
    /// What the batch that is on its way to the disk will be answered.
    answers: Option<Replies>,
    /// How many requests each shard has made.
    issued: Vec<Arc<AtomicU64>>,
    /// Which process it is: what was to happen to another one does not.
    life: u64,
    /// Syncs take long.
    slow: bool,
    /// Somebody has been told to start the node again, because its disk has failed.
    called: bool,
    /// Bytes were turned over.
    damaged: bool,
    /// The last process ended in order.
    orderly: bool,
    /// One between it and this one did not come so far as to serve anybody: it may have begun to put the journal in order.
    interrupted: bool,
    /// Since when what was delivered may not have been kept.
    doubtful: Option<Time>,
    /// What was delivered before has been handed to the system, and will be synced in time.
    unsynced: Option<Time>,
    /// What was delivered before has been synced, if that is done at intervals.
    synced: Time,
    /// The disk must have what was delivered before, if syncs are made at intervals.
    kept_before: Time,
}

/// What a shard sends at once.
const REQUESTS_MAX: usize = 16;
/// How long a batch takes while the disk is slow.
const SLOW: Latencies = (Duration::from_millis(200), 2_000_000);
type Latencies = (Duration, u64);

impl Storage {
    pub(crate) fn new(setup: &Setup, rng: &mut Rng) -> Option<Self> {
        let fsync = setup.fsync?;
        Some(Self {
            disk: FaultyDisk::new(rng.number()),
            fsync,
            store: None,
            batches: VecDeque::new(),
            answers: None,
            issued: Vec::new(),
            life: 0,
            slow: false,
            called: false,
            damaged: false,
            orderly: true,
            interrupted: false,
            doubtful: None,
            unsynced: None,
            synced: Time::default(),
            kept_before: Time::default(),
        })
    }

    /// Starts on what the disk has. The first attempt may be interrupted too.
    fn open(&mut self, now: Time, setup: &Setup, rng: &mut Rng) -> Result<(Vec<RecoveredChannel>, Report), Violation> {
        let stumbles = rng.one_in(4).then(|| rng.number() % 12);
        self.disk.set_faults(Faults { operations_left: stumbles, ..Faults::default() });
        self.interrupted = false;
        for _ in 0..2 {
            let (seed, epoch) = (rng.number(), rng.number() & 0xFFFF_FFFF_FFFF);
            let segment_bytes = setup.segment_bytes;
            let ahead_bytes = match seed % 3 {
                0 => 0,
                1 => segment_bytes / 8,
                _ => segment_bytes,
            };
            let journal = JournalOptions { segment_bytes, ahead_bytes, ..JournalOptions::new(seed, epoch) };
            let options = StoreOptions { fsync: self.fsync, journal };
            match Store::open(self.disk.clone(), options, now, setup.shards, &mut |_, _| {}) {
                Ok((store, channels, report)) if !self.disk.has_stopped() => {
                    self.disk.set_faults(Faults::default());
                    self.store = Some(store);
                    return Ok((channels, report));
                }
                Err(error) if !self.disk.has_stopped() => {
                    return Err(Violation::new("durable: the store does not open", error.to_string()));
                }
                Ok(_) | Err(_) => self.disk.lose_power(),
            }
            self.interrupted = true;
        }
        Err(Violation::new("durable: the store does not open", "twice".to_owned()))
    }

    /// The brokers of all shards, with what was found of their channels.
    fn brokers(&mut self, now: Time, setup: &Setup, rng: &mut Rng, channels: Vec<RecoveredChannel>) -> Vec<Inner> {
        let broker = |shard| {
            let epoch = rng.number() & 0xFFFF_FFFF_FFFF;
            let mut broker = DurableBroker::new(shard_id(shard), self.fsync, epoch, setup.history_bytes_max);
            broker.bound_asked(setup.asked_bytes_max);
            broker
        };
        let mut brokers: Vec<DurableBroker> = (0..usize::from(setup.shards)).map(broker).collect();
        for channel in channels {
            let home = usize::from(channel.key.home(setup.shards).0);
            brokers[home].restore(now, channel);
        }
        self.issued = brokers.iter().map(DurableBroker::issued).collect();
        brokers.into_iter().map(|broker| Inner::Durable(Box::new(broker))).collect()
    }

    fn end(&mut self, now: Time, end: End) {
        self.orderly = end == End::Order && self.close();
        match end {
            _ if self.disk.has_stopped() => self.disk.lose_power(),
            End::Power => self.disk.lose_power(),
            End::Kill | End::Order => self.disk.kill(),
        }
        // Whatever the end: the next start may be interrupted by a loss of power.
        self.kept_before = self.doubtful.take().map_or(self.synced, |doubtful| doubtful.min(self.synced));
        (self.unsynced, self.synced) = (None, now);
        (self.store, self.answers) = (None, None);
        self.batches.clear();
        (self.slow, self.called) = (false, false);
        self.life += 1;
    }

    fn close(&mut self) -> bool {
        // What was delivered and could not be kept is lost, in order or not.
        let refused = self.store.as_ref().is_some_and(|store| store.stats().refused > 0);
        let issued: Vec<u64> = self.issued.iter().map(|issued| issued.load(Ordering::Acquire)).collect();
        self.store.take().is_some_and(|store| matches!(store.close(&issued), Ok(true)) && !refused)
    }

    /// The store has had so many requests, and has synced what was due.
    fn note_kept(&mut self, now: Time, requests: u64) {
        let Fsync::Interval(interval) = self.fsync else { return };
        if let Some(written) = self.unsynced.take_if(|written| *written + interval <= now) {
            self.synced = written;
        }
        let issued: u64 = self.issued.iter().map(|issued| issued.load(Ordering::Acquire)).sum();
        if issued == requests {
            self.unsynced.get_or_insert(now);
        }
    }

    /// Turns a byte over in a file that is whole: what was written last could not be told from what was never written.
    fn flip(&mut self, number: u64) {
        let mut names: Vec<String> = self.disk.list().unwrap_or_default();
        names.retain(|name| name.starts_with("journal-") && !name.ends_with(".new"));
        names.sort();
        names.pop();
        let draw = |bound: usize| usize::try_from(number).unwrap_or(0) % bound.max(1);
        let Some(name) = names.get(draw(names.len())) else { return };
        let length = self.disk.length(name).map_or(0, |length| usize::try_from(length).unwrap_or(0));
        self.disk.flip(name, draw(length), (number % 8) as u8);
        self.damaged = true;
    }

    /// Whether nothing is on its way, and nothing kept of what nobody wants any more.
    pub(crate) fn left(&self) -> Option<String> {
        let stats = self.store.as_ref()?.stats();
        let idle = self.batches.is_empty() && self.answers.is_none();
        let empty = stats.channels == 0 || stats.state != StoreState::Writable;
        (!idle || !empty).then(|| format!("{stats:?}, {} batches", self.batches.len()))
    }

    /// What is on the disk, and what may be.
    pub(crate) fn room(&self, setup: &Setup) -> Option<(usize, usize)> {
        let stats = self.store.as_ref()?.stats();
        let [bytes, live] = [stats.bytes, stats.bytes_live].map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        // A batch is never parted, and what is to go goes with the next ones.
        Some((bytes, 2 * live + 6 * setup.segment_bytes + 4 * BATCH_BYTES))
    }
}

/// What one batch may have, in bytes: what all shards may send at once.
const BATCH_BYTES: usize = 64 * 1024;

/// The names of channels have a hash in them that is another in each process.
fn without_hashes(text: &str) -> String {
    let mut parts = text.split(", hash: ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

impl World<'_> {
    /// The node's brokers begin: with nothing, or with what the disk has.
    pub(crate) fn begin_brokers(&mut self) -> Result<Vec<Inner>, Violation> {
        let setup = &self.plan.setup;
        let Some(storage) = &mut self.storage else {
            self.truth.borrow_mut().lose_cached();
            let memory = |rng: &mut Rng| MemoryBroker::new(rng.number() & 0xFFFF_FFFF_FFFF, setup.history_bytes_max);
            return Ok((0..setup.shards).map(|_| Inner::Memory(Box::new(memory(&mut self.rng)))).collect());
        };
        let (channels, report) = storage.open(self.now, setup, &mut self.rng)?;
        self.trace
            .note(self.now, "found", &[channels.len() as u64], || without_hashes(&format!("{report:?} {channels:?}")));
        let wrong = |what: &'static str| Err(Violation::new(what, format!("{report:?}")));
        if !storage.damaged && (!report.damage.is_empty() || report.new_epochs > 0) {
            return wrong("durable: damage where there is none");
        }
        let clean = report.clean || storage.interrupted;
        if storage.orderly && storage.life > 0 && (!clean || report.skipped > 0) {
            return wrong("durable: an end in order is taken for a crash");
        }
        let kept_before = match storage.fsync {
            _ if storage.orderly => FOREVER,
            Fsync::Always => FOREVER,
            Fsync::Interval(_) => storage.kept_before,
            Fsync::Never => Time::default(),
        };
        self.truth.borrow_mut().find(&channels, Ended { kept_before, damaged: storage.damaged })?;
        Ok(storage.brokers(self.now, setup, &mut self.rng, channels))
    }

    /// The process is over, in one way or another.
    pub(crate) fn end_store(&mut self, end: End) {
        let Some(storage) = &mut self.storage else { return };
        if end == End::Order && !storage.disk.has_stopped() {
            // The shards have stopped; what they asked for is still carried out.
            let mut requests: Vec<Request> = storage.batches.drain(..).flatten().collect();
            for shard in &mut self.node.shards {
                requests.extend(core::iter::from_fn(|| shard.sessions.poll_broker_request()));
            }
            if let Some(store) = &mut storage.store {
                let _ = store.handle(self.now, requests);
            }
        }
        storage.end(self.now, end);
    }

    /// Turns a byte over while the node is down.
    pub(crate) fn flip(&mut self, number: u64) {
        if let Some(storage) = self.storage.as_mut().filter(|_| !self.node.up) {
            storage.flip(number);
        }
    }

    /// Something goes wrong with the disk, or is well again.
    pub(crate) fn disk(&mut self, fault: DiskFault) {
        let Some(storage) = self.storage.as_mut().filter(|_| self.node.up) else { return };
        let faults = match fault {
            DiskFault::Full { room } => Faults { capacity: Some(storage.disk.bytes() + room), ..Faults::default() },
            DiskFault::Write => Faults { failing_writes: 1, ..Faults::default() },
            DiskFault::Sync => Faults { failing_syncs: 1, ..Faults::default() },
            DiskFault::Stop { operations } => Faults { operations_left: Some(operations), ..Faults::default() },
            DiskFault::Slow | DiskFault::Heal => Faults::default(),
        };
        storage.slow = fault == DiskFault::Slow;
        storage.disk.set_faults(faults);
    }

    /// Sends what a shard's broker asks for, as long as there is room on the way.
    pub(crate) fn ask_store(&mut self, shard: usize) {
        let Some(storage) = &mut self.storage else { return };
        let before = storage.batches.len();
        let sessions = &mut self.node.shards[shard].sessions;
        while storage.batches.len() < self.plan.setup.store_batches {
            let batch: Vec<Request> =
                core::iter::from_fn(|| sessions.poll_broker_request()).take(REQUESTS_MAX).collect();
            if batch.is_empty() {
                break;
            }
            storage.batches.push_back(batch);
        }
        if storage.batches.len() > before {
            let wait = self.draw(self.plan.setup.turn);
            self.after(wait, Due::Store);
        }
    }

    /// The thread takes all that has come in to the disk.
    pub(crate) fn store(&mut self) {
        let Some(storage) = self.storage.as_mut().filter(|_| self.node.up) else { return };
        let Some(store) = storage.store.as_mut().filter(|_| storage.answers.is_none()) else { return };
        let is_due = store.poll_timeout().is_some_and(|due| due <= self.now);
        if storage.batches.is_empty() && !is_due {
            return;
        }
        let requests: Vec<Request> = storage.batches.drain(..).flatten().collect();
        self.trace
            .note(self.now, "asked the store", &[requests.len() as u64], || without_hashes(&format!("{requests:?}")));
        let mut replies = if requests.is_empty() { Replies::new() } else { store.handle(self.now, requests) };
        if store.poll_timeout().is_some_and(|due| due <= self.now) {
            replies.extend(store.handle_timeout(self.now));
        }
        self.trace.note(self.now, "store", &[], || format!("{:?}", store.state()));
        if storage.disk.has_stopped() {
            let down = Duration::from_millis(self.rng.number() % 2_000);
            return self.crash(down, End::Power);
        }
        let stats = store.stats();
        let failed = matches!(stats.state, StoreState::Failed(_));
        if storage.doubtful.is_none() && (failed || stats.refused > 0) {
            // It concerns what was delivered since the last sync, and what was on its way.
            storage.doubtful = Some(storage.synced);
        }
        storage.note_kept(self.now, stats.requests);
        let call = failed && !core::mem::replace(&mut storage.called, failed);
        storage.answers = Some(replies);
        let (life, slow) = (storage.life, storage.slow);
        if call {
            let wait = Duration::from_millis(self.rng.number() % 5_000);
            self.after(wait, Due::Operator { life });
        }
        let wait = self.draw(self.plan.setup.disk);
        let more = if slow { SLOW.0 + Duration::from_micros(self.rng.number() % SLOW.1) } else { Duration::ZERO };
        self.after(wait + more, Due::Stored { life });
    }

    /// The disk has done what it was asked, and the shards learn of it.
    pub(crate) fn stored(&mut self, life: u64) {
        let Some(storage) = self.storage.as_mut().filter(|storage| storage.life == life) else { return };
        for (shard, replies) in storage.answers.take().unwrap_or_default() {
            let shard = usize::from(shard.0);
            for reply in replies {
                self.node.shards[shard].sessions.handle_broker_reply(self.now, reply);
            }
            self.want_turn(shard);
        }
        (0..self.node.shards.len()).for_each(|shard| self.ask_store(shard));
        self.after(Duration::ZERO, Due::Store);
        let due = self.storage.as_ref().and_then(|storage| storage.store.as_ref()?.poll_timeout());
        if let Some(due) = due {
            self.at(due.max(self.now), Due::Store);
        }
    }

    /// Somebody starts the node again because its disk has failed.
    pub(crate) fn operate(&mut self, life: u64) {
        if self.node.up && self.storage.as_ref().is_some_and(|storage| storage.life == life) {
            let down = Duration::from_millis(self.rng.number() % 2_000);
            self.crash(down, End::Order);
        }
    }

    pub(crate) fn begin_node(&mut self) -> Result<(), Violation> {
        self.truth.borrow_mut().now = self.now;
        let brokers = self.begin_brokers()?;
        self.truth.borrow_mut().forget_asked();
        self.told.forget();
        self.node = Node::new(&self.plan.setup, &self.truth, &mut self.rng, brokers);
        // What was found may be due before anything else happens.
        (0..self.node.shards.len()).for_each(|shard| self.set_timer(shard));
        Ok(())
    }
}
