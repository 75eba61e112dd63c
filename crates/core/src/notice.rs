//! What an application's own servers may be told about its channels: which notices there are, and who wants which.

use crate::{AppId, ChannelName, Payload, SessionId, Time, UserId};
use core::ops::BitOr;
use core::time::Duration;
use std::sync::Arc;

/// Something that happened to a channel, in the order in which its home saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The application.
    pub app: AppId,
    /// The channel.
    pub channel: ChannelName,
    /// When.
    pub at: Time,
    /// What.
    pub what: Happened,
}

/// What happened to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Somebody subscribes where nobody did.
    Occupied,
    /// Nobody subscribes any longer, and nobody has come back within the grace.
    Vacated,
    /// A user came.
    MemberAdded(UserId),
    /// A user left.
    MemberRemoved(UserId),
    /// A client has published.
    ClientEvent {
        /// The event's name, if it has one.
        event: Option<Arc<str>>,
        /// The content.
        payload: Payload,
        /// Who published.
        publisher: Option<UserId>,
        /// By which session.
        session: Option<SessionId>,
    },
    /// Somebody asked for the cached value of a channel that has none.
    CacheMiss,
    /// So many subscribe now. Not every change is told.
    SubscriptionCount(u64),
}

impl Happened {
    /// Which kind it is.
    pub fn kind(&self) -> NoticeKinds {
        match self {
            Self::Occupied => NoticeKinds::OCCUPIED,
            Self::Vacated => NoticeKinds::VACATED,
            Self::MemberAdded(_) => NoticeKinds::MEMBER_ADDED,
            Self::MemberRemoved(_) => NoticeKinds::MEMBER_REMOVED,
            Self::ClientEvent { .. } => NoticeKinds::CLIENT_EVENT,
            Self::CacheMiss => NoticeKinds::CACHE_MISS,
            Self::SubscriptionCount(_) => NoticeKinds::SUBSCRIPTION_COUNT,
        }
    }
}

impl Notice {
    /// What it takes while it waits, in bytes.
    pub fn cost(&self) -> usize {
        let more = match &self.what {
            Happened::MemberAdded(user) | Happened::MemberRemoved(user) => user.as_str().len(),
            Happened::ClientEvent { event, payload, publisher, .. } => {
                let user = publisher.as_ref().map_or(0, |user| user.as_str().len());
                event.as_ref().map_or(0, |event| event.len()) + payload.len() + user
            }
            Happened::Occupied | Happened::Vacated | Happened::CacheMiss | Happened::SubscriptionCount(_) => 0,
        };
        size_of::<Self>() + self.channel.as_str().len() + more
    }
}

/// A set of kinds of notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoticeKinds(u8);

impl NoticeKinds {
    /// None.
    pub const NONE: Self = Self(0);
    /// [`Happened::Occupied`]
    pub const OCCUPIED: Self = Self(1);
    /// [`Happened::Vacated`]
    pub const VACATED: Self = Self(1 << 1);
    /// [`Happened::MemberAdded`]
    pub const MEMBER_ADDED: Self = Self(1 << 2);
    /// [`Happened::MemberRemoved`]
    pub const MEMBER_REMOVED: Self = Self(1 << 3);
    /// [`Happened::ClientEvent`]
    pub const CLIENT_EVENT: Self = Self(1 << 4);
    /// [`Happened::CacheMiss`]
    pub const CACHE_MISS: Self = Self(1 << 5);
    /// [`Happened::SubscriptionCount`]
    pub const SUBSCRIPTION_COUNT: Self = Self(1 << 6);
    /// All.
    pub const ALL: Self = Self((1 << 7) - 1);

    /// Their names, one for each kind.
    pub const NAMES: [(&str, Self); 7] = [
        ("channel_occupied", Self::OCCUPIED),
        ("channel_vacated", Self::VACATED),
        ("member_added", Self::MEMBER_ADDED),
        ("member_removed", Self::MEMBER_REMOVED),
        ("client_event", Self::CLIENT_EVENT),
        ("cache_miss", Self::CACHE_MISS),
        ("subscription_count", Self::SUBSCRIPTION_COUNT),
    ];

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// Whether all of these are among them.
    pub const fn contains(self, kinds: Self) -> bool {
        self.0 & kinds.0 == kinds.0
    }
}

impl BitOr for NoticeKinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Which notices an application wants. The default wants none, which costs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notices {
    /// Kinds, each for the channels whose names begin so.
    pub wanted: Vec<(Box<str>, NoticeKinds)>,
    /// Whether subscribers too are told how many there are, where their protocol has words for it.
    pub count_for_subscribers: bool,
    /// How long a channel without subscribers still counts as occupied, so that a reconnect is no coming and going.
    pub vacated_grace: Duration,
    /// The shortest time between two notices of how many subscribe to a channel.
    pub count_interval: Duration,
}

impl Default for Notices {
    fn default() -> Self {
        Self {
            wanted: Vec::new(),
            count_for_subscribers: false,
            vacated_grace: Duration::from_secs(5),
            count_interval: Duration::from_secs(1),
        }
    }
}

impl Notices {
    /// Which kinds are wanted of a channel. A user's own channel is nobody's but the server's, and nothing is told of it.
    pub fn of(&self, channel: &ChannelName) -> NoticeKinds {
        if channel.user().is_some() {
            return NoticeKinds::NONE;
        }
        let wanted = self.wanted.iter().filter(|(prefix, _)| channel.as_str().starts_with(&**prefix));
        wanted.fold(NoticeKinds::NONE, |all, (_, kinds)| all | *kinds)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_kind_has_one_name_and_a_channel_gets_those_of_all_prefixes() {
        let all = NoticeKinds::NAMES.iter().fold(NoticeKinds::NONE, |all, (_, kind)| all | *kind);
        assert_eq!(all, NoticeKinds::ALL);
        for (name, kind) in NoticeKinds::NAMES {
            assert_eq!(NoticeKinds::parse(name), Some(kind));
        }
        assert_eq!(NoticeKinds::parse("channel_occupie"), None);
        let wanted = vec![("".into(), NoticeKinds::OCCUPIED), ("room:".into(), NoticeKinds::CACHE_MISS)];
        let notices = Notices { wanted, ..Notices::default() };
        let of = |name| notices.of(&ChannelName::parse(name).unwrap());
        assert_eq!(of("room:1"), NoticeKinds::OCCUPIED | NoticeKinds::CACHE_MISS);
        assert_eq!((of("rooms"), Notices::default().wanted.len()), (NoticeKinds::OCCUPIED, 0));
        assert_eq!(notices.of(&ChannelName::of_user(&UserId::parse("room:ann").unwrap())), NoticeKinds::NONE);
    }
}
