//! Rights: who may do what on which channels, until when.

use crate::{ChannelMatch, ChannelName, Time, UserId};
use core::ops::BitOr;
use std::sync::Arc;

/// A set of operations on a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations(u8);

impl Operations {
    /// None.
    pub const NONE: Self = Self(0);
    /// Receive what is published.
    pub const SUBSCRIBE: Self = Self(1);
    /// Publish.
    pub const PUBLISH: Self = Self(2);
    /// See who is there.
    pub const PRESENCE: Self = Self(4);
    /// Read what was published before.
    pub const HISTORY: Self = Self(8);
    /// Send to one other client, past the history.
    pub const SIGNAL: Self = Self(16);
    /// Receive, see who is there and read what was.
    pub const READ: Self = Self(1 | 4 | 8);
    /// All of them.
    pub const ALL: Self = Self(31);

    /// Whether all of `other` are in `self`.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Reads one operation's name, as tokens and the configuration write it.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "subscribe" => Self::SUBSCRIBE,
            "publish" => Self::PUBLISH,
            "presence" => Self::PRESENCE,
            "history" => Self::HISTORY,
            "signal" => Self::SIGNAL,
            "*" => Self::ALL,
            _ => return None,
        })
    }
}

impl BitOr for Operations {
    type Output = Self;

    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

/// A right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// On which channels.
    pub pattern: ChannelMatch,
    /// To do what.
    pub operations: Operations,
    /// Until when; `None` as long as the session's identity holds.
    pub expires: Option<Time>,
}

impl Grant {
    /// A right without an end of its own.
    pub fn new(pattern: ChannelMatch, operations: Operations) -> Self {
        Self { pattern, operations, expires: None }
    }

    /// Whether it covers `operations` on `channel` now.
    pub fn allows(&self, now: Time, channel: &ChannelName, operations: Operations) -> bool {
        self.operations.contains(operations)
            && self.expires.is_none_or(|expires| now < expires)
            && self.pattern.matches(channel)
    }
}

/// What a valid token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// A JSON object shown in presence.
    pub info: Option<Arc<str>>,
    /// The user's rights.
    pub grants: Vec<Grant>,
    /// When all this ends.
    pub expires: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_needs_channel_operation_and_time() {
        let channel = ChannelName::parse("room:1").expect("a name");
        let grant = Grant {
            pattern: ChannelMatch::parse("room:*"),
            operations: Operations::SUBSCRIBE | Operations::PUBLISH,
            expires: Some(Time::from_secs(10)),
        };
        let now = Time::from_secs(9);
        assert!(grant.allows(now, &channel, Operations::PUBLISH));
        assert!(!grant.allows(now, &channel, Operations::HISTORY));
        assert!(!grant.allows(now, &channel, Operations::PUBLISH | Operations::HISTORY));
        assert!(!grant.allows(Time::from_secs(10), &channel, Operations::PUBLISH));
        assert!(!grant.allows(now, &ChannelName::parse("lobby").expect("a name"), Operations::PUBLISH));
    }
}
