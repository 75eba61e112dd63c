//! Who is where: shards, subscribers on them, channels and their home shards.

use core::cmp::Ordering;
use core::hash::{BuildHasher, Hash, Hasher};
use switchboard_core::{AppId, ChannelName, OpId, SessionId};

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
    /// What the request counts among those that the shard has unanswered, in bytes.
    pub bytes: u32,
}

/// A channel of an application. Channels of two applications with the same name have nothing to do with each other.
///
/// It is hashed when it is made and not again, however many tables it is looked up in.
#[derive(Clone, Debug, Eq)]
pub struct ChannelKey {
    /// The application.
    pub app: AppId,
    /// The name.
    pub channel: ChannelName,
    hash: u64,
}

/// The hash of tables: who chooses names cannot make them collide. One for the whole process, since keys travel between shards.
#[allow(clippy::disallowed_types, reason = "locked once in the life of the process; after that it is read")]
static TABLES: std::sync::LazyLock<foldhash::fast::RandomState> =
    std::sync::LazyLock::new(foldhash::fast::RandomState::default);

impl ReturnAddress {
    /// The session that asked, if it was one.
    pub(crate) fn session(&self, node: u32) -> Option<SessionId> {
        match self.caller {
            Caller::Subscriber(id) => Some(SessionId { node, shard: self.shard.0, serial: id.serial }),
            Caller::External(_) => None,
        }
    }
}

impl PartialEq for ChannelKey {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.channel == other.channel && self.app == other.app
    }
}

impl Hash for ChannelKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Ord for ChannelKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.app.cmp(&other.app).then_with(|| self.channel.cmp(&other.channel))
    }
}

impl PartialOrd for ChannelKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<&ChannelKey> for ChannelKey {
    fn from(key: &ChannelKey) -> Self {
        key.clone()
    }
}

impl ChannelKey {
    /// A channel of an application.
    pub fn new(app: AppId, channel: ChannelName) -> Self {
        let hash = TABLES.hash_one((&app, &channel));
        Self { app, channel, hash }
    }

    /// The shard that owns the channel's position, history ring, presence and set of subscribed shards.
    pub fn home(&self, shards: u16) -> ShardId {
        if shards <= 1 {
            return ShardId(0);
        }
        // The seed is fixed, so that a channel's home is the same in every process that has as many shards. Somebody who can choose channel
        // names can make one shard the home of many; that costs balance, not correctness.
        let hash = foldhash::fast::FixedState::default().hash_one((&self.app, &self.channel));
        ShardId(u16::try_from(hash % u64::from(shards)).unwrap_or(0))
    }
}
