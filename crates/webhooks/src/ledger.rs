//! What the servers have been told is so: which channels are occupied, and who is on them.
//!
//! Owns what becomes of it when the process ends. The next one has not seen who was there, and clients come back within moments: what is so again by then is not told
//! again, and what is not is told as over. Knows nothing of webhooks.

use core::time::Duration;
use std::collections::BTreeMap;
use switchboard_core::{AppId, ChannelName, Happened, Notice, NoticeKinds, Time, UserId};

/// A channel is occupied, or a user is on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// The application.
    pub app: AppId,
    /// The channel.
    pub channel: ChannelName,
    /// Who is on it; `None` for that it is occupied.
    pub user: Option<UserId>,
}

impl Fact {
    /// That it is so no longer.
    pub(crate) fn over(self, at: Time) -> Notice {
        let what = self.user.map_or(Happened::Vacated, Happened::MemberRemoved);
        Notice { app: self.app, channel: self.channel, at, what }
    }

    fn cost(&self) -> usize {
        let user = self.user.as_ref().map_or(0, |user| user.as_str().len());
        self.app.as_str().len() + self.channel.as_str().len() + user + OVERHEAD
    }
}

/// What a fact takes in the file beside its names.
const OVERHEAD: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// A channel comes before its users.
    facts: BTreeMap<Fact, Seen>,
    /// When what only the last process has seen is over.
    settles: Option<Time>,
    bytes: usize,
}

/// By whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Before,
    Now,
}

/// What a notice means for what was told before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing: it is just told.
    Passing,
    /// It is told, and so from now on.
    Begins(Fact),
    /// It is told, and so no longer.
    Ends(Fact),
    /// It was told already.
    Known,
}

impl Ledger {
    /// Takes up what the last process had told.
    pub(crate) fn restore(&mut self, now: Time, facts: impl Iterator<Item = Fact>, grace: Duration) {
        for fact in facts {
            self.bytes += fact.cost();
            self.facts.insert(fact, Seen::Before);
        }
        self.settles = (!self.facts.is_empty()).then(|| now + grace);
    }

    /// `wanted`: what anybody is told of the channel. Where they are not told of both the beginning and the end, nothing can be kept in mind.
    pub(crate) fn handle(&mut self, notice: &Notice, wanted: NoticeKinds) -> News {
        let life = NoticeKinds::OCCUPIED | NoticeKinds::VACATED;
        let people = NoticeKinds::MEMBER_ADDED | NoticeKinds::MEMBER_REMOVED;
        let (begins, both, user) = match &notice.what {
            Happened::Occupied => (true, life, None),
            Happened::Vacated => (false, life, None),
            Happened::MemberAdded(user) => (true, people, Some(user.clone())),
            Happened::MemberRemoved(user) => (false, people, Some(user.clone())),
            Happened::ClientEvent { .. } | Happened::CacheMiss | Happened::SubscriptionCount(_) => {
                return News::Passing;
            }
        };
        if !wanted.contains(both) {
            return News::Passing;
        }
        let fact = Fact { app: notice.app.clone(), channel: notice.channel.clone(), user };
        if !begins {
            return match self.facts.remove(&fact) {
                Some(_) => {
                    self.bytes -= fact.cost();
                    News::Ends(fact)
                }
                None => News::Passing,
            };
        }
        if self.facts.insert(fact.clone(), Seen::Now).is_some() {
            return News::Known;
        }
        self.bytes += fact.cost();
        News::Begins(fact)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.settles
    }

    /// What is over now: each is to be [handled](Self::handle), users before the channel that they were on.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> Vec<Fact> {
        if self.settles.take_if(|at| *at <= now).is_none() {
            return Vec::new();
        }
        self.facts.iter().rev().filter(|(_, seen)| **seen == Seen::Before).map(|(fact, _)| fact.clone()).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.facts.keys()
    }

    /// What it takes in the file, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn notice(channel: &str, what: Happened) -> Notice {
        let channel = ChannelName::parse(channel).unwrap();
        Notice { app: AppId::new("a"), channel, at: Time::from_secs(1), what }
    }

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    #[test]
    fn who_comes_back_is_not_told_again_and_who_does_not_is_told_as_gone() {
        let mut ledger = Ledger::default();
        for channel in ["kept", "left"] {
            for what in [Happened::Occupied, Happened::MemberAdded(user("ann")), Happened::MemberAdded(user("bob"))] {
                assert!(matches!(ledger.handle(&notice(channel, what), NoticeKinds::ALL), News::Begins(_)));
            }
        }
        assert!(matches!(
            ledger.handle(&notice("kept", Happened::MemberRemoved(user("bob"))), NoticeKinds::ALL),
            News::Ends(_)
        ));
        let mut next = Ledger::default();
        next.restore(Time::from_secs(100), ledger.iter().cloned(), GRACE);
        assert_eq!((next.bytes(), next.poll_timeout()), (ledger.bytes(), Some(Time::from_secs(130))));
        for what in [Happened::Occupied, Happened::MemberAdded(user("ann"))] {
            assert_eq!(next.handle(&notice("kept", what), NoticeKinds::ALL), News::Known);
        }
        assert!(matches!(
            next.handle(&notice("kept", Happened::MemberAdded(user("bob"))), NoticeKinds::ALL),
            News::Begins(_)
        ));
        assert_eq!(next.handle_timeout(Time::from_secs(129)), []);
        let over: Vec<Notice> =
            next.handle_timeout(Time::from_secs(130)).into_iter().map(|fact| fact.over(Time::from_secs(1))).collect();
        let expected = [Happened::MemberRemoved(user("bob")), Happened::MemberRemoved(user("ann")), Happened::Vacated];
        assert_eq!(over, expected.map(|what| notice("left", what)));
        for notice in over {
            assert!(matches!(next.handle(&notice, NoticeKinds::ALL), News::Ends(_)));
        }
        assert_eq!((next.iter().count(), next.poll_timeout()), (3, None));
        for what in [Happened::MemberRemoved(user("ann")), Happened::MemberRemoved(user("bob")), Happened::Vacated] {
            assert!(matches!(next.handle(&notice("kept", what), NoticeKinds::ALL), News::Ends(_)));
        }
        assert_eq!((next.bytes(), next.iter().count()), (0, 0));
    }

    #[test]
    fn what_is_told_by_half_is_not_kept_in_mind() {
        let mut ledger = Ledger::default();
        for _ in 0..2 {
            assert_eq!(ledger.handle(&notice("c", Happened::Occupied), NoticeKinds::OCCUPIED), News::Passing);
        }
        assert_eq!(ledger.handle(&notice("c", Happened::Vacated), NoticeKinds::ALL), News::Passing);
        assert_eq!(ledger.iter().count(), 0);
    }
}
