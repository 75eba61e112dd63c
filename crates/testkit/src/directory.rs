//! Applications and tokens of a test.

use std::collections::HashMap;
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelName, Identity, Reject, RejectCode, Signed, Time};
use switchboard_session::Directory;

/// Tokens are looked up, not verified; a good signature of a text is `KEY:` and the text between brackets. The token `PANIC` is a bug.
#[derive(Debug, Default)]
pub struct FakeDirectory {
    /// The applications; the first is the default, and each one's key is its name.
    pub apps: Vec<Arc<App>>,
    /// Identities by application and token.
    pub tokens: HashMap<(AppId, String), Identity>,
    /// Takes `APP:SIGNATURE` for the signature of any text.
    pub trusts: bool,
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

    fn serves(&self, _: &AppId, _: &str) -> bool {
        true
    }

    fn query_token_allowed(&self, _: &AppId) -> bool {
        false
    }

    fn token_cookie(&self, app: &AppId) -> Option<Arc<str>> {
        (app.as_str() == "closed").then(|| "token".into())
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

    fn check_signed(&self, app: &AppId, signed: &Signed) -> Result<(), Reject> {
        let good = [format!("{app}:[{}]", signed.text), format!("{app}:SIGNATURE")];
        if good.iter().take(1 + usize::from(self.trusts)).any(|good| *good == signed.signature) {
            return Ok(());
        }
        Err(Reject::new(RejectCode::BadToken, "the signature is not good"))
    }
}
