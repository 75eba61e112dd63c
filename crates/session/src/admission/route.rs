//! Addresses: which path is which endpoint. Those of plain HTTP are listed in `plain`, those that belong to one dialect in `switchboard_dialects::Endpoint`.

use super::plain::{Carrier, Plain};
use super::query::{Query, percent_decode};
use super::{Refusal, RefusalCode, token};
use crate::Directory;
use http::HeaderMap;
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelName, Epoch, Position, Since};
use switchboard_dialects::{Endpoint, NoApp, Opening};

/// What a path names, before the query is read.
#[derive(Clone, Debug)]
pub(super) enum Route<'a> {
    /// `/ws`, `/ws/{key}`.
    Native { key: Option<&'a str> },
    /// `/raw/{channel…}`.
    Raw { channel: ChannelName },
    /// An address of one dialect's own.
    Own { endpoint: Endpoint, key: &'a str },
    /// One of plain HTTP.
    Plain(Plain),
    /// A path of the configuration.
    Configured { app: Arc<App>, channel: ChannelName },
}

/// What a client asked to open.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Native,
    Raw(ChannelName),
    Own(Endpoint, Option<NoApp>),
    Plain(Plain, Opening),
}

impl<'a> Route<'a> {
    /// `Ok(None)`: no client's path.
    pub(super) fn find(path: &'a str, directory: &dyn Directory) -> Result<Option<Self>, Refusal> {
        if path == "/ws" {
            return Ok(Some(Self::Native { key: None }));
        }
        if let Some(key) = path.strip_prefix("/ws/") {
            return Ok((!key.contains('/')).then_some(Self::Native { key: Some(key) }));
        }
        if let Some((endpoint, key)) = Endpoint::find(path) {
            return Ok(Some(Self::Own { endpoint, key }));
        }
        if let Some(plain) = Plain::find(path) {
            return Ok(Some(Self::Plain(plain)));
        }
        if path == "/raw" {
            return Err(bad_channel("the address names no channel: connect to /raw/CHANNEL"));
        }
        if let Some(rest) = path.strip_prefix("/raw/") {
            let Some(name) = percent_decode(rest, false) else {
                return Err(bad_channel("the channel in the address is not percent-encoded UTF-8"));
            };
            let channel = ChannelName::parse(&name).map_err(|error| bad_channel(error.to_string()))?;
            return Ok(Some(Self::Raw { channel }));
        }
        Ok(directory.raw_path(path).map(|(app, channel)| Self::Configured { app, channel }))
    }

    /// The application that path and query name. `None` where its protocol says so itself.
    pub(super) fn app(&self, query: &Query<'_>, directory: &dyn Directory) -> Result<Option<Arc<App>>, Refusal> {
        match self {
            Self::Native { key } => find_app(*key, directory).map(Some),
            Self::Raw { .. } | Self::Plain(_) => find_app(query.value("app")?.as_deref(), directory).map(Some),
            Self::Own { key, .. } => Ok(directory.app_by_key(key)),
            Self::Configured { app, .. } => Ok(Some(Arc::clone(app))),
        }
    }

    /// What is asked of the application.
    pub(super) fn resolve(
        self,
        app: Option<Arc<App>>,
        query: &Query<'_>,
        headers: &HeaderMap,
    ) -> Result<(Arc<App>, Target), Refusal> {
        let unknown = app.is_none();
        let app = app.unwrap_or_else(|| Arc::new(App::new(AppId::new(""))));
        let target = match self {
            Self::Native { .. } => Target::Native,
            Self::Raw { channel } | Self::Configured { channel, .. } => Target::Raw(channel),
            Self::Own { endpoint, .. } => Target::Own(endpoint, unknown.then_some(NoApp::Unknown)),
            Self::Plain(plain) => Target::Plain(plain, plain.opening(query, headers, &app)?),
        };
        Ok((app, target))
    }
}

impl Target {
    /// The channels that the connection consists of.
    pub(super) fn channels(&self) -> Vec<&ChannelName> {
        match self {
            Self::Raw(channel) => vec![channel],
            Self::Plain(_, Opening::Listen { wanted, .. } | Opening::Poll { wanted, .. }) => {
                wanted.channels.iter().map(|(channel, _)| channel).collect()
            }
            Self::Native | Self::Own(..) | Self::Plain(..) => Vec::new(),
        }
    }

    /// Whether the client can show a token only in its address and headers.
    pub(super) fn must_come_with_token(&self) -> bool {
        matches!(self, Self::Raw(_) | Self::Plain(..))
    }

    pub(super) fn carrier(&self) -> Carrier {
        match self {
            Self::Plain(plain, _) => plain.carrier(),
            Self::Native | Self::Own(..) | Self::Raw(_) => Carrier::WebSocket,
        }
    }

    /// The subprotocol to select if it is offered.
    pub(super) fn subprotocol(&self) -> Option<&'static str> {
        match self {
            Self::Native => Some(token::NATIVE_SUBPROTOCOL),
            Self::Raw(_) => Some(token::RAW_SUBPROTOCOL),
            Self::Own(..) | Self::Plain(..) => None,
        }
    }

    /// Refuses what the application does not serve, in the protocol's own way where it has one.
    pub(super) fn check_served(&mut self, app: &App, directory: &dyn Directory) -> Result<(), Refusal> {
        let name = match self {
            Self::Native => "native",
            Self::Raw(_) => "raw",
            Self::Plain(plain, _) => plain.name(),
            Self::Own(_, Some(_)) => return Ok(()),
            Self::Own(endpoint, no_app) => {
                *no_app = (!directory.serves(&app.id, endpoint.name())).then_some(NoApp::Disabled);
                return Ok(());
            }
        };
        if directory.serves(&app.id, name) {
            return Ok(());
        }
        let message = format!("the application does not serve the protocol \"{name}\"");
        Err(Refusal::new(RefusalCode::ProtocolDisabled, message))
    }

    /// The dialect, with what the query asks for.
    pub(super) fn opening(self, query: &Query<'_>) -> Result<Opening, Refusal> {
        Ok(match self {
            Self::Own(endpoint, no_app) => endpoint.opening(no_app, |name| query.value(name))?,
            Self::Plain(_, opening) => opening,
            Self::Native => Opening::Native { batch: query.flag("batch", false)? },
            Self::Raw(channel) => {
                let since = query.value("since")?.map(|raw| parse_since(&raw)).transpose()?;
                Opening::Raw { channel, since, echo: query.flag("echo", true)? }
            }
        })
    }
}

pub(super) fn find_app(key: Option<&str>, directory: &dyn Directory) -> Result<Arc<App>, Refusal> {
    let (found, message) = match key {
        Some(key) => (directory.app_by_key(key), "no application has this key"),
        None => (directory.default_app(), "there is no default application: connect to an address with its key"),
    };
    found.ok_or_else(|| Refusal::new(RefusalCode::UnknownApp, message))
}

/// `EPOCH:OFFSET`. An epoch that no server ever gave is not an error: it has ended, and the client is told so by what it gets.
fn parse_since(raw: &str) -> Result<Since, Refusal> {
    let parts = raw.split_once(':').filter(|(epoch, offset)| {
        !epoch.is_empty() && !offset.is_empty() && offset.bytes().all(|b| b.is_ascii_digit())
    });
    let Some((epoch, offset)) = parts else {
        return Err(Refusal::new(RefusalCode::BadRequest, "\"since\" is not of the form EPOCH:OFFSET"));
    };
    Ok(match (Epoch::parse(epoch), offset.parse()) {
        (Some(epoch), Ok(offset)) => Since::Position(Position { epoch, offset }),
        _ => Since::Unknown,
    })
}

fn bad_channel(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(RefusalCode::BadChannel, message)
}
