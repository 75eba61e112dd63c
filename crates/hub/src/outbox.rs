//! What waits for one subscriber: bounded in bytes, with a policy for when it is full.

use std::collections::VecDeque;
use switchboard_core::{Encoded, Overflow};

/// A queue of encoded messages. Pushing never waits.
#[derive(Debug)]
pub struct Outbox {
    queue: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
    overflow: Overflow,
    /// Whether anything was pushed since somebody last asked.
    used: bool,
}

/// The outbox is full and its policy gives the subscriber up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the outbox is full")]
pub struct OutboxFull;

/// Publications that were dropped: a channel by the shard's number for it, and the first and last offset.
pub(crate) type Dropped = (u32, u64, u64);

#[derive(Debug)]
struct Entry {
    encoded: Encoded,
    /// Absent for answers and events, which are never dropped.
    run: Option<Dropped>,
}

impl Outbox {
    /// An empty outbox for at most `bytes_max` bytes.
    pub fn new(bytes_max: usize, overflow: Overflow) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, bytes_max, overflow, used: false }
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

    /// Queues a run of a channel's publications. Runs that had to go for it are put into `dropped`.
    pub(crate) fn push_run(
        &mut self,
        encoded: Encoded,
        run: Dropped,
        dropped: &mut Vec<Dropped>,
    ) -> Result<(), OutboxFull> {
        self.used = true;
        if self.bytes + encoded.len() > self.bytes_max && !self.queue.is_empty() {
            match self.overflow {
                Overflow::Disconnect => return Err(OutboxFull),
                Overflow::DropOldest => self.drop_oldest(encoded.len(), dropped),
            }
        }
        self.append(encoded, Some(run));
        Ok(())
    }

    /// Queues a run of a replay, which is only let go on while there is [room](Self::room_for_replay).
    pub(crate) fn push_replay(&mut self, encoded: Encoded, run: Dropped) {
        self.used = true;
        self.append(encoded, Some(run));
    }

    fn append(&mut self, encoded: Encoded, run: Option<Dropped>) {
        self.bytes += encoded.len();
        self.queue.push_back(Entry { encoded, run });
    }

    fn drop_oldest(&mut self, room: usize, dropped: &mut Vec<Dropped>) {
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

    #[test]
    fn the_default_policy_gives_up_at_the_bound() {
        let mut outbox = Outbox::new(100, Overflow::Disconnect);
        let mut dropped = Vec::new();
        outbox.push_run(block(60), (0, 1, 1), &mut dropped).unwrap();
        outbox.push_run(block(40), (0, 2, 2), &mut dropped).unwrap();
        assert_eq!(outbox.push_run(block(1), (0, 3, 3), &mut dropped), Err(OutboxFull));
        outbox.pop();
        outbox.push_run(block(60), (0, 3, 3), &mut dropped).unwrap();
        assert!(dropped.is_empty());
    }

    #[test]
    fn a_message_larger_than_the_bound_goes_out_if_nothing_waits() {
        let mut outbox = Outbox::new(100, Overflow::Disconnect);
        outbox.push(block(101)).unwrap();
        assert_eq!(outbox.push(block(1)), Err(OutboxFull));
    }

    #[test]
    fn drop_oldest_drops_publications_and_never_answers() {
        let mut outbox = Outbox::new(100, Overflow::DropOldest);
        let mut dropped = Vec::new();
        outbox.push(block(30)).unwrap();
        for offset in 1..=7 {
            outbox.push_run(block(10), (4, offset, offset), &mut dropped).unwrap();
        }
        outbox.push_run(block(25), (4, 8, 8), &mut dropped).unwrap();
        assert_eq!(dropped, [(4, 1, 1), (4, 2, 2), (4, 3, 3)]);
        assert_eq!(outbox.len(), 95);
        assert_eq!(outbox.pop().unwrap().len(), 30);
    }
}
