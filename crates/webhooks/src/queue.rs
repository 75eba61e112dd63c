//! What waits for one webhook, and which part of it is a request.
//!
//! Bounded in bytes; when it is full the oldest go, because a receiver that comes back is served best by what is new. What is on its way stays. Knows nothing of
//! when a request is made, nor of who answers it.

use crate::settings::Settings;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::Time;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    next_sequence: u64,
    /// The first so many are a request that was made and not answered for good.
    batch: usize,
    /// It is on its way now.
    on_the_way: bool,
    /// Of those that were dropped, how many the receiver does not know of.
    pub(crate) lost: u64,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) at: Time,
    pub(crate) event: Arc<str>,
}

/// Events that wait no longer: all that waited from the first of these numbers to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) count: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Entry {
    fn cost(&self) -> usize {
        self.event.len() + OVERHEAD
    }
}

/// What an event takes beside its text.
const OVERHEAD: usize = 64;

impl Queue {
    /// Queues an event. Returns its number unless it is too large for any queue, and those that had to go for it.
    pub(crate) fn push(&mut self, at: Time, event: Arc<str>, bytes_max: usize) -> (Option<u64>, Vec<u64>) {
        let entry = Entry { sequence: self.next_sequence, at, event };
        let mut gone = Vec::new();
        let kept: usize = if self.on_the_way { self.batch } else { 0 };
        let fixed: usize = self.entries.iter().take(kept).map(Entry::cost).sum();
        if fixed + entry.cost() > bytes_max {
            return (None, gone);
        }
        while self.bytes + entry.cost() > bytes_max
            && let Some(oldest) = self.entries.remove(kept)
        {
            self.bytes -= oldest.cost();
            gone.push(oldest.sequence);
        }
        if !gone.is_empty() && !self.on_the_way {
            self.batch = 0;
        }
        self.next_sequence += 1;
        self.bytes += entry.cost();
        let sequence = entry.sequence;
        self.entries.push_back(entry);
        (Some(sequence), gone)
    }

    /// Takes out what happened before a time, unless it is on its way.
    pub(crate) fn expire(&mut self, before: Time) -> Option<Taken> {
        if self.on_the_way {
            return None;
        }
        let count = self.entries.iter().take_while(|entry| entry.at < before).count();
        if count > 0 {
            self.batch = 0;
        }
        self.take(count)
    }

    /// When the oldest that may expire happened.
    pub(crate) fn oldest(&self) -> Option<Time> {
        self.entries.front().filter(|_| !self.on_the_way).map(|entry| entry.at)
    }

    /// When the next request wants to be made; `None` if there is nothing for one, or one is on its way.
    pub(crate) fn due(&self, settings: &Settings) -> Option<Time> {
        let first = self.entries.front().filter(|_| !self.on_the_way)?;
        let full = self.batch > 0 || self.entries.len() >= settings.batch_events || self.bytes >= settings.batch_bytes;
        Some(if full { first.at } else { first.at + settings.batch_wait })
    }

    /// Puts the next request together. One that failed is the same again.
    pub(crate) fn begin(&mut self, settings: &Settings) -> impl Iterator<Item = &Entry> {
        if self.batch == 0 {
            let mut bytes = 0;
            let fits = |entry: &&Entry| {
                bytes += entry.event.len();
                bytes <= settings.batch_bytes
            };
            self.batch = self.entries.iter().take(settings.batch_events).take_while(fits).count().max(1);
        }
        self.on_the_way = true;
        self.entries.iter().take(self.batch)
    }

    /// The request is answered; `done` if its events shall not be sent again. Returns which.
    pub(crate) fn end(&mut self, done: bool) -> Option<Taken> {
        self.on_the_way = false;
        if !done {
            return None;
        }
        let batch = core::mem::take(&mut self.batch);
        self.take(batch)
    }

    fn take(&mut self, count: usize) -> Option<Taken> {
        let taken: Vec<Entry> = self.entries.drain(..count.min(self.entries.len())).collect();
        self.bytes -= taken.iter().map(Entry::cost).sum::<usize>();
        Some(Taken { count: taken.len() as u64, first: taken.first()?.sequence, last: taken.last()?.sequence })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sequences(queue: &Queue) -> Vec<u64> {
        queue.iter().map(|entry| entry.sequence).collect()
    }

    fn push(queue: &mut Queue, bytes: usize) -> (Option<u64>, Vec<u64>) {
        let event = "x".repeat(bytes - OVERHEAD);
        queue.push(Time::from_secs(queue.next_sequence), event.into(), 1_000)
    }

    #[test]
    fn a_full_queue_lets_its_oldest_go_but_not_what_is_on_its_way() {
        let mut queue = Queue::default();
        for _ in 0..10 {
            assert!(push(&mut queue, 100).1.is_empty());
        }
        assert_eq!(push(&mut queue, 150), (Some(10), vec![0, 1]));
        let settings = Settings { batch_events: 3, ..Settings::default() };
        assert_eq!(queue.begin(&settings).map(|entry| entry.sequence).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(push(&mut queue, 100), (Some(11), vec![5]));
        assert_eq!(push(&mut queue, 701), (None, vec![]));
        assert_eq!(push(&mut queue, 700), (Some(12), vec![6, 7, 8, 9, 10, 11]));
        assert_eq!((queue.bytes(), sequences(&queue)), (1_000, vec![2, 3, 4, 12]));
        assert_eq!(queue.end(true), Some(Taken { count: 3, first: 2, last: 4 }));
        assert_eq!((queue.bytes(), sequences(&queue)), (700, vec![12]));
        assert_eq!(push(&mut queue, 1_001), (None, vec![]));
        assert_eq!(sequences(&queue), [12]);
    }

    #[test]
    fn a_request_that_failed_is_the_same_again_unless_it_lost_a_part() {
        let settings = Settings { batch_events: 2, ..Settings::default() };
        let mut queue = Queue::default();
        let batch = |queue: &mut Queue| queue.begin(&settings).map(|entry| entry.sequence).collect::<Vec<_>>();
        push(&mut queue, 100);
        assert_eq!(batch(&mut queue), [0]);
        push(&mut queue, 100);
        assert_eq!(queue.due(&settings), None);
        assert_eq!(queue.end(false), None);
        assert_eq!(batch(&mut queue), [0]);
        queue.end(false);
        push(&mut queue, 900);
        assert_eq!(batch(&mut queue), [1, 2]);
        assert_eq!(queue.expire(Time::from_secs(9)), None);
        queue.end(false);
        assert_eq!(queue.expire(Time::from_secs(2)), Some(Taken { count: 1, first: 1, last: 1 }));
        assert_eq!(batch(&mut queue), [2]);
    }

    #[test]
    fn a_request_has_at_most_so_many_events_and_bytes_but_at_least_one() {
        let settings = Settings { batch_events: 3, batch_bytes: 100, ..Settings::default() };
        let mut queue = Queue::default();
        for bytes in [OVERHEAD + 101, OVERHEAD + 50, OVERHEAD + 50, OVERHEAD + 1, OVERHEAD, OVERHEAD, OVERHEAD] {
            push(&mut queue, bytes);
        }
        let mut sizes = Vec::new();
        while queue.len() > 0 {
            sizes.push(queue.begin(&settings).count());
            queue.end(true);
        }
        assert_eq!((sizes, queue.bytes()), (vec![1, 2, 3, 1], 0));
    }
}
