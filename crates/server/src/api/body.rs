//! What requests carry: bodies within their limits, and the members that several methods share. Every fault is named.

use crate::answer::ApiError;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use core::ops::RangeInclusive;
use core::time::Duration;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_core::{ChannelName, Epoch, Position, Recipient, RejectCode, SessionId, Since, UserId};

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, bytes_max)).await;
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => Err(too_large(bytes_max)),
        Ok(Err(_)) => Err(ApiError::bad_request("the body ended before it was whole")),
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come within 10 s")),
    }
}

/// Whether the body is what it looks like. What is compressed would have to be inflated within the same limits; nobody needs it here.
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    let encoded = |value: &&HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    let Some(encoding) = headers.get_all(header::CONTENT_ENCODING).iter().find(encoded) else { return Ok(()) };
    let shown: String = String::from_utf8_lossy(encoding.as_bytes()).chars().take(50).collect();
    let message = format!("the header Content-Encoding is {shown:?}: send the body without any");
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, RejectCode::BadRequest.as_str(), message))
}

fn is_too_long(error: &axum::Error) -> bool {
    use std::error::Error;
    error.source().is_some_and(<dyn Error>::is::<http_body_util::LengthLimitError>)
}

pub(super) fn too_large(bytes_max: usize) -> ApiError {
    let message = format!("the request is larger than {bytes_max} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, RejectCode::LimitExceeded.as_str(), message)
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "a position, {\"epoch\": a string, \"offset\": an integer from 0 on}")]
pub(super) struct PositionBody<'a> {
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    offset: u64,
}

impl PositionBody<'_> {
    pub(super) fn position(&self) -> Since {
        match Epoch::parse(&self.epoch) {
            Some(epoch) => Since::Position(Position { epoch, offset: self.offset }),
            None => Since::Unknown,
        }
    }

    pub(super) fn json(position: Position) -> Value {
        json!({ "epoch": position.epoch.to_string(), "offset": position.offset })
    }
}

/// A JSON object. What is wrong with it is said of the member that it is wrong with.
pub(super) fn parse_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    let bad_json = |message: String| ApiError::new(StatusCode::BAD_REQUEST, RejectCode::BadJson.as_str(), message);
    // serde would take the members in their order from an array.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(bad_json("the request is not a JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| {
        use serde_json::error::Category;
        match error.classify() {
            Category::Data => ApiError::bad_request(match culprit(body, &error) {
                Some(member) => format!("\"{member}\": {}", without_place(&error)),
                None => without_place(&error),
            }),
            Category::Io | Category::Syntax | Category::Eof => bad_json(format!("the request: {error}")),
        }
    })
}

/// The member in whose value the error is.
fn culprit(body: &[u8], error: &serde_json::Error) -> Option<String> {
    let line = error.line().checked_sub(1)?;
    let before: usize = body.split_inclusive(|byte| *byte == b'\n').take(line).map(<[u8]>::len).sum();
    let at = before + error.column();
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(body).ok()?;
    let is_in = |value: &RawValue| {
        let begin = value.get().as_ptr().addr() - body.as_ptr().addr();
        (begin..=begin + value.get().len()).contains(&at)
    };
    let (name, _) = members.iter().find(|(_, value)| is_in(value))?;
    Some(name.chars().take(50).collect())
}

/// In the words of the other refusals: no lines and columns, which help nobody whose JSON was made by a program, and no types of ours.
fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    let field = |is: &str| message.strip_prefix(is)?.strip_prefix(" field `")?.strip_suffix('`');
    match (field("missing"), field("duplicate")) {
        (Some(name), _) => format!("\"{name}\" is missing"),
        (_, Some(name)) => format!("\"{name}\" stands there twice"),
        _ => message.replace("expected u64", "expected an integer from 0 on"),
    }
}

/// A number within its limits, as it was written: what is no number at all is refused in the same words.
pub(super) fn integer(
    name: &str,
    written: Option<&RawValue>,
    range: RangeInclusive<u64>,
) -> Result<Option<u64>, ApiError> {
    let Some(written) = written else { return Ok(None) };
    match written.get().parse().ok().filter(|number| range.contains(number)) {
        Some(number) => Ok(Some(number)),
        None => {
            let shown: String = written.get().chars().take(50).collect();
            let range = match (range.start(), range.end()) {
                (start, &u64::MAX) => format!("from {start} on"),
                (start, end) => format!("from {start} to {end}"),
            };
            Err(ApiError::bad_request(format!("\"{name}\" is {shown}, not an integer {range}")))
        }
    }
}

pub(super) fn parse_channel(channel: &str) -> Result<ChannelName, ApiError> {
    ChannelName::parse(channel)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, RejectCode::BadChannel.as_str(), error.to_string()))
}

pub(super) fn parse_user(user: &str) -> Result<UserId, ApiError> {
    UserId::parse(user).map_err(|error| ApiError::bad_request(format!("\"user\": {error}")))
}

/// A channel by its name, or a user's own.
pub(super) fn channel_or_user(channel: Option<&str>, user: Option<&str>) -> Result<ChannelName, ApiError> {
    match (channel, user) {
        (Some(channel), None) => parse_channel(channel),
        (None, Some(user)) => Ok(ChannelName::of_user(&parse_user(user)?)),
        (Some(_), Some(_)) => Err(ApiError::bad_request("\"channel\" and \"user\" exclude each other")),
        (None, None) => Err(ApiError::bad_request("\"channel\" is missing")),
    }
}

/// How an answer names the same.
pub(super) fn place(channel: &ChannelName) -> (&'static str, &str) {
    channel.user().map_or_else(|| ("channel", channel.as_str()), |user| ("user", user))
}

/// A user, or one session.
pub(super) fn recipient(user: Option<&str>, session: Option<&str>) -> Result<Recipient, ApiError> {
    match (user, session) {
        (Some(user), None) => parse_user(user).map(Recipient::User),
        (None, Some(session)) => match SessionId::parse(session) {
            Some(session) => Ok(Recipient::Session(session)),
            None => Err(ApiError::bad_request("\"session\" is no session's name, such as \"0-1f\"")),
        },
        _ => Err(ApiError::bad_request("either \"user\" or \"session\" says whom it concerns")),
    }
}

/// No control characters: other protocols put names into lines of their own.
pub(super) fn name(name: &str, value: Option<&str>, bytes_max: usize) -> Result<Option<Arc<str>>, ApiError> {
    let Some(value) = value else { return Ok(None) };
    if value.is_empty() || value.len() > bytes_max {
        return Err(ApiError::bad_request(format!("\"{name}\" has {} bytes, not 1 to {bytes_max}", value.len())));
    }
    if value.chars().any(char::is_control) {
        return Err(ApiError::bad_request(format!("\"{name}\" contains a control character")));
    }
    Ok(Some(value.into()))
}
