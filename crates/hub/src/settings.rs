//! What a shard is told when it begins: its place, and how much it does at once.

use crate::address::ShardId;
use crate::trace::TraceOptions;
use core::time::Duration;

/// Which shard of which node, among how many, and where its session numbers begin.
#[derive(Clone, Copy, Debug)]
pub struct ShardConfig {
    /// This shard.
    pub id: ShardId,
    /// Shards of this node.
    pub shards: u16,
    /// This node.
    pub node: u32,
    /// The serial of the first session. Drawn at random in production, so that names do not come again after a restart.
    pub first_serial: u64,
    /// Deliveries that may wait on the way to another shard, in bytes. What exceeds it is read from history when there is room again.
    pub mailbox_bytes: usize,
    /// How much is done at once.
    pub portions: Portions,
}

/// How much a shard does before something else has its turn, and how much may wait for it inside. The defaults are for production; a test that wants to see
/// what happens between two portions makes them small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portions {
    /// Subscribers of one channel that are visited before the next channel has its turn, and the sockets are looked at: each is a system call of some microseconds, for
    /// which everybody else waits.
    pub walk_subscribers: usize,
    /// Publications that travel as one run, in bytes: small beside an outbox, so that a burst can drain between two runs.
    pub run_bytes: usize,
    /// Live publications that may queue behind one subscriber's replay, in bytes. Beyond it the subscriber is given up.
    pub replay_bytes_max: usize,
    /// Deliveries from history to a shard that is behind, in bytes a turn.
    pub catch_up_bytes: usize,
    /// Publications and changes of presence that may wait for their fan-out, in bytes, before the shard takes no more input.
    pub pending_bytes_max: usize,
    /// Requests that may be unanswered, wherever they are, in bytes, before the shard takes no more of them. From half of it on, a session that asks waits
    /// for its answers before it is read again.
    pub unanswered_bytes_max: usize,
    /// What is to be told to the applications' servers and the driver has not taken, in bytes. What exceeds it is lost, and counted.
    pub notice_bytes_max: usize,
    /// How often each channel's subscribers are compared with what its home has published; zero never.
    pub position_check: Duration,
    /// What is remembered for whoever asks why.
    pub trace: TraceOptions,
}

impl Default for Portions {
    fn default() -> Self {
        Self {
            walk_subscribers: 64,
            run_bytes: 64 * 1024,
            replay_bytes_max: 16 * 1024 * 1024,
            catch_up_bytes: 256 * 1024,
            pending_bytes_max: 8 * 1024 * 1024,
            unanswered_bytes_max: 8 * 1024 * 1024,
            notice_bytes_max: 4 * 1024 * 1024,
            position_check: Duration::from_secs(30),
            trace: TraceOptions::default(),
        }
    }
}
