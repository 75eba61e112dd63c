//! The end of segments: what the oldest has that is still needed is written again at the journal's end, and its file goes.
//!
//! Oldest first, always: what an older segment says must never outlive what a younger one says.

use super::{Journal, Publication, Refusal, Staged, failed};
use crate::disk::Disk;
use crate::frame::{Found, HEADER, Walk, segment_name};
use crate::index::Spot;
use crate::record::Record;
use crate::recovery::read_patiently;
use std::sync::Arc;
use switchboard_core::{Epoch, Time};
use switchboard_hub::ChannelKey;

/// The oldest segment on its way out.
#[derive(Debug)]
pub(super) struct Compaction {
    sequence: u64,
    bytes: Vec<u8>,
    at: usize,
    /// Everything that is needed is staged or written: the file goes after the next sync.
    pub(super) done: bool,
}

/// Segments beyond which the oldest is rewritten even if there is room: each is a file to open at start.
const SEGMENTS_MAX: usize = 256;

impl<D: Disk> Journal<D> {
    /// Whether the journal has more on the disk than it should.
    pub(crate) fn wants_compaction(&mut self, now: Time) -> bool {
        if self.refusal.is_some() || self.index.segments.len() < 2 {
            return false;
        }
        self.index.expire_ids(now);
        self.compaction.is_some()
            || self.index.bytes() > self.bytes_wanted()
            || self.index.segments.len() > SEGMENTS_MAX
    }

    /// Whether it has so much more than it should that the next start would take far longer than it must.
    pub(crate) fn wants_room(&mut self, now: Time) -> bool {
        self.wants_compaction(now)
            && (self.index.bytes() > 2 * self.bytes_wanted() || self.index.segments.len() > 2 * SEGMENTS_MAX)
    }

    /// What it should have on the disk at most, in bytes.
    fn bytes_wanted(&self) -> usize {
        2 * self.index.live() + 4 * self.options.segment_bytes
    }

    /// Stages what the oldest segment has that is still needed, about `budget` bytes at a time; when all is, its file goes with the next sync.
    ///
    /// # Errors
    /// The segment cannot be read at all.
    pub(crate) fn compact(&mut self, now: Time, budget: usize) -> Result<(), Refusal> {
        let Some(oldest) = self.index.segments.front().copied() else { return Ok(()) };
        if self.head.is_some_and(|head| head.sequence == oldest.sequence) {
            return Ok(());
        }
        let mut compaction = match self.compaction.take() {
            Some(compaction) => compaction,
            None => {
                let needed = oldest.live > 0 || oldest.ids_until > now;
                let bytes = if needed { self.read_segment(oldest.sequence)? } else { Vec::new() };
                Compaction { sequence: oldest.sequence, bytes, at: HEADER, done: false }
            }
        };
        if !compaction.done {
            self.begin();
            self.compact_records(now, budget, &mut compaction);
        }
        self.compaction = Some(compaction);
        Ok(())
    }

    fn read_segment(&mut self, sequence: u64) -> Result<Vec<u8>, Refusal> {
        read_patiently(&mut self.disk, &segment_name(sequence)).map_err(|error| {
            let refusal = failed(&error);
            self.refusal = Some(refusal.clone());
            refusal
        })
    }

    fn compact_records(&mut self, now: Time, budget: usize, compaction: &mut Compaction) {
        let until = compaction.at.saturating_add(budget);
        for found in Walk::new(self.seed, compaction.sequence, &compaction.bytes, compaction.at) {
            let end = match found {
                Found::Record { at, body } => {
                    let end = body.end;
                    if let Some(record) = compaction.bytes.get(body).and_then(Record::read) {
                        self.keep(now, record, Spot { segment: compaction.sequence, at });
                    }
                    end
                }
                Found::Damage(range) => {
                    self.unreadable += 1;
                    range.end
                }
            };
            compaction.at = end;
            if end >= until {
                break;
            }
        }
        if compaction.at >= compaction.bytes.len() {
            for key in self.index.anchored_in(compaction.sequence) {
                if let Some(place) = self.place_of(&key) {
                    self.stage_place(place);
                }
            }
            compaction.done = true;
            compaction.bytes = Vec::new();
        }
    }

    /// Writes a record of the oldest segment again, if it is needed.
    fn keep(&mut self, now: Time, record: Record, spot: Spot) {
        match record {
            Record::Publication(mut kept) => {
                let key = kept.key.clone();
                let Some(channel) = self.index.remembered(&key) else { return };
                let (epoch, head, dropped, cached, reserved) = (
                    channel.epoch,
                    channel.staged_head,
                    channel.dropped,
                    channel.staged_cached,
                    channel.staged_reserved,
                );
                let Publication { epoch: told, offset, .. } = Publication::of(&kept);
                if !self.index.is_kept(&key, offset, spot) {
                    // The publication is not kept any more; its id may be.
                    if let Some(id) = kept.id.filter(|_| offset <= dropped) {
                        self.keep_id(now, key, (told, offset), id);
                    }
                    return;
                }
                (kept.head, kept.dropped, kept.cached, kept.reserved) = (head, dropped, cached, Some(reserved));
                Arc::make_mut(&mut kept.publication).position.epoch = epoch;
                // It was short enough before.
                let _ = self.write_publication(&kept, 0);
            }
            Record::Id { key, epoch, offset, id, until } => self.keep_id(now, key, (epoch, offset), (id, until)),
            // Places are written once all that is kept is; the rest has done its work.
            Record::Channel(_)
            | Record::Reserved { .. }
            | Record::Forgotten { .. }
            | Record::Synced
            | Record::Closed => {}
        }
    }

    /// Writes an id of a publication again, if it is remembered, in the channel's epoch: the record by which that continues another may go before this one.
    fn keep_id(&mut self, now: Time, key: ChannelKey, (told, offset): (Epoch, u64), (id, until): (Arc<str>, Time)) {
        if until > now
            && let Some(channel) = self.index.remembered_since(&key, told)
            && offset >= channel.ids_from
        {
            let epoch = channel.epoch;
            if let Ok(bytes) = self.write(&Record::Id { key, epoch, offset, id, until }) {
                self.staged.push(Staged::Id { until, bytes });
            }
        }
    }

    /// Removes the oldest segments as far as nothing in them is needed: that takes no room.
    pub(super) fn remove_dead(&mut self, now: Time) -> Result<(), Refusal> {
        while let Some(oldest) = self.index.segments.front().copied()
            && oldest.live == 0
            && oldest.anchors == 0
            && oldest.ids_until <= now
            && self.head.is_none_or(|head| head.sequence != oldest.sequence)
            && !self.is_unsynced()
        {
            self.compaction = Some(Compaction { sequence: oldest.sequence, bytes: Vec::new(), at: 0, done: true });
            self.remove_compacted()?;
        }
        Ok(())
    }

    pub(super) fn remove_compacted(&mut self) -> Result<(), Refusal> {
        let Some(compaction) = self.compaction.take_if(|compaction| compaction.done) else { return Ok(()) };
        self.index.segments.retain(|segment| segment.sequence != compaction.sequence);
        self.disk.remove(&segment_name(compaction.sequence)).map_err(|error| failed(&error))?;
        // In this order on the disk too: what an older segment says is not to come back without what a younger one says.
        self.disk.sync_folder().map_err(|error| failed(&error))
    }
}
