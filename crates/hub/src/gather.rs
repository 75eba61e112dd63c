//! Answers that several shards give together, kept until the last has come.

use crate::address::Caller;
use crate::why::merge;
use hashbrown::HashMap;
use switchboard_core::{Occupancy, OpId, Outcome, Trail};

/// One shard's part of an answer.
#[derive(Debug)]
pub(crate) enum Part {
    /// Its occupied channels in the order of their names: one more than were asked for, if there are others.
    Channels { channels: Vec<Occupancy>, limit: usize },
    /// So many of its sessions were concerned.
    Affected(u64),
    /// What it remembers of a publication.
    Trail(Box<Trail>),
}

/// What is being put together on this shard. Bounded by the callers' pending operations.
#[derive(Debug, Default)]
pub(crate) struct Gathers {
    waiting: HashMap<(Caller, OpId), Gather, foldhash::fast::RandomState>,
}

#[derive(Debug)]
struct Gather {
    /// Shards that have not answered.
    left: u16,
    channels: Vec<Occupancy>,
    sessions: u64,
    trail: Option<Box<Trail>>,
}

impl Gathers {
    pub(crate) fn begin(&mut self, caller: Caller, op: OpId, shards: u16) {
        let gather = Gather { left: shards, channels: Vec::new(), sessions: 0, trail: None };
        self.waiting.insert((caller, op), gather);
    }

    /// Adds a part; the whole if it was the last.
    pub(crate) fn add(&mut self, caller: Caller, op: OpId, part: Part) -> Option<Outcome> {
        let gather = self.waiting.get_mut(&(caller, op))?;
        gather.left = gather.left.saturating_sub(1);
        let last = gather.left == 0;
        let outcome = match part {
            Part::Channels { mut channels, limit } => {
                gather.channels.append(&mut channels);
                // Each part is in order, so this merges.
                gather.channels.sort_by(|a, b| a.channel.cmp(&b.channel));
                gather.channels.truncate(limit + 1);
                last.then(|| {
                    let mut channels = core::mem::take(&mut gather.channels);
                    let more = channels.len() > limit;
                    channels.truncate(limit);
                    Outcome::Channels { channels, more }
                })
            }
            Part::Affected(sessions) => {
                gather.sessions += sessions;
                last.then_some(Outcome::Affected { sessions: gather.sessions })
            }
            Part::Trail(part) => {
                let is_first = gather.trail.is_none();
                let trail = gather.trail.get_or_insert_default();
                merge(trail, *part, is_first);
                last.then(|| Outcome::Why(core::mem::take(trail)))
            }
        };
        if last {
            self.waiting.remove(&(caller, op));
        }
        outcome
    }

    /// It was refused before anybody could answer.
    pub(crate) fn abandon(&mut self, caller: Caller, op: OpId) {
        if !self.waiting.is_empty() {
            self.waiting.remove(&(caller, op));
        }
    }
}
