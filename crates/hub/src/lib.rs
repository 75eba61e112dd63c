//! The hub: channels and their homes, rosters, fan-out, outboxes, presence, and the broker that orders what is published.
//!
//! A [`Shard`] is one core's part of it: a pure state machine that is told what its sessions ask for and what other shards write to it, and that
//! yields answers, events, mail for other shards and bytes for its subscribers. It knows no protocol, no socket and no clock.

mod address;
mod broker;
mod cache;
mod check;
mod conflation;
mod control;
mod fanout;
mod figures;
mod gather;
mod herald;
mod home;
mod idempotency;
mod lane;
mod letters;
mod log;
mod logs;
mod losses;
mod mail;
mod memory;
mod occupancy;
mod outbox;
mod patterns;
mod presence;
mod replayed;
mod roster;
mod settings;
mod shard;
mod slow;
mod subscriber;
mod subscriptions;
mod trace;
mod trie;
mod why;

pub use address::{Caller, ChannelKey, ReturnAddress, ShardId, SubscriberId};
pub use broker::{
    Broker, BrokerEvent, ControlRequest, Guarantees, History, HistoryLost, Load, Placed, PublishRequest, Read, Slice,
};
pub use figures::{Backlog, ShardStats};
pub use herald::NoticeBatch;
pub use idempotency::Idempotency;
pub use logs::{Logs, Loss, Restored, shrink};
pub use mail::{Mail, SubscribeRequest};
pub use memory::MemoryBroker;
pub use outbox::{Outbox, OutboxFull};
pub use presence::Member;
pub use settings::{Portions, ShardConfig};
pub use shard::Shard;
pub use trace::TraceOptions;
