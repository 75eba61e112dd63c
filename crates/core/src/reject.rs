//! The refusal of one request. The connection lives; the dialect puts it into its protocol's form.

use crate::Position;
use std::borrow::Cow;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Reject {
    /// The kind, for programs.
    pub code: RejectCode,
    /// What is wrong and what to do, for people. It names the culprit and holds no secret.
    pub message: Cow<'static, str>,
    /// Whether the same request may succeed later.
    pub temporary: bool,
    /// Where the channel is, if that is what the request was refused for.
    pub position: Option<Position>,
}

impl Reject {
    /// A refusal; whether it is temporary follows from the code.
    pub fn new(code: RejectCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), temporary: code.is_temporary(), position: None }
    }

    /// A refusal for where the channel is.
    pub fn at(self, position: Position) -> Self {
        Self { position: Some(position), ..self }
    }
}

/// The kinds of refusal. [`as_str`](RejectCode::as_str) is what the native protocol and the HTTP API show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectCode {
    /// Not JSON, or nested too deep.
    BadJson,
    /// A member is missing, of the wrong type or out of range.
    BadRequest,
    /// The type of request is unknown.
    UnknownType,
    /// No channel can have this name.
    BadChannel,
    /// No token was shown, and the application wants one.
    Unauthenticated,
    /// The token is malformed, wrongly signed, expired or for another application.
    BadToken,
    /// No grant covers it.
    PermissionDenied,
    /// The application has ended it.
    Removed,
    /// The session has this subscription already.
    AlreadySubscribed,
    /// The session has no such subscription.
    NotSubscribed,
    /// Too many of something.
    LimitExceeded,
    /// The position is trimmed or of an epoch that has ended.
    HistoryLost,
    /// The channel's position is not the one that the publisher demanded.
    Conflict,
    /// Too many requests in too short a time.
    RateLimited,
    /// Something that is needed is out of reach, or the server is shutting down.
    Unavailable,
    /// It was asked for, and nobody can say whether it is done: no answer came in time.
    Unconfirmed,
    /// Our bug.
    Internal,
}

impl RejectCode {
    /// The code as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadJson => "bad_json",
            Self::BadRequest => "bad_request",
            Self::UnknownType => "unknown_type",
            Self::BadChannel => "bad_channel",
            Self::Unauthenticated => "unauthenticated",
            Self::BadToken => "bad_token",
            Self::PermissionDenied => "permission_denied",
            Self::Removed => "removed",
            Self::AlreadySubscribed => "already_subscribed",
            Self::NotSubscribed => "not_subscribed",
            Self::LimitExceeded => "limit_exceeded",
            Self::HistoryLost => "history_lost",
            Self::Conflict => "conflict",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Unconfirmed => "unconfirmed",
            Self::Internal => "internal",
        }
    }

    /// Whether the same request may succeed later without any change.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable | Self::Internal)
    }
}
