//! Tokens: JWTs (RFC 7519), signed with HS256. Claims are checked here against the time that is given, not by the library against its own clock.
//!
//! Knows nothing of applications but an identifier. A refusal's message holds nothing of the token but names of claims.

use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use core::time::Duration;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;
use switchboard_core::{AppId, ChannelMatch, Grant, Identity, Operations, Reject, RejectCode, Time, UserId};

/// A key that tokens are signed with.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// What a token's header calls it.
    pub kid: Option<String>,
    /// The key, at least 32 bytes.
    pub secret: Secret,
}

/// The shortest secret, in bytes: that of the hash (RFC 7518 §3.2).
pub(crate) const SECRET_BYTES_MIN: usize = 32;
/// The longest token that is looked at, in bytes.
pub(crate) const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The last second of the year 9999. Whoever writes milliseconds, as `Date.now()` gives them, makes a token that never ends without meaning it.
const SECONDS_MAX: f64 = 253_402_300_799.0;
/// The longest `info`, in bytes of compact JSON.
pub(crate) const INFO_BYTES_MAX: usize = 1024;

/// Checks a token: form, signature, then claims.
///
/// # Errors
/// A [`Reject`] with the code `bad_token`.
pub fn verify(keys: &[TokenKey], app: &AppId, token: &str, now: Time) -> Result<Identity, Reject> {
    let claims = verified_claims(keys, token)?;
    let claims = Claims(&claims);
    let user = claims.text("sub")?.ok_or_else(|| bad("the token has no claim \"sub\""))?;
    let user = UserId::parse(user).map_err(|error| bad(format!("the token's claim \"sub\": {error}")))?;
    let expires = claims.time("exp")?.ok_or_else(|| bad("the token has no claim \"exp\""))?;
    if now >= expires {
        return Err(bad("the token has expired"));
    }
    if claims.time("nbf")?.is_some_and(|not_before| now < not_before) {
        return Err(bad("the token is not valid yet"));
    }
    // Says nothing about rights, but a token of the wrong form is a mistake of whoever signed it.
    claims.time("iat")?;
    if claims.text("app")?.is_some_and(|named| named != app.as_str()) {
        return Err(bad("the token is for another application"));
    }
    Ok(Identity { user, info: claims.info()?, grants: claims.grants()?, expires: Some(expires) })
}

fn verified_claims(keys: &[TokenKey], token: &str) -> Result<Map<String, Value>, Reject> {
    let malformed = || bad("the token is malformed");
    if token.len() > TOKEN_BYTES_MAX {
        return Err(bad("the token is longer than 8 KiB"));
    }
    let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
        // `none`, or one that the library does not know.
        jsonwebtoken::errors::ErrorKind::Json(_) if token.matches('.').count() == 2 => {
            bad("the token's header is malformed, or its algorithm is not HS256")
        }
        _ => malformed(),
    })?;
    if header.alg != Algorithm::HS256 {
        return Err(bad("the token's algorithm is not HS256"));
    }
    // RFC 7515 §4.1.11: what must be understood and is not makes the token invalid.
    if header.crit.is_some() {
        return Err(bad("the token's header has \"crit\", of which nothing is supported"));
    }
    let key = match &header.kid {
        Some(kid) => keys.iter().find(|key| key.kid.as_ref() == Some(kid)),
        None => keys.first(),
    };
    let key = key.ok_or_else(|| bad("the token names a key that the application does not have"))?;
    let (message, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (_, claims) = message.split_once('.').ok_or_else(malformed)?;
    let secret = DecodingKey::from_secret(key.secret.reveal().as_bytes());
    match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &secret, Algorithm::HS256) {
        Ok(true) => {}
        Ok(false) => return Err(bad("the token's signature does not match")),
        Err(_) => return Err(malformed()),
    }
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| malformed())?;
    serde_json::from_slice(&claims).map_err(|_| malformed())
}

/// Claims that are signed, but of any form.
struct Claims<'a>(&'a Map<String, Value>);

impl Claims<'_> {
    fn text(&self, name: &str) -> Result<Option<&str>, Reject> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(bad(format!("the token's claim \"{name}\" is not a string"))),
        }
    }

    /// Seconds since 1970, with or without a fraction (RFC 7519 §2, NumericDate).
    fn time(&self, name: &str) -> Result<Option<Time>, Reject> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        if value.as_f64().is_some_and(|seconds| seconds > SECONDS_MAX) {
            return Err(bad(format!(
                "the token's claim \"{name}\" is past the year 9999: it is in seconds, not milliseconds"
            )));
        }
        if let Some(seconds) = value.as_u64() {
            return Ok(Some(Time::from_secs(seconds)));
        }
        match value.as_f64() {
            // A cast of a float saturates.
            Some(seconds) if seconds >= 0.0 => Ok(Some(Time::from_micros((seconds * 1e6) as u64))),
            _ => Err(bad(format!("the token's claim \"{name}\" is not a number of seconds since 1970"))),
        }
    }

    fn info(&self) -> Result<Option<Arc<str>>, Reject> {
        match self.0.get("info") {
            None => Ok(None),
            Some(info @ Value::Object(_)) => {
                let text = info.to_string();
                if text.len() > INFO_BYTES_MAX {
                    return Err(bad("the token's claim \"info\" is longer than 1 KiB"));
                }
                Ok(Some(text.into()))
            }
            Some(_) => Err(bad("the token's claim \"info\" is not an object")),
        }
    }

    fn grants(&self) -> Result<Vec<Grant>, Reject> {
        match self.0.get("channels") {
            None => Ok(Vec::new()),
            Some(Value::Array(channels)) => channels.iter().map(grant).collect(),
            Some(_) => Err(bad("the token's claim \"channels\" is not an array")),
        }
    }
}

fn grant(value: &Value) -> Result<Grant, Reject> {
    const FORM: &str = "the token's claim \"channels\" has an entry that is not of the form \
                        {\"match\":\"room:*\",\"allow\":[\"subscribe\"]}";
    let (pattern, allow) = match (value.get("match"), value.get("allow")) {
        (Some(Value::String(pattern)), Some(Value::Array(allow))) => (pattern, allow),
        _ => return Err(bad(FORM)),
    };
    let mut operations = Operations::NONE;
    for name in allow {
        let name = name.as_str().ok_or_else(|| bad(FORM))?;
        let operation = Operations::parse(name).ok_or_else(|| {
            bad("the token's claim \"channels\" allows an operation that is none of subscribe, publish, presence, history, signal, *")
        })?;
        operations = operations | operation;
    }
    let expires = value.as_object().map(|entry| Claims(entry).time("exp")).transpose()?.flatten();
    Ok(Grant { pattern: ChannelMatch::parse(pattern), operations, expires })
}

fn bad(message: impl Into<Cow<'static, str>>) -> Reject {
    Reject::new(RejectCode::BadToken, message)
}

/// What a new token shall say.
#[derive(Clone, Debug)]
pub struct NewToken<'a> {
    /// The user.
    pub user: &'a UserId,
    /// Each with the names of the operations that are allowed.
    pub channels: &'a [(String, Vec<String>)],
    /// How long it lives.
    pub ttl: Duration,
    /// Shown in presence.
    pub info: Option<Map<String, Value>>,
    /// The only application that it is for.
    pub app: Option<&'a str>,
}

/// Signs a token.
///
/// # Errors
/// It would be refused: `info` is too long, an operation is unknown, the key too short.
pub fn sign(key: &TokenKey, new: &NewToken<'_>, now: Time) -> Result<(String, Time), Reject> {
    let expires = now + new.ttl;
    let channels = new.channels.iter().map(|(pattern, allow)| serde_json::json!({ "match": pattern, "allow": allow }));
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), new.user.as_str().into());
    claims.insert("iat".to_owned(), now.as_secs().into());
    claims.insert("exp".to_owned(), expires.as_secs().into());
    claims.insert("channels".to_owned(), channels.collect());
    if let Some(info) = &new.info {
        claims.insert("info".to_owned(), info.clone().into());
    }
    if let Some(app) = new.app {
        claims.insert("app".to_owned(), app.into());
    }
    let mut header = Header::new(Algorithm::HS256);
    header.kid.clone_from(&key.kid);
    let secret = EncodingKey::from_secret(key.secret.reveal().as_bytes());
    let token = jsonwebtoken::encode(&header, &claims, &secret)
        .map_err(|_| Reject::new(RejectCode::Internal, "the token cannot be signed"))?;
    // Whoever gets it shall not be the one to find out that it is no good.
    let app = AppId::new(new.app.unwrap_or_default());
    verify(core::slice::from_ref(key), &app, &token, now)?;
    Ok((token, Time::from_secs(expires.as_secs())))
}

#[cfg(test)]
mod tests;
