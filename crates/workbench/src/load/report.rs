//! What came of a load, for people, programs and spreadsheets.

use super::html;
use super::process::Usage;
use super::tally::Tally;
use core::fmt::Write;
use core::time::Duration;
use serde_json::{Value, json};

/// The percentiles that are told.
pub(crate) const PERCENTILES: [f64; 6] = [50.0, 75.0, 90.0, 99.0, 99.9, 99.99];

/// What a load consisted of and came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// In words: kind, connections, rate, size.
    pub what: String,
    /// Where to, without a query.
    pub url: String,
    /// How long it was measured.
    pub measured: Duration,
    /// Everything together.
    pub total: Tally,
    /// What was counted in each quarter of a second or so, and when it ended.
    pub rows: Vec<(Duration, Tally)>,
    /// What the generator and the server used, if it is known.
    pub figures: Figures,
}

/// What processes used while it was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The generator.
    pub generator: Option<Usage>,
    /// The server.
    pub server: Option<Usage>,
    /// By how much the server's resident memory grew, in bytes.
    pub server_grew: Option<i64>,
}

impl Summary {
    /// Adds what was counted.
    pub fn add(&mut self, at: Duration, tally: Tally) {
        self.total.add(&tally);
        // Threads tell in turn: what belongs to one moment is one row.
        match self.rows.last_mut() {
            Some((last, row)) if at.saturating_sub(*last) < Duration::from_millis(100) => row.add(&tally),
            _ => self.rows.push((at, tally)),
        }
    }

    /// What counts: messages that came back, or connections that were opened.
    pub fn count(&self) -> u64 {
        if self.total.received > 0 { self.total.received } else { self.total.opened }
    }

    /// The value at a percentile, in nanoseconds.
    pub fn percentile(&self, percentile: f64) -> u64 {
        self.total.latency.value_at_quantile(percentile / 100.0)
    }

    /// CPU time for each of what counts.
    fn each(&self, usage: Option<Usage>) -> Option<Duration> {
        let count = u32::try_from(self.count()).ok().filter(|count| *count > 0)?;
        usage.map(|usage| usage.cpu / count)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let total = &self.total;
        let seconds = self.measured.as_secs_f64();
        let _ = writeln!(text, "{} at {}", self.what, self.url);
        if total.received > 0 {
            let rate = total.received as f64 / seconds;
            let mebibytes = total.received_bytes as f64 / seconds / 1_048_576.0;
            let _ = writeln!(
                text,
                "messages     {} sent, {} received: {rate:.0} a second, {mebibytes:.2} MiB/s",
                total.sent, total.received
            );
        }
        let _ = writeln!(text, "connections  {} opened, {} lost", total.opened, total.lost);
        if !total.latency.is_empty() {
            let _ = write!(text, "latency     ");
            for percentile in PERCENTILES {
                let _ = write!(text, " p{percentile} {}", short(self.percentile(percentile)));
            }
            let _ = writeln!(text, " max {}", short(total.latency.max()));
        }
        if let Some(each) = self.each(self.figures.generator) {
            let _ = write!(text, "CPU time     {} a piece here", short(nanos(each)));
            match self.each(self.figures.server) {
                Some(each) => writeln!(text, ", {} in the server", short(nanos(each))),
                None => writeln!(text),
            }
            .unwrap_or_default();
        }
        if let Some(grew) = self.figures.server_grew {
            let opened = i64::try_from(total.opened).unwrap_or(i64::MAX).max(1);
            let _ = writeln!(
                text,
                "memory       the server grew by {} KiB, {} bytes a connection",
                grew / 1024,
                grew / opened
            );
        }
        for (what, count) in &total.errors {
            let _ = writeln!(text, "error        {count} × {what}");
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let percentiles = |tally: &Tally| {
            let of = |p: f64| (format!("p{p}"), json!(tally.latency.value_at_quantile(p / 100.0)));
            PERCENTILES
                .map(of)
                .into_iter()
                .chain([("max".to_owned(), json!(slowest(tally)))])
                .collect::<serde_json::Map<_, _>>()
        };
        let row = |(at, tally): &(Duration, Tally)| {
            json!({
                "at_ms": u64::try_from(at.as_millis()).unwrap_or(u64::MAX), "sent": tally.sent, "received": tally.received,
                "opened": tally.opened, "latency_ns": percentiles(tally),
            })
        };
        let total = &self.total;
        json!({
            "what": self.what, "url": self.url, "measured_ms": u64::try_from(self.measured.as_millis()).unwrap_or(u64::MAX),
            "sent": total.sent, "received": total.received, "received_bytes": total.received_bytes,
            "opened": total.opened, "lost": total.lost, "errors": total.errors, "latency_ns": percentiles(total),
            "generator_cpu_ns_each": self.each(self.figures.generator).map(nanos),
            "server_cpu_ns_each": self.each(self.figures.server).map(nanos),
            "server_grew_bytes": self.figures.server_grew,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }

    /// For spreadsheets: a line for each moment.
    pub fn csv(&self) -> String {
        let mut csv = String::from("at_ms,sent,received,opened,lost,errors,p50_ns,p99_ns,max_ns\n");
        for (at, tally) in &self.rows {
            let (p50, p99) = (tally.latency.value_at_quantile(0.5), tally.latency.value_at_quantile(0.99));
            let _ = writeln!(
                csv,
                "{},{},{},{},{},{},{p50},{p99},{}",
                at.as_millis(),
                tally.sent,
                tally.received,
                tally.opened,
                tally.lost,
                tally.error_count(),
                slowest(tally)
            );
        }
        csv
    }

    /// A page of its own, with plots.
    pub fn html(&self) -> String {
        html::page(self)
    }
}

/// The longest latency. An empty histogram knows of one all the same.
fn slowest(tally: &Tally) -> u64 {
    if tally.latency.is_empty() { 0 } else { tally.latency.max() }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A time with three digits and a unit.
pub(crate) fn short(nanos: u64) -> String {
    let value = nanos as f64;
    match nanos {
        0..=999 => format!("{nanos} ns"),
        1_000..=999_999 => format!("{:.1} µs", value / 1e3),
        1_000_000..=999_999_999 => format!("{:.2} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}
