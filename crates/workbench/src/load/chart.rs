//! What happens now, on a terminal: some lines that are drawn again and again.

use super::report::short;
use super::tally::Tally;
use core::fmt::Write;
use core::time::Duration;
use std::collections::VecDeque;

/// Moments that a chart shows.
const COLUMNS: usize = 60;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A live chart of rate and latency.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    rates: VecDeque<f64>,
    latencies: VecDeque<u64>,
    last: Duration,
    drawn: bool,
}

impl Chart {
    /// Takes in what was counted in a moment, and returns what to print: it takes the place of what was printed before.
    pub fn draw(&mut self, at: Duration, of: Duration, tally: &Tally) -> String {
        let span = at.saturating_sub(self.last).as_secs_f64().max(0.001);
        self.last = at;
        let count = tally.received.max(tally.opened);
        push(&mut self.rates, count as f64 / span);
        push(&mut self.latencies, tally.latency.value_at_quantile(0.99));
        let mut out = String::new();
        if self.drawn {
            out.push_str("\x1b[3F");
        }
        self.drawn = true;
        let highest = self.rates.iter().copied().fold(1.0, f64::max);
        let rates = bars(self.rates.iter().map(|rate| rate / highest));
        let slowest = self.latencies.iter().copied().max().unwrap_or(1).max(1) as f64;
        let latencies = bars(self.latencies.iter().map(|latency| *latency as f64 / slowest));
        let _ = writeln!(out, "\x1b[K{:>5.1} of {:.0} s", at.as_secs_f64(), of.as_secs_f64());
        let _ = writeln!(out, "\x1b[Ka second {rates:<COLUMNS$} {:.0}", self.rates.back().unwrap_or(&0.0));
        let _ = writeln!(out, "\x1b[Kp99      {latencies:<COLUMNS$} {}", short(*self.latencies.back().unwrap_or(&0)));
        out
    }
}

fn push<T>(row: &mut VecDeque<T>, value: T) {
    if row.len() == COLUMNS {
        row.pop_front();
    }
    row.push_back(value);
}

fn bars(parts: impl Iterator<Item = f64>) -> String {
    let bar = |part: f64| {
        let index = (part.clamp(0.0, 1.0) * (BARS.len() - 1) as f64).round() as usize;
        BARS.get(index).copied().unwrap_or('█')
    };
    parts.map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_stays_in_its_place_and_within_its_width() {
        let mut chart = Chart::default();
        for n in 1..200 {
            let mut tally = Tally { received: n * 10, ..Tally::default() };
            tally.record(n * 1_000_000);
            let drawn = chart.draw(Duration::from_millis(250 * n), Duration::from_secs(50), &tally);
            assert_eq!(drawn.lines().count(), 3);
            assert_eq!(drawn.starts_with("\x1b[3F"), n > 1);
            assert!(drawn.lines().all(|line| line.chars().count() < COLUMNS + 40), "{drawn}");
        }
    }
}
