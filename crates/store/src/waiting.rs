//! What waits on a channel for the disk, in order.
//!
//! Owns the queues and their memory: a channel on which nothing waits has none, however much once did. Knows nothing of what lets go what waits.

use hashbrown::HashMap;
use std::collections::VecDeque;
use switchboard_core::Position;
use switchboard_hub::{Placed, PublishRequest, ReturnAddress};

/// What waits on one channel.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) waiting: VecDeque<Waiting>,
    /// The ids of publications that wait, with their offsets.
    pub(crate) ids: HashMap<Box<str>, u64, foldhash::fast::RandomState>,
}

/// One that waits.
#[derive(Debug)]
pub(crate) enum Waiting {
    Publication {
        ticket: Option<u64>,
        placed: Placed,
        id: Option<Box<str>>,
    },
    /// It is the same as one that waits.
    Duplicate {
        position: Position,
        origin: Option<ReturnAddress>,
    },
    /// It demands a position that the channel does not have if all goes well.
    Conflict(Box<PublishRequest>),
}

/// Queues that are empty, for the next channels on which something waits: else each publication would allocate one.
#[derive(Debug, Default)]
#[allow(clippy::vec_box, reason = "a channel has one in its box")]
pub(crate) struct Spare(Vec<Box<Queue>>);

/// Queues that are kept.
const SPARE_MAX: usize = 64;
/// Places of a queue that is kept.
const PLACES_MAX: usize = 256;

impl Spare {
    pub(crate) fn take(&mut self) -> Box<Queue> {
        self.0.pop().unwrap_or_default()
    }

    /// Takes back a queue in which nothing waits.
    pub(crate) fn give_back(&mut self, mut queue: Box<Queue>) {
        let is_small = queue.waiting.capacity() <= PLACES_MAX && queue.ids.capacity() <= PLACES_MAX;
        if is_small && self.0.len() < SPARE_MAX {
            queue.waiting.clear();
            queue.ids.clear();
            self.0.push(queue);
        }
    }
}

impl Queue {
    /// The offset of the last publication that waits.
    pub(crate) fn last(&self) -> Option<u64> {
        self.waiting.iter().rev().find_map(|waiting| match waiting {
            Waiting::Publication { placed, .. } => Some(placed.publication.position.offset),
            Waiting::Duplicate { .. } | Waiting::Conflict(_) => None,
        })
    }

    /// Whether the publication of this ticket waits.
    pub(crate) fn has(&self, ticket: u64) -> bool {
        self.waiting.iter().any(|waiting| waiting.ticket() == Some(ticket))
    }
}

impl Waiting {
    pub(crate) fn ticket(&self) -> Option<u64> {
        if let Self::Publication { ticket, .. } = self { *ticket } else { None }
    }

    pub(crate) fn offset(&self) -> u64 {
        if let Self::Publication { placed, .. } = self { placed.publication.position.offset } else { 0 }
    }

    /// Who is told what became of it.
    pub(crate) fn origin(&self) -> Option<ReturnAddress> {
        match self {
            Self::Publication { placed, .. } => placed.origin,
            Self::Duplicate { origin, .. } => *origin,
            Self::Conflict(request) => request.origin,
        }
    }
}
