//! Fan-out: what waits on a channel goes to its subscribers' outboxes, encoded once for each format.
//!
//! A turn's publications of a channel travel as one run: one walk through the roster and one reference a subscriber, however many they are. A
//! large roster is walked in slices, so that it does not hold up a small one.

use crate::address::ChannelKey;
use crate::outbox::Run;
use crate::replayed::Replayed;
use crate::roster::{Entry, LocalChannel, Roster, Walk};
use crate::settings::{Portions, ShardConfig};
use crate::slow::{conflate, waits_by_key};
use crate::subscriber::Subscriber;
use crate::trace::{Ring, TraceOptions};
use bytes::BytesMut;
use slab::Slab;
use smallvec::SmallVec;
use std::sync::Arc;
use switchboard_core::{ChannelName, Encode, Encoded, Mark, Overflow, Publication, Time, What, WireFormat};

/// Where fan-out puts what it cannot do itself.
#[derive(Debug)]
pub(crate) struct Effects {
    /// Subscribers with something to write.
    pub(crate) dirty: Vec<u32>,
    /// Subscribers whose outbox overflowed.
    pub(crate) overflowed: Vec<u32>,
    /// Publications that found no room, and for which subscribers were given up: slot, then which.
    pub(crate) given_up: Vec<(u32, Run)>,
    /// Subscribers that lost publications: slot, then which.
    pub(crate) dropped: Vec<(u32, Run)>,
    /// Runs that one outbox has dropped just now, until they are noted above.
    made_room: Vec<Run>,
    /// Subscribers for whom something waits by key.
    pub(crate) conflating: Vec<u32>,
    /// Publications that never reached this shard: the channel's number, the first and last offset.
    pub(crate) lost: Vec<(u32, u64, u64)>,
    /// What was encoded for replays, for others who missed the same.
    pub(crate) replayed: Replayed,
    /// Publications delivered to somebody, for the counters.
    pub(crate) deliveries: u64,
    /// What happened to publications on this shard, and what to single subscribers.
    pub(crate) trace: Ring,
    pub(crate) trace_of_ones: Ring,
    /// The time of this turn, for them.
    pub(crate) now: Time,
}

impl Effects {
    pub(crate) fn new(trace: TraceOptions) -> Self {
        Self {
            dirty: Vec::new(),
            overflowed: Vec::new(),
            given_up: Vec::new(),
            dropped: Vec::new(),
            made_room: Vec::new(),
            conflating: Vec::new(),
            lost: Vec::new(),
            replayed: Replayed::default(),
            deliveries: 0,
            trace: Ring::new(trace.steps),
            trace_of_ones: Ring::new(trace.steps),
            now: Time::from_micros(0),
        }
    }

    #[inline]
    fn note_dropped(&mut self, slot: u32) {
        if !self.made_room.is_empty() {
            self.dropped.extend(self.made_room.drain(..).map(|run| (slot, run)));
        }
    }

    /// Remembers what happened to one subscriber.
    #[cold]
    pub(crate) fn remember(&mut self, key: &ChannelKey, run: (u64, u64), subscriber: &Subscriber, what: What) {
        self.trace_of_ones.add(self.now, key, run, Some(subscriber.session), what);
    }

    /// The same of several publications, if the subscriber is traced.
    #[inline]
    pub(crate) fn remember_each(
        &mut self,
        key: &ChannelKey,
        publications: &[Arc<Publication>],
        subscriber: &Subscriber,
        what: &What,
    ) {
        if subscriber.traced {
            for offset in publications.iter().map(|publication| publication.position.offset) {
                self.remember(key, (offset, offset), subscriber, what.clone());
            }
        }
    }
}

/// Visits the next slice of each channel that has something. Returns whether more is left.
pub(crate) fn fan_out(
    roster: &mut Roster,
    subscribers: &mut Slab<Subscriber>,
    config: &ShardConfig,
    encode: &mut dyn Encode,
    effects: &mut Effects,
) -> bool {
    for _ in 0..roster.ready.len() {
        let Some(number) = roster.ready.pop_front() else { break };
        let Some(channel) = roster.channels.get_mut(number as usize) else { continue };
        channel.ready = false;
        if let Some((from, to)) = channel.next_gap() {
            effects.lost.push((number, from, to));
            // What follows waits for the next turn, so that it comes behind the notice.
            roster.mark_ready(number);
            continue;
        }
        let Some(mut walk) = channel.walk.take().or_else(|| channel.begin_walk(config)) else { continue };
        walk.visit_slice(channel, &config.portions, subscribers, encode, effects);
        if walk.cursor < channel.entries.len() {
            channel.walk = Some(walk);
            roster.mark_ready(number);
        } else {
            let more = !channel.is_idle() || !channel.gaps.is_empty();
            roster.pending_bytes -= walk.cost();
            walk.remember(channel, effects);
            if more {
                roster.mark_ready(number);
            }
        }
    }
    !roster.ready.is_empty()
}

impl LocalChannel {
    /// Whether nothing waits that a walk would carry.
    fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.changes.is_empty() && self.count.is_none()
    }

    /// A gap whose turn it is: everything before it is in the outboxes.
    fn next_gap(&mut self) -> Option<(u64, u64)> {
        let (from, _) = *self.gaps.front()?;
        let waits = self.pending.front().is_some_and(|publication| publication.position.offset < from);
        if self.walk.is_some() || waits { None } else { self.gaps.pop_front() }
    }

    /// Names a run of its publications.
    fn run(&self, publications: &[Arc<Publication>]) -> Run {
        let offset = |publication: Option<&Arc<Publication>>| publication.map_or(0, |known| known.position.offset);
        let (first, last) = (offset(publications.first()), offset(publications.last()));
        Run { number: self.number, generation: self.generation, first, last }
    }

    fn begin_walk(&mut self, config: &ShardConfig) -> Option<Walk> {
        if self.is_idle() {
            return None;
        }
        let mut bytes = 0;
        let mut count = 0;
        // Nothing beyond a gap goes out before it.
        let end = self.gaps.front().map_or(u64::MAX, |(from, _)| *from);
        for publication in self.pending.iter().take_while(|publication| publication.position.offset < end) {
            bytes += publication.cost();
            if bytes > config.portions.run_bytes && count > 0 {
                break;
            }
            count += 1;
        }
        let publications: Vec<_> = self.pending.drain(..count).collect();
        let excluded = publications
            .iter()
            .filter_map(|publication| publication.exclude)
            .filter(|session| session.shard == config.id.0)
            .map(|session| session.serial)
            .collect();
        Some(Walk {
            publications,
            changes: core::mem::take(&mut self.changes),
            count: self.count.take(),
            excluded,
            blocks: SmallVec::new(),
            presence_blocks: SmallVec::new(),
            count_blocks: SmallVec::new(),
            cursor: 0,
            given: 0,
        })
    }
}

impl Walk {
    fn visit_slice(
        &mut self,
        channel: &mut LocalChannel,
        portions: &Portions,
        subscribers: &mut Slab<Subscriber>,
        encode: &mut dyn Encode,
        effects: &mut Effects,
    ) {
        let end = (self.cursor + portions.walk_subscribers).min(channel.entries.len());
        let run = channel.run(&self.publications);
        let overflow = channel.options.overflow;
        // Out of the channel while they are changed: a visit looks at the rest of it.
        let mut entries = core::mem::take(&mut channel.entries);
        for entry in entries.get_mut(self.cursor..end).unwrap_or_default() {
            let Some(subscriber) = subscribers.get_mut(entry.slot as usize) else { continue };
            if subscriber.lost {
                continue;
            }
            if !self.publications.is_empty() {
                let usual = entry.from < run.first && !entry.replaying && !self.excluded.contains(&entry.serial);
                let usual = usual && !subscriber.holds(&channel.key.channel);
                let block = usual.then(|| self.block(entry.format, encode));
                let count = self.publications.len();
                match block.filter(|block| !waits_by_key(subscriber, channel, count, block.len())) {
                    Some(block) => {
                        effects.deliveries += self.publications.len() as u64;
                        self.given += 1;
                        if subscriber.traced {
                            effects.remember(&channel.key, (run.first, run.last), subscriber, What::Given);
                        }
                        push(subscriber, entry.slot, block, run, overflow, effects);
                    }
                    None => {
                        let replay_bytes_max = portions.replay_bytes_max;
                        self.visit_singly(channel, entry, replay_bytes_max, subscriber, encode, effects);
                    }
                }
                entry.from = entry.from.max(run.last);
            }
            if !self.changes.is_empty() && entry.presence_from != u64::MAX {
                self.visit_presence(channel, entry, subscriber, encode, effects);
            }
            if let Some(count) = self.count {
                let block = self.count_block(entry.format, &channel.key.channel, count, encode);
                if !block.is_empty() {
                    push_event(subscriber, entry.slot, block, effects);
                }
            }
        }
        channel.entries = entries;
        self.cursor = end;
    }

    fn remember(&self, channel: &LocalChannel, effects: &mut Effects) {
        if !self.publications.is_empty() {
            let run = channel.run(&self.publications);
            let subscribers = u32::try_from(channel.entries.len()).unwrap_or(u32::MAX);
            let what = What::FannedOut { subscribers, given: self.given };
            effects.trace.add(effects.now, &channel.key, (run.first, run.last), None, what);
        }
    }

    fn block(&mut self, format: WireFormat, encode: &mut dyn Encode) -> Encoded {
        if let Some((_, block)) = self.blocks.iter().find(|(known, _)| *known == format) {
            return block.clone();
        }
        let mut out = BytesMut::new();
        encode.publications(format, &self.publications, Mark::Live, &mut out);
        let block = Encoded::new(out.freeze());
        self.blocks.push((format, block.clone()));
        block
    }

    fn count_block(
        &mut self,
        format: WireFormat,
        channel: &ChannelName,
        count: u64,
        encode: &mut dyn Encode,
    ) -> Encoded {
        if let Some((_, block)) = self.count_blocks.iter().find(|(known, _)| *known == format) {
            return block.clone();
        }
        let mut out = BytesMut::new();
        encode.count(format, channel, count, &mut out);
        let block = Encoded::new(out.freeze());
        self.count_blocks.push((format, block.clone()));
        block
    }

    /// For the few who are in the midst of a replay, came during the run, or are excluded from a part of it.
    #[cold]
    fn visit_singly(
        &self,
        channel: &LocalChannel,
        entry: &Entry,
        replay_bytes_max: usize,
        subscriber: &mut Subscriber,
        encode: &mut dyn Encode,
        effects: &mut Effects,
    ) {
        let wanted: Vec<Arc<Publication>> = self
            .publications
            .iter()
            .filter(|publication| publication.position.offset > entry.from)
            .filter(|publication| publication.exclude != Some(subscriber.session))
            .cloned()
            .collect();
        let excluded = self.publications.iter().filter(|publication| publication.exclude == Some(subscriber.session));
        for offset in excluded.map(|publication| publication.position.offset) {
            effects.remember(&channel.key, (offset, offset), subscriber, What::Excluded);
        }
        if wanted.is_empty() {
            return;
        }
        if entry.replaying
            && let Some(subscription) = subscriber.subscription(channel.number)
            && let Some(replay) = &mut subscription.replay
        {
            wanted.iter().for_each(|publication| replay.push(Arc::clone(publication)));
            // What is replayed is kept by the channel's history too, but only for a while.
            let is_too_long = replay.bytes > replay_bytes_max;
            effects.remember_each(&channel.key, &wanted, subscriber, &What::Queued);
            if is_too_long {
                effects.given_up.push((entry.slot, channel.run(&wanted)));
                lose(subscriber, entry.slot, effects);
            }
            return;
        }
        let bytes = wanted.iter().map(|publication| publication.cost()).sum();
        if waits_by_key(subscriber, channel, wanted.len(), bytes) {
            conflate(subscriber, entry.slot, channel, wanted, effects);
            return;
        }
        effects.deliveries += wanted.len() as u64;
        effects.remember_each(&channel.key, &wanted, subscriber, &What::Given);
        let encoded = encode_run(subscriber.format, &wanted, encode);
        push(subscriber, entry.slot, encoded, channel.run(&wanted), channel.options.overflow, effects);
    }

    fn visit_presence(
        &mut self,
        channel: &LocalChannel,
        entry: &Entry,
        subscriber: &mut Subscriber,
        encode: &mut dyn Encode,
        effects: &mut Effects,
    ) {
        let name = &channel.key.channel;
        let first = self.changes.first().map_or(0, |change| change.serial);
        let block = if entry.presence_from < first {
            match self.presence_blocks.iter().find(|(known, _)| *known == entry.format) {
                Some((_, block)) => block.clone(),
                None => {
                    let mut out = BytesMut::new();
                    encode.presence(entry.format, name, &self.changes, &mut out);
                    let block = Encoded::new(out.freeze());
                    self.presence_blocks.push((entry.format, block.clone()));
                    block
                }
            }
        } else {
            let start = self.changes.partition_point(|change| change.serial <= entry.presence_from);
            let mut out = BytesMut::new();
            encode.presence(entry.format, name, self.changes.get(start..).unwrap_or_default(), &mut out);
            Encoded::new(out.freeze())
        };
        if !block.is_empty() {
            push_event(subscriber, entry.slot, block, effects);
        }
    }
}

/// Lets replays go on while there is room. Returns those that are complete: slot and channel.
pub(crate) fn replay(
    slot: u32,
    run_bytes: usize,
    roster: &mut Roster,
    subscribers: &mut Slab<Subscriber>,
    encode: &mut dyn Encode,
    effects: &mut Effects,
) -> Vec<u32> {
    let mut complete = Vec::new();
    let Some(subscriber) = subscribers.get_mut(slot as usize) else { return complete };
    let mut index = 0;
    while subscriber.outbox.room_for_replay() > 0 && !subscriber.lost {
        let Some(subscription) = subscriber.subscriptions.get_mut(index) else { break };
        let Some(replay) = &mut subscription.replay else {
            index += 1;
            continue;
        };
        let (number, place) = (subscription.channel, subscription.index);
        let cached = replay.cached.take();
        let room = subscriber.outbox.room_for_replay().min(run_bytes);
        let mut run = Vec::new();
        let mut bytes = 0;
        while bytes < room
            && let Some(publication) = replay.pop()
        {
            bytes += publication.cost();
            run.push(publication);
        }
        let empty = replay.queue.is_empty();
        if empty {
            if replay.promised {
                complete.push(number);
            }
            subscription.replay = None;
        }
        let Some(channel) = roster.channels.get_mut(number as usize) else { continue };
        if empty && let Some(entry) = channel.entries.get_mut(place as usize) {
            // What is live from now on comes behind: a replay takes in only what a walk has brought it.
            entry.replaying = false;
        }
        if let Some(cached) = cached {
            effects.deliveries += 1;
            let mut out = BytesMut::new();
            let cached = core::slice::from_ref(&cached);
            encode.publications(subscriber.format, cached, Mark::Cached, &mut out);
            let encoded = Encoded::new(out.freeze());
            effects.remember_each(&channel.key, cached, subscriber, &What::Replayed);
            // It does not go for what is newer: its loss could not be told, since the client is behind it already.
            subscriber.outbox.push_replay(encoded, channel.run(cached), Overflow::Disconnect);
            mark_dirty(subscriber, slot, effects);
        }
        if !run.is_empty() {
            effects.deliveries += run.len() as u64;
            effects.remember_each(&channel.key, &run, subscriber, &What::Replayed);
            let named = channel.run(&run);
            let encoded = effects.replayed.encode(effects.now, subscriber.format, run, encode);
            subscriber.outbox.push_replay(encoded, named, channel.options.overflow);
            mark_dirty(subscriber, slot, effects);
        }
    }
    subscriber.replaying = subscriber.subscriptions.iter().any(|subscription| subscription.replay.is_some());
    complete
}

/// Publications for one subscriber alone.
fn encode_run(format: WireFormat, publications: &[Arc<Publication>], encode: &mut dyn Encode) -> Encoded {
    let mut out = BytesMut::new();
    encode.publications(format, publications, Mark::Live, &mut out);
    Encoded::new(out.freeze())
}

pub(crate) fn push(
    subscriber: &mut Subscriber,
    slot: u32,
    block: Encoded,
    run: Run,
    overflow: Overflow,
    effects: &mut Effects,
) {
    if subscriber.outbox.push_run(block, run, overflow, &mut effects.made_room).is_err() {
        effects.given_up.push((slot, run));
        lose(subscriber, slot, effects);
        return;
    }
    effects.note_dropped(slot);
    mark_dirty(subscriber, slot, effects);
}

/// Queues the notice of publications that are lost.
pub(crate) fn push_gap(
    subscriber: &mut Subscriber,
    slot: u32,
    encoded: Option<Encoded>,
    run: Run,
    effects: &mut Effects,
) {
    if subscriber.lost {
        return;
    }
    if subscriber.outbox.push_gap(encoded, run, &mut effects.made_room).is_err() {
        effects.made_room.clear();
        lose(subscriber, slot, effects);
        return;
    }
    effects.note_dropped(slot);
    mark_dirty(subscriber, slot, effects);
}

/// Queues what is no publication.
pub(crate) fn push_event(subscriber: &mut Subscriber, slot: u32, encoded: Encoded, effects: &mut Effects) {
    if subscriber.lost {
        return;
    }
    match subscriber.outbox.push(encoded) {
        Ok(()) => mark_dirty(subscriber, slot, effects),
        Err(_) => lose(subscriber, slot, effects),
    }
}

pub(crate) fn mark_dirty(subscriber: &mut Subscriber, slot: u32, effects: &mut Effects) {
    if !subscriber.dirty {
        subscriber.dirty = true;
        effects.dirty.push(slot);
    }
}

/// The policy gives the subscriber up: what waits for it is freed at once, but for a greeting.
#[cold]
pub(crate) fn lose(subscriber: &mut Subscriber, slot: u32, effects: &mut Effects) {
    subscriber.lost = true;
    subscriber.outbox.clear_for_last_words();
    if let Some(conflation) = &mut subscriber.conflation {
        conflation.clear();
    }
    for subscription in &mut subscriber.subscriptions {
        subscription.replay = None;
    }
    effects.overflowed.push(slot);
}
