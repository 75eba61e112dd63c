//! What a node found again on its disk, compared with what clients had been told.
//!
//! Owns the promises of the durable history. Knows nothing of files: it is told what was recovered.

use crate::Violation;
use crate::truth::{Log, Place, Record, Truth, Value, number_of};
use std::collections::BTreeMap;
use switchboard_core::{Position, Time};
use switchboard_store::RecoveredChannel;

/// How the last process ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// What was acknowledged before may not be missing.
    pub(crate) kept_before: Time,
    /// Bytes on the disk are not what was written, so an epoch may end.
    pub(crate) damaged: bool,
}

impl Ended {
    /// Nothing that was acknowledged may be missing.
    fn nothing_lost(&self) -> bool {
        self.kept_before == FOREVER && !self.damaged
    }
}

/// After everything.
pub(crate) const FOREVER: Time = Time::from_micros(u64::MAX);

impl Truth {
    /// The node begins again with this.
    pub(crate) fn find(&mut self, channels: &[RecoveredChannel], ended: Ended) -> Result<(), Violation> {
        let mut found = BTreeMap::new();
        for channel in channels {
            let place = (channel.key.app.clone(), channel.key.channel.as_str().to_owned());
            self.find_channel(&place, channel, ended).map_err(|violation| violation.about(&format!("{place:?}")))?;
            found.insert(place, channel);
        }
        for (place, epoch) in self.current.clone() {
            if found.get(&place).is_none_or(|channel| channel.epoch.0 != epoch) && !ended.damaged {
                self.check_none_kept(&place, epoch, ended)?;
            }
        }
        for place in self.cached.keys().cloned().collect::<Vec<_>>() {
            let value = found.get(&place).and_then(|channel| channel.cached.as_ref());
            let value = value.and_then(|(value, until)| Some((number_of(&value.payload)?, *until)));
            self.find_cached(&place, value, ended)?;
        }
        Ok(())
    }

    fn find_channel(&mut self, place: &Place, found: &RecoveredChannel, ended: Ended) -> Result<(), Violation> {
        let epoch = found.epoch.0;
        let is_new = !self.logs.get(place).is_some_and(|epochs| epochs.contains_key(&epoch));
        let mut log = self.logs.entry(place.clone()).or_default().remove(&epoch).unwrap_or_default();
        let value = found.cached.as_ref().map(|(value, _)| value);
        for publication in found.publications.iter().chain(value) {
            let Position { offset, .. } = publication.position;
            let Some(number) = number_of(&publication.payload) else {
                return violation("durable: a payload that nobody sent", format!("{publication:?}"));
            };
            if let Some(record) = log.records.iter().find(|record| record.offset == offset) {
                if record.number != number || record.lost && !ended.damaged {
                    return violation("durable: something else stands at its place", format!("{number}, {record:?}"));
                }
                continue;
            }
            let is_carried = self.places.contains_key(&number);
            if is_carried && !(is_new && ended.damaged) {
                let message = format!("{number} was at {:?}, now {:?}", self.places.get(&number), publication.position);
                return violation("durable: a splice of epochs", message);
            }
            let asked = self.asked.remove(&number);
            if !is_carried && asked.is_none() {
                return violation("durable: what nobody published", format!("{number}"));
            }
            if let Some(asked) = &asked {
                self.change_cached(place, number, publication.timestamp, asked.cache);
            }
            self.places.insert(number, (place.clone(), publication.position));
            log.records.push(Record {
                offset,
                number,
                key: publication.key.clone(),
                exclude: None,
                at: publication.timestamp,
                told: self.now,
                lost: false,
                gone: false,
                cost: publication.cost(),
                id: asked.and_then(|asked| asked.id),
            });
        }
        if is_new && ended.damaged {
            log.begun = self.now;
            self.carry_ids(place, &mut log, found);
        }
        self.find_ids(place, &mut log, found, ended)?;
        log.records.sort_by_key(|record| record.offset);
        let result = self.check_log(place, &mut log, found, ended);
        log.base = log.base.max(found.head);
        self.current.insert(place.clone(), epoch);
        self.logs.entry(place.clone()).or_default().insert(epoch, log);
        result
    }

    /// An epoch that follows damage knows the ids of the one before it, of what is not kept any more too.
    fn carry_ids(&self, place: &Place, log: &mut Log, found: &RecoveredChannel) {
        let epochs = self.logs.get(place);
        let Some(before) = self.current.get(place).and_then(|epoch| epochs?.get(epoch)) else { return };
        for (id, offset, _) in &found.ids {
            let is_known = log.records.iter().any(|record| record.offset == *offset);
            if let Some(record) = before.records.iter().find(|record| record.offset == *offset && !is_known) {
                log.records.push(Record { gone: true, id: Some((**id).into()), ..record.clone() });
            }
        }
    }

    /// What was written, never acknowledged and let go of before the end is known by its id alone.
    fn find_ids(
        &mut self,
        place: &Place,
        log: &mut Log,
        found: &RecoveredChannel,
        ended: Ended,
    ) -> Result<(), Violation> {
        let ttl = self.options(place).map(|options| options.idempotency_ttl).unwrap_or_default();
        let micros = u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX);
        for (id, offset, until) in &found.ids {
            if ended.damaged || log.records.iter().any(|record| record.offset == *offset) {
                continue;
            }
            let asked = self
                .asked
                .iter()
                .find(|(number, asked)| asked.id.as_deref() == Some(&**id) && !self.places.contains_key(*number));
            let Some((&number, _)) = asked.filter(|_| *offset <= found.dropped) else {
                return violation("durable: an id of what nobody published", format!("{id:?} at {offset}"));
            };
            let position = Position { epoch: found.epoch, offset: *offset };
            self.places.insert(number, (place.clone(), position));
            log.records.push(Record {
                offset: *offset,
                number,
                key: None,
                exclude: None,
                at: Time::from_micros(until.as_micros().saturating_sub(micros)),
                told: self.now,
                lost: false,
                gone: true,
                cost: 0,
                id: Some((**id).into()),
            });
        }
        Ok(())
    }

    /// What is missing may be missing, and nobody is told otherwise.
    fn check_log(&self, place: &Place, log: &mut Log, found: &RecoveredChannel, ended: Ended) -> Result<(), Violation> {
        let last = log.records.last().map_or(0, |record| record.offset);
        if found.head < last.max(log.base) {
            let message = format!("goes on at {}, was at {last} or {}", found.head, log.base);
            return violation("durable: offsets are given away again", message);
        }
        // A channel without history writes no ids until it has a cached value.
        let remembers = self.options(place).is_some_and(|options| options.history_size > 0);
        log.records.iter_mut().filter(|_| !remembers).for_each(|record| record.id = None);
        let is_there = |record: &Record| found.publications.iter().any(|one| one.position.offset == record.offset);
        let is_known = |id: &str| found.ids.iter().any(|(known, ..)| **known == *id);
        if !ended.nothing_lost() {
            log.records.iter_mut().for_each(|record| _ = record.id.take_if(|id| !is_known(id)));
        }
        if !ended.damaged
            && let Some(missing) = self.kept(place, log, ended).find(|record| !is_there(record))
        {
            return violation("durable: what was acknowledged is lost", format!("{missing:?}"));
        }
        for record in &mut log.records {
            if is_there(record) {
                continue;
            }
            record.gone = true;
            if record.offset <= found.dropped {
                continue;
            }
            if record.offset > found.complete_after {
                let message = format!("complete after {}, without {record:?}", found.complete_after);
                return violation("durable: a lost range is taken for whole", message);
            }
            record.lost = true;
            // Its id may outlive it, and then counts among those that a channel has.
            let of_it =
                |id: &str| found.ids.iter().any(|(known, offset, _)| **known == *id && *offset == record.offset);
            record.id.take_if(|id| !of_it(id));
        }
        Ok(())
    }

    fn check_none_kept(&self, place: &Place, epoch: u64, ended: Ended) -> Result<(), Violation> {
        let Some(log) = self.logs.get(place).and_then(|epochs| epochs.get(&epoch)) else { return Ok(()) };
        match self.kept(place, log, ended).next() {
            None => Ok(()),
            Some(record) => violation("durable: a channel is lost", format!("{place:?} {epoch:x}: {record:?}")),
        }
    }

    /// What the channel's options keep now of what the disk must have, latest first. Where memory is short nobody can say.
    fn kept<'a>(&self, place: &Place, log: &'a Log, ended: Ended) -> impl Iterator<Item = &'a Record> {
        let options = self.options(place).filter(|_| !self.short_of_memory);
        let (size, bytes, ttl) = options.map_or_else(Default::default, |options| {
            (options.history_size, options.history_bytes, options.history_ttl)
        });
        let now = self.now;
        let mut room = bytes;
        let fits = move |record: &&Record| {
            let before = room;
            room = room.saturating_sub(record.cost);
            record.cost <= before && record.at + ttl > now
        };
        log.records
            .iter()
            .rev()
            .filter(|record| !record.gone)
            .take(size)
            .take_while(fits)
            .filter(move |record| record.told < ended.kept_before)
    }

    fn find_cached(&mut self, place: &Place, found: Option<Value>, ended: Ended) -> Result<(), Violation> {
        let changes = self.cached.entry(place.clone()).or_default();
        let now = self.now;
        let good = |(number, until): Value| (until > now).then_some((number, until));
        let expected = changes.last().and_then(|(_, value)| *value).and_then(good);
        let may_be_gone = self.short_of_memory && found.is_none();
        if ended.nothing_lost() && found.and_then(good) != expected && !may_be_gone {
            let message = format!("{place:?}: {found:?}, expected {expected:?}");
            return violation("durable: another cached value", message);
        }
        if let Some(value) = found
            && !changes.iter().any(|(_, known)| *known == Some(value))
        {
            return violation("durable: a cached value that never was one", format!("{place:?}: {value:?}"));
        }
        changes.push((now, found));
        Ok(())
    }

    /// The node has died and had nothing on a disk.
    pub(crate) fn lose_cached(&mut self) {
        let now: Time = self.now;
        self.cached.values_mut().for_each(|changes| changes.push((now, None)));
    }
}

fn violation<T>(kind: &'static str, message: String) -> Result<T, Violation> {
    Err(Violation::new(kind, message))
}
