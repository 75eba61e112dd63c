//! How much is going on on a channel.

use crate::ChannelName;

/// A channel, and how many are on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// The channel.
    pub channel: ChannelName,
    /// Its subscriptions: one for each connection that subscribes to it by name. It is occupied if there is one.
    pub subscribers: u64,
    /// Who is present; absent where the channel has no presence.
    pub presence: Option<PresenceCount>,
}

/// How many are present on a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceCount {
    /// Users that are listed, those in their grace included.
    pub users: u64,
    /// Connections of all users, and of those beyond what the channel lists.
    pub connections: u64,
}

impl Occupancy {
    /// Whether somebody subscribes to it.
    pub const fn is_occupied(&self) -> bool {
        self.subscribers > 0
    }
}
