//! What is done to sessions: ending them, and ending their subscriptions.

use super::body::{parse_body, parse_channel, recipient};
use super::{Call, unexpected};
use crate::answer::ApiError;
use serde::Deserialize;
use serde_json::json;
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
    code: Option<u64>,
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

impl Call<'_> {
    pub(super) async fn disconnect(&self, body: &[u8]) -> Result<String, ApiError> {
        let DisconnectBody { user, session, code, reason } = parse_body(body)?;
        let whom = recipient(user.as_deref(), session.as_deref())?;
        let usual = Disconnect::BY_APPLICATION;
        let code = code.unwrap_or_else(|| usual.code.into());
        let code = u16::try_from(code).ok().filter(|code| CODES.contains(&u64::from(*code)));
        let code = code.ok_or_else(|| ApiError::bad_request("\"code\" is not between 4000 and 4199"))?;
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

    async fn control(&self, control: Control) -> Result<String, ApiError> {
        match self.ask(Command::Control(control)).await? {
            Outcome::Affected { sessions } => Ok(json!({ "sessions": sessions }).to_string()),
            outcome => Err(unexpected(&outcome)),
        }
    }
}
