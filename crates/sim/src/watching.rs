//! Subscriptions to patterns as their client sees them: who may be shown what, in order, once, and nothing passed over without a word.
//!
//! Owns what comes by a pattern alone. What a client subscribes to by name comes that way and is not looked at here.

use crate::Violation;
use crate::conversation::{Checked, Position, violation};
use crate::found::FOREVER;
use crate::rights::{Right, Rights};
use crate::subscription::{Came, Phase};
use crate::truth::{Place, Record, Truth};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use switchboard_core::{App, ChannelName, ChannelOptions, ChannelPattern, ConflateBy, Overflow, SessionId, Time};

/// The patterns of one connection.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    patterns: BTreeMap<String, Watch>,
    /// What has come of each channel, by a pattern or by name.
    channels: BTreeMap<String, Channel>,
    /// When its rights changed last, as it knows.
    rights_since: Time,
    /// When the first was asked for.
    began: Time,
    /// How often something began or ended that a channel's clock may begin anew with.
    changes: u64,
}

#[derive(Debug)]
struct Watch {
    pattern: ChannelPattern,
    phase: Phase,
    /// When it was told that every later publication will be shown.
    since: Option<Time>,
}

#[derive(Debug, Default)]
struct Channel {
    /// Where it is.
    last: Option<Position>,
    /// What came by a pattern.
    shown: BTreeSet<Position>,
    /// When it was subscribed to by name last.
    named_until: Time,
    /// It is asked for by name: what waits for a pattern is dropped at some moment.
    is_asked: bool,
    /// The last that came of each key, by the time at which it was published, and its place.
    keys: BTreeMap<Key, (Time, Position)>,
    /// How many came of each key.
    delivered: BTreeMap<Key, u64>,
}

type Key = Option<Arc<str>>;

impl Watching {
    /// Patterns that count among its channels.
    pub(crate) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Asks for one. `None` if it has it.
    pub(crate) fn ask(&mut self, now: Time, raw: &str) -> Option<()> {
        let pattern = ChannelPattern::parse(raw).ok().filter(|_| !self.patterns.contains_key(raw))?;
        self.patterns.insert(raw.to_owned(), Watch { pattern, phase: Phase::Asked, since: None });
        self.changes += 1;
        if self.began == Time::default() {
            self.began = now;
        }
        Some(())
    }

    /// Asks for the end of the `pick`th.
    pub(crate) fn leave(&mut self, pick: usize) -> Option<String> {
        let live = self.patterns.iter_mut().filter(|(_, watch)| watch.phase == Phase::Live);
        let (raw, watch) = live.collect::<Vec<_>>().into_iter().nth(pick)?;
        watch.phase = Phase::Leaving;
        Some(raw.clone())
    }

    /// Every later publication will be shown.
    pub(crate) fn begin(&mut self, now: Time, raw: &str) -> Checked {
        match self.patterns.get_mut(raw) {
            Some(watch) if watch.phase == Phase::Asked => {
                (watch.phase, watch.since) = (Phase::Live, Some(now));
                Ok(())
            }
            _ => violation("pattern: subscribed twice"),
        }
    }

    /// It was refused, or has ended.
    pub(crate) fn end(&mut self, raw: &str) {
        self.patterns.remove(raw);
        self.changes += 1;
    }

    /// A fresh token was taken.
    pub(crate) fn change_rights(&mut self, now: Time) {
        self.rights_since = now;
        self.changes += 1;
    }

    /// An end that was asked for was refused.
    pub(crate) fn stay(&mut self, raw: &str) {
        if let Some(watch) = self.patterns.get_mut(raw) {
            watch.phase = Phase::Live;
        }
    }

    /// A subscription by name is asked for.
    pub(crate) fn name(&mut self, channel: &str) {
        self.channels.entry(channel.to_owned()).or_default().is_asked = true;
    }

    /// A subscription by name is over, or will be at some time before `now`, and its client was there.
    pub(crate) fn unname(&mut self, now: Time, channel: &str, at: Position) {
        let channel = self.channels.entry(channel.to_owned()).or_default();
        channel.last = channel.last.max(Some(at));
        (channel.named_until, channel.is_asked) = (now, false);
        self.changes += 1;
    }

    /// The last of each channel that came.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&str, Position)> {
        self.channels.iter().filter_map(|(channel, known)| Some((&**channel, *known.shown.last()?)))
    }

    /// Whether something of this channel may come by a pattern.
    pub(crate) fn may_show(&self, channel: &str, rights: Rights) -> bool {
        shows(rights, channel) && self.patterns_for(channel).next().is_some()
    }

    fn patterns_for(&self, channel: &str) -> impl Iterator<Item = &Watch> {
        let name = ChannelName::parse(channel).ok();
        self.patterns.values().filter(move |watch| name.as_ref().is_some_and(|name| watch.pattern.matches(name)))
    }

    /// Since when everything of a channel must come, if it must.
    fn since(&self, channel: &str) -> Option<Time> {
        let live = self.patterns_for(channel).filter(|watch| watch.phase == Phase::Live);
        let since = live.filter_map(|watch| watch.since).min()?;
        let named_until = self.channels.get(channel).map_or(Time::default(), |channel| channel.named_until);
        Some(since.max(self.rights_since).max(named_until))
    }

    /// A message of a channel to which it does not subscribe by name.
    pub(crate) fn receive(
        &mut self,
        truth: &Truth,
        (place, name): (&Place, SessionId),
        (app, rights): (&App, Rights),
        came: Came,
    ) -> Checked {
        let channel = &*place.1;
        if !self.may_show(channel, rights) {
            return violation("pattern: a message that none of its patterns shows");
        }
        let known = came
            .number
            .and_then(|number| truth.place_of(number))
            .filter(|(known, at)| known == place && at.offset == came.offset && !came.cached);
        let Some((_, at)) = known else { return violation("pattern: a message that nobody published there") };
        let at = (at.epoch.0, at.offset);
        let record = truth.at(place, at.0, at.1);
        if record.is_some_and(|record| record.exclude == Some(name)) {
            return violation("pattern: a message from which it is excluded");
        }
        let since = self.since(channel);
        let known = self.channels.entry(channel.to_owned()).or_default();
        if let Some(last) = known.last
            && last.0 == at.0
        {
            if at.1 <= last.1 {
                return Err(Violation::new("pattern: a message twice or too late", format!("{at:?} after {last:?}")));
            }
            let must_come =
                |record: &&Record| record.exclude != Some(name) && since.is_some_and(|since| record.told > since);
            let missing = truth.between(place, at.0, last.1, at.1).iter().find(must_come);
            if let Some(missing) = missing.filter(|_| is_whole(app, channel)) {
                return Err(Violation::new("pattern: a silent gap", format!("after {last:?}: {missing:?}")));
            }
        }
        let before = known.last.filter(|last| last.0 != at.0).and_then(|last| truth.at(place, last.0, last.1));
        if before.zip(record).is_some_and(|(before, record)| before.told > record.told) {
            return violation("pattern: a message of an epoch that was over");
        }
        known.last = Some(at);
        known.shown.insert(at);
        if known.named_until == FOREVER || known.is_asked {
            // It may still have come by name, with what that stands for.
            return Ok(());
        }
        let options = crate::promises::options_of(app, channel);
        let Some(record) = record.filter(|_| !is_whole(app, channel)) else {
            return if came.conflated == 0 {
                Ok(())
            } else {
                violation("pattern: stands for others where nothing does")
            };
        };
        let key = key_of(record, &options);
        let before = known.keys.insert(key.clone(), (record.told, at));
        let skipped = published(truth, place, before, (record.told, at))
            .filter(|(_, other)| other.exclude != Some(name) && key_of(other, &options) == key);
        let told: Vec<Time> = skipped.map(|(_, other)| other.told).collect();
        let must = told.iter().filter(|told| since.is_some_and(|since| **told > since)).count() as u64;
        if came.conflated < must || came.conflated > told.len() as u64 {
            let message = format!("for {}, of its key {must} to {} are missing", came.conflated, told.len());
            return Err(Violation::new("pattern: a message stands for another number", message));
        }
        let delivered = known.delivered.entry(key).or_default();
        *delivered += 1;
        check_rate(*delivered, options.rate, (self.began, truth.now), self.changes)
    }

    /// Nothing happens any more: is anything missing that is on none of the channels that it subscribes to by `names`?
    pub(crate) fn check_quiet(
        &self,
        truth: &Truth,
        name: SessionId,
        (app, rights): (&App, Rights),
        is_named: impl Fn(&str) -> bool,
    ) -> Checked {
        if let Some((raw, _)) = self.patterns.iter().find(|(_, watch)| watch.phase != Phase::Live) {
            return Err(Violation::new("pattern: never answered", raw.clone()));
        }
        for (place, epochs) in truth.logs.iter().filter(|(place, _)| place.0 == app.id) {
            let channel = &*place.1;
            let Some(since) = self.since(channel).filter(|_| shows(rights, channel) && !is_named(channel)) else {
                continue;
            };
            let shown = self.channels.get(channel).map(|channel| &channel.shown);
            // Of those that replace each other the last of all must come, even if the channel has begun anew meanwhile.
            let whole = is_whole(app, channel);
            let options = crate::promises::options_of(app, channel);
            let all = epochs.iter().flat_map(|(epoch, log)| log.records.iter().map(move |record| (*epoch, record)));
            let must_come = |(_, record): &(u64, &Record)| record.told > since && record.exclude != Some(name);
            let mut must: Vec<(u64, &Record)> = all.filter(must_come).collect();
            if !whole {
                must.sort_by_key(|(_, record)| (record.told, record.offset));
                let latest: BTreeMap<Key, (u64, &Record)> =
                    must.into_iter().map(|(epoch, record)| (key_of(record, &options), (epoch, record))).collect();
                must = latest.into_values().collect();
            }
            let came = |epoch: u64, record: &Record| shown.is_some_and(|shown| shown.contains(&(epoch, record.offset)));
            if let Some(missing) = must.into_iter().find(|(epoch, record)| !came(*epoch, record)) {
                return Err(Violation::new("pattern: never shown", format!("{name} on {channel}: {missing:?}")));
            }
        }
        Ok(())
    }
}

/// What a publication replaces and is replaced by.
fn key_of(record: &Record, options: &ChannelOptions) -> Key {
    record.key.clone().filter(|_| options.conflate_by == ConflateBy::Key)
}

/// What was published on a channel between two moments and places, both excluded, in whichever epoch.
fn published<'a>(
    truth: &'a Truth,
    place: &Place,
    after: Option<(Time, Position)>,
    before: (Time, Position),
) -> impl Iterator<Item = (u64, &'a Record)> + use<'a> {
    let is_after = move |epoch: u64, record: &Record| {
        after.is_none_or(|(told, at)| record.told > told || record.told == told && (epoch, record.offset) > at)
    };
    let is_before = move |epoch: u64, record: &Record| {
        record.told < before.0 || record.told == before.0 && (epoch, record.offset) < before.1
    };
    truth.logs.get(place).into_iter().flatten().flat_map(move |(epoch, log)| {
        let first = log.records.partition_point(|record| after.is_some_and(|(told, _)| record.told < told));
        let records = log.records.iter().skip(first);
        records
            .map(|record| (*epoch, record))
            .filter(move |(epoch, record)| is_after(*epoch, record) && is_before(*epoch, record))
    })
}

/// Of each key at most so many in a second since the first pattern, and one that comes at once whenever its clock may have begun anew.
fn check_rate(delivered: u64, rate: u32, (began, now): (Time, Time), changes: u64) -> Checked {
    let micros = now.as_micros() - began.as_micros();
    if rate > 0 && delivered.saturating_sub(2 + 2 * changes) * 1_000_000 > u64::from(rate) * micros {
        let message = format!("{delivered} at {rate} a second after {micros} µs");
        return Err(Violation::new("pattern: more than the rate allows", message));
    }
    Ok(())
}

/// A grant that names channels with a meaning of their own shows them, and none of ours does.
fn shows(rights: Rights, channel: &str) -> bool {
    let is_meant = channel.starts_with("private-") || channel.starts_with("presence-");
    rights.allow(Right::Subscribe, channel) && !is_meant
}

/// Whether every publication must come: nothing is replaced by what is newer.
fn is_whole(app: &App, channel: &str) -> bool {
    let options = crate::promises::options_of(app, channel);
    options.overflow != Overflow::KeepLatest && options.rate == 0
}
