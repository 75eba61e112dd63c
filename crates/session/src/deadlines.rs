//! When a session must be looked at again, by reason.

use switchboard_core::Deadline;

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
}

impl Deadlines {
    pub(crate) fn next(&self) -> Deadline {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_core::Time;

    #[test]
    fn the_nearest_is_next_and_never_is_none() {
        let at = Time::from_secs;
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.next(), Deadline::NEVER);
        assert!(!deadlines.drain.is_due(at(u64::MAX)));
        deadlines.expiry = Some(at(9)).into();
        deadlines.heartbeat = at(7).into();
        assert_eq!(deadlines.next(), at(7).into());
        deadlines.heartbeat = None.into();
        assert_eq!(deadlines.next(), at(9).into());
        assert!(deadlines.expiry.is_due(at(9)) && !deadlines.expiry.is_due(at(8)));
    }
}
