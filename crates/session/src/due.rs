//! What time does to sessions: heartbeats, the ends of tokens and rights, and a shutdown that is spread over a window.
//!
//! Owns what is done when a deadline is due. When it is, the session says; what it means on the wire, its dialect.

use crate::deadlines::Deadlines;
use crate::session::Session;
use crate::sessions::Sessions;
use core::time::Duration;
use switchboard_core::{Deadline, Disconnect, Event, Time};
use switchboard_dialects::Dialect;
use switchboard_hub::{Broker, History, Outbox};

/// How long a client that is sent away may wait for the answers to what it has asked.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(3);

impl<B: Broker + History> Sessions<B> {
    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        [self.timers.next(), self.shard.poll_timeout()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.shard.handle_timeout(now);
        while let Some(slot) = self.timers.pop(now) {
            let Some(mut session) = self.sessions.get_mut(slot as usize).and_then(Option::take) else { continue };
            session.timer = Deadline::NEVER;
            self.handle_deadlines(now, &mut session);
            self.put_back(session);
        }
        self.drain_answers(now);
    }

    /// Sends every session away, spread over `window`.
    pub fn drain(&mut self, now: Time, window: Duration) {
        self.draining = Some((now, window));
        for slot in 0..self.sessions.len() {
            if let Some(mut session) = self.sessions.get_mut(slot).and_then(Option::take) {
                plan_drain(&mut session, now, window);
                self.put_back(session);
            }
        }
    }

    fn handle_deadlines(&mut self, now: Time, session: &mut Session) {
        let due = |deadline: Deadline| deadline.is_due(now);
        if session.closing.is_some() {
            session.deadlines = Deadlines::default();
            return;
        }
        if due(session.deadlines.authentication) {
            return self.end(session, &Disconnect::AUTHENTICATION_TIMEOUT);
        }
        if due(session.deadlines.expiry) {
            return self.end(session, &Disconnect::TOKEN_EXPIRED);
        }
        if due(session.deadlines.patience) {
            return self.end(session, &Disconnect::PATIENCE);
        }
        if due(session.deadlines.drain) {
            return self.send_away(now, session);
        }
        if due(session.deadlines.expiry_warning) {
            session.deadlines.expiry_warning = None.into();
            if let Some(expires) = session.deadlines.expiry.get() {
                self.tell(session, &Event::TokenExpiring { expires });
            }
        }
        if due(session.deadlines.grants) {
            self.end_what_overstays(now, session);
            session.plan_grants(now);
        }
        if due(session.deadlines.pace) {
            session.deadlines.pace = None.into();
            self.resume(session);
        }
        if due(session.deadlines.heartbeat) {
            session.deadlines.heartbeat = (now + session.app.limits.heartbeat).into();
            if !self.shard.outbox(session.id()).is_some_and(Outbox::take_used) {
                self.write(session, |session, out| session.dialect.on_silence(out));
                // The heartbeat itself must not make the next interval look busy.
                self.shard.outbox(session.id()).map(Outbox::take_used);
            }
        }
    }

    /// What was asked before shall not be left in doubt: its answers come first, if they come soon.
    fn send_away(&mut self, now: Time, session: &mut Session) {
        if session.pending > 0 && !core::mem::replace(&mut session.leaving, true) {
            session.deadlines.drain = Some(now + LAST_ANSWERS_MAX).into();
            return;
        }
        let going_away = self.going_away(session);
        self.end(session, &going_away);
    }

    /// With when it may come back, for one that is sent away.
    pub(crate) fn going_away(&self, session: &Session) -> Disconnect {
        let window = self.draining.map_or(Duration::ZERO, |(_, window)| window);
        Disconnect::going_away(spread(session, window, 0x5DEE_CE66))
    }
}

pub(crate) fn plan_drain(session: &mut Session, now: Time, window: Duration) {
    session.deadlines.drain = (now + spread(session, window, 0)).into();
}

/// Spreads the ends over the window, and the returns over another, by the session's number: evenly and without a random source.
fn spread(session: &Session, window: Duration, salt: u64) -> Duration {
    let hash = (session.name.serial ^ salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44;
    window.mul_f64(hash as f64 / f64::from(1 << 20))
}
