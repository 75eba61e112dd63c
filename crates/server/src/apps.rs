//! The applications with their keys, origins and tokens: what the sessions ask when a client connects or authenticates.

use crate::config::{AppConfig, Config, RawRoute};
use crate::pusher::signature;
use crate::secret::Secret;
use crate::token::{self, TokenKey};
use arc_swap::ArcSwap;
use core::net::SocketAddr;
use core::time::Duration;
use serde_json::Map;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use switchboard_core::{
    App, AppId, ChannelMatch, ChannelName, Grant, Identity, Notices, Operations, Reject, RejectCode, Signed, Time,
    UserId,
};
use switchboard_dialects::signed_prefixes;
use switchboard_session::admission::OriginPattern;
use switchboard_session::{DIALECTS, Directory};

/// All applications of a server, as the configuration has them now.
#[derive(Debug)]
pub struct Apps {
    current: ArcSwap<Table>,
    /// The development application's pages: known only when the ports are.
    own_origins: OnceLock<Vec<OriginPattern>>,
}

/// The applications of one configuration.
#[derive(Debug)]
struct Table {
    /// Never empty, and one of them is the default.
    apps: Vec<Arc<AppConfig>>,
    raw: HashMap<String, (Arc<App>, ChannelName)>,
    development: bool,
}

/// How long a ready-made token of the development application lives.
pub const DEVELOPMENT_TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);
/// Where a raw connection to the development application goes.
pub const DEVELOPMENT_CHAT: (&str, &str) = ("/chat", "chat");

/// A grant of everything, as tokens write it.
pub(crate) fn everything() -> (String, Vec<String>) {
    ("*".to_owned(), vec!["*".to_owned()])
}

impl Apps {
    /// Those of the configuration, or else one for development with generated keys, on which everybody may do everything.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let apps = match config.apps.is_empty() {
            true => vec![Arc::new(development_app(config)?)],
            false => config.apps.iter().cloned().map(Arc::new).collect(),
        };
        let table = Table::new(config, apps)?;
        Ok(Self { current: ArcSwap::from_pointee(table), own_origins: OnceLock::new() })
    }

    /// Takes the applications of another configuration in place of those that there are. Returns the ids of those that are gone: their sessions are
    /// still there.
    ///
    /// # Errors
    /// The operating system gives no randomness. Nothing has changed then.
    pub fn replace(&self, config: &Config) -> anyhow::Result<Vec<AppId>> {
        let before = self.current.load_full();
        let apps = match config.apps.is_empty() {
            // Whoever develops keeps the keys.
            true if before.development => before.apps.iter().map(|app| Arc::new(renewed(app, config))).collect(),
            true => vec![Arc::new(development_app(config)?)],
            false => config.apps.iter().cloned().map(Arc::new).collect(),
        };
        let after = Table::new(config, apps)?;
        let gone = before.apps.iter().map(|app| &app.app.id).filter(|id| after.find(id.as_str()).is_none());
        let gone = gone.cloned().collect();
        self.current.store(Arc::new(after));
        Ok(gone)
    }

    /// Whether there is only the generated one.
    pub fn is_development(&self) -> bool {
        self.current.load().development
    }

    /// Each, in the order of the configuration.
    pub fn all(&self) -> Vec<Arc<AppConfig>> {
        self.current.load().apps.clone()
    }

    /// The one with this key.
    pub fn by_key(&self, key: &str) -> Option<Arc<AppConfig>> {
        self.current.load().apps.iter().find(|app| app.key == key).cloned()
    }

    /// The one with this id.
    pub fn by_id(&self, id: &str) -> Option<Arc<AppConfig>> {
        self.current.load().find(id).cloned()
    }
}

impl Table {
    fn new(config: &Config, apps: Vec<Arc<AppConfig>>) -> anyhow::Result<Self> {
        let development = config.apps.is_empty();
        let mut routes = config.raw.clone();
        if development && !routes.iter().any(|route| route.path == DEVELOPMENT_CHAT.0) {
            let channel = ChannelName::parse(DEVELOPMENT_CHAT.1)?;
            routes.push(RawRoute { path: DEVELOPMENT_CHAT.0.to_owned(), channel, app: None });
        }
        let mut this = Self { apps, raw: HashMap::new(), development };
        for route in routes {
            let app = match &route.app {
                Some(id) => this.find(id),
                None => this.default_app(),
            };
            if let Some(app) = app.map(|app| Arc::clone(&app.app)) {
                this.raw.insert(route.path, (app, route.channel));
            }
        }
        Ok(this)
    }

    fn find(&self, id: &str) -> Option<&Arc<AppConfig>> {
        self.apps.iter().find(|app| app.app.id.as_str() == id)
    }

    fn default_app(&self) -> Option<&Arc<AppConfig>> {
        self.apps.iter().find(|app| app.default)
    }
}

impl Apps {
    /// Lets pages of these addresses connect to the development application. Has no effect on others.
    pub fn allow_own_pages(&self, addresses: &[SocketAddr]) {
        let hosts = |address: &SocketAddr| {
            let port = address.port();
            let mut hosts = vec![format!("http://127.0.0.1:{port}"), format!("http://localhost:{port}")];
            if address.is_ipv6() {
                hosts.push(format!("http://[::1]:{port}"));
            }
            hosts
        };
        let origins = addresses.iter().flat_map(hosts).filter_map(|origin| OriginPattern::parse(&origin).ok());
        // A second call would be a second start.
        let _ = self.own_origins.set(origins.collect());
    }

    /// The application that an API key belongs to. Looks at every key, so that the time it takes tells nothing.
    pub fn by_api_key(&self, shown: &str) -> Option<Arc<App>> {
        let mut found = None;
        for app in &self.current.load().apps {
            for key in &app.api_keys {
                if key.matches(shown) {
                    found = Some(Arc::clone(&app.app));
                }
            }
        }
        found
    }

    /// A token for the development application.
    ///
    /// # Errors
    /// The application is not the development application, or the user name or `channels` are no good.
    pub fn development_token(
        &self,
        app: Option<&str>,
        user: &str,
        channels: &[(String, Vec<String>)],
        ttl: Duration,
        now: Time,
    ) -> Result<(String, Time), Reject> {
        let none =
            || Reject::new(RejectCode::PermissionDenied, "tokens are made here for the development application only");
        let table = self.current.load();
        let named = |known: &&Arc<AppConfig>| app.is_none_or(|app| app == known.app.id.as_str());
        let found = table.apps.first().filter(|known| table.development && named(known));
        let found = found.ok_or_else(none)?;
        let key = found.token_keys.first().ok_or_else(none)?;
        let user = UserId::parse(user).map_err(|error| Reject::new(RejectCode::BadRequest, error.to_string()))?;
        let new =
            token::NewToken { user: &user, channels, ttl, info: None::<Map<_, _>>, app: Some(found.app.id.as_str()) };
        token::sign(key, &new, now)
    }
}

impl Directory for Apps {
    fn default_app(&self) -> Option<Arc<App>> {
        self.current.load().default_app().map(|app| Arc::clone(&app.app))
    }

    fn app_by_key(&self, key: &str) -> Option<Arc<App>> {
        self.by_key(key).map(|app| Arc::clone(&app.app))
    }

    fn origin_allowed(&self, app: &AppId, origin: &str) -> bool {
        let table = self.current.load();
        let Some(app) = table.find(app.as_str()) else { return false };
        let own = self.own_origins.get().filter(|_| table.development);
        app.origins.iter().chain(own.into_iter().flatten()).any(|pattern| pattern.matches(origin))
    }

    fn serves(&self, app: &AppId, protocol: &str) -> bool {
        self.by_id(app.as_str()).is_some_and(|app| app.protocols.iter().any(|known| known == protocol))
    }

    fn query_token_allowed(&self, app: &AppId) -> bool {
        self.by_id(app.as_str()).is_some_and(|app| app.allow_query_token)
    }

    fn token_cookie(&self, app: &AppId) -> Option<Arc<str>> {
        self.by_id(app.as_str())?.token_cookie.clone()
    }

    fn raw_path(&self, path: &str) -> Option<(Arc<App>, ChannelName)> {
        self.current.load().raw.get(path).cloned()
    }

    fn authenticate(&self, app: &AppId, token: &str, now: Time) -> Result<Identity, Reject> {
        let known = self.by_id(app.as_str());
        let keys = known.as_ref().map(|app| &*app.token_keys).unwrap_or_default();
        token::verify(keys, app, token, now)
    }

    fn check_signed(&self, app: &AppId, signed: &Signed) -> Result<(), Reject> {
        let good = self.by_id(app.as_str()).is_some_and(|app| {
            let mut secrets = app.token_keys.iter().map(|key| &key.secret);
            secrets.any(|secret| signature::is_signed_by(&app.key, secret, &signed.text, &signed.signature))
        });
        if good {
            return Ok(());
        }
        let message = format!(
            "the signature is not good: it must be KEY:SIGNATURE, the HMAC-SHA256 of {:?} in hexadecimal digits",
            signed.text
        );
        Err(Reject::new(RejectCode::BadToken, message))
    }
}

/// The protocols that an application serves unless it says otherwise.
pub(crate) fn every_protocol() -> Vec<String> {
    DIALECTS.map(str::to_owned).to_vec()
}

/// Channels for which some protocol has signatures: what everybody may do on all channels does not hold there.
pub(crate) fn protected(protocols: &[String]) -> Vec<Box<str>> {
    protocols.iter().flat_map(|protocol| signed_prefixes(protocol)).map(|prefix| (*prefix).into()).collect()
}

/// The same application under another configuration.
fn renewed(app: &AppConfig, config: &Config) -> AppConfig {
    let known = App { limits: config.limits.clone(), channels: config.channels.clone(), ..(*app.app).clone() };
    AppConfig { app: Arc::new(known), ..app.clone() }
}

fn development_app(config: &Config) -> anyhow::Result<AppConfig> {
    let app = App {
        id: AppId::new("dev"),
        limits: config.limits.clone(),
        anonymous: Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]),
        protected: protected(&every_protocol()),
        channels: config.channels.clone(),
        notices: Notices::default(),
    };
    Ok(AppConfig {
        app: Arc::new(app),
        key: format!("dev-{}", Secret::generate(4)?.reveal()),
        default: true,
        token_keys: vec![TokenKey { kid: None, secret: Secret::generate(32)? }],
        api_keys: vec![Secret::generate(16)?],
        origins: Vec::new(),
        allow_query_token: false,
        token_cookie: None,
        protocols: every_protocol(),
        webhooks: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{RawConfig, check};

    fn apps(text: &str) -> Apps {
        let raw: RawConfig = toml::from_str(text).unwrap();
        Apps::new(&check(&raw, |_| None).unwrap()).unwrap()
    }

    const TWO: &str = r#"
        [[apps]]
        id = "a"
        key = "key-a"
        secret = "0123456789abcdef0123456789abcdef"
        api_keys = ["api-key-of-application-a"]
        origins = ["https://a.example"]
        [[apps]]
        id = "b"
        default = true
        secret = "fedcba9876543210fedcba9876543210"
        api_keys = ["api-key-of-application-b"]
        allow_query_token = true
        [[raw]]
        path = "/a"
        channel = "x"
        app = "a"
        [[raw]]
        path = "/b"
        channel = "x"
    "#;

    #[test]
    fn nothing_of_one_application_opens_another() {
        let apps = apps(TWO);
        apps.allow_own_pages(&["127.0.0.1:8080".parse().unwrap()]);
        let [a, b] = ["a", "b"].map(AppId::new);
        assert_eq!(apps.default_app().unwrap().id, b);
        assert_eq!(apps.app_by_key("key-a").unwrap().id, a);
        assert!(apps.app_by_key("a").is_none());
        assert!(apps.origin_allowed(&a, "https://a.example") && !apps.origin_allowed(&b, "https://a.example"));
        assert!(!apps.origin_allowed(&b, "http://localhost:8080"));
        assert!(!apps.query_token_allowed(&a) && apps.query_token_allowed(&b));
        assert_eq!(apps.by_api_key("api-key-of-application-b").unwrap().id, b);
        assert!(apps.by_api_key("").is_none() && apps.by_api_key("api-key-of-application").is_none());
        assert_eq!(apps.raw_path("/a").unwrap().0.id, a);
        assert_eq!(apps.raw_path("/b").unwrap().0.id, b);
        assert!(apps.raw_path("/chat").is_none() && !apps.is_development());

        let all = apps.all();
        let key = all.first().unwrap().token_keys.first().unwrap();
        let user = UserId::parse("ann").unwrap();
        let ttl = Duration::from_secs(60);
        let new = token::NewToken { user: &user, channels: &[], ttl, info: None, app: None };
        let (token, _) = token::sign(key, &new, Time::from_secs(1)).unwrap();
        assert!(apps.authenticate(&a, &token, Time::from_secs(1)).is_ok());
        assert!(apps.authenticate(&b, &token, Time::from_secs(1)).is_err());
        assert!(apps.authenticate(&AppId::new("c"), &token, Time::from_secs(1)).is_err());
        let refused = apps.development_token(Some("a"), "ann", &[], ttl, Time::from_secs(1));
        assert_eq!(refused.unwrap_err().code, RejectCode::PermissionDenied);
    }

    #[test]
    fn the_development_application_allows_its_own_pages_and_no_others() {
        let apps = apps("");
        let dev = apps.default_app().unwrap();
        assert!(!apps.origin_allowed(&dev.id, "http://localhost:8080"));
        apps.allow_own_pages(&["127.0.0.1:8080".parse().unwrap(), "[::1]:8081".parse().unwrap()]);
        for origin in ["http://localhost:8080", "http://127.0.0.1:8080", "http://localhost:8081", "http://[::1]:8081"] {
            assert!(apps.origin_allowed(&dev.id, origin), "{origin}");
        }
        for origin in [
            "null",
            "https://localhost:8080",
            "http://localhost",
            "http://localhost:3000",
            "http://[::1]:8080",
            "http://x.localhost:8080",
        ] {
            assert!(!apps.origin_allowed(&dev.id, origin), "{origin}");
        }
        assert_eq!(apps.raw_path("/chat").unwrap().1.as_str(), "chat");
        let now = Time::from_secs(1);
        let (token, _) = apps.development_token(None, "ann", &[], DEVELOPMENT_TOKEN_TTL, now).unwrap();
        assert_eq!(apps.authenticate(&dev.id, &token, now).unwrap().user.as_str(), "ann");
        assert!(apps.development_token(Some("other"), "ann", &[], DEVELOPMENT_TOKEN_TTL, now).is_err());
    }
}
