//! What waits for one subscriber by key: the newer replaces the older, for those who read too slowly or wish to be told less often.
//!
//! What waits goes out in *rounds*: one round takes everything that waits on a channel, in the order of offsets, and is sent whole before the next one
//! begins. So offsets grow, and a key that changes all the time cannot keep another from its turn.

use crate::outbox::Run;
use crate::roster::LocalChannel;
use core::time::Duration;
use hashbrown::HashMap;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{ChannelName, ChannelOptions, ConflateBy, Mark, Overflow, Publication, Time};

/// Of one subscriber, by channel.
#[derive(Debug, Default)]
pub(crate) struct Conflation {
    lanes: BTreeMap<ChannelName, Lane>,
    /// Rounds that have begun.
    rounds: u64,
    /// What all lanes hold.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Lane {
    /// Names the channel's runs.
    run: Run,
    overflow: Overflow,
    by: ConflateBy,
    waiting: HashMap<Option<Arc<str>>, Waiting, foldhash::fast::RandomState>,
    /// The present round, in order.
    sending: VecDeque<Waiting>,
    arrivals: u64,
    /// Which of all rounds the present one is, or the last was.
    round: u64,
    /// What was lost on the way here behind what waits, in order. It is told once all before it has gone.
    gaps: VecDeque<(u64, u64)>,
    /// A round begins at most once in this time.
    interval: Option<Duration>,
    next_at: Time,
}

/// A publication, and how many it stands for that the subscriber did not get.
#[derive(Debug)]
struct Waiting {
    publication: Arc<Publication>,
    replaced: u32,
    /// Which of the lane's it is, which is the order of offsets too, and of epochs: a channel that is shown by a pattern may begin a new one.
    arrival: u64,
}

/// What is due.
#[derive(Debug)]
pub(crate) enum Next {
    Publication(Due),
    /// These are lost, as is to be told before what follows.
    Gap(Run),
}

/// A publication that is due.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) publication: Arc<Publication>,
    pub(crate) mark: Mark,
    /// Its place, should it be dropped.
    pub(crate) run: Run,
    pub(crate) overflow: Overflow,
}

impl Conflation {
    /// Whether the channel's publications must go this way: something waits already, or they are let out by the clock.
    pub(crate) fn holds(&self, channel: &ChannelName) -> bool {
        self.lanes.contains_key(channel)
    }

    /// Begins to hold a channel; with a rate, for as long as it is subscribed to.
    pub(crate) fn hold(&mut self, channel: &LocalChannel, rate: u32) {
        let run = Run { number: channel.number, generation: channel.generation, first: 0, last: 0 };
        let overflow = channel.options.overflow;
        self.hold_as(&channel.key.channel, run, (&channel.options, overflow), rate);
    }

    /// The same for a channel that need not be on the roster, with the policy for when there is no room.
    pub(crate) fn hold_as(
        &mut self,
        channel: &ChannelName,
        run: Run,
        (options, overflow): (&ChannelOptions, Overflow),
        rate: u32,
    ) {
        // Rounded up: with one too short, a second would hold one more.
        let interval = (rate > 0).then(|| Duration::from_micros(1_000_000_u64.div_ceil(u64::from(rate))));
        self.lanes.entry(channel.clone()).or_insert_with(|| Lane {
            run,
            overflow,
            by: options.conflate_by,
            waiting: HashMap::default(),
            sending: VecDeque::new(),
            arrivals: 0,
            round: 0,
            gaps: VecDeque::new(),
            interval,
            next_at: Time::default(),
        });
    }

    /// A publication comes to what waits, in place of the one with its key. Returns the offset of that.
    pub(crate) fn push(&mut self, publication: Arc<Publication>) -> Option<u64> {
        let lane = self.lanes.get_mut(&publication.channel)?;
        let key = match lane.by {
            ConflateBy::Key => publication.key.clone(),
            ConflateBy::Channel => None,
        };
        self.bytes += publication.cost();
        lane.arrivals += 1;
        let new = Waiting { publication, replaced: 0, arrival: lane.arrivals };
        let old = lane.waiting.insert(key.clone(), new)?;
        self.bytes -= old.publication.cost();
        if let Some(new) = lane.waiting.get_mut(&key) {
            new.replaced = if is_planted(Canary::ReplacedUncounted) { 0 } else { old.replaced + 1 };
        }
        Some(old.publication.position.offset)
    }

    /// Offsets of a channel were lost on the way here. Returns whether that waits for what is before it, or nothing is before it.
    ///
    /// # Errors
    /// There are too many such losses among what waits.
    pub(crate) fn wait_gap(&mut self, channel: &ChannelName, from: u64, to: u64) -> Result<bool, TooManyGaps> {
        let Some(lane) = self.lanes.get_mut(channel).filter(|lane| !lane.is_idle()) else { return Ok(false) };
        if lane.gaps.len() >= GAPS_MAX {
            return Err(TooManyGaps);
        }
        lane.gaps.push_back((from, to));
        Ok(true)
    }

    /// Takes the oldest publications of channels that lose those first, until at most `bytes` are held. What is taken is not sent any more.
    pub(crate) fn drop_oldest(&mut self, bytes: usize, mut dropped: impl FnMut(Run)) {
        let droppable = |lane: &&mut Lane| lane.overflow == Overflow::DropOldest;
        for lane in self.lanes.values_mut().filter(droppable) {
            while self.bytes > bytes {
                if let Some(gap) = lane.take_gap() {
                    dropped(gap);
                    continue;
                }
                let Some(due) = lane.take_oldest() else { break };
                self.bytes -= due.publication.cost();
                dropped(due.run);
            }
        }
    }

    /// The next that is due.
    pub(crate) fn pop(&mut self, now: Time) -> Option<Next> {
        // A round is sent whole, then it is the turn of the channel that had none for the longest: one that is busy keeps no other from its turn.
        let due = self.lanes.values_mut().filter(|lane| lane.is_due(now));
        let lane = due.min_by_key(|lane| (lane.sending.is_empty(), lane.round))?;
        if let Some(gap) = lane.take_gap() {
            return Some(Next::Gap(gap));
        }
        if lane.sending.is_empty() {
            lane.begin_round();
            self.rounds += 1;
            lane.round = self.rounds;
            if let Some(interval) = lane.interval {
                // At moments that are the same for everybody with this rate, so that what they get is encoded once, and at no less than the interval
                // from what went out between two of them.
                let step = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX).max(1);
                lane.next_at = Time::from_micros((now.as_micros().div_ceil(step) + 1).saturating_mul(step));
            }
        }
        let due = lane.take()?;
        self.bytes -= due.publication.cost();
        Some(Next::Publication(due))
    }

    pub(crate) fn has_due(&self, now: Time) -> bool {
        self.lanes.values().any(|lane| lane.is_due(now))
    }

    /// When something that waits will be due.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.lanes.values().filter(|lane| !lane.waiting.is_empty()).map(|lane| lane.next_at).min()
    }

    /// Lets go of channels on which nothing waits and that have no rate. Returns whether none is left.
    pub(crate) fn release_idle(&mut self) -> bool {
        self.lanes.retain(|_, lane| lane.interval.is_some() || !lane.is_idle());
        self.lanes.is_empty()
    }

    /// The subscription has ended.
    pub(crate) fn forget(&mut self, channel: &ChannelName) {
        let Some(lane) = self.lanes.remove(channel) else { return };
        let held = lane.waiting.values().chain(&lane.sending);
        self.bytes -= held.map(|waiting| waiting.publication.cost()).sum::<usize>();
    }

    /// Nothing that waits is wanted any more.
    pub(crate) fn clear(&mut self) {
        self.bytes = 0;
        for lane in self.lanes.values_mut() {
            lane.waiting.clear();
            lane.sending.clear();
            lane.gaps.clear();
        }
    }
}

/// Losses among what waits for one subscriber on a channel.
const GAPS_MAX: usize = 32;

/// Too much was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyGaps;

impl Lane {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sending.is_empty() && self.gaps.is_empty()
    }

    /// The next loss, if nothing before it waits.
    fn next_gap(&self) -> Option<(u64, u64)> {
        let (from, to) = self.gaps.front().copied()?;
        let is_before = |waiting: &Waiting| waiting.publication.position.offset < from;
        let waits = self.sending.front().is_some_and(is_before) || self.waiting.values().any(is_before);
        (!waits).then_some((from, to))
    }

    fn take_gap(&mut self) -> Option<Run> {
        let (first, last) = self.next_gap()?;
        self.gaps.pop_front();
        Some(Run { first, last, ..self.run })
    }

    fn is_due(&self, now: Time) -> bool {
        let is_time = self.next_at <= now || is_planted(Canary::RateIgnored);
        !self.sending.is_empty() || (!self.waiting.is_empty() && is_time) || self.next_gap().is_some()
    }

    fn begin_round(&mut self) {
        if self.sending.is_empty() {
            self.sending.extend(self.waiting.drain().map(|(_, waiting)| waiting));
            self.sending.make_contiguous().sort_unstable_by_key(|waiting| waiting.arrival);
        }
    }

    /// Takes the oldest, without beginning a round: the rest of one would go out before its moment.
    fn take_oldest(&mut self) -> Option<Due> {
        if self.sending.is_empty() {
            let by_arrival = |(_, waiting): &(&Option<Arc<str>>, &Waiting)| waiting.arrival;
            let key = self.waiting.iter().min_by_key(by_arrival)?.0.clone();
            self.sending.extend(self.waiting.remove(&key));
        }
        self.take()
    }

    fn take(&mut self) -> Option<Due> {
        let Waiting { publication, replaced, .. } = self.sending.pop_front()?;
        if self.sending.is_empty() && self.sending.capacity() > 16 {
            self.sending = VecDeque::new();
        }
        let mark = if replaced == 0 { Mark::Live } else { Mark::Conflated(replaced) };
        let offset = publication.position.offset;
        let run = Run { first: offset, last: offset, ..self.run };
        Some(Due { publication, mark, run, overflow: self.overflow })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use switchboard_core::{Epoch, Payload, Position};

    fn publication(offset: u64, key: Option<&str>) -> Arc<Publication> {
        Arc::new(Publication {
            channel: ChannelName::parse("prices").unwrap(),
            position: Position { epoch: Epoch(1), offset },
            previous: offset - 1,
            timestamp: Time::default(),
            event: None,
            key: key.map(Into::into),
            payload: Payload::Text("x".into()),
            publisher: None,
            exclude: None,
            cache: switchboard_core::CacheEffect::None,
        })
    }

    fn conflation(by: ConflateBy, rate: u32) -> Conflation {
        conflation_of(by, Overflow::Disconnect, rate)
    }

    fn conflation_of(by: ConflateBy, overflow: Overflow, rate: u32) -> Conflation {
        let mut conflation = Conflation::default();
        let options = ChannelOptions { conflate_by: by, overflow, ..ChannelOptions::default() };
        let run = Run { number: 0, generation: 1, first: 0, last: 0 };
        conflation.hold_as(&ChannelName::parse("prices").unwrap(), run, (&options, overflow), rate);
        conflation
    }

    fn drain(conflation: &mut Conflation, now: Time) -> Vec<(u64, Mark)> {
        let next = core::iter::from_fn(|| conflation.pop(now));
        next.map(|next| match next {
            Next::Publication(due) => (due.publication.position.offset, due.mark),
            Next::Gap(run) => panic!("{run:?}"),
        })
        .collect()
    }

    fn next_offset(conflation: &mut Conflation) -> u64 {
        match conflation.pop(Time::from_secs(1)).unwrap() {
            Next::Publication(due) => due.publication.position.offset,
            Next::Gap(run) => run.first,
        }
    }

    #[test]
    fn the_newer_of_a_key_stands_for_the_older_and_offsets_grow() {
        let mut prices = conflation(ConflateBy::Key, 0);
        for (offset, key) in [(1, Some("a")), (2, Some("b")), (3, Some("a")), (4, None), (5, Some("a")), (6, None)] {
            prices.push(publication(offset, key));
        }
        assert_eq!(
            prices.bytes,
            [(5, Some("a")), (2, Some("b")), (6, None)].map(|(o, k)| publication(o, k).cost()).iter().sum()
        );
        let now = Time::from_secs(1);
        assert_eq!(drain(&mut prices, now), [(2, Mark::Live), (5, Mark::Conflated(2)), (6, Mark::Conflated(1))]);
        assert_eq!(prices.bytes, 0);
        assert!(prices.release_idle());
    }

    #[test]
    fn by_channel_one_is_left() {
        let mut prices = conflation(ConflateBy::Channel, 0);
        for offset in 1..=5 {
            prices.push(publication(offset, Some(if offset % 2 == 0 { "a" } else { "b" })));
        }
        assert_eq!(drain(&mut prices, Time::from_secs(1)), [(5, Mark::Conflated(4))]);
    }

    #[test]
    fn a_round_is_sent_whole_so_that_a_busy_key_starves_nobody() {
        let mut prices = conflation(ConflateBy::Key, 0);
        let keys = ["a", "b", "c"];
        let mut offset = 0;
        let mut seen = Vec::new();
        for _ in 0..3 {
            for key in keys {
                offset += 1;
                prices.push(publication(offset, Some(key)));
            }
            seen.push(next_offset(&mut prices));
        }
        // One of each key, though the first round began when only their first were there.
        assert_eq!(seen, [1, 2, 3]);
    }

    #[test]
    fn a_busy_channel_starves_no_other() {
        let mut prices = conflation(ConflateBy::Key, 0);
        let run = Run { number: 1, generation: 1, first: 0, last: 0 };
        let options = (&ChannelOptions::default(), Overflow::Disconnect);
        prices.hold_as(&ChannelName::parse("trades").unwrap(), run, options, 0);
        let other = Publication { channel: ChannelName::parse("trades").unwrap(), ..(*publication(9, None)).clone() };
        prices.push(Arc::new(other));
        let mut seen = Vec::new();
        for offset in 1..=4 {
            prices.push(publication(offset, None));
            seen.push(next_offset(&mut prices));
        }
        assert_eq!(seen, [1, 9, 3, 4]);
    }

    #[test]
    fn what_a_channel_had_before_it_began_anew_goes_out_first() {
        let mut prices = conflation(ConflateBy::Key, 0);
        prices.push(publication(3, Some("a")));
        let position = Position { epoch: Epoch(2), offset: 1 };
        prices.push(Arc::new(Publication { position, ..(*publication(1, Some("b"))).clone() }));
        assert_eq!([(); 2].map(|()| next_offset(&mut prices)), [3, 1]);
    }

    #[test]
    fn what_was_lost_is_told_at_its_place_among_what_waits() {
        let mut prices = conflation(ConflateBy::Key, 0);
        let channel = ChannelName::parse("prices").unwrap();
        assert_eq!(prices.wait_gap(&channel, 1, 1), Ok(false), "nothing is before it");
        prices.push(publication(2, Some("a")));
        prices.push(publication(3, Some("b")));
        assert_eq!((prices.wait_gap(&channel, 4, 6), prices.wait_gap(&channel, 8, 8)), (Ok(true), Ok(true)));
        prices.push(publication(9, Some("a")));
        let seen: Vec<u64> = (0..4).map(|_| next_offset(&mut prices)).collect();
        assert_eq!(seen, [3, 4, 8, 9]);
        assert!(prices.release_idle());
    }

    #[test]
    fn with_a_rate_what_is_left_when_the_oldest_goes_waits_for_its_moment_too() {
        let mut prices = conflation_of(ConflateBy::Key, Overflow::DropOldest, 4);
        let at = Time::from_millis;
        prices.push(publication(1, None));
        assert_eq!(drain(&mut prices, at(1_100)), [(1, Mark::Live)]);
        for (offset, key) in [(2, "a"), (3, "b"), (4, "c"), (5, "b")] {
            prices.push(publication(offset, Some(key)));
        }
        let mut dropped = Vec::new();
        prices.drop_oldest(prices.bytes - 1, |run| dropped.push(run.first));
        assert_eq!((dropped, prices.has_due(at(1_499))), (vec![2], false));
        assert_eq!(prices.next_due(), Some(at(1_500)));
        assert_eq!(drain(&mut prices, at(1_500)), [(4, Mark::Live), (5, Mark::Conflated(1))]);
    }

    #[test]
    fn with_a_rate_a_round_waits_for_its_moment() {
        let mut prices = conflation(ConflateBy::Key, 4);
        let at = Time::from_millis;
        prices.push(publication(1, None));
        assert_eq!(drain(&mut prices, at(1_100)), [(1, Mark::Live)]);
        prices.push(publication(2, None));
        prices.push(publication(3, None));
        // The moments are quarters of a second; the next one is too soon after what went at once.
        assert!(!prices.has_due(at(1_499)));
        assert_eq!(prices.next_due(), Some(at(1_500)));
        assert_eq!(drain(&mut prices, at(1_500)), [(3, Mark::Conflated(1))]);
        assert!(!prices.release_idle(), "a rate holds as long as the subscription");
        assert_eq!(prices.next_due(), None);
    }
    #[test]
    fn what_was_held_costs_nothing_once_it_is_not_wanted() {
        let mut prices = conflation(ConflateBy::Key, 4);
        ["a", "b", "c"].into_iter().zip(1..).for_each(|(key, offset)| _ = prices.push(publication(offset, Some(key))));
        next_offset(&mut prices);
        prices.push(publication(4, Some("a")));
        assert!(prices.bytes > 0);
        prices.forget(&ChannelName::parse("prices").unwrap());
        assert_eq!((prices.bytes, prices.has_due(Time::from_secs(9))), (0, false));
    }

    /// However the publications come: no more than the rate in any second.
    #[test]
    fn no_second_has_more_than_the_rate() {
        for rate in [1_u32, 2, 3, 7, 1_000] {
            let mut prices = conflation(ConflateBy::Key, rate);
            let mut sent = Vec::new();
            let mut rng = u64::from(rate);
            let mut now = 1_000_000;
            for offset in 1..5_000 {
                rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                now += (rng >> 33) % (1_500_000 / u64::from(rate));
                let now = Time::from_micros(now);
                // As the shard's timers would, at what is due before the next publication.
                while let Some(due) = prices.next_due().filter(|due| *due <= now) {
                    sent.extend(drain(&mut prices, due).iter().map(|_| due.as_micros()));
                }
                prices.push(publication(offset, None));
                sent.extend(drain(&mut prices, now).iter().map(|_| now.as_micros()));
            }
            let most = rate as usize;
            let crowded = sent.windows(most + 1).find(|run| run[most] - run[0] < 1_000_000);
            assert_eq!(crowded, None, "rate {rate}");
            assert!(sent.len() > 1_000, "rate {rate}: {}", sent.len());
        }
    }
}
