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

use crate::disk::Disk;
use crate::frame::{Found, HEADER, HeaderError, Seed, SegmentHeader, Walk, segment_name, segment_sequence};
use crate::index::{Index, Segment, Spot};
use crate::record::{Cached, Kept, Place, Record};
use core::fmt;
use core::ops::Range;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{Epoch, Publication, Time};
use switchboard_hub::ChannelKey;

/// The file that has the store's seed, beside the segments' headers.
pub(crate) const STORE: &str = "STORE";

/// A channel as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredChannel {
    /// Which.
    pub key: ChannelKey,
    /// Its run of offsets.
    pub epoch: Epoch,
    /// The latest offset that was given away, or may have been.
    pub head: u64,
    /// No publication through this offset is kept.
    pub dropped: u64,
    /// From which offset on nothing is missing.
    pub complete_after: u64,
    /// How long publications are kept, in microseconds.
    pub ttl: u64,
    /// What is kept, in order.
    pub publications: Vec<Arc<Publication>>,
    /// The names under which publications are remembered, with their offsets, and until when.
    pub ids: Vec<(Arc<str>, u64, Time)>,
    /// The cached value, and until when it is kept.
    pub cached: Option<(Arc<Publication>, Time)>,
}

/// Bytes that were on the disk and are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in it.
    pub range: Range<u64>,
    /// What it is.
    pub kind: DamageKind,
}

/// What is wrong with damaged bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// A segment's header.
    Header,
    /// One record or several.
    Records,
    /// The checksum is good, but no version known here writes this.
    Unknown,
    /// The file ends too soon.
    Short,
    /// There is no such file, though there was.
    Missing,
    /// It belongs to another store.
    Foreign,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            DamageKind::Header => "its header is damaged",
            DamageKind::Records => "records are damaged",
            DamageKind::Unknown => "records are of a kind that is unknown here",
            DamageKind::Short => "its end is missing",
            DamageKind::Missing => "the file is missing",
            DamageKind::Foreign => "the file belongs to another store",
        };
        write!(f, "{}: {what}", self.file)?;
        if !self.range.is_empty() {
            write!(f, " (bytes {} to {})", self.range.start, self.range.end)?;
        }
        Ok(())
    }
}

/// What was found, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Channels.
    pub channels: usize,
    /// Publications that are still kept.
    pub publications: usize,
    /// Channels with a cached value.
    pub cached: usize,
    /// Whether the last process ended in order.
    pub clean: bool,
    /// Bytes of a write that was interrupted.
    pub torn: u64,
    /// Channels that skip offsets: some may have been given to publications that were not written yet.
    pub skipped: usize,
    /// Channels that begin a new epoch because of damage.
    pub new_epochs: usize,
    /// All damage.
    pub damage: Vec<Damage>,
}

/// Why a store cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The disk refuses.
    #[error("cannot read the history: {0}")]
    Io(#[from] io::Error),
    /// It was written by another version.
    #[error(
        "the history was written in format {0}, which this version does not know: use the version that wrote it, or another folder"
    )]
    Version(u32),
    /// There are segments, but the number that their checksums depend on is gone from all of them.
    #[error(
        "the history cannot be read: {STORE} and the beginning of every segment are damaged; move the folder away to begin anew"
    )]
    Unreadable,
}

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

/// Reads everything. `fresh` gives epochs that no channel has had; `progress` is told bytes done and bytes in all.
pub(crate) fn recover(
    disk: &mut dyn Disk,
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
    walk.finish(&mut found, fresh);
    Ok(found)
}

/// Reads a store without changing anything, and reports on it.
///
/// # Errors
/// The disk cannot be read, another version wrote it, or nothing of it can be trusted.
pub fn verify(disk: &mut dyn Disk, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, RecoverError> {
    recover(disk, &mut || Epoch(0), progress).map(|found| found.report)
}

fn read_store(disk: &mut dyn Disk) -> Result<Option<Seed>, RecoverError> {
    let bytes = match disk.read(STORE, 0, HEADER) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(_) => Vec::new(),
    };
    seed_in(&bytes)
}

fn seed_in(bytes: &[u8]) -> Result<Option<Seed>, RecoverError> {
    match SegmentHeader::read(bytes) {
        Ok(header) => Ok(Some(header.seed)),
        Err(HeaderError::Version(version)) => Err(RecoverError::Version(version)),
        Err(HeaderError::Damaged) => Ok(None),
    }
}

fn seed_of_segments(disk: &mut dyn Disk, sequences: &[u64]) -> Result<Option<Seed>, RecoverError> {
    for sequence in sequences {
        if let Some(seed) = seed_in(&disk.read(&segment_name(*sequence), 0, HEADER).unwrap_or_default())? {
            return Ok(Some(seed));
        }
    }
    Ok(None)
}

/// A whole file. What the disk cannot read becomes zeros, which are no record.
pub(crate) fn read_patiently(disk: &mut dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    const LARGE: usize = 1 << 20;
    const SMALL: usize = 4 << 10;
    let length = usize::try_from(disk.length(name)?).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let wanted = LARGE.min(length - bytes.len());
        match disk.read(name, bytes.len() as u64, wanted) {
            Ok(part) if !part.is_empty() => bytes.extend_from_slice(&part),
            // Shorter than it was a moment ago: the rest is not there.
            Ok(_) => break,
            Err(_) => {
                let end = bytes.len() + wanted;
                while bytes.len() < end {
                    let wanted = SMALL.min(end - bytes.len());
                    let mut part = disk.read(name, bytes.len() as u64, wanted).unwrap_or_default();
                    part.resize(wanted, 0);
                    bytes.extend_from_slice(&part);
                }
            }
        }
    }
    Ok(bytes)
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

/// A publication, where its record stands, and how long that is.
type Stands = (Arc<Publication>, Spot, usize);

/// A channel while segments are read.
#[derive(Debug)]
struct Known {
    /// The current epoch, last, and those that it continues.
    epochs: Vec<Epoch>,
    head: u64,
    /// When a record last told the head.
    told_at: u64,
    anchor: u64,
    /// The segment of the latest record that told more than a publication does.
    placed: u64,
    dropped: u64,
    complete_after: u64,
    reserved: u64,
    reserved_at: u64,
    ttl: u64,
    publications: BTreeMap<u64, Stands>,
    ids: BTreeMap<Arc<str>, (u64, Time)>,
    /// Which publication is the cached value, as whatever told the head told.
    cached: Option<Cached>,
    /// Publications that are or may yet be told to be it.
    values: BTreeMap<u64, Stands>,
}

impl Known {
    fn new(epoch: Epoch) -> Self {
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
            ids: BTreeMap::new(),
            cached: None,
            values: BTreeMap::new(),
        }
    }

    /// Returns whether this is the latest of the channel.
    fn told(&mut self, head: u64, order: u64, segment: u64) -> bool {
        let is_latest = head >= self.head;
        if is_latest {
            (self.head, self.told_at, self.anchor) = (head, order, segment);
        }
        is_latest
    }

    fn told_cached(&mut self, cached: Option<Cached>) {
        self.cached = cached;
        let first = cached.map_or(self.head.saturating_add(1), |cached| cached.offset);
        if self.values.first_key_value().is_some_and(|(oldest, _)| *oldest < first) {
            self.values = self.values.split_off(&first);
        }
    }

    /// The cached value, if its record was found.
    fn value(&self) -> Option<(Cached, &Stands)> {
        let cached = self.cached?;
        Some((cached, self.values.get(&cached.offset)?))
    }

    fn drop_through(&mut self, through: u64) {
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
            (self.torn, self.tail) = ((bytes.len() - end) as u64, Some((sequence, end)));
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
                if let Some(segment) = self.segments.last_mut() {
                    segment.ids_until = segment.ids_until.max(until);
                }
                // When its segment was written anew, it may have come before what tells the channel's place.
                self.known(key, epoch).ids.insert(id, (offset, until));
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
        if let (Some((_, until)), Some(segment)) = (&kept.id, self.segments.last_mut()) {
            segment.ids_until = segment.ids_until.max(*until);
        }
        let known = self.known(kept.key(), kept.publication.position.epoch);
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
            known.ids.insert(id, (offset, until));
        }
        if offset > known.dropped {
            known.publications.insert(offset, (kept.publication, spot, bytes));
        }
    }

    fn finish(self, found: &mut Recovered, fresh: &mut dyn FnMut() -> Epoch) {
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
            let verdict = Verdict::of(&known, damaged_at, closed_at);
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

/// What can be said of a channel.
#[derive(Debug)]
struct Verdict {
    /// Whether its epoch can go on.
    sound: bool,
    head: u64,
    complete_after: u64,
}

impl Verdict {
    fn of(known: &Known, damaged_at: u64, closed_at: u64) -> Self {
        let recorded = known.complete_after.max(known.dropped);
        let chain = known.chain().max(recorded);
        // A hole without damage is one that the journal was told of: publications that had to be delivered while the disk took nothing.
        // What was reserved must be known too: under an interval, offsets beyond the head may have been given away.
        let told_after = known.told_at > damaged_at && known.reserved_at.max(closed_at) > damaged_at;
        let sound = damaged_at == 0 || (told_after && chain == recorded);
        let in_use = known.reserved_at > closed_at && !is_planted(Canary::OffsetsReused);
        let reserved = if in_use { known.reserved } else { 0 };
        if reserved > known.head {
            let complete_after = if is_planted(Canary::LostRangeTaken) { chain } else { reserved };
            return Self { sound, head: reserved, complete_after };
        }
        Self { sound, head: known.head, complete_after: chain }
    }
}

fn enter(index: &mut Index, place: &Place, known: &Known) {
    let channel = index.enter(&place.key, place.epoch);
    (channel.head, channel.staged_head) = (place.head, place.head);
    (channel.dropped, channel.complete_after) = (place.dropped, place.complete_after);
    channel.staged_cached = place.cached;
    index.cache(&place.key, place.cached);
    let history = known.publications.iter().map(|(offset, record)| (*offset, record));
    let value = known.value().map(|(cached, record)| (cached.offset, record));
    for (offset, (_, spot, bytes)) in history.chain(value) {
        index.place(&place.key, offset, *spot, *bytes);
    }
    let more = known.complete_after > known.dropped;
    index.anchor(&place.key, if more { known.placed } else { known.anchor });
}

impl Known {
    fn into_recovered(self, key: ChannelKey, epoch: Epoch, verdict: &Verdict) -> RecoveredChannel {
        let in_epoch = |mut publication: Arc<Publication>| {
            if publication.position.epoch != epoch {
                Arc::make_mut(&mut publication).position.epoch = epoch;
            }
            publication
        };
        let cached = self.value().map(|(cached, (publication, ..))| (in_epoch(Arc::clone(publication)), cached.until));
        let publications = self.publications.into_values().map(|(publication, ..)| in_epoch(publication));
        RecoveredChannel {
            key,
            epoch,
            head: verdict.head,
            dropped: self.dropped,
            complete_after: verdict.complete_after,
            ttl: self.ttl,
            publications: publications.collect(),
            ids: self.ids.into_iter().map(|(id, (offset, until))| (id, offset, until)).collect(),
            cached,
        }
    }
}
