//! The answers to what a client has asked: what each of them must say, and which refusal holds.
//!
//! Owns the rights under which something was asked. Knows nothing of what comes unasked.

use super::{Asked, Checked, Conversation, News, Position, Request, Wanted, violation};
use crate::Violation;
use crate::message::{Code, Message};
use crate::plan::{OWN, Reading};
use crate::promises::{Begins, Slice, check_duplicate, check_history, is_position, options_of};
use crate::rights::{Right, Rights};
use crate::subscription::Phase;
use crate::truth::Truth;
use std::collections::BTreeSet;
use switchboard_core::Time;

impl Conversation {
    pub(super) fn handle_answer(&mut self, now: Time, truth: &Truth, message: &Message<'_>) -> Checked {
        let Some(id) = message.id else {
            if message.kind != "error" || self.nameless == 0 {
                return violation("client: an answer to nobody");
            }
            self.nameless -= 1;
            return Ok(());
        };
        let Some(asked) = self.pending.remove(&id) else {
            return violation("client: an answer twice, or to nothing that was asked");
        };
        self.seen.answers += 1;
        match message.kind {
            "error" => self.handle_error(now, message, asked),
            _ => self.handle_ok(now, truth, message, asked),
        }
    }

    fn handle_ok(&mut self, now: Time, truth: &Truth, message: &Message<'_>, asked: Asked) -> Checked {
        self.check_allowed(&asked)?;
        let position = message.position.as_ref().and_then(|position| Some((position.epoch()?, position.offset)));
        match asked.what {
            Request::Subscribe { channel, since } => {
                let Some((epoch, offset)) = position else { return violation("client: subscribed without a position") };
                let place = self.place(&channel);
                let may_resume = self.allows(asked.authentications, Right::History, &channel);
                let begins = Begins {
                    asked: asked.at,
                    since,
                    position: (epoch, offset),
                    recovered: message.recovered,
                    may_resume,
                };
                begins.check(truth, &place)?;
                self.seen.recovered += u64::from(message.recovered == Some(true));
                self.seen.lost += u64::from(message.recovered == Some(false) && may_resume);
                let Some(subscription) =
                    self.subscriptions.get_mut(&channel).filter(|known| known.phase == Phase::Asked)
                else {
                    return violation("client: subscribed to what had ended");
                };
                let options = options_of(&self.app, &channel);
                subscription.member = self.users.get(asked.authentications).cloned().flatten();
                let from = since.filter(|_| message.recovered == Some(true));
                subscription.begin((epoch, offset), from.map(|(_, offset)| offset));
                let recovered = message.recovered == Some(true);
                subscription.expect(truth, &place, self.name, &options, may_resume, recovered);
                let users = message.users.as_ref().map(|users| users.iter().map(|user| user.user.to_owned()).collect());
                subscription.list_users(users, self.app.limits.presence_users)
            }
            Request::Unsubscribe { channel } => {
                let Some(subscription) = self.subscriptions.remove(&channel) else {
                    return violation("client: unsubscribed twice");
                };
                self.watching.unname(now, &channel, subscription.position());
                self.left.insert(channel, subscription.position());
                Ok(())
            }
            Request::Watch { pattern } if self.rights.get(asked.authentications) == Some(&Rights::Nothing) => {
                Err(Violation::new("rights: a pattern for nobody", pattern))
            }
            Request::Watch { pattern } => self.watching.begin(now, &pattern),
            Request::Unwatch { pattern } => {
                self.watching.end(&pattern);
                Ok(())
            }
            Request::Publish { channel, wanted: Wanted { number, if_position, once, .. } } => {
                let place = self.place(&channel);
                let Some((epoch, offset)) = position else { return violation("client: published without a position") };
                let Some(record) = truth.at(&place, epoch, offset) else {
                    return violation("client: published at a place where nothing is");
                };
                if once.is_some() {
                    self.done.insert(number);
                }
                if message.duplicate == Some(true) {
                    return check_duplicate(truth, &place, (epoch, offset), asked.at, once.as_deref(), self.durable);
                }
                let on_time = record.at >= asked.at && record.at <= now;
                let on_condition = if_position
                    .is_none_or(|(wanted, at)| wanted == epoch && truth.between(&place, epoch, at, offset).is_empty());
                if record.number == number && on_time && on_condition {
                    return Ok(());
                }
                violation("client: published at a place where something else is")
            }
            Request::Signal { number, .. } => {
                let Some(sessions) = message.sessions else { return violation("signal: an answer without a count") };
                self.news.push(News::Signalled { number, sessions });
                Ok(())
            }
            Request::Presence { .. } => {
                let users: BTreeSet<&str> = message.users.iter().flatten().map(|user| user.user).collect();
                let count = message.users.as_ref().map_or(0, Vec::len);
                let sum: u64 = message.users.iter().flatten().map(|user| user.connections).sum();
                let all = count < self.app.limits.presence_users;
                if users.len() != count || message.connections.is_none_or(|total| total < sum || all && total != sum) {
                    return violation("client: presence that does not add up");
                }
                Ok(())
            }
            Request::History { channel, from, at, limit } => {
                let place = self.place(&channel);
                let Some(position) = position else { return violation("client: history without a position") };
                let Some(more) = message.more else { return violation("client: history without an end") };
                if !is_position(truth, &place, asked.at, position) {
                    return violation("history: at a position that is not the channel's");
                }
                let publications = message.publications.iter().flatten();
                let publications = publications.map(|publication| (publication.offset, publication.number())).collect();
                check_history(truth, &place, &Slice { publications, more, position }, (from, at), limit)
            }
            Request::Authenticate { rights, user, expired } => {
                if message.user != Some(&*user) || expired.is_some_and(|at| at <= asked.at) {
                    return violation("rights: a token that is not good was taken");
                }
                self.users.push(Some(user));
                self.named.push(true);
                self.rights.push(rights);
                self.watching.change_rights(now);
                self.expires = expired;
                Ok(())
            }
            Request::Ping => Ok(()),
            Request::Nonsense => violation("client: nonsense was taken for a request"),
        }
    }

    fn handle_error(&mut self, now: Time, message: &Message<'_>, asked: Asked) -> Checked {
        let Some(Code::Word(code)) = message.code else { return violation("client: an error without a code") };
        let is = message.position.as_ref().and_then(|position| Some((position.epoch()?, position.offset)));
        let refused_rightly = match code {
            "rate_limited" => self.app.limits.operations_per_second > 0,
            "permission_denied" => self.check_allowed(&asked).is_err() || self.has_lost_the_right(&asked),
            "unauthenticated" => self.rights.get(asked.authentications) == Some(&Rights::Nothing),
            "unknown_type" | "bad_request" | "bad_channel" => matches!(asked.what, Request::Nonsense),
            "limit_exceeded" => {
                matches!(asked.what, Request::Subscribe { .. } | Request::Watch { .. })
                    && self.subscriptions.len() + self.watching.len() > self.app.limits.channels
            }
            "history_lost" => match asked.what {
                // Before a position, less is kept, but it is not lost.
                Request::History { from: Reading::Before, at: Some(at), .. } => {
                    is.is_some_and(|is| is.0 != at.0 || is.1 < at.1)
                }
                Request::History { at, .. } => at.is_some(),
                _ => false,
            },
            "conflict" => match &asked.what {
                Request::Publish { wanted, .. } if self.done.contains(&wanted.number) => {
                    return violation("client: a publication that was acknowledged is in conflict with itself");
                }
                Request::Publish { wanted, .. } => {
                    wanted.if_position.is_some() && is.is_some() && is != wanted.if_position
                }
                _ => false,
            },
            "not_subscribed" => match &asked.what {
                Request::Unsubscribe { channel } => {
                    self.subscriptions.get(channel).is_none_or(|known| known.phase != Phase::Leaving)
                }
                _ => false,
            },
            "removed" => match &asked.what {
                Request::Subscribe { channel, .. } => {
                    self.news.push(News::Removed { channel: channel.clone() });
                    true
                }
                _ => false,
            },
            "unavailable" => self.durable && matches!(asked.what, Request::Publish { .. }),
            "bad_token" => matches!(asked.what, Request::Authenticate { expired: Some(at), .. } if at <= now),
            _ => false,
        };
        if !refused_rightly {
            return violation("client: refused for a reason that does not hold");
        }
        match asked.what {
            // A refused token leaves everything as it was.
            Request::Authenticate { .. } => {
                self.rights.extend(self.rights.last().copied());
                self.users.extend(self.users.last().cloned());
                self.named.extend(self.named.last().copied());
            }
            Request::Subscribe { channel, .. } => {
                self.subscriptions.remove(&channel);
                // It may have begun before it was refused.
                self.watching.unname(now, &channel, Position::default());
            }
            Request::Watch { pattern } => self.watching.end(&pattern),
            Request::Unwatch { pattern } => self.watching.stay(&pattern),
            Request::Unsubscribe { channel } => {
                if let Some(subscription) = self.subscriptions.get_mut(&channel)
                    && subscription.phase == Phase::Leaving
                {
                    subscription.phase = Phase::Live;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A token that came after the request may have taken its right away before the answer.
    fn has_lost_the_right(&self, asked: &Asked) -> bool {
        let Request::Subscribe { channel, .. } = &asked.what else { return false };
        (asked.authentications..self.rights.len()).any(|moment| !self.covers(moment, channel))
    }

    /// Whether the rights after so many `authenticate`s cover the subscription as it was asked for.
    pub(super) fn covers(&self, moment: usize, channel: &str) -> bool {
        let watches = self.subscriptions.get(channel).is_some_and(|subscription| subscription.watches);
        self.allows(moment, Right::Subscribe, channel) && (!watches || self.allows(moment, Right::Presence, channel))
    }

    /// Whether it may do this after so many `authenticate`s. Its user's own channel is no matter of grants.
    fn allows(&self, moment: usize, right: Right, channel: &str) -> bool {
        if channel == OWN {
            let reads = matches!(right, Right::Subscribe | Right::Presence | Right::History);
            return reads && self.named.get(moment) == Some(&true);
        }
        self.rights.get(moment).is_some_and(|rights| rights.allow(right, channel))
    }

    fn check_allowed(&self, asked: &Asked) -> Checked {
        // The answers to earlier `authenticate`s are here: they come at once.
        let moment = asked.authentications;
        if moment >= self.rights.len() {
            return Ok(());
        }
        let (right, channel) = match &asked.what {
            Request::Subscribe { channel, .. } => (Right::Subscribe, channel),
            Request::Publish { channel, .. } => (Right::Publish, channel),
            Request::Presence { channel } => (Right::Presence, channel),
            Request::History { channel, .. } => (Right::History, channel),
            Request::Signal { channel, .. } => (Right::Signal, channel),
            _ => return Ok(()),
        };
        if !self.allows(moment, right, channel) || matches!(right, Right::Subscribe) && !self.covers(moment, channel) {
            return violation("rights: done without the right");
        }
        Ok(())
    }
}
