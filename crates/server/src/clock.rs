//! The wall clock, for what is outside of the shards.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use switchboard_core::Time;

/// Now.
pub(crate) fn now() -> Time {
    Time::default() + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The wall clock as it was at the start, with what has passed since: it never goes back, whatever is set meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_time: Time,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), start_time: now() }
    }

    pub(crate) fn now(&self) -> Time {
        self.start_time + self.start.elapsed()
    }
}
