//! What the application sees: messages, positions, presence, events. Knows nothing of how they travel.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Cause, Ended, Refusal};

/// Where in a channel something stands. Offsets are opaque but for their order: they grow, and may skip.
///
/// It can be stored, and given to [`Subscribe::since`](crate::Subscribe::since) by a later process.
///
/// ```
/// use switchboard_client::Position;
///
/// let position: Position = serde_json::from_str(r#"{"epoch":"e1","offset":7}"#)?;
/// assert_eq!(position, Position::new("e1", 7));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Within one epoch the server can prove continuity.
    pub epoch: Arc<str>,
    /// The number of a publication; 0 is before the first.
    pub offset: u64,
}

impl Position {
    /// From its parts.
    ///
    /// ```
    /// assert_eq!(switchboard_client::Position::new("e1", 7).offset, 7);
    /// ```
    pub fn new(epoch: impl Into<Arc<str>>, offset: u64) -> Self {
        Self { epoch: epoch.into(), offset }
    }
}

/// A payload, as it was published.
///
/// ```
/// use switchboard_client::Data;
///
/// let data = Data::json(&[1, 2])?;
/// assert_eq!(data.as_bytes(), b"[1,2]");
/// assert_eq!(data.decode::<Vec<u8>>()?, [1, 2]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum Data {
    /// JSON, not parsed.
    Json(Box<RawValue>),
    /// Anything.
    Bytes(Bytes),
}

impl Data {
    /// A value as JSON.
    ///
    /// ```
    /// assert_eq!(switchboard_client::Data::json(&"a")?.as_bytes(), b"\"a\"");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    /// The value's own `Serialize` failed, or it has a map whose keys are not strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(Self::Json)
    }

    /// Parses JSON.
    ///
    /// ```
    /// assert_eq!(switchboard_client::Data::json(&7)?.decode::<u8>()?, 7);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    /// It is something else than a `T`, or it is bytes.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match self {
            Self::Json(json) => serde_json::from_str(json.get()),
            Self::Bytes(_) => Err(serde_json::Error::custom("the payload is bytes, not JSON")),
        }
    }

    /// The JSON text, or the bytes.
    ///
    /// ```
    /// assert_eq!(switchboard_client::Data::Bytes("ab".into()).as_bytes(), b"ab");
    /// ```
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Json(json) => json.get().as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Something that was published.
///
/// ```
/// fn show(message: &switchboard_client::Message) {
///     let who = message.publisher.as_deref().unwrap_or("the server");
///     println!("{} {}: {:?} says {:?}", message.channel, message.offset, who, message.data);
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message {
    /// Where.
    pub channel: Arc<str>,
    /// What was published.
    pub data: Data,
    /// Its own position: subscribing `since` it brings what came after it. `None` if it came by a pattern, which cannot be resumed.
    pub position: Option<Position>,
    /// Its number on the channel.
    pub offset: u64,
    /// When the server took it, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// The publisher's name for this kind of message.
    pub event: Option<String>,
    /// Which earlier message it replaces, on channels that keep the latest.
    pub key: Option<String>,
    /// The user who published it; `None` if it was the backend.
    pub publisher: Option<String>,
    /// How many earlier messages it stands for, which are not delivered: where the channel keeps the latest of each key, or a
    /// [`rate`](crate::Subscribe::rate) holds.
    pub conflated: u64,
    /// It is the value that the channel kept for those who come, and may be older than the subscription's position.
    pub cached: bool,
}

/// What a publication leaves to those who come.
///
/// ```no_run
/// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::RequestError> {
/// use switchboard_client::Cache;
///
/// client.publish("lamp", &"on").cache(Cache::Keep).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// Itself, to those who subscribe [`cached`](crate::Subscribe::cached), until another takes its place.
    Keep,
    /// Nothing.
    Clear,
}

/// What became of a publication.
///
/// ```no_run
/// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::RequestError> {
/// let published = client.publish("orders", &7).idempotency_key("order-7").await?;
/// println!("at {}{}", published.position.offset, if published.duplicate { ", some time ago" } else { "" });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Where it is.
    pub position: Position,
    /// It had been published before under this idempotency key, and was not again.
    pub duplicate: bool,
}

/// What another client has sent to this one alone, past the channel's history.
///
/// ```
/// fn show(signal: &switchboard_client::Signal) {
///     let who = signal.from.as_ref().and_then(|from| from.user.as_deref()).unwrap_or("the server");
///     println!("{who} signals {:?}", signal.data);
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Signal {
    /// What was sent.
    pub data: Data,
    /// The sender's name for this kind of signal.
    pub event: Option<String>,
    /// Who sent it; `None` if it was the backend.
    pub from: Option<Sender>,
}

/// Who has sent a signal.
///
/// ```
/// use switchboard_client::{Receiver, Sender};
///
/// fn answer(from: &Sender) -> Option<Receiver> {
///     from.session.clone().map(Receiver::Session)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Sender {
    /// The user.
    pub user: Option<String>,
    /// The session, by which it can be answered.
    pub session: Option<String>,
}

/// Whom a signal is for.
///
/// ```
/// use switchboard_client::Receiver;
///
/// assert_ne!(Receiver::User("bob".into()), Receiver::Session("bob".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// All connections of this user.
    User(String),
    /// The connection of this session.
    Session(String),
}

/// A user on a channel.
///
/// ```
/// fn show(user: &switchboard_client::User) {
///     println!("{} is here {} times", user.user, user.connections);
/// }
/// ```
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct User {
    /// Its name.
    pub user: String,
    /// How many connections it has there.
    pub connections: u32,
    /// What its token says about it.
    pub info: Option<Box<RawValue>>,
}

/// A user who came or left.
///
/// ```
/// fn show(member: &switchboard_client::Member) {
///     println!("{}: {:?}", member.user, member.info);
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Member {
    /// Its name.
    pub user: String,
    /// What its token says about it.
    pub info: Option<Box<RawValue>>,
}

/// Who is on a channel.
///
/// ```no_run
/// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::RequestError> {
/// let presence = client.presence("room:lobby").await?;
/// println!("{} users with {} connections", presence.users.len(), presence.connections);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Presence {
    /// Each once.
    pub users: Vec<User>,
    /// All users, whether or not they are listed.
    pub total: u64,
    /// Of all of them together.
    pub connections: u64,
}

/// A piece of a channel's history.
///
/// ```no_run
/// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::RequestError> {
/// let page = client.history("scores").limit(10).await?;
/// println!("{} messages, and more: {}", page.messages.len(), page.more);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HistoryPage {
    /// The channel's present position.
    pub position: Position,
    /// Oldest first.
    pub messages: Vec<Message>,
    /// There are others in the direction of reading: older ones, or with `since` newer ones.
    pub more: bool,
}

/// The server's answer to a subscription.
///
/// ```no_run
/// # async fn run(client: switchboard_client::Client) -> Result<(), switchboard_client::SubscribeError> {
/// let room = client.subscribe("room:lobby").presence().await?;
/// println!("{} users are here", room.subscribed().users.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subscribed {
    /// The channel's position at that moment; `None` for a pattern.
    pub position: Option<Position>,
    /// Whether everything after `since` follows; `None` without `since`.
    pub recovered: Option<bool>,
    /// Who is there, if the subscription asked for presence.
    pub users: Vec<User>,
}

/// What a subscription yields.
///
/// ```
/// use switchboard_client::SubscriptionEvent;
///
/// fn handle(event: SubscriptionEvent) {
///     match event {
///         SubscriptionEvent::Message(message) => println!("{:?}", message.data),
///         SubscriptionEvent::Lost { .. } | SubscriptionEvent::Gap { .. } => println!("load the state afresh"),
///         SubscriptionEvent::Unsubscribed(why) => println!("it is over: {why}"),
///         _ => {}
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SubscriptionEvent {
    /// A publication. Of each channel in the order of positions, each once.
    Message(Message),
    /// After a `since` or a reconnection: everything that was missed follows, then [`CaughtUp`](Self::CaughtUp).
    Recovered {
        /// Who is there now, if the subscription asked for presence.
        users: Vec<User>,
    },
    /// After a `since` or a reconnection: messages were missed that the server has no more. Only newer ones than `position` follow. With a pattern,
    /// after each reconnection: something may have been missed.
    Lost {
        /// The channel's present position; `None` for a pattern.
        position: Option<Position>,
        /// Who is there now, if the subscription asked for presence.
        users: Vec<User>,
    },
    /// What was missed has been told; from here on messages are live.
    CaughtUp,
    /// Messages with these offsets will not come. The channel's history may have them.
    Gap {
        /// Where.
        channel: Arc<str>,
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Somebody has sent something to this client alone. A lost connection loses it.
    Signal(Signal),
    /// Somebody came.
    Join(Member),
    /// Somebody left.
    Leave(Member),
    /// The subscription is over. The last event.
    Unsubscribed(Unsubscribed),
}

/// Why a subscription is over.
///
/// ```
/// use switchboard_client::Unsubscribed;
///
/// assert_eq!(Unsubscribed::ByServer("permission_denied".into()).to_string(), "the server ended it: permission_denied");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsubscribed {
    /// The server ended it, with this code.
    #[error("the server ended it: {0}")]
    ByServer(String),
    /// After a reconnection the server refused it.
    #[error("the server refused to renew it: {0}")]
    Refused(Refusal),
    /// The client has ended.
    #[error(transparent)]
    Ended(Ended),
}

/// What happens to the connection.
///
/// ```
/// use switchboard_client::ConnectionEvent;
///
/// fn show(event: &ConnectionEvent) {
///     match event {
///         ConnectionEvent::Connected { user, .. } => println!("connected as {user:?}"),
///         ConnectionEvent::Disconnected { cause, retry_in } => println!("{cause}; next try in {retry_in:?}"),
///         ConnectionEvent::Ended(why) => println!("over: {why}"),
///         _ => {}
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// A connection is being made.
    Connecting,
    /// The server has said welcome.
    Connected {
        /// The server's name for this connection.
        session: String,
        /// Who we are to the server; `None` before authentication where it is demanded.
        user: Option<String>,
    },
    /// The connection was lost, or could not be made.
    Disconnected {
        /// Why.
        cause: Cause,
        /// When the next attempt begins.
        retry_in: Duration,
    },
    /// A fresh token could not be had or was refused while connected; another attempt follows.
    RefreshFailed(String),
    /// There will be no further attempt. The last event.
    Ended(Ended),
}
