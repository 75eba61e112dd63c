//! The backend of all durable brokers of a node: it turns their requests into batches of the journal, and answers.
//!
//! Owns when a batch is synced, when the journal is compacted, marked and tried again. Knows nothing of threads: whoever runs it gathers what has come
//! in, calls [`Store::handle`], carries the replies back, and calls [`Store::handle_timeout`] in time. That gathering is the group commit: while one
//! batch is on its way to the disk, the next one fills.

use crate::disk::Disk;
use crate::journal::{Journal, JournalOptions, Refusal};
use crate::record::Kept;
use crate::recovery::{Epochs, RecoverError, RecoveredChannel, Report};
use core::time::Duration;
use hashbrown::HashMap;
use std::io;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{Epoch, Position, Time};
use switchboard_hub::{ChannelKey, ShardId};

/// When what was written is made to survive a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before a publication is delivered or acknowledged.
    Always,
    /// So long after it was written, at the latest.
    Interval(Duration),
    /// When the system likes.
    Never,
}

/// How a store is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// When to sync.
    pub fsync: Fsync,
    /// The journal's.
    pub journal: JournalOptions,
}

/// A broker's request, from one shard.
#[derive(Debug)]
pub struct Request {
    pub(crate) shard: ShardId,
    pub(crate) kind: RequestKind,
}

#[derive(Debug)]
pub(crate) enum RequestKind {
    /// Keep a publication. `begins` says that it need not follow the one that the journal knows.
    Append { ticket: u64, kept: Box<Kept>, begins: bool },
    /// Let offsets through this one be given away before their publications are kept.
    Reserve { ticket: u64, key: ChannelKey, epoch: Epoch, head: u64, through: u64 },
    /// Publications through this offset are kept no longer.
    Trim { key: ChannelKey, epoch: Epoch, through: u64 },
    /// The cached value of this offset is kept no longer.
    Uncache { key: ChannelKey, epoch: Epoch, offset: u64 },
    /// The channel is forgotten.
    Forget { ticket: u64, key: ChannelKey, epoch: Epoch },
}

/// The store's answer to one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply(pub(crate) ReplyKind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    /// All through this ticket is done, but for those that are refused.
    Done { through: u64, refused: Vec<u64> },
    /// Whether publications can be kept from now on.
    State(StoreState),
}

/// Whether publications can be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreState {
    /// They can.
    #[default]
    Writable,
    /// Not now: the disk is full. It is tried again every second.
    Full,
    /// Not until the next start: the disk has failed.
    Failed(String),
}

/// What the store has done and has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Batches written.
    pub commits: u64,
    /// Requests in them.
    pub requests: u64,
    /// Requests refused.
    pub refused: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Records that could not be read when their segment was rewritten.
    pub unreadable: u64,
    /// Gauge: segments.
    pub segments: u64,
    /// Gauge: their bytes.
    pub bytes: u64,
    /// Gauge: bytes of what is still needed: publications, and ids of such as are not kept any more.
    pub bytes_live: u64,
    /// Gauge: channels.
    pub channels: u64,
    /// Whether publications can be kept.
    pub state: StoreState,
}

/// Replies by the shard that they are for.
pub type Replies = Vec<(ShardId, Vec<Reply>)>;

/// The store of one node.
#[derive(Debug)]
pub struct Store<D> {
    journal: Journal<D>,
    fsync: Fsync,
    /// The ticket that each shard's next request will have.
    next_tickets: Vec<u64>,
    /// When what was written must be synced.
    sync_at: Option<Time>,
    /// When a mark is to be written, if nothing comes before.
    mark_at: Option<Time>,
    /// When a full disk is tried again.
    probe_at: Option<Time>,
    /// Where nobody waits for the disk: channels of which something was delivered that could not be kept, with the latest such offset.
    unkept: HashMap<ChannelKey, (Epoch, u64), foldhash::fast::RandomState>,
    stats: StoreStats,
}

/// How long after the last batch the mark behind it is written.
const MARK_AFTER: Duration = Duration::from_millis(200);
/// How often a full disk is tried.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// What is rewritten with each batch while the journal is too large, in bytes, besides four times the batch; a quarter of a segment, if that is less.
const COMPACT_BYTES: usize = 256 << 10;

impl<D: Disk> Store<D> {
    /// Opens a store for so many shards. `progress` is told bytes read and bytes in all. A journal that has far more than it should, because no process lived long
    /// enough to put it in order, is put in order first.
    ///
    /// # Errors
    /// The disk cannot be read, another version wrote it, or nothing of it can be trusted.
    pub fn open(
        disk: D,
        options: StoreOptions,
        now: Time,
        shards: u16,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, Vec<RecoveredChannel>, Report), RecoverError> {
        let (journal, channels, report) = Journal::open(disk, options.journal, Epochs::Shown, progress)?;
        let mut store = Self {
            journal,
            fsync: options.fsync,
            next_tickets: vec![0; usize::from(shards)],
            sync_at: None,
            mark_at: None,
            probe_at: None,
            unkept: HashMap::default(),
            stats: StoreStats::default(),
        };
        store.make_room(now)?;
        Ok((store, channels, report))
    }

    /// Rewrites the oldest segments while there are far too many.
    fn make_room(&mut self, now: Time) -> Result<(), RecoverError> {
        for _ in 0..self.journal.index.segments.len() {
            if !self.journal.wants_room(now) {
                break;
            }
            let made = self.journal.compact(now, usize::MAX).and_then(|()| self.commit(now, true));
            match made {
                Ok(()) => {}
                // It can wait: what is there is as good as before. Whether there is room for more, the first batch finds out.
                Err(Refusal::Full) => {
                    self.journal.forget_full();
                    break;
                }
                Err(Refusal::Failed(why)) => return Err(RecoverError::Io(io::Error::other(why))),
            }
        }
        Ok(())
    }

    /// Takes what has come in since the last call as one batch. Returns when it is committed, or refused.
    pub fn handle(&mut self, now: Time, requests: impl IntoIterator<Item = Request>) -> Replies {
        let mut batch = Batch::default();
        for request in requests {
            self.stage(&mut batch, request);
        }
        if self.journal.wants_compaction(now) {
            let budget = COMPACT_BYTES.min(self.journal.segment_bytes() / 4) + 4 * self.journal.staged_bytes();
            // What fails here fails the commit too.
            let _ = self.journal.compact(now, budget);
        }
        let before = self.state();
        let committed = self.commit(now, batch.must_sync);
        if committed.is_err() {
            batch.unkept.append(&mut batch.delivered);
        }
        for kept in &batch.unkept {
            let Position { epoch, offset } = kept.publication.position;
            self.unkept.insert(kept.key.clone(), (epoch, offset));
        }
        for (key, epoch) in &batch.forgotten {
            // No hole of what is forgotten must bring it back.
            if self.unkept.get(key).is_some_and(|(of, _)| of == epoch) {
                self.unkept.remove(key);
            }
        }
        self.stats.requests += batch.tickets;
        let forgotten = core::mem::take(&mut batch.forgotten_tickets);
        let mut replies = batch.into_replies(committed.is_err() && !is_planted(Canary::RefusedAcknowledged));
        for (shard, replies) in &replies {
            for Reply(kind) in replies {
                if let ReplyKind::Done { refused, .. } = kind {
                    // Nobody has lost anything by a channel that could not be let go of.
                    let lost = refused.iter().filter(|ticket| !forgotten.contains(&(*shard, **ticket)));
                    self.stats.refused += lost.count() as u64;
                }
            }
        }
        self.announce(now, &before, &mut replies);
        replies
    }

    fn stage(&mut self, batch: &mut Batch, Request { shard, kind }: Request) {
        let writable = self.journal.refusal().is_none();
        if let RequestKind::Append { ticket, .. }
        | RequestKind::Reserve { ticket, .. }
        | RequestKind::Forget { ticket, .. } = &kind
            && let Some(next) = self.next_tickets.get_mut(usize::from(shard.0))
        {
            *next = ticket + 1;
        }
        match kind {
            RequestKind::Append { ticket, mut kept, begins } => {
                // Where nobody waits for the disk, what could not be written is a known hole, and what follows is kept all the same.
                let begins = begins || self.fsync != Fsync::Always;
                let staged = writable && self.journal.stage_publication(&mut kept, begins).is_ok();
                if self.fsync == Fsync::Always {
                    batch.must_sync = true;
                } else {
                    let of = if staged { &mut batch.delivered } else { &mut batch.unkept };
                    of.push(kept);
                }
                batch.ticket(shard, ticket, !staged);
            }
            RequestKind::Reserve { ticket, key, epoch, head, through } => {
                if writable {
                    self.journal.stage_reservation(key, epoch, head, through);
                }
                // To give a reservation back is no hurry.
                batch.must_sync |= through > head;
                batch.ticket(shard, ticket, !writable);
            }
            RequestKind::Trim { key, epoch, through } => self.journal.trim(&key, epoch, through),
            RequestKind::Uncache { key, epoch, offset } => self.journal.uncache(&key, epoch, offset),
            RequestKind::Forget { ticket, key, epoch } => {
                if self.fsync != Fsync::Always {
                    batch.forgotten.push((key.clone(), epoch));
                }
                if writable {
                    self.journal.stage_forgotten(key, epoch);
                } else {
                    self.journal.forget(&key, epoch);
                }
                // What is published under its name from now on may be in no journal: whatever happens, the channel must not come back behind that.
                batch.must_sync = true;
                batch.ticket(shard, ticket, !writable);
                batch.forgotten_tickets.push((shard, ticket));
            }
        }
    }

    fn commit(&mut self, now: Time, sync: bool) -> Result<(), Refusal> {
        let staged = self.journal.staged_bytes() > 0;
        let written = self.journal.commit(sync)?;
        self.stats.commits += u64::from(staged);
        self.stats.bytes_written += written.bytes as u64;
        self.sync_at = match self.fsync {
            _ if !self.journal.is_unsynced() => None,
            Fsync::Interval(interval) => self.sync_at.or(Some(now + interval)),
            Fsync::Always | Fsync::Never => None,
        };
        if staged || written.synced {
            self.mark_at = self.journal.wants_mark().then(|| now + MARK_AFTER);
        }
        Ok(())
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        [self.sync_at, self.mark_at, self.probe_at].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) -> Replies {
        let before = self.state();
        let is_due = |due: &mut Option<Time>| due.take_if(|due| *due <= now).is_some();
        // A failure shows in the state.
        if is_due(&mut self.sync_at) {
            let _ = self.commit(now, true);
        }
        if is_due(&mut self.mark_at) {
            let _ = self.journal.mark();
        }
        if is_due(&mut self.probe_at) {
            let _ = self.journal.probe(now);
        }
        let mut replies = Replies::new();
        self.announce(now, &before, &mut replies);
        replies
    }

    /// Whether publications can be kept.
    pub fn state(&self) -> StoreState {
        match self.journal.refusal() {
            None => StoreState::Writable,
            Some(Refusal::Full) => StoreState::Full,
            Some(Refusal::Failed(why)) => StoreState::Failed(why.clone()),
        }
    }

    /// Tells every shard if the state is another than it was.
    fn announce(&mut self, now: Time, before: &StoreState, replies: &mut Replies) {
        let state = self.state();
        self.probe_at = match state {
            StoreState::Full => self.probe_at.or(Some(now + PROBE_EVERY)),
            StoreState::Writable | StoreState::Failed(_) => None,
        };
        if state == *before {
            return;
        }
        for shard in 0..self.next_tickets.len() {
            let shard = ShardId(u16::try_from(shard).unwrap_or(u16::MAX));
            let reply = Reply(ReplyKind::State(state.clone()));
            match replies.iter_mut().find(|(to, _)| *to == shard) {
                // First, so that refusals can say why.
                Some((_, replies)) => replies.insert(0, reply),
                None => replies.push((shard, vec![reply])),
            }
        }
    }

    /// Ends in order: the next start has nothing to doubt. `issued` are the numbers of requests that each shard's broker has
    /// [made](crate::DurableBroker::issued): if one has not arrived, something may have been delivered that is not kept, and the end is no clean one.
    ///
    /// Returns whether it is.
    ///
    /// # Errors
    /// The disk refuses; the next start takes it for a crash.
    pub fn close(mut self, issued: &[u64]) -> Result<bool, Refusal> {
        if issued != self.next_tickets {
            self.journal.commit(true)?;
            return Ok(false);
        }
        // What was delivered and could not be kept is a hole that the next start must know of, though it has nothing else to doubt.
        for (key, (epoch, offset)) in self.unkept {
            if self.journal.index.channel(&key, epoch).is_none_or(|channel| channel.staged_head < offset) {
                self.journal.stage_reservation(key, epoch, offset, offset);
            }
        }
        self.journal.close()?;
        Ok(true)
    }

    /// What it has done and has.
    pub fn stats(&self) -> StoreStats {
        let index = &self.journal.index;
        StoreStats {
            unreadable: self.journal.unreadable,
            segments: index.segments.len() as u64,
            bytes: index.bytes() as u64,
            bytes_live: index.live() as u64,
            channels: index.channels.len() as u64,
            state: self.state(),
            ..self.stats.clone()
        }
    }

    /// The disk.
    pub fn disk(&mut self) -> &mut D {
        &mut self.journal.disk
    }
}

/// What a batch's replies will be.
#[derive(Debug, Default)]
struct Batch {
    must_sync: bool,
    /// Where nobody waits for the disk: what is staged, and what could not be.
    #[allow(clippy::vec_box, reason = "they come so")]
    delivered: Vec<Box<Kept>>,
    #[allow(clippy::vec_box, reason = "they come so")]
    unkept: Vec<Box<Kept>>,
    /// And channels that are forgotten.
    forgotten: Vec<(ChannelKey, Epoch)>,
    forgotten_tickets: Vec<(ShardId, u64)>,
    tickets: u64,
    shards: Vec<Tickets>,
}

#[derive(Debug)]
struct Tickets {
    shard: ShardId,
    all: Vec<u64>,
    refused: Vec<u64>,
}

impl Batch {
    fn ticket(&mut self, shard: ShardId, ticket: u64, refused: bool) {
        self.tickets += 1;
        let at = self.shards.iter().position(|tickets| tickets.shard == shard).unwrap_or_else(|| {
            self.shards.push(Tickets { shard, all: Vec::new(), refused: Vec::new() });
            self.shards.len() - 1
        });
        if let Some(tickets) = self.shards.get_mut(at) {
            tickets.all.push(ticket);
            if refused {
                tickets.refused.push(ticket);
            }
        }
    }

    fn into_replies(self, all_refused: bool) -> Replies {
        let reply = |Tickets { shard, all, refused }: Tickets| {
            let through = *all.last()?;
            let refused = if all_refused { all } else { refused };
            Some((shard, vec![Reply(ReplyKind::Done { through, refused })]))
        };
        self.shards.into_iter().filter_map(reply).collect()
    }
}
