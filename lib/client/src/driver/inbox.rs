//! Events on their way from the task to one reader. Owns its bounds; what follows from a full one is the state machine's to decide.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
pub(super) struct Inbox<T> {
    inner: Mutex<Inner<T>>,
    events_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Inner<T> {
    queue: VecDeque<(T, usize)>,
    bytes: usize,
    waker: Option<Waker>,
    closed: bool,
    /// It was full, and its source was stopped.
    stopped: bool,
}

/// What a reader takes.
pub(super) struct Taken<T> {
    pub(super) item: T,
    /// Half is read: the source may go on.
    pub(super) go_on: bool,
}

impl<T> Inbox<T> {
    pub(super) fn new(events_max: usize, bytes_max: usize) -> Self {
        let inner = Inner { queue: VecDeque::new(), bytes: 0, waker: None, closed: false, stopped: false };
        Self { inner: Mutex::new(inner), events_max: events_max.max(1), bytes_max: bytes_max.max(1) }
    }

    /// Queues an event in any case. True if this has filled the inbox: its source has to stop.
    pub(super) fn push(&self, item: T, bytes: usize) -> bool {
        let mut inner = self.lock();
        inner.bytes += bytes;
        inner.queue.push_back((item, bytes));
        let full = inner.queue.len() >= self.events_max || inner.bytes >= self.bytes_max;
        let filled = full && !inner.stopped;
        inner.stopped |= full;
        wake(inner);
        filled
    }

    /// Queues an event; the oldest make room.
    pub(super) fn push_over_oldest(&self, item: T, max: usize) {
        let mut inner = self.lock();
        while inner.queue.len() >= max.max(1) {
            inner.queue.pop_front();
        }
        inner.queue.push_back((item, 0));
        wake(inner);
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        wake(inner);
    }

    pub(super) fn poll_take(&self, cx: &Context<'_>) -> Poll<Option<Taken<T>>> {
        let mut inner = self.lock();
        let Some((item, bytes)) = inner.queue.pop_front() else {
            if inner.closed {
                return Poll::Ready(None);
            }
            inner.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        inner.bytes -= bytes;
        let go_on = inner.stopped && inner.queue.len() <= self.events_max / 2 && inner.bytes <= self.bytes_max / 2;
        if go_on {
            inner.stopped = false;
        }
        if inner.queue.is_empty() {
            inner.queue.shrink_to(IDLE_EVENTS);
        }
        Poll::Ready(Some(Taken { item, go_on }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake<T>(mut inner: MutexGuard<'_, Inner<T>>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Connection events that may wait for a listener; older ones make room.
pub(super) const EVENTS_MAX: usize = 64;

/// What an inbox keeps room for while nothing waits.
const IDLE_EVENTS: usize = 16;

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    fn take(inbox: &Inbox<u8>) -> (u8, bool) {
        match inbox.poll_take(&Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(taken)) => (taken.item, taken.go_on),
            _ => panic!("nothing there"),
        }
    }

    #[test]
    fn the_source_stops_once_when_it_is_full_and_goes_on_when_half_is_read() {
        let inbox = Inbox::new(4, 100);
        assert!(!inbox.push(1, 10) && !inbox.push(2, 10) && !inbox.push(3, 10));
        assert!(inbox.push(4, 10));
        assert!(!inbox.push(5, 10), "it was told already");
        assert_eq!([take(&inbox), take(&inbox), take(&inbox)], [(1, false), (2, false), (3, true)]);
        assert_eq!(take(&inbox), (4, false));
        assert!(inbox.push(6, 95), "bytes count too: 10 are there");
        assert_eq!([take(&inbox), take(&inbox)], [(5, false), (6, true)]);
    }

    #[test]
    fn the_newest_stay() {
        let inbox = Inbox::new(1, 1);
        (1..=5).for_each(|item| inbox.push_over_oldest(item, 3));
        assert_eq!([take(&inbox).0, take(&inbox).0, take(&inbox).0], [3, 4, 5]);
    }
}
