//! Webhooks: who is told, where and how.

use super::check::Checker;
use super::raw::{RawApp, RawWebhook, RawWebhooks};
use super::values::Size;
use core::fmt;
use core::time::Duration;
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Uri};
use std::path::PathBuf;
use switchboard_core::{AppId, NoticeKinds, Notices};
use switchboard_session::admission::Network;
use switchboard_webhooks::{Settings, Webhook};

/// How webhooks are told, the same for all.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// When, and how much.
    pub settings: Settings,
    /// Networks that are not the public internet's and may be told all the same.
    pub allow: Vec<Network>,
    /// Certificates of authorities that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// How long looking up and connecting may take, and again the handshake of TLS.
    pub connect_timeout: Duration,
    /// How long the answer may take.
    pub timeout: Duration,
    /// How long a connection stays open for the next request; with nothing, each request has its own.
    pub keep_alive: Duration,
}

/// One webhook of an application.
#[derive(Clone, Debug)]
pub struct WebhookTarget {
    /// What it is told, and its URL.
    pub webhook: Webhook,
    /// What the URL says.
    pub target: Target,
    /// What every request says besides. Marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a webhook's URL says. Shown without its path: there may be a secret in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether it is `https`.
    pub secure: bool,
    /// A name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The request's `Host`.
    pub authority: String,
    /// The path, with the query.
    pub path: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}/…")
    }
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "is not a URL such as https://example.com/webhooks")?;
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err("begins neither with https:// nor with http://"),
        };
        let authority = uri.authority().ok_or("names no host")?;
        if authority.as_str().contains('@') {
            return Err("has a user name or a password in it: use headers for what the receiver shall know you by");
        }
        if url.contains('#') {
            return Err("has a fragment (#), which no server would see");
        }
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() {
            return Err("names no host");
        }
        let port = match authority.port() {
            Some(port) => port.as_str().parse().ok().filter(|port| *port > 0).ok_or("has a port that is none")?,
            // Something that is no number of a port.
            None if authority.as_str().len() > host.len() => return Err("has a port that is none"),
            None if secure => 443,
            None => 80,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            secure,
            host: bare.to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            path: path.to_owned(),
        })
    }
}

/// Headers that a request has anyway, or that belong to the connection.
const RESERVED_HEADERS: [&str; 16] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-pusher-key",
    "x-pusher-signature",
    "x-switchboard-lost",
];
/// Webhooks of one application.
const WEBHOOKS_MAX: usize = 50;

impl Checker<'_> {
    pub(super) fn webhook_config(&mut self, raw: &RawWebhooks) -> WebhookConfig {
        let millisecond = Duration::from_millis(1);
        let second = Duration::from_secs(1);
        let mut allow = Vec::with_capacity(raw.allow.len());
        for (index, network) in raw.allow.iter().enumerate() {
            match Network::parse(network) {
                Ok(network) => allow.push(network),
                Err(error) => self.problem(format!("webhooks.allow[{index}]"), format!("{network:?}: {error}")),
            }
        }
        let settings = Settings {
            batch_wait: self.span("webhooks.batch_wait", Duration::ZERO, raw.batch_wait),
            batch_events: self.count("webhooks.batch_events", 1..=10_000, raw.batch_events),
            batch_bytes: self.size("webhooks.batch_bytes", 1..=64 << 20, raw.batch_bytes),
            queue_bytes: self.size("webhooks.queue_bytes", 1 << 10..=64 << 30, raw.queue_bytes),
            expire_after: self.span("webhooks.expire_after", second, raw.expire_after),
            restart_grace: self.span("webhooks.restart_grace", Duration::ZERO, raw.restart_grace),
            retry_first: self.span("webhooks.retry_first", millisecond, raw.retry_first),
            retry_max: self.span("webhooks.retry_max", raw.retry_first.0, raw.retry_max),
            breaker_failures: self.count32("webhooks.breaker_failures", 1, raw.breaker_failures),
            breaker_wait: self.span("webhooks.breaker_wait", millisecond, raw.breaker_wait),
            breaker_wait_max: self.span("webhooks.breaker_wait_max", raw.breaker_wait.0, raw.breaker_wait_max),
        };
        if settings.batch_bytes > settings.queue_bytes {
            let queue = Size(settings.queue_bytes);
            self.problem(
                "webhooks.batch_bytes",
                format!("is more than webhooks.queue_bytes, {queue}: it would never come together"),
            );
        }
        WebhookConfig {
            settings,
            allow,
            ca: raw.ca.clone(),
            connect_timeout: self.span("webhooks.connect_timeout", millisecond, raw.connect_timeout),
            timeout: self.span("webhooks.timeout", millisecond, raw.timeout),
            keep_alive: self.span("webhooks.keep_alive", Duration::ZERO, raw.keep_alive),
        }
    }

    /// An application's webhooks, and what its channels' homes have to tell for their sake.
    pub(super) fn webhooks(
        &mut self,
        at: &str,
        raw: &RawApp,
        told: &RawWebhooks,
        signs: bool,
    ) -> (Vec<WebhookTarget>, Notices) {
        let mut webhooks: Vec<WebhookTarget> = Vec::with_capacity(raw.webhooks.len());
        if raw.webhooks.len() > WEBHOOKS_MAX {
            self.problem(format!("{at}.webhooks"), format!("are more than {WEBHOOKS_MAX}"));
        }
        if !raw.webhooks.is_empty() && !signs {
            self.problem(format!("{at}.webhooks"), format!("cannot be signed: set {at}.secret"));
        }
        for (index, written) in raw.webhooks.iter().enumerate() {
            let key = format!("{at}.webhooks[{index}]");
            if webhooks.iter().any(|known| known.webhook.url == written.url) {
                let message =
                    "is the URL of another webhook of this application: one webhook has all its events and prefixes";
                self.problem(format!("{key}.url"), message);
            }
            webhooks.extend(self.webhook(&key, &AppId::new(&raw.id), written));
        }
        let everywhere = [Box::from("")];
        let wanted = webhooks.iter().flat_map(|WebhookTarget { webhook, .. }| {
            let prefixes = if webhook.prefixes.is_empty() { &everywhere[..] } else { &webhook.prefixes };
            prefixes.iter().map(|prefix| (prefix.clone(), webhook.kinds))
        });
        let notices = Notices {
            wanted: wanted.collect(),
            count_for_subscribers: raw.subscription_count,
            vacated_grace: told.vacated_grace.0,
            count_interval: told.count_interval.0,
        };
        (webhooks, notices)
    }

    fn webhook(&mut self, key: &str, app: &AppId, raw: &RawWebhook) -> Option<WebhookTarget> {
        let target = Target::parse(&raw.url).map_err(|error| self.problem(format!("{key}.url"), error)).ok();
        if raw.events.is_empty() {
            self.problem(format!("{key}.events"), format!("is missing: list any of {}", event_names()));
        }
        let mut kinds = NoticeKinds::NONE;
        for (index, name) in raw.events.iter().enumerate() {
            match NoticeKinds::parse(name) {
                Some(kind) => kinds = kinds | kind,
                None => {
                    self.problem(format!("{key}.events[{index}]"), format!("{name:?} is none of {}", event_names()));
                }
            }
        }
        let mut headers = Vec::with_capacity(raw.headers.len());
        for (name, value) in &raw.headers {
            let key = format!("{key}.headers.{name}");
            let Some(value) = self.secret(&key, value, 0) else { continue };
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
                self.problem(key, "is no name of a header");
                continue;
            };
            if RESERVED_HEADERS.contains(&name.as_str()) {
                self.problem(key, "is set by the server itself");
                continue;
            }
            let Ok(mut value) = HeaderValue::from_str(value.reveal()) else {
                self.problem(key, "has a character that no header may have");
                continue;
            };
            value.set_sensitive(true);
            headers.push((name, value));
        }
        let prefixes = raw.channel_prefixes.iter().map(|prefix| prefix.as_str().into()).collect();
        let webhook = Webhook { app: app.clone(), url: raw.url.clone(), kinds, prefixes };
        Some(WebhookTarget { webhook, target: target?, headers })
    }
}

fn event_names() -> String {
    NoticeKinds::NAMES.map(|(name, _)| name).join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{Config, RawConfig, check};

    #[test]
    fn urls_are_taken_apart_and_not_shown_whole() {
        for (url, shown) in [
            ("https://example.com/a/b?token=CANARY", "https://example.com example.com 443 /a/b?token=CANARY"),
            ("http://example.com", "http://example.com example.com 80 /"),
            ("https://[::1]:8443/x", "https://[::1]:8443 ::1 8443 /x"),
            ("HTTPS://EXAMPLE.com:1", "https://EXAMPLE.com:1 EXAMPLE.com 1 /"),
            ("http://2130706433/", "http://2130706433 2130706433 80 /"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(format!("{target} {} {} {}", target.host, target.port, target.path), shown);
            assert!(!format!("{target:?}").contains("CANARY"));
        }
        for bad in [
            "",
            "/x",
            "example.com",
            "ftp://example.com/",
            "https://",
            "https://user:pass@example.com/",
            "https://user@example.com",
            "https://example.com/#a",
            "https://example.com:0/",
            "https://example.com:99999/",
            "https://example.com:/",
            "https://exa mple.com/",
            "javascript:alert(1)",
            "https://:443/",
            "https://[]/",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    const APP: &str = r#"
        [[apps]]
        id = "shop"
        secret = "0123456789abcdef0123456789abcdef"
        subscription_count = true
        [[apps.webhooks]]
        url = "https://a.example/"
        events = ["channel_occupied", "channel_vacated"]
        channel_prefixes = ["room:", "hall"]
        headers = { X-A = "CANARY", X-B = { env = "B" } }
        [[apps.webhooks]]
        url = "https://b.example/"
        events = ["cache_miss"]
    "#;

    fn read(text: &str) -> Result<Config, String> {
        let raw: RawConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        check(&raw, |name| (name == "B").then(|| "CANARY".to_owned())).map_err(|error| error.to_string())
    }

    #[test]
    fn the_homes_of_channels_are_told_what_the_webhooks_want() {
        let config = read(&format!("{APP}\n[webhooks]\nvacated_grace = \"9s\"\nallow = [\"10.0.0.0/8\"]")).unwrap();
        assert!(!format!("{config:?}").contains("CANARY"));
        let app = config.apps.first().unwrap();
        let life = NoticeKinds::OCCUPIED | NoticeKinds::VACATED;
        let wanted: Vec<(Box<str>, NoticeKinds)> =
            vec![("room:".into(), life), ("hall".into(), life), ("".into(), NoticeKinds::CACHE_MISS)];
        let notices = &app.app.notices;
        assert_eq!((&notices.wanted, notices.vacated_grace.as_secs()), (&wanted, 9));
        assert!(notices.count_for_subscribers);
        let headers = &app.webhooks.first().unwrap().headers;
        assert!(headers.iter().all(|(_, value)| value.is_sensitive() && value == "CANARY") && headers.len() == 2);
        assert_eq!(config.webhooks.allow.len(), 1);
        let shown = toml::to_string(&toml::from_str::<RawConfig>(APP).unwrap()).unwrap();
        assert!(!shown.contains("CANARY"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, problem) in [
            (
                "https://a.example/",
                "ftp://a.example/",
                "apps[0].webhooks[0].url: begins neither with https:// nor with http://",
            ),
            ("https://b.example/", "https://a.example/", "apps[0].webhooks[1].url: is the URL of another webhook"),
            ("[\"cache_miss\"]", "[]", "apps[0].webhooks[1].events: is missing: list any of channel_occupied, "),
            ("cache_miss", "cache_mis", "apps[0].webhooks[1].events[0]: \"cache_mis\" is none of"),
            ("X-A", "Host", "apps[0].webhooks[0].headers.Host: is set by the server itself"),
            ("X-A", "\"X A\"", "apps[0].webhooks[0].headers.X A: is no name of a header"),
            ("\"CANARY\"", "\"a\\nb\"", "apps[0].webhooks[0].headers.X-A: has a character that no header may have"),
            ("env = \"B\"", "env = \"C\"", "apps[0].webhooks[0].headers.X-B: the environment variable C is not set"),
            (
                "secret = \"0123456789abcdef0123456789abcdef\"",
                "anonymous = []",
                "apps[0].webhooks: cannot be signed: set apps[0].secret",
            ),
        ] {
            let problems = read(&APP.replacen(from, to, 1)).unwrap_err();
            assert!(problems.contains(problem) && !problems.contains("CANARY"), "{problem}: {problems}");
        }
        for (setting, problem) in [
            ("allow = [\"10.0.0.0/99\"]", "webhooks.allow[0]"),
            ("batch_events = 0", "webhooks.batch_events"),
            ("retry_max = \"1ms\"", "webhooks.retry_max: 1ms is less than 1s"),
            ("breaker_failures = 0", "webhooks.breaker_failures"),
            ("queue_bytes = \"1KiB\"", "webhooks.batch_bytes: is more than webhooks.queue_bytes, 1KiB"),
        ] {
            let problems = read(&format!("{APP}\n[webhooks]\n{setting}")).unwrap_err();
            assert!(problems.contains(problem), "{problem}: {problems}");
        }
    }
}
