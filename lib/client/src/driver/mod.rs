//! Drives the state machine with tokio. One task owns the socket; the application's handles change the state under a lock that nobody holds across
//! an await, and wake the task. Holds no decisions.

pub(crate) mod builder;
pub(crate) mod client;
mod inbox;
pub(crate) mod requests;
pub(crate) mod subscription;
mod task;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use switchboard_ws::proto::Time;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::core::{Answer, Core, Output, Request, RequestId, SubscriptionId};
use crate::types::{ConnectionEvent, Subscribed, SubscriptionEvent};
use crate::{Ended, RequestError, SubscribeError};
use inbox::{EVENTS_MAX, Inbox};
use subscription::Item;

/// What the task and the handles share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    start: Instant,
    /// True once the task is done; closed if it was dropped.
    finished: watch::Receiver<bool>,
}

#[derive(Debug)]
struct State {
    core: Core,
    waker: Option<Waker>,
    answers: HashMap<RequestId, oneshot::Sender<Result<Answer, RequestError>>>,
    subscribing: HashMap<SubscriptionId, oneshot::Sender<Result<Subscribed, SubscribeError>>>,
    inboxes: HashMap<SubscriptionId, Arc<Inbox<Item>>>,
    listeners: Vec<Arc<Inbox<ConnectionEvent>>>,
}

/// Closes the client when the last of the application's handles is dropped.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.change(|state, now| state.core.close(now));
    }
}

impl Shared {
    fn now(&self) -> Time {
        let micros = self.start.elapsed().as_micros();
        Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state machine is whole between any two calls, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and has the task do what follows from it.
    fn change<T>(&self, change: impl FnOnce(&mut State, Time) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state, self.now());
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    async fn ask(&self, request: &Request) -> Result<Answer, RequestError> {
        let (sender, receiver) = oneshot::channel();
        self.change(|state, now| {
            let id = state.core.request(now, request)?;
            state.answers.insert(id, sender);
            Ok::<_, RequestError>(())
        })?;
        receiver.await.unwrap_or(Err(RequestError::Ended(Ended::Runtime)))
    }
}

impl State {
    fn new(core: Core) -> Self {
        Self {
            core,
            waker: None,
            answers: HashMap::new(),
            subscribing: HashMap::new(),
            inboxes: HashMap::new(),
            listeners: Vec::new(),
        }
    }

    /// Tells the application what is for it. Returns the next output that is for the driver.
    fn poll_output(&mut self) -> Option<Output> {
        loop {
            match self.core.poll_output()? {
                Output::Answer { id, result } => {
                    if let Some(asked) = self.answers.remove(&id) {
                        // Whoever asked may have gone.
                        let _ = asked.send(result);
                    }
                }
                Output::Subscribed { id, result } => {
                    if result.is_err() {
                        self.inboxes.remove(&id);
                    }
                    if let Some(asked) = self.subscribing.remove(&id) {
                        // Whoever asked has dropped the subscription and so ended it.
                        let _ = asked.send(result);
                    }
                }
                Output::Subscription { id, event, position } => {
                    let last = matches!(event, SubscriptionEvent::Unsubscribed(_));
                    let Some(inbox) = self.inboxes.get(&id) else { continue };
                    let bytes = subscription::size(&event);
                    if inbox.push(Item { event, position }, bytes) {
                        self.core.fall_behind(id);
                    }
                    if last && let Some(inbox) = self.inboxes.remove(&id) {
                        inbox.close();
                    }
                }
                Output::Connection(event) => {
                    let last = matches!(event, ConnectionEvent::Ended(_));
                    // One reference is the listener's own.
                    self.listeners.retain(|inbox| Arc::strong_count(inbox) > 1);
                    for inbox in &self.listeners {
                        inbox.push_over_oldest(event.clone(), EVENTS_MAX);
                    }
                    if last {
                        self.listeners.drain(..).for_each(|inbox| inbox.close());
                    }
                }
                output => return Some(output),
            }
        }
    }
}
