//! The one clock of a shard: read once a turn, however many messages the turn carries.

use core::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use switchboard_core::Time;

/// Wall-clock time at the start plus monotonic time since.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_time: Time,
    now: Cell<Time>,
    fresh: Cell<bool>,
    reads: Cell<u64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start_time = Time::default() + since_1970;
        Self {
            start: Instant::now(),
            start_time,
            now: Cell::new(start_time),
            fresh: Cell::new(false),
            reads: Cell::new(0),
        }
    }

    /// The time of this turn.
    pub(crate) fn now(&self) -> Time {
        if !self.fresh.replace(true) {
            self.now.set(self.start_time + self.start.elapsed());
            self.reads.set(self.reads.get() + 1);
        }
        self.now.get()
    }

    /// The next call reads the clock again.
    pub(crate) fn end_turn(&self) {
        self.fresh.set(false);
    }

    /// How often it was read.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.get()
    }

    /// The instant of a time, for the runtime's timers.
    pub(crate) fn instant(&self, time: Time) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + time.since(self.start_time))
    }
}
