//! The timers of a connection: pings after silence, and how long closing may take. Knows no clock: `now` is an argument, and what
//! happens between two calls is only remembered as having happened.

use core::time::Duration;

use crate::{Config, Time};

#[derive(Debug)]
pub(crate) struct Keepalive {
    /// Milliseconds, as all waits here: a quarter of the size of a `Duration`, of which each connection holds three. Zero for never.
    ping_interval: u32,
    pong_timeout: u32,
    close_timeout: u32,
    /// Something came since the last look.
    pub(crate) heard: bool,
    /// The peer's pings are answered without the caller.
    pub(crate) answers: bool,
    phase: Phase,
    /// When the phase that has an end ends.
    until: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for the clock to be told.
    Unarmed,
    /// Looks at a time whether something was heard.
    Listening,
    /// A ping was sent; the peer has until then.
    Pinged,
    /// Closing began, and waits for the clock to be told.
    CloseUnarmed,
    Closing,
    Over,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    Unresponsive,
    /// The peer did not do its part of closing.
    GiveUp,
}

impl Keepalive {
    pub(crate) fn new(config: &Config) -> Self {
        // A wait of nothing would spin.
        let at_least = |wait: Duration| {
            let millis = wait.as_nanos().div_ceil(1_000_000).max(1);
            u32::try_from(millis).unwrap_or(u32::MAX)
        };
        Self {
            ping_interval: config.ping_interval.map_or(0, at_least),
            pong_timeout: at_least(config.pong_timeout),
            close_timeout: at_least(config.close_timeout),
            heard: false,
            answers: config.answer_pings,
            phase: if config.ping_interval.is_some() { Phase::Unarmed } else { Phase::Over },
            until: Time::ZERO,
        }
    }

    #[inline]
    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Unarmed | Phase::CloseUnarmed => Some(Time::ZERO),
            Phase::Listening | Phase::Pinged | Phase::Closing => Some(self.until),
            Phase::Over => None,
        }
    }

    /// From now on, only the closing timeout counts.
    pub(crate) fn close_begins(&mut self) {
        if !matches!(self.phase, Phase::CloseUnarmed | Phase::Closing) {
            self.phase = Phase::CloseUnarmed;
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) -> Due {
        let over = self.until <= now;
        match self.phase {
            Phase::Unarmed => self.listen(now),
            Phase::Listening if over => {
                if self.heard {
                    self.listen(now)
                } else {
                    self.enter(Phase::Pinged, now, self.pong_timeout);
                    Due::Ping
                }
            }
            Phase::Pinged if self.heard => self.listen(now),
            Phase::Pinged if over => {
                self.phase = Phase::Over;
                Due::Unresponsive
            }
            Phase::CloseUnarmed => {
                self.enter(Phase::Closing, now, self.close_timeout);
                Due::Nothing
            }
            Phase::Closing if over => {
                self.phase = Phase::Over;
                Due::GiveUp
            }
            Phase::Listening | Phase::Pinged | Phase::Closing | Phase::Over => Due::Nothing,
        }
    }

    fn listen(&mut self, now: Time) -> Due {
        self.heard = false;
        if self.ping_interval == 0 {
            self.phase = Phase::Over;
        } else {
            self.enter(Phase::Listening, now, self.ping_interval);
        }
        Due::Nothing
    }

    fn enter(&mut self, phase: Phase, now: Time, millis: u32) {
        self.phase = phase;
        self.until = now + Duration::from_millis(millis.into());
    }
}
