//! Applications and tokens of a test.

use std::collections::HashMap;
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelName, Identity, Reject, RejectCode, Time};
use switchboard_session::Directory;

/// Tokens are looked up, not verified. The token `PANIC` is a bug.
#[derive(Debug, Default)]
pub struct FakeDirectory {
    /// The applications; the first is the default, and each one's key is its name.
    pub apps: Vec<Arc<App>>,
    /// Identities by application and token.
    pub tokens: HashMap<(AppId, String), Identity>,
}

impl Directory for FakeDirectory {
    fn default_app(&self) -> Option<Arc<App>> {
        self.apps.first().cloned()
    }

    fn app_by_key(&self, key: &str) -> Option<Arc<App>> {
        self.apps.iter().find(|app| app.id.as_str() == key).cloned()
    }

    fn origin_allowed(&self, _: &AppId, origin: &str) -> bool {
        origin == "https://good.example"
    }

    fn query_token_allowed(&self, _: &AppId) -> bool {
        false
    }

    fn raw_path(&self, path: &str) -> Option<(Arc<App>, ChannelName)> {
        (path == "/chat").then(|| (self.apps[0].clone(), ChannelName::parse("chat").unwrap()))
    }

    fn authenticate(&self, app: &AppId, token: &str, now: Time) -> Result<Identity, Reject> {
        assert_ne!(token, "PANIC", "a bug, as a test wants it");
        match self.tokens.get(&(app.clone(), token.to_owned())) {
            Some(identity) if identity.expires.is_none_or(|expires| now < expires) => Ok(identity.clone()),
            Some(_) => Err(Reject::new(RejectCode::BadToken, "the token has expired")),
            None => Err(Reject::new(RejectCode::BadToken, "the token is malformed")),
        }
    }
}
