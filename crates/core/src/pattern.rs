//! Patterns of channels by levels, as topic filters write them.

use crate::ChannelName;
use core::fmt;
use std::sync::Arc;

/// A pattern: levels separated by `/`, of which `+` stands for any one and a final `#` for the rest, none included.
///
/// A wildcard as the first level stands for no name that begins with `$` (MQTT 5.0 §4.7.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelPattern(Arc<str>);

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelPatternError {
    /// It has no bytes.
    #[error("pattern is empty")]
    Empty,
    /// It has more than [`ChannelName::BYTES_MAX`] bytes.
    #[error("pattern has {0} bytes, more than 200")]
    TooLong(usize),
    /// It has more than [`ChannelName::LEVELS_MAX`] levels.
    #[error("pattern has more than 32 levels")]
    TooDeep,
    /// It has a control character.
    #[error("pattern contains a control character")]
    ControlCharacter,
    /// A `+` or `#` beside other characters.
    #[error("'{0}' must be a whole level of a pattern")]
    NotALevel(char),
    /// A `#` that is not at the end.
    #[error("'#' must be the last level of a pattern")]
    NotLast,
}

impl ChannelPattern {
    /// Checks a pattern. One without wildcards is good, and stands for the one channel of that name.
    pub fn parse(raw: &str) -> Result<Self, ChannelPatternError> {
        if raw.is_empty() {
            return Err(ChannelPatternError::Empty);
        }
        if raw.len() > ChannelName::BYTES_MAX {
            return Err(ChannelPatternError::TooLong(raw.len()));
        }
        if raw.chars().any(char::is_control) {
            return Err(ChannelPatternError::ControlCharacter);
        }
        let mut levels = raw.split('/').peekable();
        let mut count = 0;
        while let Some(level) = levels.next() {
            count += 1;
            match level {
                "+" => {}
                "#" if levels.peek().is_some() => return Err(ChannelPatternError::NotLast),
                "#" => {}
                other => {
                    if let Some(wildcard) = other.chars().find(|c| matches!(c, '+' | '#')) {
                        return Err(ChannelPatternError::NotALevel(wildcard));
                    }
                }
            }
        }
        if count > ChannelName::LEVELS_MAX {
            return Err(ChannelPatternError::TooDeep);
        }
        Ok(Self(raw.into()))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its levels.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether it stands for this channel.
    pub fn matches(&self, channel: &ChannelName) -> bool {
        if channel.user().is_some() {
            return false;
        }
        let mut levels = channel.as_str().split('/');
        let hidden = channel.as_str().starts_with('$');
        for (depth, wanted) in self.levels().enumerate() {
            if depth == 0 && hidden && matches!(wanted, "+" | "#") {
                return false;
            }
            match (wanted, levels.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

impl fmt::Display for ChannelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_checked() {
        for (raw, error) in [
            ("", ChannelPatternError::Empty),
            ("a/#/b", ChannelPatternError::NotLast),
            ("a/b#", ChannelPatternError::NotALevel('#')),
            ("+a", ChannelPatternError::NotALevel('+')),
            ("a\n", ChannelPatternError::ControlCharacter),
        ] {
            assert_eq!(ChannelPattern::parse(raw), Err(error), "{raw:?}");
        }
        assert_eq!(ChannelPattern::parse(&"/".repeat(32)), Err(ChannelPatternError::TooDeep));
        assert_eq!(ChannelPattern::parse(&"a".repeat(201)), Err(ChannelPatternError::TooLong(201)));
    }

    #[test]
    fn plus_is_one_level_and_hash_the_rest_or_nothing() {
        let matches = |pattern: &str, name: &str| {
            let name = ChannelName::parse(name).expect("a name");
            ChannelPattern::parse(pattern).expect("a pattern").matches(&name)
        };
        for (pattern, name) in [
            ("sensors/+/temp", "sensors/1/temp"),
            ("sensors/+/temp", "sensors//temp"),
            ("sensors/#", "sensors"),
            ("sensors/#", "sensors/1/temp"),
            ("#", "anything"),
            ("+", "one"),
            ("+/+", "/one"),
            ("a:b", "a:b"),
            ("$sys/#", "$sys/x"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("sensors/+/temp", "sensors/1/2/temp"),
            ("sensors/+", "sensors"),
            ("+", "one/two"),
            ("sensors/#", "sensorsx"),
            ("#", "$sys/x"),
            ("+/x", "$sys/x"),
            ("a/b", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
