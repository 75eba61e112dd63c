//! What travels between homes and shards: requests to a channel's home, its letters back, and the mail of both where that is another shard.
//!
//! Owns the order in which letters are handled, and what becomes of those for which a mailbox has no room. Knows nothing of what is encoded or written.

use crate::address::{Caller, ReturnAddress, ShardId};
use crate::broker::{Broker, History};
use crate::mail::{Letter, Mail, Reply, Request, RequestKind};
use crate::shard::Shard;
use crate::subscriptions::revoked_early;
use switchboard_core::{Outcome, Time, What};

/// A list of more letters is not kept for the next ones.
const LETTERS_KEPT: usize = 256;

impl<B: Broker + History> Shard<B> {
    /// Takes mail from another shard.
    pub fn receive_mail(&mut self, now: Time, mail: Mail) {
        self.handle_letter(now, mail.0);
        self.route(now);
    }

    /// The mail for another shard. Call it when the way there has room: what does not fit is kept as positions, not as copies.
    pub fn take_mail(&mut self, now: Time, to: ShardId) -> Vec<Mail> {
        let Some(outgoing) = self.outgoing.get_mut(to.0 as usize) else { return Vec::new() };
        while outgoing.has_room()
            && let Some(key) = outgoing.next_behind()
        {
            let (letters, complete) = self.homes.catch_up(now, &key, to);
            letters.into_iter().for_each(|letter| outgoing.push(letter));
            if !complete {
                outgoing.mark_behind(key);
            }
        }
        outgoing.take()
    }

    /// Whether there is mail for that shard.
    pub fn has_mail(&self, to: ShardId) -> bool {
        self.outgoing.get(to.0 as usize).is_some_and(|outgoing| !outgoing.is_empty())
    }

    pub(crate) fn send_home(&mut self, now: Time, request: Request) {
        let home = request.key.home(self.config.shards);
        if home == self.config.id {
            self.handle_request(now, request);
            self.route(now);
        } else {
            self.send_to(now, home, Letter::Request(Box::new(request)));
        }
    }

    fn handle_request(&mut self, now: Time, request: Request) {
        self.publications += u64::from(matches!(request.kind, RequestKind::Publish { .. }));
        self.effects.now = now;
        self.homes.handle(now, request);
    }

    /// Hands a letter to this shard, or to the mail. What handling it makes is left to [`route`](Self::route).
    pub(crate) fn send_to(&mut self, now: Time, to: ShardId, letter: Letter) {
        if to == self.config.id {
            self.handle_letter(now, letter);
        } else if let Some(outgoing) = self.outgoing.get_mut(to.0 as usize) {
            outgoing.push(letter);
        }
    }

    /// Takes the homes' letters to this shard or into the mail. Handling one may make others.
    pub(crate) fn route(&mut self, now: Time) {
        self.homes.send_counts();
        while !self.homes.letters.is_empty() || !self.homes.controls.is_empty() {
            for request in core::mem::take(&mut self.homes.controls) {
                self.send_control(now, &request);
            }
            // The list is used again: there is one for each publication.
            let mut letters = core::mem::replace(&mut self.homes.letters, core::mem::take(&mut self.routed));
            for (to, letter) in letters.drain(..) {
                if to == self.config.id {
                    self.handle_letter(now, letter);
                } else {
                    self.post(now, to, letter);
                }
            }
            if letters.capacity() <= LETTERS_KEPT {
                self.routed = letters;
            }
        }
    }

    fn post(&mut self, now: Time, to: ShardId, letter: Letter) {
        let Some(outgoing) = self.outgoing.get_mut(to.0 as usize) else { return };
        if matches!(letter, Letter::DeliverWatched { .. }) && !outgoing.has_room() {
            outgoing.lose_watched();
            return;
        }
        if let Letter::Count { key, .. } = &letter
            && !outgoing.has_room()
        {
            self.homes.herald.count_later(key);
            return;
        }
        if let Letter::Presence { key, .. } = &letter
            && !outgoing.has_room()
        {
            outgoing.lose_presence(key.clone());
            return;
        }
        if let Letter::Deliver { key, publication } = &letter {
            if self.homes.is_behind(key, to) {
                let offset = publication.position.offset;
                self.homes.trace.add(now, key, (offset, offset), None, What::Behind { shard: to.0 });
                return;
            }
            if !outgoing.has_room() {
                let offset = publication.position.offset;
                if self.homes.fall_behind(key, to, offset) {
                    outgoing.mark_behind(key.clone());
                }
                self.homes.trace.add(now, key, (offset, offset), None, What::Behind { shard: to.0 });
                return;
            }
        }
        outgoing.push(letter);
    }

    pub(crate) fn handle_letter(&mut self, now: Time, letter: Letter) {
        self.effects.now = now;
        match letter {
            Letter::Request(request) => self.handle_request(now, *request),
            Letter::Reply { to, reply } => self.handle_reply(now, to, reply),
            Letter::Deliver { key, publication } => {
                if let Some(lost) = self.roster.enqueue(&key, publication) {
                    self.losses += 1;
                    self.effects.trace.add(now, &key, lost, None, What::Missing);
                }
            }
            Letter::DeliverWatched { key, publication } => self.watchers.enqueue(key, publication, &mut self.roster),
            Letter::WatchedLost => self.lose_watchers(),
            Letter::Watch { app, pattern, shard, to } => self.handle_watch(&app, pattern, shard, to),
            Letter::Control(request) => self.handle_control(request),
            Letter::List { listing, to } => self.handle_list(&listing, to),
            Letter::Why { asked, to } => self.handle_why(&asked, to),
            Letter::Check { key, shard } => self.answer_check(key, shard),
            Letter::Checked { key, offset } => self.compare(&key, offset),
            Letter::Presence { key, change } => self.roster.enqueue_change(&key, change),
            Letter::PresenceLost { key } => self.lose_presence(&key),
            Letter::Count { key, count } => self.roster.enqueue_count(&key, count),
            Letter::Gap { key, from, to } => {
                self.effects.trace.add(now, &key, (from, to), None, What::Missing);
                self.roster.enqueue_gap(&key, from, to);
            }
        }
    }

    fn handle_reply(&mut self, now: Time, to: ReturnAddress, mut reply: Reply) {
        if let Reply::Part(part) = reply {
            let Some(whole) = self.gathers.add(to.caller, to.op, part) else { return };
            reply = Reply::Outcome(whole);
        } else if matches!(reply, Reply::Outcome(Outcome::Rejected(_))) {
            self.gathers.abandon(to.caller, to.op);
        }
        self.unanswered -= to.bytes as usize;
        let Caller::Subscriber(id) = to.caller else {
            if let Reply::Outcome(outcome) = reply {
                self.answers.push_back((to.caller, to.op, outcome));
            }
            return;
        };
        let Some(subscriber) = self.subscriber(id) else { return };
        subscriber.pending -= 1;
        let revoked = subscriber.take_revoked(to.op);
        let outcome = match reply {
            Reply::Subscribed(subscribed) => match revoked {
                Some(code) => Some(Outcome::Rejected(revoked_early(&subscribed.key.channel, code))),
                None => {
                    self.checks.begin(now, self.config.portions.position_check);
                    Some(self.begin_subscription(id, *subscribed))
                }
            },
            Reply::Unsubscribed { key } => {
                // It may have been revoked before.
                let _ = self.end_subscription(id, &key);
                Some(Outcome::Unsubscribed { channel: key.channel })
            }
            Reply::Watched { pattern } => self.handle_watched(id, to.op, pattern),
            Reply::Outcome(outcome) => Some(outcome),
            // It was put together above.
            Reply::Part(_) => None,
        };
        if self.subscriber(id).is_some_and(|subscriber| subscriber.closing) {
            self.finish_closing(now, id);
        } else if let Some(outcome) = outcome {
            self.answers.push_back((to.caller, to.op, outcome));
        }
    }
}
