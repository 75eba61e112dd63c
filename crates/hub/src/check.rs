//! The position check: whether what subscribers were given is what their channels' homes have published.
//!
//! Losing something takes a fault, ours or of whoever carries the mail. The next publication shows it, since each names the one before it; where none
//! comes, each channel's home is asked from time to time. Who has lost something is told which offsets.

use crate::address::{ChannelKey, ShardId, SubscriberId};
use crate::broker::{Broker, History};
use crate::fanout::mark_dirty;
use crate::mail::Letter;
use crate::outbox::Run;
use crate::shard::Shard;
use crate::slow::lost_behind;
use core::time::Duration;
use switchboard_core::{Time, What};

/// The parts of an interval: each looks at its share of the channels, so that they are not all asked at once.
const PARTS: u32 = 16;

/// When the next share of the channels is looked at, and where it begins.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    at: Option<Time>,
    next: usize,
}

impl Checks {
    /// There are channels to look at.
    pub(crate) fn begin(&mut self, now: Time, interval: Duration) {
        if self.at.is_none() && interval > Duration::ZERO {
            self.at = Some(now + interval / PARTS);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.at
    }
}

impl<B: Broker + History> Shard<B> {
    /// Asks the homes of the next share of the channels where they are.
    pub(crate) fn check_positions(&mut self, now: Time) {
        if self.checks.at.is_none_or(|at| at > now) {
            return;
        }
        self.checks.at = None;
        if self.roster.channels.is_empty() {
            return;
        }
        self.checks.begin(now, self.config.portions.position_check);
        let places = self.roster.channels.capacity();
        let first = if self.checks.next < places { self.checks.next } else { 0 };
        let end = first + places.div_ceil(PARTS as usize);
        self.checks.next = end;
        let keys = (first..end).filter_map(|place| self.roster.channels.get(place));
        let keys: Vec<ChannelKey> = keys.map(|channel| channel.key.clone()).collect();
        for key in keys {
            let home = key.home(self.config.shards);
            self.send_to(now, home, Letter::Check { key, shard: self.config.id });
        }
    }

    /// A shard asks where a channel is. The answer comes behind everything that was sent to it before.
    pub(crate) fn answer_check(&mut self, key: ChannelKey, shard: ShardId) {
        if let Some(offset) = self.homes.published(&key, shard) {
            self.homes.letters.push((shard, Letter::Checked { key, offset }));
        }
    }

    /// The home has published up to here, and everything on the way has come: whoever has less has lost something.
    pub(crate) fn compare(&mut self, key: &ChannelKey, offset: u64) {
        let Some(number) = self.roster.find(key) else { return };
        let Some(channel) = self.roster.channels.get_mut(number as usize) else { return };
        // What waits for its fan-out is not lost. It will be looked at next time.
        if !channel.pending.is_empty() || !channel.gaps.is_empty() || channel.walk.is_some() {
            return;
        }
        for entry in channel.entries.iter_mut().filter(|entry| entry.from < offset && !entry.replaying) {
            let id = SubscriberId { slot: entry.slot, serial: entry.serial };
            // Who has been given up gets nothing more.
            let Some(subscriber) = self.subscribers.get_mut(id.slot as usize) else { continue };
            if subscriber.lost {
                continue;
            }
            self.effects.remember(key, (entry.from + 1, offset), subscriber, What::Lost);
            let run = Run { number, generation: channel.generation, first: entry.from + 1, last: offset };
            let told = lost_behind(subscriber, id.slot, &key.channel, run, &mut self.effects);
            entry.from = offset;
            self.events.extend(told.map(|event| (id, event)));
            self.losses += 1;
            mark_dirty(subscriber, id.slot, &mut self.effects);
        }
        channel.received = channel.received.max(offset);
    }
}
