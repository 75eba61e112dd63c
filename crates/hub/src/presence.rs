//! Who is on one channel: users, each with a number of connections. Kept at the channel's home.

use hashbrown::HashMap;
use std::sync::Arc;
use switchboard_core::{PresenceChange, PresentUser, UserId};

/// A subscriber's contribution to presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub user: UserId,
    /// A JSON object shown with the name.
    pub info: Option<Arc<str>>,
}

/// The users of one channel. Two connections of a user are one member.
#[derive(Debug, Default)]
pub(crate) struct Members {
    users: HashMap<UserId, Present, foldhash::fast::RandomState>,
    serial: u64,
}

#[derive(Debug)]
struct Present {
    connections: u32,
    info: Option<Arc<str>>,
    /// The order of arrival, so that lists are stable.
    arrived: u64,
}

impl Members {
    /// Counts changes; a snapshot taken now includes all up to this one.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// A connection came. A change if it is the user's first.
    pub(crate) fn join(&mut self, member: &Member) -> Option<PresenceChange> {
        if let Some(present) = self.users.get_mut(&member.user) {
            present.connections += 1;
            present.info.clone_from(&member.info);
            return None;
        }
        self.serial += 1;
        let present = Present { connections: 1, info: member.info.clone(), arrived: self.serial };
        self.users.insert(member.user.clone(), present);
        Some(self.change(true, member.user.clone(), member.info.clone()))
    }

    /// A connection left. A change if it was the user's last.
    pub(crate) fn leave(&mut self, user: &UserId) -> Option<PresenceChange> {
        let present = self.users.get_mut(user)?;
        present.connections -= 1;
        if present.connections > 0 {
            return None;
        }
        let info = self.users.remove(user).and_then(|present| present.info);
        self.serial += 1;
        Some(self.change(false, user.clone(), info))
    }

    /// The number of connections of all users.
    pub(crate) fn connections(&self) -> u64 {
        self.users.values().map(|present| u64::from(present.connections)).sum()
    }

    /// The first `limit` users in order of arrival.
    pub(crate) fn snapshot(&self, limit: usize) -> Vec<PresentUser> {
        let mut users: Vec<_> = self.users.iter().collect();
        users.sort_unstable_by_key(|(_, present)| present.arrived);
        users
            .into_iter()
            .take(limit)
            .map(|(user, present)| PresentUser {
                user: user.clone(),
                connections: present.connections,
                info: present.info.clone(),
            })
            .collect()
    }

    fn change(&self, joined: bool, user: UserId, info: Option<Arc<str>>) -> PresenceChange {
        PresenceChange { serial: self.serial, joined, user, info }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn two_tabs_are_one_member() {
        let ann = Member { user: UserId::parse("ann").unwrap(), info: None };
        let mut members = Members::default();
        assert!(members.join(&ann).unwrap().joined);
        assert_eq!(members.join(&ann), None);
        assert_eq!((members.snapshot(9).len(), members.connections()), (1, 2));
        assert_eq!(members.leave(&ann.user), None);
        assert!(!members.leave(&ann.user).unwrap().joined);
        assert_eq!(members.leave(&ann.user), None);
        assert_eq!(members.serial(), 2);
    }
}
