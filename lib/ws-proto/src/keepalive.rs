//! The timers of a connection: pings after silence, and how long closing may take. Knows no clock: `now` is an argument, and what
//! happens between two calls is only remembered as having happened.

use core::time::Duration;

use crate::{Config, Time};

#[derive(Debug)]
pub(crate) struct Keepalive {
    /// Microseconds, as all waits here: half the size of a `Duration`, of which each connection holds three. Zero for never.
    ping_interval: u64,
    pong_timeout: u64,
    close_timeout: u64,
    /// Something came since the last look.
    pub(crate) heard: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for the clock to be told.
    Unarmed,
    /// Looks at this time whether something was heard.
    Listening(Time),
    /// A ping was sent; the peer has until then.
    Pinged(Time),
    /// Closing began, and waits for the clock to be told.
    CloseUnarmed,
    Closing(Time),
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
        let at_least =
            |wait: Duration| u64::try_from(wait.max(Duration::from_millis(1)).as_micros()).unwrap_or(u64::MAX);
        Self {
            ping_interval: config.ping_interval.map_or(0, at_least),
            pong_timeout: at_least(config.pong_timeout),
            close_timeout: at_least(config.close_timeout),
            heard: false,
            phase: if config.ping_interval.is_some() { Phase::Unarmed } else { Phase::Over },
        }
    }

    #[inline]
    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Unarmed | Phase::CloseUnarmed => Some(Time::ZERO),
            Phase::Listening(at) | Phase::Pinged(at) | Phase::Closing(at) => Some(at),
            Phase::Over => None,
        }
    }

    /// From now on, only the closing timeout counts.
    pub(crate) fn close_begins(&mut self) {
        if !matches!(self.phase, Phase::CloseUnarmed | Phase::Closing(_)) {
            self.phase = Phase::CloseUnarmed;
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) -> Due {
        match self.phase {
            Phase::Unarmed => self.listen(now),
            Phase::Listening(at) if at <= now => {
                if self.heard {
                    self.listen(now)
                } else {
                    self.phase = Phase::Pinged(after(now, self.pong_timeout));
                    Due::Ping
                }
            }
            Phase::Pinged(_) if self.heard => self.listen(now),
            Phase::Pinged(at) if at <= now => {
                self.phase = Phase::Over;
                Due::Unresponsive
            }
            Phase::CloseUnarmed => {
                self.phase = Phase::Closing(after(now, self.close_timeout));
                Due::Nothing
            }
            Phase::Closing(at) if at <= now => {
                self.phase = Phase::Over;
                Due::GiveUp
            }
            Phase::Listening(_) | Phase::Pinged(_) | Phase::Closing(_) | Phase::Over => Due::Nothing,
        }
    }

    fn listen(&mut self, now: Time) -> Due {
        self.heard = false;
        self.phase = match self.ping_interval {
            0 => Phase::Over,
            interval => Phase::Listening(after(now, interval)),
        };
        Due::Nothing
    }
}

fn after(now: Time, micros: u64) -> Time {
    now + Duration::from_micros(micros)
}
