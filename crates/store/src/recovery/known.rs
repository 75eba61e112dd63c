//! One channel while segments are read, and the judgement of it at their end.
//!
//! Owns what a channel's records together say. Knows nothing of files, marks or how damage was found.

use super::{Epochs, RecoveredChannel};
use crate::index::{Index, Spot};
use crate::record::{Cached, Place};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{Epoch, Publication, Time};
use switchboard_hub::ChannelKey;

/// A publication, where its record stands, and how long that is.
pub(super) type Stands = (Arc<Publication>, Spot, usize);

/// An id, by the latest record that tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    /// Its publication's.
    pub(super) offset: u64,
    pub(super) until: Time,
    pub(super) segment: u64,
    /// How long the record is, if it tells nothing else.
    pub(super) bytes: usize,
}

/// A channel while segments are read.
#[derive(Debug)]
pub(super) struct Known {
    /// The current epoch, last, and those that it continues.
    pub(super) epochs: Vec<Epoch>,
    pub(super) head: u64,
    /// When a record last told the head.
    pub(super) told_at: u64,
    pub(super) anchor: u64,
    /// The segment of the latest record that told more than a publication does.
    pub(super) placed: u64,
    pub(super) dropped: u64,
    pub(super) complete_after: u64,
    pub(super) reserved: u64,
    pub(super) reserved_at: u64,
    pub(super) ttl: u64,
    pub(super) publications: BTreeMap<u64, Stands>,
    pub(super) ids: HashMap<Arc<str>, Remembered, foldhash::fast::RandomState>,
    /// Which publication is the cached value, as whatever told the head told.
    pub(super) cached: Option<Cached>,
    /// Publications that are or may yet be told to be it.
    pub(super) values: BTreeMap<u64, Stands>,
}

impl Known {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epochs: vec![epoch],
            head: 0,
            told_at: 0,
            anchor: 0,
            placed: 0,
            dropped: 0,
            complete_after: 0,
            reserved: 0,
            reserved_at: 0,
            ttl: 0,
            publications: BTreeMap::new(),
            ids: HashMap::default(),
            cached: None,
            values: BTreeMap::new(),
        }
    }

    /// Returns whether this is the latest of the channel.
    pub(super) fn told(&mut self, head: u64, order: u64, segment: u64) -> bool {
        let is_latest = head >= self.head;
        if is_latest {
            (self.head, self.told_at, self.anchor) = (head, order, segment);
        }
        is_latest
    }

    pub(super) fn told_cached(&mut self, cached: Option<Cached>) {
        self.cached = cached;
        let first = cached.map_or(self.head.saturating_add(1), |cached| cached.offset);
        if self.values.first_key_value().is_some_and(|(oldest, _)| *oldest < first) {
            self.values = self.values.split_off(&first);
        }
    }

    /// An id is of the latest publication that had it: when an earlier one's segment was written anew, that stands behind.
    pub(super) fn remember(&mut self, id: Arc<str>, told: Remembered) {
        let known = self.ids.entry(id).or_insert(told);
        if known.offset <= told.offset {
            *known = told;
        }
    }

    /// The cached value, if its record was found.
    pub(super) fn value(&self) -> Option<(Cached, &Stands)> {
        let cached = self.cached?;
        Some((cached, self.values.get(&cached.offset)?))
    }

    pub(super) fn drop_through(&mut self, through: u64) {
        if through > self.dropped {
            self.dropped = through;
            self.publications = self.publications.split_off(&(through.saturating_add(1)));
        }
    }

    /// From which offset on the publications follow one another, up to the head.
    fn chain(&self) -> u64 {
        let (mut complete, mut last) = (self.dropped, self.dropped);
        for (offset, (publication, ..)) in &self.publications {
            if publication.previous > last {
                complete = publication.previous;
            }
            last = *offset;
        }
        if self.head > last { self.head } else { complete }
    }
}

/// What can be said of a channel.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Whether its epoch can go on.
    pub(super) sound: bool,
    pub(super) head: u64,
    pub(super) complete_after: u64,
}

impl Verdict {
    pub(super) fn of(known: &Known, damaged_at: u64, closed_at: u64, epochs: Epochs) -> Self {
        let recorded = known.complete_after.max(known.dropped);
        let chain = known.chain().max(recorded);
        // A hole without damage is one that the journal was told of: publications that had to be delivered while the disk took nothing.
        // What was reserved must be known too: under an interval, offsets beyond the head may have been given away.
        let told_after = known.told_at > damaged_at && known.reserved_at.max(closed_at) > damaged_at;
        let sound = epochs == Epochs::Shown && (damaged_at == 0 || (told_after && chain == recorded));
        let in_use = known.reserved_at > closed_at && !is_planted(Canary::OffsetsReused);
        let reserved = if in_use { known.reserved } else { 0 };
        if reserved > known.head {
            let complete_after = if is_planted(Canary::LostRangeTaken) { chain } else { reserved };
            return Self { sound, head: reserved, complete_after };
        }
        Self { sound, head: known.head, complete_after: chain }
    }
}

pub(super) fn enter(index: &mut Index, place: &Place, known: &Known) {
    let channel = index.enter(&place.key, place.epoch);
    (channel.head, channel.staged_head) = (place.head, place.head);
    (channel.dropped, channel.complete_after) = (place.dropped, place.complete_after);
    channel.continued = known.epochs.iter().copied().filter(|epoch| *epoch != place.epoch).collect();
    channel.staged_cached = place.cached;
    index.cache(&place.key, place.cached);
    let history = known.publications.iter().map(|(offset, record)| (*offset, record));
    let value = known.value().map(|(cached, record)| (cached.offset, record));
    for (offset, (_, spot, bytes)) in history.chain(value) {
        index.place(&place.key, offset, *spot, *bytes);
    }
    let more = known.complete_after > known.dropped;
    index.anchor(&place.key, if more { known.placed } else { known.anchor });
    // Where a process was ended before it had written a segment anew, an id stands in several: only the last needs it.
    for id in known.ids.values() {
        index.remember_id(id.segment, id.until, id.bytes);
    }
}

impl Known {
    pub(super) fn into_recovered(self, key: ChannelKey, epoch: Epoch, verdict: &Verdict) -> RecoveredChannel {
        let in_epoch = |mut publication: Arc<Publication>| {
            if publication.position.epoch != epoch {
                Arc::make_mut(&mut publication).position.epoch = epoch;
            }
            publication
        };
        let cached = self.value().map(|(cached, (publication, ..))| (in_epoch(Arc::clone(publication)), cached.until));
        let mut ids: Vec<_> = self.ids.into_iter().map(|(id, known)| (id, known.offset, known.until)).collect();
        // The order of a map is nobody's.
        ids.sort_unstable_by_key(|(_, offset, _)| *offset);
        let publications = self.publications.into_values().map(|(publication, ..)| in_epoch(publication));
        RecoveredChannel {
            key,
            epoch,
            head: verdict.head,
            dropped: self.dropped,
            complete_after: verdict.complete_after,
            ttl: self.ttl,
            publications: publications.collect(),
            ids,
            cached,
        }
    }
}
