//! From a folder of segments to what is known: every channel's place and publications, and whether that can be relied on.
//!
//! Owns the judgement: what is a torn tail and what is damage, which channels can show that nothing of theirs is missing, and which begin a new epoch.
//! It changes nothing on the disk.
//!
//! The rules. What stands before the last *mark* was on the disk: a mark is a `Synced` record, a segment's header (the segment before it was synced
//! first) or the existence of a later segment. Bytes that are no record before the last mark are **damage**; behind it they are the **torn** end of a write that
//! nobody was told of, and all that follows is cut off. After damage a channel's place is *proven* only by a record of it that stands behind the
//! damage, tells the same head, and a chain of predecessors without a hole. Every other channel goes on in a new epoch: its publications are
//! served, but no position of before is taken for one of now.

mod known;
mod reading;
mod report;

pub(crate) use reading::read_patiently;
pub use report::{Damage, DamageKind, RecoverError, RecoveredChannel, Report};

use crate::disk::Disk;
use crate::frame::{Found, HEADER, HeaderError, Seed, SegmentHeader, Walk, segment_name, segment_sequence};
use crate::index::{Index, Segment, Spot};
use crate::record::{Kept, Place, Record};
use core::ops::Range;
use hashbrown::HashMap;
use known::{Known, Remembered, Verdict, enter};
use reading::{read_store, seed_of_segments};
use std::io;
use std::sync::Arc;
use switchboard_core::Epoch;
use switchboard_hub::ChannelKey;

/// The file that has the store's seed, beside the segments' headers.
pub(crate) const STORE: &str = "STORE";

/// All that is known after a walk through the segments.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) seed: Option<Seed>,
    /// Whether the store's own file has to be written.
    pub(crate) store_missing: bool,
    pub(crate) index: Index,
    pub(crate) channels: Vec<RecoveredChannel>,
    /// Channels whose place must be written before anything else of theirs.
    pub(crate) owed: Vec<Place>,
    pub(crate) report: Report,
    /// The last segment and how much of it is good.
    pub(crate) tail: Option<(u64, usize)>,
    /// The last segment of all, 0 if there is none.
    pub(crate) last: u64,
}

/// Whose epochs end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Epochs {
    /// Those of channels that cannot show that nothing of theirs is missing.
    Shown,
    /// All: what is on the disk is older than what clients may have seen.
    New,
}

/// Reads everything. `fresh` gives epochs that no channel has had; `progress` is told bytes done and bytes in all.
pub(crate) fn recover(
    disk: &mut dyn Disk,
    epochs: Epochs,
    fresh: &mut dyn FnMut() -> Epoch,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Recovered, RecoverError> {
    let mut sequences: Vec<u64> = disk.list()?.iter().filter_map(|name| segment_sequence(name)).collect();
    sequences.sort_unstable();
    let store = read_store(disk)?;
    let seed = match store {
        Some(seed) => Some(seed),
        None => seed_of_segments(disk, &sequences)?,
    };
    let last = sequences.last().copied().unwrap_or(0);
    let mut found = Recovered { seed, store_missing: store.is_none(), last, ..Recovered::default() };
    let Some(seed) = seed else {
        return if sequences.is_empty() { Ok(found) } else { Err(RecoverError::Unreadable) };
    };
    let total = sequences
        .iter()
        .try_fold(0, |sum, sequence| Ok::<_, io::Error>(sum + disk.length(&segment_name(*sequence))?))?;
    let mut walk = Recovering::new(seed);
    let mut done = 0;
    for (place, sequence) in sequences.iter().enumerate() {
        let bytes = read_patiently(disk, &segment_name(*sequence))?;
        done += bytes.len() as u64;
        walk.segment(*sequence, &bytes, place + 1 == sequences.len())?;
        progress(done, total);
    }
    walk.finish(&mut found, epochs, fresh);
    Ok(found)
}

/// Reads a store without changing anything, and reports on it.
///
/// # Errors
/// The disk cannot be read, another version wrote it, or nothing of it can be trusted.
pub fn verify(disk: &mut dyn Disk, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, RecoverError> {
    recover(disk, Epochs::Shown, &mut || Epoch(0), progress).map(|found| found.report)
}

#[derive(Debug)]
struct Recovering {
    seed: Seed,
    segments: Vec<Segment>,
    channels: HashMap<ChannelKey, Known, foldhash::fast::RandomState>,
    damage: Vec<Damage>,
    /// Counts what was found, so that one thing can be said to stand behind another.
    order: u64,
    damaged_at: u64,
    closed_at: u64,
    clean: bool,
    torn: u64,
    tail: Option<(u64, usize)>,
}

impl Recovering {
    fn new(seed: Seed) -> Self {
        Self {
            seed,
            segments: Vec::new(),
            channels: HashMap::default(),
            damage: Vec::new(),
            order: 0,
            damaged_at: 0,
            closed_at: 0,
            clean: false,
            torn: 0,
            tail: None,
        }
    }

    fn damaged(&mut self, sequence: u64, range: Range<usize>, kind: DamageKind) {
        self.order += 1;
        self.damaged_at = self.order;
        let range = range.start as u64..range.end as u64;
        self.damage.push(Damage { file: segment_name(sequence), range, kind });
    }

    fn segment(&mut self, sequence: u64, bytes: &[u8], is_last: bool) -> Result<(), RecoverError> {
        if let Some(before) = self.segments.last().map(|segment| segment.sequence)
            && before + 1 != sequence
        {
            self.damaged(before + 1, 0..0, DamageKind::Missing);
        }
        let header = match SegmentHeader::read(bytes) {
            Ok(header) if header.seed != self.seed || header.sequence != sequence => {
                self.damaged(sequence, 0..bytes.len(), DamageKind::Foreign);
                self.segments.push(Segment { sequence, length: bytes.len(), ..Segment::default() });
                return Ok(());
            }
            Ok(header) => Some(header),
            Err(HeaderError::Version(version)) => return Err(RecoverError::Version(version)),
            Err(HeaderError::Damaged) => None,
        };
        if let (Some(header), Some(before)) = (header, self.segments.last().copied())
            && before.sequence + 1 == sequence
            && before.length < usize::try_from(header.previous_length).unwrap_or(usize::MAX)
        {
            self.damaged(before.sequence, before.length..before.length, DamageKind::Short);
        }
        let walk: Vec<Found> = Walk::new(self.seed, sequence, bytes, HEADER.min(bytes.len())).collect();
        let end = if is_last { self.end_of(header.is_some(), bytes, &walk) } else { bytes.len() };
        self.segments.push(Segment { sequence, length: end, ..Segment::default() });
        if is_last {
            // Zeros at the end were written ahead of what was to come.
            let behind = bytes.get(end..).unwrap_or_default();
            let torn = behind.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            (self.torn, self.tail) = (torn as u64, Some((sequence, end)));
        }
        if header.is_none() && end > 0 {
            self.damaged(sequence, 0..HEADER.min(bytes.len()), DamageKind::Header);
        }
        for found in walk {
            match found {
                Found::Record { at, .. } if at >= end => break,
                Found::Damage(range) if range.start >= end => break,
                Found::Damage(range) => self.damaged(sequence, range, DamageKind::Records),
                Found::Record { at, body } => match bytes.get(body.clone()).and_then(Record::read) {
                    Some(record) => self.record(record, Spot { segment: sequence, at }, body.end - at),
                    None => self.damaged(sequence, at..body.end, DamageKind::Unknown),
                },
            }
        }
        Ok(())
    }

    /// Where the last segment ends: before the first bytes behind the last mark that are no record.
    fn end_of(&self, header: bool, bytes: &[u8], walk: &[Found]) -> usize {
        let is_mark = |found: &Found| match found {
            Found::Record { body, .. } => bytes.get(body.clone()).and_then(Record::read) == Some(Record::Synced),
            Found::Damage(_) => false,
        };
        let Some(behind) = walk.iter().rposition(is_mark).map(|at| at + 1).or(header.then_some(0)) else { return 0 };
        let torn = walk.get(behind..).unwrap_or_default().iter().find_map(|found| match found {
            Found::Damage(range) => Some(range.start),
            Found::Record { .. } => None,
        });
        torn.unwrap_or(bytes.len())
    }

    fn known(&mut self, key: ChannelKey, epoch: Epoch) -> &mut Known {
        let known = self.channels.entry(key).or_insert_with(|| Known::new(epoch));
        if !known.epochs.contains(&epoch) {
            // It was forgotten in between, and began anew.
            *known = Known::new(epoch);
        }
        known
    }

    fn record(&mut self, record: Record, spot: Spot, bytes: usize) {
        let segment = spot.segment;
        self.order += 1;
        let order = self.order;
        self.clean = false;
        match record {
            Record::Publication(kept) => self.publication(kept, spot, bytes),
            Record::Channel(place) => {
                if let Some(old) = place.continues
                    && let Some(known) = self.channels.get_mut(&place.key)
                    && known.epochs.contains(&old)
                    && !known.epochs.contains(&place.epoch)
                {
                    known.epochs.push(place.epoch);
                }
                let known = self.known(place.key, place.epoch);
                if known.told(place.head, order, segment) {
                    known.told_cached(place.cached);
                }
                known.drop_through(place.dropped);
                known.complete_after = known.complete_after.max(place.complete_after);
                known.placed = segment;
                (known.reserved, known.reserved_at) = (place.reserved, order);
            }
            Record::Reserved { key, epoch, head, through } => {
                let known = self.known(key, epoch);
                known.told(head, order, segment);
                (known.reserved, known.reserved_at) = (through, order);
            }
            Record::Id { key, epoch, offset, id, until } => {
                // When its segment was written anew, it may have come before what tells the channel's place.
                self.known(key, epoch).remember(id, Remembered { offset, until, segment, bytes });
            }
            Record::Forgotten { key, epoch } => {
                if self.channels.get(&key).is_some_and(|known| known.epochs.contains(&epoch)) {
                    self.channels.remove(&key);
                }
            }
            Record::Synced => {}
            Record::Closed => (self.clean, self.closed_at) = (true, order),
        }
    }

    fn publication(&mut self, kept: Kept, spot: Spot, bytes: usize) {
        let order = self.order;
        let known = self.known(kept.key.clone(), kept.publication.position.epoch);
        let offset = kept.publication.position.offset;
        if kept.cached.is_some_and(|cached| cached.offset == offset) {
            known.values.insert(offset, (Arc::clone(&kept.publication), spot, bytes));
        }
        if known.told(kept.head, order, spot.segment) {
            known.told_cached(kept.cached);
            if let Some(reserved) = kept.reserved {
                (known.reserved, known.reserved_at) = (reserved, order);
            }
        }
        known.drop_through(kept.dropped);
        known.ttl = kept.ttl;
        if let Some((id, until)) = kept.id {
            known.remember(id, Remembered { offset, until, segment: spot.segment, bytes: 0 });
        }
        if offset > known.dropped {
            known.publications.insert(offset, (kept.publication, spot, bytes));
        }
    }

    fn finish(self, found: &mut Recovered, epochs: Epochs, fresh: &mut dyn FnMut() -> Epoch) {
        let Self { segments, channels, damage, damaged_at, closed_at, clean, torn, tail, .. } = self;
        found.index.segments = segments.into();
        found.tail = tail;
        let mut report = Report {
            segments: found.index.segments.len(),
            bytes: found.index.bytes() as u64,
            clean,
            torn,
            damage,
            ..Report::default()
        };
        let mut keys: Vec<_> = channels.into_iter().collect();
        // The order of a map is nobody's: what follows from the same bytes shall be the same.
        keys.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        // An id alone tells no place. It may stand behind the record by which its channel was forgotten, if both came in one batch, and must not bring the
        // channel back at its beginning.
        keys.retain(|(_, known)| known.told_at > 0);
        for (key, known) in keys {
            let verdict = Verdict::of(&known, damaged_at, closed_at, epochs);
            report.skipped += usize::from(verdict.head > known.head);
            report.new_epochs += usize::from(!verdict.sound);
            let old = known.epochs.last().copied().unwrap_or(Epoch(0));
            let epoch = if verdict.sound { old } else { fresh() };
            report.channels += 1;
            report.publications += known.publications.len();
            report.cached += usize::from(known.value().is_some());
            let place = Place {
                key: key.clone(),
                epoch,
                continues: (!verdict.sound).then_some(old),
                head: verdict.head,
                dropped: known.dropped,
                complete_after: verdict.complete_after,
                reserved: 0,
                cached: known.value().map(|(cached, _)| cached),
            };
            enter(&mut found.index, &place, &known);
            if !verdict.sound
                || verdict.head > known.head
                || verdict.complete_after > known.complete_after.max(known.dropped)
            {
                found.owed.push(place);
            }
            found.channels.push(known.into_recovered(key, epoch, &verdict));
        }
        found.report = report;
    }
}
