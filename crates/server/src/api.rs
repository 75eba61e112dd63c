//! The HTTP API on the public listener, with an API key (`docs/reference/http-api.md`).
//!
//! It serves programs, not pages: no cross-origin headers, so that a page cannot read an answer.

mod read;

use crate::answer::{ApiError, json_response};
use crate::apps::Apps;
use crate::pusher;
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
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;
use switchboard_core::{App, ChannelName, Command, Epoch, Outcome, Payload, Position, Publish, RejectCode, Since};
use switchboard_net::HubHandle;

/// What a body may have besides the data, in bytes.
const ENVELOPE_BYTES: usize = 4 * 1024;
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest `event` or `key`, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// Channels of one broadcast.
const BROADCAST_MAX: usize = 100;
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
        .route("/api/v1/broadcast", post(broadcast).fallback(wrong_method))
        .route("/api/v1/history", post(read::history).fallback(wrong_method))
        .route("/api/v1/presence", post(read::presence).fallback(wrong_method))
        .fallback(unknown_path)
        .with_state(ApiState { apps: Arc::clone(&apps), hub: hub.clone() })
        .merge(pusher::router(apps, hub))
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
    let (channel, publish) = parse(&body, idempotency_key(&headers)?, app.limits.message_bytes)?;
    let answer = submit(&state.hub, app, channel, publish).await?;
    Ok(json_response(StatusCode::OK, &answer))
}

/// The same to many channels. Each stands for itself: what is refused on one is published on the others.
async fn broadcast(State(state): State<ApiState>, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    let app = authenticate(&state.apps, &headers)?;
    let names = BROADCAST_MAX * (ChannelName::BYTES_MAX + 3);
    let body = read_body(body, app.limits.message_bytes.saturating_add(ENVELOPE_BYTES + names)).await?;
    let mut publish: PublishBody<'_> = parse_body(&body)?;
    let channels = core::mem::take(&mut publish.channels);
    if channels.is_empty() || channels.len() > BROADCAST_MAX {
        let message = format!("\"channels\" has {} names, not 1 to {BROADCAST_MAX}", channels.len());
        return Err(ApiError::bad_request(message));
    }
    let channels = channels.iter().map(|channel| parse_channel(channel)).collect::<Result<Vec<_>, _>>()?;
    let publish = publish.check(idempotency_key(&headers)?, app.limits.message_bytes)?;
    let mut results = Vec::with_capacity(channels.len());
    for channel in channels {
        let name = channel.clone();
        let result = submit(&state.hub, Arc::clone(&app), channel, publish.clone()).await;
        results.push(result.unwrap_or_else(|error| json!({ "channel": name.as_str(), "error": error.json() })));
    }
    Ok(json_response(StatusCode::OK, &json!({ "results": results })))
}

async fn submit(hub: &HubHandle, app: Arc<App>, channel: ChannelName, publish: Publish) -> Result<Value, ApiError> {
    match hub.submit(app, Command::Publish { channel, publish, exclude_self: false }).await {
        Outcome::Published { channel, position, duplicate } => {
            let mut answer = json!({ "channel": channel.as_str(), "position": PositionBody::json(position) });
            if let (true, Some(answer)) = (duplicate, answer.as_object_mut()) {
                answer.insert("duplicate".into(), true.into());
            }
            Ok(answer)
        }
        Outcome::Rejected(reject) => Err(reject.into()),
        outcome => Err(unexpected(&outcome)),
    }
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

/// The body of a publication. Unknown members are ignored, as everywhere in the protocol.
#[derive(Debug, Deserialize)]
struct PublishBody<'a> {
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    channels: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    data: &'a RawValue,
    event: Option<Box<str>>,
    key: Option<Box<str>>,
    encoding: Option<Box<str>>,
    idempotency_key: Option<Box<str>>,
    #[serde(borrow)]
    if_position: Option<PositionBody<'a>>,
}

#[derive(Debug, Deserialize)]
struct PositionBody<'a> {
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    offset: u64,
}

impl PositionBody<'_> {
    fn position(&self) -> Since {
        match Epoch::parse(&self.epoch) {
            Some(epoch) => Since::Position(Position { epoch, offset: self.offset }),
            None => Since::Unknown,
        }
    }

    fn json(position: Position) -> Value {
        json!({ "epoch": position.epoch.to_string(), "offset": position.offset })
    }
}

/// A JSON object.
fn parse_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    let bad_json = |message: String| ApiError::new(StatusCode::BAD_REQUEST, RejectCode::BadJson.as_str(), message);
    // serde would take the members in their order from an array.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(bad_json("the body is not a JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| {
        use serde_json::error::Category;
        let message = format!("the body: {error}");
        match error.classify() {
            Category::Data => ApiError::bad_request(message),
            Category::Io | Category::Syntax | Category::Eof => bad_json(message),
        }
    })
}

fn parse_channel(channel: &str) -> Result<ChannelName, ApiError> {
    ChannelName::parse(channel)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, RejectCode::BadChannel.as_str(), error.to_string()))
}

fn parse(body: &[u8], id: Option<&str>, data_bytes_max: usize) -> Result<(ChannelName, Publish), ApiError> {
    let body: PublishBody<'_> = parse_body(body)?;
    let channel = body.channel.as_deref().ok_or_else(|| ApiError::bad_request("\"channel\" is missing"))?;
    Ok((parse_channel(channel)?, body.check(id, data_bytes_max)?))
}

impl PublishBody<'_> {
    /// `id` is what the request's head says.
    fn check(self, id: Option<&str>, data_bytes_max: usize) -> Result<Publish, ApiError> {
        let payload = payload(self.data.get(), self.encoding.as_deref())?;
        if payload.len() > data_bytes_max {
            return Err(too_large(data_bytes_max));
        }
        if let (Some(head), Some(body)) = (id, self.idempotency_key.as_deref())
            && head != body
        {
            return Err(ApiError::bad_request("the header Idempotency-Key and \"idempotency_key\" differ"));
        }
        Ok(Publish {
            event: name("event", self.event.as_deref(), NAME_BYTES_MAX)?,
            key: name("key", self.key.as_deref(), NAME_BYTES_MAX)?,
            id: name("idempotency_key", id.or(self.idempotency_key.as_deref()), Publish::ID_BYTES_MAX)?,
            if_position: self.if_position.map(|position| position.position()),
            ..Publish::new(payload)
        })
    }
}

/// No control characters: other protocols put names into lines of their own.
fn name(name: &str, value: Option<&str>, bytes_max: usize) -> Result<Option<Arc<str>>, ApiError> {
    let Some(value) = value else { return Ok(None) };
    if value.is_empty() || value.len() > bytes_max {
        return Err(ApiError::bad_request(format!("\"{name}\" has {} bytes, not 1 to {bytes_max}", value.len())));
    }
    if value.chars().any(char::is_control) {
        return Err(ApiError::bad_request(format!("\"{name}\" contains a control character")));
    }
    Ok(Some(value.into()))
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
        parse(body.as_bytes(), None, 100).map(|(_, publish)| publish.payload).map_err(|error| error.code)
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
            (r#"{"channel":"c","data":1,"event":"a\nb"}"#, "bad_request"),
            (r#"{"channel":"c","data":1,"idempotency_key":""}"#, "bad_request"),
            (r#"{"channel":"c","data":1,"if_position":{"epoch":"e1"}}"#, "bad_request"),
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
