//! A point in time, as a number that somebody else measured.

use core::ops::Add;
use core::time::Duration;

/// Microseconds since 1970-01-01T00:00:00Z, never going back.
///
/// The driver derives it from the monotonic clock plus the wall clock at start, so that it serves both timers and timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// From microseconds since 1970.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// From milliseconds since 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// From seconds since 1970, as JWT claims give them.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Seconds since 1970.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The time from `earlier` to `self`, zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// A time or never, in the room of a time: what there are ten thousands of has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

impl Deadline {
    /// No time.
    pub const NEVER: Self = Self(u64::MAX);

    /// The time, if there is one.
    pub fn get(self) -> Option<Time> {
        (self != Self::NEVER).then(|| Time::from_micros(self.0))
    }

    /// Whether it is not later than now.
    pub fn is_due(self, now: Time) -> bool {
        self.get().is_some_and(|at| at <= now)
    }
}

impl Default for Deadline {
    fn default() -> Self {
        Self::NEVER
    }
}

impl From<Time> for Deadline {
    fn from(time: Time) -> Self {
        Self(time.as_micros())
    }
}

impl From<Option<Time>> for Deadline {
    fn from(time: Option<Time>) -> Self {
        time.map_or(Self::NEVER, Self::from)
    }
}
