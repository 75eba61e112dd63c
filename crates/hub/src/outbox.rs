//! What waits for one subscriber: bounded in bytes, with a policy for when it is full.

use crate::lane::Lane;
use bytes::Bytes;
use switchboard_core::{Encoded, Overflow};

/// A queue of encoded messages. Pushing never waits.
#[derive(Debug)]
pub struct Outbox {
    queue: Lane<Entry>,
    bytes: usize,
    bytes_max: usize,
    /// Whether anything was pushed since somebody last asked.
    used: bool,
    /// Whether anything has left for the socket.
    begun: bool,
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

impl Run {
    /// In place of a channel's number: it comes by a pattern, and its channel need not be on the roster.
    pub(crate) const OF_PATTERNS: u32 = u32::MAX;

    /// Whether both are runs of the same channel.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        self.number == other.number && self.generation == other.generation
    }
}

#[derive(Debug)]
struct Entry {
    encoded: Encoded,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Never dropped: answers, events, and channels whose policy is another.
    Fixed,
    /// What may be dropped.
    Run(Run),
    /// What was dropped, until its notice takes the place.
    Hole(Run),
    /// The notice of what was dropped. Never dropped itself.
    Notice(Run),
}

impl Outbox {
    /// An empty outbox for at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { queue: Lane::new(), bytes: 0, bytes_max, used: false, begun: false }
    }

    /// Queues an answer or an event.
    pub fn push(&mut self, encoded: Encoded) -> Result<(), OutboxFull> {
        self.used = true;
        if self.bytes + encoded.len() > self.bytes_max && !self.queue.is_empty() {
            return Err(OutboxFull);
        }
        self.append(encoded, Kind::Fixed);
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
                self.append(Encoded::default(), Kind::Hole(run));
                return Ok(());
            }
        }
        self.append(encoded, if droppable { Kind::Run(run) } else { Kind::Fixed });
        Ok(())
    }

    /// Puts the notice of publications that are lost where they were, so that whoever has read a publication has read of every loss before it. `None` where a
    /// protocol has no words for it. Where there is no room, more runs go, and are put into `dropped`.
    pub(crate) fn push_gap(
        &mut self,
        encoded: Option<Encoded>,
        run: Run,
        dropped: &mut Vec<Run>,
    ) -> Result<(), OutboxFull> {
        let covers = |hole: Run| hole.is_of(&run) && run.first <= hole.first && hole.last <= run.last;
        let is_hole = |entry: &Entry| matches!(entry.kind, Kind::Hole(hole) if covers(hole));
        // What was dropped side by side is told as one.
        let place = self.queue.remove_all(is_hole).unwrap_or(usize::MAX);
        let Some(encoded) = encoded else { return Ok(()) };
        self.used = true;
        if self.bytes + encoded.len() > self.bytes_max {
            self.drop_oldest(encoded.len(), dropped);
            if self.bytes + encoded.len() > self.bytes_max && !self.queue.is_empty() {
                return Err(OutboxFull);
            }
        }
        self.bytes += encoded.len();
        self.queue.insert(place, Entry { encoded, kind: Kind::Notice(run) });
        Ok(())
    }

    /// Takes back the notice of what was lost just before this run and still waits: both are told as one, or the notices of a long absence would fill the outbox.
    pub(crate) fn absorb_notice(&mut self, run: Run) -> Run {
        let precedes = |entry: &&mut Entry| matches!(entry.kind, Kind::Notice(known) if known.is_of(&run) && known.last + 1 == run.first);
        let Some(entry) = self.queue.iter_mut().find(precedes) else { return run };
        let Kind::Notice(known) = entry.kind else { return run };
        self.bytes -= entry.encoded.len();
        *entry = Entry { encoded: Encoded::default(), kind: Kind::Hole(known) };
        Run { first: known.first, ..run }
    }

    /// Queues a run of a replay, which is only let go on while there is [room](Self::room_for_replay).
    pub(crate) fn push_replay(&mut self, encoded: Encoded, run: Run, overflow: Overflow) {
        self.used = true;
        self.append(encoded, if overflow == Overflow::DropOldest { Kind::Run(run) } else { Kind::Fixed });
    }

    /// Keeps the place for the notice of publications that are lost.
    pub(crate) fn push_hole(&mut self, run: Run) {
        self.append(Encoded::default(), Kind::Hole(run));
    }

    fn append(&mut self, encoded: Encoded, kind: Kind) {
        self.bytes += encoded.len();
        self.queue.push_back(Entry { encoded, kind });
    }

    fn drop_oldest(&mut self, room: usize, dropped: &mut Vec<Run>) {
        let mut excess = (self.bytes + room).saturating_sub(self.bytes_max);
        for entry in self.queue.iter_mut() {
            if excess == 0 {
                return;
            }
            if let Kind::Run(run) = entry.kind {
                excess = excess.saturating_sub(entry.encoded.len());
                self.bytes -= entry.encoded.len();
                *entry = Entry { encoded: Encoded::default(), kind: Kind::Hole(run) };
                dropped.push(run);
            }
        }
    }

    /// The next message for the socket.
    pub fn pop(&mut self) -> Option<Encoded> {
        let mut entry = self.queue.pop_front()?;
        while let Kind::Hole(_) = entry.kind {
            entry = self.queue.pop_front()?;
        }
        self.bytes -= entry.encoded.len();
        self.begun = true;
        Some(entry.encoded)
    }

    /// The one message that waits, if it is one: mostly it is.
    #[inline]
    pub fn only(&self) -> Option<&[u8]> {
        self.queue.only().map(|entry| entry.encoded.as_slice()).filter(|bytes| !bytes.is_empty())
    }

    /// The messages that wait, to be written from where they are. Say by [`advance`](Self::advance) how much of them was.
    pub fn waiting(&self) -> impl Iterator<Item = &[u8]> {
        self.queue.iter().map(|entry| entry.encoded.as_slice()).filter(|bytes| !bytes.is_empty())
    }

    /// So many bytes of what [waits](Self::waiting) have left for the socket. If the last of them are a part of a message, its rest, which has left the outbox too:
    /// it must come before anything else.
    pub fn advance(&mut self, mut bytes: usize) -> Option<Bytes> {
        if self.only().is_some_and(|message| message.len() == bytes) {
            self.queue.remove_only();
            self.bytes = 0;
            self.begun = true;
            return None;
        }
        while bytes > 0
            && let Some(encoded) = self.pop()
        {
            if bytes < encoded.len() {
                return Some(encoded.into_bytes().split_off(bytes));
            }
            bytes -= encoded.len();
        }
        None
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

    /// Forgets what waits, to make room for last words. What was to come first of all stays, so that a client is never dismissed before it was greeted.
    pub(crate) fn clear_for_last_words(&mut self) {
        let greeting = self.queue.pop_front().filter(|entry| !self.begun && matches!(entry.kind, Kind::Fixed));
        self.clear();
        if let Some(greeting) = greeting {
            self.bytes_max = self.bytes_max.saturating_add(greeting.encoded.len());
            self.append(greeting.encoded, Kind::Fixed);
        }
    }

    /// Forgets everything: the connection is lost.
    pub fn clear(&mut self) {
        self.queue = Lane::new();
        self.bytes = 0;
    }

    /// Whether anything was pushed since the last call. If nothing was, the subscriber is idle and keeps no room for the next turn.
    pub fn take_used(&mut self) -> bool {
        if !self.used {
            self.queue.shrink();
        }
        core::mem::take(&mut self.used)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
    fn what_has_left_is_gone_and_the_rest_of_a_message_is_handed_over() {
        let mut outbox = Outbox::new(100);
        let mut dropped = Vec::new();
        outbox.push(Encoded::new(Bytes::from_static(b"one"))).unwrap();
        outbox.push_run(block(96), run(1), Overflow::DropOldest, &mut dropped).unwrap();
        outbox
            .push_run(Encoded::new(Bytes::from_static(b"three")), run(2), Overflow::DropOldest, &mut dropped)
            .unwrap();
        // What was dropped waits no longer, and its place is nothing to write.
        assert!(outbox.waiting().eq([&b"one"[..], b"three"]));
        assert_eq!((outbox.advance(0), outbox.advance(3)), (None, None));
        assert_eq!(outbox.advance(2), Some(Bytes::from_static(b"ree")));
        assert_eq!((outbox.is_empty(), outbox.len(), outbox.waiting().count()), (true, 0, 0));
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
    fn a_loss_is_told_where_it_was() {
        let mut outbox = Outbox::new(100);
        let mut dropped = Vec::new();
        outbox.push(block(1)).unwrap();
        outbox.push_run(block(60), run(1), Overflow::DropOldest, &mut dropped).unwrap();
        outbox.push(block(2)).unwrap();
        outbox.push_run(block(61), run(2), Overflow::DropOldest, &mut dropped).unwrap();
        assert_eq!(dropped, [run(1)]);
        outbox.push_gap(Some(Encoded::new(Bytes::from(vec![0; 3]))), run(1), &mut dropped).unwrap();
        let lengths =
            |outbox: &mut Outbox| core::iter::from_fn(|| outbox.pop().map(|entry| entry.len())).collect::<Vec<_>>();
        assert_eq!(lengths(&mut outbox), [1, 3, 2, 61]);
        // Where a protocol has no words for it, nothing is left of the place.
        outbox.push_run(block(60), run(3), Overflow::DropOldest, &mut dropped).unwrap();
        outbox.push_run(block(61), run(4), Overflow::DropOldest, &mut dropped).unwrap();
        outbox.push_gap(None, run(3), &mut dropped).unwrap();
        assert_eq!((outbox.queue.iter().count(), lengths(&mut outbox)), (1, vec![61]));
    }

    #[test]
    fn losses_side_by_side_are_told_as_one() {
        let mut outbox = Outbox::new(100);
        let mut dropped = Vec::new();
        for offset in 1..=20 {
            outbox.push_run(block(40), run(offset), Overflow::DropOldest, &mut dropped).unwrap();
            for lost in core::mem::take(&mut dropped) {
                let all = outbox.absorb_notice(lost);
                outbox.push_gap(Some(block(10)), all, &mut dropped).unwrap();
            }
        }
        assert_eq!((dropped, outbox.len()), (vec![], 90));
        let notice = outbox.queue.iter().next().map(|entry| entry.kind);
        assert!(matches!(notice, Some(Kind::Notice(Run { first: 1, last: 18, .. }))), "{notice:?}");
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
