//! Pusher's HTTP API (`docs/reference/pusher.md`): what an application's own servers ask with Pusher's libraries.
//!
//! Owns the routes and the form of answers. Requests are vouched for by `request`, what they ask is carried out by the hub in the application's name.

mod answer;
mod channels;
mod events;
mod names;
mod replay;
mod request;
pub(crate) mod signature;
mod users;

use crate::apps::Apps;
use answer::PusherError;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};
use replay::Replays;
use std::sync::Arc;
use switchboard_net::HubHandle;

#[derive(Clone, Debug)]
struct PusherState {
    apps: Arc<Apps>,
    hub: HubHandle,
    replays: Arc<Replays>,
}

/// The routes.
pub(crate) fn router(apps: Arc<Apps>, hub: HubHandle) -> Router {
    Router::new()
        .route("/apps/{app_id}/events", post(events::events).fallback(not_post))
        .route("/apps/{app_id}/batch_events", post(events::batch_events).fallback(not_post))
        .route("/apps/{app_id}/channels", get(channels::channels).fallback(not_get))
        .route("/apps/{app_id}/channels/{channel}", get(channels::channel).fallback(not_get))
        .route("/apps/{app_id}/channels/{channel}/users", get(channels::users).fallback(not_get))
        .route(
            "/apps/{app_id}/users/{user}/terminate_connections",
            post(users::terminate_connections).fallback(not_post),
        )
        .route("/users/{user}/terminate_connections", post(users::terminate_connections_by_key).fallback(not_post))
        .with_state(PusherState { apps, hub, replays: Arc::default() })
}

async fn not_get() -> Response {
    wrong_method("GET")
}

async fn not_post() -> Response {
    wrong_method("POST")
}

fn wrong_method(allowed: &'static str) -> Response {
    let mut response = PusherError::new(StatusCode::METHOD_NOT_ALLOWED, format!("use {allowed}")).into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}
