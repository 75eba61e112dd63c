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
    has_few_brackets(json) || is_shallow_by_walk(json)
}

/// Whether there are so few opening brackets that they cannot nest deeper, wherever they stand. It is what most messages are, and is found out sixteen bytes at a time.
fn has_few_brackets(json: &[u8]) -> bool {
    // In pieces of which each is counted in a byte.
    let mut pieces = json.chunks(128);
    let mut left = DEPTH_MAX;
    pieces.all(|piece| {
        // The two differ in this bit, and no other byte becomes one of them.
        let found = piece.iter().fold(0_u8, |found, byte| found + u8::from(byte | 0x20 == b'{'));
        let rest = left.checked_sub(u32::from(found));
        left = rest.unwrap_or_default();
        rest.is_some()
    })
}

fn is_shallow_by_walk(json: &[u8]) -> bool {
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
    // To the end in any case: so it is done sixteen bytes at a time.
    if !value.bytes().fold(false, |escaped, b| escaped | (b < 0x20) | (b == b'"') | (b == b'\\')) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_nest_as_deep_as_they_are_open_and_count_in_no_string() {
        let deep = |depth: usize| format!("{}{}", r#"[{"a":"#.repeat(depth / 2), "}]".repeat(depth / 2));
        let wide = format!("[{}]", "[],{},".repeat(500));
        let quoted = format!(r#"["{}\"{}", {}]"#, "[".repeat(70), "{".repeat(70), deep(62));
        for (json, expected) in
            [(deep(64), true), (deep(66), false), (wide, true), (quoted, true), (format!("[{}]", deep(64)), false)]
        {
            assert_eq!(is_shallow(json.as_bytes()), expected, "{json}");
            assert!(is_shallow_by_walk(json.as_bytes()) == expected);
        }
        // Exactly as many as may nest are few enough wherever they stand; one more has to be looked at.
        let across = |count: usize| format!("{}{}", " ".repeat(100), "[".repeat(count));
        assert_eq!((has_few_brackets(across(64).as_bytes()), has_few_brackets(across(65).as_bytes())), (true, false));
        assert!(!has_few_brackets("{".repeat(300).as_bytes()));
    }
}
