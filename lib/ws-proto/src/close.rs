//! Close codes and their rules (RFC 6455 §7.4), and the payload of a Close frame.

use core::fmt;

use bytes::Bytes;

use crate::{ProtocolError, Utf8Bytes, utf8};

/// Why a connection is closed (RFC 6455 §7.4).
///
/// ```
/// use switchboard_ws_proto::CloseCode;
///
/// assert!(CloseCode::new(4000).is_allowed());
/// // "No code was given": for the local side, never on the wire.
/// assert!(!CloseCode::NO_STATUS.is_allowed());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server goes down, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the other side broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: this kind of data is not accepted.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: the Close had no code. Never on the wire.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection was lost without a Close. Never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: for instance text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a rule of the application was broken.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: more than the receiver takes.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the client needs an extension that the server did not agree to.
    pub const EXTENSION_REQUIRED: Self = Self(1010);
    /// 1011: the server met a condition that it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the server is overloaded.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got a bad answer.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: TLS failed. Never on the wire.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Any number; whether it may be on the wire is [`is_allowed`](Self::is_allowed)'s to say.
    ///
    /// ```
    /// use switchboard_ws_proto::CloseCode;
    ///
    /// assert_eq!(CloseCode::new(1000), CloseCode::NORMAL);
    /// ```
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The number.
    ///
    /// ```
    /// assert_eq!(switchboard_ws_proto::CloseCode::GOING_AWAY.as_u16(), 1001);
    /// ```
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether an endpoint may put this code on the wire: the registered ones except 1004, 1005, 1006 and 1015, and the ranges for
    /// libraries (3000 to 3999) and applications (4000 to 4999) (RFC 6455 §7.4.1 and §7.4.2). The same holds for sending and receiving.
    ///
    /// ```
    /// use switchboard_ws_proto::CloseCode;
    ///
    /// assert!(CloseCode::new(4000).is_allowed() && !CloseCode::ABNORMAL.is_allowed());
    /// ```
    pub const fn is_allowed(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a Close with a payload says.
///
/// ```
/// use switchboard_ws_proto::{CloseCode, CloseFrame};
/// let frame = CloseFrame::new(CloseCode::GOING_AWAY, "restarting");
/// assert_eq!(&*frame.reason, "restarting");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why.
    pub code: CloseCode,
    /// For people and logs, at most 123 bytes on the wire.
    pub reason: Utf8Bytes,
}

impl CloseFrame {
    /// A code and a reason.
    ///
    /// ```
    /// use switchboard_ws_proto::{CloseCode, CloseFrame};
    ///
    /// assert_eq!(CloseFrame::new(CloseCode::NORMAL, "bye").reason, "bye");
    /// ```
    pub fn new(code: CloseCode, reason: impl Into<Utf8Bytes>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// The payload of a Close frame: nothing, or a code and a reason (RFC 6455 §5.5.1).
    pub(crate) fn parse(mut payload: Bytes) -> Result<Option<Self>, ProtocolError> {
        let Some(code) = payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code)) else {
            return if payload.is_empty() { Ok(None) } else { Err(ProtocolError::CloseTooShort) };
        };
        if !CloseCode(code).is_allowed() {
            return Err(ProtocolError::InvalidCloseCode(code));
        }
        let reason = payload.split_off(2);
        if !utf8::is_utf8(&reason) {
            return Err(ProtocolError::InvalidUtf8);
        }
        Ok(Some(Self { code: CloseCode(code), reason: Utf8Bytes::from_checked(reason) }))
    }
}

/// As much of `reason` as fits behind the code in a control frame, cut between characters.
pub(crate) fn reason_that_fits(reason: &str) -> &str {
    let end = (0..=REASON_BYTES_MAX.min(reason.len())).rev().find(|&at| reason.is_char_boundary(at));
    reason.get(..end.unwrap_or(0)).unwrap_or_default()
}

const REASON_BYTES_MAX: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_on_the_wire() {
        let allowed: [core::ops::RangeInclusive<u16>; 3] = [1000..=1003, 1007..=1014, 3000..=4999];
        for code in 0..=u16::MAX {
            let expected = allowed.iter().any(|range| range.contains(&code));
            assert_eq!(CloseCode::new(code).is_allowed(), expected, "{code}");
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        for length in [0, 1, 122, 123, 124, 500] {
            assert_eq!(reason_that_fits(&"x".repeat(length)).len(), length.min(123));
        }
        // 40 × 3 bytes = 120; one more would be 123: fits. Four-byte characters: 30 × 4 = 120.
        assert_eq!(reason_that_fits(&"€".repeat(60)).len(), 123);
        assert_eq!(reason_that_fits(&"🌍".repeat(60)).len(), 120);
    }
}
