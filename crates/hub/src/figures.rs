//! What a shard tells of itself.

/// What waits inside a shard now, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Publications that wait for their fan-out.
    pub pending: usize,
    /// The fullest outbox.
    pub outbox_max: usize,
    /// The longest replay.
    pub replay_max: usize,
    /// The most that waits by key for one subscriber.
    pub conflated_max: usize,
    /// Deliveries and changes of presence on the way to other shards: the fullest way.
    pub mail_max: usize,
    /// Requests that are not answered.
    pub unanswered: usize,
    /// Letters of any kind on the way to other shards: the fullest way, in letters.
    pub letters_max: usize,
}

/// Counters since the start and gauges now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Channels whose home is here.
    pub channels: u64,
    /// Subscribers now.
    pub subscribers: u64,
    /// Publications queued for subscribers, each counted for each subscriber.
    pub deliveries: u64,
    /// Publications that were accepted here.
    pub publications: u64,
    /// Subscribers that were given up because their outbox was full.
    pub overflows: u64,
    /// Times that something had been lost on the way inside, and subscribers were told: each is a fault of ours.
    pub losses: u64,
}
