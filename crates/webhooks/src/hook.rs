//! One webhook: what waits for it, when it is asked, and what it was not told.
//!
//! Owns one request at a time, and that whatever changes about what waits is written down in the same step, if anybody writes. Knows no other webhook,
//! and does not ask what is worth telling.

use crate::form;
use crate::journal;
use crate::pace::{Answer, Breaker, Pace};
use crate::queue::Queue;
use crate::settings::{Settings, Webhook};
use std::sync::Arc;
use switchboard_core::Time;

/// A webhook on its way.
#[derive(Debug)]
pub(crate) struct Hook {
    pub(crate) number: u32,
    pub(crate) webhook: Webhook,
    queue: Queue,
    pace: Pace,
    /// The losses that the request on its way tells of.
    told: u64,
    stats: WebhookStats,
}

/// A request to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which webhook, for [`Dispatcher::handle_answer`](crate::Dispatcher::handle_answer).
    pub number: u32,
    /// JSON.
    pub body: String,
    /// Events that were dropped since the receiver last took something.
    pub lost: u64,
}

/// How one webhook goes: counters since the start and gauges now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookStats {
    /// Events that were taken.
    pub delivered: u64,
    /// Requests that were not, and are made again.
    pub failed: u64,
    /// Events that the receiver refused for good.
    pub refused: u64,
    /// Events that found no room, or made it.
    pub dropped: u64,
    /// Events that were not worth telling any more.
    pub expired: u64,
    /// Gauge: events that wait.
    pub queue_events: u64,
    /// Gauge: their bytes.
    pub queue_bytes: u64,
}

/// What an answer meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// Events that will not be sent again.
    pub done: u64,
    /// They were given up.
    pub refused: bool,
    /// The breaker has opened.
    pub opened: bool,
    /// When the request is made again, if it is.
    pub again: Option<Time>,
}

impl Hook {
    /// Nothing waits.
    pub(crate) fn new(number: u32, webhook: Webhook) -> Self {
        let (queue, pace, stats) = Default::default();
        Self { number, webhook, queue, pace, told: 0, stats }
    }

    /// One more event waits, if there is room.
    pub(crate) fn push(&mut self, at: Time, event: &Arc<str>, settings: &Settings, lines: &mut Option<String>) {
        let (kept, gone) = self.queue.push(at, Arc::clone(event), settings.queue_bytes);
        if let (Some(lines), Some(sequence)) = (lines.as_mut(), kept) {
            journal::event(lines, self.number, sequence, at, event);
        }
        let dropped = gone.len() as u64 + u64::from(kept.is_none());
        if dropped == 0 {
            return;
        }
        self.stats.dropped += dropped;
        if let (Some(lines), Some(first), Some(last)) = (lines.as_mut(), gone.first(), gone.last()) {
            journal::gone(lines, self.number, *first, *last);
        }
        self.lose(dropped, lines);
    }

    fn expire(&mut self, now: Time, settings: &Settings, lines: &mut Option<String>) {
        let micros = u64::try_from(settings.expire_after.as_micros()).unwrap_or(u64::MAX);
        let before = Time::from_micros(now.as_micros().saturating_sub(micros));
        let Some(gone) = self.queue.expire(before) else { return };
        self.stats.expired += gone.count;
        if let Some(lines) = lines {
            journal::gone(lines, self.number, gone.first, gone.last);
        }
        self.lose(gone.count, lines);
    }

    /// So many events will not be told.
    pub(crate) fn lose(&mut self, count: u64, lines: &mut Option<String>) {
        self.queue.lost += count;
        if let Some(lines) = lines {
            journal::lost(lines, self.number, self.queue.lost);
        }
    }

    /// The next request, if one is due.
    pub(crate) fn poll_request(
        &mut self,
        now: Time,
        settings: &Settings,
        draining: bool,
        lines: &mut Option<String>,
    ) -> Option<Request> {
        self.expire(now, settings, lines);
        let due = self.queue.due(settings).is_some_and(|due| due <= now || draining);
        if !due || !self.pace.is_ready(now) {
            return None;
        }
        let events: Vec<_> = self.queue.begin(settings).collect();
        let newest = events.iter().map(|entry| entry.at).max().unwrap_or_default();
        let body = form::body(newest.as_millis(), events.iter().map(|entry| &*entry.event));
        self.told = self.queue.lost;
        Some(Request { number: self.number, body, lost: self.queue.lost })
    }

    /// Its request was answered, or could not be made.
    pub(crate) fn handle_answer(
        &mut self,
        now: Time,
        answer: Answer,
        random: u64,
        settings: &Settings,
        lines: &mut Option<String>,
    ) -> Answered {
        if let Answer::Failed { retry_after } = answer {
            self.queue.end(false);
            self.stats.failed += 1;
            let opened = self.pace.fail(now, settings, retry_after, random);
            return Answered { opened, again: self.pace.not_before(), ..Answered::default() };
        }
        let refused = answer == Answer::Refused;
        let done = self.queue.end(true);
        self.pace.succeed();
        // It has read the header, whatever it thinks of the events.
        self.queue.lost = self.queue.lost.saturating_sub(core::mem::take(&mut self.told));
        let count = done.map_or(0, |done| done.count);
        *(if refused { &mut self.stats.refused } else { &mut self.stats.delivered }) += count;
        if let (Some(lines), Some(done)) = (lines, done) {
            journal::gone(lines, self.number, done.first, done.last);
            journal::lost(lines, self.number, self.queue.lost);
        }
        Answered { done: count, refused, ..Answered::default() }
    }

    /// When the next request is due, or something is too old.
    pub(crate) fn poll_timeout(&self, settings: &Settings, draining: bool) -> Option<Time> {
        let due = self.queue.due(settings).map(|due| if draining { Time::default() } else { due });
        let due = due.map(|due| due.max(self.pace.not_before().unwrap_or_default()));
        let expires = self.queue.oldest().map(|at| at + settings.expire_after);
        due.into_iter().chain(expires).min()
    }

    /// Whether nothing waits that a request could be made for without waiting for a receiver that fails.
    pub(crate) fn is_drained(&self, now: Time) -> bool {
        self.queue.len() == 0 || !self.pace.is_ready(now)
    }

    /// How many events wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Their size.
    pub(crate) fn bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// How it goes.
    pub(crate) fn stats(&self) -> WebhookStats {
        WebhookStats { queue_events: self.queue.len() as u64, queue_bytes: self.queue.bytes() as u64, ..self.stats }
    }

    /// Whether its receiver is asked at all.
    pub(crate) fn breaker(&self, now: Time, settings: &Settings) -> Breaker {
        self.pace.breaker(now, settings)
    }

    /// All that waits, as lines for the journal.
    pub(crate) fn write(&self, out: &mut String) {
        journal::webhook(out, self.number, &self.webhook.app, &self.webhook.url);
        if self.queue.lost > 0 {
            journal::lost(out, self.number, self.queue.lost);
        }
        for entry in self.queue.iter() {
            journal::event(out, self.number, entry.sequence, entry.at, &entry.event);
        }
    }
}
