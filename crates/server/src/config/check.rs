//! From what was written to what is meant. All that is wrong is found in one go; what would be insecure is refused and says what to set.

use super::channels::{Listed, RawNamespace, channels};
use super::raw::{
    RawApp, RawCompression, RawConfig, RawGrant, RawHistory, RawHttp2, RawPath, RawSecret, RawTrace, RawWebhooks,
};
use super::values::{Count, Size, Span};
use super::{AppConfig, Config, ConfigError, HistoryFiles, Problem, RawRoute, TlsFiles};
use crate::apps::{every_protocol, protected};
use crate::secret::Secret;
use crate::token::{SECRET_BYTES_MIN, TokenKey};
use core::net::SocketAddr;
use core::ops::RangeInclusive;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelMatch, ChannelName, ChannelOptions, Channels, Grant, Limits, Operations};
use switchboard_hub::TraceOptions;
use switchboard_net::{Compression, Http2};
use switchboard_session::admission::{Network, OriginPattern, TrustedProxies};
use switchboard_store::Fsync;

/// The shortest API key, in bytes.
const API_KEY_BYTES_MIN: usize = 16;
const SECOND: Duration = Duration::from_secs(1);
/// Paths that are, or will be, somebody else's.
const RESERVED_PATHS: [&str; 17] = [
    "/",
    "/ws",
    "/raw",
    "/api",
    "/app",
    "/apps",
    "/socket.io",
    "/sockjs",
    "/stomp",
    "/mqtt",
    "/graphql",
    "/sse",
    "/stream",
    "/poll",
    "/client",
    "/healthz",
    "/users",
];

/// Checks a configuration. `variable` looks up environment variables that secrets are read from.
///
/// # Errors
/// Everything that is wrong.
pub fn check(raw: &RawConfig, variable: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    let mut checker = Checker { problems: Vec::new(), variable: &variable };
    let config = checker.config(raw);
    if checker.problems.is_empty() { Ok(config) } else { Err(ConfigError::Problems(checker.problems)) }
}

pub(super) struct Checker<'a> {
    problems: Vec<Problem>,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Checker<'_> {
    pub(super) fn problem(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::at(key, message));
    }

    fn config(&mut self, raw: &RawConfig) -> Config {
        let server = &raw.server;
        let limits = self.limits(raw);
        let defaults = raw.channels.over(&ChannelOptions::default(), "channels", &mut self.problems);
        let everywhere = Listed { key: "namespaces".to_owned(), namespaces: &raw.namespaces };
        let channels = channels(defaults.clone(), &[everywhere], &mut self.problems);
        let listen = self.address("server.listen", &server.listen);
        let admin_listen =
            (server.admin_listen != "off").then(|| self.address("server.admin_listen", &server.admin_listen));
        let proxies = server.trusted_proxies.iter().enumerate().filter_map(|(index, network)| {
            Network::parse(network)
                .map_err(|error| {
                    self.problem(format!("server.trusted_proxies[{index}]"), format!("{network:?}: {error}"));
                })
                .ok()
        });
        let proxies = TrustedProxies::new(proxies.collect());
        let apps = self.apps(raw, &limits, &defaults);
        let config = Config {
            listen,
            admin_listen,
            shards: u16::try_from(self.count("server.shards", 0..=1_024, server.shards)).unwrap_or(0),
            proxies,
            drain_window: server.drain_window.0,
            connections_max: self.count("server.connections_max", 1..=usize::MAX, server.connections_max),
            connections_per_address: self.count(
                "server.connections_per_address",
                1..=usize::MAX,
                server.connections_per_address,
            ),
            header_timeout: self.span("server.header_timeout", Duration::from_millis(100), server.header_timeout),
            position_check: self.position_check(server.position_check),
            http2: self.http2(&raw.http2),
            compression: self.compression(&raw.compression),
            history_bytes_max: raw.history.total_bytes.0,
            history_files: self.history_files(&raw.history),
            trace: self.trace(&raw.trace),
            tls: self.tls(raw),
            webhooks: self.webhook_config(&raw.webhooks),
            raw: self.raw_routes(&raw.raw, &apps),
            apps,
            limits,
            channels,
        };
        self.exposure(&config);
        config
    }

    fn trace(&mut self, written: &RawTrace) -> TraceOptions {
        TraceOptions {
            steps: self.count("trace.steps", 0..=1_000_000, written.steps),
            sample: self.count32("trace.sample", 0, written.sample),
        }
    }

    /// Zero is never.
    fn position_check(&mut self, written: Span) -> Duration {
        if written.0.is_zero() { Duration::ZERO } else { self.span("server.position_check", SECOND, written) }
    }

    fn limits(&mut self, raw: &RawConfig) -> Limits {
        let written = &raw.limits;
        let message_bytes = self.size("limits.message_bytes", 1..=64 << 20, written.message_bytes);
        let unauthenticated = self.size(
            "limits.message_bytes_unauthenticated",
            1..=message_bytes.max(1),
            Size(written.message_bytes_unauthenticated.0.min(message_bytes)),
        );
        let outbox = written.outbox_bytes;
        if outbox.0 < message_bytes {
            self.problem(
                "limits.outbox_bytes",
                format!("{outbox} is less than limits.message_bytes: no such message could be delivered"),
            );
        }
        let second = SECOND;
        Limits {
            message_bytes,
            message_bytes_unauthenticated: unauthenticated,
            authentication_timeout: self.span("limits.authentication_timeout", second, written.authentication_timeout),
            channels: self.count("limits.channels", 1..=1_000_000, written.channels),
            outbox_bytes: outbox.0,
            operations_per_second: self.count32("limits.operations_per_second", 0, written.operations_per_second),
            operations_burst: self.count32("limits.operations_burst", 1, written.operations_burst),
            operations_pending: self.count("limits.operations_pending", 1..=100_000, written.operations_pending),
            heartbeat: self.span("heartbeat.interval", second, raw.heartbeat.interval),
            heartbeat_timeout: self.span("heartbeat.timeout", second, raw.heartbeat.timeout),
            presence_users: self.count("limits.presence_users", 0..=1_000_000, written.presence_users),
        }
    }

    fn http2(&mut self, raw: &RawHttp2) -> Http2 {
        let second = Duration::from_secs(1);
        Http2 {
            enabled: raw.enabled,
            streams_max: u32::try_from(self.count("http2.streams_max", 1..=100_000, raw.streams_max)).unwrap_or(1),
            idle_timeout: self.span("http2.idle_timeout", second, raw.idle_timeout),
            ping_interval: self.span("http2.ping_interval", second, raw.ping_interval),
            ping_timeout: self.span("http2.ping_timeout", second, raw.ping_timeout),
        }
    }

    fn history_files(&mut self, raw: &RawHistory) -> Option<HistoryFiles> {
        let fsync = match raw.fsync.as_str() {
            "always" => Fsync::Always,
            "never" => Fsync::Never,
            interval => match Span::parse(interval) {
                Ok(Span(interval)) if !interval.is_zero() => Fsync::Interval(interval),
                Ok(_) | Err(_) => {
                    let message = format!(
                        "{interval:?} is none of \"always\", \"never\" and a duration with its unit, such as \"100ms\""
                    );
                    self.problem("history.fsync", message);
                    Fsync::Always
                }
            },
        };
        let folder = raw.data_dir.clone()?;
        if folder.as_os_str().is_empty() {
            self.problem("history.data_dir", "is empty: name a folder, or leave it out to keep the history in memory");
        }
        Some(HistoryFiles { folder, fsync })
    }

    fn compression(&mut self, raw: &RawCompression) -> Option<Compression> {
        let compression = Compression {
            level: u8::try_from(self.count("compression.level", 1..=9, raw.level)).unwrap_or(1),
            message_bytes_min: self.size("compression.message_bytes_min", 0..=64 << 20, raw.message_bytes_min),
            contexts_max: self.count("compression.contexts_max", 0..=10_000_000, raw.contexts_max),
        };
        raw.enabled.then_some(compression)
    }

    fn address(&mut self, key: &str, raw: &str) -> SocketAddr {
        raw.parse().unwrap_or_else(|_| {
            let off = if key.ends_with("admin_listen") { ", nor \"off\"" } else { "" };
            self.problem(key, format!("{raw:?} is not an address and port, such as 127.0.0.1:8080 or [::1]:8080{off}"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn tls(&mut self, raw: &RawConfig) -> Option<TlsFiles> {
        match (&raw.tls.cert, &raw.tls.key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert: cert.clone(), key: key.clone() }),
            (None, None) => None,
            (Some(_), None) => {
                self.problem("tls.key", "is missing: tls.cert is set, and needs its private key");
                None
            }
            (None, Some(_)) => {
                self.problem("tls.cert", "is missing: tls.key is set, and needs its certificate");
                None
            }
        }
    }

    fn apps(&mut self, raw: &RawConfig, limits: &Limits, defaults: &ChannelOptions) -> Vec<AppConfig> {
        let mut apps: Vec<AppConfig> = Vec::with_capacity(raw.apps.len());
        let (mut ids, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for (index, raw_app) in raw.apps.iter().enumerate() {
            let at = format!("apps[{index}]");
            let channels = self.channels(&at, raw_app, &raw.namespaces, defaults);
            let app = self.app(&at, raw_app, limits, channels, &raw.webhooks);
            if !ids.insert(raw_app.id.clone()) {
                self.problem(format!("{at}.id"), format!("{:?} is the id of another application", raw_app.id));
            }
            if !keys.insert(app.key.clone()) {
                self.problem(format!("{at}.key"), format!("{:?} is the key of another application", app.key));
            }
            if app.default && apps.iter().any(|other| other.default) {
                self.problem(format!("{at}.default"), "another application is the default already");
            }
            let taken =
                |key: &Secret| apps.iter().any(|other| other.api_keys.iter().any(|known| known.matches(key.reveal())));
            if let Some(place) = app.api_keys.iter().position(taken) {
                self.problem(format!("{at}.api_keys[{place}]"), "is a key of another application too");
            }
            apps.push(app);
        }
        if !apps.iter().any(|app| app.default)
            && let Some(first) = apps.first_mut()
        {
            first.default = true;
        }
        apps
    }

    fn app(&mut self, at: &str, raw: &RawApp, limits: &Limits, channels: Channels, told: &RawWebhooks) -> AppConfig {
        if raw.id.is_empty() {
            self.problem(format!("{at}.id"), "is missing");
        } else if !is_plain(&raw.id) {
            self.problem(format!("{at}.id"), format!("{:?}: {PLAIN}", raw.id));
        }
        let key = raw.key.clone().unwrap_or_else(|| raw.id.clone());
        if raw.key.is_some() && !is_plain(&key) {
            self.problem(format!("{at}.key"), format!("{key:?}: {PLAIN}"));
        }
        let token_keys = self.token_keys(at, raw);
        let anonymous = raw.anonymous.as_ref().map(|grants| self.grants(at, grants));
        // A secret that is no good has been told already.
        if raw.secret.is_none() && raw.secrets.is_empty() && anonymous.is_none() {
            let message = "is missing: without a secret for tokens, and without rights for clients that have none (anonymous), nobody could connect";
            self.problem(format!("{at}.secret"), message);
        }
        let origins = raw.origins.iter().enumerate().filter_map(|(index, origin)| {
            OriginPattern::parse(origin)
                .map_err(|error| self.problem(format!("{at}.origins[{index}]"), format!("{origin:?}: {error}")))
                .ok()
        });
        let origins = origins.collect();
        let api_keys = raw.api_keys.iter().enumerate();
        let api_keys =
            api_keys.filter_map(|(index, key)| self.secret(&format!("{at}.api_keys[{index}]"), key, API_KEY_BYTES_MIN));
        let api_keys = api_keys.collect();
        let protocols = self.protocols(at, raw);
        let protected = protected(&protocols);
        let (webhooks, notices) = self.webhooks(at, raw, told, !token_keys.is_empty());
        let app = App { id: AppId::new(&raw.id), limits: limits.clone(), anonymous, protected, channels, notices };
        AppConfig {
            app: Arc::new(app),
            key,
            default: raw.default,
            token_keys,
            api_keys,
            origins,
            allow_query_token: raw.allow_query_token,
            token_cookie: self.token_cookie(at, raw),
            protocols,
            webhooks,
        }
    }

    /// A cookie's name is a token of HTTP (RFC 6265 §4.1.1).
    fn token_cookie(&mut self, at: &str, raw: &RawApp) -> Option<Arc<str>> {
        let name = raw.token_cookie.as_deref()?;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            self.problem(format!("{at}.token_cookie"), format!("{name:?} cannot be the name of a cookie"));
        }
        Some(name.into())
    }

    fn channels(&mut self, at: &str, raw: &RawApp, everywhere: &[RawNamespace], defaults: &ChannelOptions) -> Channels {
        let own = format!("{at}.channels");
        let defaults = raw.channels.over(defaults, &own, &mut self.problems);
        let lists = [
            // Their faults are told once, not for each application.
            Listed { key: "namespaces".to_owned(), namespaces: everywhere },
            Listed { key: format!("{at}.namespaces"), namespaces: &raw.namespaces },
        ];
        let mut problems = Vec::new();
        let channels = channels(defaults, &lists, &mut problems);
        problems.retain(|problem| !problem.key.starts_with("namespaces["));
        self.problems.append(&mut problems);
        if raw.anonymous.is_none() {
            let lists = [(&own, raw.channels.anonymous.is_some())].into_iter().map(|(key, set)| (key.clone(), set));
            let namespaces = raw.namespaces.iter().enumerate();
            let namespaces =
                namespaces.map(|(index, known)| (format!("{at}.namespaces[{index}]"), known.anonymous.is_some()));
            for (key, _) in lists.chain(namespaces).filter(|(_, set)| *set) {
                let message = format!(
                    "has no effect: clients without a token cannot connect to this application. Set {at}.anonymous, to [] if they \
                     shall have no other rights"
                );
                self.problem(format!("{key}.anonymous"), message);
            }
        }
        channels
    }

    fn protocols(&mut self, at: &str, raw: &RawApp) -> Vec<String> {
        let Some(named) = &raw.protocols else { return every_protocol() };
        let known = every_protocol();
        for (index, name) in named.iter().enumerate().filter(|(_, name)| !known.contains(name)) {
            self.problem(format!("{at}.protocols[{index}]"), format!("{name:?} is none of {}", known.join(", ")));
        }
        named.clone()
    }

    fn token_keys(&mut self, at: &str, raw: &RawApp) -> Vec<TokenKey> {
        let single = raw.secret.iter().map(|secret| (format!("{at}.secret"), secret));
        let listed = raw.secrets.iter().enumerate().map(|(index, secret)| (format!("{at}.secrets[{index}]"), secret));
        let mut keys: Vec<TokenKey> = Vec::new();
        for (key, written) in single.chain(listed) {
            let Some(secret) = self.secret(&key, written, SECRET_BYTES_MIN) else { continue };
            if keys.iter().any(|known| known.kid == written.kid) {
                self.problem(format!("{key}.kid"), "another secret has the same kid, or none as this one");
            }
            keys.push(TokenKey { kid: written.kid.clone(), secret });
        }
        keys
    }

    pub(super) fn secret(&mut self, key: &str, raw: &RawSecret, bytes_min: usize) -> Option<Secret> {
        let secret = match (&raw.value, &raw.file, &raw.env) {
            (Some(secret), ..) => secret.clone(),
            (None, Some(file), _) => match std::fs::read_to_string(file) {
                Ok(text) => Secret::new(text.strip_suffix('\n').map_or(&*text, |text| text.trim_end_matches('\r'))),
                Err(error) => {
                    self.problem(key, format!("cannot read {}: {error}", file.display()));
                    return None;
                }
            },
            (None, None, Some(name)) => match (self.variable)(name) {
                Some(text) => Secret::new(text),
                None => {
                    self.problem(key, format!("the environment variable {name} is not set"));
                    return None;
                }
            },
            (None, None, None) => {
                self.problem(key, "a secret has exactly one of value, file, env");
                return None;
            }
        };
        let bytes = secret.reveal().len();
        if bytes < bytes_min {
            let hint = "`openssl rand -hex 32` makes a good one";
            self.problem(key, format!("has {bytes} bytes, and needs at least {bytes_min}: {hint}"));
            return None;
        }
        Some(secret)
    }

    fn grants(&mut self, at: &str, raw: &[RawGrant]) -> Vec<Grant> {
        let mut grants = Vec::with_capacity(raw.len());
        for (index, grant) in raw.iter().enumerate() {
            let key = format!("{at}.anonymous[{index}]");
            if grant.pattern.is_empty() {
                self.problem(format!("{key}.match"), "is missing: name a channel, or a prefix with '*' at its end");
            } else if grant.pattern.contains(['+', '#']) {
                let message = format!(
                    "{:?} stands for no channel, since no name has '+' or '#': name a channel, or a prefix with '*' at its end",
                    grant.pattern
                );
                self.problem(format!("{key}.match"), message);
            }
            if grant.allow.is_empty() {
                self.problem(format!("{key}.allow"), format!("is missing: list any of {OPERATIONS}"));
            }
            let operations = operations(&format!("{key}.allow"), &grant.allow, &mut self.problems);
            grants.push(Grant::new(ChannelMatch::parse(&grant.pattern), operations));
        }
        grants
    }

    fn raw_routes(&mut self, raw: &[RawPath], apps: &[AppConfig]) -> Vec<RawRoute> {
        let mut routes: Vec<RawRoute> = Vec::with_capacity(raw.len());
        for (index, route) in raw.iter().enumerate() {
            let at = format!("raw[{index}]");
            let path = &route.path;
            let plain =
                path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && !b"?#%+\"<>\\".contains(&b));
            let below = |reserved: &&str| {
                path.strip_prefix(*reserved)
                    .is_some_and(|rest| rest.is_empty() || (rest.starts_with('/') && *reserved != "/"))
            };
            if !plain {
                self.problem(format!("{at}.path"), format!("{path:?} is not a path, such as /chat"));
            } else if let Some(reserved) = RESERVED_PATHS.iter().find(|reserved| below(reserved)) {
                self.problem(format!("{at}.path"), format!("{path:?} is taken: {reserved} belongs to the server"));
            } else if routes.iter().any(|known| known.path == *path) {
                self.problem(format!("{at}.path"), format!("{path:?} is there twice"));
            }
            if let Some(app) = &route.app
                && !apps.iter().any(|known| known.app.id.as_str() == app)
            {
                self.problem(format!("{at}.app"), format!("there is no application {app:?}"));
            }
            match ChannelName::parse(&route.channel) {
                Ok(channel) => routes.push(RawRoute { path: path.clone(), channel, app: route.app.clone() }),
                Err(error) => self.problem(format!("{at}.channel"), error.to_string()),
            }
        }
        routes
    }

    /// What strangers can reach needs keys and origins that somebody chose.
    fn exposure(&mut self, config: &Config) {
        if let Some(admin) = config.admin_listen
            && !admin.ip().is_loopback()
        {
            let message = format!(
                "{admin} can be reached from elsewhere, and the admin listener asks nobody who they are: listen on 127.0.0.1 \
                 (and reach it through a tunnel), or set \"off\""
            );
            self.problem("server.admin_listen", message);
        }
        if config.admin_listen == Some(config.listen) && config.listen.port() != 0 {
            self.problem("server.admin_listen", format!("{} is server.listen too: choose another port", config.listen));
        }
        if config.listen.ip().is_loopback() {
            return;
        }
        if config.apps.is_empty() {
            let message = format!(
                "is missing: server.listen = {:?} can be reached from elsewhere, where an application for development, open to \
                 everybody, would be unsafe. Configure one: [[apps]] with id, secret and origins",
                config.listen.to_string()
            );
            self.problem("apps", message);
        }
        for (index, app) in config.apps.iter().enumerate() {
            if let Some(place) = app.origins.iter().position(OriginPattern::is_any) {
                let message = format!(
                    "\"*\" lets every page on the web connect to server.listen = {:?}: name the origins of your pages, such as \
                     \"https://example.com\" or \"https://*.example.com\"",
                    config.listen.to_string()
                );
                self.problem(format!("apps[{index}].origins[{place}]"), message);
            }
        }
    }

    pub(super) fn count(&mut self, key: &str, range: RangeInclusive<usize>, count: Count) -> usize {
        if !range.contains(&count.0) {
            let message = if *range.end() == usize::MAX {
                format!("{} is less than {}", count.0, range.start())
            } else {
                format!("{} is not between {} and {}", count.0, range.start(), range.end())
            };
            self.problem(key, message);
        }
        count.0
    }

    pub(super) fn count32(&mut self, key: &str, min: usize, count: Count) -> u32 {
        u32::try_from(self.count(key, min..=1_000_000_000, count)).unwrap_or(u32::MAX)
    }

    pub(super) fn size(&mut self, key: &str, range: RangeInclusive<usize>, size: Size) -> usize {
        if !range.contains(&size.0) {
            self.problem(key, format!("{size} is not between {} and {}", Size(*range.start()), Size(*range.end())));
        }
        size.0
    }

    pub(super) fn span(&mut self, key: &str, min: Duration, span: Span) -> Duration {
        if span.0 < min {
            self.problem(key, format!("{span} is less than {}", Span(min)));
        }
        span.0
    }
}

/// A list of operations' names.
pub(super) fn operations(key: &str, names: &[String], problems: &mut Vec<Problem>) -> Operations {
    let mut operations = Operations::NONE;
    for name in names {
        match Operations::parse(name) {
            Some(operation) => operations = operations | operation,
            None => problems.push(Problem::at(key, format!("{name:?} is none of {OPERATIONS}"))),
        }
    }
    operations
}

pub(crate) const OPERATIONS: &str = "subscribe, publish, presence, history, signal, *";
const PLAIN: &str = "use 1 to 64 letters, digits, '-', '_' and '.'";

/// What can stand in an address without being escaped.
fn is_plain(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}
