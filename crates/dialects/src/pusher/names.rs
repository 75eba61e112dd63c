//! Channel names: Pusher's alphabet, what a name's prefix demands, and the escape for names of ours that the alphabet lacks.
//!
//! Owns the mapping, which is one to one: two names of Pusher's never mean the same channel, nor one channel two names.

use std::borrow::Cow;
use switchboard_core::{ChannelName, UserId};

/// The longest name in Pusher's form, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// What a channel is, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Subscribing takes a signature.
    pub signed: bool,
    /// Who is there is told to all who are.
    pub presence: bool,
    /// Payloads are sealed with a key that the server never sees.
    pub encrypted: bool,
    /// Whoever subscribes is given the last publication.
    pub cache: bool,
}

/// What the names of channels begin with whose subscription takes a signature.
pub(crate) const SIGNED_PREFIXES: [&str; 2] = ["private-", "presence-"];

impl Kind {
    /// Reads the prefixes: `private-`, `presence-`, `private-encrypted-`, each also with `cache-` behind it, and `cache-` alone.
    pub fn of(channel: &str) -> Self {
        let mut kind = Self { signed: false, presence: false, encrypted: false, cache: false };
        let mut rest = channel;
        let [private, presence] = SIGNED_PREFIXES;
        if let Some(inner) = rest.strip_prefix(presence) {
            (kind.signed, kind.presence, rest) = (true, true, inner);
        } else if let Some(inner) = rest.strip_prefix(private) {
            (kind.signed, rest) = (true, inner);
            if let Some(inner) = rest.strip_prefix("encrypted-") {
                (kind.encrypted, rest) = (true, inner);
            }
        }
        kind.cache = rest.starts_with("cache-");
        kind
    }
}

/// Why a text is no channel for Pusher's clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has no bytes.
    #[error("the channel name is empty")]
    Empty,
    /// It has more than [`NAME_BYTES_MAX`] bytes.
    #[error("the channel name has {0} bytes, more than 200")]
    TooLong(usize),
    /// It has a character that no name may have.
    #[error("the channel name contains {0:?}; allowed are letters, digits and _ - = @ , . ;")]
    Character(char),
    /// It is an escape that nothing is written as.
    #[error("the channel name is not written as the server writes it: {0:?} is")]
    NotCanonical(String),
    /// It is the form of users' own channels, but names no user.
    #[error("the channel name: {0}")]
    User(#[from] switchboard_core::UserIdError),
    /// What it stands for is no channel's name.
    #[error("{0}")]
    Channel(#[from] switchboard_core::ChannelNameError),
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-=@,.;".contains(&byte)
}

/// Whether every `=` is followed by two upper-case hexadecimal digits, and there is one.
fn looks_escaped(name: &str) -> bool {
    let mut parts = name.split('=');
    parts.next();
    let mut any = false;
    for part in parts {
        any = true;
        let escape = part.as_bytes().first_chunk::<2>();
        if !escape.is_some_and(|digits| digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'))) {
            return false;
        }
    }
    any
}

/// How the names of users' own channels begin, before the user's name.
const USER: &str = "#server-to-user-";

/// A channel's name in Pusher's alphabet: as it is, or with `=XX` for each byte that is not in it and for `=` itself. Users' own channels have a form of
/// their own.
pub fn to_pusher(channel: &str) -> Cow<'_, str> {
    if let Some(user) = channel.strip_prefix('#') {
        return Cow::Owned(format!("{USER}{user}"));
    }
    if channel.bytes().all(is_plain) && !looks_escaped(channel) {
        return Cow::Borrowed(channel);
    }
    let mut name = String::with_capacity(channel.len() + 16);
    for byte in channel.bytes() {
        if is_plain(byte) && byte != b'=' {
            name.push(char::from(byte));
        } else {
            const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
            name.push('=');
            for digit in [byte >> 4, byte & 15] {
                name.push(DIGITS.get(usize::from(digit)).copied().unwrap_or('0'));
            }
        }
    }
    Cow::Owned(name)
}

/// The channel that a name of Pusher's means.
///
/// # Errors
/// The name is none.
pub fn from_pusher(name: &str) -> Result<ChannelName, NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong(name.len()));
    }
    if let Some(user) = name.strip_prefix(USER) {
        return Ok(ChannelName::of_user(&UserId::parse(user)?));
    }
    if let Some(character) = name.chars().find(|c| !u8::try_from(*c).is_ok_and(is_plain)) {
        return Err(NameError::Character(character));
    }
    if !looks_escaped(name) {
        return Ok(ChannelName::parse(name)?);
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((plain, behind)) = rest.split_once('=') {
        bytes.extend_from_slice(plain.as_bytes());
        let (digits, behind) = behind.split_at_checked(2).unwrap_or((behind, ""));
        bytes.push(u8::from_str_radix(digits, 16).unwrap_or(b'='));
        rest = behind;
    }
    bytes.extend_from_slice(rest.as_bytes());
    let channel = String::from_utf8(bytes).map_err(|error| {
        let lossy = String::from_utf8_lossy(error.as_bytes());
        NameError::NotCanonical(to_pusher(&lossy).into_owned())
    })?;
    let canonical = to_pusher(&channel);
    if canonical != name {
        return Err(NameError::NotCanonical(canonical.into_owned()));
    }
    Ok(ChannelName::parse(&channel)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prefixes_say_what_a_channel_is() {
        let kind = |name| {
            let Kind { signed, presence, encrypted, cache } = Kind::of(name);
            [signed, presence, encrypted, cache].map(u8::from)
        };
        for (name, expected) in [
            ("news", [0, 0, 0, 0]),
            ("cache-news", [0, 0, 0, 1]),
            ("private-news", [1, 0, 0, 0]),
            ("private-cache-news", [1, 0, 0, 1]),
            ("private-encrypted-news", [1, 0, 1, 0]),
            ("private-encrypted-cache-news", [1, 0, 1, 1]),
            ("presence-news", [1, 1, 0, 0]),
            ("presence-cache-news", [1, 1, 0, 1]),
            ("presence-encrypted-news", [1, 1, 0, 0]),
            ("privately", [0, 0, 0, 0]),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }

    #[test]
    fn names_of_the_alphabet_stay_as_they_are() {
        for name in ["room-1", "a=b", "a=", "=4", "x_y@z,.;=", "a=3a", "a=3Ab=zz"] {
            assert_eq!(to_pusher(name), name);
            assert_eq!(from_pusher(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn other_names_are_escaped() {
        for (channel, name) in
            [("room:1", "room=3A1"), ("a/b c", "a=2Fb=20c"), ("ä=", "=C3=A4=3D"), ("=3A", "=3D3A"), ("=41", "=3D41")]
        {
            assert_eq!(to_pusher(channel), name);
            assert_eq!(from_pusher(name).unwrap().as_str(), channel);
        }
    }

    #[test]
    fn what_nothing_is_written_as_is_refused() {
        assert_eq!(from_pusher("=41").unwrap_err(), NameError::NotCanonical("A".into()));
        assert_eq!(from_pusher("a:b").unwrap_err(), NameError::Character(':'));
        assert_eq!(from_pusher("ä").unwrap_err(), NameError::Character('ä'));
        assert_eq!(from_pusher("").unwrap_err(), NameError::Empty);
        assert_eq!(from_pusher(&"x".repeat(201)).unwrap_err(), NameError::TooLong(201));
        assert!(matches!(from_pusher("=0A").unwrap_err(), NameError::Channel(_)));
        assert!(matches!(from_pusher("=FF").unwrap_err(), NameError::NotCanonical(_)));
        // A prefix cannot be smuggled in by an escape.
        assert!(from_pusher("private=2Dx").is_err());
    }

    proptest! {
        #[test]
        fn every_channel_has_one_name(channel in "[a-zA-Z0-9=:/ä;_. -]{1,40}") {
            let read = from_pusher(&to_pusher(&channel)).unwrap();
            prop_assert_eq!(read.as_str(), channel);
        }

        #[test]
        fn every_name_means_one_channel(name in "[a-cA-F0-9=]{1,12}") {
            if let Ok(channel) = from_pusher(&name) {
                prop_assert_eq!(to_pusher(channel.as_str()), name);
            }
        }
    }
}
