//! What a shard remembers of publications, for whoever asks why: two rings, bounded in number, of what happened to publications and of what happened to
//! single subscribers.
//!
//! Of a publication it remembers what happened at its home and, for each run of a walk, how many were given it; of every subscriber what is out of the
//! ordinary; of those who are traced everything. Off, each of these places costs a branch.

use crate::address::{ChannelKey, ReturnAddress, ShardId};
use core::cmp::Ordering;
use std::collections::VecDeque;
use switchboard_core::{About, AppId, Epoch, Position, SessionId, Step, Time, What, Whom};

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceOptions {
    /// Steps that each ring holds; 0 remembers nothing.
    pub steps: usize,
    /// One session in so many is traced; 0 none.
    pub sample: u32,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self { steps: 4_096, sample: 0 }
    }
}

/// One ring.
#[derive(Debug)]
pub(crate) struct Ring {
    steps: VecDeque<Traced>,
    max: usize,
    /// The latest step that it has let go.
    forgotten: Option<Time>,
}

#[derive(Debug)]
struct Traced {
    at: Time,
    key: Option<ChannelKey>,
    first: u64,
    last: u64,
    epoch: Option<Epoch>,
    session: Option<SessionId>,
    /// Ties what was asked to what came of it.
    origin: Option<ReturnAddress>,
    what: What,
}

impl Ring {
    pub(crate) const fn new(max: usize) -> Self {
        Self { steps: VecDeque::new(), max, forgotten: None }
    }

    /// Whether anything is remembered.
    #[inline]
    pub(crate) const fn is_on(&self) -> bool {
        self.max > 0
    }

    /// Remembers what happened to some publications of a channel, if anything is.
    #[inline]
    pub(crate) fn add(
        &mut self,
        now: Time,
        key: &ChannelKey,
        (first, last): (u64, u64),
        session: Option<SessionId>,
        what: What,
    ) {
        if self.is_on() {
            let key = Some(key.clone());
            self.push(Traced { at: now, key, first, last, epoch: None, session, origin: None, what });
        }
    }

    /// The same at the home, where somebody asked for it. A refusal does not know its channel.
    #[inline]
    pub(crate) fn add_asked(
        &mut self,
        now: Time,
        key: Option<&ChannelKey>,
        place: Option<Position>,
        (origin, node): (Option<ReturnAddress>, u32),
        what: What,
    ) {
        if self.is_on() {
            let session = origin.and_then(|origin| origin.session(node));
            let (offset, epoch) = place.map_or((0, None), |place| (place.offset, Some(place.epoch)));
            let key = key.cloned();
            self.push(Traced { at: now, key, first: offset, last: offset, epoch, session, origin, what });
        }
    }

    fn push(&mut self, step: Traced) {
        if self.steps.len() >= self.max {
            self.forgotten = self.steps.pop_front().map(|step| step.at);
        }
        self.steps.push_back(step);
    }

    /// The time from which on everything is remembered.
    pub(crate) fn since(&self) -> Option<Time> {
        let next = |at: Time| Time::from_micros(at.as_micros() + 1);
        self.is_on().then(|| self.forgotten.map_or(Time::default(), next))
    }

    /// What it remembers of a publication, oldest first. `whose` narrows what concerns single subscribers.
    pub(crate) fn find(
        &self,
        shard: ShardId,
        app: &AppId,
        about: &About,
        whose: impl Fn(SessionId) -> bool,
        out: &mut Vec<Step>,
    ) {
        match about {
            About::Offset { channel, offset } => {
                // What was only asked for has no offset yet.
                let of_it = |step: &&Traced| step.first <= *offset && *offset <= step.last && *offset > 0;
                let here =
                    |step: &&Traced| step.key.as_ref().is_some_and(|key| key.channel == *channel && key.app == *app);
                let wanted = |step: &&Traced| !step.what.is_of_one() || step.session.is_none_or(&whose);
                let steps = self.steps.iter().filter(of_it).filter(here).filter(wanted);
                out.extend(steps.filter_map(|step| step.told(shard, None)));
            }
            About::Id { id, channel } => {
                for (index, asked) in self.steps.iter().enumerate() {
                    let What::Asked { id: known } = &asked.what else { continue };
                    let Some(key) = &asked.key else { continue };
                    if **known != **id || key.app != *app || channel.as_ref().is_some_and(|name| *name != key.channel) {
                        continue;
                    }
                    out.extend(asked.told(shard, None));
                    let came = |step: &&Traced| step.origin == asked.origin && !matches!(step.what, What::Asked { .. });
                    let came = self.steps.iter().skip(index + 1).find(came);
                    out.extend(came.and_then(|step| step.told(shard, Some(key))));
                }
            }
        }
    }
}

impl Traced {
    fn told(&self, shard: ShardId, key: Option<&ChannelKey>) -> Option<Step> {
        let key = self.key.as_ref().or(key)?;
        Some(Step {
            at: self.at,
            shard: shard.0,
            app: key.app.clone(),
            channel: key.channel.clone(),
            first: self.first,
            last: self.last,
            epoch: self.epoch,
            session: self.session,
            what: self.what.clone(),
        })
    }
}

/// Who is traced besides those who are drawn: who was asked about, the latest of them.
#[derive(Debug)]
pub(crate) struct Named(VecDeque<(AppId, Whom)>);

/// Those who are asked about beyond that are forgotten, the first of them first.
const NAMED_MAX: usize = 64;

impl Named {
    pub(crate) const fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(crate) fn insert(&mut self, app: &AppId, whom: &Whom) {
        let entry = (app.clone(), whom.clone());
        if self.0.contains(&entry) {
            return;
        }
        if self.0.len() >= NAMED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    /// Whether somebody is named, by whatever test tells.
    pub(crate) fn any(&self, app: &AppId, is: impl Fn(&Whom) -> bool) -> bool {
        self.0.iter().any(|(known, whom)| known == app && is(whom))
    }
}

/// Steps in the order of their times; at the same time in the order of a publication's way. What one shard remembers stays as it is.
pub(crate) fn in_order(a: &Step, b: &Step) -> Ordering {
    let stage = |step: &Step| match step.what {
        What::Missing | What::FannedOut { .. } => 1,
        ref what if what.is_of_one() => 2,
        _ => 0,
    };
    (a.at, stage(a), a.shard).cmp(&(b.at, stage(b), b.shard))
}
