//! The reader's end of a subscription.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde_json::value::RawValue;

use super::Handle;
use super::inbox::Inbox;
use crate::core::{Name, SubscriptionId};
use crate::types::{Position, Subscribed, SubscriptionEvent, User};

/// An event and how far the reader is with it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) event: SubscriptionEvent,
    pub(super) position: Option<Position>,
}

/// A subscription to one channel, or to a pattern; a [`Stream`] of [`SubscriptionEvent`]s. Dropping it unsubscribes.
///
/// Events wait in a queue of bounded size ([`inbox_events_max`](crate::Config::inbox_events_max),
/// [`inbox_bytes_max`](crate::Config::inbox_bytes_max)). A reader that lets it fill up is unsubscribed from the server, and subscribed again behind
/// the last event in the queue when it has read half: it sees [`Recovered`](SubscriptionEvent::Recovered) and everything, or
/// [`Lost`](SubscriptionEvent::Lost) if the server's history does not reach back so far. Other subscriptions do not notice.
///
/// ```no_run
/// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::SubscribeError> {
/// let mut scores = client.subscribe("scores").await?;
/// while let Some(event) = scores.next().await {
///     println!("{event:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Subscription {
    pending: Pending,
    subscribed: Subscribed,
}

/// A subscription that the server has not answered yet, or has. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Pending {
    handle: Arc<Handle>,
    id: SubscriptionId,
    name: Name,
    inbox: Arc<Inbox<Item>>,
    position: Option<Position>,
}

impl Pending {
    pub(super) fn begin(mut self, subscribed: Subscribed) -> Subscription {
        // With `since`, the position is where the reader said it is, until the next event says where that is now.
        if self.position.is_none() {
            self.position.clone_from(&subscribed.position);
        }
        Subscription { pending: self, subscribed }
    }
}

impl Subscription {
    pub(super) fn pending(
        handle: Arc<Handle>,
        id: SubscriptionId,
        name: Name,
        inbox: Arc<Inbox<Item>>,
        since: Option<Position>,
    ) -> Pending {
        Pending { handle, id, name, inbox, position: since }
    }

    /// The channel's name, or the pattern.
    ///
    /// ```no_run
    /// # fn run(scores: switchboard_client::Subscription) {
    /// assert_eq!(scores.name(), "scores");
    /// # }
    /// ```
    pub fn name(&self) -> &str {
        self.pending.name.as_str()
    }

    /// The server's first answer.
    ///
    /// ```no_run
    /// # fn run(scores: switchboard_client::Subscription) {
    /// println!("it began at {:?}", scores.subscribed().position);
    /// # }
    /// ```
    pub fn subscribed(&self) -> &Subscribed {
        &self.subscribed
    }

    /// How far the events that were taken go. Stored, and given to [`Subscribe::since`](crate::Subscribe::since) by a later process, it goes on
    /// there. `None` for a pattern, which cannot be resumed.
    ///
    /// ```no_run
    /// # fn run(scores: switchboard_client::Subscription) -> Result<(), Box<dyn std::error::Error>> {
    /// std::fs::write("position.json", serde_json::to_vec(&scores.position())?)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn position(&self) -> Option<Position> {
        self.pending.position.clone()
    }

    /// The next event; `None` behind [`Unsubscribed`](SubscriptionEvent::Unsubscribed).
    ///
    /// ```no_run
    /// # async fn run(mut scores: switchboard_client::Subscription) {
    /// println!("{:?}", scores.next().await);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<SubscriptionEvent> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Ends it, as dropping does. Events that were not taken are dropped.
    ///
    /// ```no_run
    /// # fn run(scores: switchboard_client::Subscription) {
    /// scores.unsubscribe();
    /// # }
    /// ```
    pub fn unsubscribe(self) {}

    fn poll_event(&mut self, cx: &Context<'_>) -> Poll<Option<SubscriptionEvent>> {
        let Some(taken) = ready!(self.pending.inbox.poll_take(cx)) else { return Poll::Ready(None) };
        if taken.go_on {
            let id = self.pending.id;
            self.pending.handle.0.change(|state, _| state.core.catch_up(id));
        }
        if taken.item.position.is_some() {
            self.pending.position = taken.item.position;
        }
        Poll::Ready(Some(taken.item.event))
    }
}

impl Stream for Subscription {
    type Item = SubscriptionEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(cx)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let id = self.id;
        self.handle.0.change(|state, _| {
            state.core.unsubscribe(id);
            state.subscribing.remove(&id);
            state.inboxes.remove(&id);
        });
    }
}

/// What an event costs in memory, about.
pub(super) fn size(event: &SubscriptionEvent) -> usize {
    let info = |info: &Option<Box<RawValue>>| info.as_ref().map_or(0, |info| info.get().len());
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let of_users = |users: &[User]| -> usize {
        users.iter().map(|user| size_of::<User>() + user.user.len() + info(&user.info)).sum()
    };
    let more = match event {
        SubscriptionEvent::Message(message) => {
            let words = text(&message.event) + text(&message.key) + text(&message.publisher);
            message.data.as_bytes().len() + message.channel.len() + words
        }
        SubscriptionEvent::Signal(signal) => {
            let from = signal.from.as_ref().map_or(0, |from| text(&from.user) + text(&from.session));
            signal.data.as_bytes().len() + text(&signal.event) + from
        }
        SubscriptionEvent::Recovered { users } | SubscriptionEvent::Lost { users, .. } => of_users(users),
        SubscriptionEvent::Join(member) | SubscriptionEvent::Leave(member) => member.user.len() + info(&member.info),
        SubscriptionEvent::CaughtUp | SubscriptionEvent::Gap { .. } | SubscriptionEvent::Unsubscribed(_) => 0,
    };
    size_of::<Item>() + more
}
