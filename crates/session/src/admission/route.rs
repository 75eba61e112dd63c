//! Addresses: which path is which endpoint. The one list of the WebSocket paths.

use super::query::{Query, percent_decode};
use super::{Refusal, RefusalCode, token};
use crate::Directory;
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
    /// A path of the configuration.
    Configured { app: Arc<App>, channel: ChannelName },
}

/// What a client asked to open.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Native,
    Raw(ChannelName),
    Own(Endpoint, Option<NoApp>),
}

impl<'a> Route<'a> {
    /// `Ok(None)`: no WebSocket's path.
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

    /// The application that path and query name, and what is asked of it.
    pub(super) fn resolve(self, query: &Query<'_>, directory: &dyn Directory) -> Result<(Arc<App>, Target), Refusal> {
        match self {
            Self::Native { key } => Ok((find_app(key, directory)?, Target::Native)),
            Self::Raw { channel } => {
                let key = query.value("app")?;
                Ok((find_app(key.as_deref(), directory)?, Target::Raw(channel)))
            }
            Self::Own { endpoint, key } => Ok(match directory.app_by_key(key) {
                Some(app) => (app, Target::Own(endpoint, None)),
                None => (Arc::new(App::new(AppId::new(""))), Target::Own(endpoint, Some(NoApp::Unknown))),
            }),
            Self::Configured { app, channel } => Ok((app, Target::Raw(channel))),
        }
    }
}

impl Target {
    /// The channel that the connection consists of.
    pub(super) fn channel(&self) -> Option<&ChannelName> {
        match self {
            Self::Native | Self::Own(..) => None,
            Self::Raw(channel) => Some(channel),
        }
    }

    /// Whether an application was found by what the address says.
    pub(super) fn has_app(&self) -> bool {
        !matches!(self, Self::Own(_, Some(NoApp::Unknown)))
    }

    /// The subprotocol to select if it is offered.
    pub(super) fn subprotocol(&self) -> Option<&'static str> {
        match self {
            Self::Native => Some(token::NATIVE_SUBPROTOCOL),
            Self::Raw(_) => Some(token::RAW_SUBPROTOCOL),
            Self::Own(..) => None,
        }
    }

    /// Refuses what the application does not serve, in the protocol's own way where it has one.
    pub(super) fn check_served(&mut self, app: &App, directory: &dyn Directory) -> Result<(), Refusal> {
        let name = match self {
            Self::Native => "native",
            Self::Raw(_) => "raw",
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
            Self::Native => Opening::Native { batch: query.flag("batch", false)? },
            Self::Raw(channel) => {
                let since = query.value("since")?.map(|raw| parse_since(&raw)).transpose()?;
                Opening::Raw { channel, since, echo: query.flag("echo", true)? }
            }
        })
    }
}

fn find_app(key: Option<&str>, directory: &dyn Directory) -> Result<Arc<App>, Refusal> {
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
