//! A point in time, as a number that somebody else measured.

use core::ops::Add;
use core::time::Duration;

/// Microseconds since an epoch of the caller's choice, never going back.
///
/// ```
/// use core::time::Duration;
/// use switchboard_ws_proto::Time;
///
/// let start = Time::from_micros(1_000_000);
/// let later = start + Duration::from_millis(5);
/// assert_eq!(later.saturating_sub(start), Duration::from_millis(5));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The epoch itself. As a deadline it means: at once.
    pub const ZERO: Self = Self(0);

    /// From microseconds since the epoch.
    ///
    /// ```
    /// use switchboard_ws_proto::Time;
    ///
    /// assert!(Time::from_micros(1) > Time::ZERO);
    /// ```
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    ///
    /// ```
    /// assert_eq!(switchboard_ws_proto::Time::from_micros(7).as_micros(), 7);
    /// ```
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`, zero if `earlier` is later.
    ///
    /// ```
    /// use core::time::Duration;
    /// use switchboard_ws_proto::Time;
    ///
    /// assert_eq!(Time::from_micros(7).saturating_sub(Time::from_micros(5)), Duration::from_micros(2));
    /// ```
    pub const fn saturating_sub(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}
