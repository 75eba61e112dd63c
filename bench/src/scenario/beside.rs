//! A small channel alone, and beside a large one that keeps the server busy: how long the small one's messages take.

use std::{thread, time::Duration};

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use super::{
    Target,
    latency::messages_in,
    room::{Pace, Room},
};
use crate::machine;

#[derive(Debug)]
pub struct Beside {
    pub size: usize,
    /// Subscribers of the small channel.
    pub small: usize,
    /// Of the large one.
    pub large: usize,
    /// The share of the time for which the large channel shall keep the server busy.
    pub load: f64,
    /// Of each of both.
    pub duration: Duration,
}

/// Between two messages of the small channel: no simple part of what is between two of the large one.
const SMALL_PERIOD: Duration = Duration::from_micros(3_170);
/// The large channel begins before, and goes on after.
const MARGIN: Duration = Duration::from_millis(300);
/// Messages of the large channel that tell what a delivery costs, as many for warming up.
const CALIBRATION: u64 = 5;

impl Beside {
    pub fn run(&self, target: &Target) -> Result<Value> {
        let mut small = Room::open(target, "small", self.small, self.size)?;
        let mut large = Room::open(target, "large", self.large, self.size)?;
        let small_pace = Pace { period: SMALL_PERIOD, messages: messages_in(self.duration, SMALL_PERIOD) };
        small.calibrate(100)?;
        let mut alone = small.by_the_clock(small_pace)?;
        let delivery_ns = large.calibrate(CALIBRATION)?;
        let period = large.period(delivery_ns, self.load);
        let large_pace = Pace { period, messages: messages_in(self.duration + 2 * MARGIN, period) };
        let cpu = || machine::cpu_ns(target.pid);
        let (mut beside, busy) = thread::scope(|scope| -> Result<_> {
            let large = scope.spawn(|| large.by_the_clock(large_pace));
            thread::sleep(MARGIN);
            let (begin, before) = (std::time::Instant::now(), cpu()?);
            let times = small.by_the_clock(small_pace)?;
            let busy = (cpu()? - before) as f64 / begin.elapsed().as_nanos() as f64;
            large.join().map_err(|_| anyhow!("the large channel panicked"))??;
            Ok((times, busy))
        })?;
        let ratio = beside.at(0.99).zip(alone.at(0.99)).map(|(beside, alone)| beside / alone);
        Ok(json!({
            "alone_us": alone.us().context("nothing was measured")?,
            "latency_us": beside.us().context("nothing was measured")?,
            "latency_us_p99": beside.at(0.99).map(|ns| ns / 1000.0),
            "p99_ratio": ratio,
            "subscribers": large.subscribers(),
            "publications_per_second": 1.0 / period.as_secs_f64(),
            "server_busy_percent": busy * 100.0,
        }))
    }
}
