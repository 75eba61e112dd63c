//! The form of HTTP answers: JSON, and errors that look the same everywhere.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use switchboard_core::{Position, Reject, RejectCode};

/// A refusal: `{"error":{"code","message","temporary"}}`.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: Cow<'static, str>,
    pub(crate) temporary: bool,
    /// Where the channel is, if the request was refused for that.
    pub(crate) position: Option<Position>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), temporary: false, position: None }
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, RejectCode::BadRequest.as_str(), message)
    }

    /// Says of which part of the request it is true.
    pub(crate) fn of(self, part: impl core::fmt::Display) -> Self {
        Self { message: format!("{part}: {}", self.message).into(), ..self }
    }
}

impl ApiError {
    pub(crate) fn json(&self) -> Value {
        let mut error = Map::new();
        error.insert("code".into(), self.code.into());
        error.insert("message".into(), self.message.as_ref().into());
        error.insert("temporary".into(), self.temporary.into());
        if let Some(position) = self.position {
            error.insert("position".into(), json!({ "epoch": position.epoch.to_string(), "offset": position.offset }));
        }
        Value::Object(error)
    }
}

impl From<Reject> for ApiError {
    fn from(reject: Reject) -> Self {
        let status = match reject.code {
            RejectCode::Unauthenticated | RejectCode::BadToken => StatusCode::UNAUTHORIZED,
            RejectCode::PermissionDenied => StatusCode::FORBIDDEN,
            RejectCode::LimitExceeded => StatusCode::PAYLOAD_TOO_LARGE,
            RejectCode::Conflict => StatusCode::CONFLICT,
            RejectCode::HistoryLost => StatusCode::GONE,
            RejectCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            RejectCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            RejectCode::Unconfirmed => StatusCode::GATEWAY_TIMEOUT,
            RejectCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let Reject { code, message, temporary, position } = reject;
        Self { status, code: code.as_str(), message, temporary, position }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = self.json();
        let mut response = json_response(self.status, &json!({ "error": error }));
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}

/// JSON that is written as it is displayed.
pub(crate) fn json_response(status: StatusCode, value: &impl core::fmt::Display) -> Response {
    let mut response = Response::new(Body::from(format!("{value}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
