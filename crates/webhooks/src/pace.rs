//! When a receiver that fails is tried again: exponential backoff with full jitter, and behind it a circuit breaker.
//!
//! Knows nothing of what is sent.

use crate::settings::Settings;
use core::time::Duration;
use switchboard_core::Time;

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was taken.
    Accepted,
    /// It will never be taken, whenever it comes.
    Refused,
    /// It may be taken another time, after this long if the receiver said so.
    Failed {
        /// `Retry-After`
        retry_after: Option<Duration>,
    },
}

impl Answer {
    /// What a status means. A redirection is not followed, and the same request would bring it again: that is a refusal.
    pub fn of(status: u16, retry_after: Option<Duration>) -> Self {
        match status {
            200..=299 => Self::Accepted,
            // The receiver was slow, or not ready, or asks for less.
            408 | 425 | 429 => Self::Failed { retry_after },
            300..=499 => Self::Refused,
            _ => Self::Failed { retry_after },
        }
    }
}

/// Whether requests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Yes.
    Closed,
    /// One, to see.
    HalfOpen,
    /// No.
    Open,
}

/// One receiver's failures.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// In a row.
    failures: u32,
    not_before: Option<Time>,
}

impl Pace {
    pub(crate) fn is_ready(&self, now: Time) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    pub(crate) fn not_before(&self) -> Option<Time> {
        self.not_before
    }

    pub(crate) fn breaker(&self, now: Time, settings: &Settings) -> Breaker {
        match self.failures < settings.breaker_failures {
            true => Breaker::Closed,
            false if self.is_ready(now) => Breaker::HalfOpen,
            false => Breaker::Open,
        }
    }

    /// The receiver works: it has taken or refused something.
    pub(crate) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// Returns whether that opened the breaker.
    pub(crate) fn fail(&mut self, now: Time, settings: &Settings, retry_after: Option<Duration>, random: u64) -> bool {
        self.failures = self.failures.saturating_add(1);
        let wait = match self.failures.checked_sub(settings.breaker_failures) {
            None => spread(doubled(settings.retry_first, self.failures - 1).min(settings.retry_max), random),
            // Open: it waits for at least half, since a wait of nothing would be none.
            Some(probes) => {
                let wait = doubled(settings.breaker_wait, probes).min(settings.breaker_wait_max);
                wait / 2 + spread(wait / 2, random)
            }
        };
        let asked = retry_after.unwrap_or_default().min(settings.retry_max);
        self.not_before = Some(now + wait.max(asked));
        self.failures == settings.breaker_failures
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
}

/// A part of the duration, by a random number.
fn spread(duration: Duration, random: u64) -> Duration {
    let micros = u128::from(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    // The high half of the product: every part is as likely.
    Duration::from_micros(u64::try_from((micros * u128::from(random)) >> 64).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(1_000);
    const LATEST: u64 = u64::MAX;

    fn wait(pace: &Pace) -> u64 {
        pace.not_before().map_or(0, |at| at.since(NOW).as_micros().div_ceil(1_000_000) as u64)
    }

    #[test]
    fn waits_double_up_to_the_longest_and_then_the_breaker_opens() {
        let settings = Settings { breaker_failures: 9, ..Settings::default() };
        let mut pace = Pace::default();
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert!(!pace.fail(NOW, &settings, None, LATEST));
            assert_eq!(pace.breaker(NOW, &settings), Breaker::Closed);
            waits.push(wait(&pace));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(pace.fail(NOW, &settings, None, LATEST));
        assert_eq!((pace.breaker(NOW, &settings), wait(&pace)), (Breaker::Open, 30));
        let later = NOW + Duration::from_secs(30);
        assert!(pace.is_ready(later));
        assert_eq!(pace.breaker(later, &settings), Breaker::HalfOpen);
        assert!(!pace.fail(NOW, &settings, None, LATEST));
        assert_eq!(wait(&pace), 60);
        for _ in 0..100 {
            pace.fail(NOW, &settings, None, LATEST);
        }
        assert_eq!(wait(&pace), 300);
        pace.succeed();
        assert_eq!((pace.breaker(NOW, &settings), pace.is_ready(NOW)), (Breaker::Closed, true));
    }

    #[test]
    fn jitter_is_full_while_the_breaker_is_closed_and_half_while_it_is_open() {
        let settings = Settings { breaker_failures: 2, ..Settings::default() };
        let mut pace = Pace::default();
        pace.fail(NOW, &settings, None, 0);
        assert_eq!(pace.not_before(), Some(NOW));
        pace.fail(NOW, &settings, None, 0);
        assert_eq!(pace.not_before(), Some(NOW + Duration::from_secs(15)));
        pace.fail(NOW, &settings, None, 1 << 63);
        assert_eq!(pace.not_before(), Some(NOW + Duration::from_secs(45)));
    }

    #[test]
    fn a_receiver_can_ask_for_time_but_not_for_ever() {
        let settings = Settings::default();
        for (asked, waited) in [(0, 0), (7, 7), (60, 60), (86_400, 60), (u64::MAX, 60)] {
            let mut pace = Pace::default();
            pace.fail(NOW, &settings, Some(Duration::from_secs(asked)), 0);
            assert_eq!(wait(&pace), waited, "{asked}");
        }
    }

    #[test]
    fn every_status_means_one_thing() {
        let failed = Answer::Failed { retry_after: None };
        for (status, meant) in [
            (200, Answer::Accepted),
            (204, Answer::Accepted),
            (299, Answer::Accepted),
            (301, Answer::Refused),
            (304, Answer::Refused),
            (400, Answer::Refused),
            (401, Answer::Refused),
            (404, Answer::Refused),
            (410, Answer::Refused),
            (408, failed),
            (425, failed),
            (429, failed),
            (500, failed),
            (503, failed),
            (999, failed),
            (101, failed),
        ] {
            assert_eq!(Answer::of(status, None), meant, "{status}");
        }
    }
}
