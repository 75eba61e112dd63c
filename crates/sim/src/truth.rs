//! What really was published, as the brokers ordered it.
//!
//! Owns the promises of publishing: one place for each publication, in order, once for each id, on its condition. Knows nothing of clients.

use crate::Violation;
use crate::plan::Setup;
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_core::{
    App, AppId, CacheEffect, ChannelName, ChannelOptions, Payload, Position, SessionId, Since, Time,
};
use switchboard_hub::{BrokerEvent, PublishRequest};

/// A channel of an application.
pub(crate) type Place = (AppId, String);

/// One publication.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) offset: u64,
    /// The number in its payload. No two publications have the same.
    pub(crate) number: u64,
    /// What it replaces for those who get the latest only.
    pub(crate) key: Option<Arc<str>>,
    pub(crate) exclude: Option<SessionId>,
    pub(crate) at: Time,
    /// When it was delivered and acknowledged.
    pub(crate) told: Time,
    /// The node died and did not find it again.
    pub(crate) lost: bool,
    /// It was not there at a start: nobody expects it at the next.
    pub(crate) gone: bool,
    pub(crate) cost: usize,
    pub(crate) id: Option<Box<str>>,
}

/// A channel's publications within one epoch.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) records: Vec<Record>,
    /// Nothing was published through here that is not in the records: offsets that were skipped at a start.
    pub(crate) base: u64,
    /// When it began, if that was at a start, in place of another that was damaged: what it was given of that is older.
    pub(crate) begun: Time,
}

/// A cached value: the number in its payload, and until when it is kept.
pub(crate) type Value = (u64, Time);

/// Everything that was published since the beginning.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// By channel and epoch, in order.
    pub(crate) logs: BTreeMap<Place, BTreeMap<u64, Log>>,
    /// The epoch in which a channel was published on last.
    pub(crate) current: BTreeMap<Place, u64>,
    /// What became a channel's cached value, and when.
    pub(crate) cached: BTreeMap<Place, Vec<(Time, Option<Value>)>>,
    /// Where each number is.
    pub(crate) places: BTreeMap<u64, (Place, Position)>,
    /// What was asked and has no outcome: by number, its id and condition.
    pub(crate) asked: BTreeMap<u64, Asked>,
    apps: Vec<Arc<App>>,
    /// The time now.
    pub(crate) now: Time,
    pub(crate) violation: Option<Violation>,
    /// Whether ids and cached values may be forgotten before their time, because memory is short.
    pub(crate) short_of_memory: bool,
    /// Bytes that the brokers keep, by shard.
    pub(crate) kept: Vec<usize>,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
}

#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) id: Option<Box<str>>,
    pub(crate) cache: CacheEffect,
    if_position: Option<Since>,
    ttl: core::time::Duration,
    ids: usize,
}

impl Truth {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            short_of_memory: setup.history_bytes_max < 1024 * 1024,
            kept: vec![0; usize::from(setup.shards)],
            apps: setup.apps.clone(),
            ..Self::default()
        }
    }

    /// The node has died: what had no outcome has none.
    pub(crate) fn forget_asked(&mut self) {
        self.asked.clear();
        self.kept.fill(0);
    }

    /// The publication at a place.
    pub(crate) fn at(&self, place: &Place, epoch: u64, offset: u64) -> Option<&Record> {
        let log = self.log(place, epoch);
        let index = log.binary_search_by_key(&offset, |record| record.offset).ok()?;
        log.get(index)
    }

    /// Those between two offsets, both excluded.
    pub(crate) fn between(&self, place: &Place, epoch: u64, after: u64, before: u64) -> &[Record] {
        let log = self.log(place, epoch);
        let start = log.partition_point(|record| record.offset <= after);
        let end = log.partition_point(|record| record.offset < before);
        log.get(start..end).unwrap_or_default()
    }

    /// Whether something between two offsets, both excluded, was published and not lost.
    pub(crate) fn is_known(&self, place: &Place, epoch: u64, after: u64, before: u64) -> bool {
        self.between(place, epoch, after, before).iter().any(|record| !record.lost)
    }

    /// The latest offset of an epoch; 0 if there was nothing.
    pub(crate) fn end(&self, place: &Place, epoch: u64) -> u64 {
        let Some(log) = self.logs.get(place).and_then(|epochs| epochs.get(&epoch)) else { return 0 };
        log.records.last().map_or(0, |record| record.offset).max(log.base)
    }

    /// Where an epoch was at the last start.
    pub(crate) fn base(&self, place: &Place, epoch: u64) -> u64 {
        self.logs.get(place).and_then(|epochs| epochs.get(&epoch)).map_or(0, |log| log.base)
    }

    /// The latest offset of an epoch before a moment.
    pub(crate) fn end_before(&self, place: &Place, epoch: u64, at: Time) -> u64 {
        let log = self.log(place, epoch);
        let count = log.partition_point(|record| record.told < at);
        log.get(..count).and_then(<[Record]>::last).map_or(0, |record| record.offset)
    }

    /// Whether something had been published in a later epoch before a moment.
    pub(crate) fn is_over(&self, place: &Place, epoch: u64, at: Time) -> bool {
        let Some(epochs) = self.logs.get(place) else { return false };
        let last = |log: &Log| Some(log.records.last()?.told.max(log.begun));
        let Some(last) = epochs.get(&epoch).and_then(last) else { return false };
        let others = epochs.iter().filter(|(other, _)| **other != epoch);
        let latest = |log: &Log| {
            let before = log.records.partition_point(|record| record.told < at);
            log.records.get(before.checked_sub(1)?).map(|record| record.told)
        };
        others.filter_map(|(_, log)| latest(log)).any(|told| told > last)
    }

    /// Where a channel was before so many of its last publications.
    pub(crate) fn before_last(&self, place: &Place, back: usize) -> Option<(u64, u64)> {
        let epoch = *self.current.get(place)?;
        let log = self.log(place, epoch);
        let record = log.get(log.len().checked_sub(1 + back)?)?;
        Some((epoch, record.offset))
    }

    /// Where a number is.
    pub(crate) fn place_of(&self, number: u64) -> Option<&(Place, Position)> {
        self.places.get(&number)
    }

    /// Publications in all.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    fn log(&self, place: &Place, epoch: u64) -> &[Record] {
        self.logs.get(place).and_then(|epochs| epochs.get(&epoch)).map_or(&[], |log| &log.records)
    }

    pub(crate) fn ask(&mut self, request: &PublishRequest) {
        let Some(number) = number_of(&request.publish.payload) else { return };
        let options = request.app.channels.of(&request.key.channel);
        let asked = Asked {
            id: request.id_key(),
            cache: request.cache_effect(),
            if_position: request.publish.if_position,
            ttl: options.idempotency_ttl,
            ids: options.idempotency_ids,
        };
        self.asked.insert(number, asked);
    }

    pub(crate) fn record(&mut self, event: &BrokerEvent) {
        match event {
            BrokerEvent::Published { key, publication, .. } => {
                let place = (key.app.clone(), key.channel.as_str().to_owned());
                let Some(number) = number_of(&publication.payload) else {
                    return self.fail("broker: a payload that nobody sent", format!("{publication:?}"));
                };
                let asked = self.asked.remove(&number);
                let Position { epoch, offset } = publication.position;
                let position = publication.position;
                if let Some((known, before)) = self.places.insert(number, (place.clone(), position)) {
                    let message = format!("{number} is at {known:?} {before:?} and at {place:?} {position:?}");
                    return self.fail("broker: published twice", message);
                }
                let end = self.end(&place, epoch.0);
                if offset <= end || publication.previous != end {
                    let message =
                        format!("{place:?} was at {end}, then came {position:?} after {}", publication.previous);
                    return self.fail("broker: offsets out of order", message);
                }
                let id = asked.as_ref().and_then(|asked| asked.id.clone());
                if let Some(asked) = asked {
                    self.check_conditions(&place, position, end, publication.timestamp, &asked);
                }
                let (at, cost) = (publication.timestamp, publication.cost());
                self.change_cached(&place, number, at, publication.cache);
                let exclude = publication.exclude;
                let (key, told) = (publication.key.clone(), self.now);
                let record = Record { offset, number, key, exclude, at, told, lost: false, gone: false, cost, id };
                self.current.insert(place.clone(), epoch.0);
                self.logs.entry(place).or_default().entry(epoch.0).or_default().records.push(record);
            }
            BrokerEvent::Duplicate { .. } => self.duplicates += 1,
            BrokerEvent::Refused { .. } => self.refused += 1,
            // Memory has everything at hand, and no place for what concerns sessions.
            BrokerEvent::Loaded { .. } | BrokerEvent::Control(_) => {}
        }
    }

    /// A publication has its place: was it allowed to have one?
    fn check_conditions(&mut self, place: &Place, position: Position, end: u64, now: Time, asked: &Asked) {
        let before = Position { offset: end, ..position };
        if asked.if_position.is_some_and(|wanted| wanted != Since::Position(before)) {
            let message = format!("{place:?} was at {before:?}, wanted was {:?}", asked.if_position);
            self.fail("broker: a condition was not met", message);
        }
        let Some(id) = &asked.id else { return };
        let named = |record: &&Record| record.id.is_some();
        let recent = self.log(place, position.epoch.0).iter().rev().filter(named).take(asked.ids);
        let known =
            recent.take_while(|record| record.at + asked.ttl > now).find(|record| record.id.as_ref() == Some(id));
        if let Some(known) = known.filter(|_| !self.short_of_memory) {
            let message = format!("{place:?}: {id:?} is at {} and at {position:?}", known.offset);
            self.fail("broker: an id was published twice", message);
        }
    }

    /// A publication did this to its channel's cached value.
    pub(crate) fn change_cached(&mut self, place: &Place, number: u64, at: Time, effect: CacheEffect) {
        let value = match effect {
            CacheEffect::None => return,
            CacheEffect::Keep(ttl) => Some((number, at + ttl)),
            CacheEffect::Clear => None,
        };
        self.cached.entry(place.clone()).or_default().push((self.now, value));
    }

    /// How a channel behaves.
    pub(crate) fn options(&self, place: &Place) -> Option<&ChannelOptions> {
        let app = self.apps.iter().find(|app| app.id == place.0)?;
        // Users' own channels have names that nobody can write.
        let name = ChannelName::parse(place.1.as_str()).ok();
        Some(name.map_or_else(|| app.channels.defaults(), |name| app.channels.of(&name)))
    }

    /// What a channel's cached value was between two moments: every value that it had, or none, in order. Where memory is short it may have gone.
    pub(crate) fn cached_between(&self, place: &Place, from: Time, to: Time) -> Vec<Option<Value>> {
        let changes = self.cached.get(place).map_or(&[][..], Vec::as_slice);
        let before = changes.partition_point(|(at, _)| *at < from);
        let first = before.checked_sub(1).and_then(|index| changes.get(index)).and_then(|(_, value)| *value);
        let during = changes.iter().skip(before).take_while(|(at, _)| *at <= to).map(|(_, value)| *value);
        let gone = self.short_of_memory.then_some(None);
        core::iter::once(first).chain(during).chain(gone).collect()
    }

    fn fail(&mut self, kind: &'static str, message: String) {
        self.violation.get_or_insert(Violation { kind, message });
    }
}

/// The number at the beginning of a payload.
pub(crate) fn number_of(payload: &Payload) -> Option<u64> {
    match payload {
        Payload::Json(text) | Payload::Text(text) => number_in(text.as_bytes()),
        Payload::Binary(bytes) => number_in(bytes),
    }
}

/// The number that a payload begins with, after a bracket or a quote at most.
pub(crate) fn number_in(bytes: &[u8]) -> Option<u64> {
    let start = bytes.iter().position(u8::is_ascii_digit).filter(|start| *start <= 1)?;
    let digits = bytes.get(start..)?.iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0')))
}
