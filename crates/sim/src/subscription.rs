//! One subscription as its client sees it: order, no duplicate, no silent gap, a replay that is complete, and who is there.

use crate::Violation;
use crate::conversation::{Checked, Position, violation};
use crate::truth::{Place, Truth};
use std::collections::{BTreeSet, VecDeque};
use switchboard_core::SessionId;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Asked for, not answered.
    Asked,
    Live,
    /// Its end is asked for.
    Leaving,
}

/// What it was told of an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Message,
    /// That it will not get it.
    Gap,
}

/// Offsets of which is remembered what was heard.
const HEARD_MAX: usize = 16;

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) phase: Phase,
    /// It asked for presence.
    pub(crate) watches: bool,
    epoch: u64,
    /// The last offset that it has, or was told it will not get.
    last: u64,
    /// A replay was promised up to here.
    replay_until: Option<u64>,
    /// As presence counts it.
    pub(crate) member: Option<String>,
    /// Who is there, if it knows all of them.
    pub(crate) users: Option<BTreeSet<String>>,
    /// The last that was heard.
    pub(crate) heard: VecDeque<(u64, Heard)>,
}

impl Subscription {
    pub(crate) fn new(since: Option<Position>, watches: bool) -> Self {
        let (epoch, last) = since.unwrap_or_default();
        let heard = VecDeque::new();
        Self { phase: Phase::Asked, watches, epoch, last, replay_until: None, member: None, users: None, heard }
    }

    fn hears(&mut self, offset: u64, heard: Heard) {
        if self.heard.len() >= HEARD_MAX {
            self.heard.pop_front();
        }
        self.heard.push_back((offset, heard));
    }

    pub(crate) fn position(&self) -> Position {
        (self.epoch, self.last)
    }

    /// It is answered: live from `position`, or a replay from `from` first.
    pub(crate) fn begin(&mut self, position: Position, from: Option<u64>) {
        self.phase = Phase::Live;
        self.epoch = position.0;
        self.last = from.unwrap_or(position.1);
        self.replay_until = from.map(|_| position.1);
    }

    pub(crate) fn list_users(&mut self, users: Option<Vec<String>>, limit: usize) -> Checked {
        if users.is_some() != self.watches {
            return violation("presence: a list without having asked, or the other way round");
        }
        self.users = users.filter(|users| users.len() < limit).map(|users| users.into_iter().collect());
        Ok(())
    }

    pub(crate) fn receive(
        &mut self,
        truth: &Truth,
        place: &Place,
        name: SessionId,
        offset: u64,
        number: Option<u64>,
    ) -> Checked {
        if self.phase == Phase::Asked {
            return violation("client: a message before the answer");
        }
        let Some(record) = truth.at(place, self.epoch, offset) else {
            return violation("client: a message that nobody published");
        };
        if Some(record.number) != number {
            return violation("client: another message than was published there");
        }
        if record.exclude == Some(name) {
            return violation("client: a message from which it is excluded");
        }
        if offset <= self.last {
            return Err(Violation::new("client: a message twice or too late", format!("after {}", self.last)));
        }
        self.check_nothing_missing(truth, place, name, offset)?;
        self.last = offset;
        self.hears(offset, Heard::Message);
        Ok(())
    }

    /// All between the last and `before` must be none of its business.
    fn check_nothing_missing(&self, truth: &Truth, place: &Place, name: SessionId, before: u64) -> Checked {
        let between = truth.between(place, self.epoch, self.last, before);
        match between.iter().find(|record| record.exclude != Some(name)) {
            None => Ok(()),
            Some(missing) => {
                let message = format!("it had {} and misses {missing:?}", self.last);
                Err(Violation::new("client: a silent gap", message))
            }
        }
    }

    pub(crate) fn gap(&mut self, truth: &Truth, place: &Place, name: SessionId, from: u64, to: u64) -> Checked {
        if from > to || from <= self.last || self.phase == Phase::Asked {
            let message = format!("after {}: {from} to {to}", self.last);
            return Err(Violation::new("client: a gap that is none, or told too late", message));
        }
        self.check_nothing_missing(truth, place, name, from)?;
        self.last = to;
        [from, to].into_iter().for_each(|offset| self.hears(offset, Heard::Gap));
        Ok(())
    }

    pub(crate) fn caught_up(&mut self, truth: &Truth, place: &Place, name: SessionId) -> Checked {
        let Some(until) = self.replay_until.take() else {
            return violation("client: caught up without a replay");
        };
        self.check_nothing_missing(truth, place, name, until + 1)?;
        self.last = self.last.max(until);
        Ok(())
    }

    pub(crate) fn presence_changed(&mut self, joined: bool, user: &str) -> Checked {
        if !self.watches || self.phase == Phase::Asked {
            return violation("presence: a change without having asked");
        }
        let Some(users) = &mut self.users else { return Ok(()) };
        let changed = if joined { users.insert(user.to_owned()) } else { users.remove(user) };
        if changed { Ok(()) } else { violation("presence: who is there came, or who is not there left") }
    }

    pub(crate) fn check_quiet(&self, truth: &Truth, place: &Place, name: SessionId) -> Checked {
        if self.phase != Phase::Live || self.replay_until.is_some() {
            return Err(Violation::new("client: never finished", format!("{self:?}")));
        }
        self.check_nothing_missing(truth, place, name, u64::MAX)
    }
}
