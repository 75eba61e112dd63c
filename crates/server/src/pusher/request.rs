//! Requests that an application's servers have signed. Everything that a request's head says is checked before its body is read.
//!
//! Owns who may ask. Knows nothing of what is asked.

use super::PusherState;
use super::answer::PusherError;
use super::replay::{GRACE, Stale, WINDOW_SECONDS};
use super::signature;
use crate::api::read_body;
use crate::clock;
use crate::config::AppConfig;
use axum::body::Body;
use axum::extract::{Query, Request};
use bytes::Bytes;
use core::fmt::Write;
use http::request::Parts;
use http::{Method, StatusCode, Uri};
use md5::{Digest, Md5};
use std::borrow::Cow;
use std::sync::Arc;
use switchboard_core::Time;

/// A request whose head is signed.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) app: Arc<AppConfig>,
    parameters: Vec<(String, String)>,
    timestamp: u64,
    signature: u128,
}

/// How much of a text that is not good is shown.
const SHOWN_MAX: usize = 500;
/// How long a body may be that is not looked at.
const UNREAD_BYTES: usize = 4 * 1024;
/// A query has no more.
const PARAMETERS_MAX: usize = 64;

impl Signed {
    /// A request to an application of whose body nothing is wanted.
    pub(super) async fn ask(state: &PusherState, app_id: &str, request: Request) -> Result<Self, PusherError> {
        let (signed, _) = Self::read(state, app_id, request, |_| UNREAD_BYTES).await?;
        Ok(signed)
    }

    /// The same where the path names no application: the key does.
    pub(super) async fn ask_by_key(state: &PusherState, request: Request) -> Result<Self, PusherError> {
        let (head, body) = request.into_parts();
        let signed = Self::check_by_key(state, &head)?;
        signed.body(state, body, UNREAD_BYTES).await?;
        Ok(signed)
    }

    /// A request to an application with its body. `bytes_max` says how long that may be, from how long the data of one event may be.
    pub(super) async fn read(
        state: &PusherState,
        app_id: &str,
        request: Request,
        bytes_max: impl FnOnce(usize) -> usize,
    ) -> Result<(Self, Bytes), PusherError> {
        let (head, body) = request.into_parts();
        let signed = Self::check(state, app_id, &head)?;
        let body = signed.body(state, body, bytes_max(signed.data_max())).await?;
        Ok((signed, body))
    }

    /// How long the data of one event may be.
    pub(super) fn data_max(&self) -> usize {
        self.app.app.limits.message_bytes
    }

    /// Checks the head.
    fn check(state: &PusherState, app_id: &str, head: &Parts) -> Result<Self, PusherError> {
        let app = state.apps.by_id(app_id).ok_or_else(|| {
            PusherError::new(StatusCode::NOT_FOUND, format!("there is no application {:?}", shown(app_id)))
        })?;
        Self::check_of(app, parameters(&head.uri)?, head)
    }

    fn check_by_key(state: &PusherState, head: &Parts) -> Result<Self, PusherError> {
        let parameters = parameters(&head.uri)?;
        let key = parameters.iter().find(|(name, _)| name == "auth_key").map(|(_, key)| key.as_str());
        let app = state.apps.by_key(key.unwrap_or_default());
        Self::check_of(
            app.ok_or_else(|| PusherError::unauthorized("no application has this \"auth_key\""))?,
            parameters,
            head,
        )
    }

    fn check_of(app: Arc<AppConfig>, mut parameters: Vec<(String, String)>, head: &Parts) -> Result<Self, PusherError> {
        if !app.protocols.iter().any(|protocol| protocol == "pusher") {
            return Err(PusherError::new(StatusCode::FORBIDDEN, "the application does not serve Pusher's clients"));
        }
        let position = parameters.iter().position(|(name, _)| name == "auth_signature");
        let (_, signature) = match position {
            Some(position) => parameters.remove(position),
            None => return Err(PusherError::unauthorized("\"auth_signature\" is missing in the query")),
        };
        let unsigned = Self { app, parameters, timestamp: 0, signature: 0 };
        let timestamp = unsigned.check_parameters(clock::now())?;
        let signed = |text: &str| {
            let mut secrets = unsigned.app.token_keys.iter().map(|key| &key.secret);
            secrets.any(|secret| signature::is_signed(secret, text, &signature))
        };
        let text = text(&head.method, head.uri.path(), &unsigned.parameters);
        if !signed(&text)
            && !decoded(&head.uri).is_some_and(|path| signed(&self::text(&head.method, &path, &unsigned.parameters)))
        {
            let message = format!(
                "the signature is not good: \"auth_signature\" must be the HMAC-SHA256 of {:?} in hexadecimal digits, by the \
                 application's secret",
                shown(&text)
            );
            return Err(PusherError::unauthorized(message));
        }
        let digits = signature.get(..32).unwrap_or_default();
        let signature = u128::from_str_radix(digits, 16).unwrap_or_default();
        Ok(Self { timestamp, signature, ..unsigned })
    }

    /// Returns the time that it was signed at.
    fn check_parameters(&self, now: Time) -> Result<u64, PusherError> {
        let need = |name: &str| {
            self.parameter(name).ok_or_else(|| PusherError::unauthorized(format!("\"{name}\" is missing in the query")))
        };
        let key = need("auth_key")?;
        if key != self.app.key {
            let message = format!("{:?} is not the key of this application", shown(key));
            return Err(PusherError::unauthorized(message));
        }
        let version = need("auth_version")?;
        if version != "1.0" {
            return Err(PusherError::unauthorized(format!("\"auth_version\" is {:?}, not \"1.0\"", shown(version))));
        }
        let timestamp = need("auth_timestamp")?;
        let digits = timestamp.bytes().all(|byte| byte.is_ascii_digit());
        let seconds: u64 = match timestamp.parse() {
            Ok(seconds) if digits => seconds,
            _ => {
                let message = format!("\"auth_timestamp\" is {:?}, not seconds since 1970", shown(timestamp));
                return Err(PusherError::unauthorized(message));
            }
        };
        if seconds.abs_diff(now.as_secs()) > WINDOW_SECONDS {
            let message = format!(
                "\"auth_timestamp\" {seconds} is more than {WINDOW_SECONDS} s from the server's time, {}: is a clock wrong?",
                now.as_secs()
            );
            return Err(PusherError::unauthorized(message));
        }
        Ok(seconds)
    }

    /// Reads the body, which has to be the one that was signed for, and lets the request be carried out once.
    async fn body(&self, state: &PusherState, body: Body, bytes_max: usize) -> Result<Bytes, PusherError> {
        let body = read_body(body, bytes_max).await?;
        match self.parameter("body_md5") {
            None if body.is_empty() => {}
            None => return Err(PusherError::unauthorized("\"body_md5\" is missing in the query")),
            Some(signed) => {
                let ours = hex(&Md5::digest(&body));
                // Who made the request is known by its signature, in which this is: a comparison tells nothing.
                if !signed.eq_ignore_ascii_case(&ours) {
                    let message = format!("\"body_md5\" is {:?}, the MD5 of the body is {ours}", shown(signed));
                    return Err(PusherError::unauthorized(message));
                }
            }
        }
        let admitted = state.replays.admit(&self.app.app.id, clock::now(), self.timestamp, self.signature);
        admitted.map_err(|stale| {
            PusherError::unauthorized(match stale {
                Stale::Used => {
                    format!("this signature was used more than {} s ago: sign each request", GRACE.as_secs())
                }
                Stale::Forgotten => {
                    "the request is older than what the server remembers under this load: sign it again".to_owned()
                }
            })
        })?;
        Ok(body)
    }

    /// A parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Names in lower case, sorted, each once.
fn parameters(uri: &Uri) -> Result<Vec<(String, String)>, PusherError> {
    let Query(mut parameters) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| PusherError::bad_request("the query is not name=value&…"))?;
    if parameters.len() > PARAMETERS_MAX {
        return Err(PusherError::bad_request(format!("the query has more than {PARAMETERS_MAX} parameters")));
    }
    for (name, _) in &mut parameters {
        name.make_ascii_lowercase();
    }
    parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
    let twice = parameters.windows(2).find_map(|pair| match pair {
        [(a, _), (b, _)] if a == b => Some(a.clone()),
        _ => None,
    });
    match twice {
        Some(name) => Err(PusherError::bad_request(format!("{:?} is in the query twice", shown(&name)))),
        None => Ok(parameters),
    }
}

/// What is signed.
fn text(method: &Method, path: &str, parameters: &[(String, String)]) -> String {
    let mut text = format!("{method}\n{path}\n");
    for (index, (name, value)) in parameters.iter().enumerate() {
        let separator = if index == 0 { "" } else { "&" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{name}={value}");
    }
    text
}

/// Some libraries sign the path as they know it, and their HTTP client then escapes it (a user `ann@example.com`). What is escaped must not be a
/// separator: the path that is signed is the one that is taken apart.
fn decoded(uri: &Uri) -> Option<String> {
    let path = uri.path();
    if !path.contains('%') || path.to_ascii_lowercase().contains("%2f") {
        return None;
    }
    let query: Uri = format!("/?p={}", path.replace('+', "%2B").replace('&', "%26")).parse().ok()?;
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&query).ok()?;
    pairs.into_iter().next().map(|(_, path)| path)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(super) fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn the_documented_signature_of_a_request_is_good() {
        let body = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
        assert_eq!(hex(&Md5::digest(body)), "ec365a775a4cd0599faeb73354201b6f");
        let uri: Uri = "/apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&\
                        body_md5=ec365a775a4cd0599faeb73354201b6f"
            .parse()
            .unwrap();
        let text = text(&Method::POST, uri.path(), &parameters(&uri).unwrap());
        let shown = "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";
        let secret = Secret::new("7ad3773142a6692b25b8");
        assert!(signature::is_signed(&secret, &text, shown), "{text}");
        assert!(!signature::is_signed(&secret, &text.replace("POST", "GET"), shown));
    }

    #[test]
    fn parameters_are_sorted_by_their_names_in_lower_case_and_not_escaped() {
        let uri: Uri = "/x?b=2&A=1&info=user_count%2Csubscription_count".parse().unwrap();
        assert_eq!(
            text(&Method::GET, "/x", &parameters(&uri).unwrap()),
            "GET\n/x\na=1&b=2&info=user_count,subscription_count"
        );
        let twice: Uri = "/x?auth_key=a&AUTH_KEY=b".parse().unwrap();
        assert_eq!(parameters(&twice).unwrap_err().status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn an_escaped_path_is_read_unless_that_would_change_its_parts() {
        for (path, expected) in [
            ("/apps/1/users/ann", None),
            ("/apps/1/users/ann%40x/y", Some("/apps/1/users/ann@x/y")),
            ("/apps/1/users/a+b%20c%26d", Some("/apps/1/users/a+b c&d")),
            ("/apps/1/users/a%2fb%40", None),
        ] {
            assert_eq!(decoded(&path.parse().unwrap()).as_deref(), expected, "{path}");
        }
    }
}
