//! Addresses that belong to one dialect: which path it is, and what the query says of the client. Applications are found by whoever asks.

use crate::pusher::Refused;
use crate::registry::Opening;
use std::borrow::Cow;

/// An address of the form `/{protocol}/{key}`, whose dialect tells a client in its own words why it is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    dialect: Keyed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keyed {
    Pusher,
}

/// Why the application of an address cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoApp {
    /// There is none with the key.
    Unknown,
    /// It does not serve the protocol.
    Disabled,
}

impl Endpoint {
    /// The endpoint and the application's key that a path names.
    pub fn find(path: &str) -> Option<(Self, &str)> {
        let key = path.strip_prefix("/app/")?;
        (!key.contains('/')).then_some((Self { dialect: Keyed::Pusher }, key))
    }

    /// The dialect's name, as [`AnyDialect::NAMES`](crate::AnyDialect::NAMES) has it.
    pub fn name(self) -> &'static str {
        match self.dialect {
            Keyed::Pusher => "pusher",
        }
    }

    /// What the client asks to open. `value` reads a parameter of the query.
    ///
    /// # Errors
    /// Those of `value`.
    pub fn opening<'a, E>(
        self,
        no_app: Option<NoApp>,
        value: impl Fn(&str) -> Result<Option<Cow<'a, str>>, E>,
    ) -> Result<Opening, E> {
        let Keyed::Pusher = self.dialect;
        let refused = match (no_app, value("protocol")?.as_deref().map(str::parse::<u32>)) {
            (Some(NoApp::Unknown), _) => Some(Refused::UnknownApp),
            (Some(NoApp::Disabled), _) => Some(Refused::Disabled),
            (None, None) => Some(Refused::NoVersion),
            (None, Some(Err(_))) => Some(Refused::BadVersion),
            (None, Some(Ok(5..=7))) => None,
            (None, Some(Ok(_))) => Some(Refused::UnsupportedVersion),
        };
        Ok(Opening::Pusher { refused })
    }
}
