//! An application, as far as the message path needs to know it. Keys and secrets are not here.

use crate::{AppId, ChannelName, Channels, Grant, Identity, Limits, Notices, Operations, Time};

/// A tenant: its name, its limits and its channels' options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its name.
    pub id: AppId,
    /// What its clients may cost.
    pub limits: Limits,
    /// The rights of clients without a token; `None` if every client must show one.
    pub anonymous: Option<Vec<Grant>>,
    /// Beginnings of names that those rights cover only where a grant's own pattern begins so, and the rights of namespaces never: channels for which
    /// some protocol has signatures.
    pub protected: Vec<Box<str>>,
    /// How its channels behave.
    pub channels: Channels,
    /// What its own servers are told about them.
    pub notices: Notices,
}

impl App {
    /// An application with default limits whose clients must show a token.
    pub fn new(id: AppId) -> Self {
        Self {
            id,
            limits: Limits::default(),
            anonymous: None,
            protected: Vec::new(),
            channels: Channels::default(),
            notices: Notices::default(),
        }
    }

    /// Whether a client may do this now: by a grant of its token (or of those without one), or by what its namespace allows everybody. Users' own channels are
    /// no matter of grants.
    pub fn allows(
        &self,
        identity: Option<&Identity>,
        now: Time,
        channel: &ChannelName,
        operations: Operations,
    ) -> bool {
        if channel.user().is_some() {
            return false;
        }
        let protected = self.protected_by(channel);
        let by_grant = match identity {
            Some(identity) => identity.grants.iter().any(|grant| grant.allows(now, channel, operations)),
            None => self.anonymous.iter().flatten().any(|grant| {
                grant.allows(now, channel, operations)
                    && protected.is_none_or(|prefix| grant.pattern.begins_with(prefix))
            }),
        };
        if by_grant || protected.is_some() {
            return by_grant;
        }
        let options = self.channels.of(channel);
        match identity {
            Some(_) => options.allow.contains(operations),
            None => self.anonymous.is_some() && options.allow_anonymous.contains(operations),
        }
    }

    /// Whether a pattern that a client watches may show it what is published on the channel now. Who names a protected channel knows it; a pattern shows only those that a
    /// grant's own pattern begins with.
    pub fn shows(&self, identity: Option<&Identity>, now: Time, channel: &ChannelName) -> bool {
        let named = |prefix: &str| {
            let grants = identity.map(|identity| &identity.grants).or(self.anonymous.as_ref());
            let mut grants = grants.into_iter().flatten();
            grants.any(|grant| grant.pattern.begins_with(prefix) && grant.allows(now, channel, Operations::SUBSCRIBE))
        };
        match self.protected_by(channel) {
            Some(prefix) => named(prefix),
            None => self.allows(identity, now, channel, Operations::SUBSCRIBE),
        }
    }

    fn protected_by(&self, channel: &ChannelName) -> Option<&str> {
        self.protected.iter().map(|prefix| &**prefix).find(|prefix| channel.as_str().starts_with(prefix))
    }
}
