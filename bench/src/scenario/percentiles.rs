//! Times of single messages, bounded in number.

use serde_json::{Value, json};

#[derive(Debug, Default)]
pub(super) struct Percentiles {
    ns: Vec<u32>,
}

/// 16 MB.
const SAMPLES_MAX: usize = 4_000_000;

impl Percentiles {
    pub(super) fn add(&mut self, ns: u64) {
        if self.ns.len() < SAMPLES_MAX {
            self.ns.push(u32::try_from(ns).unwrap_or(u32::MAX));
        }
    }

    /// The time in nanoseconds that this share of the messages did not exceed.
    pub(super) fn at(&mut self, share: f64) -> Option<f64> {
        self.ns.sort_unstable();
        let index = (self.ns.len() as f64 * share) as usize;
        self.ns.get(index.min(self.ns.len().checked_sub(1)?)).copied().map(f64::from)
    }

    /// In microseconds; nothing if there are none.
    pub(super) fn us(&mut self) -> Option<Value> {
        let mut us = |share| self.at(share).map(|ns| ns / 1000.0);
        Some(json!({ "p50": us(0.5)?, "p99": us(0.99)?, "p999": us(0.999)? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_messages_took_no_longer() {
        let mut times = Percentiles::default();
        assert_eq!(times.us(), None);
        (1..=1000).rev().for_each(|ns| times.add(ns * 1000));
        let us = times.us().unwrap();
        assert_eq!(
            (us["p50"].as_f64(), us["p99"].as_f64(), us["p999"].as_f64()),
            (Some(501.0), Some(991.0), Some(1000.0))
        );
        times.add(u64::MAX);
        assert_eq!(times.at(1.0), Some(f64::from(u32::MAX)));
    }
}
