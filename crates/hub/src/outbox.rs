//! What waits for one subscriber: bounded in bytes, with a policy for when it is full.

use std::collections::VecDeque;
use switchboard_core::{Encoded, Overflow};

/// A queue of encoded messages. Pushing never waits.
#[derive(Debug)]
pub struct Outbox {
    queue: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
    /// Whether anything was pushed since somebody last asked.
    used: bool,
}

/// The outbox is full and its policy gives the subscriber up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the outbox is full")]
pub struct OutboxFull;

/// Publications of a channel that stand beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The shard's number for the channel.
    pub(crate) number: u32,
    /// Which of all that ever had the number: a run may outlive its channel.
    pub(crate) generation: u64,
    /// The first offset.
    pub(crate) first: u64,
    /// The last offset.
    pub(crate) last: u64,
}

#[derive(Debug)]
struct Entry {
    encoded: Encoded,
    /// What may be dropped. Absent for answers, events, and channels whose policy is another.
    run: Option<Run>,
}

impl Outbox {
    /// An empty outbox for at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, bytes_max, used: false }
    }

    /// Queues an answer or an event.
    pub fn push(&mut self, encoded: Encoded) -> Result<(), OutboxFull> {
        self.used = true;
        if self.bytes + encoded.len() > self.bytes_max && !self.queue.is_empty() {
            return Err(OutboxFull);
        }
        self.append(encoded, None);
        Ok(())
    }

    /// Queues a run of a channel's publications under the channel's policy. Runs that had to go for it are put into `dropped`; it may be this
    /// one, if what waits is not to be dropped.
    pub(crate) fn push_run(
        &mut self,
        encoded: Encoded,
        run: Run,
        overflow: Overflow,
        dropped: &mut Vec<Run>,
    ) -> Result<(), OutboxFull> {
        self.used = true;
        let droppable = match overflow {
            Overflow::Disconnect | Overflow::KeepLatest => false,
            Overflow::DropOldest => true,
        };
        if self.bytes + encoded.len() > self.bytes_max && !self.queue.is_empty() {
            if !droppable {
                return Err(OutboxFull);
            }
            self.drop_oldest(encoded.len(), dropped);
            if self.bytes + encoded.len() > self.bytes_max && !self.queue.is_empty() {
                dropped.push(run);
                return Ok(());
            }
        }
        self.append(encoded, droppable.then_some(run));
        Ok(())
    }

    /// Queues a run of a replay, which is only let go on while there is [room](Self::room_for_replay).
    pub(crate) fn push_replay(&mut self, encoded: Encoded, run: Run, overflow: Overflow) {
        self.used = true;
        self.append(encoded, (overflow == Overflow::DropOldest).then_some(run));
    }

    fn append(&mut self, encoded: Encoded, run: Option<Run>) {
        self.bytes += encoded.len();
        self.queue.push_back(Entry { encoded, run });
    }

    fn drop_oldest(&mut self, room: usize, dropped: &mut Vec<Run>) {
        let mut excess = (self.bytes + room).saturating_sub(self.bytes_max);
        self.queue.retain(|entry| {
            let Some(run) = entry.run else { return true };
            if excess == 0 {
                return true;
            }
            excess = excess.saturating_sub(entry.encoded.len());
            self.bytes -= entry.encoded.len();
            dropped.push(run);
            false
        });
    }

    /// The next message for the socket.
    pub fn pop(&mut self) -> Option<Encoded> {
        let entry = self.queue.pop_front()?;
        self.bytes -= entry.encoded.len();
        if self.queue.is_empty() && self.queue.capacity() > 8 {
            // An idle subscriber keeps no queue.
            self.queue = VecDeque::new();
        }
        Some(entry.encoded)
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes that a replay may add: half of the room stays free for what is live.
    pub fn room_for_replay(&self) -> usize {
        (self.bytes_max / 2).saturating_sub(self.bytes)
    }

    /// Bytes beyond which a subscriber counts as behind: what waits longer than that is better replaced by what is newer.
    pub(crate) fn behind_bytes(&self) -> usize {
        (self.bytes_max / 4).min(64 * 1024)
    }

    /// The bound, in bytes.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Forgets everything: the connection is lost.
    pub fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.bytes = 0;
    }

    /// Whether anything was pushed since the last call.
    pub fn take_used(&mut self) -> bool {
        core::mem::take(&mut self.used)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;

    fn block(len: usize) -> Encoded {
        Encoded::new(Bytes::from(vec![0; len]))
    }

    fn run(offset: u64) -> Run {
        Run { number: 4, generation: 1, first: offset, last: offset }
    }

    #[test]
    fn the_default_policy_gives_up_at_the_bound() {
        let mut outbox = Outbox::new(100);
        let mut dropped = Vec::new();
        let mut push = |outbox: &mut Outbox, len, offset| {
            outbox.push_run(block(len), run(offset), Overflow::Disconnect, &mut dropped)
        };
        push(&mut outbox, 60, 1).unwrap();
        push(&mut outbox, 40, 2).unwrap();
        assert_eq!(push(&mut outbox, 1, 3), Err(OutboxFull));
        outbox.pop();
        push(&mut outbox, 60, 3).unwrap();
        assert!(dropped.is_empty());
    }

    #[test]
    fn a_message_larger_than_the_bound_goes_out_if_nothing_waits() {
        let mut outbox = Outbox::new(100);
        outbox.push(block(101)).unwrap();
        assert_eq!(outbox.push(block(1)), Err(OutboxFull));
    }

    #[test]
    fn drop_oldest_drops_publications_and_never_answers() {
        let mut outbox = Outbox::new(100);
        let mut dropped = Vec::new();
        outbox.push(block(30)).unwrap();
        for offset in 1..=7 {
            outbox.push_run(block(10), run(offset), Overflow::DropOldest, &mut dropped).unwrap();
        }
        outbox.push_run(block(25), run(8), Overflow::DropOldest, &mut dropped).unwrap();
        assert_eq!(dropped, [run(1), run(2), run(3)]);
        assert_eq!(outbox.len(), 95);
        assert_eq!(outbox.pop().unwrap().len(), 30);
    }

    #[test]
    fn drop_oldest_never_drops_what_another_policy_protects() {
        let mut outbox = Outbox::new(100);
        let mut dropped = Vec::new();
        outbox.push_run(block(70), run(1), Overflow::Disconnect, &mut dropped).unwrap();
        outbox.push_run(block(20), run(2), Overflow::DropOldest, &mut dropped).unwrap();
        outbox.push_run(block(40), run(3), Overflow::DropOldest, &mut dropped).unwrap();
        assert_eq!((dropped, outbox.len()), (vec![run(2), run(3)], 70));
        assert_eq!(outbox.push(block(31)), Err(OutboxFull));
    }
}
