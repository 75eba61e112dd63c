//! The admin listener: health, metrics and the console. It asks nobody who they are, so it listens on loopback only and answers only requests
//! that name one of its own addresses: a page that has its name resolve to 127.0.0.1 (DNS rebinding) gets nothing.

mod assets;
mod console;
mod metrics;

use crate::answer::{ApiError, json_response};
use crate::apps::Apps;
use crate::history::Watch;
use crate::webhooks;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use std::sync::Arc;
use switchboard_core::Time;
use switchboard_net::HubHandle;
use switchboard_store::StoreState;

/// What the admin listener tells about.
#[derive(Debug)]
pub(crate) struct AdminState {
    pub(crate) apps: Arc<Apps>,
    pub(crate) hub: HubHandle,
    /// The history on disk, if there is one.
    pub(crate) history: Option<Watch>,
    pub(crate) webhooks: webhooks::Watch,
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) started: Time,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    pub(crate) secure: bool,
    /// Where it listens itself.
    pub(crate) admin_address: SocketAddr,
}

/// The routes.
pub(crate) fn router(state: AdminState) -> Router {
    let metrics = metrics::Metrics::new(&state);
    let state = Arc::new(state);
    Router::new()
        .route("/healthz", get(|| async { json_response(StatusCode::OK, &json!({ "healthy": true })) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(move || async move { metrics.respond() }))
        .route("/api/console/info", get(console::info))
        .route("/api/console/stats", get(console::stats))
        .route("/api/console/token", post(console::token))
        .fallback(assets::serve)
        .with_state(Arc::clone(&state))
        .layer(from_fn_with_state(state, check_host))
}

async fn ready(State(state): State<Arc<AdminState>>) -> Response {
    let ready = state.ready.load(Ordering::Relaxed);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // A history that takes nothing is no reason to send nobody here: reading and everything without history go on.
    let history = state.history.as_ref().map_or("memory", |history| match history.stats().state {
        StoreState::Writable => "writable",
        StoreState::Full => "full",
        StoreState::Failed(_) => "failed",
    });
    json_response(status, &json!({ "ready": ready, "history": history }))
}

async fn check_host(State(state): State<Arc<AdminState>>, request: Request, next: Next) -> Result<Response, ApiError> {
    // The console asks every second: that is not worth a line each.
    tracing::debug!(target: "switchboard::access", method = %request.method(), path = request.uri().path(), "admin request");
    if !state.is_own_host(request.headers()) {
        let message = "the header Host names none of this listener's addresses";
        return Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", message));
    }
    if !state.is_own_origin(request.headers()) {
        let message = "pages of other origins are not answered";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "origin_not_allowed", message));
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    Ok(response)
}

const SECURITY_HEADERS: [(header::HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; connect-src 'self' ws: wss: http: https:; img-src 'self' data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

impl AdminState {
    fn hosts(&self) -> [String; 4] {
        let port = self.admin_address.port();
        [
            format!("127.0.0.1:{port}"),
            format!("localhost:{port}"),
            format!("[::1]:{port}"),
            self.admin_address.to_string(),
        ]
    }

    fn is_own_host(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        self.hosts().iter().any(|own| host.as_bytes().eq_ignore_ascii_case(own.as_bytes()))
    }

    /// Programs send none; the console sends its own.
    fn is_own_origin(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let own = |origin: &HeaderValue| {
            let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
            origin.is_some_and(|host| self.hosts().iter().any(|own| own == host))
        };
        origins.all(own)
    }
}
