//! Who is where: shards, subscribers on them, channels and their home shards.

use core::hash::BuildHasher;
use switchboard_core::{AppId, ChannelName, OpId};

/// One event loop of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// A subscriber on its own shard. The slot is reused, the serial never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriberId {
    /// Where the shard keeps it.
    pub slot: u32,
    /// Which of all that ever had the slot.
    pub serial: u64,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A subscriber of the shard.
    Subscriber(SubscriberId),
    /// Somebody else on this node, by a number that means something to the driver only.
    External(u64),
}

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReturnAddress {
    /// The shard that asked.
    pub shard: ShardId,
    /// Who on it.
    pub caller: Caller,
    /// Which of the caller's operations.
    pub op: OpId,
}

/// A channel of an application. Channels of two applications with the same name have nothing to do with each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelKey {
    /// The application.
    pub app: AppId,
    /// The name.
    pub channel: ChannelName,
}

impl From<&ChannelKey> for ChannelKey {
    fn from(key: &ChannelKey) -> Self {
        key.clone()
    }
}

impl ChannelKey {
    /// The shard that owns the channel's position, history ring, presence and set of subscribed shards.
    pub fn home(&self, shards: u16) -> ShardId {
        // The seed is fixed so that all shards agree. Somebody who can choose channel names can make one shard the home of many; that costs
        // balance, not correctness.
        let hash = foldhash::fast::FixedState::default().hash_one(self);
        ShardId(u16::try_from(hash % u64::from(shards.max(1))).unwrap_or(0))
    }
}
