//! Channel names, and the patterns that rights are given for.

use crate::UserId;
use core::borrow::Borrow;
use core::fmt;
use std::sync::Arc;

/// A channel's name: 1 to 200 bytes of UTF-8, no control characters, no `+` or `#` (they are wildcards of topic filters).
///
/// Beside these there are users' own channels, on which the application reaches one user: their names are made from the user's, and [`parse`](Self::parse)
/// makes none of them. No pattern and no grant covers them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(Arc<str>);

/// Why a text is no channel name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelNameError {
    /// It has no bytes.
    #[error("channel name is empty")]
    Empty,
    /// It has more than [`ChannelName::BYTES_MAX`] bytes.
    #[error("channel name has {0} bytes, more than 200")]
    TooLong(usize),
    /// It has a control character.
    #[error("channel name contains a control character")]
    ControlCharacter,
    /// It has a `+` or `#`.
    #[error("channel name contains '{0}', which is reserved for patterns")]
    Wildcard(char),
    /// It has more than [`ChannelName::LEVELS_MAX`] levels: matching walks them.
    #[error("channel name has more than 32 levels")]
    TooDeep,
}

impl ChannelName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 200;
    /// The most levels (parts between `/`) of a name.
    pub const LEVELS_MAX: usize = 32;
    /// The namespace of users' own channels.
    pub const USERS: &str = "#user";

    /// Checks a name.
    pub fn parse(raw: &str) -> Result<Self, ChannelNameError> {
        if raw.is_empty() {
            return Err(ChannelNameError::Empty);
        }
        if raw.len() > Self::BYTES_MAX {
            return Err(ChannelNameError::TooLong(raw.len()));
        }
        let mut levels = 1;
        for c in raw.chars() {
            match c {
                '+' | '#' => return Err(ChannelNameError::Wildcard(c)),
                '/' => levels += 1,
                c if c.is_control() => return Err(ChannelNameError::ControlCharacter),
                _ => {}
            }
        }
        if levels > Self::LEVELS_MAX {
            return Err(ChannelNameError::TooDeep);
        }
        Ok(Self(raw.into()))
    }

    /// The user's own channel.
    pub fn of_user(user: &UserId) -> Self {
        Self(format!("#{user}").into())
    }

    /// The own channel of whoever asks, whose name need not be known: it stands for another name, and is none itself.
    pub fn own() -> Self {
        Self("#".into())
    }

    /// Whether it is [`own`](Self::own).
    pub fn is_own(&self) -> bool {
        &*self.0 == "#"
    }

    /// The user's name, if it is a user's own channel.
    pub fn user(&self) -> Option<&str> {
        self.0.strip_prefix('#')
    }

    /// Takes back what [`as_str`](Self::as_str) gave, users' own channels included: for what this process has written itself.
    pub fn restore(raw: &str) -> Option<Self> {
        match raw.strip_prefix('#') {
            Some(user) => UserId::parse(user).ok().map(|user| Self::of_user(&user)),
            None => Self::parse(raw).ok(),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first `:` or `/`; `None` for a name without either. Users' own channels are all in [`USERS`](Self::USERS).
    pub fn namespace(&self) -> Option<&str> {
        if self.user().is_some() {
            return Some(Self::USERS);
        }
        let end = self.0.bytes().position(|byte| matches!(byte, b':' | b'/'))?;
        self.0.get(..end)
    }
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which channels a right covers: one by name, or all that begin with a prefix (written with a final `*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelMatch {
    /// Just this name.
    Exact(Box<str>),
    /// Every name that begins so; the empty prefix matches all.
    Prefix(Box<str>),
}

impl ChannelMatch {
    /// Reads `room:*` or `lobby`. Any text is a pattern; one that no channel can have simply matches none.
    pub fn parse(raw: &str) -> Self {
        match raw.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.into()),
            None => Self::Exact(raw.into()),
        }
    }

    /// Every channel.
    pub fn all() -> Self {
        Self::Prefix("".into())
    }

    /// Whether all that it covers begins so.
    pub fn begins_with(&self, prefix: &str) -> bool {
        match self {
            Self::Exact(pattern) | Self::Prefix(pattern) => pattern.starts_with(prefix),
        }
    }

    /// Whether the right covers this channel.
    pub fn matches(&self, channel: &ChannelName) -> bool {
        if channel.user().is_some() {
            return false;
        }
        match self {
            Self::Exact(name) => **name == *channel.as_str(),
            Self::Prefix(prefix) => channel.as_str().starts_with(&**prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(raw: &str) -> ChannelName {
        ChannelName::parse(raw).expect("a good name")
    }

    #[test]
    fn names_are_checked_at_their_edges() {
        assert_eq!(ChannelName::parse(""), Err(ChannelNameError::Empty));
        assert_eq!(ChannelName::parse(&"x".repeat(201)), Err(ChannelNameError::TooLong(201)));
        assert!(ChannelName::parse(&"x".repeat(200)).is_ok());
        assert_eq!(ChannelName::parse("a+b"), Err(ChannelNameError::Wildcard('+')));
        assert_eq!(ChannelName::parse("a/#"), Err(ChannelNameError::Wildcard('#')));
        for bad in ["a\nb", "a\0", "\r", "a\u{85}b"] {
            assert_eq!(ChannelName::parse(bad), Err(ChannelNameError::ControlCharacter), "{bad:?}");
        }
        assert!(ChannelName::parse(&"/".repeat(31)).is_ok());
        assert_eq!(ChannelName::parse(&"/".repeat(32)), Err(ChannelNameError::TooDeep));
        assert!(ChannelName::parse("Zürich:☀").is_ok());
    }

    #[test]
    fn a_users_own_channel_is_nobody_elses_and_no_grant_covers_it() {
        let user = |name| UserId::parse(name).expect("a name");
        let own = ChannelName::of_user(&user("room:ann/1"));
        assert_eq!((own.user(), own.namespace()), (Some("room:ann/1"), Some("#user")));
        assert!(ChannelName::parse(own.as_str()).is_err());
        assert_eq!(ChannelName::restore(own.as_str()), Some(own.clone()));
        for pattern in ["*", "#*", "#room:ann/1", "room:*"] {
            assert!(!ChannelMatch::parse(pattern).matches(&own), "{pattern}");
        }
        for pattern in ["#", "+/1", "+/+"] {
            assert!(!crate::ChannelPattern::parse(pattern).expect("a pattern").matches(&own), "{pattern}");
        }
        assert!(ChannelName::own().is_own() && ChannelName::restore("#").is_none());
        assert_eq!(ChannelName::restore("room:1"), Some(name("room:1")));
    }

    #[test]
    fn a_final_star_matches_any_rest_and_nothing_else_is_special() {
        assert!(ChannelMatch::parse("room:*").matches(&name("room:1")));
        assert!(ChannelMatch::parse("room:*").matches(&name("room:")));
        assert!(!ChannelMatch::parse("room:*").matches(&name("rooms")));
        assert!(ChannelMatch::parse("*").matches(&name("anything")));
        assert!(!ChannelMatch::parse("a*b").matches(&name("axb")));
        assert!(ChannelMatch::parse("a*b").matches(&name("a*b")));
        assert!(!ChannelMatch::parse("lobby").matches(&name("lobby2")));
    }
}
