//! A token bucket in one number (GCRA): how fast one client may ask.

use core::time::Duration;
use switchboard_core::{Limits, Time};

/// Tokens come at a steady rate and gather up to a burst.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// When the bucket will be full again.
    full_at: Time,
}

impl Bucket {
    /// Whether nobody would notice if it were a new one.
    pub(crate) fn is_full(&self, now: Time) -> bool {
        self.full_at <= now
    }

    /// Takes a token. If there is none, says when there will be.
    pub(crate) fn take(&mut self, now: Time, limits: &Limits) -> Result<(), Time> {
        if limits.operations_per_second == 0 {
            return Ok(());
        }
        let interval = Duration::from_secs(1) / limits.operations_per_second;
        let full_at = self.full_at.max(now) + interval;
        let horizon = now + interval * limits.operations_burst.max(1);
        if full_at > horizon {
            return Err(now + full_at.since(horizon));
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let limits = Limits { operations_per_second: 10, operations_burst: 3, ..Limits::default() };
        let mut bucket = Bucket::default();
        let at = Time::from_millis;
        for _ in 0..3 {
            assert_eq!(bucket.take(at(1_000), &limits), Ok(()));
        }
        assert_eq!(bucket.take(at(1_000), &limits), Err(at(1_100)));
        assert_eq!(bucket.take(at(1_099), &limits), Err(at(1_100)));
        assert_eq!(bucket.take(at(1_100), &limits), Ok(()));
        assert!(bucket.take(at(1_100), &limits).is_err());
        for _ in 0..3 {
            assert_eq!(bucket.take(at(9_000), &limits), Ok(()));
        }
        assert!(bucket.take(at(9_000), &limits).is_err());
    }

    #[test]
    fn no_rate_is_no_limit() {
        let limits = Limits { operations_per_second: 0, ..Limits::default() };
        let mut bucket = Bucket::default();
        assert!((0..100_000).all(|_| bucket.take(Time::default(), &limits).is_ok()));
    }
}
