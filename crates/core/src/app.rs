//! An application, as far as the message path needs to know it. Keys and secrets are not here.

use crate::{AppId, ChannelName, Channels, Grant, Identity, Limits, Operations, Time};

/// A tenant: its name, its limits and its channels' options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its name.
    pub id: AppId,
    /// What its clients may cost.
    pub limits: Limits,
    /// The rights of clients without a token; `None` if every client must show one.
    pub anonymous: Option<Vec<Grant>>,
    /// How its channels behave.
    pub channels: Channels,
}

impl App {
    /// An application with default limits whose clients must show a token.
    pub fn new(id: AppId) -> Self {
        Self { id, limits: Limits::default(), anonymous: None, channels: Channels::default() }
    }

    /// Whether a client may do this now: by a grant of its token (or of those without one), or by what its namespace allows everybody.
    pub fn allows(
        &self,
        identity: Option<&Identity>,
        now: Time,
        channel: &ChannelName,
        operations: Operations,
    ) -> bool {
        let grants = match identity {
            Some(identity) => &*identity.grants,
            None => self.anonymous.as_deref().unwrap_or_default(),
        };
        if grants.iter().any(|grant| grant.allows(now, channel, operations)) {
            return true;
        }
        let options = self.channels.of(channel);
        match identity {
            Some(_) => options.allow.contains(operations),
            None => self.anonymous.is_some() && options.allow_anonymous.contains(operations),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChannelMatch, ChannelOptions, UserId};

    #[test]
    fn a_namespace_adds_to_the_grants_of_those_who_may_connect() {
        let open = ChannelOptions {
            allow: Operations::SUBSCRIBE | Operations::PUBLISH,
            allow_anonymous: Operations::SUBSCRIBE,
            ..ChannelOptions::default()
        };
        let mut app = App { channels: Channels::default().with_namespace("open", open), ..App::new(AppId::new("app")) };
        let name = |raw: &str| ChannelName::parse(raw).expect("a name");
        let ann = Identity {
            user: UserId::parse("ann").expect("a user"),
            info: None,
            grants: vec![Grant::new(ChannelMatch::parse("mine:*"), Operations::ALL)],
            expires: None,
        };
        let now = Time::from_secs(1);
        let may = |app: &App, identity: Option<&Identity>, channel: &str, operation| {
            app.allows(identity, now, &name(channel), operation)
        };
        assert!(may(&app, Some(&ann), "mine:1", Operations::HISTORY));
        assert!(may(&app, Some(&ann), "open:1", Operations::PUBLISH));
        assert!(!may(&app, Some(&ann), "open:1", Operations::HISTORY));
        assert!(!may(&app, Some(&ann), "other:1", Operations::SUBSCRIBE));
        assert!(!may(&app, None, "open:1", Operations::SUBSCRIBE), "everybody needs a token");
        app.anonymous = Some(Vec::new());
        assert!(may(&app, None, "open:1", Operations::SUBSCRIBE));
        assert!(!may(&app, None, "open:1", Operations::PUBLISH));
    }
}
