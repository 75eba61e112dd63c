//! The loads. Each runs against one server that is already listening, is bounded in time, and returns what it measured.

pub mod beside;
pub mod channel;
pub mod channels;
pub mod connect;
pub mod deflate;
pub mod durable;
pub mod echo;
pub mod fanout;
pub mod idle;
pub mod latency;
mod percentiles;
pub mod resume;
mod room;
mod speech;
pub mod subscribed;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::{Value, json};

use crate::{machine, tls::Tls};

/// The server under load.
#[derive(Debug)]
pub struct Target {
    pub addr: SocketAddr,
    pub pid: u32,
    pub path: String,
    /// Where the connection is not plain.
    pub tls: Option<Tls>,
}

/// The measured span: its start is set when the warm-up is over.
#[derive(Debug)]
pub struct Span {
    pid: u32,
    warm_up_until: Instant,
    duration: Duration,
    started: Option<Moment>,
    ended: Option<Moment>,
}

#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Instant,
    cpu_ns: u64,
    user_ns: u64,
    count: u64,
}

impl Span {
    pub fn new(pid: u32, warm_up: Duration, duration: Duration) -> Self {
        Self { pid, warm_up_until: Instant::now() + warm_up, duration, started: None, ended: None }
    }

    /// Call between batches with the number of events so far; returns false once the span has ended.
    pub fn goes_on(&mut self, count: u64) -> Result<bool> {
        let now = Instant::now();
        match self.started {
            None if now >= self.warm_up_until => self.started = Some(self.moment(now, count)?),
            Some(start) if now >= start.at + self.duration && self.ended.is_none() => {
                self.ended = Some(self.moment(now, count)?);
            }
            _ => {}
        }
        Ok(self.ended.is_none())
    }

    fn moment(&self, at: Instant, count: u64) -> Result<Moment> {
        Ok(Moment { at, cpu_ns: machine::cpu_ns(self.pid)?, user_ns: machine::user_ns(self.pid)?, count })
    }

    /// Events, CPU nanoseconds of the server for each, and events a second of wall-clock time.
    pub fn result(&self) -> Value {
        let (Some(start), Some(end)) = (self.started, self.ended) else { return Value::Null };
        let count = end.count - start.count;
        let cpu = end.cpu_ns - start.cpu_ns;
        json!({
            "count": count,
            "server_cpu_ns": cpu,
            "server_user_ns": end.user_ns.saturating_sub(start.user_ns),
            "server_cpu_ns_each": cpu as f64 / count.max(1) as f64,
            "per_second": count as f64 / (end.at - start.at).as_secs_f64(),
        })
    }
}
