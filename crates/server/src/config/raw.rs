//! What was written: the shape of the configuration, with its defaults. Nothing here is checked beyond its type.

use super::channels::{RawChannel, RawNamespace};
use super::values::{Count, Size, Span};
use crate::secret::Secret;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use switchboard_core::{Limits, Notices};
use switchboard_hub::TraceOptions;
use switchboard_net::{Compression, Http2};
use switchboard_webhooks::Settings;

/// A table of the configuration: its struct, its defaults and the list of its keys, which serves suggestions.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            /// Its keys.
            pub(super) const KEYS: &[&str] = &[$(stringify!($field),)*];
        }
    };
}

table! {
    /// Everything.
    RawConfig {
        /// Listeners and connections.
        server: RawServer = RawServer::default(),
        /// Certificates.
        tls: RawTls = RawTls::default(),
        /// HTTP/2, beside HTTP/1.1.
        http2: RawHttp2 = RawHttp2::default(),
        /// What one client may cost.
        limits: RawLimits = RawLimits::default(),
        /// How the living are told from the dead.
        heartbeat: RawHeartbeat = RawHeartbeat::default(),
        /// Whether messages are compressed.
        compression: RawCompression = RawCompression::default(),
        /// What all channels together keep.
        history: RawHistory = RawHistory::default(),
        /// What is remembered for whoever asks why.
        trace: RawTrace = RawTrace::default(),
        /// How channels behave.
        channels: RawChannel = RawChannel::default(),
        /// How channels of a namespace behave, in every application.
        namespaces: Vec<RawNamespace> = Vec::new(),
        /// How applications' servers are told what happens to their channels.
        webhooks: RawWebhooks = RawWebhooks::default(),
        /// Applications; none means that one for development is made.
        apps: Vec<RawApp> = Vec::new(),
        /// Paths of raw connections.
        raw: Vec<RawPath> = Vec::new(),
    }
}

table! {
    /// `[server]`
    RawServer {
        /// Where clients connect.
        listen: String = "127.0.0.1:8080".to_owned(),
        /// The console, health and metrics; `off` for none.
        admin_listen: String = "127.0.0.1:8081".to_owned(),
        /// Event loops; 0 is one for each core.
        shards: Count = Count(0),
        /// Networks whose word about a client's address is taken.
        trusted_proxies: Vec<String> = Vec::new(),
        /// Over how long clients are sent away at shutdown.
        drain_window: Span = Span(core::time::Duration::from_secs(5)),
        /// Connections of all clients together.
        connections_max: Count = Count(100_000),
        /// Connections from one address.
        connections_per_address: Count = Count(10_000),
        /// How long a client may take for its TLS handshake, and again for its request's head.
        header_timeout: Span = Span(core::time::Duration::from_secs(10)),
        /// How often what subscribers were given is compared with what was published.
        position_check: Span = Span(switchboard_net::POSITION_CHECK),
    }
}

table! {
    /// `[tls]`
    RawTls {
        /// The certificate with its chain, PEM.
        #[serde(skip_serializing_if = "Option::is_none")]
        cert: Option<PathBuf> = None,
        /// Its private key, PEM.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<PathBuf> = None,
    }
}

table! {
    /// `[http2]`
    RawHttp2 {
        /// For clients that speak it.
        enabled: bool = Http2::default().enabled,
        /// Requests and WebSockets on one connection at a time.
        streams_max: Count = Count(Http2::default().streams_max as usize),
        /// How long a connection without any may last.
        idle_timeout: Span = Span(Http2::default().idle_timeout),
        /// How often a connection is pinged.
        ping_interval: Span = Span(Http2::default().ping_interval),
        /// How long the answer may take.
        ping_timeout: Span = Span(Http2::default().ping_timeout),
    }
}

table! {
    /// `[limits]`
    RawLimits {
        /// The largest message from a client.
        message_bytes: Size = Size(Limits::default().message_bytes),
        /// The same before the client has authenticated, where it must.
        message_bytes_unauthenticated: Size = Size(Limits::default().message_bytes_unauthenticated),
        /// How long a client that must authenticate may take for it.
        authentication_timeout: Span = Span(Limits::default().authentication_timeout),
        /// Subscriptions of one client.
        channels: Count = Count(Limits::default().channels),
        /// What may wait for a client that does not read.
        outbox_bytes: Size = Size(Limits::default().outbox_bytes),
        /// Sustained requests of one client; 0 is no limit.
        operations_per_second: Count = Count(Limits::default().operations_per_second as usize),
        /// Requests at once above the sustained rate.
        operations_burst: Count = Count(Limits::default().operations_burst as usize),
        /// Requests of one client that wait for an answer.
        operations_pending: Count = Count(Limits::default().operations_pending),
        /// Users that one answer about presence lists.
        presence_users: Count = Count(Limits::default().presence_users),
    }
}

table! {
    /// `[heartbeat]`
    RawHeartbeat {
        /// How long silence may last before it is broken.
        interval: Span = Span(Limits::default().heartbeat),
        /// How long the other side may take to answer.
        timeout: Span = Span(Limits::default().heartbeat_timeout),
    }
}

table! {
    /// `[compression]`
    RawCompression {
        /// For clients that offer it.
        enabled: bool = false,
        /// 1 (fast) to 9 (small).
        level: Count = Count(usize::from(Compression::default().level)),
        /// Smaller messages are sent as they are.
        message_bytes_min: Size = Size(Compression::default().message_bytes_min),
        /// Connections that may keep a context from message to message.
        contexts_max: Count = Count(Compression::default().contexts_max),
    }
}

table! {
    /// `[history]`
    RawHistory {
        /// What all channels together keep.
        total_bytes: Size = Size(256 * 1024 * 1024),
        /// The folder that keeps it; absent: it ends with the process.
        #[serde(skip_serializing_if = "Option::is_none")]
        data_dir: Option<PathBuf> = None,
        /// When what was written is made to survive a loss of power: `always`, `never`, or how long after.
        fsync: String = "always".to_owned(),
    }
}

table! {
    /// `[trace]`
    RawTrace {
        /// Steps that each event loop remembers, of publications and again of clients; 0 remembers nothing.
        steps: Count = Count(TraceOptions::default().steps),
        /// One client in so many is followed in every detail; 0 none.
        sample: Count = Count(TraceOptions::default().sample as usize),
    }
}

table! {
    /// `[webhooks]`
    RawWebhooks {
        /// Networks that are not the public internet's and may be told all the same.
        allow: Vec<String> = Vec::new(),
        /// Certificates of authorities that are trusted beside the system's, PEM.
        #[serde(skip_serializing_if = "Option::is_none")]
        ca: Option<PathBuf> = None,
        /// How long looking up and connecting may take, and again the handshake of TLS.
        connect_timeout: Span = Span(core::time::Duration::from_secs(5)),
        /// How long the answer may take.
        timeout: Span = Span(core::time::Duration::from_secs(10)),
        /// How long a connection stays open for the next request.
        keep_alive: Span = Span(core::time::Duration::from_secs(30)),
        /// How long an event may wait for others to travel with.
        batch_wait: Span = Span(Settings::default().batch_wait),
        /// Events of one request.
        batch_events: Count = Count(Settings::default().batch_events),
        /// Their bytes.
        batch_bytes: Size = Size(Settings::default().batch_bytes),
        /// What may wait for one webhook.
        queue_bytes: Size = Size(Settings::default().queue_bytes),
        /// How long an event is worth telling.
        expire_after: Span = Span(Settings::default().expire_after),
        /// The longest wait before the second try. It doubles with each.
        retry_first: Span = Span(Settings::default().retry_first),
        /// The longest wait before any.
        retry_max: Span = Span(Settings::default().retry_max),
        /// Failures in a row after which a receiver is left alone.
        breaker_failures: Count = Count(Settings::default().breaker_failures as usize),
        /// For how long at first. It doubles with each probe that fails.
        breaker_wait: Span = Span(Settings::default().breaker_wait),
        /// And at most.
        breaker_wait_max: Span = Span(Settings::default().breaker_wait_max),
        /// How long a channel without subscribers still counts as occupied.
        vacated_grace: Span = Span(Notices::default().vacated_grace),
        /// How long after a start what was told before it is taken to be so still.
        restart_grace: Span = Span(Settings::default().restart_grace),
        /// The shortest time between two events that say how many subscribe to a channel.
        count_interval: Span = Span(Notices::default().count_interval),
    }
}

table! {
    /// `[[apps.webhooks]]`
    RawWebhook {
        /// Where.
        url: String = String::new(),
        /// What.
        events: Vec<String> = Vec::new(),
        /// Beginnings of channels' names; absent: all channels.
        channel_prefixes: Vec<String> = Vec::new(),
        /// What every request says besides.
        headers: BTreeMap<String, RawSecret> = BTreeMap::new(),
    }
}

table! {
    /// `[[apps]]`
    RawApp {
        /// Its name.
        id: String = String::new(),
        /// What addresses call it (`/ws/KEY`); absent: like `id`.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String> = None,
        /// Whether `/ws` is this one.
        default: bool = false,
        /// The first secret of its tokens.
        #[serde(skip_serializing_if = "Option::is_none")]
        secret: Option<RawSecret> = None,
        /// The others, each with a `kid`.
        secrets: Vec<RawSecret> = Vec::new(),
        /// Keys of the HTTP API.
        api_keys: Vec<RawSecret> = Vec::new(),
        /// Pages that may connect.
        origins: Vec<String> = Vec::new(),
        /// The rights of clients without a token; absent: everybody needs one.
        #[serde(skip_serializing_if = "Option::is_none")]
        anonymous: Option<Vec<RawGrant>> = None,
        /// Whether a token may stand in the address.
        allow_query_token: bool = false,
        /// The cookie in which pages carry a token to addresses of plain HTTP.
        #[serde(skip_serializing_if = "Option::is_none")]
        token_cookie: Option<String> = None,
        /// Protocols that it serves; absent: all.
        #[serde(skip_serializing_if = "Option::is_none")]
        protocols: Option<Vec<String>> = None,
        /// Who is told what happens to its channels.
        webhooks: Vec<RawWebhook> = Vec::new(),
        /// Whether Pusher's clients are told how many subscribe to their channels.
        subscription_count: bool = false,
        /// How its channels behave, where it is not as in `[channels]`.
        channels: RawChannel = RawChannel::default(),
        /// How those of a namespace behave.
        namespaces: Vec<RawNamespace> = Vec::new(),
    }
}

table! {
    /// `[[raw]]`
    RawPath {
        /// The path, as in `/chat`.
        path: String = String::new(),
        /// The channel that connections to it consist of.
        channel: String = String::new(),
        /// The application's id; absent: the default application.
        #[serde(skip_serializing_if = "Option::is_none")]
        app: Option<String> = None,
    }
}

/// A right, as in tokens.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, expecting = "a table such as { match = \"news:*\", allow = [\"subscribe\"] }")]
pub struct RawGrant {
    /// Which channels.
    #[serde(rename = "match")]
    pub pattern: String,
    /// To do what.
    pub allow: Vec<String>,
}

impl RawGrant {
    pub(super) const KEYS: &[&str] = &["match", "allow"];
}

/// A secret: a text, or a table that says where it is: `{ file = "/run/secrets/shop" }`, `{ env = "SHOP_SECRET" }`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RawSecret {
    /// What a token's header calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The secret itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Secret>,
    /// A file that has it; a newline at its end does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// An environment variable that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

impl RawSecret {
    pub(super) const KEYS: &[&str] = &["kid", "value", "file", "env"];
}

impl<'de> Deserialize<'de> for RawSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = RawSecret;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("a text, or a table with one of value, file, env")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawSecret, E> {
                Ok(RawSecret { value: Some(Secret::new(text)), ..RawSecret::default() })
            }

            // What is wrong is said without the value: it may be a secret of the wrong type.
            fn visit_i64<E: Error>(self, _: i64) -> Result<RawSecret, E> {
                Err(E::custom("a secret is a text: write it in quotes"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawSecret, A::Error> {
                let mut secret = RawSecret::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "kid" => secret.kid = Some(map.next_value()?),
                        "value" => secret.value = Some(map.next_value()?),
                        "file" => secret.file = Some(map.next_value()?),
                        "env" => secret.env = Some(map.next_value()?),
                        _ => {
                            map.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(secret)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The keys of the table at a path such as `apps.secrets`, indexes left out.
pub(super) fn keys_of(path: &str) -> Option<&'static [&'static str]> {
    Some(match path {
        "" => RawConfig::KEYS,
        "server" => RawServer::KEYS,
        "tls" => RawTls::KEYS,
        "http2" => RawHttp2::KEYS,
        "limits" => RawLimits::KEYS,
        "heartbeat" => RawHeartbeat::KEYS,
        "compression" => RawCompression::KEYS,
        "history" => RawHistory::KEYS,
        "webhooks" => RawWebhooks::KEYS,
        "apps.webhooks" => RawWebhook::KEYS,
        "trace" => RawTrace::KEYS,
        "channels" | "apps.channels" => RawChannel::KEYS,
        "namespaces" | "apps.namespaces" => RawNamespace::KEYS,
        "apps" => RawApp::KEYS,
        "apps.anonymous" => RawGrant::KEYS,
        "apps.secret" | "apps.secrets" | "apps.api_keys" => RawSecret::KEYS,
        "raw" => RawPath::KEYS,
        _ => return None,
    })
}

/// The paths that [`keys_of`] knows.
pub(super) const TABLES: &[&str] =
    &["server", "tls", "limits", "heartbeat", "compression", "history", "trace", "webhooks", "channels", "apps", "raw"];
