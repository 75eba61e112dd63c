//! What happens to a session without its having asked.

use crate::{ChannelName, Signal, Time, UserId};
use std::sync::Arc;

/// Something that a client is told, besides publications and presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The replay that a position asked for is complete.
    CaughtUp {
        /// The channel.
        channel: ChannelName,
    },
    /// Publications that this client will not get.
    Gap {
        /// The channel.
        channel: ChannelName,
        /// The first offset.
        from: u64,
        /// The last offset.
        to: u64,
    },
    /// The server ended a subscription.
    Unsubscribed {
        /// The channel.
        channel: ChannelName,
        /// Why.
        code: crate::RejectCode,
    },
    /// Somebody sends something to this client alone.
    Signal(Signal),
    /// The token is about to end.
    TokenExpiring {
        /// When.
        expires: Time,
    },
}

/// A user who is on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentUser {
    /// The name.
    pub user: UserId,
    /// Connections of that user on the channel.
    pub connections: u32,
    /// A JSON object from the token.
    pub info: Option<Arc<str>>,
}

impl PresenceChange {
    /// What it counts against limits, in bytes.
    pub fn cost(&self) -> usize {
        /// The structure itself and its place in a queue.
        const FLAT: usize = 64;
        FLAT + self.user.as_str().len() + self.info.as_ref().map_or(0, |info| info.len())
    }
}

/// A user came to a channel or left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceChange {
    /// Counts a channel's changes, so that a snapshot and the changes after it fit together.
    pub serial: u64,
    /// Came or left.
    pub joined: bool,
    /// Who.
    pub user: UserId,
    /// A JSON object from the token.
    pub info: Option<Arc<str>>,
}
