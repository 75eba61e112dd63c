//! What the sessions must be told about applications and their clients' rights. Implemented by whoever holds keys and configuration.

use core::fmt::Debug;
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelName, Identity, Reject, Signed, Time};

/// Applications, their keys, origins and tokens. Called when a client connects or authenticates, never for a message.
pub trait Directory: Debug + Send + Sync {
    /// The application of addresses that name none.
    fn default_app(&self) -> Option<Arc<App>>;

    /// The application with this public key.
    fn app_by_key(&self, key: &str) -> Option<Arc<App>>;

    /// Whether a browser page of this origin (the `Origin` header as sent) may connect to the application.
    fn origin_allowed(&self, app: &AppId, origin: &str) -> bool;

    /// Whether clients of this protocol ([`DIALECTS`](crate::DIALECTS)) may connect to the application.
    fn serves(&self, app: &AppId, protocol: &str) -> bool;

    /// Whether the application takes tokens in the query, where proxies log them.
    fn query_token_allowed(&self, app: &AppId) -> bool;

    /// The cookie in which pages carry a token to addresses of plain HTTP, if the application names one.
    fn token_cookie(&self, app: &AppId) -> Option<Arc<str>>;

    /// The application and channel of a configured raw path such as `/chat`.
    fn raw_path(&self, path: &str) -> Option<(Arc<App>, ChannelName)>;

    /// Checks a token for an application. The refusal's code is `bad_token`; its message holds nothing of the token.
    fn authenticate(&self, app: &AppId, token: &str, now: Time) -> Result<Identity, Reject>;

    /// Checks the signature of one of the application's own servers. The refusal's code is `bad_token`.
    fn check_signed(&self, app: &AppId, signed: &Signed) -> Result<(), Reject>;
}
