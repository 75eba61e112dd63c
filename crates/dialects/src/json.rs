//! What the dialects that are JSON share: reading without a copy, writing without a document.

use std::borrow::Cow;

/// How deep brackets may nest: readers of what we pass on may recurse.
const DEPTH_MAX: u32 = 64;

/// Whether a text can only be a JSON object, if it is JSON.
pub(crate) fn is_object(text: &str) -> bool {
    text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{')
}

/// The content of a JSON string, borrowed where nothing is escaped; `None` if it is another value.
pub(crate) fn string(raw: &str) -> Option<Result<Cow<'_, str>, serde_json::Error>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    Some(if inner.contains('\\') { serde_json::from_str(raw).map(Cow::Owned) } else { Ok(Cow::Borrowed(inner)) })
}

/// Whether brackets nest at most [`DEPTH_MAX`] deep. Readers of what we pass on may recurse.
pub(crate) fn is_shallow(json: &[u8]) -> bool {
    let mut depth = 0_u32;
    let mut in_string = false;
    let mut escaped = false;
    for byte in json {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return false;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// The usual string has nothing to escape and is copied whole.
pub(crate) fn write_string(json: &mut Vec<u8>, value: &str) {
    if value.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        json.push(b'"');
        json.extend_from_slice(value.as_bytes());
        json.push(b'"');
        return;
    }
    // Writing a string into memory cannot fail.
    if serde_json::to_writer(&mut *json, value).is_err() {
        json.extend_from_slice(b"\"\"");
    }
}
