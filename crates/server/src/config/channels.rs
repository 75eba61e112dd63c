//! The options of channels: as they are written for all, for an application and for a namespace, and what they mean together.
//!
//! What is written closer to the channel wins: `[channels]`, `[apps.channels]`, `[[namespaces]]`, `[[apps.namespaces]]`.

use super::Problem;
use super::check::operations;
use super::values::{Count, Size, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use switchboard_core::{ChannelName, ChannelOptions, Channels, ConflateBy, Overflow};

/// The options, each only where it is written. The list of keys serves suggestions.
macro_rules! options {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// `[channels]`, `[apps.channels]`
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct RawChannel {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }

        /// `[[namespaces]]`, `[[apps.namespaces]]`
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct RawNamespace {
            /// The part of channels' names before the first `:` or `/`.
            pub name: String,
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }

        impl RawChannel {
            /// Its keys.
            pub(super) const KEYS: &[&str] = &[$(stringify!($field),)*];
        }

        impl RawNamespace {
            /// Its keys.
            pub(super) const KEYS: &[&str] = &["name", $(stringify!($field),)*];

            fn options(&self) -> RawChannel {
                RawChannel { $($field: self.$field.clone(),)* }
            }
        }
    };
}

options! {
    /// Publications that a channel keeps; 0 keeps none.
    history_size: Count,
    /// Bytes of publications that a channel keeps.
    history_bytes: Size,
    /// How long a publication is kept.
    history_ttl: Span,
    /// How long a publication's id is remembered.
    idempotency_ttl: Span,
    /// Ids that are remembered.
    idempotency_ids: Count,
    /// Whether it is known who is on a channel.
    presence: bool,
    /// Whether those who want to know are told who comes and leaves.
    join_leave: bool,
    /// How long a user whose last connection ended still counts as present.
    presence_grace: Span,
    /// Users that a channel lists.
    presence_members: Count,
    /// Whether the last message is kept for those who come.
    cache: bool,
    /// How long it is kept.
    cache_ttl: Span,
    /// What clients with any token may do.
    allow: Vec<String>,
    /// What clients without a token may do.
    anonymous: Vec<String>,
    /// What happens to a client whose outbox is full.
    overflow: RawOverflow,
    /// What replaces what where only the latest is kept.
    conflate_by: RawConflateBy,
    /// Deliveries to one client in a second.
    rate: Count,
    /// Whether publishers get their own publications.
    echo: bool,
}

/// What happens to a client whose outbox is full.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawOverflow {
    /// Its connection ends.
    Disconnect,
    /// The oldest messages go.
    DropOldest,
    /// What waits is replaced by what is newer.
    KeepLatest,
}

/// Which publications replace each other.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawConflateBy {
    /// Those with the same key.
    Key,
    /// All of a channel.
    Channel,
}

impl From<RawConflateBy> for ConflateBy {
    fn from(raw: RawConflateBy) -> Self {
        match raw {
            RawConflateBy::Key => Self::Key,
            RawConflateBy::Channel => Self::Channel,
        }
    }
}

impl From<ConflateBy> for RawConflateBy {
    fn from(by: ConflateBy) -> Self {
        match by {
            ConflateBy::Key => Self::Key,
            ConflateBy::Channel => Self::Channel,
        }
    }
}

impl From<Overflow> for RawOverflow {
    fn from(overflow: Overflow) -> Self {
        match overflow {
            Overflow::Disconnect => Self::Disconnect,
            Overflow::DropOldest => Self::DropOldest,
            Overflow::KeepLatest => Self::KeepLatest,
        }
    }
}

impl From<RawOverflow> for Overflow {
    fn from(raw: RawOverflow) -> Self {
        match raw {
            RawOverflow::Disconnect => Self::Disconnect,
            RawOverflow::DropOldest => Self::DropOldest,
            RawOverflow::KeepLatest => Self::KeepLatest,
        }
    }
}

/// A list of namespaces and the key under which it stands.
pub(super) struct Listed<'a> {
    pub(super) key: String,
    pub(super) namespaces: &'a [RawNamespace],
}

impl RawChannel {
    /// What is written here, and the defaults where nothing is.
    #[must_use]
    pub fn with_defaults(self) -> Self {
        let base = ChannelOptions::default();
        Self {
            history_size: self.history_size.or(Some(Count(base.history_size))),
            history_bytes: self.history_bytes.or(Some(Size(base.history_bytes))),
            history_ttl: self.history_ttl.or(Some(Span(base.history_ttl))),
            idempotency_ttl: self.idempotency_ttl.or(Some(Span(base.idempotency_ttl))),
            idempotency_ids: self.idempotency_ids.or(Some(Count(base.idempotency_ids))),
            presence: self.presence.or(Some(base.presence)),
            join_leave: self.join_leave.or(Some(base.join_leave)),
            presence_grace: self.presence_grace.or(Some(Span(base.presence_grace))),
            presence_members: self.presence_members.or(Some(Count(base.presence_members))),
            cache: self.cache.or(Some(base.cache)),
            cache_ttl: self.cache_ttl.or(Some(Span(base.cache_ttl))),
            allow: self.allow.or(Some(Vec::new())),
            anonymous: self.anonymous.or(Some(Vec::new())),
            overflow: self.overflow.or(Some(base.overflow.into())),
            conflate_by: self.conflate_by.or(Some(base.conflate_by.into())),
            rate: self.rate.or(Some(Count(base.rate as usize))),
            echo: self.echo.or(Some(base.echo)),
        }
    }

    /// `base` with what is written here.
    pub(super) fn over(&self, base: &ChannelOptions, at: &str, problems: &mut Vec<Problem>) -> ChannelOptions {
        let mut options = base.clone();
        let mut count = |name: &str, max: usize, written: Option<Count>| {
            if let Some(Count(count)) = written
                && count > max
            {
                problems.push(Problem::at(format!("{at}.{name}"), format!("{count} is not between 0 and {max}")));
            }
            written.map(|count| count.0.min(max))
        };
        set(&mut options.history_size, count("history_size", 10_000_000, self.history_size));
        set(&mut options.idempotency_ids, count("idempotency_ids", 10_000_000, self.idempotency_ids));
        set(&mut options.presence_members, count("presence_members", 10_000_000, self.presence_members));
        let rate = count("rate", 1_000, self.rate);
        set(&mut options.rate, rate.and_then(|rate| u32::try_from(rate).ok()));
        set(&mut options.history_bytes, self.history_bytes.map(|size| size.0));
        set(&mut options.history_ttl, self.history_ttl.map(|span| span.0));
        set(&mut options.idempotency_ttl, self.idempotency_ttl.map(|span| span.0));
        set(&mut options.presence, self.presence);
        set(&mut options.join_leave, self.join_leave);
        set(&mut options.presence_grace, self.presence_grace.map(|span| span.0));
        set(&mut options.cache, self.cache);
        set(&mut options.cache_ttl, self.cache_ttl.map(|span| span.0));
        set(&mut options.overflow, self.overflow.map(Overflow::from));
        set(&mut options.conflate_by, self.conflate_by.map(ConflateBy::from));
        set(&mut options.echo, self.echo);
        set(&mut options.allow, self.allow.as_ref().map(|names| operations(&format!("{at}.allow"), names, problems)));
        let anonymous = self.anonymous.as_ref();
        let anonymous = anonymous.map(|names| operations(&format!("{at}.anonymous"), names, problems));
        set(&mut options.allow_anonymous, anonymous);
        options
    }
}

/// An application's channels: its defaults, then the namespaces of each list, later lists over earlier ones.
pub(super) fn channels(defaults: ChannelOptions, lists: &[Listed<'_>], problems: &mut Vec<Problem>) -> Channels {
    let mut channels = Channels::new(defaults);
    for list in lists {
        let mut names = BTreeSet::new();
        for (index, namespace) in list.namespaces.iter().enumerate() {
            let at = format!("{}[{index}]", list.key);
            let name = &namespace.name;
            if let Some(message) = name_fault(name) {
                problems.push(Problem::at(format!("{at}.name"), message));
                continue;
            }
            if !names.insert(name) {
                problems.push(Problem::at(format!("{at}.name"), format!("{name:?} is there twice")));
            }
            let known = channels.namespaces().find(|(known, _)| known == name);
            let base = known.map_or(channels.defaults(), |(_, options)| options);
            let options = namespace.options().over(&base.clone(), &at, problems);
            channels = channels.with_namespace(name, options);
        }
    }
    channels
}

fn name_fault(name: &str) -> Option<String> {
    if name == ChannelName::USERS {
        return None;
    }
    match name.strip_suffix([':', '/', '*']) {
        _ if name.is_empty() => Some("is missing: the part of channels' names before the first ':' or '/'".to_owned()),
        Some(rest) => {
            let plain = rest.trim_end_matches([':', '/']);
            Some(format!("{name:?} is written without what follows it: \"{plain}\""))
        }
        None if name.contains([':', '/', '+', '#']) || name.chars().any(char::is_control) || name.len() > 100 => {
            Some(format!("{name:?}: use 1 to 100 bytes without ':', '/', '+', '#' and control characters"))
        }
        None => None,
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}
