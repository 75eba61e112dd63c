//! Which ids a channel remembers: a window, bounded in time and in number.

use core::time::Duration;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::Time;
use switchboard_core::canary::{Canary, is_planted};

/// The ids of a channel's latest publications that had one, with the offset that each got.
///
/// An id is remembered for the time that is set, if not more than the number that is set came after it.
#[derive(Debug, Default)]
pub struct Idempotency {
    offsets: HashMap<Arc<str>, u64, foldhash::fast::RandomState>,
    /// By when they end. An id stands in it once.
    order: VecDeque<(Time, Arc<str>)>,
    bytes: usize,
}

impl Idempotency {
    /// The offset of the publication that had this id, if it is remembered.
    pub fn find(&mut self, now: Time, id: &str) -> Option<u64> {
        self.expire(now);
        self.offsets.get(id).copied()
    }

    /// Remembers an id that [`find`](Self::find) did not know, for `ttl`, and of all no more than `count`.
    pub fn remember(&mut self, now: Time, id: Box<str>, offset: u64, ttl: Duration, count: usize) {
        if count == 0 || ttl.is_zero() {
            return;
        }
        let ttl = if is_planted(Canary::IdsTooLong) { ttl * 4 } else { ttl };
        let id: Arc<str> = id.into();
        self.bytes += cost(&id);
        self.offsets.insert(Arc::clone(&id), offset);
        self.order.push_back((now + ttl, id));
        while self.order.len() > count {
            self.forget_oldest();
        }
    }

    /// Forgets those whose time is over.
    pub fn expire(&mut self, now: Time) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
        if self.order.is_empty() && self.order.capacity() > 0 {
            *self = Self::default();
        }
    }

    /// Forgets one, for want of room.
    pub fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.order.pop_front() {
            self.bytes -= cost(&id);
            self.offsets.remove(&id);
        }
    }

    /// When the oldest ends.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.order.front().map(|(until, _)| *until)
    }

    /// What it costs, in bytes.
    pub fn cost(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

fn cost(id: &str) -> usize {
    /// Two references, the header of the shared text, the time and the offset.
    const FLAT: usize = 80;
    FLAT + id.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn an_id_is_known_for_its_time() {
        let mut ids = Idempotency::default();
        ids.remember(Time::from_secs(0), "a".into(), 1, TTL, 9);
        ids.remember(Time::from_secs(5), "b".into(), 2, TTL, 9);
        assert_eq!(ids.find(Time::from_micros(9_999_999), "a"), Some(1));
        assert_eq!((ids.find(Time::from_secs(10), "a"), ids.find(Time::from_secs(10), "b")), (None, Some(2)));
        assert_eq!(ids.poll_timeout(), Some(Time::from_secs(15)));
        ids.expire(Time::from_secs(15));
        assert_eq!((ids.cost(), ids.is_empty()), (0, true));
    }

    #[test]
    fn the_oldest_go_where_there_are_too_many() {
        let mut ids = Idempotency::default();
        let now = Time::from_secs(0);
        for (id, offset) in [("a", 1), ("b", 2), ("c", 3)] {
            ids.remember(now, id.into(), offset, TTL, 2);
        }
        assert_eq!((ids.find(now, "a"), ids.find(now, "b"), ids.find(now, "c")), (None, Some(2), Some(3)));
        assert_eq!(ids.cost(), 2 * 81);
    }

    #[test]
    fn none_is_remembered_where_none_shall_be() {
        let mut ids = Idempotency::default();
        ids.remember(Time::from_secs(0), "a".into(), 1, TTL, 0);
        ids.remember(Time::from_secs(0), "b".into(), 2, Duration::ZERO, 9);
        assert!(ids.is_empty());
    }
}
