//! What a subscriber will not get, and how it is told: each loss at its place among what it does get.

use crate::address::{ChannelKey, SubscriberId};
use crate::broker::{Broker, History};
use crate::fanout;
use crate::outbox::Run;
use crate::shard::Shard;
use crate::slow::lost_behind;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{ChannelName, Encoded, Event, What};

impl<B: Broker + History> Shard<B> {
    /// Queues the bytes of an [`Event::Gap`] for a subscriber, at their place among what waits for it; `None` if its protocol has no words for it.
    pub fn push_gap(
        &mut self,
        id: SubscriberId,
        channel: &ChannelName,
        (from, to): (u64, u64),
        encoded: Option<Encoded>,
    ) {
        let Some(subscriber) = self.subscribers.get_mut(id.slot as usize) else { return };
        if subscriber.session.serial != id.serial {
            return;
        }
        let key = ChannelKey::new(subscriber.app.id.clone(), channel.clone());
        let Some(number) = self.roster.find(&key) else { return };
        let Some(channel) = self.roster.channels.get(number as usize) else { return };
        let run = Run { number, generation: channel.generation, first: from, last: to };
        fanout::push_gap(subscriber, id.slot, encoded, run, &mut self.effects);
    }

    /// Changes of presence found no room on the way. Whoever watches them ends, since no history has them, and may come back to see who is there.
    pub(crate) fn lose_presence(&mut self, key: &ChannelKey) {
        let Some(channel) = self.roster.find(key).and_then(|number| self.roster.channels.get(number as usize)) else {
            return;
        };
        for entry in channel.entries.iter().filter(|entry| entry.presence_from != u64::MAX) {
            if let Some(subscriber) =
                self.subscribers.get_mut(entry.slot as usize).filter(|subscriber| !subscriber.lost)
            {
                fanout::lose(subscriber, entry.slot, &mut self.effects);
            }
        }
    }

    /// Tells whoever subscribes what the way to this shard has lost, now that all before it is fanned out.
    pub(crate) fn report_lost(&mut self) {
        for (number, from, to) in core::mem::take(&mut self.effects.lost) {
            let Some(channel) = self.roster.channels.get_mut(number as usize) else { continue };
            for entry in channel.entries.iter_mut().filter(|entry| entry.from < to) {
                let from = from.max(entry.from + 1);
                entry.from = to;
                let Some(subscriber) = self.subscribers.get_mut(entry.slot as usize) else { continue };
                if subscriber.traced {
                    self.effects.remember(&channel.key, (from, to), subscriber, What::Lost);
                }
                if entry.replaying {
                    // What is lost lies behind a replay that is not at its end. To come back and ask is simpler than to wait for it.
                    fanout::lose(subscriber, entry.slot, &mut self.effects);
                } else {
                    let run = Run { number, generation: channel.generation, first: from, last: to };
                    let told = lost_behind(subscriber, entry.slot, &channel.key.channel, run, &mut self.effects);
                    self.events.extend(told.map(|event| (subscriber.id(entry.slot), event)));
                }
            }
        }
    }

    /// Neighbouring runs that a subscriber lost become one gap. Between others may stand what was told before: another loss, say.
    pub(crate) fn report_dropped(&mut self) {
        if is_planted(Canary::DropUntold) {
            self.effects.dropped.clear();
        }
        for (slot, run) in core::mem::take(&mut self.effects.given_up) {
            let known = self.subscribers.get(slot as usize).zip(self.roster.named(&run));
            if let Some((subscriber, channel)) = known {
                self.effects.remember(&channel.key, (run.first, run.last), subscriber, What::GivenUp);
            }
        }
        let mut gaps: Vec<(u32, Run)> = Vec::new();
        for (slot, run) in self.effects.dropped.drain(..) {
            let last = gaps.iter_mut().rev().find(|(known, gap)| *known == slot && gap.is_of(&run));
            match last.filter(|(_, gap)| gap.last + 1 == run.first) {
                Some((_, gap)) => gap.last = run.last,
                None => gaps.push((slot, run)),
            }
        }
        for (slot, run) in gaps {
            let Some(subscriber) = self.subscribers.get_mut(slot as usize) else { continue };
            match self.roster.named(&run) {
                Some(channel) => {
                    if !is_planted(Canary::DropForgotten) {
                        self.effects.remember(&channel.key, (run.first, run.last), subscriber, What::Dropped);
                    }
                    let run = subscriber.outbox.absorb_notice(run);
                    let event = Event::Gap { channel: channel.key.channel.clone(), from: run.first, to: run.last };
                    self.events.push_back((subscriber.id(slot), event));
                }
                // It has left the channel, and nobody here knows its name any more. What followed the loss must not be read without it.
                None if !subscriber.lost => fanout::lose(subscriber, slot, &mut self.effects),
                None => {}
            }
        }
    }
}
