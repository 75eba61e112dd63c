//! One channel's latest publications: their ring, and the ids that are remembered.
//!
//! Owns what is complete, what expires and what a reader gets. Knows nothing of other channels, nor of the bound that all share.

use crate::broker::{HistoryLost, Read, Slice};
use crate::idempotency::Idempotency;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::{ChannelOptions, Epoch, Position, Publication, Time};

/// One channel's publications. From `complete_after` on the ring is without a hole; what it has before that can be looked at, but nothing be resumed from.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) epoch: Epoch,
    pub(crate) offset: u64,
    /// The offset from which on nothing is missing.
    pub(crate) complete_after: u64,
    pub(crate) ring: VecDeque<Arc<Publication>>,
    pub(crate) bytes: usize,
    pub(crate) ids: Idempotency,
    pub(crate) ttl: Duration,
    /// Under which time the log stands in the broker's list.
    pub(crate) due: Option<Time>,
    pub(crate) in_use: bool,
    pub(crate) held: bool,
    pub(crate) is_cached: bool,
    pub(crate) idle_until: Time,
    /// What the log costs by itself, with what others keep beside it, in bytes.
    pub(crate) own: usize,
    /// What each publication costs besides what [`Publication::cost`] tells, in bytes.
    each: usize,
}

/// A ring with no more places than these is left as it is, however little is in it.
const RING_KEPT: usize = 64;

impl Log {
    pub(crate) fn new(epoch: Epoch, own: usize, each: usize) -> Self {
        Self {
            own,
            each,
            epoch,
            offset: 0,
            complete_after: 0,
            ring: VecDeque::new(),
            bytes: 0,
            ids: Idempotency::default(),
            ttl: Duration::ZERO,
            due: None,
            in_use: false,
            held: false,
            is_cached: false,
            idle_until: Time::default(),
        }
    }

    pub(crate) fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.offset }
    }

    /// Nothing through this offset is kept.
    pub(crate) fn dropped(&self) -> u64 {
        self.ring.front().map_or(self.offset, |oldest| oldest.position.offset - 1)
    }

    /// Whether nothing but time keeps it from being forgotten.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_at_rest() && !self.is_cached
    }

    /// The same, or only a cached value.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_empty() && !self.in_use && !self.held
    }

    pub(crate) fn after(&self, offset: u64, read: Read) -> Result<Slice, HistoryLost> {
        if offset < self.complete_after {
            return Err(HistoryLost { complete_after: Some(self.complete_after) });
        }
        let start = self.ring.partition_point(|publication| publication.position.offset <= offset);
        Ok(take(self.ring.range(start..).cloned(), read))
    }

    pub(crate) fn before(&self, offset: u64, read: Read) -> Slice {
        let end = self.ring.partition_point(|publication| publication.position.offset < offset);
        let mut slice = take(self.ring.range(..end).rev().cloned(), read);
        slice.publications.reverse();
        slice
    }

    pub(crate) fn append(&mut self, publication: &Arc<Publication>, id: Option<Box<str>>, options: &ChannelOptions) {
        if publication.previous > self.offset {
            self.complete_after = publication.previous;
        }
        self.offset = publication.position.offset;
        self.ttl = options.history_ttl;
        self.idle_until = publication.timestamp + self.ttl;
        self.bytes += publication.cost();
        self.ring.push_back(Arc::clone(publication));
        while self.ring.len() > options.history_size || self.bytes > options.history_bytes && !self.ring.is_empty() {
            self.pop();
        }
        if let Some(id) = id {
            // From its publication on, however long that waited for a disk: so it ends at the same moment after a restart.
            let at = publication.timestamp;
            self.ids.remember(at, id, self.offset, options.idempotency_ttl, options.idempotency_ids);
        }
    }

    pub(crate) fn expire(&mut self, now: Time) {
        while self.ring.front().is_some_and(|oldest| oldest.timestamp + self.ttl <= now) {
            self.pop();
        }
        self.ids.expire(now);
    }

    pub(crate) fn forget_oldest(&mut self) {
        if self.ring.is_empty() {
            self.ids.forget_oldest();
        } else {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some(oldest) = self.ring.pop_front() else { return };
        self.complete_after = self.complete_after.max(oldest.position.offset);
        self.bytes -= oldest.cost();
        // What was once many must not hold its places for ever: they are not charged any more.
        if self.ring.capacity() > RING_KEPT && self.ring.len() < self.ring.capacity() / 4 {
            self.ring.shrink_to(2 * self.ring.len());
        }
    }

    pub(crate) fn cost(&self) -> usize {
        self.own + self.bytes + self.each * self.ring.len() + self.ids.cost()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.ids.is_empty()
    }

    /// When somebody must look at the log again: as its oldest publication or id expires or, if it is empty, as it may be forgotten, which is not before its
    /// cached value ends.
    pub(crate) fn next_due(&self, cached_until: impl FnOnce() -> Option<Time>) -> Option<Time> {
        let publication = self.ring.front().map(|oldest| oldest.timestamp + self.ttl);
        let idle = self.is_at_rest().then(|| match self.is_cached {
            true => cached_until().map_or(self.idle_until, |until| until.max(self.idle_until)),
            false => self.idle_until,
        });
        [publication, self.ids.poll_timeout(), idle].into_iter().flatten().min()
    }
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
