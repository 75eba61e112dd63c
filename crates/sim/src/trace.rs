//! What happened, as a hash that two runs can be compared by and, on demand, as lines to read.

use switchboard_core::Time;

/// FNV-1a over everything that happened, in order.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    /// How many things happened.
    pub(crate) count: u64,
    print: bool,
    begin: Time,
}

impl Trace {
    pub(crate) fn new(begin: Time, print: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, count: 0, print, begin }
    }

    /// The hash of everything so far.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Something happened. `detail` is only asked for when lines are wanted.
    pub(crate) fn note(&mut self, now: Time, what: &str, numbers: &[u64], detail: impl FnOnce() -> String) {
        self.count += 1;
        self.add(what.as_bytes());
        self.add(&now.as_micros().to_le_bytes());
        for number in numbers {
            self.add(&number.to_le_bytes());
        }
        if self.print {
            let at = now.as_micros().saturating_sub(self.begin.as_micros());
            say(&format!("{:>10}.{:03} ms  {what} {numbers:?} {}", at / 1_000, at % 1_000, detail()));
        }
    }

    /// Bytes that somebody received.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// A line for whoever runs the simulation.
#[allow(clippy::print_stdout, reason = "a command-line tool for developers talks on its standard output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
