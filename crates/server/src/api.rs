//! The HTTP API on the public listener: publishing with an API key (`docs/reference/http-api.md`).
//!
//! It serves programs, not pages: no cross-origin headers, so that a page cannot read an answer.

use crate::answer::{ApiError, json_response};
use crate::apps::Apps;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use core::time::Duration;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;
use switchboard_core::{App, ChannelName, Command, Outcome, Payload, Publish, RejectCode};
use switchboard_net::HubHandle;

/// What a body may have besides the data, in bytes.
const ENVELOPE_BYTES: usize = 4 * 1024;
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest `event` or `key`, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// How deep `data` may be nested: what is deeper overflows somebody's parser.
const DEPTH_MAX: usize = 64;

#[derive(Clone, Debug)]
struct ApiState {
    apps: Arc<Apps>,
    hub: HubHandle,
}

/// The routes. Requests that are a WebSocket's do not come here.
pub(crate) fn router(apps: Arc<Apps>, hub: HubHandle) -> Router {
    Router::new()
        .route("/api/v1/publish", post(publish).fallback(wrong_method))
        .fallback(unknown_path)
        .with_state(ApiState { apps, hub })
        .layer(from_fn(log_request))
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

async fn wrong_method() -> Response {
    let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "use POST");
    let mut response = error.into_response();
    response.headers_mut().insert(header::ALLOW, http::HeaderValue::from_static("POST"));
    response
}

async fn publish(State(state): State<ApiState>, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    let app = authenticate(&state.apps, &headers)?;
    let body = read_body(body, app.limits.message_bytes.saturating_add(ENVELOPE_BYTES)).await?;
    let (channel, publish) = parse(&body, app.limits.message_bytes)?;
    let command = Command::Publish { channel, publish, exclude_self: false };
    match state.hub.submit(app, command).await {
        Outcome::Published { channel, position, .. } => {
            let position = json!({ "epoch": position.epoch.to_string(), "offset": position.offset });
            Ok(json_response(StatusCode::OK, &json!({ "channel": channel.as_str(), "position": position })))
        }
        Outcome::Rejected(reject) => Err(reject.into()),
        outcome => {
            tracing::error!(?outcome, "a publication was answered by something else");
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, RejectCode::Internal.as_str(), "an internal error"))
        }
    }
}

fn authenticate(apps: &Apps, headers: &HeaderMap) -> Result<Arc<App>, ApiError> {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown =
        shown.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, key)) = shown else {
        let message = "an API key is needed: send the header 'Authorization: Bearer KEY'";
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, RejectCode::Unauthenticated.as_str(), message));
    };
    let app = apps.by_api_key(key.trim()).cloned();
    app.ok_or_else(|| ApiError::new(StatusCode::UNAUTHORIZED, "bad_key", "this is no API key of any application"))
}

pub(crate) async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, bytes_max)).await;
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => Err(too_large(bytes_max)),
        Ok(Err(_)) => Err(ApiError::bad_request("the body ended before it was whole")),
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come within 10 s")),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    use std::error::Error;
    error.source().is_some_and(<dyn Error>::is::<http_body_util::LengthLimitError>)
}

fn too_large(bytes_max: usize) -> ApiError {
    let message = format!("the request is larger than {bytes_max} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, RejectCode::LimitExceeded.as_str(), message)
}

/// The body of a request. Unknown members are ignored, as everywhere in the protocol.
#[derive(Debug, Deserialize)]
struct PublishRequest<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
    event: Option<Box<str>>,
    key: Option<Box<str>>,
    encoding: Option<Box<str>>,
}

fn parse(body: &[u8], data_bytes_max: usize) -> Result<(ChannelName, Publish), ApiError> {
    let bad_json = |message: String| ApiError::new(StatusCode::BAD_REQUEST, RejectCode::BadJson.as_str(), message);
    // serde would take the members in their order from an array.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(bad_json("the body is not a JSON object".to_owned()));
    }
    let request: PublishRequest<'_> = serde_json::from_slice(body).map_err(|error| {
        use serde_json::error::Category;
        let message = format!("the body: {error}");
        match error.classify() {
            Category::Data => ApiError::bad_request(message),
            Category::Io | Category::Syntax | Category::Eof => bad_json(message),
        }
    })?;
    let channel = ChannelName::parse(&request.channel)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, RejectCode::BadChannel.as_str(), error.to_string()))?;
    let name = |name: &'static str, value: Option<Box<str>>| match value {
        Some(value) if value.is_empty() || value.len() > NAME_BYTES_MAX => {
            Err(ApiError::bad_request(format!("\"{name}\" has {} bytes, not 1 to {NAME_BYTES_MAX}", value.len())))
        }
        value => Ok(value.map(Arc::from)),
    };
    let payload = payload(request.data.get(), request.encoding.as_deref())?;
    if payload.len() > data_bytes_max {
        return Err(too_large(data_bytes_max));
    }
    Ok((
        channel,
        Publish { event: name("event", request.event)?, key: name("key", request.key)?, ..Publish::new(payload) },
    ))
}

/// A JSON string is text, whichever protocol it goes out by.
fn payload(data: &str, encoding: Option<&str>) -> Result<Payload, ApiError> {
    if depth(data) > DEPTH_MAX {
        let message = format!("\"data\" is nested deeper than {DEPTH_MAX}");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, RejectCode::BadJson.as_str(), message));
    }
    let text = data.starts_with('"').then(|| serde_json::from_str::<String>(data)).transpose();
    let text = text.map_err(|error| ApiError::bad_request(format!("\"data\": {error}")))?;
    match (encoding, text) {
        (None, Some(text)) => Ok(Payload::Text(text.into())),
        (None, None) => Ok(Payload::Json(data.into())),
        (Some("base64"), Some(text)) => {
            let bytes = STANDARD.decode(text).map_err(|_| ApiError::bad_request("\"data\" is not base64"))?;
            Ok(Payload::Binary(bytes.into()))
        }
        (Some("base64"), None) => {
            Err(ApiError::bad_request("\"data\" is not a string, which \"encoding\":\"base64\" needs"))
        }
        (Some(_), _) => Err(ApiError::bad_request("\"encoding\" is not \"base64\"")),
    }
}

fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn payload_of(body: &str) -> Result<Payload, &'static str> {
        parse(body.as_bytes(), 100).map(|(_, publish)| publish.payload).map_err(|error| error.code)
    }

    #[test]
    fn data_is_kept_as_it_was_written() {
        assert_eq!(
            payload_of(r#"{"channel":"c","data":{"b": 1,"a":[2]}}"#),
            Ok(Payload::Json(r#"{"b": 1,"a":[2]}"#.into()))
        );
        assert_eq!(payload_of(r#"{"channel":"c","data":"a\nb"}"#), Ok(Payload::Text("a\nb".into())));
        assert_eq!(payload_of(r#"{"channel":"c","data":null}"#), Ok(Payload::Json("null".into())));
        let binary = Payload::Binary(Bytes::from_static(b"\0\xff\x10"));
        assert_eq!(payload_of(r#"{"channel":"c","data":"AP8Q","encoding":"base64"}"#), Ok(binary));
    }

    #[test]
    fn what_cannot_be_published_is_refused() {
        for (body, code) in [
            ("", "bad_json"),
            ("{", "bad_json"),
            ("[]", "bad_json"),
            (r#"["c",1,null,null,null]"#, "bad_json"),
            ("1", "bad_json"),
            ("{}", "bad_request"),
            (r#"{"channel":"c"}"#, "bad_request"),
            (r#"{"channel":1,"data":1}"#, "bad_request"),
            (r#"{"channel":"a#b","data":1}"#, "bad_channel"),
            (r#"{"channel":"","data":1}"#, "bad_channel"),
            (r#"{"channel":"c","data":1,"event":""}"#, "bad_request"),
            (r#"{"channel":"c","data":1,"event":1}"#, "bad_request"),
            (r#"{"channel":"c","data":1,"encoding":"base64"}"#, "bad_request"),
            (r#"{"channel":"c","data":"=","encoding":"base64"}"#, "bad_request"),
            (r#"{"channel":"c","data":"x","encoding":"hex"}"#, "bad_request"),
            (r#"{"channel":"c","data":"\ud800"}"#, "bad_request"),
        ] {
            assert_eq!(payload_of(body), Err(code), "{body}");
        }
        let body = |data: &str| format!(r#"{{"channel":"c","data":{data}}}"#);
        assert!(payload_of(&body(&format!("\"{}\"", "x".repeat(100)))).is_ok());
        assert_eq!(payload_of(&body(&format!("\"{}\"", "x".repeat(101)))), Err("limit_exceeded"));
        assert_eq!(payload_of(&body(&format!("{}{}", "[".repeat(65), "]".repeat(65)))), Err("bad_json"));
        let long = format!(r#"{{"channel":"c","data":1,"key":"{}"}}"#, "x".repeat(201));
        assert_eq!(payload_of(&long), Err("bad_request"));
    }

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        for (json, expected) in
            [("1", 0), ("[]", 1), (r#"{"a":[{}]}"#, 3), (r#""[[[""#, 0), (r#"["\"[",[]]"#, 2), (r#"["\\",[]]"#, 2)]
        {
            assert_eq!(depth(json), expected, "{json}");
        }
    }
}
