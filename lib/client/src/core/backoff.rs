//! How long to wait before trying again. Owns the count of attempts; randomness was given.

use std::time::Duration;

/// SplitMix64: jitter has to spread clients, not to resist anybody.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Full jitter: anything from nothing up to `base` · 2^`attempt`, and to `max`.
    pub(super) fn delay(&mut self, base: Duration, max: Duration, attempt: u32) -> Duration {
        let ceiling = base.saturating_mul(2_u32.saturating_pow(attempt)).min(max);
        let ceiling = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.number() % ceiling.saturating_add(1).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_spread_over_everything_up_to_a_ceiling_that_doubles() {
        let mut random = Random::new(1);
        let (base, max) = (Duration::from_millis(500), Duration::from_secs(20));
        for (attempt, ceiling) in [(0, 500), (1, 1_000), (2, 2_000), (5, 16_000), (6, 20_000), (4_000, 20_000)] {
            let delays: Vec<_> = (0..2_000).map(|_| random.delay(base, max, attempt)).collect();
            let ceiling = Duration::from_millis(ceiling);
            assert!(delays.iter().all(|delay| *delay <= ceiling), "{attempt}");
            assert!(delays.iter().any(|delay| *delay < ceiling / 20), "{attempt}");
            assert!(delays.iter().any(|delay| *delay > ceiling / 20 * 19), "{attempt}");
        }
        assert_eq!(random.delay(Duration::ZERO, max, 3), Duration::ZERO);
        assert!(random.delay(Duration::MAX, Duration::MAX, 3) <= Duration::MAX);
    }
}
