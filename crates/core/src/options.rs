//! How channels behave: the options of an application's channels, and the namespaces that have options of their own.

use crate::{ChannelName, Operations};
use core::time::Duration;
use std::sync::Arc;

/// How a channel behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// Publications kept; 0 keeps none.
    pub history_size: usize,
    /// Bytes of publications kept.
    pub history_bytes: usize,
    /// How long a publication is kept.
    pub history_ttl: Duration,
    /// How long a publication's [`id`](crate::Publish::id) is remembered, if it is not among too many.
    pub idempotency_ttl: Duration,
    /// Ids that are remembered; 0 remembers none.
    pub idempotency_ids: usize,
    /// Whether it is known who is there.
    pub presence: bool,
    /// Whether those who want to know are told who comes and leaves.
    pub join_leave: bool,
    /// How long a user whose last connection ended still counts as present.
    pub presence_grace: Duration,
    /// Users that one channel lists; those beyond are on the channel, but neither listed nor announced.
    pub presence_members: usize,
    /// What a client with any token may do, whether or not the token names the channel.
    pub allow: Operations,
    /// What a client without a token may do, where the application lets such clients in.
    pub allow_anonymous: Operations,
    /// What happens to a subscriber whose outbox is full.
    pub overflow: Overflow,
    /// Which publications replace each other where only the latest is kept.
    pub conflate_by: ConflateBy,
    /// Deliveries to one subscriber in a second; what comes between them is conflated. 0 is no limit.
    pub rate: u32,
    /// Whether a publisher that subscribes gets its own publications.
    pub echo: bool,
    /// Whether the last publication is kept for those who come, even without history.
    pub cache: bool,
    /// How long it is kept.
    pub cache_ttl: Duration,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            history_size: 1_000,
            history_bytes: 1024 * 1024,
            history_ttl: Duration::from_secs(300),
            idempotency_ttl: Duration::from_secs(120),
            idempotency_ids: 1_000,
            presence: true,
            join_leave: true,
            presence_grace: Duration::ZERO,
            presence_members: 10_000,
            allow: Operations::NONE,
            allow_anonymous: Operations::NONE,
            overflow: Overflow::Disconnect,
            conflate_by: ConflateBy::Key,
            rate: 0,
            echo: true,
            cache: false,
            cache_ttl: Duration::from_secs(24 * 3600),
        }
    }
}

/// What happens when a subscriber does not read and its outbox is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The session ends; it may come back and resume.
    #[default]
    Disconnect,
    /// The oldest waiting publications go, and the subscriber is told which.
    DropOldest,
    /// Before the outbox is full: what waits is replaced by what is newer, and the subscriber is told.
    KeepLatest,
}

/// Which publications replace each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConflateBy {
    /// Those of a channel with the same `key`; those without one are as those with the same.
    #[default]
    Key,
    /// All of a channel.
    Channel,
}

/// The options of all of an application's channels.
///
/// A channel's namespace is the part of its name before the first `:` or `/`. What no namespace is configured for has the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    defaults: Arc<ChannelOptions>,
    /// In the order of their names, each once.
    namespaces: Vec<(Box<str>, Arc<ChannelOptions>)>,
}

impl Channels {
    /// The same options for all.
    pub fn new(defaults: ChannelOptions) -> Self {
        Self { defaults: Arc::new(defaults), namespaces: Vec::new() }
    }

    /// Gives a namespace options of its own, in place of those it had.
    #[must_use]
    pub fn with_namespace(mut self, name: &str, options: ChannelOptions) -> Self {
        let options = Arc::new(options);
        match self.namespaces.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(index) => {
                if let Some(known) = self.namespaces.get_mut(index) {
                    known.1 = options;
                }
            }
            Err(index) => self.namespaces.insert(index, (name.into(), options)),
        }
        self
    }

    /// The options of channels without a namespace of their own.
    pub fn defaults(&self) -> &Arc<ChannelOptions> {
        &self.defaults
    }

    /// The namespaces with options of their own, by name.
    pub fn namespaces(&self) -> impl Iterator<Item = (&str, &Arc<ChannelOptions>)> {
        self.namespaces.iter().map(|(name, options)| (&**name, options))
    }

    /// A channel's options. It compares a few texts, and neither hashes nor allocates.
    pub fn of(&self, channel: &ChannelName) -> &Arc<ChannelOptions> {
        if self.namespaces.is_empty() {
            return &self.defaults;
        }
        let found = channel.namespace().and_then(|namespace| {
            let index = self.namespaces.binary_search_by(|(known, _)| (**known).cmp(namespace)).ok()?;
            self.namespaces.get(index)
        });
        found.map_or(&self.defaults, |(_, options)| options)
    }
}

impl From<ChannelOptions> for Channels {
    fn from(defaults: ChannelOptions) -> Self {
        Self::new(defaults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_before_the_first_separator_selects() {
        let sized = |history_size| ChannelOptions { history_size, ..ChannelOptions::default() };
        let channels = Channels::new(sized(0))
            .with_namespace("room", sized(1))
            .with_namespace("a", sized(2))
            .with_namespace("z", sized(9))
            .with_namespace("z", sized(3));
        for (name, size) in [
            ("room:1", 1),
            ("room/1", 1),
            ("room:a/b", 1),
            ("room:", 1),
            ("room", 0),
            ("rooms:1", 0),
            ("roo:m", 0),
            ("a/room:1", 2),
            ("z:z", 3),
            (":room", 0),
            ("/room", 0),
        ] {
            let name = ChannelName::parse(name).expect("a name");
            assert_eq!(channels.of(&name).history_size, size, "{name}");
        }
        assert_eq!(channels.namespaces().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "room", "z"]);
    }
}
