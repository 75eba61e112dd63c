//! What the members of a message must be, each by itself. Knows no request.

use super::refuse;
use crate::json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use switchboard_core::{Epoch, Payload, Position, Reject, RejectCode, Since};

pub(super) fn bad(message: impl Into<Cow<'static, str>>) -> Reject {
    refuse(RejectCode::BadRequest, message)
}

/// An optional member that is `null` is as good as absent.
pub(super) fn present(member: Option<&RawValue>) -> Option<&RawValue> {
    member.filter(|raw| raw.get() != "null")
}

/// Borrows the usual string, which has no escapes.
pub(super) fn string<'a>(name: &str, member: Option<&'a RawValue>) -> Result<Cow<'a, str>, Reject> {
    let raw = member.ok_or_else(|| bad(format!("\"{name}\" is missing")))?.get();
    match json::string(raw) {
        None => Err(bad(format!("\"{name}\" must be a string"))),
        Some(text) => text.map_err(|error| refuse(RejectCode::BadJson, format!("\"{name}\": {error}"))),
    }
}

pub(super) fn boolean(name: &str, member: Option<&RawValue>) -> Result<bool, Reject> {
    match present(member).map(RawValue::get) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(bad(format!("\"{name}\" must be true or false"))),
    }
}

/// An optional position. One that no server can have given is as good as one of an epoch that has ended.
pub(super) fn position(name: &str, member: Option<&RawValue>) -> Result<Option<Since>, Reject> {
    #[derive(Deserialize)]
    struct Written<'a> {
        #[serde(borrow)]
        epoch: Cow<'a, str>,
        offset: u64,
    }
    let Some(raw) = present(member) else { return Ok(None) };
    let Written { epoch, offset } = serde_json::from_str(raw.get())
        .map_err(|_| bad(format!("\"{name}\" must be {{\"epoch\": a string, \"offset\": an integer from 0 on}}")))?;
    Ok(Some(match Epoch::parse(&epoch) {
        Some(epoch) => Since::Position(Position { epoch, offset }),
        None => Since::Unknown,
    }))
}

/// An optional short name. No control characters: other protocols put it into lines of their own.
pub(super) fn label(name: &str, member: Option<&RawValue>, bytes_max: usize) -> Result<Option<Arc<str>>, Reject> {
    let Some(raw) = present(member) else { return Ok(None) };
    let text = string(name, Some(raw))?;
    if text.len() > bytes_max {
        return Err(bad(format!("\"{name}\" has {} bytes, more than {bytes_max}", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(bad(format!("\"{name}\" contains a control character")));
    }
    Ok(Some(text.into()))
}

/// A JSON string is text, or the base64 of bytes; any other value stays as it was written.
pub(super) fn payload(data: &RawValue, encoding: Option<&RawValue>) -> Result<Payload, Reject> {
    let raw = data.get();
    if let Some(encoding) = present(encoding) {
        if encoding.get() != r#""base64""# {
            return Err(bad("\"encoding\" must be \"base64\""));
        }
        let bytes = STANDARD.decode(&*string("data", Some(data))?).map_err(|_| bad("\"data\" is not base64"))?;
        return Ok(Payload::Binary(bytes.into()));
    }
    if raw.starts_with('"') {
        Ok(Payload::Text(string("data", Some(data))?.into()))
    } else {
        Ok(Payload::Json(raw.into()))
    }
}
