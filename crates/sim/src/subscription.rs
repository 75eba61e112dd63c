//! One subscription as its client sees it: order, no duplicate, no silent gap, a replay that is complete, what stands for what, and who is there.

use crate::Violation;
use crate::conversation::{Checked, Position, violation};
use crate::truth::{Place, Record, Truth};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use switchboard_core::{ChannelOptions, ConflateBy, Overflow, SessionId, Time};

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

/// What was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) since: Option<Position>,
    pub(crate) presence: bool,
    /// Deliveries of each key in a second at most, or as many as there are.
    pub(crate) rate: u32,
    pub(crate) cached: bool,
}

/// A message as it came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Came {
    pub(crate) offset: u64,
    pub(crate) number: Option<u64>,
    /// Publications that it stands for.
    pub(crate) conflated: u64,
    /// The value that the channel kept for those who come.
    pub(crate) cached: bool,
}

type Key = Option<Arc<str>>;

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) phase: Phase,
    /// When it was asked for, which tells it from others to the same channel.
    pub(crate) asked: Time,
    /// When the answer came.
    pub(crate) answered: Option<Time>,
    wish: Wish,
    /// What is published may be replaced by what is newer.
    conflates: Option<ConflateBy>,
    /// Those that were passed over, by the key of what must come for them.
    skipped: BTreeMap<Key, u64>,
    /// Keys of which something was told to be missing: it may have stood for what was passed over, or not.
    vague: BTreeSet<Key>,
    /// Deliveries of each key since it began.
    delivered: BTreeMap<Key, u64>,
    /// The channel's cached values that may come first.
    may_come: Vec<u64>,
    /// The one that must.
    must_come: Option<u64>,
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
    pub(crate) fn new(asked: Time, wish: Wish) -> Self {
        let (epoch, last) = wish.since.unwrap_or_default();
        Self {
            phase: Phase::Asked,
            asked,
            answered: None,
            wish,
            conflates: None,
            skipped: BTreeMap::new(),
            vague: BTreeSet::new(),
            delivered: BTreeMap::new(),
            may_come: Vec::new(),
            must_come: None,
            watches: wish.presence,
            epoch,
            last,
            replay_until: None,
            member: None,
            users: None,
            heard: VecDeque::new(),
        }
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

    /// What it will be given besides, as the channel's options and its rights at that moment have it.
    pub(crate) fn expect(
        &mut self,
        truth: &Truth,
        place: &Place,
        name: SessionId,
        options: &ChannelOptions,
        may_read: bool,
        recovered: bool,
    ) {
        let rates = [self.wish.rate, options.rate];
        self.wish.rate = rates.into_iter().filter(|rate| *rate > 0).min().unwrap_or(0);
        let by_key = options.overflow == Overflow::KeepLatest || self.wish.rate > 0;
        self.conflates = by_key.then_some(options.conflate_by);
        let now = truth.now;
        self.answered = Some(now);
        let wants = options.cache || self.wish.cached && may_read;
        if recovered || !wants {
            return;
        }
        let values = truth.cached_between(place, self.asked, now);
        self.may_come = values.iter().flatten().map(|(number, _)| *number).collect();
        if !self.may_come.is_empty() {
            // What is published before the value has gone out comes behind it whole.
            self.take_at_once();
        }
        if let [Some((number, until))] = *values
            && until > now
            && truth.place_of(number).and_then(|(_, at)| truth.at(place, at.epoch.0, at.offset)?.exclude) != Some(name)
        {
            self.must_come = Some(number);
        }
    }

    pub(crate) fn list_users(&mut self, users: Option<Vec<String>>, limit: usize) -> Checked {
        if users.is_some() != self.watches {
            return violation("presence: a list without having asked, or the other way round");
        }
        self.users = users.filter(|users| users.len() < limit).map(|users| users.into_iter().collect());
        Ok(())
    }

    /// It is live, or goes on, from there: what it misses is not told to be complete.
    pub(crate) fn begin_at(&mut self, position: Position) {
        self.begin(position, None);
    }

    /// Whether a replay that is not at its end may bring this.
    pub(crate) fn is_missed(&self, offset: u64) -> bool {
        self.replay_until.is_some_and(|until| offset <= until)
    }

    /// Its end is asked for, and whether a message was by it or by a pattern cannot be told: what comes by it later comes behind that.
    pub(crate) fn go_on_behind(&mut self, offset: u64) {
        if self.phase == Phase::Leaving {
            self.last = self.last.max(offset);
        }
    }

    /// The channel's cached value may come later.
    pub(crate) fn may_lack_cached(&mut self) {
        self.must_come = None;
    }

    /// What comes is not live, and so as fast as it can.
    pub(crate) fn take_at_once(&mut self) {
        self.wish.rate = 0;
    }

    /// Everything up to a position has come.
    pub(crate) fn check_reached(&self, truth: &Truth, place: &Place, name: SessionId, position: Position) -> Checked {
        // What it is told to be missing does not move it.
        let last = self.heard.iter().rev().find(|(_, heard)| *heard == Heard::Message).map_or(0, |(offset, _)| *offset);
        if position.0 != self.epoch || position.1 < last {
            return Err(Violation::new(
                "poll: a position behind what came",
                format!("{position:?} after {}", self.last),
            ));
        }
        if let Some(number) = self.must_come {
            return Err(Violation::new("cached: the channel's value did not come", format!("{number}")));
        }
        match self.conflates {
            None => self.check_nothing_missing(truth, place, name, position.1 + 1),
            Some(_) => Ok(()),
        }
    }

    pub(crate) fn receive(&mut self, truth: &Truth, place: &Place, name: SessionId, came: Came) -> Checked {
        self.take(truth, place, name, came, true)
    }

    /// The same where a message need not say how many it stands for.
    pub(crate) fn receive_bare(&mut self, truth: &Truth, place: &Place, name: SessionId, came: Came) -> Checked {
        self.take(truth, place, name, came, false)
    }

    fn take(&mut self, truth: &Truth, place: &Place, name: SessionId, came: Came, counted: bool) -> Checked {
        let Came { offset, number, conflated, cached } = came;
        if self.phase == Phase::Asked {
            return violation("client: a message before the answer");
        }
        if cached {
            return self.receive_cached(truth, place, came);
        }
        self.check_cached()?;
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
        self.pass_over(truth, place, name, offset)?;
        self.last = offset;
        self.hears(offset, Heard::Message);
        let key = self.key_of(record);
        let stands_for = self.skipped.remove(&key).unwrap_or(0);
        let vague = self.vague.remove(&key);
        if counted && conflated != stands_for && !(vague && conflated < stands_for) {
            let message = format!("for {conflated}, {stands_for} of the key are missing");
            return Err(Violation::new("conflation: a message stands for another number", message));
        }
        self.check_rate(truth.now, key)
    }

    /// At most so many in a second, and the one that comes at once.
    fn check_rate(&mut self, now: Time, key: Key) -> Checked {
        if self.wish.rate == 0 || self.replay_until.is_some() {
            return Ok(());
        }
        let delivered = self.delivered.entry(key).or_default();
        *delivered += 1;
        let micros = now.as_micros() - self.asked.as_micros();
        if delivered.saturating_sub(2) * 1_000_000 > u64::from(self.wish.rate) * micros {
            let message = format!("{delivered} at {} a second after {micros} µs", self.wish.rate);
            return Err(Violation::new("conflation: more than the rate allows", message));
        }
        Ok(())
    }

    fn receive_cached(&mut self, truth: &Truth, place: &Place, came: Came) -> Checked {
        let is_there = |number: &u64| {
            truth.place_of(*number).is_some_and(|(known, at)| known == place && at.offset == came.offset)
        };
        let good = came.number.filter(|number| self.may_come.contains(number) && is_there(number));
        if good.is_none() || self.must_come.take().is_some_and(|wanted| Some(wanted) != good) {
            let message = format!("{came:?}, may come: {:?}", self.may_come);
            return Err(Violation::new("cached: another value than the channel's, or one at another moment", message));
        }
        self.may_come.clear();
        Ok(())
    }

    /// What the channel keeps for those who come is the first that they get.
    fn check_cached(&mut self) -> Checked {
        self.may_come.clear();
        match self.must_come.take() {
            None => Ok(()),
            Some(number) => Err(Violation::new("cached: the channel's value did not come", format!("{number}"))),
        }
    }

    fn key_of(&self, record: &Record) -> Key {
        record.key.clone().filter(|_| self.conflates == Some(ConflateBy::Key))
    }

    /// What lies before `before` and did not come: none of its business, or what something newer must stand for.
    fn pass_over(&mut self, truth: &Truth, place: &Place, name: SessionId, before: u64) -> Checked {
        if self.conflates.is_none() || self.replay_until.is_some() {
            return self.check_nothing_missing(truth, place, name, before);
        }
        for record in truth.between(place, self.epoch, self.last, before) {
            if record.exclude != Some(name) {
                *self.skipped.entry(self.key_of(record)).or_default() += 1;
            }
        }
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
        self.check_cached()?;
        self.pass_over(truth, place, name, from)?;
        let gone = truth.between(place, self.epoch, from - 1, to + 1).iter();
        let keys: Vec<Key> = gone.map(|record| self.key_of(record)).collect();
        self.vague.extend(keys);
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
        self.must_come.map_or(Ok(()), |number| {
            Err(Violation::new("cached: the channel's value did not come", format!("{number}")))
        })?;
        match self.skipped.iter().find(|(key, _)| !self.vague.contains(*key)) {
            None => self.check_nothing_missing(truth, place, name, u64::MAX),
            Some(skipped) => {
                Err(Violation::new("conflation: nothing came for what was passed over", format!("{skipped:?}")))
            }
        }
    }
}
