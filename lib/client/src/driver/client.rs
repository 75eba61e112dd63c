//! The application's handle.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use serde::Serialize;

use super::Handle;
use super::builder::Builder;
use super::inbox::{EVENTS_MAX, Inbox};
use super::requests::{AskPresence, History, Publish, SendSignal, Subscribe, SubscribePattern};
use crate::types::{ConnectionEvent, Data, Receiver};
use crate::{Config, Ended, RequestError};

/// A client that stays connected. Cheap to clone; all clones are the same client.
///
/// Dropping the last `Client` and the last [`Subscription`](crate::Subscription) closes it as [`close`](Self::close) does, in the background.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use switchboard_client::Client;
///
/// let client = Client::builder("ws://localhost:8080/ws").connect()?;
/// let published = client.publish("scores", &[2, 1]).await?;
/// println!("it is number {}", published.position.offset);
/// client.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) handle: Arc<Handle>,
    pub(super) config: Arc<Config>,
}

impl Client {
    pub(super) fn new(handle: Arc<Handle>, config: Arc<Config>) -> Self {
        Self { handle, config }
    }

    /// For a URL such as `wss://live.example.org/ws`.
    ///
    /// ```
    /// switchboard_client::Client::builder("ws://localhost:8080/ws");
    /// ```
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url.into())
    }

    /// Subscribes to a channel: await the result, after choosing [`since`](Subscribe::since), [`presence`](Subscribe::presence),
    /// [`rate`](Subscribe::rate) and [`cached`](Subscribe::cached).
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::SubscribeError> {
    /// let mut lobby = client.subscribe("room:lobby").await?;
    /// while let Some(event) = lobby.next().await {
    ///     println!("{event:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe(&self, channel: impl Into<String>) -> Subscribe {
        Subscribe::new(self.clone(), channel.into())
    }

    /// Subscribes to all channels that a pattern stands for, as far as the client's rights go: `+` is any one level between `/`, a final `#` the
    /// rest. Await the result.
    ///
    /// Its messages are live only: it has no position, and after each reconnection it tells [`Lost`](crate::SubscriptionEvent::Lost). A channel that
    /// the client also subscribes to by name comes to that subscription alone.
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::SubscribeError> {
    /// use switchboard_client::SubscriptionEvent;
    ///
    /// let mut sensors = client.subscribe_pattern("sensors/+/temp").await?;
    /// while let Some(event) = sensors.next().await {
    ///     if let SubscriptionEvent::Message(message) = event {
    ///         println!("{}: {:?}", message.channel, message.data);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe_pattern(&self, pattern: impl Into<String>) -> SubscribePattern {
        SubscribePattern::new(self.clone(), pattern.into())
    }

    /// Publishes a value as JSON: await the result, which is its position.
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::RequestError> {
    /// client.publish("room:lobby", &"hello").event("said").exclude_self().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish<T: Serialize + ?Sized>(&self, channel: impl Into<String>, data: &T) -> Publish {
        let data = Data::json(data).map_err(|error| RequestError::Json(error.to_string()));
        Publish::new(self.clone(), channel.into(), data)
    }

    /// Publishes bytes: await the result, which is their position.
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::RequestError> {
    /// client.publish_bytes("cam", vec![0, 255]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish_bytes(&self, channel: impl Into<String>, data: impl Into<Bytes>) -> Publish {
        Publish::new(self.clone(), channel.into(), Ok(Data::Bytes(data.into())))
    }

    /// What was published: await the result, after choosing [`since`](History::since) and [`limit`](History::limit).
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::RequestError> {
    /// for message in client.history("scores").limit(10).await?.messages {
    ///     println!("{:?}", message.data);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn history(&self, channel: impl Into<String>) -> History {
        History::new(self.clone(), channel.into())
    }

    /// Sends something to one client, or to all of one user's, past the channel's history: to those who subscribe to the channel at that moment, as
    /// [`SubscriptionEvent::Signal`](crate::SubscriptionEvent::Signal). Await the result, after choosing [`event`](SendSignal::event).
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::RequestError> {
    /// let sessions = client.signal("room:lobby", switchboard_client::Receiver::User("bob".into()), &"psst").await?;
    /// println!("{sessions} connections of bob got it");
    /// # Ok(())
    /// # }
    /// ```
    pub fn signal<T: Serialize + ?Sized>(&self, channel: impl Into<String>, to: Receiver, data: &T) -> SendSignal {
        let data = serde_json::value::to_raw_value(data).map_err(|error| RequestError::Json(error.to_string()));
        SendSignal::new(self.clone(), channel.into(), to, data)
    }

    /// Who is on a channel: await the result, after choosing a [`limit`](AskPresence::limit).
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::RequestError> {
    /// println!("{} connections", client.presence("room:lobby").await?.connections);
    /// # Ok(())
    /// # }
    /// ```
    pub fn presence(&self, channel: impl Into<String>) -> AskPresence {
        AskPresence::new(self.clone(), channel.into())
    }

    /// What happens to the connection from now on. A listener that does not keep up misses the oldest of 64.
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) {
    /// let mut events = client.events();
    /// while let Some(event) = events.next().await {
    ///     println!("{event:?}");
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> Events {
        let inbox = Arc::new(Inbox::new(EVENTS_MAX, usize::MAX));
        let mut state = self.handle.0.lock();
        match state.core.ended() {
            Some(ended) => {
                inbox.push(ConnectionEvent::Ended(ended.clone()), 0);
                inbox.close();
            }
            None => {
                // One reference is the listener's own.
                state.listeners.retain(|inbox| Arc::strong_count(inbox) > 1);
                state.listeners.push(Arc::clone(&inbox));
            }
        }
        Events { inbox }
    }

    /// Whether there is a connection at this moment.
    ///
    /// ```no_run
    /// # fn run(client: switchboard_client::Client) {
    /// println!("{}", if client.is_connected() { "online" } else { "offline" });
    /// # }
    /// ```
    pub fn is_connected(&self) -> bool {
        self.handle.0.lock().core.is_online()
    }

    /// Waits until there is a connection. There is no need to: requests and subscriptions wait by themselves.
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::Ended> {
    /// client.connected().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There will be none.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn connected(&self) -> Result<(), Ended> {
        let mut events = self.events();
        if self.is_connected() {
            return Ok(());
        }
        while let Some(event) = events.next().await {
            match event {
                ConnectionEvent::Connected { .. } => return Ok(()),
                ConnectionEvent::Ended(ended) => return Err(ended),
                _ => {}
            }
        }
        Err(Ended::Runtime)
    }

    /// Does not wait any longer for the next attempt: the network has come back, say.
    ///
    /// ```no_run
    /// # fn run(client: switchboard_client::Client) {
    /// client.reconnect_now();
    /// # }
    /// ```
    pub fn reconnect_now(&self) {
        self.handle.0.change(|state, now| state.core.connect(now));
    }

    /// Closes: takes no more requests, sends those that wait and takes their answers, ends all subscriptions, and closes the WebSocket. Takes at
    /// most [`close_timeout`](Config::close_timeout) and what the closing handshake may take. Without a connection, requests that wait fail.
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) {
    /// client.close().await;
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// It goes on in the background.
    pub async fn close(&self) {
        self.handle.0.change(|state, now| state.core.close(now));
        let mut finished = self.handle.0.finished.clone();
        // An error means that the task is gone with its runtime.
        let _ = finished.wait_for(|finished| *finished).await;
    }
}

/// What happens to a connection; ends after [`ConnectionEvent::Ended`]. Also a [`Stream`].
///
/// ```no_run
/// # async fn run(client: switchboard_client::Client) {
/// while let Some(event) = client.events().next().await {
///     println!("{event:?}");
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Events {
    inbox: Arc<Inbox<ConnectionEvent>>,
}

impl Events {
    /// The next event.
    ///
    /// ```no_run
    /// # async fn run(mut events: switchboard_client::Events) {
    /// println!("{:?}", events.next().await);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = ConnectionEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inbox.poll_take(cx).map(|taken| taken.map(|taken| taken.item))
    }
}
