//! What an application subscribes to, and how. Knows nothing of what became of it.

use std::sync::Arc;

use crate::types::Position;

/// A subscription to be: to a channel, or to all channels that a pattern stands for.
///
/// ```
/// use switchboard_client::Position;
/// use switchboard_client::core::Wanted;
///
/// let prices = Wanted { since: Some(Position::new("e1", 7)), rate: Some(10), ..Wanted::channel("prices") };
/// let sensors = Wanted::pattern("sensors/+/temp");
/// assert_ne!(prices, sensors);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where.
    pub name: Name,
    /// Only what comes behind this. A channel's.
    pub since: Option<Position>,
    /// To be told who is there, comes and leaves. A channel's.
    pub presence: bool,
    /// At most so many deliveries of each key in a second. A channel's.
    pub rate: Option<u32>,
    /// The value that the channel keeps for those who come. A channel's.
    pub cached: bool,
}

/// Names one channel, or stands for many.
///
/// ```
/// use switchboard_client::core::Name;
///
/// assert_eq!(Name::Pattern("sensors/#".into()).as_str(), "sensors/#");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A channel's.
    Channel(Arc<str>),
    /// `+` stands for one level, a final `#` for the rest.
    Pattern(Arc<str>),
}

impl Wanted {
    /// A channel, and nothing special.
    ///
    /// ```
    /// assert!(!switchboard_client::core::Wanted::channel("scores").presence);
    /// ```
    pub fn channel(channel: impl Into<Arc<str>>) -> Self {
        Self::named(Name::Channel(channel.into()))
    }

    /// All channels that this pattern stands for. There are no options: what comes is live only.
    ///
    /// ```
    /// assert_eq!(switchboard_client::core::Wanted::pattern("sensors/#").name.as_str(), "sensors/#");
    /// ```
    pub fn pattern(pattern: impl Into<Arc<str>>) -> Self {
        Self::named(Name::Pattern(pattern.into()))
    }

    fn named(name: Name) -> Self {
        Self { name, since: None, presence: false, rate: None, cached: false }
    }
}

impl Name {
    /// The channel's name, or the pattern.
    ///
    /// ```
    /// assert_eq!(switchboard_client::core::Name::Channel("scores".into()).as_str(), "scores");
    /// ```
    pub fn as_str(&self) -> &str {
        match self {
            Self::Channel(name) | Self::Pattern(name) => name,
        }
    }
}

/// Whether a pattern stands for a channel: as the server has it (docs/reference/native-protocol.md, Patterns), which decides.
pub(super) fn stands_for(pattern: &str, channel: &str) -> bool {
    let mut wanted = pattern.split('/');
    let mut levels = channel.split('/');
    // What begins with `$` is shown to those only who name it.
    if channel.starts_with('$') && (pattern.starts_with('+') || pattern.starts_with('#')) {
        return false;
    }
    loop {
        match (wanted.next(), levels.next()) {
            // The rest, and none is a rest.
            (Some("#"), _) => return wanted.next().is_none(),
            (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_channels_a_pattern_stands_for() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("a", &["a"], &["b", "a/b", ""]),
            ("a/+", &["a/b", "a/"], &["a", "a/b/c", "b/b"]),
            ("+", &["a", ""], &["a/b", "$sys"]),
            ("a/#", &["a", "a/b", "a/b/c"], &["b", "ab", "$a"]),
            ("#", &["a", "a/b"], &["$sys", "$sys/a"]),
            ("+/b", &["a/b"], &["a/c", "$a/b"]),
            ("$sys/+", &["$sys/a"], &["$sys"]),
            ("a/#/b", &[], &["a", "a/b", "a/x/b", "a/#/b"]),
        ];
        for (pattern, yes, no) in table {
            for channel in *yes {
                assert!(stands_for(pattern, channel), "{pattern} {channel}");
            }
            for channel in *no {
                assert!(!stands_for(pattern, channel), "{pattern} {channel}");
            }
        }
    }
}
