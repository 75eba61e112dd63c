//! How long a message takes from when it was due to be published until it has reached each of its subscribers, while the server is busy for a given share of the
//! time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Target,
    room::{Pace, Room},
};
use crate::machine;

#[derive(Debug)]
pub struct Latency {
    pub size: usize,
    pub subscribers: usize,
    /// The share of the time for which the server shall be busy.
    pub load: f64,
    pub warm_up: Duration,
    pub duration: Duration,
}

impl Latency {
    pub fn run(&self, target: &Target) -> Result<Value> {
        let mut room = Room::open(target, "bench", self.subscribers, self.size)?;
        let delivery_ns = room.calibrate(CALIBRATION)?;
        let period = room.period(delivery_ns, self.load);
        let pace = |duration: Duration| Pace { period, messages: messages_in(duration, period) };
        room.by_the_clock(pace(self.warm_up))?;
        let (begin, cpu_before) = (Instant::now(), machine::cpu_ns(target.pid)?);
        let mut times = room.by_the_clock(pace(self.duration))?;
        let busy = (machine::cpu_ns(target.pid)? - cpu_before) as f64 / begin.elapsed().as_nanos() as f64;
        Ok(json!({
            "latency_us": times.us().context("nothing was measured")?,
            "latency_us_p99": times.at(0.99).map(|ns| ns / 1000.0),
            "subscribers": self.subscribers,
            "publications_per_second": 1.0 / period.as_secs_f64(),
            "server_busy_percent": busy * 100.0,
            "delivery_cpu_ns": delivery_ns,
        }))
    }
}

/// As many as fit, but one.
pub(super) fn messages_in(duration: Duration, period: Duration) -> u64 {
    (duration.as_secs_f64() / period.as_secs_f64()).max(1.0) as u64
}

/// Messages that tell what a delivery costs, as many for warming up.
const CALIBRATION: u64 = 50;
