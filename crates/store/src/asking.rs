//! What one shard has asked of the store and was not answered yet, in order.
//!
//! Owns tickets and the bound on what is on its way. Knows nothing of channels' order.

use crate::record::Kept;
use crate::store::{Request, RequestKind};
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::Epoch;
use switchboard_hub::{ChannelKey, ShardId};

#[derive(Debug)]
pub(crate) struct Asking {
    shard: ShardId,
    requests: VecDeque<Request>,
    /// What was asked and not answered, in order.
    asked: VecDeque<Asked>,
    /// Bytes of publications in `asked`.
    asked_bytes: usize,
    pub(crate) asked_bytes_max: usize,
    /// The next ticket. Whoever ends the store reads it, to know whether all requests have arrived.
    pub(crate) issued: Arc<AtomicU64>,
}

#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) ticket: u64,
    pub(crate) key: ChannelKey,
    bytes: usize,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Append {
        offset: u64,
    },
    Reserve {
        through: u64,
    },
    /// Give a reservation back. If that is refused, it stands: nothing worse.
    GiveBack,
    /// Let a channel go.
    Forget {
        epoch: Epoch,
    },
}

/// What may be on its way to the journal before the shard takes no more, in bytes and in requests.
const ASKED_BYTES_MAX: usize = 8 << 20;
const ASKED_MAX: usize = 65_536;

impl Asking {
    pub(crate) fn new(shard: ShardId) -> Self {
        Self {
            shard,
            requests: VecDeque::new(),
            asked: VecDeque::new(),
            asked_bytes: 0,
            asked_bytes_max: ASKED_BYTES_MAX,
            issued: Arc::default(),
        }
    }

    /// Asks to keep a publication of so many bytes.
    pub(crate) fn append(&mut self, kept: Kept, begins: bool, bytes: usize) -> u64 {
        let (key, offset) = (kept.key.clone(), kept.publication.position.offset);
        self.ask(key, bytes, What::Append { offset }, |ticket| RequestKind::Append {
            ticket,
            kept: Box::new(kept),
            begins,
        })
    }

    /// Asks to reserve offsets through this one, or to give back what is reserved beyond.
    pub(crate) fn reserve(&mut self, key: ChannelKey, epoch: Epoch, head: u64, through: u64, what: What) {
        self.ask(key.clone(), 0, what, |ticket| RequestKind::Reserve { ticket, key, epoch, head, through });
    }

    /// Asks to let a channel go.
    pub(crate) fn forget(&mut self, key: ChannelKey, epoch: Epoch) {
        self.ask(key.clone(), 0, What::Forget { epoch }, |ticket| RequestKind::Forget { ticket, key, epoch });
    }

    fn ask(&mut self, key: ChannelKey, bytes: usize, what: What, kind: impl FnOnce(u64) -> RequestKind) -> u64 {
        let ticket = self.issued.fetch_add(1, Ordering::Release);
        self.asked_bytes += bytes;
        self.asked.push_back(Asked { ticket, key, bytes, what });
        self.tell(kind(ticket));
        ticket
    }

    /// Tells something that wants no answer.
    pub(crate) fn tell(&mut self, kind: RequestKind) {
        self.requests.push_back(Request { shard: self.shard, kind });
    }

    pub(crate) fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// The first that was not answered, if its ticket is not beyond this one.
    pub(crate) fn poll_answered(&mut self, through: u64) -> Option<Asked> {
        if self.asked.front()?.ticket > through {
            return None;
        }
        let asked = self.asked.pop_front()?;
        self.asked_bytes -= asked.bytes;
        Some(asked)
    }

    pub(crate) fn is_congested(&self) -> bool {
        self.asked_bytes > self.asked_bytes_max || self.asked.len() > ASKED_MAX
    }
}
