//! When a connection of HTTP/2 is pinged, sent away or dropped, and how many resets are too many. Pure: time is an argument.

use crate::settings::Http2;
use core::time::Duration;
use switchboard_core::Time;

/// Watches over one connection.
#[derive(Debug)]
pub(super) struct Vigil {
    ping_interval: Duration,
    ping_timeout: Duration,
    idle_timeout: Duration,
    /// How long we wait for the end when we have said that it comes.
    grace: Duration,
    /// Since when there is no stream; moves on while there is one.
    idle_until: Time,
    ping_at: Time,
    pong_until: Option<Time>,
    /// Dropped then, whatever happens.
    ends_at: Option<Time>,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Ping,
    GoAway,
    Drop,
}

impl Vigil {
    /// The first request has `first_timeout`.
    pub(super) fn new(now: Time, first_timeout: Duration, settings: &Http2) -> Self {
        Self {
            ping_interval: settings.ping_interval,
            ping_timeout: settings.ping_timeout,
            idle_timeout: settings.idle_timeout,
            grace: first_timeout,
            idle_until: now + first_timeout,
            ping_at: now + settings.ping_interval,
            pong_until: None,
            ends_at: None,
        }
    }

    /// Whether this is the first time that it is told.
    pub(super) fn end(&mut self, now: Time) -> bool {
        let first = self.ends_at.is_none();
        self.ends_at.get_or_insert(now + self.grace);
        first
    }

    pub(super) fn receive_pong(&mut self, now: Time) {
        self.pong_until = None;
        self.ping_at = now + self.ping_interval;
    }

    pub(super) fn deadline(&self) -> Time {
        let next = self.pong_until.unwrap_or(self.ping_at);
        match self.ends_at {
            Some(ends_at) => next.min(ends_at),
            None => next.min(self.idle_until),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time, has_streams: bool) -> Option<Action> {
        if has_streams {
            self.idle_until = now + self.idle_timeout;
        }
        if self.ends_at.is_some_and(|time| time <= now) || self.pong_until.is_some_and(|time| time <= now) {
            return Some(Action::Drop);
        }
        if self.ends_at.is_none() && self.idle_until <= now {
            self.end(now);
            return Some(Action::GoAway);
        }
        if self.pong_until.is_none() && self.ping_at <= now {
            self.pong_until = Some(now + self.ping_timeout);
            return Some(Action::Ping);
        }
        None
    }
}

/// The resets that a client may do: many at once, as when a page with many WebSockets is closed, but not for long.
#[derive(Debug)]
pub(super) struct Resets {
    left: u32,
    refilled: Option<Time>,
}

const RESETS_AT_ONCE: u32 = 200;
const RESETS_PER_SECOND: u32 = 20;

impl Default for Resets {
    fn default() -> Self {
        Self { left: RESETS_AT_ONCE, refilled: None }
    }
}

impl Resets {
    /// Counts one; `false` if it was one too many.
    pub(super) fn allow(&mut self, now: Time) -> bool {
        let since = *self.refilled.get_or_insert(now);
        let seconds = u32::try_from(now.since(since).as_secs()).unwrap_or(u32::MAX);
        if seconds > 0 {
            self.left = self.left.saturating_add(seconds.saturating_mul(RESETS_PER_SECOND)).min(RESETS_AT_ONCE);
            self.refilled = Some(now);
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn vigil() -> Vigil {
        let seconds = Duration::from_secs;
        let settings = Http2 {
            ping_interval: seconds(20),
            ping_timeout: seconds(5),
            idle_timeout: seconds(60),
            ..Http2::default()
        };
        Vigil::new(at(0), seconds(10), &settings)
    }

    /// What happens at each deadline, with or without streams, until it is dropped.
    fn story(mut vigil: Vigil, streams_until: u64, pongs_until: u64) -> Vec<(u64, Action)> {
        let mut story = Vec::new();
        let mut now = at(0);
        while story.len() < 20 {
            let seconds = now.as_micros() / 1_000_000;
            while let Some(action) = vigil.handle_timeout(now, seconds < streams_until) {
                story.push((seconds, action));
                match action {
                    Action::Drop => return story,
                    Action::Ping if seconds < pongs_until => vigil.receive_pong(now),
                    Action::Ping | Action::GoAway => {}
                }
            }
            now = vigil.deadline();
        }
        story
    }

    #[test]
    fn whoever_asks_nothing_is_sent_away() {
        assert_eq!(story(vigil(), 0, 1_000), [(10, Action::GoAway), (20, Action::Drop)]);
    }

    #[test]
    fn whoever_answers_stays_until_it_is_idle() {
        let told = story(vigil(), 65, 1_000);
        let expected: Vec<_> = [20, 40, 60, 80, 100].map(|second| (second, Action::Ping)).into();
        assert_eq!(
            told.split_at(5),
            (&expected[..], &[(120, Action::GoAway), (120, Action::Ping), (130, Action::Drop)][..])
        );
    }

    #[test]
    fn whoever_is_gone_is_dropped_in_spite_of_its_streams() {
        assert_eq!(
            story(vigil(), 1_000, 50),
            [(20, Action::Ping), (40, Action::Ping), (60, Action::Ping), (65, Action::Drop)]
        );
    }

    #[test]
    fn resets() {
        let mut resets = Resets::default();
        let allowed = |resets: &mut Resets, now| (0..1_000).take_while(|_| resets.allow(now)).count();
        assert_eq!(allowed(&mut resets, at(5)), 200);
        assert_eq!(allowed(&mut resets, at(5)), 0);
        assert_eq!(allowed(&mut resets, at(6)), 20);
        assert_eq!(allowed(&mut resets, at(1_000)), 200);
    }
}
