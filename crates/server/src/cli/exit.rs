//! Exit codes, the same for every command.

use std::borrow::Cow;
use std::io;
use switchboard_ws::{ConnectError, handshake::HandshakeError};

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    message: Option<Cow<'static, str>>,
}

impl Failure {
    /// Whatever has no code of its own.
    pub(super) fn other(message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: 1, message: Some(message.into()) }
    }

    /// The command line or the configuration is wrong.
    pub(super) fn usage(message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: 2, message: Some(message.into()) }
    }

    /// There is no connection, or it broke.
    pub(super) fn connection(message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: 3, message: Some(message.into()) }
    }

    /// Authentication or rights.
    pub(super) fn refused(message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: 4, message: Some(message.into()) }
    }

    /// By the user.
    pub(super) const INTERRUPTED: Self = Self { code: 130, message: None };

    pub(super) fn code(&self) -> u8 {
        self.code
    }

    pub(super) fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Why there is no connection to `url`.
    pub(super) fn connecting(url: &str, error: &ConnectError) -> Self {
        let shown = url.split('?').next().unwrap_or_default();
        match error {
            ConnectError::Url(_) | ConnectError::InvalidHeader(_) => Self::usage(format!("{shown}: {error}")),
            ConnectError::Handshake(HandshakeError::Refused { status, body, .. }) => {
                let why = refusal_message(body).map_or(String::new(), |why| format!(": {why}"));
                let message = format!("{shown}: {error}{why}");
                if matches!(status, 401 | 403) { Self::refused(message) } else { Self::connection(message) }
            }
            ConnectError::Eof if shown.starts_with("ws:") => Self::connection(format!(
                "cannot connect to {shown}: {error}; if it speaks TLS, the address begins with wss://"
            )),
            ConnectError::Io(cause) => Self::connection(format!("cannot connect to {shown}: {error}{}", advice(cause))),
            error => Self::connection(format!("cannot connect to {shown}: {error}")),
        }
    }
}

/// What to do about an error of TLS.
pub(super) fn advice(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|cause| cause.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(_)) => "; --cacert FILE trusts another certificate, --insecure any",
        Some(rustls::Error::InvalidMessage(_)) => "; it does not speak TLS: the address begins with ws:// or http://",
        _ => "",
    }
}

/// The message of an error in our own form, or the first line of anything else.
fn refusal_message(body: &[u8]) -> Option<String> {
    if let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body)
        && let Some(message) = answer.pointer("/error/message").and_then(serde_json::Value::as_str)
    {
        return Some(message.to_owned());
    }
    let text = String::from_utf8_lossy(body);
    let line: String = text.lines().next()?.chars().filter(|c| !c.is_control()).take(200).collect();
    (!line.trim().is_empty()).then_some(line)
}
