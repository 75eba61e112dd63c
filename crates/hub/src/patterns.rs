//! Subscriptions to patterns of channels: live publications of every channel that a pattern stands for and that the subscriber's rights cover.
//!
//! Each home knows which shards watch which patterns, so that a publication goes only where somebody may want it; where nobody watches, it costs
//! nothing. Rights are looked at for every publication: a token that is renewed or ends needs no other care.

use crate::address::{Caller, ChannelKey, ReturnAddress, ShardId, SubscriberId};
use crate::broker::{Broker, History};
use crate::fanout::{Effects, lose, push};
use crate::mail::{Letter, Reply};
use crate::outbox::Run;
use crate::roster::Roster;
use crate::shard::Shard;
use crate::slow::{Encodings, conflate_as};
use crate::subscriber::Subscriber;
use crate::trie::Trie;
use hashbrown::HashMap;
use slab::Slab;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{
    AppId, ChannelPattern, Encode, Identity, Mark, OpId, Outcome, Overflow, Publication, Time, What,
};

/// At a home: which shards watch which patterns.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    apps: HashMap<AppId, Trie<(ShardId, u32)>, foldhash::fast::RandomState>,
}

impl Watched {
    fn change(&mut self, app: &AppId, pattern: &ChannelPattern, shard: ShardId, add: bool) {
        let trie = self.apps.entry(app.clone()).or_default();
        trie.change(pattern, |shards| match shards.iter_mut().find(|(known, _)| *known == shard) {
            Some((_, count)) if add => *count += 1,
            Some((_, count)) => {
                *count -= 1;
                shards.retain(|(_, count)| *count > 0);
            }
            None if add => shards.push((shard, 1)),
            None => {}
        });
        if trie.is_empty() {
            self.apps.remove(app);
        }
    }

    /// The shards on which somebody watches a pattern that stands for the channel.
    pub(crate) fn shards(&self, key: &ChannelKey) -> SmallVec<[ShardId; 4]> {
        let mut shards = SmallVec::new();
        if self.apps.is_empty() || key.channel.user().is_some() {
            return shards;
        }
        let Some(trie) = self.apps.get(&key.app) else { return shards };
        trie.find(&key.channel, |(shard, _)| {
            if !shards.contains(shard) {
                shards.push(*shard);
            }
        });
        shards
    }
}

/// On a subscriber's shard: who watches what, and what has come for them.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    apps: HashMap<AppId, Trie<SubscriberId>, foldhash::fast::RandomState>,
    pending: VecDeque<(ChannelKey, Arc<Publication>)>,
}

impl Watchers {
    /// A publication on a channel that somebody's pattern stands for.
    pub(crate) fn enqueue(&mut self, key: ChannelKey, publication: Arc<Publication>, roster: &mut Roster) {
        roster.pending_bytes += publication.cost();
        self.pending.push_back((key, publication));
    }
}

impl<B: Broker + History> Shard<B> {
    /// Subscribes to a pattern. Answered by [`poll_answer`](Self::poll_answer) when every home knows of it.
    pub fn watch(&mut self, now: Time, id: SubscriberId, op: OpId, pattern: &ChannelPattern) {
        let shards = self.config.shards;
        let Some(subscriber) = self.subscriber(id) else { return };
        subscriber.pending += u32::from(shards);
        subscriber.rare().watching.push((op, shards));
        subscriber.rare().patterns.push(pattern.clone());
        let app = subscriber.app.id.clone();
        self.watchers.apps.entry(app.clone()).or_default().change(pattern, |watchers| watchers.push(id));
        let to = ReturnAddress { shard: self.config.id, caller: Caller::Subscriber(id), op, bytes: 0 };
        self.tell_homes(now, &app, pattern, Some(to));
    }

    /// Ends a subscription to a pattern.
    pub fn unwatch(&mut self, now: Time, id: SubscriberId, op: OpId, pattern: ChannelPattern) {
        let Some(subscriber) = self.subscriber(id) else { return };
        subscriber.rare().patterns.retain(|known| *known != pattern);
        subscriber.has_left = true;
        let app = subscriber.app.id.clone();
        self.forget_watcher(now, id, &app, &pattern);
        self.answers.push_back((Caller::Subscriber(id), op, Outcome::Unwatched { pattern }));
    }

    /// Whose rights decide what a pattern shows: those of the last identity that was given.
    pub fn set_identity(&mut self, id: SubscriberId, identity: Option<Arc<Identity>>) {
        if let Some(subscriber) = self.subscriber(id) {
            subscriber.identity = identity;
        }
        self.trace(id.slot as usize);
    }

    pub(crate) fn forget_watcher(&mut self, now: Time, id: SubscriberId, app: &AppId, pattern: &ChannelPattern) {
        if let Some(trie) = self.watchers.apps.get_mut(app) {
            trie.change(pattern, |watchers| watchers.retain(|known| *known != id));
            if trie.is_empty() {
                self.watchers.apps.remove(app);
            }
        }
        self.tell_homes(now, app, pattern, None);
    }

    /// Every shard is the home of some channels. With somebody to answer to, the pattern is watched from now on, without no longer.
    fn tell_homes(&mut self, now: Time, app: &AppId, pattern: &ChannelPattern, to: Option<ReturnAddress>) {
        for home in (0..self.config.shards).map(ShardId) {
            let shard = self.config.id;
            let letter = Letter::Watch { app: app.clone(), pattern: pattern.clone(), shard, to };
            self.send_to(now, home, letter);
        }
        self.route(now);
    }

    pub(crate) fn handle_watch(
        &mut self,
        app: &AppId,
        pattern: ChannelPattern,
        shard: ShardId,
        to: Option<ReturnAddress>,
    ) {
        self.homes.watched.change(app, &pattern, shard, to.is_some());
        if let Some(to) = to {
            self.homes.letters.push((shard, Letter::Reply { to, reply: Reply::Watched { pattern } }));
        }
    }

    /// One home has answered. An outcome if it was the last.
    pub(crate) fn handle_watched(&mut self, id: SubscriberId, op: OpId, pattern: ChannelPattern) -> Option<Outcome> {
        let watching = &mut self.subscriber(id)?.rare().watching;
        let index = watching.iter().position(|(known, _)| *known == op)?;
        let (_, left) = watching.get_mut(index)?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        watching.swap_remove(index);
        Some(Outcome::Watching { pattern })
    }

    /// Deliveries to this shard's watchers found no room on the way: they cannot resume, so their sessions end.
    pub(crate) fn lose_watchers(&mut self) {
        if is_planted(Canary::PatternLossUntold) {
            return;
        }
        for (slot, subscriber) in &mut self.subscribers {
            if !subscriber.patterns().is_empty() && !subscriber.lost {
                lose(subscriber, u32::try_from(slot).unwrap_or(u32::MAX), &mut self.effects);
            }
        }
    }

    /// Gives what has come to whoever watches and may see it. A turn's end does it; before a subscription by name is answered it is done too, so that
    /// nothing older comes behind the answer.
    pub fn deliver_to_watchers(&mut self, now: Time, encode: &mut dyn Encode) {
        let mut encodings = Encodings::default();
        let mut visited: Vec<SubscriberId> = Vec::new();
        while let Some((key, publication)) = self.watchers.pending.pop_front() {
            self.roster.pending_bytes -= publication.cost();
            let Some(trie) = self.watchers.apps.get(&key.app) else { continue };
            let exact = self.roster.find(&key);
            visited.clear();
            trie.find(&key.channel, |id| visited.push(*id));
            // Several patterns of one subscriber are one delivery.
            visited.sort_unstable_by_key(|id| id.slot);
            if !is_planted(Canary::PatternTwice) {
                visited.dedup();
            }
            for id in &visited {
                let delivery = Delivery { now, key: &key, publication: &publication, exact };
                delivery.give(*id, &mut self.subscribers, encode, &mut encodings, &mut self.effects);
            }
        }
    }
}

struct Delivery<'a> {
    now: Time,
    key: &'a ChannelKey,
    publication: &'a Arc<Publication>,
    /// The channel's number on the roster, if somebody subscribes to it by name.
    exact: Option<u32>,
}

impl Delivery<'_> {
    fn give(
        &self,
        id: SubscriberId,
        subscribers: &mut Slab<Subscriber>,
        encode: &mut dyn Encode,
        encodings: &mut Encodings,
        effects: &mut Effects,
    ) {
        let Some(subscriber) = subscribers.get_mut(id.slot as usize) else { return };
        if subscriber.session.serial != id.serial || subscriber.lost {
            return;
        }
        let offset = self.publication.position.offset;
        // Who subscribes to the channel by name gets it that way, from where that began.
        let began =
            self.exact.and_then(|number| subscriber.subscription(number)).map(|subscription| subscription.began);
        if began.is_some_and(|began| began < offset) {
            return;
        }
        let channel = &self.key.channel;
        let may = subscriber.app.shows(subscriber.identity.as_deref(), self.now, channel);
        let excluded = self.publication.exclude == Some(subscriber.session);
        if !(may || is_planted(Canary::PatternShowsAll)) || excluded {
            let what = if may { What::Excluded } else { What::Denied };
            effects.remember_each(self.key, core::slice::from_ref(self.publication), subscriber, &what);
            return;
        }
        let options = Arc::clone(subscriber.app.channels.of(channel));
        let run = Run { number: Run::OF_PATTERNS, generation: 0, first: offset, last: offset };
        let behind = subscriber.outbox.len() + self.publication.cost() > subscriber.outbox.behind_bytes();
        // What is dropped here could not be told with its channel, so nothing is.
        let overflow = match options.overflow {
            Overflow::DropOldest => Overflow::Disconnect,
            other => other,
        };
        let conflates = options.overflow == Overflow::KeepLatest && behind && !subscriber.outbox.is_empty();
        let has_rate = options.rate > 0 && !is_planted(Canary::PatternRateIgnored);
        let waits = conflates || has_rate || subscriber.holds(channel);
        // What is older than a subscription by name must not wait among what comes by that.
        if waits && began.is_none() {
            let publications = vec![Arc::clone(self.publication)];
            conflate_as(subscriber, id.slot, self.key, run, (&options, overflow), publications, effects);
            return;
        }
        effects.deliveries += 1;
        let what = if is_planted(Canary::MatchDenied) { What::Denied } else { What::Matched };
        effects.remember_each(self.key, core::slice::from_ref(self.publication), subscriber, &what);
        let encoded = encodings.of(subscriber.format, self.publication, Mark::Live, encode);
        push(subscriber, id.slot, encoded, run, overflow, effects);
    }
}
