//! A staged batch on its way to the disk: written, synced, and only then true; or as if it had never been.
//!
//! Owns the order of writes and syncs, and what each outcome does to the index. Knows nothing of how a batch came together.

use super::{BUFFER_KEPT, Head, Journal, Refusal, Staged, Written, failed};
use crate::disk::{Disk, is_no_space};
use crate::frame::segment_name;
use crate::index::{Segment, Spot};
use crate::record::Place;
use std::io;
use switchboard_core::canary::{Canary, is_planted};

impl<D: Disk> Journal<D> {
    /// Writes the batch, and waits until it is on the disk if `sync`.
    ///
    /// # Errors
    /// Nothing of the batch counts.
    pub(crate) fn commit(&mut self, sync: bool) -> Result<Written, Refusal> {
        if let Some(refusal) = &self.refusal {
            let refusal = refusal.clone();
            self.abandon();
            if sync && refusal == Refusal::Full {
                self.sync_written()?;
            }
            return Err(refusal);
        }
        // A segment is whole before the next begins.
        let last = self.head.is_some_and(|head| head.length + self.buffer.len() >= self.options.segment_bytes);
        let sync = sync || last || self.compaction.as_ref().is_some_and(|compaction| compaction.done);
        match self.try_commit(sync) {
            Ok(written) => Ok(written),
            Err(refusal) => {
                self.refusal = Some(refusal.clone());
                self.abandon();
                Err(refusal)
            }
        }
    }

    fn try_commit(&mut self, sync: bool) -> Result<Written, Refusal> {
        let Some(mut head) = self.head else { return Ok(Written::default()) };
        let name = segment_name(head.sequence);
        let written = self.buffer.len();
        if written > 0 {
            if head.length == 0 {
                self.create(&name)?;
                if is_planted(Canary::SegmentSkipped) {
                    self.next_sequence = head.sequence + 1;
                }
            }
            let appended = self.append(&mut head, if sync { self.options.ahead_bytes } else { 0 });
            self.head = Some(head);
            appended?;
            if head.length == 0 {
                // Not before: where there was no room for its first batch, the next attempt is at the same file, or the one after would follow an empty one.
                self.next_sequence = head.sequence + 1;
                self.index.segments.push_back(Segment { sequence: head.sequence, ..Segment::default() });
            }
            let first = head.length == 0;
            (head.length, head.unsynced, head.marked) = (head.length + written, true, first && self.staged.is_empty());
            self.head = Some(head);
            if let Some(segment) = self.index.segment(head.sequence) {
                segment.length = head.length;
            }
        }
        if sync && head.unsynced {
            self.sync_head(&mut head)?;
        }
        self.buffer.clear();
        // One huge batch must not hold its memory for ever.
        self.buffer.shrink_to(BUFFER_KEPT);
        self.apply(head.sequence);
        if sync {
            self.remove_compacted()?;
        }
        Ok(Written { bytes: written, synced: sync })
    }

    /// What was written while there was room is owed its sync all the same.
    fn sync_written(&mut self) -> Result<(), Refusal> {
        let Some(mut head) = self.head.filter(|head| head.unsynced) else { return Ok(()) };
        self.sync_head(&mut head).inspect_err(|refusal| self.refusal = Some(refusal.clone()))
    }

    fn sync_head(&mut self, head: &mut Head) -> Result<(), Refusal> {
        let synced = self.disk.sync(&segment_name(head.sequence)).map_err(|error| failed(&error));
        if !is_planted(Canary::FailedSyncTaken) {
            synced?;
        }
        if head.unnamed {
            self.disk.sync_folder().map_err(|error| failed(&error))?;
        }
        (head.unsynced, head.unnamed) = (false, false);
        self.head = Some(*head);
        Ok(())
    }

    pub(super) fn create(&mut self, name: &str) -> Result<(), Refusal> {
        match self.disk.create(name) {
            Ok(()) => Ok(()),
            // Left over from an attempt for which there was no room.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.truncate(name, 0).map_err(|error| failed(&error))
            }
            Err(error) if is_no_space(&error) => Err(Refusal::Full),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Writes what is staged, and so many zeros behind it if those of before do not reach.
    pub(super) fn append(&mut self, head: &mut Head, ahead: usize) -> Result<(), Refusal> {
        let staged = self.buffer.len();
        let end = head.length + staged;
        if end > head.file_length {
            let padded = end.saturating_add(ahead).min(self.options.segment_bytes).max(end);
            self.buffer.resize(staged + padded - end, 0);
        }
        let written = self.write_out(head);
        let is_padded = self.buffer.len() > staged;
        self.buffer.truncate(staged);
        match written {
            // There may be room for the batch alone.
            Err(Refusal::Full) if is_padded => self.write_out(head),
            written => written,
        }
    }

    fn write_out(&mut self, head: &mut Head) -> Result<(), Refusal> {
        match self.disk.overwrite(&segment_name(head.sequence), head.length as u64, &self.buffer) {
            Ok(()) => {
                head.file_length = head.file_length.max(head.length + self.buffer.len());
                Ok(())
            }
            Err(error) if is_no_space(&error) => {
                // A part of it may be there; what was written before is not in doubt.
                self.cut_off(head)?;
                Err(Refusal::Full)
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// Leaves of the head's file what is good.
    pub(super) fn cut_off(&mut self, head: &mut Head) -> Result<(), Refusal> {
        self.disk.truncate(&segment_name(head.sequence), head.length as u64).map_err(|error| failed(&error))?;
        head.file_length = head.length;
        Ok(())
    }

    /// The batch is as if it had never been.
    pub(super) fn abandon(&mut self) {
        self.buffer.clear();
        for staged in core::mem::take(&mut self.staged) {
            let (key, epoch) = match staged {
                Staged::Publication { key, epoch, .. } | Staged::Reserved { key, epoch, .. } => (key, epoch),
                Staged::Owed(place) => {
                    self.owed.push(place);
                    continue;
                }
                Staged::Forgotten { key, epoch } => {
                    if self.index.channel(&key, epoch).is_some() {
                        self.index.forget(&key);
                    }
                    self.owed_forgotten.push((key, epoch));
                    continue;
                }
                Staged::Place { .. } | Staged::Id { .. } => continue,
            };
            let Some(channel) = self.index.channel_mut(&key, epoch) else { continue };
            (channel.staged_head, channel.staged_reserved) = (channel.head, channel.reserved);
            channel.staged_cached = channel.cached;
            if channel.anchor.is_none() {
                self.index.forget(&key);
            }
        }
        // What of it was staged is gone: the segment is read once more.
        self.compaction = None;
        if let Some(head) = self.head.filter(|head| head.length == 0) {
            self.index.segments.retain(|segment| segment.sequence != head.sequence);
            self.head = None;
        }
    }

    fn apply(&mut self, sequence: u64) {
        for staged in core::mem::take(&mut self.staged) {
            match staged {
                Staged::Publication { key, epoch, offset, gap, dropped, at, bytes, id_until, ids_from, cached } => {
                    if let Some(until) = id_until {
                        self.index.remember_id(sequence, until, 0);
                    }
                    let Some((channel, segments)) = self.index.account_in(&key, epoch) else { continue };
                    channel.tell(segments, sequence, false);
                    channel.complete_after = channel.complete_after.max(gap);
                    channel.ids_from = channel.ids_from.max(ids_from);
                    channel.cache(segments, cached);
                    channel.place(segments, offset, Spot { segment: sequence, at }, bytes);
                    channel.drop_through(segments, dropped);
                }
                Staged::Place { key, epoch } | Staged::Owed(Place { key, epoch, .. }) => {
                    if let Some((channel, segments)) = self.index.account_in(&key, epoch) {
                        channel.tell(segments, sequence, true);
                    }
                }
                Staged::Reserved { key, epoch, through } => {
                    let Some((channel, segments)) = self.index.account_in(&key, epoch) else { continue };
                    // It tells nothing of what is missing.
                    let all = channel.complete_after <= channel.dropped;
                    channel.tell(segments, sequence, all);
                    channel.reserved = through;
                }
                Staged::Id { until, bytes } => self.index.remember_id(sequence, until, bytes),
                Staged::Forgotten { key, epoch } => {
                    if self.index.channel(&key, epoch).is_some() {
                        self.index.forget(&key);
                    }
                }
            }
        }
    }
}
