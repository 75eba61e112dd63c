//! What of the journal is still needed, and in which segment it stands.
//!
//! Owns the accounts that decide when a segment can go. Knows nothing of files.

use crate::record::Cached;
use hashbrown::HashMap;
use std::collections::VecDeque;
use switchboard_core::{Epoch, Time};
use switchboard_hub::{ChannelKey, shrink};

/// A segment as the accounts see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) sequence: u64,
    /// Good bytes in its file.
    pub(crate) length: usize,
    /// Bytes of publications that are still kept.
    pub(crate) live: usize,
    /// Channels whose place is told by a record in here and by none after it.
    pub(crate) anchors: usize,
    /// Bytes of ids that outlive their publications.
    pub(crate) ids: usize,
    /// Ids in here are remembered until then.
    pub(crate) ids_until: Time,
}

/// A channel as the journal has it.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) epoch: Epoch,
    /// Earlier ones that this one continues: records of theirs are the channel's too.
    pub(crate) continued: Box<[Epoch]>,
    /// The latest offset that the journal knows.
    pub(crate) head: u64,
    /// The same with what is about to be written.
    pub(crate) staged_head: u64,
    pub(crate) dropped: u64,
    pub(crate) complete_after: u64,
    /// Ids of publications before this one are forgotten.
    pub(crate) ids_from: u64,
    /// That it is forgotten is about to be written: nothing of it may be written behind that.
    pub(crate) staged_forgotten: bool,
    pub(crate) reserved: u64,
    /// The same with what is about to be written.
    pub(crate) staged_reserved: u64,
    /// The segment of the latest record that tells the channel's place; of the latest that tells all of it, while publications tell only a part.
    pub(crate) anchor: Option<u64>,
    /// Its cached value.
    pub(crate) cached: Option<Cached>,
    /// The same with what is about to be written.
    pub(crate) staged_cached: Option<Cached>,
    /// The cached value's record, when the history has let go of it.
    aside: Option<Entry>,
    /// Its publications in the order of their offsets.
    entries: VecDeque<Entry>,
}

/// A list with no more places than these is left as it is, however little is in it.
const ENTRIES_KEPT: usize = 64;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    offset: u64,
    spot: Spot,
    bytes: u32,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) segment: u64,
    pub(crate) at: usize,
}

impl Channel {
    /// Whether the channel has more to its place than its publications tell.
    pub(crate) fn is_more_than_told(&self) -> bool {
        self.reserved > self.head || self.complete_after > self.dropped
    }

    /// A record in this segment tells where the channel is: `all` of it, or only its head.
    pub(crate) fn tell(&mut self, segments: &mut VecDeque<Segment>, sequence: u64, all: bool) {
        self.head = self.staged_head;
        if all || self.anchor.is_none() || !self.is_more_than_told() {
            self.anchor(segments, sequence);
        }
    }

    fn anchor(&mut self, segments: &mut VecDeque<Segment>, sequence: u64) {
        if self.anchor == Some(sequence) {
            return;
        }
        if let Some(old) = self.anchor.replace(sequence).and_then(|old| segment(segments, old)) {
            old.anchors -= 1;
        }
        if let Some(new) = segment(segments, sequence) {
            new.anchors += 1;
        }
    }

    pub(crate) fn place(&mut self, segments: &mut VecDeque<Segment>, offset: u64, spot: Spot, bytes: usize) {
        let is_cached = self.cached.is_some_and(|cached| cached.offset == offset);
        if offset <= self.dropped && !is_cached {
            return;
        }
        let entry = Entry { offset, spot, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) };
        if let Some(segment) = segment(segments, spot.segment) {
            segment.live += entry.bytes as usize;
        }
        if offset <= self.dropped {
            if let Some(old) = self.aside.replace(entry) {
                release(segments, old);
            }
            return;
        }
        // Mostly it is the newest. To search thousands for its place would be as many cache misses as steps.
        if self.entries.back().is_none_or(|newest| newest.offset < offset) {
            return self.entries.push_back(entry);
        }
        let at = self.entries.partition_point(|known| known.offset < offset);
        match self.entries.get_mut(at).filter(|known| known.offset == offset) {
            Some(known) => {
                release(segments, *known);
                *known = entry;
            }
            None => self.entries.insert(at, entry),
        }
    }

    pub(crate) fn drop_through(&mut self, segments: &mut VecDeque<Segment>, through: u64) {
        self.dropped = self.dropped.max(through);
        while let Some(&oldest) = self.entries.front()
            && oldest.offset <= through
        {
            self.entries.pop_front();
            if self.cached.is_some_and(|cached| cached.offset == oldest.offset) {
                self.aside = Some(oldest);
            } else {
                release(segments, oldest);
            }
        }
        // As the publications' own ring does it.
        if self.entries.capacity() > ENTRIES_KEPT && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    pub(crate) fn cache(&mut self, segments: &mut VecDeque<Segment>, cached: Option<Cached>) {
        self.cached = cached;
        let gone = |aside: &mut Entry| cached.is_none_or(|cached| cached.offset != aside.offset);
        if let Some(aside) = self.aside.take_if(gone) {
            release(segments, aside);
        }
    }

    fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            continued: Box::default(),
            head: 0,
            staged_head: 0,
            dropped: 0,
            complete_after: 0,
            ids_from: 0,
            staged_forgotten: false,
            reserved: 0,
            staged_reserved: 0,
            anchor: None,
            cached: None,
            staged_cached: None,
            aside: None,
            entries: VecDeque::new(),
        }
    }
}

/// All channels and all segments.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) channels: HashMap<ChannelKey, Channel, foldhash::fast::RandomState>,
    /// Oldest first. Sequences are without a hole, as far as files are not missing.
    pub(crate) segments: VecDeque<Segment>,
}

impl Index {
    pub(crate) fn segment(&mut self, sequence: u64) -> Option<&mut Segment> {
        segment(&mut self.segments, sequence)
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.length).sum()
    }

    /// Bytes of what is still needed: publications, and ids as far as they were written apart from theirs.
    ///
    /// Of these, what is beyond a channel's number of ids counts until its segment is written anew, and no longer than the last of them is remembered.
    pub(crate) fn live(&self) -> usize {
        self.segments.iter().map(|segment| segment.live + segment.ids).sum()
    }

    /// An id is told in a segment, by a record of so many bytes of its own.
    pub(crate) fn remember_id(&mut self, sequence: u64, until: Time, bytes: usize) {
        if let Some(segment) = self.segment(sequence) {
            segment.ids_until = segment.ids_until.max(until);
            segment.ids += bytes;
        }
    }

    /// What of the ids is over.
    pub(crate) fn expire_ids(&mut self, now: Time) {
        for segment in &mut self.segments {
            if segment.ids_until <= now {
                segment.ids = 0;
            }
        }
    }

    /// The channel, if this is its epoch.
    pub(crate) fn channel(&self, key: &ChannelKey, epoch: Epoch) -> Option<&Channel> {
        self.channels.get(key).filter(|channel| channel.epoch == epoch)
    }

    /// The channel, if something of it may be written.
    pub(crate) fn remembered(&self, key: &ChannelKey) -> Option<&Channel> {
        self.channels.get(key).filter(|channel| !channel.staged_forgotten)
    }

    /// The same, if it is in this epoch or continues it.
    pub(crate) fn remembered_since(&self, key: &ChannelKey, epoch: Epoch) -> Option<&Channel> {
        self.remembered(key).filter(|channel| channel.epoch == epoch || channel.continued.contains(&epoch))
    }

    /// The channel, if this is its epoch, to be changed.
    pub(crate) fn channel_mut(&mut self, key: &ChannelKey, epoch: Epoch) -> Option<&mut Channel> {
        self.channels.get_mut(key).filter(|channel| channel.epoch == epoch)
    }

    /// The channel in this epoch; one of another epoch is forgotten.
    pub(crate) fn enter(&mut self, key: &ChannelKey, epoch: Epoch) -> &mut Channel {
        if self.channels.get(key).is_some_and(|channel| channel.epoch != epoch) {
            self.forget(key);
        }
        let entry = self.channels.entry_ref(key);
        entry.or_insert_with(|| Channel::new(epoch))
    }

    /// A publication stands in a segment: for the first time, or again.
    pub(crate) fn place(&mut self, key: &ChannelKey, offset: u64, spot: Spot, bytes: usize) {
        if let Some((channel, segments)) = self.account(key) {
            channel.place(segments, offset, spot, bytes);
        }
    }

    /// A record in this segment tells the channel's place.
    pub(crate) fn anchor(&mut self, key: &ChannelKey, sequence: u64) {
        if let Some((channel, segments)) = self.account(key) {
            channel.anchor(segments, sequence);
        }
    }

    /// Publications through this offset are kept no longer.
    pub(crate) fn drop_through(&mut self, key: &ChannelKey, through: u64) {
        if let Some((channel, segments)) = self.account(key) {
            channel.drop_through(segments, through);
        }
    }

    /// The channel's cached value is this from now on, or there is none.
    pub(crate) fn cache(&mut self, key: &ChannelKey, cached: Option<Cached>) {
        if let Some((channel, segments)) = self.account(key) {
            channel.cache(segments, cached);
        }
    }

    /// A channel and the segments that what changes of it is accounted to.
    pub(crate) fn account(&mut self, key: &ChannelKey) -> Option<(&mut Channel, &mut VecDeque<Segment>)> {
        Some((self.channels.get_mut(key)?, &mut self.segments))
    }

    /// The same, if the channel is in this epoch.
    pub(crate) fn account_in(
        &mut self,
        key: &ChannelKey,
        epoch: Epoch,
    ) -> Option<(&mut Channel, &mut VecDeque<Segment>)> {
        self.account(key).filter(|(channel, _)| channel.epoch == epoch)
    }

    /// The channel is of no interest any more.
    pub(crate) fn forget(&mut self, key: &ChannelKey) {
        let Some(channel) = self.channels.remove(key) else { return };
        shrink(&mut self.channels);
        if let Some(anchor) = channel.anchor.and_then(|anchor| segment(&mut self.segments, anchor)) {
            anchor.anchors -= 1;
        }
        for entry in channel.entries.into_iter().chain(channel.aside) {
            release(&mut self.segments, entry);
        }
    }

    /// Whether this publication is kept, as history or as cached value, and stands here.
    pub(crate) fn is_kept(&self, key: &ChannelKey, offset: u64, spot: Spot) -> bool {
        let Some(channel) = self.channels.get(key) else { return false };
        let at = channel.entries.partition_point(|known| known.offset < offset);
        let mut records = channel.entries.get(at).into_iter().chain(&channel.aside);
        records.any(|known| known.offset == offset && known.spot == spot)
    }

    /// Channels whose place would be lost with this segment.
    pub(crate) fn anchored_in(&self, sequence: u64) -> Vec<ChannelKey> {
        let anchored = self.channels.iter().filter(|(_, channel)| channel.anchor == Some(sequence));
        let mut keys: Vec<_> = anchored.map(|(key, _)| key.clone()).collect();
        // The order of a map is nobody's: the same requests shall make the same bytes.
        keys.sort_unstable();
        keys
    }
}

fn segment(segments: &mut VecDeque<Segment>, sequence: u64) -> Option<&mut Segment> {
    let at = segments.partition_point(|segment| segment.sequence < sequence);
    segments.get_mut(at).filter(|segment| segment.sequence == sequence)
}

fn release(segments: &mut VecDeque<Segment>, entry: Entry) {
    if let Some(segment) = segment(segments, entry.spot.segment) {
        segment.live -= entry.bytes as usize;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use switchboard_core::{AppId, ChannelName};

    fn key(name: &str) -> ChannelKey {
        ChannelKey::new(AppId::new("app"), ChannelName::parse(name).unwrap())
    }

    fn index() -> Index {
        let mut index = Index::default();
        index.segments.extend((1..4).map(|sequence| Segment { sequence, ..Segment::default() }));
        index
    }

    #[test]
    fn what_is_kept_and_what_is_told_is_counted_where_it_stands() {
        let (mut index, c) = (index(), key("c"));
        index.enter(&c, Epoch(7));
        for (offset, segment) in [(1, 1), (2, 1), (3, 2)] {
            index.place(&c, offset, Spot { segment, at: 0 }, 10);
            index.anchor(&c, segment);
        }
        let accounts = |index: &Index| index.segments.iter().map(|s| (s.live, s.anchors)).collect::<Vec<_>>();
        assert_eq!(accounts(&index), [(20, 0), (10, 1), (0, 0)]);
        index.drop_through(&c, 1);
        // Written again: it counts where it stands now.
        let again = Spot { segment: 3, at: 5 };
        index.place(&c, 2, again, 12);
        assert_eq!(accounts(&index), [(0, 0), (10, 1), (12, 0)]);
        assert!(
            index.is_kept(&c, 2, again)
                && !index.is_kept(&c, 2, Spot { segment: 1, at: 0 })
                && !index.is_kept(&c, 1, again)
        );
        // What was dropped in the meantime does not come back.
        index.place(&c, 1, again, 10);
        assert_eq!((index.live(), index.anchored_in(2)), (22, vec![c.clone()]));
        index.enter(&c, Epoch(8));
        assert_eq!(accounts(&index), [(0, 0), (0, 0), (0, 0)]);
    }

    #[test]
    fn a_cached_value_is_counted_once_as_long_as_it_is_one() {
        let (mut index, c) = (index(), key("c"));
        let at = |segment, at| Spot { segment, at };
        let cached = |offset| Some(Cached { offset, until: Time::from_secs(9) });
        let live = |index: &Index| index.segments.iter().map(|segment| segment.live).collect::<Vec<_>>();
        index.enter(&c, Epoch(7));
        (1..4).for_each(|offset| index.place(&c, offset, at(1, offset as usize), 10));
        index.cache(&c, cached(2));
        assert_eq!(live(&index), [30, 0, 0]);
        index.drop_through(&c, 3);
        assert!(index.is_kept(&c, 2, at(1, 2)) && !index.is_kept(&c, 3, at(1, 3)));
        assert_eq!(live(&index), [10, 0, 0]);
        index.place(&c, 2, at(2, 0), 12);
        assert_eq!((live(&index), index.is_kept(&c, 2, at(1, 2))), (vec![0, 12, 0], false));
        index.place(&c, 4, at(3, 0), 10);
        index.cache(&c, cached(4));
        assert_eq!(live(&index), [0, 0, 10]);
        index.drop_through(&c, 4);
        index.cache(&c, None);
        assert_eq!(live(&index), [0, 0, 0]);
        index.cache(&c, cached(4));
        index.place(&c, 4, at(3, 0), 10);
        index.forget(&c);
        assert_eq!(live(&index), [0, 0, 0]);
    }
}
