//! When messages ought to go. Owns the arithmetic of an open loop.

use core::time::Duration;

/// The beat of a generator: what is due is sent together at each of its moments.
const BEAT: Duration = Duration::from_millis(1);

/// A constant rate, in beats.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Messages in a second.
    rate: f64,
    /// Messages that have been due so far.
    done: u64,
    /// Beats that have passed.
    beats: u64,
}

impl Pace {
    /// So many in a second.
    pub fn new(rate: f64) -> Self {
        Self { rate: rate.max(0.0), done: 0, beats: 0 }
    }

    /// The moment of the next beat, from the beginning.
    pub fn next_beat(&self) -> Duration {
        BEAT * u32::try_from(self.beats).unwrap_or(u32::MAX)
    }

    /// The next beat that is due `now`: its moment, from which latencies count, and how many messages go then. A generator that comes late gets one beat after the
    /// other, each with its own moment.
    pub fn take(&mut self, now: Duration) -> Option<(Duration, u64)> {
        let moment = self.next_beat();
        if now < moment {
            return None;
        }
        self.beats += 1;
        // What would be due by the end of the beat.
        let due = (self.next_beat().as_secs_f64() * self.rate) as u64;
        let count = due.saturating_sub(self.done);
        self.done = self.done.max(due);
        Some((moment, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whenever the generator looks, as many have been due as the rate says, and none before its time.
        #[test]
        fn a_rate_is_kept_however_late_one_looks(rate in 0.5_f64..200_000.0, looks in proptest::collection::vec(0_u64..50, 1..100)) {
            let mut pace = Pace::new(rate);
            let (mut now, mut sent) = (Duration::ZERO, 0);
            for look in looks {
                now += Duration::from_millis(look);
                while let Some((moment, count)) = pace.take(now) {
                    prop_assert!(moment <= now);
                    sent += count;
                }
                let due = (now + BEAT).as_secs_f64() * rate;
                prop_assert!((sent as f64) <= due && sent as f64 > due - rate * 0.001 - 1.0, "{sent} of {due}");
            }
        }
    }
}
