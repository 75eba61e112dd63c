//! What the console asks: what is running, how it goes, and a token of the development application.

use super::AdminState;
use crate::answer::{ApiError, json_response};
use crate::api::read_body;
use crate::apps::{DEVELOPMENT_CHAT, DEVELOPMENT_TOKEN_TTL, everything};
use crate::clock;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use core::sync::atomic::Ordering;
use core::time::Duration;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use switchboard_net::ShardStats;
use switchboard_session::{DIALECTS, Directory};

pub(super) async fn info(State(state): State<Arc<AdminState>>) -> Response {
    let (apps, all) = (&state.apps, state.apps.all());
    let list: Vec<Value> = all
        .iter()
        .map(|app| {
            let anonymous = app.app.anonymous.is_some();
            json!({ "id": app.app.id.as_str(), "key": app.key, "default": app.default, "anonymous": anonymous })
        })
        .collect();
    // Generated keys are told to whoever can reach the machine's loopback; configured ones to nobody.
    let generated = all.first().filter(|_| apps.is_development());
    let api_key = generated.and_then(|app| app.api_keys.first()).map(|key| key.reveal().to_owned());
    let token = ready_made_token(&state);
    let (http, ws, host) = state.public_address();
    let chat = apps.raw_path(DEVELOPMENT_CHAT.0).map(|_| format!("{ws}://{host}{}", DEVELOPMENT_CHAT.0));
    let info = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "development": apps.is_development(),
        "started_at": state.started.as_millis(),
        "addresses": {
            "ws": format!("{ws}://{host}/ws"),
            "raw": format!("{ws}://{host}/raw/"),
            "chat": chat,
            "api": format!("{http}://{host}/api/v1"),
            "admin": format!("http://{}", state.admin_address),
        },
        "apps": list,
        "api_key": api_key,
        "token": token,
    });
    json_response(StatusCode::OK, &info)
}

fn ready_made_token(state: &AdminState) -> Option<String> {
    let everything = [everything()];
    let made = state.apps.development_token(None, "ann", &everything, DEVELOPMENT_TOKEN_TTL, clock::now());
    made.ok().map(|(token, _)| token)
}

pub(super) async fn stats(State(state): State<Arc<AdminState>>) -> Response {
    let now = clock::now();
    let stats = state.hub.stats();
    let total = &stats.total;
    let dialects: serde_json::Map<_, _> =
        DIALECTS.iter().zip(total.sessions).map(|(name, count)| ((*name).to_owned(), count.into())).collect();
    let shard = |shard: &ShardStats| {
        json!({
            "connections": shard.connections, "channels": shard.channels, "subscriptions": shard.subscriptions,
            "messages_in": shard.messages_in, "messages_out": shard.messages_out,
        })
    };
    let answer = json!({
        "now": now.as_millis(),
        "uptime_ms": u64::try_from(now.since(state.started).as_millis()).unwrap_or(u64::MAX),
        "connections": total.connections,
        "sessions": total.sessions.iter().sum::<u64>(),
        "channels": total.channels,
        "subscriptions": total.subscriptions,
        "messages_in": total.messages_in,
        "messages_out": total.messages_out,
        "bytes_in": total.bytes_in,
        "bytes_out": total.bytes_out,
        "errors": total.rejects + total.protocol_errors + total.refused_upgrades,
        "dialects": dialects,
        "shards": stats.shards.iter().map(shard).collect::<Vec<_>>(),
        "ready": state.ready.load(Ordering::Relaxed),
    });
    json_response(StatusCode::OK, &answer)
}

#[derive(Debug, Deserialize)]
struct TokenRequest {
    user: String,
    app: Option<String>,
    /// Absent: everything.
    channels: Option<Vec<TokenChannel>>,
    /// Absent: a day.
    ttl_seconds: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct TokenChannel {
    #[serde(rename = "match")]
    pattern: String,
    allow: Vec<String>,
}

const BODY_BYTES_MAX: usize = 16 * 1024;

pub(super) async fn token(
    State(state): State<Arc<AdminState>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    // A form of another page can send text, but not JSON, without being asked first.
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.split(';').next().map(str::trim) != Some("application/json") {
        let message = "the header Content-Type is not application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request", message));
    }
    let body = read_body(body, BODY_BYTES_MAX).await?;
    let request: TokenRequest =
        serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("the body: {error}")))?;
    let channels: Vec<_> = match request.channels {
        Some(channels) => channels.into_iter().map(|channel| (channel.pattern, channel.allow)).collect(),
        None => vec![everything()],
    };
    let ttl = request.ttl_seconds.map_or(DEVELOPMENT_TOKEN_TTL, Duration::from_secs);
    let made = state.apps.development_token(request.app.as_deref(), &request.user, &channels, ttl, clock::now());
    let (token, expires) = made.map_err(|mut reject| {
        if reject.code == switchboard_core::RejectCode::BadToken {
            reject.code = switchboard_core::RejectCode::BadRequest;
        }
        reject
    })?;
    Ok(json_response(StatusCode::OK, &json!({ "token": token, "expires_at": expires.as_millis() })))
}

impl AdminState {
    /// The schemes of HTTP and WebSocket, and the host with its port, as a client on this machine reaches them.
    fn public_address(&self) -> (&'static str, &'static str, String) {
        let (http, ws) = if self.secure { ("https", "wss") } else { ("http", "ws") };
        (http, ws, crate::serve::reachable(self.address).to_string())
    }
}
