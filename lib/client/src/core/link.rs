//! The life of a connection: beginning, lasting, being lost, ending. Owns what comes after what; knows nothing of what is said on it.

use std::time::Duration;

use switchboard_ws::proto::Time;

use super::requests::Kind;
use super::subscriptions::{State, Subscription};
use super::{Control, Core, Output, Tokens};
use crate::types::{ConnectionEvent, SubscriptionEvent, Unsubscribed};
use crate::{Cause, Ended, RequestError, SubscribeError};

#[derive(Debug)]
pub(super) enum Link {
    Idle,
    FetchingToken {
        deadline: Time,
    },
    Connecting,
    /// Open; `welcome` is to come.
    Greeting {
        deadline: Time,
    },
    Online(Online),
    Waiting {
        until: Time,
    },
    Ended(Ended),
}

#[derive(Debug)]
pub(super) struct Online {
    pub(super) since: Time,
    pub(super) heard_at: Time,
    pub(super) heartbeat: Duration,
    pub(super) asked: bool,
}

/// A fresh token for a connection that stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refresh {
    None,
    Fetching { deadline: Time, attempt: u32 },
    Authenticating { attempt: u32 },
    Waiting { until: Time, attempt: u32 },
}

/// What comes after a lost connection.
pub(super) enum Next {
    Backoff,
    After(Duration),
    End(Ended),
}

impl Core {
    pub(super) fn begin(&mut self, now: Time) {
        self.output.push_back(Output::Connection(ConnectionEvent::Connecting));
        self.link = Link::Connecting;
        match &self.tokens {
            Tokens::None => self.output.push_back(Output::Connect { token: None }),
            Tokens::Fixed(token) => self.output.push_back(Output::Connect { token: Some(token.clone()) }),
            Tokens::Fresh => {
                self.link = Link::FetchingToken { deadline: now + self.config.token_timeout };
                self.output.push_back(Output::FetchToken);
            }
        }
    }

    /// The connection, or the attempt to make it, is over.
    pub(super) fn lose(&mut self, now: Time, cause: Cause, next: Next) {
        if let Link::Online(online) = &self.link
            && now.saturating_sub(online.since) >= self.config.stable_after
        {
            self.attempt = 0;
        }
        self.control.clear();
        self.refresh = Refresh::None;
        self.subscriptions.detach();
        for id in self.requests.interrupt() {
            self.answer(id, Err(RequestError::Interrupted));
        }
        let retry_in = match next {
            Next::End(ended) => return self.end(ended),
            // It will not come to a connection again.
            _ if self.closing.is_some() => return self.end(Ended::Closed),
            // To the letter. But a server that says so again and again is not asked without end.
            Next::After(wait) if self.attempt == 0 => self.count_attempt(wait.min(AFTER_MAX)),
            Next::After(wait) => wait.min(AFTER_MAX).max(self.back_off()),
            Next::Backoff => self.back_off(),
        };
        self.link = Link::Waiting { until: now + retry_in };
        self.output.push_back(Output::Connection(ConnectionEvent::Disconnected { cause, retry_in }));
    }

    fn back_off(&mut self) -> Duration {
        let delay = self.random.delay(self.config.backoff_base, self.config.backoff_max, self.attempt);
        self.count_attempt(delay)
    }

    fn count_attempt(&mut self, wait: Duration) -> Duration {
        self.attempt = self.attempt.saturating_add(1);
        wait
    }

    pub(super) fn say_goodbye(&mut self) {
        self.output.push_back(Output::Close { code: 1000, reason: "" });
        self.end(Ended::Closed);
    }

    pub(super) fn end(&mut self, ended: Ended) {
        self.closing = None;
        self.refresh = Refresh::None;
        self.control.clear();
        for id in self.requests.take_all() {
            self.answer(id, Err(RequestError::Ended(ended.clone())));
        }
        for (id, subscription) in self.subscriptions.take_all() {
            self.output.push_back(if subscription.told {
                let event = SubscriptionEvent::Unsubscribed(Unsubscribed::Ended(ended.clone()));
                Output::Subscription { id, event, position: subscription.position }
            } else {
                Output::Subscribed { id, result: Err(SubscribeError::Ended(ended.clone())) }
            });
        }
        self.output.push_back(Output::Connection(ConnectionEvent::Ended(ended.clone())));
        self.link = Link::Ended(ended);
    }

    pub(super) fn on_no_answer(&mut self, now: Time, id: u64, kind: &Kind) {
        match kind {
            Kind::Publish { .. } | Kind::Signal | Kind::Presence | Kind::History { .. } => {
                self.answer(id, Err(RequestError::TimedOut));
            }
            Kind::Authenticate => self.on_refresh_refused(now, "no answer".into()),
            // What the server made of it is unknown; a new connection is a clean start.
            Kind::Subscribe(subscription_id) => {
                let asked = |subscription: &mut Subscription| subscription.state == State::Asked(id);
                if self.is_online() && self.subscriptions.get(*subscription_id).is_some_and(asked) {
                    self.output.push_back(Output::Abort);
                    self.lose(now, Cause::NoAnswer, Next::Backoff);
                }
            }
        }
    }

    pub(super) fn fetch_for_refresh(&mut self, now: Time, attempt: u32) {
        self.refresh = Refresh::Fetching { deadline: now + self.config.token_timeout, attempt };
        self.output.push_back(Output::FetchToken);
    }

    pub(super) fn retry_refresh(&mut self, now: Time, attempt: u32, why: String) {
        let delay = self.random.delay(self.config.backoff_base, self.config.backoff_max, attempt);
        self.refresh = Refresh::Waiting { until: now + delay, attempt: attempt.saturating_add(1) };
        self.output.push_back(Output::Connection(ConnectionEvent::RefreshFailed(why)));
    }

    pub(super) fn on_refresh_refused(&mut self, now: Time, why: String) {
        if let Refresh::Authenticating { attempt } = self.refresh {
            self.retry_refresh(now, attempt, why);
        }
    }

    /// What a close code means where nothing more was said.
    pub(super) fn after_close(&self, code: u16, reason: &str) -> Next {
        match code {
            // A fresh token is what has to change.
            TOKEN_EXPIRED if self.tokens == Tokens::Fresh => Next::Backoff,
            1002 | 1007 | 1009 | 4000..=4099 => Next::End(Ended::ByServer { code, reason: reason.into() }),
            _ => Next::Backoff,
        }
    }

    pub(super) fn handle_timeout_online(&mut self, now: Time) {
        match self.refresh {
            Refresh::Fetching { deadline, attempt } if deadline <= now => {
                self.retry_refresh(now, attempt, "the callback does not answer".into());
            }
            Refresh::Waiting { until, attempt } if until <= now => self.fetch_for_refresh(now, attempt),
            _ => {}
        }
        for id in self.subscriptions.retry(now) {
            self.ask_for(id);
        }
        let Link::Online(online) = &self.link else { return };
        if self.silence_ends(online) > now {
            return;
        }
        let asked = online.asked;
        if let Link::Online(online) = &mut self.link {
            online.asked = true;
        }
        if asked {
            self.output.push_back(Output::Abort);
            self.lose(now, Cause::Silent, Next::Backoff);
        } else {
            self.control.push_back(Control::Ping);
        }
    }

    /// When silence is answered: first by a question, then by giving the server up.
    pub(super) fn silence_ends(&self, online: &Online) -> Time {
        let grace = if online.asked { self.config.heartbeat_grace } else { self.config.heartbeat_grace / 2 };
        online.heard_at + online.heartbeat + grace
    }
}

pub(super) const TOKEN_EXPIRED: u16 = 4002;

/// A server that says "come back in a year" is wrong.
const AFTER_MAX: Duration = Duration::from_secs(3_600);
