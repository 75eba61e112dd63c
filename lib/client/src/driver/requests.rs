//! What is chosen before something is awaited.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::client::Client;
use super::inbox::Inbox;
use super::subscription::Subscription;
use crate::core::{Answer, Request, Wanted};
use crate::types::{Cache, Data, HistoryPage, Position, Presence, Published, Receiver};
use crate::{Ended, RequestError, SubscribeError};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A subscription to be. Await it.
///
/// It resolves with the server's first answer, however long there is no connection; refusals that are temporary are not told but tried again.
///
/// # Errors
/// [`SubscribeError`].
///
/// # Cancel safety
/// Dropping the future ends the subscription.
///
/// ```no_run
/// # async fn run(client: switchboard_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// let lobby = tokio::time::timeout(Duration::from_secs(5), client.subscribe("room:lobby").into_future()).await??;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing happens before it is awaited"]
pub struct Subscribe {
    client: Client,
    wanted: Wanted,
}

impl Subscribe {
    pub(super) fn new(client: Client, channel: String) -> Self {
        Self { client, wanted: Wanted::channel(channel) }
    }

    /// Begins behind this position: what came since then is told first, or that it is [`Lost`](crate::SubscriptionEvent::Lost).
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::SubscribeError> {
    /// let scores = client.subscribe("scores").since(switchboard_client::Position::new("e1", 7)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn since(mut self, position: impl Into<Option<Position>>) -> Self {
        self.wanted.since = position.into();
        self
    }

    /// Tells who is there, comes and leaves.
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::SubscribeError> {
    /// let lobby = client.subscribe("room:lobby").presence().await?;
    /// println!("{:?}", lobby.subscribed().users);
    /// # Ok(())
    /// # }
    /// ```
    pub fn presence(mut self) -> Self {
        self.wanted.presence = true;
        self
    }

    /// At most so many messages of each [`key`](Publish::key) in a second, 1 to 1,000: the latest that came in the meantime.
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::SubscribeError> {
    /// let market = client.subscribe("market").rate(10).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn rate(mut self, messages_per_second: u32) -> Self {
        self.wanted.rate = Some(messages_per_second);
        self
    }

    /// Begins with the value that the channel keeps for those who come, if there is one: a [`Message`](crate::Message) with `cached`.
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::SubscribeError> {
    /// let lamp = client.subscribe("lamp").cached().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cached(mut self) -> Self {
        self.wanted.cached = true;
        self
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription, SubscribeError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(subscribe(self.client, self.wanted))
    }
}

/// A subscription to a pattern to be. Await it, as [`Subscribe`].
///
/// # Errors
/// [`SubscribeError`].
///
/// # Cancel safety
/// Dropping the future ends the subscription.
///
/// ```no_run
/// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::SubscribeError> {
/// let sensors = client.subscribe_pattern("sensors/+/temp").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing happens before it is awaited"]
pub struct SubscribePattern {
    client: Client,
    pattern: String,
}

impl SubscribePattern {
    pub(super) fn new(client: Client, pattern: String) -> Self {
        Self { client, pattern }
    }
}

impl IntoFuture for SubscribePattern {
    type Output = Result<Subscription, SubscribeError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(subscribe(self.client, Wanted::pattern(self.pattern)))
    }
}

async fn subscribe(client: Client, wanted: Wanted) -> Result<Subscription, SubscribeError> {
    let config = &client.config;
    let inbox = Arc::new(Inbox::new(config.inbox_events_max, config.inbox_bytes_max));
    let (sender, receiver) = oneshot::channel();
    let (name, since) = (wanted.name.clone(), wanted.since.clone());
    let id = client.handle.0.change(|state, _| {
        let id = state.core.subscribe(wanted)?;
        state.subscribing.insert(id, sender);
        state.inboxes.insert(id, Arc::clone(&inbox));
        Ok::<_, SubscribeError>(id)
    })?;
    // From here on, dropping it ends the subscription.
    let pending = Subscription::pending(client.handle, id, name, inbox, since);
    let subscribed = receiver.await.unwrap_or(Err(SubscribeError::Ended(Ended::Runtime)))?;
    Ok(pending.begin(subscribed))
}

/// A publication to be. Await it: it resolves with its position.
///
/// Without a connection it waits in the client's queue. It is sent at most once: if the connection is lost before the answer, the error is
/// [`Interrupted`](RequestError::Interrupted), and whether it was published is unknown. With an [`idempotency_key`](Self::idempotency_key) it is sent again instead,
/// and published once.
///
/// # Errors
/// [`RequestError`].
///
/// # Cancel safety
/// It is queued at the first poll; dropping the future after that loses only the answer.
///
/// ```no_run
/// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::RequestError> {
/// let published = client.publish("room:lobby", &"hello").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is sent before it is awaited"]
pub struct Publish {
    client: Client,
    channel: String,
    data: Result<Data, RequestError>,
    event: Option<String>,
    key: Option<String>,
    exclude_self: bool,
    idempotency_key: Option<String>,
    if_position: Option<Position>,
    cache: Option<Cache>,
}

impl Publish {
    pub(super) fn new(client: Client, channel: String, data: Result<Data, RequestError>) -> Self {
        Self {
            client,
            channel,
            data,
            event: None,
            key: None,
            exclude_self: false,
            idempotency_key: None,
            if_position: None,
            cache: None,
        }
    }

    /// A name for this kind of message, at most 200 bytes.
    ///
    /// ```no_run
    /// # fn run(client: switchboard_client::Client) {
    /// let publish = client.publish("room:lobby", &"hello").event("said");
    /// # }
    /// ```
    pub fn event(mut self, event: impl Into<String>) -> Self {
        self.event = Some(event.into());
        self
    }

    /// Which earlier message it replaces for subscribers that fall behind on a channel that keeps the latest, at most 200 bytes.
    ///
    /// ```no_run
    /// # fn run(client: switchboard_client::Client) {
    /// let publish = client.publish("market", &101.5).key("ACME");
    /// # }
    /// ```
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// To everybody but this client.
    ///
    /// ```no_run
    /// # fn run(client: switchboard_client::Client) {
    /// let publish = client.publish("room:lobby", &"hello").exclude_self();
    /// # }
    /// ```
    pub fn exclude_self(mut self) -> Self {
        self.exclude_self = true;
        self
    }

    /// The server publishes it once under this name, 1 to 128 bytes without control characters, however often it is sent within the channel's window
    /// (two minutes): after a lost connection it is sent again, and the answer says whether it had been [published](Published::duplicate) before.
    /// Choose one that nobody else has, such as a random UUID.
    ///
    /// ```no_run
    /// # fn run(client: switchboard_client::Client) {
    /// let publish = client.publish("orders", &7).idempotency_key("b17b5f0e-5c26-4d0f-a9d4-3f1f0a6f8f1d");
    /// # }
    /// ```
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Only if the channel's position is this one. Else it is [refused](RequestError::Refused) with the code `conflict`, and the refusal says where the channel is.
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::RequestError> {
    /// let board = client.history("board").await?;
    /// client.publish("board", &"e4").if_position(board.position).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn if_position(mut self, position: Position) -> Self {
        self.if_position = Some(position);
        self
    }

    /// What it leaves to those who come, on channels whose publishers decide that.
    ///
    /// ```no_run
    /// # fn run(client: switchboard_client::Client) {
    /// let publish = client.publish("lamp", &"on").cache(switchboard_client::Cache::Keep);
    /// # }
    /// ```
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = Some(cache);
        self
    }

    async fn run(self) -> Result<Published, RequestError> {
        let Self { client, channel, data, event, key, exclude_self, idempotency_key, if_position, cache } = self;
        let data = data?;
        let request = Request::Publish { channel, data, event, key, exclude_self, idempotency_key, if_position, cache };
        match client.handle.0.ask(&request).await? {
            Answer::Published(published) => Ok(published),
            // An answer is read by what was asked for.
            _ => Err(RequestError::Interrupted),
        }
    }
}

impl IntoFuture for Publish {
    type Output = Result<Published, RequestError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// A signal to be. Await it: it resolves with how many sessions it was given to; nobody is no error.
///
/// It is sent at most once: if the connection is lost before the answer, the error is [`Interrupted`](RequestError::Interrupted).
///
/// # Errors
/// [`RequestError`].
///
/// # Cancel safety
/// It is queued at the first poll; dropping the future after that loses only the answer.
///
/// ```no_run
/// # async fn run(client: switchboard_client::Client, to: switchboard_client::Receiver) -> Result<(), switchboard_client::RequestError> {
/// let sessions = client.signal("call:7", to, &"v=0").event("offer").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is sent before it is awaited"]
pub struct SendSignal {
    client: Client,
    channel: String,
    to: Receiver,
    data: Result<Box<RawValue>, RequestError>,
    event: Option<String>,
}

impl SendSignal {
    pub(super) fn new(
        client: Client,
        channel: String,
        to: Receiver,
        data: Result<Box<RawValue>, RequestError>,
    ) -> Self {
        Self { client, channel, to, data, event: None }
    }

    /// A name for this kind of signal, at most 200 bytes.
    ///
    /// ```no_run
    /// # fn run(client: switchboard_client::Client, to: switchboard_client::Receiver) {
    /// let signal = client.signal("call:7", to, &"v=0").event("answer");
    /// # }
    /// ```
    pub fn event(mut self, event: impl Into<String>) -> Self {
        self.event = Some(event.into());
        self
    }

    async fn run(self) -> Result<u64, RequestError> {
        let Self { client, channel, to, data, event } = self;
        match client.handle.0.ask(&Request::Signal { channel, to, data: data?, event }).await? {
            Answer::Signalled(sessions) => Ok(sessions),
            // An answer is read by what was asked for.
            _ => Err(RequestError::Interrupted),
        }
    }
}

impl IntoFuture for SendSignal {
    type Output = Result<u64, RequestError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// A look at who is on a channel. Await it.
///
/// # Errors
/// [`RequestError`], but not [`Interrupted`](RequestError::Interrupted): it is asked again after a lost connection.
///
/// # Cancel safety
/// Dropping the future loses only the answer.
///
/// ```no_run
/// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::RequestError> {
/// println!("{} users", client.presence("room:lobby").limit(0).await?.total);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is asked before it is awaited"]
pub struct AskPresence {
    client: Client,
    channel: String,
    limit: Option<u32>,
}

impl AskPresence {
    pub(super) fn new(client: Client, channel: String) -> Self {
        Self { client, channel, limit: None }
    }

    /// So many users at most are listed; [`total`](Presence::total) counts all of them.
    ///
    /// ```no_run
    /// # fn run(client: switchboard_client::Client) {
    /// let presence = client.presence("room:lobby").limit(10);
    /// # }
    /// ```
    pub fn limit(mut self, users: u32) -> Self {
        self.limit = Some(users);
        self
    }

    async fn run(self) -> Result<Presence, RequestError> {
        let Self { client, channel, limit } = self;
        match client.handle.0.ask(&Request::Presence { channel, limit }).await? {
            Answer::Presence(presence) => Ok(presence),
            // An answer is read by what was asked for.
            _ => Err(RequestError::Interrupted),
        }
    }
}

impl IntoFuture for AskPresence {
    type Output = Result<Presence, RequestError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// A look into a channel's history. Await it.
///
/// # Errors
/// [`RequestError`], but not [`Interrupted`](RequestError::Interrupted): it is asked again after a lost connection.
///
/// # Cancel safety
/// Dropping the future loses only the answer.
///
/// ```no_run
/// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::RequestError> {
/// let latest = client.history("scores").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is asked before it is awaited"]
pub struct History {
    client: Client,
    channel: String,
    since: Option<Position>,
    before: Option<Position>,
    limit: Option<u32>,
}

impl History {
    pub(super) fn new(client: Client, channel: String) -> Self {
        Self { client, channel, since: None, before: None, limit: None }
    }

    /// The first messages behind this position, in place of the latest.
    ///
    /// ```no_run
    /// # fn run(client: switchboard_client::Client) {
    /// let history = client.history("scores").since(switchboard_client::Position::new("e1", 7));
    /// # }
    /// ```
    pub fn since(mut self, position: impl Into<Option<Position>>) -> Self {
        self.since = position.into();
        self
    }

    /// The last messages before this position: with the position of the oldest that one has, the page before it. Excludes [`since`](Self::since).
    ///
    /// ```no_run
    /// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::RequestError> {
    /// let page = client.history("scores").await?;
    /// if let (true, Some(oldest)) = (page.more, page.messages.first()) {
    ///     let older = client.history("scores").before(oldest.position.clone()).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn before(mut self, position: impl Into<Option<Position>>) -> Self {
        self.before = position.into();
        self
    }

    /// So many messages at most; 100 if it is not said, and never more than 1,000.
    ///
    /// ```no_run
    /// # fn run(client: switchboard_client::Client) {
    /// let history = client.history("scores").limit(10);
    /// # }
    /// ```
    pub fn limit(mut self, messages: u32) -> Self {
        self.limit = Some(messages);
        self
    }

    async fn run(self) -> Result<HistoryPage, RequestError> {
        let Self { client, channel, since, before, limit } = self;
        match client.handle.0.ask(&Request::History { channel, since, before, limit }).await? {
            Answer::History(page) => Ok(page),
            // An answer is read by what was asked for.
            _ => Err(RequestError::Interrupted),
        }
    }
}

impl IntoFuture for History {
    type Output = Result<HistoryPage, RequestError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
