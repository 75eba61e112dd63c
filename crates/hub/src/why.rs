//! The answer to why: what every shard remembers of a publication, and how those who were asked for stand.
//!
//! Owns who is traced. Knows nothing of what the steps mean together: that is `switchboard_core::Trail`'s.

use crate::ChannelKey;
use crate::address::{Caller, ReturnAddress, ShardId};
use crate::broker::{Broker, History};
use crate::gather::Part;
use crate::mail::{Letter, Reply};
use crate::shard::Shard;
use crate::subscriber::Subscriber;
use crate::trace::in_order;
use std::sync::Arc;
use switchboard_core::{
    About, AppId, Earlier, OpId, Question, SessionId, Standing, Time, Trail, UserId, Whereabouts, Whom,
};

/// Steps of one answer, the latest; the steps of publications come before those of single subscribers.
const STEPS_MAX: usize = 1_000;

impl<B: Broker + History> Shard<B> {
    /// Asks what became of a publication. Whoever is named is traced from now on.
    pub fn why(&mut self, now: Time, caller: Caller, op: OpId, app: AppId, question: Question) {
        self.gathers.begin(caller, op, self.config.shards);
        let to = ReturnAddress { shard: self.config.id, caller, op, bytes: 0 };
        let asked = Arc::new((app, question));
        for home in (0..self.config.shards).map(ShardId) {
            self.send_to(now, home, Letter::Why { asked: Arc::clone(&asked), to });
        }
        self.route(now);
    }

    pub(crate) fn handle_why(&mut self, (app, question): &(AppId, Question), to: ReturnAddress) {
        let mut trail = Trail::default();
        if let Some(whom) = &question.whom {
            self.named.insert(app, whom);
            trail.standings = self.standings(app, &question.about, whom);
            trail.named = self.whereabouts(app, whom);
        }
        let whose = |session: SessionId| match &question.whom {
            None => true,
            Some(Whom::Session(asked)) => *asked == session,
            Some(Whom::User(_)) => trail.standings.iter().any(|standing| standing.session == session),
        };
        let rings = [&self.homes.trace, &self.effects.trace, &self.effects.trace_of_ones];
        let mut steps = Vec::new();
        for ring in rings {
            ring.find(self.config.id, app, &question.about, whose, &mut steps);
        }
        trail.steps = steps;
        // They are all on or all off. Of the time before the latest step that one of them has let go, not all is known.
        trail.since = rings.iter().filter_map(|ring| ring.since()).max();
        bound(&mut trail);
        self.homes.letters.push((to.shard, Letter::Reply { to, reply: Reply::Part(Part::Trail(Box::new(trail))) }));
    }

    /// How those who are meant stand on this shard, who are traced from now on.
    fn standings(&mut self, app: &AppId, about: &About, whom: &Whom) -> Vec<Standing> {
        let number = match about {
            About::Offset { channel, .. } => self.roster.find(&ChannelKey::new(app.clone(), channel.clone())),
            About::Id { .. } => None,
        };
        let mut standings = Vec::new();
        for (_, subscriber) in &mut self.subscribers {
            if subscriber.app.id != *app || !subscriber.is(whom) {
                continue;
            }
            subscriber.traced = true;
            let subscription = subscriber.subscriptions.iter().find(|known| Some(known.channel) == number);
            let entry = subscription.and_then(|subscription| {
                let channel = self.roster.channels.get(subscription.channel as usize)?;
                channel.entries.get(subscription.index as usize)
            });
            let only_presence = entry.is_some_and(|entry| entry.from == u64::MAX);
            standings.push(Standing {
                session: subscriber.session,
                // Who only watches presence is given no publication.
                began: subscription.filter(|_| !only_presence).map(|subscription| subscription.began),
                earlier: subscription.map_or(Earlier::Nothing, |subscription| subscription.earlier.earlier()),
                steady: !subscriber.has_left,
                handled: entry.map_or(0, |entry| entry.from),
                replaying: subscription.is_some_and(|subscription| subscription.replay.is_some()),
                patterns: subscriber.patterns().len(),
                waiting: subscriber.outbox.len(),
                given_up: subscriber.lost,
                traced: subscriber.drawn,
            });
            if standings.len() >= STEPS_MAX {
                break;
            }
        }
        standings
    }

    /// Where a session is that is asked for by its name, as far as this shard knows.
    fn whereabouts(&self, app: &AppId, whom: &Whom) -> Option<Whereabouts> {
        let Whom::Session(session) = whom else { return None };
        let (config, numbers) = (&self.config, self.config.first_serial..self.next_serial);
        let is_ours = session.node == config.node && session.shard == config.id.0;
        if !is_ours || !numbers.contains(&session.serial) {
            return Some(Whereabouts::Nowhere);
        }
        let there = self.subscribers.iter().find(|(_, subscriber)| subscriber.session == *session);
        Some(match there {
            Some((_, subscriber)) if subscriber.app.id == *app => Whereabouts::Here,
            Some(_) => Whereabouts::Nowhere,
            None => Whereabouts::Ended,
        })
    }

    /// Traces a subscriber that was drawn or named.
    pub(crate) fn trace(&mut self, slot: usize) {
        let sample = u64::from(self.config.portions.trace.sample);
        let is_on = self.effects.trace_of_ones.is_on();
        let Some(subscriber) = self.subscribers.get_mut(slot) else { return };
        subscriber.drawn = is_on && sample > 0 && subscriber.session.serial.is_multiple_of(sample);
        subscriber.traced |= subscriber.drawn || self.named.any(&subscriber.app.id, |whom| subscriber.is(whom));
    }
}

impl Subscriber {
    /// Whether it is meant: by its session, or as its token, presence or its being a guest name it.
    fn is(&self, whom: &Whom) -> bool {
        match whom {
            Whom::Session(session) => *session == self.session,
            Whom::User(user) => {
                let by_token = self.identity.as_ref().is_some_and(|identity| identity.user == *user);
                let members = self.subscriptions.iter().filter_map(|subscription| subscription.member.as_deref());
                let as_guest = || user.is_guest() && UserId::guest(self.session) == *user;
                by_token || members.into_iter().any(|member| member.user == *user) || as_guest()
            }
        }
    }
}

/// Puts an answer in order and within its bound.
pub(crate) fn bound(trail: &mut Trail) {
    trail.steps.sort_by(in_order);
    if trail.steps.len() > STEPS_MAX {
        trail.more = true;
        // What happened to the publication itself is little, and is what the rest hangs on.
        let mut spare = trail.steps.len() - STEPS_MAX;
        trail.steps.retain(|step| {
            let goes = spare > 0 && step.what.is_of_one();
            spare -= usize::from(goes);
            !goes
        });
    }
    trail.standings.sort_unstable_by_key(|standing| standing.session);
    if trail.standings.len() > STEPS_MAX {
        trail.more = true;
        trail.standings.truncate(STEPS_MAX);
    }
}

/// Adds one shard's part to what has come of the others.
pub(crate) fn merge(whole: &mut Trail, part: Trail, is_first: bool) {
    let Trail { steps, standings, named, since, more } = part;
    whole.named = whole.named.max(named);
    whole.steps.extend(steps);
    whole.standings.extend(standings);
    whole.more |= more;
    whole.since = match (whole.since, since) {
        (_, since) if is_first => since,
        (Some(known), Some(since)) => Some(known.max(since)),
        _ => None,
    };
    bound(whole);
}
