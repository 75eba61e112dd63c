//! What the end of a connection means: whether all went well, and whether another attempt is worth making.

use crate::connect::Failed;
use switchboard_ws::handshake::HandshakeError;
use switchboard_ws::{CloseFrame, ConnectError};

/// Why we have closed.
#[derive(Debug)]
pub(in crate::connect) enum End {
    /// There was no more input, or the user chose this code.
    Chosen(Option<u16>),
    /// The one message has come.
    One,
    Interrupted,
}

/// What a Close of the server means for the exit code.
pub(super) fn settled(frame: Option<CloseFrame>) -> Result<(), Failed> {
    match frame.map(|frame| (u16::from(frame.code), frame.reason)) {
        None | Some((1000 | 1001, _)) => Ok(()),
        Some((code, reason)) if is_refusal(code) => {
            Err(Failed::Refused(format!("the server ended the connection: {}", &*reason)))
        }
        Some((code, reason)) => Err(Failed::Other(format!("the server ended the connection: {code} {}", &*reason))),
    }
}

/// By these a Switchboard refuses who asks.
pub(super) fn is_refusal(code: u16) -> bool {
    matches!(code, 4001..=4003)
}

/// Whether another attempt would end as this one did.
pub(super) fn is_final(error: &ConnectError) -> bool {
    match error {
        ConnectError::Url(_) | ConnectError::InvalidHeader(_) => true,
        ConnectError::Handshake(HandshakeError::Refused { status, .. }) => matches!(status, 401 | 403),
        _ => false,
    }
}
