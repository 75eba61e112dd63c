//! The journal of one node: what was published, in segments that grow at their end, written in batches.
//!
//! Owns what is written and when a segment goes. Knows nothing of who publishes, of threads or of time but what it is told; it is as pure as its disk.
//!
//! A batch is staged record by record, then [committed](Journal::commit) in one write and, if asked, one sync. Nothing counts before. When the disk has
//! no room, the batch is as if it had never been, and the journal may be [tried again](Journal::probe). When a write or a sync fails otherwise, nobody
//! knows what is on the disk: the journal takes nothing more until it is opened anew.

mod commit;
mod compaction;

use crate::disk::{Disk, is_no_space};
use crate::frame::{Seed, SegmentHeader, TooLong, segment_name, write_record};
use crate::index::Index;
use crate::record::{Cached, Kept, Place, Record};
use crate::recovery::{Epochs, RecoverError, Recovered, RecoveredChannel, Report, STORE, read_patiently, recover};
use compaction::Compaction;
use std::io;
use switchboard_core::{Epoch, Time};
use switchboard_hub::ChannelKey;

/// How the journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// A segment that has so many bytes is followed by another. A batch is never parted, so it may have a little more.
    pub segment_bytes: usize,
    /// Zeros that a batch which is to be synced writes behind itself, in bytes, if it comes to where the last ones end: a sync after which the file is as long as before
    /// takes the disk less time. A segment is never longer for them than `segment_bytes`.
    pub ahead_bytes: usize,
    /// Random: what checksums are seeded with if the store is new.
    pub seed: u64,
    /// Random: where epochs begin that follow damage. No two starts may have the same, or nearly.
    pub epoch: u64,
}

impl JournalOptions {
    /// Segments of 8 MiB, and 256 KiB of zeros ahead.
    pub const fn new(seed: u64, epoch: u64) -> Self {
        Self { segment_bytes: 8 << 20, ahead_bytes: 256 << 10, seed, epoch }
    }
}

/// Why the journal takes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no room on the disk. There may be some later.
    #[error("the disk is full")]
    Full,
    /// The disk has failed: nothing is taken until the next start.
    #[error("the disk has failed: {0}")]
    Failed(String),
}

/// The journal.
#[derive(Debug)]
pub(crate) struct Journal<D> {
    pub(crate) disk: D,
    options: JournalOptions,
    seed: Seed,
    pub(crate) index: Index,
    /// The segment that grows, once there is one.
    head: Option<Head>,
    next_sequence: u64,
    /// Staged bytes; they begin where the head ends.
    buffer: Vec<u8>,
    staged: Vec<Staged>,
    /// Places that must be written before anything else.
    owed: Vec<Place>,
    /// Channels that were forgotten while nothing could be written: that must be written before their names come again.
    owed_forgotten: Vec<(ChannelKey, Epoch)>,
    compaction: Option<Compaction>,
    refusal: Option<Refusal>,
    /// Records that could not be read when their segment was rewritten.
    pub(crate) unreadable: u64,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    sequence: u64,
    /// Good bytes in the file; 0 if there is no file yet.
    length: usize,
    /// Bytes of the file with the zeros behind those, if there are any. When the segment is full there are none: a later one shows that all of it was good.
    file_length: usize,
    /// There are bytes that have not been synced.
    unsynced: bool,
    /// The name has not been synced.
    unnamed: bool,
    /// All that was synced stands before a mark.
    marked: bool,
}

/// What becomes true when the batch is written, of a channel if it has still the same epoch then: it may be forgotten and begin anew within one batch.
#[derive(Debug)]
enum Staged {
    Publication {
        key: ChannelKey,
        epoch: Epoch,
        offset: u64,
        gap: u64,
        dropped: u64,
        at: usize,
        bytes: usize,
        id_until: Option<Time>,
        ids_from: u64,
        cached: Option<Cached>,
    },
    Place {
        key: ChannelKey,
        epoch: Epoch,
    },
    Owed(Place),
    Reserved {
        key: ChannelKey,
        epoch: Epoch,
        through: u64,
    },
    Id {
        until: Time,
        bytes: usize,
    },
    Forgotten {
        key: ChannelKey,
        epoch: Epoch,
    },
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: usize,
    pub(crate) synced: bool,
}

impl<D: Disk> Journal<D> {
    /// Reads what there is, and makes certain of it: what is served from now on would survive a loss of power.
    pub(crate) fn open(
        mut disk: D,
        options: JournalOptions,
        epochs: Epochs,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, Vec<RecoveredChannel>, Report), RecoverError> {
        let mut epoch = options.epoch;
        let mut fresh = || {
            epoch = epoch.wrapping_add(1);
            Epoch(epoch)
        };
        let found = recover(&mut disk, epochs, &mut fresh, progress)?;
        let seed = found.seed.unwrap_or(Seed(options.seed));
        if found.store_missing {
            let mut bytes = Vec::new();
            SegmentHeader { seed, sequence: 0, previous_length: 0 }.write(&mut bytes);
            replace(&mut disk, STORE, &bytes)?;
        }
        let Recovered { mut index, channels, owed, report, tail, last, .. } = found;
        if let Some((sequence, length)) = tail {
            secure_tail(&mut disk, sequence, length)?;
            if length == 0 {
                index.segments.pop_back();
            }
        }
        // A segment that was nothing but torn is no hole among the others.
        let next_sequence = if tail.is_some_and(|(_, length)| length == 0) { last } else { last + 1 };
        let journal = Self {
            disk,
            options,
            seed,
            index,
            head: None,
            next_sequence,
            buffer: Vec::new(),
            staged: Vec::new(),
            owed,
            owed_forgotten: Vec::new(),
            compaction: None,
            refusal: None,
            unreadable: 0,
        };
        Ok((journal, channels, report))
    }

    /// Why nothing is taken, if nothing is.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// When a segment is followed by another.
    pub(crate) fn segment_bytes(&self) -> usize {
        self.options.segment_bytes
    }

    /// Bytes that are staged.
    pub(crate) fn staged_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether there are bytes that a loss of power would take.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.head.is_some_and(|head| head.unsynced)
    }

    /// Whether the last that was synced does not stand before a mark yet: damage to it could not be told from a torn write.
    pub(crate) fn wants_mark(&self) -> bool {
        self.head.is_some_and(|head| !head.unsynced && !head.marked)
    }

    /// Begins a batch, if none is begun: chooses its segment, and writes the mark and what is owed.
    fn begin(&mut self) {
        if !self.buffer.is_empty() {
            return;
        }
        let full = self.head.is_none_or(|head| head.length >= self.options.segment_bytes && !head.unsynced);
        if full {
            let previous_length = self.index.segments.back().map_or(0, |segment| segment.length as u64);
            let sequence = self.next_sequence;
            SegmentHeader { seed: self.seed, sequence, previous_length }.write(&mut self.buffer);
            self.head =
                Some(Head { sequence, length: 0, file_length: 0, unsynced: false, unnamed: true, marked: false });
        } else if self.wants_mark() {
            // Its bytes alone can be no more than any record may have.
            let _ = self.write(&Record::Synced);
        }
        for place in core::mem::take(&mut self.owed) {
            if self.write(&Record::Channel(place.clone())).is_ok() {
                self.staged.push(Staged::Owed(place));
            }
        }
        for (key, epoch) in core::mem::take(&mut self.owed_forgotten) {
            self.write_forgotten(key, epoch);
        }
    }

    /// Where the next record will stand.
    fn end(&self) -> usize {
        self.head.map_or(0, |head| head.length) + self.buffer.len()
    }

    fn write(&mut self, record: &Record) -> Result<usize, TooLong> {
        self.write_with(|out| record.write(out))
    }

    fn write_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<usize, TooLong> {
        let Some(head) = self.head else { return Err(TooLong) };
        write_record(self.seed, head.sequence, head.length, &mut self.buffer, write)
    }

    /// Stages a publication. `begins` says that it need not follow the one that the journal knows.
    ///
    /// # Errors
    /// It follows one that the journal does not have: an earlier one was refused.
    pub(crate) fn stage_publication(&mut self, kept: &mut Kept, begins: bool) -> Result<(), OutOfOrder> {
        let key = kept.key.clone();
        let Publication { epoch, offset, previous } = Publication::of(kept);
        let channel = self.index.channel(&key, epoch);
        let known = channel.map(|channel| channel.staged_head);
        if !begins && known != Some(previous) {
            return Err(OutOfOrder);
        }
        // Should the record of the reservation be damaged, this one tells it.
        kept.reserved = Some(channel.map_or(0, |channel| channel.staged_reserved));
        self.begin();
        let gap = if known == Some(previous) { 0 } else { previous };
        self.write_publication(kept, gap).map_err(|TooLong| OutOfOrder)?;
        let channel = self.index.enter(&key, epoch);
        (channel.staged_head, channel.staged_cached) = (offset, kept.cached);
        Ok(())
    }

    /// Writes a publication, for the first time or again. `gap`: through which offset nothing before it is there, 0 if that is known.
    fn write_publication(&mut self, kept: &Kept, gap: u64) -> Result<(), TooLong> {
        let Publication { epoch, offset, .. } = Publication::of(kept);
        let at = self.end();
        let bytes = self.write_with(|out| kept.write(out))?;
        self.staged.push(Staged::Publication {
            key: kept.key.clone(),
            epoch,
            offset,
            gap,
            dropped: kept.dropped,
            at,
            bytes,
            id_until: kept.id.as_ref().map(|(_, until)| *until),
            ids_from: kept.ids_from,
            cached: kept.cached,
        });
        Ok(())
    }

    /// Stages that offsets through this one may be given away.
    pub(crate) fn stage_reservation(&mut self, key: ChannelKey, epoch: Epoch, head: u64, through: u64) {
        self.begin();
        let channel = self.index.enter(&key, epoch);
        channel.staged_head = channel.staged_head.max(head);
        channel.staged_reserved = through;
        let record = Record::Reserved { key: key.clone(), epoch, head: channel.staged_head, through };
        if self.write(&record).is_ok() {
            self.staged.push(Staged::Reserved { key, epoch, through });
        }
    }

    /// Stages that the channel is forgotten.
    pub(crate) fn stage_forgotten(&mut self, key: ChannelKey, epoch: Epoch) {
        if self.index.channel(&key, epoch).is_none() {
            // It may be owed that.
            if !self.owed_forgotten.is_empty() {
                self.begin();
            }
            return;
        }
        self.begin();
        self.write_forgotten(key, epoch);
    }

    fn write_forgotten(&mut self, key: ChannelKey, epoch: Epoch) {
        if self.write(&Record::Forgotten { key: key.clone(), epoch }).is_ok() {
            if let Some(channel) = self.index.channel_mut(&key, epoch) {
                channel.staged_forgotten = true;
            }
            self.staged.push(Staged::Forgotten { key, epoch });
        }
    }

    /// The channel is forgotten while nothing can be written. Until it is, nothing may be published under its name that the journal does not have.
    pub(crate) fn forget(&mut self, key: &ChannelKey, epoch: Epoch) {
        if self.index.channel(key, epoch).is_some() {
            self.index.forget(key);
            self.owed_forgotten.push((key.clone(), epoch));
        }
    }

    /// Publications through this offset are kept no longer. Nothing is written: what comes back after a crash is dropped again.
    pub(crate) fn trim(&mut self, key: &ChannelKey, epoch: Epoch, through: u64) {
        if self.index.channel(key, epoch).is_some() {
            self.index.drop_through(key, through);
        }
    }

    /// The channel's cached value is gone, unless there is another by now. Nothing is written: what comes back after a crash goes again.
    pub(crate) fn uncache(&mut self, key: &ChannelKey, epoch: Epoch, offset: u64) {
        if self.index.channel(key, epoch).is_none() {
            return;
        }
        let is_it = |cached: &mut Cached| cached.offset == offset;
        for staged in &mut self.staged {
            if let Staged::Publication { key: of, cached, .. } = staged
                && of == key
            {
                cached.take_if(is_it);
            }
        }
        if let Some(channel) = self.index.channels.get_mut(key) {
            channel.staged_cached.take_if(is_it);
            let cached = channel.cached.filter(|cached| cached.offset != offset);
            self.index.cache(key, cached);
        }
    }

    fn stage_place(&mut self, place: Place) {
        let (key, epoch) = (place.key.clone(), place.epoch);
        if self.write(&Record::Channel(place)).is_ok() {
            self.staged.push(Staged::Place { key, epoch });
        }
    }

    fn place_of(&self, key: &ChannelKey) -> Option<Place> {
        let channel = self.index.remembered(key)?;
        Some(Place {
            key: key.clone(),
            epoch: channel.epoch,
            continues: None,
            head: channel.staged_head,
            dropped: channel.dropped,
            complete_after: channel.complete_after,
            reserved: channel.staged_reserved,
            cached: channel.staged_cached,
        })
    }

    /// A disk that was full shall be tried again by the next batch.
    pub(crate) fn forget_full(&mut self) {
        self.refusal.take_if(|refusal| *refusal == Refusal::Full);
    }

    /// Tries whether a full disk has room again.
    ///
    /// # Errors
    /// It has not, or has failed.
    pub(crate) fn probe(&mut self, now: Time) -> Result<(), Refusal> {
        if let Some(refusal @ Refusal::Failed(_)) = &self.refusal {
            return Err(refusal.clone());
        }
        self.remove_dead(now)?;
        if self.disk.free_bytes().is_some_and(|free| free < PROBE_BYTES) {
            return Err(Refusal::Full);
        }
        self.refusal = None;
        self.begin();
        // It is longer than a batch's first record, so that a little room does not look like enough.
        let padding = vec![0; usize::try_from(PROBE_BYTES).unwrap_or(0)];
        let length = self.buffer.len();
        self.buffer.extend_from_slice(&padding);
        if let Some(mut head) = self.head {
            let name = segment_name(head.sequence);
            let tried = if head.length == 0 { self.create(&name) } else { Ok(()) };
            let tried = tried.and_then(|()| self.append(&mut head, 0));
            let tried = tried.and_then(|()| self.cut_off(&mut head));
            self.head = Some(head);
            if let Err(refusal) = tried {
                self.refusal = Some(refusal.clone());
                self.abandon();
                return Err(refusal);
            }
        }
        self.buffer.truncate(length);
        if self.buffer.is_empty() { Ok(()) } else { self.commit(true).map(|_| ()) }
    }

    /// Writes a mark behind what was synced last, so that damage to it will be known for what it is.
    pub(crate) fn mark(&mut self) -> Result<(), Refusal> {
        if !self.wants_mark() || !self.buffer.is_empty() {
            return Ok(());
        }
        self.begin();
        self.commit(true)?;
        if let Some(head) = &mut self.head {
            head.marked = true;
        }
        Ok(())
    }

    /// Ends in order: what was reserved and not used is free again, and files end where what they tell does.
    pub(crate) fn close(&mut self) -> Result<(), Refusal> {
        self.options.ahead_bytes = 0;
        if let Some(mut head) = self.head.filter(|head| self.refusal.is_none() && head.length < head.file_length) {
            let cut = self.cut_off(&mut head);
            self.head = Some(head);
            cut?;
        }
        self.begin();
        // The record is tiny.
        let _ = self.write(&Record::Closed);
        self.commit(true).map(|_| ())
    }
}

/// Memory that an empty batch keeps, in bytes.
const BUFFER_KEPT: usize = 1 << 20;
/// Room that there must be before a full disk is used again, in bytes.
const PROBE_BYTES: u64 = 64 << 10;

/// A publication follows one that the journal does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfOrder;

struct Publication {
    epoch: Epoch,
    offset: u64,
    previous: u64,
}

impl Publication {
    fn of(kept: &Kept) -> Self {
        let publication = &kept.publication;
        Self { epoch: publication.position.epoch, offset: publication.position.offset, previous: publication.previous }
    }
}

fn failed(error: &io::Error) -> Refusal {
    Refusal::Failed(error.to_string())
}

/// Puts a whole file in the place of another, or of none.
fn replace<D: Disk>(disk: &mut D, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = format!("{name}.new");
    match disk.create(&new) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => disk.truncate(&new, 0)?,
        made => made?,
    }
    disk.append(&new, bytes)?;
    disk.sync(&new)?;
    disk.rename(&new, name)?;
    disk.sync_folder()
}

/// What was read of the last segment may never have been synced, or its sync may have failed: then the system would have the bytes, the disk not, and a
/// second sync would find nothing to do. So they are written once more, to another file.
fn secure_tail<D: Disk>(disk: &mut D, sequence: u64, length: usize) -> io::Result<()> {
    let name = segment_name(sequence);
    if length == 0 {
        disk.remove(&name)?;
        return disk.sync_folder();
    }
    let mut bytes = read_patiently(disk, &name)?;
    bytes.truncate(length);
    match replace(disk, &name, &bytes) {
        Err(error) if is_no_space(&error) => {
            let _ = disk.remove(&format!("{name}.new"));
            disk.truncate(&name, length as u64)?;
            // Over itself, then: it is to be written once more wherever it stands. Where a file system needs room for that too, it can only be synced.
            match disk.overwrite(&name, 0, &bytes) {
                Err(error) if !is_no_space(&error) => return Err(error),
                _ => disk.sync(&name)?,
            }
            disk.sync_folder()
        }
        replaced => replaced,
    }
}
