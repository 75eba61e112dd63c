//! Who is on one channel: users, each with their connections. Kept at the channel's home.
//!
//! A user whose last connection has ended stays for the channel's grace, so that a reconnect is no coming and going.

use core::hash::BuildHasher;
use core::time::Duration;
use hashbrown::HashTable;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{Deadline, PresenceChange, PresentUser, SessionId, Time, UserId};

/// A subscriber's contribution to presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub user: UserId,
    /// Which of the user's connections.
    pub client: SessionId,
    /// A JSON object shown with the name.
    pub info: Option<Arc<str>>,
}

/// The users of one channel. Two connections of a user are one member.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// By name, which is their connections' own.
    users: HashTable<Present>,
    hasher: foldhash::fast::RandomState,
    /// Connections of users who found the list full.
    unlisted: u64,
    listed: u64,
    serial: u64,
}

/// Ten thousands of these are in a table that is half empty at worst.
#[derive(Debug)]
struct Present {
    /// The connection that came last, whose words are shown. During the grace it has ended.
    last: Arc<Member>,
    /// Those that came before it, in their order.
    earlier: Option<Box<Earlier>>,
    /// The order of arrival, so that lists are stable.
    arrived: u64,
    /// When the grace ends.
    leaves: Deadline,
}

#[derive(Debug, Default)]
struct Earlier(Vec<Arc<Member>>);

/// What came of a connection's coming.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The user was there already, or finds the list full.
    Nothing,
    /// The user is there now.
    Came(PresenceChange),
    /// The user would have been gone at this time.
    Returned(Time),
}

/// What came of a connection's end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The user is still there, or never was listed.
    Nothing,
    /// The user is gone.
    Gone(PresenceChange),
    /// The user will be gone at this time unless another connection comes.
    Later(Time),
}

impl Members {
    /// Counts changes; a snapshot taken now includes all up to this one.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// A connection came. A change if it is the user's first, and among the first `users_max`.
    pub(crate) fn join(&mut self, member: &Arc<Member>, users_max: usize) -> Joined {
        if let Some(present) = self.find(&member.user) {
            let returned = present.leaves.get();
            present.join(Arc::clone(member));
            self.listed += 1;
            return match returned {
                Some(_) if is_planted(Canary::ReturnAnnounced) => Joined::Came(self.change(true, member)),
                Some(leaves) => Joined::Returned(leaves),
                None => Joined::Nothing,
            };
        }
        if self.users.len() >= users_max {
            self.unlisted += 1;
            return Joined::Nothing;
        }
        self.serial += 1;
        self.listed += 1;
        let present =
            Present { last: Arc::clone(member), earlier: None, arrived: self.serial, leaves: Deadline::NEVER };
        let Self { users, hasher, .. } = self;
        users.insert_unique(hasher.hash_one(&member.user), present, |other| hasher.hash_one(&other.last.user));
        Joined::Came(self.change(true, member))
    }

    /// A connection left.
    pub(crate) fn leave(&mut self, now: Time, member: &Member, grace: Duration) -> Left {
        let Some(present) = self.find(&member.user).filter(|present| present.has(member.client)) else {
            self.unlisted = self.unlisted.saturating_sub(1);
            return Left::Nothing;
        };
        if !is_planted(Canary::TabTakesUser) && present.leave_to_others(member.client) {
            self.listed -= 1;
            return Left::Nothing;
        }
        let leaves = now + grace;
        let has_grace = grace > Duration::ZERO && !is_planted(Canary::GraceCut);
        if has_grace {
            // What was known of the last connection is shown until then.
            present.leaves = leaves.into();
        }
        self.listed -= 1;
        if has_grace { Left::Later(leaves) } else { self.remove(&member.user).map_or(Left::Nothing, Left::Gone) }
    }

    /// A user's grace has ended, unless somebody came in the meantime.
    pub(crate) fn expire(&mut self, now: Time, user: &UserId) -> Option<PresenceChange> {
        let over = self.find(user)?.leaves.is_due(now);
        if over { self.remove(user) } else { None }
    }

    fn find(&mut self, user: &UserId) -> Option<&mut Present> {
        self.users.find_mut(self.hasher.hash_one(user), |present| present.last.user == *user)
    }

    fn remove(&mut self, user: &UserId) -> Option<PresenceChange> {
        let found = self.users.find_entry(self.hasher.hash_one(user), |present| present.last.user == *user);
        let (present, _) = found.ok()?.remove();
        self.serial += 1;
        Some(self.change(false, &present.last))
    }

    /// The number of connections of all users, those included that are not listed.
    pub(crate) fn connections(&self) -> u64 {
        self.listed + self.unlisted
    }

    /// The number of users.
    pub(crate) fn users(&self) -> u64 {
        self.users.len() as u64
    }

    /// The first `limit` users in order of arrival.
    pub(crate) fn snapshot(&self, limit: usize) -> Vec<PresentUser> {
        if limit == 0 {
            return Vec::new();
        }
        let mut users: Vec<_> = self.users.iter().collect();
        let by_arrival = |present: &&Present| present.arrived;
        if users.len() > limit {
            users.select_nth_unstable_by_key(limit, by_arrival);
            users.truncate(limit);
        }
        users.sort_unstable_by_key(by_arrival);
        let show = |present: &Present| PresentUser {
            user: present.last.user.clone(),
            connections: present.connections(),
            info: present.last.info.clone(),
        };
        users.into_iter().map(show).collect()
    }

    fn change(&self, joined: bool, member: &Member) -> PresenceChange {
        PresenceChange { serial: self.serial, joined, user: member.user.clone(), info: member.info.clone() }
    }
}

impl Present {
    fn join(&mut self, member: Arc<Member>) {
        let last = core::mem::replace(&mut self.last, member);
        let was_there = self.leaves == Deadline::NEVER;
        self.leaves = Deadline::NEVER;
        if was_there {
            self.earlier.get_or_insert_default().0.push(last);
        }
    }

    /// Whether this connection is one of the user's now.
    fn has(&self, client: SessionId) -> bool {
        self.leaves == Deadline::NEVER && (self.last.client == client || self.place(client).is_some())
    }

    /// Takes a connection off if it is not the only one.
    fn leave_to_others(&mut self, client: SessionId) -> bool {
        let place = self.place(client);
        let Some(Earlier(earlier)) = self.earlier.as_deref_mut() else { return false };
        match place {
            Some(place) => _ = earlier.remove(place),
            None => self.last = earlier.pop().unwrap_or_else(|| Arc::clone(&self.last)),
        }
        if earlier.is_empty() {
            self.earlier = None;
        }
        true
    }

    fn place(&self, client: SessionId) -> Option<usize> {
        self.earlier.as_ref()?.0.iter().position(|member| member.client == client)
    }

    fn connections(&self) -> u32 {
        match self.leaves.get() {
            Some(_) => 0,
            None => u32::try_from(1 + self.earlier.as_ref().map_or(0, |earlier| earlier.0.len())).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn member(user: &str, serial: u64) -> Arc<Member> {
        let client = SessionId { node: 0, shard: 0, serial };
        Arc::new(Member { user: UserId::parse(user).unwrap(), client, info: Some(serial.to_string().into()) })
    }

    const NOW: Time = Time::from_secs(100);
    const NO_GRACE: Duration = Duration::ZERO;

    #[test]
    fn two_tabs_are_one_member_and_the_later_ones_words_are_shown() {
        let mut members = Members::default();
        assert!(matches!(members.join(&member("ann", 1), 9), Joined::Came(change) if change.joined));
        assert_eq!(members.join(&member("ann", 2), 9), Joined::Nothing);
        assert_eq!((members.users(), members.connections()), (1, 2));
        assert_eq!(members.leave(NOW, &member("ann", 2), NO_GRACE), Left::Nothing);
        assert_eq!(members.snapshot(9).first().unwrap().info.as_deref(), Some("1"));
        assert!(matches!(members.leave(NOW, &member("ann", 1), NO_GRACE), Left::Gone(change) if !change.joined));
        assert_eq!((members.serial(), members.connections(), members.is_empty()), (2, 0, true));
    }

    #[test]
    fn of_many_tabs_the_latest_that_is_left_is_shown() {
        let mut members = Members::default();
        for serial in 1..=4 {
            members.join(&member("ann", serial), 9);
        }
        for (left, shown) in [(2, "4"), (4, "3"), (1, "3")] {
            assert_eq!(members.leave(NOW, &member("ann", left), NO_GRACE), Left::Nothing);
            assert_eq!(members.snapshot(9).first().unwrap().info.as_deref(), Some(shown));
        }
        assert_eq!(members.leave(NOW, &member("ann", 2), NO_GRACE), Left::Nothing);
        assert_eq!((members.users(), members.connections()), (1, 1));
        assert!(matches!(members.leave(NOW, &member("ann", 3), NO_GRACE), Left::Gone(_)));
    }

    #[test]
    fn a_place_in_the_table_is_small() {
        assert_eq!(size_of::<Present>(), 32);
    }

    #[test]
    fn who_returns_within_the_grace_never_left() {
        let mut members = Members::default();
        let grace = Duration::from_secs(5);
        assert!(matches!(members.join(&member("ann", 1), 9), Joined::Came(_)));
        assert_eq!(members.leave(NOW, &member("ann", 1), grace), Left::Later(NOW + grace));
        let shown = members.snapshot(9);
        assert_eq!((shown.first().unwrap().connections, shown.first().unwrap().info.as_deref()), (0, Some("1")));
        assert_eq!(members.join(&member("ann", 2), 9), Joined::Returned(NOW + grace));
        assert_eq!(members.expire(NOW + grace, &member("ann", 2).user), None);
        assert_eq!((members.snapshot(9).first().unwrap().connections, members.connections()), (1, 1));
        members.leave(NOW + grace, &member("ann", 2), grace);
        assert_eq!(members.expire(NOW + grace, &member("ann", 2).user), None);
        assert!(members.expire(NOW + grace + grace, &member("ann", 2).user).is_some());
        assert!(members.is_empty());
    }

    #[test]
    fn a_full_list_counts_but_does_not_list() {
        let mut members = Members::default();
        for serial in 0..5 {
            members.join(&member(&format!("user{serial}"), serial), 3);
        }
        assert_eq!((members.users(), members.connections(), members.snapshot(2).len()), (3, 5, 2));
        let first: Vec<_> = members.snapshot(2).iter().map(|user| user.user.to_string()).collect();
        assert_eq!(first, ["user0", "user1"]);
        assert_eq!(members.leave(NOW, &member("user4", 4), NO_GRACE), Left::Nothing);
        members.leave(NOW, &member("user0", 0), NO_GRACE);
        assert_eq!((members.users(), members.connections()), (2, 3));
    }
}
