//! How long to wait before the next attempt to connect. Owns the count of attempts; knows no clock, and randomness is given to it.

use core::time::Duration;

/// The waits between attempts: any time up to a bound that doubles, so that many clients of a server that came back do not come at once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

/// The bound of the first wait.
const FIRST: Duration = Duration::from_millis(500);
/// No wait is longer.
const MAX: Duration = Duration::from_secs(30);
/// A connection that lasted so long was a good one: the next wait is a first one again.
const GOOD: Duration = Duration::from_secs(5);

impl Backoff {
    /// The next wait, at this point of the range by chance.
    pub(crate) fn next(&mut self, random: u64) -> Duration {
        let bound = FIRST.saturating_mul(1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX)).min(MAX);
        self.attempts = (self.attempts + 1).min(31);
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(random % (micros + 1))
    }

    /// How many waits there were in a row.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// A connection has ended that stood for so long.
    pub(crate) fn lasted(&mut self, time: Duration) {
        if time >= GOOD {
            self.attempts = 0;
        }
    }
}

/// Numbers that differ from one run to the next because their seed does (SplitMix64). Nothing depends on their being unforeseeable.
#[derive(Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bound_doubles_up_to_its_end_and_a_good_connection_begins_anew() {
        let mut backoff = Backoff::default();
        for millis in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let bound = millis * 1_000;
            assert_eq!(backoff.next(bound), Duration::from_millis(millis));
        }
        backoff.lasted(Duration::from_secs(4));
        assert_eq!(backoff.attempts(), 8);
        backoff.lasted(Duration::from_secs(5));
        assert_eq!(backoff.next(500_000), Duration::from_millis(500));
        assert_eq!(backoff.next(0), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_its_bound(seed in any::<u64>(), waits in 1_usize..80) {
            let (mut backoff, mut chance) = (Backoff::default(), Chance(seed));
            for _ in 0..waits {
                prop_assert!(backoff.next(chance.next()) <= MAX);
            }
        }
    }
}
