//! What is done to sessions: ending them, ending their subscriptions, and giving them something that no history keeps.

use super::body::{integer, name, parse_body, parse_channel, recipient, too_large};
use super::publish::{NAME_BYTES_MAX, payload};
use super::{Call, unexpected};
use crate::answer::ApiError;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::borrow::Cow;
use switchboard_core::{Command, Control, Disconnect, Outcome};

/// The codes that an application may end connections with: those that say to stay away, and those that say to come back.
const CODES: core::ops::RangeInclusive<u64> = 4000..=4199;
/// The longest reason: what a Close frame holds (RFC 6455 §5.5).
const REASON_BYTES_MAX: usize = 123;

#[derive(Debug, Deserialize)]
struct DisconnectBody<'a> {
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session: Option<Cow<'a, str>>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct UnsubscribeBody<'a> {
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session: Option<Cow<'a, str>>,
    #[serde(borrow)]
    channel: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct SignalBody<'a> {
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session: Option<Cow<'a, str>>,
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
    event: Option<Box<str>>,
    encoding: Option<Box<str>>,
}

impl Call<'_> {
    pub(super) async fn disconnect(&self, body: &[u8]) -> Result<String, ApiError> {
        let DisconnectBody { user, session, code, reason } = parse_body(body)?;
        let whom = recipient(user.as_deref(), session.as_deref())?;
        let usual = Disconnect::BY_APPLICATION;
        let code = integer("code", code, CODES)?.and_then(|code| u16::try_from(code).ok()).unwrap_or(usual.code);
        let reason = match reason {
            Some(reason) if reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) => {
                let message = "\"reason\" has more than 123 bytes, or a control character";
                return Err(ApiError::bad_request(message));
            }
            Some(reason) => Cow::Owned(reason),
            None => usual.reason,
        };
        self.control(Control::Disconnect { whom, disconnect: Disconnect { code, reason, after: None } }).await
    }

    pub(super) async fn unsubscribe(&self, body: &[u8]) -> Result<String, ApiError> {
        let UnsubscribeBody { user, session, channel } = parse_body(body)?;
        let whom = recipient(user.as_deref(), session.as_deref())?;
        self.control(Control::Unsubscribe { whom, channel: parse_channel(&channel)? }).await
    }

    pub(super) async fn signal(&self, body: &[u8]) -> Result<String, ApiError> {
        let SignalBody { user, session, channel, data, event, encoding } = parse_body(body)?;
        let whom = recipient(user.as_deref(), session.as_deref())?;
        let (channel, payload) = (parse_channel(&channel)?, payload(data.get(), encoding.as_deref())?);
        let data_bytes_max = self.app.limits.message_bytes;
        if payload.len() > data_bytes_max {
            return Err(too_large(data_bytes_max));
        }
        let event = name("event", event.as_deref(), NAME_BYTES_MAX)?;
        self.count(Command::Signal { channel, whom, event, payload }).await
    }

    async fn control(&self, control: Control) -> Result<String, ApiError> {
        self.count(Command::Control(control)).await
    }

    /// How many sessions it concerned.
    async fn count(&self, command: Command) -> Result<String, ApiError> {
        match self.ask(command).await? {
            Outcome::Affected { sessions } => Ok(json!({ "sessions": sessions }).to_string()),
            outcome => Err(unexpected(&outcome)),
        }
    }
}
