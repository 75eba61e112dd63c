//! The durable history of one node: a journal on disk, and the broker whose publications survive a restart.
//!
//! [`DurableBroker`] is a shard's part, as pure as the hub: it orders publications and keeps them in memory. [`Store`] is the node's part: one
//! journal for all shards, over a [`Disk`]. They talk by [`Request`]s and [`Reply`]s that somebody else carries. What is promised under which setting, and what not, is
//! in `docs/explanation/durability.md`.

mod asking;
mod broker;
mod disk;
mod frame;
mod index;
mod journal;
mod record;
mod recovery;
mod renewal;
mod store;
mod waiting;

pub use broker::DurableBroker;
#[cfg(any(test, feature = "faulty"))]
pub use disk::faulty::{Faults, FaultyDisk};
pub use disk::{Disk, FileDisk, OpenError, SyncTimes};
pub use journal::{JournalOptions, Refusal};
pub use recovery::{Damage, DamageKind, RecoverError, RecoveredChannel, Report, verify};
pub use renewal::{RenewError, renew};
pub use store::{Fsync, Replies, Reply, Request, Store, StoreOptions, StoreState, StoreStats};
