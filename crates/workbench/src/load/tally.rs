//! What has been counted and measured, of one thread or of all. Owns histograms.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Latencies beyond are counted as this: a minute, in nanoseconds.
const LATENCY_MAX: u64 = 60_000_000_000;
/// Kinds of errors that are told apart.
const ERRORS_MAX: usize = 16;

/// Counts and latencies.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Latencies in nanoseconds.
    pub latency: Histogram<u64>,
    /// Messages sent.
    pub sent: u64,
    /// Messages received, each whole and the one that had to come.
    pub received: u64,
    /// Bytes of their payloads.
    pub received_bytes: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that ended before they should.
    pub lost: u64,
    /// What went wrong, how often.
    pub errors: BTreeMap<String, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            latency: histogram(),
            sent: 0,
            received: 0,
            received_bytes: 0,
            opened: 0,
            lost: 0,
            errors: BTreeMap::new(),
        }
    }
}

/// Three digits, from a microsecond to a minute.
fn histogram() -> Histogram<u64> {
    // These bounds are good ones; if they were not, one that grows by itself would do.
    Histogram::new_with_bounds(1_000, LATENCY_MAX, 3)
        .or_else(|_| Histogram::new(3))
        .unwrap_or_else(|_| unreachable!("three digits are allowed"))
}

impl Tally {
    /// Counts a latency, in nanoseconds.
    pub fn record(&mut self, nanos: u64) {
        self.latency.saturating_record(nanos.min(LATENCY_MAX));
    }

    /// Counts an error.
    pub fn error(&mut self, what: impl Into<String>) {
        let what = what.into();
        let known = self.errors.contains_key(&what) || self.errors.len() < ERRORS_MAX;
        *self.errors.entry(if known { what } else { "others".to_owned() }).or_default() += 1;
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.latency.add(&other.latency);
        self.sent += other.sent;
        self.received += other.received;
        self.received_bytes += other.received_bytes;
        self.opened += other.opened;
        self.lost += other.lost;
        for (what, count) in &other.errors {
            *self.errors.entry(what.clone()).or_default() += count;
        }
    }

    /// Takes what has been counted since, and begins anew.
    pub fn take(&mut self) -> Self {
        let taken = self.clone();
        self.latency.reset();
        (self.sent, self.received, self.received_bytes, self.opened, self.lost) = (0, 0, 0, 0, 0);
        self.errors.clear();
        taken
    }

    /// All errors together.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}
