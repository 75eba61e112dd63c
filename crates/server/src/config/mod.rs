//! The configuration: [`RawConfig`] is what was written, [`Config`] what is meant. Nothing else in the program reads files or variables for it.

mod channels;
mod check;
mod load;
mod raw;
mod reload;
mod values;
mod webhooks;

#[cfg(test)]
mod tests;

pub use channels::{RawChannel, RawConflateBy, RawNamespace, RawOverflow};
pub(crate) use check::OPERATIONS;
pub use check::check;
pub use load::load;
pub use raw::{
    RawApp, RawCompression, RawConfig, RawGrant, RawHeartbeat, RawHistory, RawHttp2, RawLimits, RawPath, RawSecret,
    RawServer, RawTls, RawWebhook, RawWebhooks,
};
pub use reload::keep_fixed;
pub use values::{Count, Size, Span};
pub use webhooks::{Target, WebhookConfig, WebhookTarget};

use crate::secret::Secret;
use crate::token::TokenKey;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use switchboard_core::{App, ChannelName, Channels, Limits};
use switchboard_hub::TraceOptions;
use switchboard_net::{Compression, Http2};
use switchboard_session::admission::{OriginPattern, TrustedProxies};
use switchboard_store::Fsync;

/// What is meant.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The admin listener, if there shall be one.
    pub admin_listen: Option<SocketAddr>,
    /// Event loops; 0 is one for each core.
    pub shards: u16,
    /// Whose word about a client's address is taken.
    pub proxies: TrustedProxies,
    /// Over how long clients are sent away at shutdown.
    pub drain_window: Duration,
    /// Connections of all clients together.
    pub connections_max: usize,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// How long a client may take for its TLS handshake, and again for its request's head.
    pub header_timeout: Duration,
    /// How often what subscribers were given is compared with what was published; zero never.
    pub position_check: Duration,
    /// HTTP/2, beside HTTP/1.1.
    pub http2: Http2,
    /// Whether and how messages are compressed for clients that offer it.
    pub compression: Option<Compression>,
    /// What all channels together keep, in bytes.
    pub history_bytes_max: usize,
    /// Where and how it survives the process; `None` if it is in memory only.
    pub history_files: Option<HistoryFiles>,
    /// How webhooks are told.
    pub webhooks: WebhookConfig,
    /// What is remembered for whoever asks why.
    pub trace: TraceOptions,
    /// Certificate and key.
    pub tls: Option<TlsFiles>,
    /// Applications; empty: one for development is made.
    pub apps: Vec<AppConfig>,
    /// The limits of the development application, and of all others.
    pub limits: Limits,
    /// The channels' options of the development application.
    pub channels: Channels,
    /// Paths of raw connections.
    pub raw: Vec<RawRoute>,
}

/// Where the history is kept, and how carefully.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryFiles {
    /// The folder.
    pub folder: PathBuf,
    /// When what was written is made to survive a loss of power.
    pub fsync: Fsync,
}

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate with its chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// An application with what only the server knows of it.
#[derive(Clone, Debug)]
pub struct AppConfig {
    /// What the message path knows.
    pub app: Arc<App>,
    /// What addresses call it.
    pub key: String,
    /// Whether it is that of `/ws`.
    pub default: bool,
    /// What tokens are signed with; the first serves tokens that name none.
    pub token_keys: Vec<TokenKey>,
    /// What opens the HTTP API.
    pub api_keys: Vec<Secret>,
    /// Pages that may connect.
    pub origins: Vec<OriginPattern>,
    /// Whether a token may stand in the address.
    pub allow_query_token: bool,
    /// The cookie that may carry a token to addresses of plain HTTP.
    pub token_cookie: Option<Arc<str>>,
    /// The protocols that it serves.
    pub protocols: Vec<String>,
    /// Who is told what happens to its channels.
    pub webhooks: Vec<WebhookTarget>,
}

/// A path of raw connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRoute {
    /// The path.
    pub path: String,
    /// The channel.
    pub channel: ChannelName,
    /// The application's id; `None` for the default application.
    pub app: Option<String>,
}

/// What is wrong with a configuration. Each line names its key; none shows a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {message}")]
    Read {
        /// The file.
        path: String,
        /// The system's words.
        message: String,
    },
    /// The file is no TOML.
    #[error("{path} is not TOML: {message}")]
    Syntax {
        /// The file.
        path: String,
        /// Where and what.
        message: String,
    },
    /// Keys are unknown or their values wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which key, as in `apps[0].origins[1]`.
    pub key: String,
    /// The environment variable that set it.
    pub variable: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    fn at(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), variable: None, message: message.into() }
    }

    fn from(mut self, variables: &BTreeMap<String, String>) -> Self {
        self.variable = variables.get(&self.key).cloned();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(variable) = &self.variable {
            write!(f, " (set by {variable})")?;
        }
        write!(f, ": {}", self.message)
    }
}
