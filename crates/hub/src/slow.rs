//! Subscribers who get less than all: who is behind on channels that keep the latest, and who asked for fewer deliveries in a second.
//!
//! Owns when what waits by key is let out, by room and by the clock. The usual subscriber never comes here.

use crate::address::ChannelKey;
use crate::broker::{Broker, History};
use crate::conflation::{Next, TooManyGaps};
use crate::fanout::{Effects, lose, mark_dirty};
use crate::outbox::Run;
use crate::roster::LocalChannel;
use crate::shard::Shard;
use crate::subscriber::Subscriber;
use bytes::BytesMut;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{
    ChannelName, ChannelOptions, Encode, Encoded, Event, Mark, Overflow, Publication, Time, What, WireFormat,
};

/// Encodings of single publications that are remembered within a turn.
const ENCODINGS_MAX: usize = 64;

/// Whether a run of a channel's publications cannot go to the subscriber's outbox now: it would be behind with it, something waits already, or they are
/// let out by the clock.
pub(crate) fn waits_by_key(subscriber: &Subscriber, channel: &LocalChannel, count: usize, bytes: usize) -> bool {
    let outbox = &subscriber.outbox;
    // One message goes out where nothing waits, however large it is; a burst does not.
    let behind = || (count > 1 || !outbox.is_empty()) && outbox.len() + bytes > outbox.behind_bytes();
    channel.options.overflow == Overflow::KeepLatest && behind() || subscriber.holds(&channel.key.channel)
}

/// Puts publications to what waits by key. It stays within what the outbox leaves of its bound, or half of the bound if that is more.
#[cold]
pub(crate) fn conflate(
    subscriber: &mut Subscriber,
    slot: u32,
    channel: &LocalChannel,
    publications: Vec<Arc<Publication>>,
    effects: &mut Effects,
) {
    let run = Run { number: channel.number, generation: channel.generation, first: 0, last: 0 };
    let options = (&*channel.options, channel.options.overflow);
    conflate_as(subscriber, slot, &channel.key, run, options, publications, effects);
}

/// The same for a channel that need not be on the roster.
#[cold]
pub(crate) fn conflate_as(
    subscriber: &mut Subscriber,
    slot: u32,
    key: &ChannelKey,
    run: Run,
    (options, overflow): (&ChannelOptions, Overflow),
    publications: Vec<Arc<Publication>>,
    effects: &mut Effects,
) {
    let conflation = subscriber.conflation.get_or_insert_default();
    conflation.hold_as(&key.channel, run, (options, overflow), options.rate);
    let mut replaced = Vec::new();
    let traced = subscriber.traced;
    let (first, last) = ends(&publications);
    for publication in publications {
        let offset = publication.position.offset;
        let old = conflation.push(publication);
        if traced {
            replaced.push((offset, old));
        }
    }
    // The outbox holds little where this is used, but for one large message, which must not be what ends the session.
    let bytes_max = subscriber.outbox.bytes_max();
    let room = bytes_max.saturating_sub(subscriber.outbox.len()).max(bytes_max / 2);
    if conflation.bytes > room {
        conflation.drop_oldest(room, |run| {
            // It is told behind what is in the outbox, and before what is let out of the rest.
            subscriber.outbox.push_hole(run);
            effects.dropped.push((slot, run));
        });
        if conflation.bytes > room {
            effects.given_up.push((slot, Run { first, last, ..run }));
            lose(subscriber, slot, effects);
            return;
        }
    }
    for (offset, old) in replaced {
        effects.remember(key, (offset, offset), subscriber, What::Waits);
        if let Some(old) = old {
            effects.remember(key, (old, old), subscriber, What::Replaced { by: offset });
        }
    }
    if !subscriber.conflating {
        subscriber.conflating = true;
        effects.conflating.push(slot);
    }
}

fn ends(publications: &[Arc<Publication>]) -> (u64, u64) {
    let offset = |publication: Option<&Arc<Publication>>| publication.map_or(0, |known| known.position.offset);
    (offset(publications.first()), offset(publications.last()))
}

/// What was encoded for one subscriber in this turn, in case others get the same: those with the same rate do.
#[derive(Default)]
pub(crate) struct Encodings(Vec<(WireFormat, Mark, Arc<Publication>, Encoded)>);

impl Encodings {
    pub(crate) fn of(
        &mut self,
        format: WireFormat,
        publication: &Arc<Publication>,
        mark: Mark,
        encode: &mut dyn Encode,
    ) -> Encoded {
        let same = |known: &&(WireFormat, Mark, Arc<Publication>, Encoded)| {
            (known.0, known.1) == (format, mark) && Arc::ptr_eq(&known.2, publication)
        };
        if let Some((.., encoded)) = self.0.iter().rev().find(same) {
            return encoded.clone();
        }
        let mut out = BytesMut::new();
        encode.publications(format, core::slice::from_ref(publication), mark, &mut out);
        let encoded = Encoded::new(out.freeze());
        if self.0.len() >= ENCODINGS_MAX {
            self.0.clear();
        }
        self.0.push((format, mark, Arc::clone(publication), encoded.clone()));
        encoded
    }
}

/// Offsets were lost on the way to this shard: the event that tells a subscriber now, unless it has to wait for what is before it.
pub(crate) fn lost_behind(
    subscriber: &mut Subscriber,
    slot: u32,
    name: &ChannelName,
    run: Run,
    effects: &mut Effects,
) -> Option<Event> {
    let (from, to) = (run.first, run.last);
    let waits = subscriber.conflation.as_mut().map_or(Ok(false), |conflation| conflation.wait_gap(name, from, to));
    match waits {
        Ok(false) => {
            // What is let out before the event is written comes behind it.
            subscriber.outbox.push_hole(run);
            return Some(Event::Gap { channel: name.clone(), from, to });
        }
        Ok(true) if !subscriber.conflating => {
            subscriber.conflating = true;
            effects.conflating.push(slot);
        }
        Ok(true) => {}
        // To come back and ask is simpler.
        Err(TooManyGaps) => lose(subscriber, slot, effects),
    }
    None
}

impl<B: Broker + History> Shard<B> {
    /// Lets out what is due of what waits by key, to everybody who has room.
    pub(crate) fn let_out(&mut self, now: Time, encode: &mut dyn Encode) {
        if self.effects.conflating.is_empty() {
            return;
        }
        let mut encodings = Encodings::default();
        for slot in core::mem::take(&mut self.effects.conflating) {
            let Some(subscriber) = self.subscribers.get_mut(slot as usize) else { continue };
            subscriber.conflating = false;
            let Some(mut conflation) = subscriber.conflation.take() else { continue };
            while !subscriber.lost
                && !is_behind(subscriber)
                && let Some(next) = conflation.pop(now)
            {
                let due = match next {
                    Next::Publication(due) => due,
                    Next::Gap(run) => {
                        if let Some(channel) = self.roster.named(&run) {
                            let channel = channel.key.channel.clone();
                            let gap = Event::Gap { channel, from: run.first, to: run.last };
                            subscriber.outbox.push_hole(run);
                            self.events.push_back((subscriber.id(slot), gap));
                        }
                        continue;
                    }
                };
                let is_for_pattern = due.run.number == Run::OF_PATTERNS;
                if is_for_pattern && !shows(subscriber, &due.publication.channel, now) {
                    continue;
                }
                let is_uncounted = is_for_pattern && is_planted(Canary::PatternUncounted);
                let mark = if is_uncounted { Mark::Live } else { due.mark };
                let encoded = encodings.of(subscriber.format, &due.publication, mark, encode);
                self.effects.deliveries += 1;
                if subscriber.traced {
                    let key = ChannelKey::new(subscriber.app.id.clone(), due.publication.channel.clone());
                    let offset = due.publication.position.offset;
                    self.effects.remember(&key, (offset, offset), subscriber, What::Given);
                }
                subscriber.outbox.push_replay(encoded, due.run, due.overflow);
                mark_dirty(subscriber, slot, &mut self.effects);
            }
            if conflation.has_due(now) {
                subscriber.conflating = true;
                self.effects.conflating.push(slot);
            } else if let Some(at) = conflation.next_due()
                && subscriber.conflation_due().is_none_or(|known| at < known)
            {
                subscriber.rare().conflation_due = Some(at);
                self.conflation_timers.insert((at, slot));
            }
            if !conflation.release_idle() {
                subscriber.conflation = Some(conflation);
            }
        }
    }

    /// Has those looked at for whom the clock lets something out.
    pub(crate) fn wake_conflated(&mut self, now: Time) {
        while let Some((at, slot)) = self.conflation_timers.first().copied()
            && at <= now
        {
            self.conflation_timers.pop_first();
            let Some(subscriber) = self.subscribers.get_mut(slot as usize) else { continue };
            if subscriber.conflation_due() == Some(at) {
                subscriber.rare().conflation_due = None;
            }
            if subscriber.conflation.is_some() && !subscriber.conflating {
                subscriber.conflating = true;
                self.effects.conflating.push(slot);
            }
        }
    }

    /// Whether something that waits by key is held up by nothing but the turn.
    pub(crate) fn has_conflated_with_room(&self) -> bool {
        let waits = |slot: &u32| {
            let subscriber = self.subscribers.get(*slot as usize);
            subscriber.is_some_and(|subscriber| subscriber.conflating && !subscriber.lost && !is_behind(subscriber))
        };
        self.effects.conflating.iter().any(waits)
    }
}

/// Whether what waits for a pattern may still go out: the pattern may have been left meanwhile, and the right to the channel may have ended.
fn shows(subscriber: &Subscriber, channel: &ChannelName, now: Time) -> bool {
    if is_planted(Canary::PatternOutlived) {
        return true;
    }
    subscriber.patterns().iter().any(|pattern| pattern.matches(channel))
        && subscriber.app.shows(subscriber.identity.as_deref(), now, channel)
}

pub(crate) fn is_behind(subscriber: &Subscriber) -> bool {
    subscriber.outbox.len() > subscriber.outbox.behind_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Caller, MemoryBroker, Portions, ShardConfig, ShardId, SubscribeRequest};
    use core::time::Duration;
    use switchboard_core::{App, AppId, ChannelName, FramingId, OpId, Payload, PresenceChange, Publish};

    #[derive(Default)]
    struct Counting(usize);

    impl Encode for Counting {
        fn publications(&mut self, _: WireFormat, run: &[Arc<Publication>], _: Mark, out: &mut BytesMut) {
            self.0 += 1;
            out.resize(run.len(), 0);
        }

        fn presence(&mut self, _: WireFormat, _: &ChannelName, _: &[PresenceChange], _: &mut BytesMut) {}

        fn count(&mut self, _: WireFormat, _: &ChannelName, _: u64, _: &mut BytesMut) {}
    }

    #[test]
    fn those_with_the_same_rate_share_one_encoding_and_the_usual_ones_another() {
        let portions = Portions::default();
        let config =
            ShardConfig { id: ShardId(0), shards: 1, node: 0, first_serial: 1, mailbox_bytes: 1 << 20, portions };
        let mut shard = Shard::new(config, MemoryBroker::new(1, 1 << 20));
        let app = Arc::new(App::new(AppId::new("app")));
        let key = ChannelKey::new(app.id.clone(), ChannelName::parse("prices").unwrap());
        let mut now = Time::from_secs(1_000);
        let format = WireFormat { dialect: 0, framing: FramingId(0) };
        let subscribers: Vec<_> = (0..50).map(|_| shard.open(&app, format).0).collect();
        for (index, id) in subscribers.iter().enumerate() {
            let request = SubscribeRequest { rate: if index < 25 { 10 } else { 0 }, ..SubscribeRequest::default() };
            shard.subscribe(now, *id, OpId(0), &app, key.clone(), request);
        }
        let mut encode = Counting::default();
        for _ in 0..100 {
            let publish = Publish::new(Payload::Text("x".into()));
            shard.publish(now, Caller::External(0), OpId(0), &app, key.clone(), publish, None, None);
            shard.end_turn(now, &mut encode);
            for id in &subscribers {
                while shard.outbox(*id).and_then(crate::Outbox::pop).is_some() {}
            }
            now = now + Duration::from_millis(10);
            shard.handle_timeout(now);
        }
        // Each of a hundred publications once for the 25 without a rate, and the latest at each of ten moments once for the others.
        assert_eq!(encode.0, 100 + 10);
    }
}
