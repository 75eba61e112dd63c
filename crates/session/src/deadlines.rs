//! When a session must be looked at again, by reason.

use core::time::Duration;
use switchboard_core::{Deadline, Time};

/// What will happen when, unless something comes before.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// To break the silence.
    pub(crate) heartbeat: Deadline,
    /// To have authenticated.
    pub(crate) authentication: Deadline,
    /// To be told that the token ends.
    pub(crate) expiry_warning: Deadline,
    /// The token ends.
    pub(crate) expiry: Deadline,
    /// A right ends that others may outlive.
    pub(crate) grants: Deadline,
    /// To have had enough.
    pub(crate) patience: Deadline,
    /// To be read again.
    pub(crate) pace: Deadline,
    /// To be sent away.
    pub(crate) drain: Deadline,
    /// The time that it shall wait then before it returns.
    pub(crate) return_after: Duration,
}

impl Deadlines {
    pub(crate) fn next(&self) -> Option<Time> {
        [
            self.heartbeat,
            self.authentication,
            self.expiry_warning,
            self.expiry,
            self.grants,
            self.patience,
            self.pace,
            self.drain,
        ]
        .into_iter()
        .fold(Deadline::NEVER, Deadline::min)
        .get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_next_and_never_is_none() {
        let at = Time::from_secs;
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.next(), None);
        assert!(!deadlines.drain.is_due(at(u64::MAX)));
        deadlines.expiry = Some(at(9)).into();
        deadlines.heartbeat = at(7).into();
        assert_eq!(deadlines.next(), Some(at(7)));
        deadlines.heartbeat = None.into();
        assert_eq!(deadlines.next(), Some(at(9)));
        assert!(deadlines.expiry.is_due(at(9)) && !deadlines.expiry.is_due(at(8)));
    }
}
