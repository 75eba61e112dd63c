//! What is done to sessions from outside, wherever they are.

use crate::{ChannelName, ClientInfo, Disconnect, Payload, SessionId, UserId};
use std::sync::Arc;

/// Whom something concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// One session.
    Session(SessionId),
    /// All sessions of a user who was named by a token or a signature. A guest is nobody: its session has a name.
    User(UserId),
}

/// Something that reaches sessions on any shard and node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Ends them.
    Disconnect {
        /// Whom.
        whom: Recipient,
        /// How, and why.
        disconnect: Disconnect,
    },
    /// Ends their subscription to a channel.
    Unsubscribe {
        /// Whose.
        whom: Recipient,
        /// The channel.
        channel: ChannelName,
    },
    /// Gives them a message that no history keeps, if they subscribe to its channel.
    Signal {
        /// To whom.
        whom: Recipient,
        /// What.
        signal: Signal,
    },
}

/// A message for single sessions on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The channel on which they meet.
    pub channel: ChannelName,
    /// A name by which receivers tell kinds apart.
    pub event: Option<Arc<str>>,
    /// The content.
    pub payload: Payload,
    /// Who sends it, and where an answer reaches that one; absent for the application. It is not given to the session that sent it.
    pub from: Option<(ClientInfo, SessionId)>,
}

impl Control {
    /// Whom it concerns.
    pub const fn whom(&self) -> &Recipient {
        match self {
            Self::Disconnect { whom, .. } | Self::Unsubscribe { whom, .. } | Self::Signal { whom, .. } => whom,
        }
    }

    /// What it costs to keep, in bytes.
    pub fn cost(&self) -> usize {
        const FLAT: usize = 200;
        match self {
            Self::Disconnect { .. } | Self::Unsubscribe { .. } => FLAT,
            Self::Signal { signal, .. } => {
                FLAT + signal.payload.len() + signal.event.as_ref().map_or(0, |event| event.len())
            }
        }
    }
}
