//! Which ids a channel remembers: a window, bounded in time and in number.

use crate::logs::shrink;
use core::time::Duration;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::Time;
use switchboard_core::canary::{Canary, is_planted};

/// The ids of a channel's latest publications that had one, with the offset that each got.
///
/// An id is remembered for the time that was set when its publication came, whatever is set later, if not more than the number that is set came after it.
#[derive(Debug, Default)]
pub struct Idempotency {
    offsets: HashMap<Arc<str>, u64, foldhash::fast::RandomState>,
    /// In the order of their publications, and so of their offsets.
    order: VecDeque<Remembered>,
    bytes: usize,
}

/// A list with no more places than these is left as it is, however little is in it.
const ORDER_KEPT: usize = 1_024;

/// One publication's id. Where the time that is set was made shorter, its time may be over while it stands behind one that has more: then the id may come again, and
/// stands here twice, while the table has the later offset.
#[derive(Debug)]
struct Remembered {
    until: Time,
    offset: u64,
    id: Arc<str>,
}

impl Idempotency {
    /// The offset of the publication that had this id, if it is remembered.
    pub fn find(&mut self, now: Time, id: &str) -> Option<u64> {
        self.expire(now);
        let offset = *self.offsets.get(id)?;
        let at = self.order.partition_point(|known| known.offset < offset);
        self.order.get(at).filter(|known| now < known.until).map(|known| known.offset)
    }

    /// Remembers an id that [`find`](Self::find) did not know, of a publication behind all others, for `ttl`, and of all no more than `count`.
    pub fn remember(&mut self, now: Time, id: Box<str>, offset: u64, ttl: Duration, count: usize) {
        if count == 0 || ttl.is_zero() {
            return;
        }
        let ttl = if is_planted(Canary::IdsTooLong) { ttl * 4 } else { ttl };
        let id: Arc<str> = id.into();
        self.bytes += cost(&id);
        self.offsets.insert(Arc::clone(&id), offset);
        self.order.push_back(Remembered { until: now + ttl, offset, id });
        while self.order.len() > count {
            self.forget_oldest();
        }
    }

    /// Forgets those whose time is over, up to the first whose is not.
    pub fn expire(&mut self, now: Time) {
        while self.order.front().is_some_and(|oldest| oldest.until <= now) {
            self.forget_oldest();
        }
        if self.order.is_empty() && self.order.capacity() > 0 {
            *self = Self::default();
        }
    }

    /// Forgets one, for want of room.
    pub fn forget_oldest(&mut self) {
        if let Some(Remembered { offset, id, .. }) = self.order.pop_front() {
            self.bytes -= cost(&id);
            if self.offsets.get(&id) == Some(&offset) {
                self.offsets.remove(&id);
            }
            shrink(&mut self.offsets);
            if self.order.capacity() > ORDER_KEPT && self.order.len() < self.order.capacity() / 4 {
                self.order.shrink_to(2 * self.order.len());
            }
        }
    }

    /// The offset of the oldest publication whose id is remembered.
    pub fn oldest(&self) -> Option<u64> {
        self.order.front().map(|oldest| oldest.offset)
    }

    /// When the oldest ends.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.order.front().map(|oldest| oldest.until)
    }

    /// What it costs, in bytes.
    pub fn cost(&self) -> usize {
        /// The smallest tables.
        const TABLES: usize = 256;
        if self.order.is_empty() { 0 } else { TABLES + self.bytes }
    }

    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        self.order.capacity().max(self.offsets.capacity())
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

fn cost(id: &str) -> usize {
    /// Its places in tables that have just grown, and the header of the shared text.
    const FLAT: usize = 144;
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
        assert_eq!(ids.cost(), 256 + 2 * 145);
    }

    #[test]
    fn none_is_remembered_where_none_shall_be() {
        let mut ids = Idempotency::default();
        ids.remember(Time::from_secs(0), "a".into(), 1, TTL, 0);
        ids.remember(Time::from_secs(0), "b".into(), 2, Duration::ZERO, 9);
        assert!(ids.is_empty());
    }

    #[test]
    fn a_shorter_time_holds_for_what_comes_then_and_for_nothing_before() {
        let mut ids = Idempotency::default();
        ids.remember(Time::from_secs(0), "old".into(), 1, TTL, 9);
        ids.remember(Time::from_secs(1), "new".into(), 2, TTL / 10, 9);
        assert_eq!((ids.find(Time::from_secs(2), "old"), ids.find(Time::from_secs(2), "new")), (Some(1), None));
        ids.remember(Time::from_secs(2), "new".into(), 3, TTL, 9);
        assert_eq!(ids.find(Time::from_secs(9), "new"), Some(3));
        // Those of before go, and take nothing of it along.
        assert_eq!((ids.find(Time::from_secs(10), "old"), ids.find(Time::from_secs(10), "new")), (None, Some(3)));
        ids.expire(Time::from_secs(12));
        assert_eq!((ids.cost(), ids.is_empty()), (0, true));
    }
}
