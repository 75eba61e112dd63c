//! Who is on one channel: users, each with their connections. Kept at the channel's home.
//!
//! A user whose last connection has ended stays for the channel's grace, so that a reconnect is no coming and going.

use core::time::Duration;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{PresenceChange, PresentUser, SessionId, Time, UserId};

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
    users: HashMap<UserId, Present, foldhash::fast::RandomState>,
    /// Connections of users who found the list full.
    unlisted: u64,
    listed: u64,
    serial: u64,
}

#[derive(Debug)]
struct Present {
    /// In the order of their coming. During the grace the last, under a name that no connection has.
    clients: SmallVec<[Client; 1]>,
    /// The order of arrival, so that lists are stable.
    arrived: u64,
    /// When the grace ends.
    leaves: Option<Time>,
}

#[derive(Debug)]
struct Client {
    id: SessionId,
    info: Option<Arc<str>>,
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
    pub(crate) fn join(&mut self, member: &Member, users_max: usize) -> Option<PresenceChange> {
        let client = Client { id: member.client, info: member.info.clone() };
        if let Some(present) = self.users.get_mut(&member.user) {
            if present.leaves.take().is_some() {
                present.clients.clear();
            }
            present.clients.push(client);
            self.listed += 1;
            return None;
        }
        if self.users.len() >= users_max {
            self.unlisted += 1;
            return None;
        }
        self.serial += 1;
        self.listed += 1;
        let present = Present { clients: SmallVec::from_iter([client]), arrived: self.serial, leaves: None };
        self.users.insert(member.user.clone(), present);
        Some(self.change(true, member.user.clone(), member.info.clone()))
    }

    /// A connection left.
    pub(crate) fn leave(&mut self, now: Time, member: &Member, grace: Duration) -> Left {
        let place = self.users.get_mut(&member.user).and_then(|present| {
            let index = present.clients.iter().position(|client| client.id == member.client)?;
            Some((present, index))
        });
        let Some((present, index)) = place else {
            self.unlisted = self.unlisted.saturating_sub(1);
            return Left::Nothing;
        };
        self.listed -= 1;
        if present.clients.len() > 1 {
            present.clients.remove(index);
            return Left::Nothing;
        }
        if grace > Duration::ZERO && !is_planted(Canary::GraceCut) {
            // What was known of the last connection is shown until then.
            let leaves = now + grace;
            present.leaves = Some(leaves);
            if let Some(last) = present.clients.first_mut() {
                last.id = SessionId { node: u32::MAX, shard: u16::MAX, serial: u64::MAX };
            }
            return Left::Later(leaves);
        }
        self.remove(&member.user).map_or(Left::Nothing, Left::Gone)
    }

    /// A user's grace has ended, unless somebody came in the meantime.
    pub(crate) fn expire(&mut self, now: Time, user: &UserId) -> Option<PresenceChange> {
        let over = self.users.get(user)?.leaves.is_some_and(|leaves| leaves <= now);
        if over { self.remove(user) } else { None }
    }

    fn remove(&mut self, user: &UserId) -> Option<PresenceChange> {
        let present = self.users.remove(user)?;
        self.serial += 1;
        let info = present.clients.into_iter().next_back().and_then(|client| client.info);
        Some(self.change(false, user.clone(), info))
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
        let by_arrival = |(_, present): &(&UserId, &Present)| present.arrived;
        if users.len() > limit {
            users.select_nth_unstable_by_key(limit, by_arrival);
            users.truncate(limit);
        }
        users.sort_unstable_by_key(by_arrival);
        let show = |(user, present): (&UserId, &Present)| PresentUser {
            user: user.clone(),
            connections: present.connections(),
            info: present.clients.last().and_then(|client| client.info.clone()),
        };
        users.into_iter().map(show).collect()
    }

    fn change(&self, joined: bool, user: UserId, info: Option<Arc<str>>) -> PresenceChange {
        PresenceChange { serial: self.serial, joined, user, info }
    }
}

impl Present {
    fn connections(&self) -> u32 {
        match self.leaves {
            Some(_) => 0,
            None => u32::try_from(self.clients.len()).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn member(user: &str, serial: u64) -> Member {
        let client = SessionId { node: 0, shard: 0, serial };
        Member { user: UserId::parse(user).unwrap(), client, info: Some(serial.to_string().into()) }
    }

    const NOW: Time = Time::from_secs(100);
    const NO_GRACE: Duration = Duration::ZERO;

    #[test]
    fn two_tabs_are_one_member_and_the_later_ones_words_are_shown() {
        let mut members = Members::default();
        assert!(members.join(&member("ann", 1), 9).unwrap().joined);
        assert_eq!(members.join(&member("ann", 2), 9), None);
        assert_eq!((members.users(), members.connections()), (1, 2));
        assert_eq!(members.leave(NOW, &member("ann", 2), NO_GRACE), Left::Nothing);
        assert_eq!(members.snapshot(9).first().unwrap().info.as_deref(), Some("1"));
        assert!(matches!(members.leave(NOW, &member("ann", 1), NO_GRACE), Left::Gone(change) if !change.joined));
        assert_eq!((members.serial(), members.connections(), members.is_empty()), (2, 0, true));
    }

    #[test]
    fn who_returns_within_the_grace_never_left() {
        let mut members = Members::default();
        let grace = Duration::from_secs(5);
        members.join(&member("ann", 1), 9).unwrap();
        assert_eq!(members.leave(NOW, &member("ann", 1), grace), Left::Later(NOW + grace));
        let shown = members.snapshot(9);
        assert_eq!((shown.first().unwrap().connections, shown.first().unwrap().info.as_deref()), (0, Some("1")));
        assert_eq!(members.join(&member("ann", 2), 9), None);
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
