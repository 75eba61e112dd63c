//! Text that others wrote, made harmless for a terminal; JSON with its lines broken; bytes as hexadecimal numbers. Knows nothing of messages.

use core::fmt::Write;
use serde::de::IgnoredAny;

/// Control characters as escapes, but for tabs and new lines; and those that change the direction of what stands around them.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' | '\n' => shown.push(c),
            c if c.is_control() || is_steering(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// What makes a terminal show characters in another order than they come, or break a line.
fn is_steering(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// As [`printable`], on one line.
pub(crate) fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// What a part of JSON is, for those who colour it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The name of a member.
    Name,
    /// A text.
    Text,
    /// A number, `true`, `false` or `null`.
    Other,
    /// What stands between.
    Between,
}

/// JSON with a line for each member, its parts handed to `paint`. Order and numbers stay as they were written. `None` if it is no JSON, or nested too
/// deep for it to help.
pub(crate) fn pretty(text: &str, paint: impl Fn(Part, &str) -> String) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut shown = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        let (token, behind) = rest.split_at_checked(token_len(rest))?;
        rest = behind.trim_start();
        match first {
            '{' | '[' if rest.starts_with(['}', ']']) => {
                let (close, behind) = rest.split_at_checked(1)?;
                shown.push_str(&paint(Part::Between, &format!("{token}{close}")));
                rest = behind.trim_start();
            }
            '{' | '[' => {
                depth += 1;
                shown.push_str(&paint(Part::Between, token));
                line(&mut shown, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut shown, depth);
                shown.push_str(&paint(Part::Between, token));
            }
            ',' => {
                shown.push_str(&paint(Part::Between, token));
                line(&mut shown, depth);
            }
            ':' => shown.push_str(&paint(Part::Between, ": ")),
            '"' if rest.starts_with(':') => shown.push_str(&paint(Part::Name, token)),
            '"' => shown.push_str(&paint(Part::Text, token)),
            _ => shown.push_str(&paint(Part::Other, token)),
        }
    }
    Some(shown)
}

fn line(shown: &mut String, depth: usize) {
    shown.push('\n');
    shown.extend(core::iter::repeat_n("  ", depth));
}

/// Bytes of the token that valid JSON begins with.
fn token_len(json: &str) -> usize {
    let bytes = json.as_bytes();
    match bytes.first() {
        Some(b'"') => {
            let mut escaped = false;
            let end = bytes.iter().skip(1).position(|byte| {
                let ends = *byte == b'"' && !escaped;
                escaped = *byte == b'\\' && !escaped;
                ends
            });
            end.map_or(bytes.len(), |end| end + 2)
        }
        Some(b'{' | b'}' | b'[' | b']' | b',' | b':') => 1,
        _ => json.find([',', '}', ']', ' ', '\t', '\r', '\n']).unwrap_or(bytes.len()).max(1),
    }
}

/// Bytes as lines of sixteen: where, which, and the characters that they are in ASCII. At most so many bytes; what is left out is said.
pub(crate) fn hex_dump(bytes: &[u8], bytes_max: usize) -> String {
    let mut shown = String::new();
    for (row, chunk) in bytes.iter().take(bytes_max).copied().collect::<Vec<u8>>().chunks(16).enumerate() {
        if row > 0 {
            shown.push('\n');
        }
        // Writing into a string does not fail.
        let _ = write!(shown, "{:08x} ", row * 16);
        for place in 0..16 {
            if place == 8 {
                shown.push(' ');
            }
            let _ = match chunk.get(place) {
                Some(byte) => write!(shown, " {byte:02x}"),
                None => write!(shown, "   "),
            };
        }
        shown.push_str("  ");
        shown.extend(chunk.iter().map(|byte| if (0x20..0x7F).contains(byte) { char::from(*byte) } else { '.' }));
    }
    if let Some(left) = bytes.len().checked_sub(bytes_max).filter(|left| *left > 0) {
        let _ = write!(shown, "\n… and {left} bytes more");
    }
    shown
}

/// Why hexadecimal digits are no bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HexError {
    #[error("{0:?} is no hexadecimal digit")]
    Digit(char),
    #[error("the last byte has one digit only")]
    Half,
}

/// The bytes that hexadecimal digits stand for, with blanks, colons or nothing between them.
pub(crate) fn parse_hex(text: &str) -> Result<Vec<u8>, HexError> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for c in text.chars().filter(|c| !c.is_whitespace() && *c != ':') {
        let digit = c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(HexError::Digit(c))?;
        match high.take() {
            None => high = Some(digit),
            Some(high) => bytes.push(high << 4 | digit),
        }
    }
    if high.is_some() { Err(HexError::Half) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn plain(text: &str) -> Option<String> {
        pretty(text, |_, part| part.to_owned())
    }

    #[test]
    fn what_others_send_does_not_steer_the_terminal() {
        assert_eq!(printable("a\tb\nc\u{1b}[2J\u{7}\u{9b}é"), "a\tb\nc\\u{1b}[2J\\u{7}\\u{9b}é");
        assert_eq!(printable("abc\u{202e}def\r"), "abc\\u{202e}def\\u{d}");
        assert_eq!(one_line("a\nb"), "a\\nb");
    }

    #[test]
    fn json_is_broken_into_lines_as_it_was_written() {
        assert_eq!(
            plain(r#" {"b":1.50,"a":["x, \"y\" {",{}, [ ] ,null],"n":123456789012345678901234567890} "#).unwrap(),
            "{\n  \"b\": 1.50,\n  \"a\": [\n    \"x, \\\"y\\\" {\",\n    {},\n    [],\n    null\n  ],\n  \
             \"n\": 123456789012345678901234567890\n}"
        );
        assert_eq!(plain("42").unwrap(), "42");
        for no in ["", "{", "hello", "{} {}", "\"a"] {
            assert_eq!(plain(no), None, "{no}");
        }
        let painted = pretty(r#"{"a":["b",1]}"#, |part, text| format!("<{part:?} {text}>")).unwrap();
        assert!(painted.contains("<Name \"a\">") && painted.contains("<Text \"b\">") && painted.contains("<Other 1>"));
    }

    #[test]
    fn bytes_are_shown_beside_what_they_mean() {
        assert_eq!(
            hex_dump(b"hello, world!\n\x00\xffab", 100),
            "00000000  68 65 6c 6c 6f 2c 20 77  6f 72 6c 64 21 0a 00 ff  hello, world!...\n\
             00000010  61 62                                             ab"
        );
        assert_eq!(hex_dump(b"abc", 2).lines().last(), Some("… and 1 bytes more"));
        assert_eq!(hex_dump(b"", 2), "");
    }

    #[test]
    fn digits_that_are_no_bytes_are_named() {
        assert_eq!(parse_hex("0aFF 00:1b"), Ok(vec![0x0A, 0xFF, 0, 0x1B]));
        assert_eq!(parse_hex("0ax"), Err(HexError::Digit('x')));
        assert_eq!(parse_hex("0a0"), Err(HexError::Half));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}|[\"\\\\{}\\[\\]:, \n]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec(("[a-z\"\\\\]{0,4}", inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn broken_lines_say_the_same(value in any_json()) {
            let shown = plain(&value.to_string()).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value.clone());
            prop_assert_eq!(plain(&shown).unwrap(), shown);
        }

        #[test]
        fn any_text_is_printable(text in "\\PC*|[\\x00-\\x1f\u{7f}-\u{9f}]*") {
            prop_assert!(!printable(&text).contains(|c: char| c.is_control() && c != '\t' && c != '\n'));
            prop_assert!(!one_line(&text).contains('\n'));
        }

        #[test]
        fn bytes_come_back_from_their_digits(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(parse_hex(&digits).unwrap(), bytes);
        }
    }
}
