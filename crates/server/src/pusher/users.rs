//! What is done to users who have signed in.

use super::PusherState;
use super::answer::PusherError;
use super::names;
use super::request::Signed;
use crate::answer::json_response;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use std::sync::Arc;
use switchboard_core::{Command, Control, Disconnect, Outcome, Recipient};

/// `POST /apps/{app_id}/users/{user}/terminate_connections`
pub(super) async fn terminate_connections(
    State(state): State<PusherState>,
    Path((app_id, user)): Path<(String, String)>,
    request: Request,
) -> Result<Response, PusherError> {
    let signed = Signed::ask(&state, &app_id, request).await?;
    terminate(&state, &signed, &user).await
}

/// `POST /users/{user}/terminate_connections`: Pusher's library for Python leaves the application out of the path.
pub(super) async fn terminate_connections_by_key(
    State(state): State<PusherState>,
    Path(user): Path<String>,
    request: Request,
) -> Result<Response, PusherError> {
    let signed = Signed::ask_by_key(&state, request).await?;
    terminate(&state, &signed, &user).await
}

async fn terminate(state: &PusherState, signed: &Signed, user: &str) -> Result<Response, PusherError> {
    let whom = Recipient::User(names::user(user)?);
    let control = Control::Disconnect { whom, disconnect: Disconnect::BY_APPLICATION };
    match state.hub.submit(Arc::clone(&signed.app.app), Command::Control(control)).await {
        Outcome::Affected { .. } => Ok(json_response(StatusCode::OK, &json!({}))),
        outcome => Err(names::refused(outcome)),
    }
}
