//! The form of answers: JSON, and errors as a line of text, which is what Pusher's libraries show to whoever called them.

use crate::answer::ApiError;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use std::borrow::Cow;
use switchboard_core::Reject;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PusherError {
    pub(super) status: StatusCode,
    pub(super) message: Cow<'static, str>,
}

impl PusherError {
    pub(super) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into() }
    }

    pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    pub(super) fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }
}

/// The same statuses as in the server's own API.
impl From<ApiError> for PusherError {
    fn from(error: ApiError) -> Self {
        Self { status: error.status, message: error.message }
    }
}

impl From<Reject> for PusherError {
    fn from(reject: Reject) -> Self {
        ApiError::from(reject).into()
    }
}

impl IntoResponse for PusherError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(format!("{}\n", self.message)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
