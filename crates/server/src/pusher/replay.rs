//! The signatures that have been used, so that a request which somebody has overheard is not carried out again.
//!
//! Two equal requests of the same second are signed alike, because the time in a signature is in seconds: the same signature is good for as long as the
//! libraries may need for such requests, and no longer. Where there is no room for more signatures the oldest go, and with them the right of
//! requests that old to be carried out at all: what cannot be told from a repetition counts as one.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use switchboard_core::{AppId, Time};

/// How far the time of a signature may be from ours, either way, in seconds.
pub(super) const WINDOW_SECONDS: u64 = 600;
/// How long after its first use a signature may be used again.
pub(super) const GRACE: Duration = Duration::from_secs(3);
/// Signatures that are remembered of one application: 10 minutes of 430 requests a second, in 12 MiB or so.
const SIGNATURES_MAX: usize = 256 * 1024;

/// Why a signature is not good any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stale {
    /// It was used before.
    Used,
    /// So many requests came since that it is not known whether it was.
    Forgotten,
}

/// Of all applications.
#[derive(Debug, Default)]
pub(super) struct Replays(Mutex<HashMap<AppId, Seen>>);

impl Replays {
    /// Takes note of a signature that was good, or refuses it.
    pub(super) fn admit(&self, app: &AppId, now: Time, timestamp: u64, signature: u128) -> Result<(), Stale> {
        let mut apps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = apps.get_mut(app) {
            return seen.admit(now, timestamp, signature, SIGNATURES_MAX);
        }
        // An application that is not there any more, or is never asked, costs nothing.
        apps.retain(|_, seen| !seen.forget_old(now));
        apps.entry(app.clone()).or_default().admit(now, timestamp, signature, SIGNATURES_MAX)
    }
}

#[derive(Debug, Default)]
struct Seen {
    first_use: HashMap<u128, Time>,
    by_timestamp: BTreeMap<u64, Vec<u128>>,
    /// Of these seconds and those before, some signatures are forgotten.
    forgotten: Option<u64>,
}

impl Seen {
    fn admit(&mut self, now: Time, timestamp: u64, signature: u128, max: usize) -> Result<(), Stale> {
        if let Some(first) = self.first_use.get(&signature) {
            return if now.since(*first) <= GRACE { Ok(()) } else { Err(Stale::Used) };
        }
        self.forget_old(now);
        if self.first_use.len() >= max
            && let Some((oldest, signatures)) = self.by_timestamp.pop_first()
        {
            self.forget(&signatures);
            self.forgotten = self.forgotten.max(Some(oldest));
        }
        if self.forgotten.is_some_and(|forgotten| timestamp <= forgotten) {
            return Err(Stale::Forgotten);
        }
        self.first_use.insert(signature, now);
        self.by_timestamp.entry(timestamp).or_default().push(signature);
        Ok(())
    }

    /// Drops what is refused for its age anyway. Returns whether nothing is left.
    fn forget_old(&mut self, now: Time) -> bool {
        while let Some(oldest) = self.by_timestamp.first_entry()
            && oldest.key().saturating_add(WINDOW_SECONDS) < now.as_secs()
        {
            let signatures = oldest.remove();
            self.forget(&signatures);
        }
        self.first_use.is_empty()
    }

    fn forget(&mut self, signatures: &[u128]) {
        for signature in signatures {
            self.first_use.remove(signature);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(1_000_000_000 + millis)
    }

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_signature_is_good_for_a_moment_and_then_no_more() {
        let seen = Replays::default();
        let app = AppId::new("a");
        assert_eq!(seen.admit(&app, at(0), SECOND, 1), Ok(()));
        assert_eq!(seen.admit(&app, at(3_000), SECOND, 1), Ok(()));
        // Its uses since then do not prolong it.
        assert_eq!(seen.admit(&app, at(3_001), SECOND, 1), Err(Stale::Used));
        assert_eq!(seen.admit(&app, at(600_000), SECOND, 1), Err(Stale::Used));
        assert_eq!(seen.admit(&app, at(600_000), SECOND, 2), Ok(()));
        assert_eq!(seen.admit(&AppId::new("b"), at(600_000), SECOND, 1), Ok(()), "another application's");
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_refused() {
        let mut seen = Seen::default();
        for n in 0..10 {
            assert_eq!(seen.admit(at(n * 1_000), SECOND + n, u128::from(n), 4), Ok(()));
            assert!(seen.first_use.len() <= 4 && seen.by_timestamp.len() <= 4);
        }
        for n in 0..6 {
            assert_eq!(seen.admit(at(10_000), SECOND + n, u128::from(n), 4), Err(Stale::Forgotten), "{n}");
        }
        assert_eq!(seen.admit(at(13_500), SECOND + 9, 9, 4), Err(Stale::Used));
        // A clock that is a little behind is no repetition as long as there is room for it.
        assert_eq!(seen.admit(at(13_500), SECOND + 9, 99, 5), Ok(()));
    }

    #[test]
    fn what_is_too_old_to_be_asked_again_is_not_kept() {
        let mut seen = Seen::default();
        assert_eq!(seen.admit(at(0), SECOND, 1, 4), Ok(()));
        assert_eq!(seen.admit(at(0), SECOND + 600, 2, 4), Ok(()));
        assert!(!seen.forget_old(at(601_000)));
        assert_eq!(seen.first_use.len(), 1);
        assert!(seen.forget_old(at(1_201_000)));
        assert!(seen.by_timestamp.is_empty());
    }
}
