//! Requests that wait: to be sent, and for their answer. Owns the bounds of both; knows nothing of connections.

use std::collections::VecDeque;
use std::sync::Arc;

use switchboard_ws::Message as Frame;
use switchboard_ws::proto::Time;

use super::config::{Config, QueueOverflow};
use super::subscriptions::SubscriptionId;
use crate::RequestError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Publish {
        /// The server does it only once, however often it is sent.
        once: bool,
    },
    Signal,
    Presence,
    History {
        channel: Arc<str>,
    },
    Subscribe(SubscriptionId),
    Authenticate,
}

impl Kind {
    /// The application waits for it.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self, Self::Publish { .. } | Self::Signal | Self::Presence | Self::History { .. })
    }

    /// Doing it twice is doing it once.
    fn repeats(&self) -> bool {
        matches!(self, Self::Presence | Self::History { .. } | Self::Publish { once: true })
    }
}

#[derive(Debug)]
struct Queued {
    id: u64,
    kind: Kind,
    frame: Frame,
    expires: Time,
}

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) id: u64,
    pub(super) kind: Kind,
    deadline: Time,
    /// To send again after a lost connection, and until when.
    again: Option<(Frame, Time)>,
}

#[derive(Debug, Default)]
pub(super) struct Requests {
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    /// In the order of their deadlines.
    sent: VecDeque<Sent>,
    asked: usize,
}

impl Requests {
    /// Queues a request. Returns those that lost their place to it.
    pub(super) fn push(
        &mut self,
        config: &Config,
        now: Time,
        id: u64,
        kind: Kind,
        frame: Frame,
    ) -> Result<Vec<u64>, RequestError> {
        let bytes = frame.len();
        if bytes > config.queue_bytes_max || config.queue_requests_max == 0 {
            return Err(RequestError::QueueFull);
        }
        let mut dropped = Vec::new();
        while self.queue.len() >= config.queue_requests_max || self.queue_bytes + bytes > config.queue_bytes_max {
            if config.queue_overflow == QueueOverflow::Reject {
                return Err(RequestError::QueueFull);
            }
            let Some((oldest, _, _)) = self.pop() else { break };
            dropped.push(oldest);
        }
        self.queue_bytes += bytes;
        self.queue.push_back(Queued { id, kind, frame, expires: now + config.queue_timeout });
        Ok(dropped)
    }

    fn pop(&mut self) -> Option<(u64, Kind, Frame)> {
        let queued = self.queue.pop_front()?;
        self.queue_bytes -= queued.frame.len();
        Some((queued.id, queued.kind, queued.frame))
    }

    /// The next request to send, if another may be on its way.
    pub(super) fn next(
        &mut self,
        config: &Config,
        now: Time,
        bytes_max: usize,
    ) -> Option<Result<Frame, (u64, RequestError)>> {
        if self.asked >= config.in_flight_max.max(1) {
            return None;
        }
        let expires = self.queue.front()?.expires;
        let (id, kind, frame) = self.pop()?;
        if frame.len() > bytes_max {
            return Some(Err((id, RequestError::TooLarge { bytes: frame.len(), bytes_max })));
        }
        let again = kind.repeats().then(|| (frame.clone(), expires));
        self.push_sent(Sent { id, kind, deadline: now + config.request_timeout, again });
        Some(Ok(frame))
    }

    /// A request that did not wait in the queue is on its way.
    pub(super) fn sent(&mut self, config: &Config, now: Time, id: u64, kind: Kind) {
        self.push_sent(Sent { id, kind, deadline: now + config.request_timeout, again: None });
    }

    fn push_sent(&mut self, sent: Sent) {
        self.asked += usize::from(sent.kind.is_asked());
        self.sent.push_back(sent);
    }

    /// Its answer has come.
    pub(super) fn answered(&mut self, id: u64) -> Option<Kind> {
        let index = self.sent.iter().position(|sent| sent.id == id)?;
        let sent = self.sent.remove(index)?;
        self.asked -= usize::from(sent.kind.is_asked());
        Some(sent.kind)
    }

    /// The connection is lost: what can be repeated goes back to the queue's front, in its order. Returns what may have been done or not.
    pub(super) fn interrupt(&mut self) -> Vec<u64> {
        self.asked = 0;
        let mut unknown = Vec::new();
        for sent in std::mem::take(&mut self.sent).into_iter().rev() {
            match sent.again {
                Some((frame, expires)) => {
                    self.queue_bytes += frame.len();
                    self.queue.push_front(Queued { id: sent.id, kind: sent.kind, frame, expires });
                }
                None if sent.kind.is_asked() => unknown.push(sent.id),
                None => {}
            }
        }
        unknown.reverse();
        unknown
    }

    /// One that has waited too long in the queue.
    pub(super) fn expire_queued(&mut self, now: Time) -> Option<u64> {
        self.queue.front().filter(|queued| queued.expires <= now)?;
        self.pop().map(|(id, _, _)| id)
    }

    /// One whose answer did not come.
    pub(super) fn expire_sent(&mut self, now: Time) -> Option<Sent> {
        self.sent.front().filter(|sent| sent.deadline <= now)?;
        let sent = self.sent.pop_front()?;
        self.asked -= usize::from(sent.kind.is_asked());
        Some(sent)
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let queued = self.queue.front().map(|queued| queued.expires);
        let sent = self.sent.front().map(|sent| sent.deadline);
        queued.into_iter().chain(sent).min()
    }

    /// Nothing of the application's waits.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.asked == 0
    }

    /// Everything that waits, when there will be no answers any more.
    pub(super) fn take_all(&mut self) -> Vec<u64> {
        let sent = self.sent.iter().filter(|sent| sent.kind.is_asked()).map(|sent| sent.id);
        let ids = sent.chain(self.queue.iter().map(|queued| queued.id)).collect();
        *self = Self::default();
        ids
    }
}
