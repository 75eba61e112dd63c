//! The loads. Each runs against one server that is already listening, is bounded in time, and returns what it measured.

pub mod connect;
pub mod deflate;
pub mod echo;
pub mod fanout;
pub mod idle;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::{Value, json};

use crate::machine;

/// The server under load.
#[derive(Debug)]
pub struct Target {
    pub addr: SocketAddr,
    pub pid: u32,
    pub path: String,
}

/// The measured span: its start is set when the warm-up is over.
#[derive(Debug)]
pub struct Span {
    pid: u32,
    warm_up_until: Instant,
    duration: Duration,
    started: Option<(Instant, u64, u64)>,
    ended: Option<(Instant, u64, u64)>,
}

impl Span {
    pub fn new(pid: u32, warm_up: Duration, duration: Duration) -> Self {
        Self { pid, warm_up_until: Instant::now() + warm_up, duration, started: None, ended: None }
    }

    /// Call between batches with the number of events so far; returns false once the span has ended.
    pub fn goes_on(&mut self, count: u64) -> Result<bool> {
        let now = Instant::now();
        match self.started {
            None if now >= self.warm_up_until => self.started = Some((now, machine::cpu_ns(self.pid)?, count)),
            Some((start, ..)) if now >= start + self.duration && self.ended.is_none() => {
                self.ended = Some((now, machine::cpu_ns(self.pid)?, count));
            }
            _ => {}
        }
        Ok(self.ended.is_none())
    }

    /// Events, CPU nanoseconds of the server for each, and events a second of wall-clock time.
    pub fn result(&self) -> Value {
        let (Some((start, cpu_start, count_start)), Some((end, cpu_end, count_end))) = (self.started, self.ended)
        else {
            return Value::Null;
        };
        let count = count_end - count_start;
        let cpu = cpu_end - cpu_start;
        json!({
            "count": count,
            "server_cpu_ns": cpu,
            "server_cpu_ns_each": cpu as f64 / count.max(1) as f64,
            "per_second": count as f64 / (end - start).as_secs_f64(),
        })
    }
}
