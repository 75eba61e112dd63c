//! How a subscription begins and ends on its subscriber's shard.
//!
//! Owns the agreement of roster and subscribers. Knows nothing of what the home did for it.

use crate::address::{Caller, ChannelKey, ReturnAddress, SubscriberId};
use crate::broker::{Broker, History};
use crate::mail::{Request, RequestKind, Subscribed};
use crate::presence::Member;
use crate::roster::Entry;
use crate::shard::Shard;
use crate::subscriber::{Given, Replay, Subscription};
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{App, ChannelName, Earlier, OpId, Outcome, Reject, RejectCode, Since, Time, What};

impl<B: Broker + History> Shard<B> {
    /// Takes a subscription away, at once: `asked` is the operation that subscribed, `member` as it was given. Nothing is delivered from here on; `op` is answered
    /// when the channel's home knows. Returns whether there was a subscription. If it was still on its way, its operation is answered by a refusal.
    #[expect(clippy::too_many_arguments, reason = "a subscription's parts have no life of their own")]
    pub fn revoke(
        &mut self,
        now: Time,
        id: SubscriberId,
        (asked, why): (OpId, RejectCode),
        op: OpId,
        app: &Arc<App>,
        key: ChannelKey,
        member: Option<Arc<Member>>,
    ) -> bool {
        let established = !is_planted(Canary::RevokedStillHears) && self.end_subscription(id, &key);
        if !established && let Some(subscriber) = self.subscriber(id) {
            subscriber.revoke(asked, why);
        }
        self.unsubscribe(now, id, op, app, key, member);
        established
    }

    pub(crate) fn begin_subscription(&mut self, id: SubscriberId, subscribed: Subscribed) -> Outcome {
        let Subscribed { key, position, recovered, missed, cached, users, presence_serial, request } = subscribed;
        let has_cached = cached.is_some();
        if let Some(subscriber) = self.subscribers.get_mut(id.slot as usize) {
            // `recovered` promises a replay and its end, even if nothing was missed.
            let promised = recovered == Some(true);
            let replaying = promised || has_cached;
            let entry = Entry {
                slot: id.slot,
                serial: id.serial,
                format: subscriber.format,
                replaying: replaying && !is_planted(Canary::LiveOvertakesReplay),
                from: if request.only_presence { u64::MAX } else { position.offset },
                presence_from: presence_serial,
            };
            let (channel, index) = self.roster.add(&subscriber.app, &key, entry, position.offset);
            let earlier = match (request.since, &cached) {
                (Some(Since::Position(at)), _) if promised => Earlier::After(at.offset),
                (_, Some(cached)) => Earlier::Cached(cached.position.offset),
                _ => Earlier::Nothing,
            };
            let session = subscriber.session;
            for publication in missed.iter().filter(|publication| publication.exclude == Some(session)) {
                let offset = publication.position.offset;
                self.effects.remember(&key, (offset, offset), subscriber, What::Excluded);
            }
            let wanted = missed
                .into_iter()
                .filter(|publication| publication.exclude != Some(session) || is_planted(Canary::ExcludedReplayed));
            let replay = replaying.then(|| Box::new(Replay::new(wanted.collect(), cached, promised)));
            subscriber.add_subscription(Subscription {
                channel,
                index,
                began: position.offset,
                earlier: Given::new(earlier),
                member: request.member,
                replay,
            });
            if !is_planted(Canary::PatternBehindAnswer)
                && let Some(conflation) = &mut subscriber.conflation
            {
                // What waits for a pattern has neither this subscription's rate nor its policy, and would come among what is newer.
                conflation.forget(&key.channel);
            }
            if let Some(local) = self.roster.channels.get(channel as usize) {
                let rate = [local.options.rate, request.rate].into_iter().filter(|rate| *rate > 0).min().unwrap_or(0);
                if rate > 0 {
                    let conflation = subscriber.conflation.get_or_insert_default();
                    conflation.hold(local, rate);
                }
            }
            if replaying && !subscriber.replaying {
                subscriber.replaying = true;
                self.replaying.push_back(id.slot);
            }
        }
        Outcome::Subscribed { channel: key.channel, position, recovered, cached: has_cached, users }
    }

    /// Returns whether there was one.
    pub(crate) fn end_subscription(&mut self, id: SubscriberId, key: &ChannelKey) -> bool {
        let Some(number) = self.roster.find(key) else { return false };
        let Some(subscriber) = self.subscriber(id) else { return false };
        let Some(subscription) = subscriber.take_subscription(number) else { return false };
        if let Some(conflation) = &mut subscriber.conflation {
            conflation.forget(&key.channel);
        }
        self.roster.remove(number, subscription.index, &mut self.subscribers);
        true
    }

    /// Lets a closing subscriber go once nothing is pending: until then a subscription may still be on its way to it.
    pub(crate) fn finish_closing(&mut self, now: Time, id: SubscriberId) {
        let Some(subscriber) = self.subscriber(id) else { return };
        if !subscriber.closing || subscriber.pending > 0 {
            return;
        }
        let app = Arc::clone(&subscriber.app);
        for subscription in core::mem::take(&mut subscriber.subscriptions) {
            let Some(channel) = self.roster.channels.get(subscription.channel as usize) else { continue };
            let key = channel.key.clone();
            self.roster.remove(subscription.channel, subscription.index, &mut self.subscribers);
            let from = ReturnAddress { shard: self.config.id, caller: Caller::Subscriber(id), op: OpId(0), bytes: 0 };
            let kind = RequestKind::Unsubscribe {
                answer: false,
                member: subscription.member.filter(|_| !is_planted(Canary::LeaveLost)),
            };
            self.send_home(now, Request { key, app: Arc::clone(&app), from, kind });
        }
        let subscriber = self.subscriber(id);
        for pattern in subscriber.map(|subscriber| subscriber.patterns().to_vec()).unwrap_or_default() {
            self.forget_watcher(now, id, &app.id, &pattern);
        }
        self.subscribers.remove(id.slot as usize);
    }
}

/// A subscription was taken away before it was there.
pub(crate) fn revoked_early(channel: &ChannelName, why: RejectCode) -> Reject {
    let message = match why {
        RejectCode::Removed => format!("the application has ended the subscription to channel '{channel}'"),
        _ => format!("the right to subscribe to channel '{channel}' has ended"),
    };
    Reject::new(why, message)
}
