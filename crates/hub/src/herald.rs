//! What an application's own servers are told about the channels whose home is here, and how many subscribe to each.
//!
//! Owns when a channel counts as occupied and as vacated, how often its count is told, and the bounded queue of what the driver has not taken. Knows nothing of
//! who is told in the end. A channel of an application that wants nothing leaves no trace here.

use crate::address::ChannelKey;
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{App, AppId, Happened, Notice, NoticeKinds, Notices, Time, UserId};

/// Notices of one shard's homes, each channel's in order.
#[derive(Debug, Default)]
pub struct NoticeBatch {
    /// What happened.
    pub notices: Vec<Notice>,
    /// Others that found no room after these, and that nobody is told.
    pub lost: u64,
}

impl NoticeBatch {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.lost == 0
    }
}

#[derive(Debug)]
pub(crate) struct Herald {
    /// Applications that want something.
    apps: HashMap<AppId, Arc<App>, foldhash::fast::RandomState>,
    told: HashMap<ChannelKey, Told, foldhash::fast::RandomState>,
    timers: BTreeSet<(Time, ChannelKey, Timer)>,
    waiting: NoticeBatch,
    bytes: usize,
    bytes_max: usize,
    /// The next process tells who has left, since clients leave because this one ends.
    ends: bool,
    /// Counts for subscribers.
    counts: Vec<(ChannelKey, u64)>,
}

/// What is known of a channel that is occupied, or was until a moment ago.
#[derive(Debug, Default)]
struct Told {
    subscribers: u64,
    /// When it counts as vacated, unless somebody comes.
    vacates: Option<Time>,
    /// The count may be told again from then on.
    count_from: Time,
    /// It will be.
    count_waits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Count,
    Vacate,
}

impl Herald {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            apps: HashMap::default(),
            told: HashMap::default(),
            timers: BTreeSet::new(),
            waiting: NoticeBatch::default(),
            bytes: 0,
            bytes_max,
            ends: false,
            counts: Vec::new(),
        }
    }

    /// Whether nothing that happens to the application's channels is to be told. Takes note of what it wants now.
    pub(crate) fn ignores(&mut self, app: &Arc<App>) -> bool {
        let ignored = app.notices.wanted.is_empty() && !app.notices.count_for_subscribers;
        if ignored && self.apps.is_empty() {
            return true;
        }
        if ignored {
            self.apps.remove(&app.id);
        } else if self.apps.get(&app.id).is_none_or(|known| !Arc::ptr_eq(known, app)) {
            self.apps.insert(app.id.clone(), Arc::clone(app));
        }
        ignored
    }

    /// Somebody came; so many are there now. Users' own channels are nothing that an application knows.
    pub(crate) fn subscribed(&mut self, now: Time, key: &ChannelKey, subscribers: u64) {
        if key.channel.user().is_some() {
            return;
        }
        let new = !self.told.contains_key(key);
        let told = self.told.entry_ref(key).or_default();
        told.subscribers = subscribers;
        if let Some(at) = told.vacates.take()
            && !is_planted(Canary::VacatedAnyway)
        {
            self.timers.remove(&(at, key.clone(), Timer::Vacate));
        }
        if new {
            self.tell(now, key, Happened::Occupied);
        }
    }

    /// Somebody left; so many are there now. Users of the channel may still count as present until `present`.
    pub(crate) fn unsubscribed(&mut self, now: Time, key: &ChannelKey, subscribers: u64, present: Time) {
        if self.ends {
            return;
        }
        let Some(grace) = self.apps.get(&key.app).map(|app| app.notices.vacated_grace) else {
            // The application wants nothing any more.
            self.told.remove(key);
            return;
        };
        let Some(told) = self.told.get_mut(key) else { return };
        told.subscribers = subscribers;
        if subscribers == 0 && told.vacates.is_none() {
            // Users leave before their channel does.
            let at = (now + grace).max(present);
            told.vacates = Some(at);
            self.timers.insert((at, key.clone(), Timer::Vacate));
        }
        self.count(now, key);
        // Others whose time has come wait for their users, who leave with the clock.
        let due = self.told.get(key).and_then(|told| told.vacates).filter(|at| *at <= now);
        if let Some(at) = due {
            self.timers.remove(&(at, key.clone(), Timer::Vacate));
            self.vacated(now, key);
        }
    }

    /// The number of subscribers has changed: now is told how many there are, or when enough time has passed.
    pub(crate) fn count(&mut self, now: Time, key: &ChannelKey) {
        let Some(notices) = self.apps.get(&key.app).map(|app| &app.notices) else { return };
        let for_subscribers = notices.count_for_subscribers && key.channel.user().is_none();
        if !for_subscribers && !notices.of(&key.channel).contains(NoticeKinds::SUBSCRIPTION_COUNT) {
            return;
        }
        let Some(told) = self.told.get_mut(key) else { return };
        if told.count_from > now {
            self.count_later(key);
            return;
        }
        told.count_from = now + notices.count_interval;
        let is_lost = core::mem::take(&mut told.count_waits) && is_planted(Canary::CountForgotten);
        let subscribers = told.subscribers;
        if for_subscribers && subscribers > 0 && !is_lost {
            self.counts.push((key.clone(), subscribers));
        }
        self.tell(now, key, Happened::SubscriptionCount(subscribers));
    }

    /// A count is told, or told again, as soon as it may be.
    pub(crate) fn count_later(&mut self, key: &ChannelKey) {
        if let Some(told) = self.told.get_mut(key)
            && !core::mem::replace(&mut told.count_waits, true)
        {
            self.timers.insert((told.count_from, key.clone(), Timer::Count));
        }
    }

    /// A user came or left. Whoever has shown nothing is no user that an application knows.
    pub(crate) fn member(&mut self, now: Time, key: &ChannelKey, joined: bool, user: UserId) {
        if !user.is_guest() && (joined || !self.ends) {
            self.tell(now, key, if joined { Happened::MemberAdded(user) } else { Happened::MemberRemoved(user) });
        }
    }

    /// Queues a notice, if the application wants such. One that finds no room is lost, and counted.
    pub(crate) fn tell(&mut self, now: Time, key: &ChannelKey, what: Happened) {
        if !self.wants(key, what.kind()) {
            return;
        }
        let notice = Notice { app: key.app.clone(), channel: key.channel.clone(), at: now, what };
        let cost = notice.cost();
        // What comes behind a loss is lost too until the driver has taken all, so that the loss has its place in the order.
        if self.waiting.lost > 0 || self.bytes + cost > self.bytes_max {
            self.waiting.lost += 1;
            return;
        }
        self.bytes += cost;
        self.waiting.notices.push(notice);
    }

    pub(crate) fn wants(&self, key: &ChannelKey, kind: NoticeKinds) -> bool {
        let wanted = |notices: &Notices| notices.of(&key.channel).contains(kind);
        !self.apps.is_empty()
            && key.channel.user().is_none()
            && self.apps.get(&key.app).is_some_and(|app| wanted(&app.notices))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.timers.first().filter(|_| !self.ends).map(|(at, ..)| *at)
    }

    /// Does what is due. Users whose grace ends now must have left already.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        while !self.ends
            && let Some((at, ..)) = self.timers.first()
            && *at <= now
        {
            let Some((_, key, timer)) = self.timers.pop_first() else { break };
            match timer {
                Timer::Count => self.count(now, &key),
                Timer::Vacate => self.vacated(now, &key),
            }
        }
    }

    fn vacated(&mut self, now: Time, key: &ChannelKey) {
        let told = self.told.remove(key);
        if let Some(told) = told.filter(|told| told.count_waits) {
            self.timers.remove(&(told.count_from, key.clone(), Timer::Count));
            self.tell(now, key, Happened::SubscriptionCount(0));
        }
        self.tell(now, key, Happened::Vacated);
    }

    /// From now on clients leave because the process ends, and whoever comes after it knows what was told: that they have left is not told.
    pub(crate) fn end(&mut self) {
        self.ends = true;
    }

    /// What the driver shall take to whoever tells the servers.
    pub(crate) fn take(&mut self) -> NoticeBatch {
        self.bytes = 0;
        core::mem::take(&mut self.waiting)
    }

    pub(crate) fn has_notices(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next count that a channel's subscribers are told.
    pub(crate) fn poll_count(&mut self) -> Option<(ChannelKey, u64)> {
        self.counts.pop()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use core::time::Duration;
    use switchboard_core::ChannelName;

    const SECOND: Duration = Duration::from_secs(1);

    fn app(kinds: NoticeKinds) -> Arc<App> {
        let notices = Notices { wanted: vec![("".into(), kinds)], ..Notices::default() };
        Arc::new(App { notices, ..App::new(AppId::new("a")) })
    }

    fn herald(kinds: NoticeKinds) -> (Herald, ChannelKey) {
        let mut herald = Herald::new(10_000);
        assert!(!herald.ignores(&app(kinds)));
        (herald, ChannelKey::new(AppId::new("a"), ChannelName::parse("c").unwrap()))
    }

    fn taken(herald: &mut Herald) -> Vec<(u64, Happened)> {
        herald.take().notices.into_iter().map(|notice| (notice.at.as_millis(), notice.what)).collect()
    }

    fn subscribed(herald: &mut Herald, now: Time, key: &ChannelKey, subscribers: u64) {
        herald.subscribed(now, key, subscribers);
        herald.count(now, key);
    }

    #[test]
    fn who_returns_within_the_grace_has_not_vacated_the_channel() {
        let (mut herald, key) = herald(NoticeKinds::OCCUPIED | NoticeKinds::VACATED);
        let now = Time::from_secs(1);
        subscribed(&mut herald, now, &key, 1);
        subscribed(&mut herald, now, &key, 2);
        herald.unsubscribed(now, &key, 1, now);
        assert_eq!(herald.poll_timeout(), None);
        herald.unsubscribed(now, &key, 0, now);
        assert_eq!(herald.poll_timeout(), Some(Time::from_secs(6)));
        herald.handle_timeout(Time::from_millis(5_999));
        subscribed(&mut herald, Time::from_millis(5_999), &key, 1);
        assert_eq!(herald.poll_timeout(), None);
        herald.handle_timeout(Time::from_secs(99));
        assert_eq!(taken(&mut herald), [(1_000, Happened::Occupied)]);
        herald.unsubscribed(Time::from_secs(99), &key, 0, Time::from_secs(120));
        // Users leave first.
        assert_eq!(herald.poll_timeout(), Some(Time::from_secs(120)));
        herald.handle_timeout(Time::from_secs(120));
        subscribed(&mut herald, Time::from_secs(121), &key, 1);
        assert_eq!(taken(&mut herald), [(120_000, Happened::Vacated), (121_000, Happened::Occupied)]);
    }

    #[test]
    fn one_channel_that_is_left_does_not_vacate_another_before_its_users_have_left() {
        let (mut herald, key) = herald(NoticeKinds::OCCUPIED | NoticeKinds::VACATED);
        let other = ChannelKey::new(AppId::new("a"), ChannelName::parse("d").unwrap());
        let at = Time::from_secs;
        subscribed(&mut herald, at(1), &key, 1);
        subscribed(&mut herald, at(1), &other, 1);
        herald.unsubscribed(at(2), &key, 0, at(9));
        // The clock is late, and its users are still to be told of.
        herald.unsubscribed(at(10), &other, 0, at(10));
        let told = taken(&mut herald);
        assert!(!told.iter().any(|(_, what)| *what == Happened::Vacated), "{told:?}");
        herald.handle_timeout(at(10));
        assert_eq!(taken(&mut herald), [(10_000, Happened::Vacated)]);
    }

    #[test]
    fn counts_are_told_at_once_and_then_as_often_as_the_interval_allows_and_the_last_always() {
        let (mut herald, key) = herald(NoticeKinds::SUBSCRIPTION_COUNT | NoticeKinds::VACATED);
        let now = Time::from_secs(1);
        for count in 1..=5 {
            subscribed(&mut herald, now, &key, count);
        }
        assert_eq!(taken(&mut herald), [(1_000, Happened::SubscriptionCount(1))]);
        herald.handle_timeout(now + SECOND);
        assert_eq!(taken(&mut herald), [(2_000, Happened::SubscriptionCount(5))]);
        herald.handle_timeout(now + 9 * SECOND);
        assert_eq!(taken(&mut herald), []);
        let late = now + 10 * SECOND;
        herald.unsubscribed(late, &key, 4, late);
        herald.unsubscribed(late, &key, 0, late);
        assert_eq!(taken(&mut herald), [(11_000, Happened::SubscriptionCount(4))]);
        herald.handle_timeout(late + SECOND);
        assert_eq!(taken(&mut herald), [(12_000, Happened::SubscriptionCount(0))]);
        herald.handle_timeout(late + 5 * SECOND);
        assert_eq!(taken(&mut herald), [(16_000, Happened::Vacated)]);
        assert!(herald.told.is_empty() && herald.timers.is_empty());
    }

    #[test]
    fn what_finds_no_room_is_counted_at_its_place() {
        let (mut herald, key) = herald(NoticeKinds::CACHE_MISS);
        let cost = Notice {
            app: key.app.clone(),
            channel: key.channel.clone(),
            at: Time::default(),
            what: Happened::CacheMiss,
        }
        .cost();
        herald.bytes_max = 2 * cost;
        for _ in 0..5 {
            herald.tell(Time::default(), &key, Happened::CacheMiss);
        }
        let batch = herald.take();
        assert_eq!((batch.notices.len(), batch.lost), (2, 3));
        herald.tell(Time::default(), &key, Happened::CacheMiss);
        let batch = herald.take();
        assert_eq!((batch.notices.len(), batch.lost), (1, 0));
    }

    #[test]
    fn an_application_that_wants_nothing_any_more_leaves_nothing_behind() {
        let (mut herald, key) = herald(NoticeKinds::ALL);
        subscribed(&mut herald, Time::from_secs(1), &key, 1);
        herald.take();
        assert!(herald.ignores(&Arc::new(App::new(AppId::new("a")))));
        herald.unsubscribed(Time::from_secs(2), &key, 0, Time::from_secs(2));
        herald.handle_timeout(Time::from_secs(99));
        assert!(herald.told.is_empty() && herald.timers.is_empty() && !herald.has_notices());
        let mut herald = Herald::new(0);
        assert!(herald.ignores(&Arc::new(App::new(AppId::new("a")))) && herald.apps.is_empty());
    }
}
