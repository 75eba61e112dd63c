//! Who may do what, as the clients' model knows it, and the tokens that say so to the server.

use crate::plan::{BEGIN, USERS};
use core::time::Duration;
use std::sync::Arc;
use switchboard_core::{App, ChannelMatch, Grant, Identity, Operations, Time, UserId};
use switchboard_testkit::FakeDirectory;

/// What a session may do, in the model's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Nothing: it must authenticate.
    Nothing,
    /// Everything on channels `a:…`.
    Guest,
    /// Everything.
    Full,
    /// Subscribe and publish everywhere.
    NoHistory,
    /// Everything on channels `b:…`.
    Half,
    /// Subscribe and read the history everywhere.
    Listener,
}

/// One of the things that can be done on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Subscribe,
    Publish,
    Presence,
    History,
    Signal,
}

impl Rights {
    pub(crate) fn allow(self, right: Right, channel: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Guest => channel.starts_with("a:"),
            Self::Full => true,
            Self::NoHistory => matches!(right, Right::Subscribe | Right::Publish),
            Self::Half => channel.starts_with("b:"),
            Self::Listener => matches!(right, Right::Subscribe | Right::History),
        }
    }

    /// The same in the server's words.
    pub(crate) fn grants(self) -> Vec<Grant> {
        let grant = |pattern: &str, operations| vec![Grant::new(ChannelMatch::parse(pattern), operations)];
        match self {
            Self::Nothing => Vec::new(),
            Self::Guest => grant("a:*", Operations::ALL),
            Self::Full => grant("*", Operations::ALL),
            Self::NoHistory => grant("*", Operations::SUBSCRIBE | Operations::PUBLISH),
            Self::Half => grant("b:*", Operations::ALL),
            Self::Listener => grant("*", Operations::SUBSCRIBE | Operations::HISTORY),
        }
    }
}

/// A kind of token; each user has one of each.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    pub(crate) rights: Rights,
    /// When it ends.
    pub(crate) expires: Option<Time>,
}

impl Token {
    /// How many kinds there are.
    pub const KINDS: usize = 7;

    pub(crate) fn all() -> Vec<Self> {
        let lasting = |rights| Self { rights, expires: None };
        let ending = |rights, seconds| Self { rights, expires: Some(BEGIN + Duration::from_secs(seconds)) };
        vec![
            lasting(Rights::Full),
            lasting(Rights::Full),
            lasting(Rights::NoHistory),
            lasting(Rights::Half),
            lasting(Rights::Listener),
            ending(Rights::Full, 3),
            ending(Rights::Full, 20),
        ]
    }

    /// How a client names it to the server.
    pub(crate) fn text(kind: usize, client: usize) -> String {
        format!("token-{kind}-of-{}", user(client))
    }
}

/// The user that a client is when it shows a token.
pub(crate) fn user(client: usize) -> String {
    format!("user-{}", client % USERS)
}

/// The server's side of all that.
pub(crate) fn directory(apps: &[Arc<App>], tokens: &[Token]) -> FakeDirectory {
    let mut directory = FakeDirectory { apps: apps.to_vec(), ..FakeDirectory::default() };
    for app in apps {
        for (kind, token) in tokens.iter().enumerate() {
            for client in 0..USERS {
                let Ok(name) = UserId::parse(user(client).as_str()) else { continue };
                let identity =
                    Identity { user: name, info: None, grants: token.rights.grants(), expires: token.expires };
                directory.tokens.insert((app.id.clone(), Token::text(kind, client)), identity);
            }
        }
    }
    directory
}
