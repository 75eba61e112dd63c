//! The HTTP API on the public listener, with an API key (`docs/reference/http-api.md`): its routes, its keys, and what is the same for every method.
//!
//! It serves programs, not pages: no cross-origin headers, so that a page cannot read an answer.

mod batch;
mod body;
mod control;
mod publish;
mod read;
mod why;

pub(crate) use body::read_body;

use crate::answer::{ApiError, json_response};
use crate::apps::Apps;
use crate::pusher;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;
use switchboard_core::{App, ChannelName, Command, Outcome, RejectCode};
use switchboard_net::HubHandle;

/// What a body may have besides the data, in bytes.
const ENVELOPE_BYTES: usize = 4 * 1024;

#[derive(Clone, Debug)]
struct ApiState {
    apps: Arc<Apps>,
    hub: HubHandle,
}

/// What can be asked for: each has a path, and may stand in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Publish,
    Broadcast,
    SendToUser,
    History,
    Presence,
    Channel,
    Channels,
    Disconnect,
    Unsubscribe,
    Signal,
    Why,
    Batch,
}

impl Method {
    const ALL: [(&'static str, Self); 12] = [
        ("publish", Self::Publish),
        ("broadcast", Self::Broadcast),
        ("send_to_user", Self::SendToUser),
        ("history", Self::History),
        ("presence", Self::Presence),
        ("channel", Self::Channel),
        ("channels", Self::Channels),
        ("disconnect", Self::Disconnect),
        ("unsubscribe", Self::Unsubscribe),
        ("signal", Self::Signal),
        ("why", Self::Why),
        ("batch", Self::Batch),
    ];

    fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, method)| *method)
    }

    /// The largest body, in bytes.
    fn body_bytes(self, app: &App) -> usize {
        let message = app.limits.message_bytes;
        match self {
            Self::Publish | Self::SendToUser | Self::Signal => message.saturating_add(ENVELOPE_BYTES),
            Self::Broadcast => {
                let names = publish::BROADCAST_MAX * (ChannelName::BYTES_MAX + 3);
                message.saturating_add(ENVELOPE_BYTES + names)
            }
            Self::Batch => message.saturating_mul(batch::MESSAGES_MAX).saturating_add(ENVELOPE_BYTES),
            // A question has no payload.
            _ => ENVELOPE_BYTES,
        }
    }
}

/// One request of an application.
#[derive(Debug)]
struct Call<'a> {
    hub: &'a HubHandle,
    app: &'a Arc<App>,
    /// What its head says.
    id: Option<&'a str>,
}

impl Call<'_> {
    /// Carries it out; the answer is JSON.
    async fn run(&self, method: Method, body: &[u8]) -> Result<String, ApiError> {
        match method {
            Method::Publish => self.publish(body).await,
            Method::Broadcast => self.broadcast(body).await,
            Method::SendToUser => self.send_to_user(body).await,
            Method::History => self.history(body).await,
            Method::Presence => self.presence(body).await,
            Method::Channel => self.channel(body).await,
            Method::Channels => self.channels(body).await,
            Method::Disconnect => self.disconnect(body).await,
            Method::Unsubscribe => self.unsubscribe(body).await,
            Method::Signal => self.signal(body).await,
            Method::Why => self.why(body).await,
            Method::Batch => self.batch(body).await,
        }
    }

    /// What becomes of a command, unless it is refused.
    async fn ask(&self, command: Command) -> Result<Outcome, ApiError> {
        match self.hub.submit(Arc::clone(self.app), command).await {
            Outcome::Rejected(reject) => Err(reject.into()),
            outcome => Ok(outcome),
        }
    }
}

/// The routes. Requests that are a WebSocket's do not come here.
pub(crate) fn router(apps: Arc<Apps>, hub: HubHandle) -> Router {
    let mut router = Router::new().route("/api/v1/openapi.json", get(describe).fallback(|| wrong_method("GET")));
    for (name, method) in Method::ALL {
        let handler = move |state: State<ApiState>, headers: HeaderMap, body: Body| call(method, state, headers, body);
        router = router.route(&format!("/api/v1/{name}"), post(handler).fallback(|| wrong_method("POST")));
    }
    router
        .fallback(unknown_path)
        .with_state(ApiState { apps: Arc::clone(&apps), hub: hub.clone() })
        .merge(pusher::router(apps, hub))
        .layer(from_fn(log_request))
        // Asked every second by whoever balances the load: no line in the log.
        .route("/healthz", get(healthy).fallback(|| wrong_method("GET")))
}

/// That clients are taken. At a shutdown it is not answered any more, for listening ends first.
async fn healthy() -> Response {
    json_response(StatusCode::OK, &serde_json::json!({ "healthy": true }))
}

async fn call(
    method: Method,
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let app = authenticate(&state.apps, &headers)?;
    body::check_encoding(&headers)?;
    let body = read_body(body, method.body_bytes(&app)).await?;
    let call = Call { hub: &state.hub, app: &app, id: idempotency_key(&headers)? };
    Ok(json_response(StatusCode::OK, &call.run(method, &body).await?))
}

/// The same for whoever asks: it says what can be asked for, and nothing of this server.
async fn describe() -> Response {
    json_response(StatusCode::OK, &include_str!("api/openapi.json").trim_end())
}

/// Path and status only: a query or a header may hold a secret.
async fn log_request(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let begin = Instant::now();
    let response = next.run(request).await;
    let (status, micros) = (response.status().as_u16(), begin.elapsed().as_micros());
    tracing::info!(target: "switchboard::access", %method, path, status, micros, "request");
    response
}

async fn unknown_path(request: Request) -> ApiError {
    let message = match request.uri().path() {
        "/" => {
            "this is the listener for clients: connect a WebSocket to /ws, or open the console on the admin listener"
                .into()
        }
        path => Cow::from(format!("there is nothing at {:?}", path.chars().take(200).collect::<String>())),
    };
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
}

async fn wrong_method(allowed: &'static str) -> Response {
    let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("use {allowed}"));
    let mut response = error.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

pub(crate) fn unexpected(outcome: &impl core::fmt::Debug) -> ApiError {
    tracing::error!(?outcome, "a command was answered by something else");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, RejectCode::Internal.as_str(), "an internal error")
}

/// The header that programs use for it; the body may have it instead.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| ApiError::bad_request("the header Idempotency-Key is not printable ASCII"))
}

fn authenticate(apps: &Apps, headers: &HeaderMap) -> Result<Arc<App>, ApiError> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown =
        shown.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, key)) = shown else {
        let message = "an API key is needed: send the header 'Authorization: Bearer KEY'";
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, RejectCode::Unauthenticated.as_str(), message));
    };
    let app = apps.by_api_key(key.trim());
    app.ok_or_else(|| {
        let token = key.starts_with("eyJ") && key.matches('.').count() == 2;
        let message = if token {
            "this is a token of a client, and not an application's API key; clients publish at /client/v1/publish"
        } else {
            "this is no API key of any application"
        };
        ApiError::new(StatusCode::UNAUTHORIZED, "bad_key", message)
    })
}
