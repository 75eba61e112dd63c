//! What goes wrong, by who has to act.

use serde::Deserialize;

use crate::Position;

/// The server refused one request.
///
/// ```
/// fn again(refusal: &switchboard_client::Refusal) -> bool {
///     refusal.temporary || refusal.code == "history_lost"
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
#[non_exhaustive]
pub struct Refusal {
    /// For programs, as docs/reference/native-protocol.md lists them.
    pub code: String,
    /// For people.
    pub message: String,
    /// Whether the same request may succeed later.
    pub temporary: bool,
    /// The channel's present position, with the codes `conflict` and `history_lost`.
    pub position: Option<Position>,
}

impl Refusal {
    pub(crate) fn new(code: &str, message: &str) -> Self {
        Self { code: code.into(), message: message.into(), temporary: false, position: None }
    }
}

/// Why a request has no answer.
///
/// ```
/// use switchboard_client::RequestError;
///
/// /// Whether it is certain that nothing was published.
/// fn certainly_not_published(error: &RequestError) -> bool {
///     !matches!(error, RequestError::TimedOut | RequestError::Interrupted | RequestError::Ended(_))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server said no.
    #[error(transparent)]
    Refused(Refusal),
    /// It was sent, and no answer came in time. Whether it was done is unknown.
    #[error("no answer came in time")]
    TimedOut,
    /// It waited for a connection for too long, and was not sent.
    #[error("there was no connection in time")]
    NotSent,
    /// The connection was lost between the request and its answer. Whether it was done is unknown, so it is not sent again
    /// (with an [`idempotency_key`](crate::Publish::idempotency_key) it is).
    #[error("the connection was lost before the answer")]
    Interrupted,
    /// The queue is full, and its policy is to refuse. It was not sent.
    #[error("too many requests wait for the connection")]
    QueueFull,
    /// It was thrown out of the full queue by a later one. It was not sent.
    #[error("a later request took its place in the queue")]
    Dropped,
    /// The server does not take messages of this size. It was not sent.
    #[error("{bytes} bytes, and the server takes {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What the server takes.
        bytes_max: usize,
    },
    /// The data cannot be written as JSON.
    #[error("the data cannot be written as JSON: {0}")]
    Json(String),
    /// The client has ended. What was sent and not answered by then may have been done.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Why there is no subscription.
///
/// ```no_run
/// # use switchboard_client::{Client, SubscribeError};
/// # async fn run(client: Client) {
/// if let Err(SubscribeError::Refused(refusal)) = client.subscribe("secret").await {
///     println!("{}", refusal.code);
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The server said no. Temporary refusals are not told but tried again.
    #[error(transparent)]
    Refused(Refusal),
    /// This client has a subscription to that channel. A connection can have one.
    #[error("this client is subscribed to the channel already")]
    AlreadySubscribed,
    /// The client has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Why a client will not connect again.
///
/// ```
/// use switchboard_client::Ended;
///
/// let ended = Ended::ByServer { code: 4003, reason: "disconnected by the application".into() };
/// assert_eq!(ended.to_string(), "the server ended it: disconnected by the application (4003)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// The application closed it.
    #[error("the client was closed")]
    Closed,
    /// The server does not want it back before something has changed.
    #[error("the server ended it: {reason} ({code})")]
    ByServer {
        /// A close code, see docs/reference/native-protocol.md.
        code: u16,
        /// For people.
        reason: String,
    },
    /// The server refused the token, or wants one.
    #[error("the server refused the connection: {0}")]
    Unauthorized(String),
    /// The application's callback says that there will be no token.
    #[error("no token: {0}")]
    NoToken(String),
    /// Connecting cannot succeed: the URL or a header is wrong, TLS is not configured.
    #[error("cannot connect: {0}")]
    CannotConnect(String),
    /// The server speaks a version of the protocol that this client does not know.
    #[error("the server speaks version {0} of the protocol, and this client version 1")]
    Version(u64),
    /// The task that drives the connection is gone with its runtime.
    #[error("the runtime has ended")]
    Runtime,
}

/// Why a connection was lost or could not be made.
///
/// ```
/// assert_eq!(switchboard_client::Cause::Silent.to_string(), "the server was silent for too long");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The server closed it.
    #[error("the server closed: {reason} ({code})")]
    ByServer {
        /// A close code, see docs/reference/native-protocol.md.
        code: u16,
        /// For people.
        reason: String,
    },
    /// It ended without a word.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// It could not be made.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Nothing was heard for longer than the heartbeat allows.
    #[error("the server was silent for too long")]
    Silent,
    /// The server did not say welcome, or did not answer a subscription, in time.
    #[error("the server did not answer in time")]
    NoAnswer,
    /// The server sent what is not the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The callback for tokens failed.
    #[error("no token: {0}")]
    Token(String),
}
