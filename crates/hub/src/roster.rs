//! Who on this shard subscribes to what, and what waits to be fanned out to them.

use crate::address::ChannelKey;
use crate::outbox::Run;
use crate::subscriber::Subscriber;
use hashbrown::HashMap;
use slab::Slab;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{App, ChannelOptions, Encoded, PresenceChange, Publication, WireFormat};

/// The channels with subscribers on this shard, by number.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    pub(crate) channels: Slab<LocalChannel>,
    index: HashMap<ChannelKey, u32, foldhash::fast::RandomState>,
    /// Channels with something to fan out, each once.
    pub(crate) ready: VecDeque<u32>,
    /// Publications and changes of presence that wait for their fan-out, in bytes.
    pub(crate) pending_bytes: usize,
    /// Counts the channels that have come to life here.
    generation: u64,
}

#[derive(Debug)]
pub(crate) struct LocalChannel {
    pub(crate) key: ChannelKey,
    pub(crate) options: Arc<ChannelOptions>,
    /// Its place on the roster.
    pub(crate) number: u32,
    /// Which of all channels that ever had its number.
    pub(crate) generation: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) pending: VecDeque<Arc<Publication>>,
    /// The last offset that came, or that all were told they will not get.
    pub(crate) received: u64,
    /// Offsets that never reached this shard, first and last, each gap at its place among what is pending.
    pub(crate) gaps: VecDeque<(u64, u64)>,
    pub(crate) changes: Vec<PresenceChange>,
    /// How many subscribe on all shards, where that is told and has changed.
    pub(crate) count: Option<u64>,
    pub(crate) watchers: u32,
    pub(crate) walk: Option<Walk>,
    pub(crate) ready: bool,
}

/// All that the usual fan-out needs to know of a subscriber, side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) slot: u32,
    pub(crate) serial: u64,
    pub(crate) format: WireFormat,
    pub(crate) replaying: bool,
    /// The last offset that it was given or that it came after: it gets publications after this one. `u64::MAX` if it wants none.
    pub(crate) from: u64,
    /// Gets presence changes after this one; `u64::MAX` if it does not want them.
    pub(crate) presence_from: u64,
}

/// A run of publications on its way through the roster.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) publications: Vec<Arc<Publication>>,
    pub(crate) changes: Vec<PresenceChange>,
    pub(crate) count: Option<u64>,
    /// Serials of this shard's subscribers that some publication excludes.
    pub(crate) excluded: SmallVec<[u64; 4]>,
    /// The run in each format that was met.
    pub(crate) blocks: SmallVec<[(WireFormat, Encoded); 2]>,
    pub(crate) presence_blocks: SmallVec<[(WireFormat, Encoded); 2]>,
    pub(crate) count_blocks: SmallVec<[(WireFormat, Encoded); 2]>,
    /// The next entry to visit.
    pub(crate) cursor: usize,
    /// To how many the run was given at once.
    pub(crate) given: u32,
}

impl Walk {
    /// What it holds, in bytes.
    pub(crate) fn cost(&self) -> usize {
        let publications = self.publications.iter().map(|publication| publication.cost()).sum::<usize>();
        publications + self.changes.iter().map(PresenceChange::cost).sum::<usize>()
    }
}

impl Roster {
    pub(crate) fn find(&self, key: &ChannelKey) -> Option<u32> {
        self.index.get(key).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The channel of a run, if it is still the same.
    pub(crate) fn named(&self, run: &Run) -> Option<&LocalChannel> {
        self.channels.get(run.number as usize).filter(|channel| channel.generation == run.generation)
    }

    /// Adds a subscriber, when the channel is at `offset`. Returns the channel's number and the entry's place.
    pub(crate) fn add(&mut self, app: &App, key: &ChannelKey, entry: Entry, offset: u64) -> (u32, u32) {
        let number = match self.index.get(key) {
            Some(number) => *number,
            None => {
                self.generation += 1;
                let options = Arc::clone(app.channels.of(&key.channel));
                let place = self.channels.vacant_entry();
                let number = u32::try_from(place.key()).unwrap_or(u32::MAX);
                let mut channel = LocalChannel::new(key.clone(), options, number, self.generation);
                channel.received = offset;
                place.insert(channel);
                self.index.insert(key.clone(), number);
                number
            }
        };
        let Some(channel) = self.channels.get_mut(number as usize) else { return (number, 0) };
        if entry.presence_from != u64::MAX {
            channel.watchers += 1;
        }
        channel.entries.push(entry);
        (number, u32::try_from(channel.entries.len() - 1).unwrap_or(u32::MAX))
    }

    /// Removes the entry at `index`, and the channel if it was the last.
    pub(crate) fn remove(&mut self, number: u32, index: u32, subscribers: &mut Slab<Subscriber>) {
        let Some(channel) = self.channels.get_mut(number as usize) else { return };
        channel.remove(number, index as usize, subscribers);
        if channel.entries.is_empty() {
            let channel = self.channels.remove(number as usize);
            let waiting = channel.pending.iter().map(|publication| publication.cost()).sum::<usize>();
            let changes = channel.changes.iter().map(PresenceChange::cost).sum::<usize>();
            self.pending_bytes -= waiting + changes + channel.walk.as_ref().map_or(0, Walk::cost);
            self.index.remove(&channel.key);
            if channel.ready {
                self.ready.retain(|ready| *ready != number);
            }
        }
    }

    /// Queues a publication for the channel's subscribers here. Returns what is lost between it and what came last.
    pub(crate) fn enqueue(&mut self, key: &ChannelKey, publication: Arc<Publication>) -> Option<(u64, u64)> {
        let number = self.find(key)?;
        let channel = self.channels.get_mut(number as usize)?;
        let lost = (publication.previous > channel.received).then_some((channel.received + 1, publication.previous));
        channel.gaps.extend(lost);
        channel.received = publication.position.offset;
        self.pending_bytes += publication.cost();
        channel.pending.push_back(publication);
        self.mark_ready(number);
        lost
    }

    /// Queues the notice that publications are lost.
    pub(crate) fn enqueue_gap(&mut self, key: &ChannelKey, from: u64, to: u64) {
        let Some(number) = self.find(key) else { return };
        let Some(channel) = self.channels.get_mut(number as usize) else { return };
        if to <= channel.received {
            return;
        }
        channel.gaps.push_back((from.max(channel.received + 1), to));
        channel.received = to;
        self.mark_ready(number);
    }

    /// Queues a presence change for those who want to know.
    pub(crate) fn enqueue_change(&mut self, key: &ChannelKey, change: PresenceChange) {
        let Some(number) = self.find(key) else { return };
        let Some(channel) = self.channels.get_mut(number as usize) else { return };
        if channel.watchers > 0 {
            self.pending_bytes += change.cost();
            channel.changes.push(change);
            self.mark_ready(number);
        }
    }

    /// Queues the number of subscribers. A newer one replaces one that waits.
    pub(crate) fn enqueue_count(&mut self, key: &ChannelKey, count: u64) {
        let Some(number) = self.find(key) else { return };
        if let Some(channel) = self.channels.get_mut(number as usize) {
            channel.count = Some(count);
            self.mark_ready(number);
        }
    }

    pub(crate) fn mark_ready(&mut self, number: u32) {
        if let Some(channel) = self.channels.get_mut(number as usize)
            && !channel.ready
        {
            channel.ready = true;
            self.ready.push_back(number);
        }
    }
}

impl LocalChannel {
    fn new(key: ChannelKey, options: Arc<ChannelOptions>, number: u32, generation: u64) -> Self {
        Self {
            key,
            options,
            number,
            generation,
            entries: Vec::new(),
            pending: VecDeque::new(),
            received: 0,
            gaps: VecDeque::new(),
            changes: Vec::new(),
            count: None,
            watchers: 0,
            walk: None,
            ready: false,
        }
    }

    /// Keeps a walk in progress right: those before the cursor have got the run, those from it on have not.
    fn remove(&mut self, number: u32, index: usize, subscribers: &mut Slab<Subscriber>) {
        let Some(entry) = self.entries.get(index) else { return };
        if entry.presence_from != u64::MAX {
            self.watchers -= 1;
        }
        let mut hole = index;
        if let Some(walk) = &mut self.walk
            && index < walk.cursor
            && !is_planted(Canary::CursorNotMoved)
        {
            walk.cursor -= 1;
            hole = walk.cursor;
            self.entries.swap(index, hole);
        }
        self.entries.swap_remove(hole);
        for moved in [index, hole] {
            if let Some(entry) = self.entries.get(moved)
                && let Some(subscriber) = subscribers.get_mut(entry.slot as usize)
                && let Some(subscription) = subscriber.subscription(number)
            {
                subscription.index = u32::try_from(moved).unwrap_or(u32::MAX);
            }
        }
    }
}
