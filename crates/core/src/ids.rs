//! Names of applications, sessions, users and operations.

use core::fmt;
use std::sync::Arc;

/// The name of an application (a tenant). Nothing crosses between two of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(Arc<str>);

impl AppId {
    /// From the configuration's `id`.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A session: one client's presence on this server, which may outlive a connection.
///
/// It names the node and the shard that own it, so that anybody who holds one knows where to send what concerns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// The node; 0 where there is only one.
    pub node: u32,
    /// The shard of that node.
    pub shard: u16,
    /// Counts the sessions of that shard.
    pub serial: u64,
}

impl SessionId {
    /// Reads what [`Display`](fmt::Display) wrote. The session need not exist.
    pub fn parse(raw: &str) -> Option<Self> {
        let (node, rest) = match raw.split_once('.') {
            Some((node, rest)) => (u32::try_from(hex(node)?).ok()?, rest),
            None => (0, raw),
        };
        let (shard, serial) = rest.split_once('-')?;
        Some(Self { node, shard: u16::try_from(hex(shard)?).ok()?, serial: hex(serial)? })
    }
}

/// from_str_radix would take a sign.
fn hex(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u64::from_str_radix(digits, 16).ok())?
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.node != 0 {
            write!(f, "{:x}.", self.node)?;
        }
        write!(f, "{:x}-{:x}", self.shard, self.serial)
    }
}

/// A user's name: `sub` of a token, or made from the session for a guest. 1 to 128 bytes, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

/// Why a text is no user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserIdError {
    /// It has no bytes.
    #[error("user name is empty")]
    Empty,
    /// It has more than [`UserId::BYTES_MAX`] bytes.
    #[error("user name has {0} bytes, more than 128")]
    TooLong(usize),
    /// It has a control character, which would be an injection into some protocol.
    #[error("user name contains a control character")]
    ControlCharacter,
}

impl UserId {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// Checks a name.
    pub fn parse(raw: &str) -> Result<Self, UserIdError> {
        if raw.is_empty() {
            return Err(UserIdError::Empty);
        }
        if raw.len() > Self::BYTES_MAX {
            return Err(UserIdError::TooLong(raw.len()));
        }
        if raw.chars().any(char::is_control) {
            return Err(UserIdError::ControlCharacter);
        }
        Ok(Self(raw.into()))
    }

    /// The name of a client that has shown no token.
    pub fn guest(session: SessionId) -> Self {
        Self(format!("guest-{session}").into())
    }

    /// Whether it is (or looks like) the name of a client that has shown no token.
    pub fn is_guest(&self) -> bool {
        self.0.starts_with("guest-")
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who published, as receivers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// The user's name.
    pub user: UserId,
}

/// Names an operation of one session until it is answered. Chosen by the dialect, opaque to everyone else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_are_checked() {
        assert_eq!(UserId::parse(""), Err(UserIdError::Empty));
        assert_eq!(UserId::parse(&"x".repeat(129)), Err(UserIdError::TooLong(129)));
        assert_eq!(UserId::parse("a\r\nb"), Err(UserIdError::ControlCharacter));
        assert!(UserId::parse(&"x".repeat(128)).is_ok());
    }

    #[test]
    fn a_session_shows_its_shard_and_its_node_only_if_there_are_several() {
        assert_eq!(SessionId { node: 0, shard: 3, serial: 255 }.to_string(), "3-ff");
        assert_eq!(SessionId { node: 10, shard: 3, serial: 1 }.to_string(), "a.3-1");
        let last = SessionId { node: u32::MAX, shard: u16::MAX, serial: u64::MAX };
        for session in [SessionId { node: 0, shard: 3, serial: 255 }, SessionId { node: 10, shard: 0, serial: 1 }, last]
        {
            assert_eq!(SessionId::parse(&session.to_string()), Some(session));
        }
        for bad in ["", "-", "1", "1-", "-1", "g-1", "+1-1", "10000-1", "0-10000000000000000", ".0-1", "0-1-1", "A-1"] {
            assert_eq!(SessionId::parse(bad), None, "{bad:?}");
        }
    }
}
