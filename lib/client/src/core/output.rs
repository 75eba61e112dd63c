//! What goes into the state machine and what comes out, beside frames.

use std::fmt;

use crate::types::{ConnectionEvent, HistoryPage, Position, Presence, Published, Subscribed, SubscriptionEvent};
use crate::{RequestError, SubscribeError};

use super::subscriptions::SubscriptionId;

/// Names a request for as long as the client lives.
///
/// ```
/// use switchboard_client::core::{Core, Request, Tokens};
/// use switchboard_client::{Config, ws::proto::Time};
///
/// let mut core = Core::new(Config::default(), Tokens::None, 1);
/// let lobby = core.request(Time::ZERO, &Request::Presence { channel: "room:lobby".into(), limit: None })?;
/// assert_ne!(lobby, core.request(Time::ZERO, &Request::Presence { channel: "scores".into(), limit: None })?);
/// # Ok::<(), switchboard_client::RequestError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) u64);

/// Where tokens come from.
///
/// ```
/// use switchboard_client::core::Tokens;
///
/// assert_ne!(Tokens::None, Tokens::Fresh);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum Tokens {
    /// From nowhere: an application that lets everybody in.
    None,
    /// There is this one. When it expires, the client ends.
    Fixed(String),
    /// From a callback: [`Output::FetchToken`] asks for one before each connection and whenever one expires.
    Fresh,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A token is a secret.
        formatter.write_str(match self {
            Self::None => "None",
            Self::Fixed(_) => "Fixed",
            Self::Fresh => "Fresh",
        })
    }
}

/// Why there is no token.
///
/// ```
/// use switchboard_client::core::TokenFailure;
///
/// let failure = TokenFailure::Temporary("the backend does not answer".into());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFailure {
    /// It may be had later.
    Temporary(String),
    /// It will not be had: the client ends.
    Final(String),
}

/// Why a connection could not be made.
///
/// ```
/// use switchboard_client::core::ConnectFailure;
///
/// let failure = ConnectFailure::Temporary("connection refused".into());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The server answered 401: the token is wrong or missing.
    Unauthorized(String),
    /// No attempt can succeed.
    Final(String),
    /// Another attempt may.
    Temporary(String),
}

/// What a request brought.
///
/// ```
/// fn show(answer: &switchboard_client::core::Answer) {
///     if let switchboard_client::core::Answer::Published(published) = answer {
///         println!("it is number {}", published.position.offset);
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// Where it was published.
    Published(Published),
    /// How many sessions were given the signal.
    Signalled(u64),
    /// Who is there.
    Presence(Presence),
    /// What was there.
    History(HistoryPage),
}

/// What the driver has to do, and what the application has to know, in order.
///
/// ```
/// use switchboard_client::core::{Core, Output, Tokens};
/// use switchboard_client::{Config, ws::proto::Time};
///
/// let mut core = Core::new(Config::default(), Tokens::Fresh, 1);
/// core.connect(Time::ZERO);
/// let outputs: Vec<_> = std::iter::from_fn(|| core.poll_output()).collect();
/// assert!(matches!(outputs[..], [Output::Connection(_), Output::FetchToken]));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Ask the callback and tell [`on_token`](super::Core::on_token). An earlier question is void.
    FetchToken,
    /// Connect and tell [`on_connected`](super::Core::on_connected) or [`on_connect_failed`](super::Core::on_connect_failed).
    Connect {
        /// For the header `Authorization: Bearer TOKEN`.
        token: Option<String>,
    },
    /// Send a Close behind everything that was given out, and finish the closing handshake; what else arrives is void. The state machine
    /// has done with this connection.
    Close {
        /// The close code.
        code: u16,
        /// For people.
        reason: &'static str,
    },
    /// Drop the connection, or the attempt to make it.
    Abort,
    /// For the application.
    Connection(ConnectionEvent),
    /// For whoever asked.
    Answer {
        /// Which request.
        id: RequestId,
        /// What it brought.
        result: Result<Answer, RequestError>,
    },
    /// The first answer to a subscription. After an error it is gone.
    Subscribed {
        /// Which.
        id: SubscriptionId,
        /// The server's answer.
        result: Result<Subscribed, SubscribeError>,
    },
    /// For the reader of a subscription. After an `Unsubscribed` it is gone.
    Subscription {
        /// Which.
        id: SubscriptionId,
        /// What happened.
        event: SubscriptionEvent,
        /// How far the reader is once it has taken this.
        position: Option<Position>,
    },
}
