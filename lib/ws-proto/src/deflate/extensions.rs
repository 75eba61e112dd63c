//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 §9.1): extensions with their parameters. One pass over each line. Knows no extension.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// An extension as it is offered or chosen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extension<'a> {
    pub(super) name: &'a str,
    pub(super) params: Vec<Param<'a>>,
}

/// `name` or `name=value`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Param<'a> {
    pub(super) name: &'a str,
    pub(super) value: Option<Cow<'a, str>>,
}

/// The line is not a list of extensions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// All extensions of one line. Empty elements of the list are ignored (RFC 9110 §5.6.1.2).
pub(super) fn parse(line: &str) -> Result<Vec<Extension<'_>>, Malformed> {
    let mut scanner = Scanner { rest: line };
    let mut extensions = Vec::new();
    loop {
        while scanner.take(',') {}
        if scanner.is_at_end() {
            return Ok(extensions);
        }
        extensions.push(scanner.extension()?);
        if !scanner.is_at_end() && !scanner.take(',') {
            return Err(Malformed);
        }
    }
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn extension(&mut self) -> Result<Extension<'a>, Malformed> {
        let name = self.token()?;
        let mut params = Vec::new();
        while self.take(';') {
            let name = self.token()?;
            let value = if self.take('=') { Some(self.value()?) } else { None };
            params.push(Param { name, value });
        }
        Ok(Extension { name, params })
    }

    fn value(&mut self) -> Result<Cow<'a, str>, Malformed> {
        if !self.take('"') {
            return self.token().map(Cow::Borrowed);
        }
        // What the quoted string means has to be a token all the same, so that white space in it is wrong.
        let end = self.rest.find(['"', '\\']).ok_or(Malformed)?;
        let (value, rest) = self.rest.split_at(end);
        if let Some(rest) = rest.strip_prefix('"') {
            self.rest = rest;
            return checked(value).map(Cow::Borrowed);
        }
        let mut value = String::new();
        let mut characters = self.rest.char_indices();
        loop {
            match characters.next().ok_or(Malformed)? {
                (end, '"') => {
                    self.rest = self.rest.get(end + 1..).unwrap_or_default();
                    checked(&value)?;
                    return Ok(Cow::Owned(value));
                }
                (_, '\\') => value.push(characters.next().ok_or(Malformed)?.1),
                (_, character) => value.push(character),
            }
        }
    }

    /// A token, and the white space around it.
    fn token(&mut self) -> Result<&'a str, Malformed> {
        self.skip_space();
        let end = self.rest.bytes().position(|byte| !is_token_byte(byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        checked(token)
    }

    fn take(&mut self, separator: char) -> bool {
        self.skip_space();
        let Some(rest) = self.rest.strip_prefix(separator) else { return false };
        self.rest = rest;
        true
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty()
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }
}

fn checked(token: &str) -> Result<&str, Malformed> {
    if !token.is_empty() && token.bytes().all(is_token_byte) { Ok(token) } else { Err(Malformed) }
}

/// RFC 9110 §5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn show(line: &str) -> String {
        let Ok(extensions) = parse(line) else { return "malformed".into() };
        let shown: Vec<String> = extensions
            .iter()
            .map(|extension| {
                let params = extension.params.iter().map(|param| match &param.value {
                    Some(value) => format!("({}={value})", param.name),
                    None => format!("({})", param.name),
                });
                format!("{}{}", extension.name, params.collect::<String>())
            })
            .collect();
        shown.join(" ")
    }

    #[test]
    fn lists() {
        let table = [
            ("", ""),
            (" ,\t, ", ""),
            ("permessage-deflate", "permessage-deflate"),
            ("a,b , c", "a b c"),
            (",a,,b,", "a b"),
            ("a;b", "a(b)"),
            ("a ; b = c\t; d", "a(b=c)(d)"),
            ("a;b=\"c\"", "a(b=c)"),
            ("a;b=\"c\\d\\\\\"", "malformed"),
            ("a;b=\"1\\5\"", "a(b=15)"),
            ("a;b=\"\\1\\5\";c, d", "a(b=15)(c) d"),
            // The same parameter twice is for the extension to judge.
            ("a;b;b=1", "a(b)(b=1)"),
            ("a;", "malformed"),
            ("a;;b", "malformed"),
            (";a", "malformed"),
            ("a b", "malformed"),
            ("a;b c", "malformed"),
            ("a;b=", "malformed"),
            ("a;=b", "malformed"),
            ("a=b", "malformed"),
            ("a;b=\"c", "malformed"),
            ("a;b=\"c\\", "malformed"),
            ("a;b=\"\"", "malformed"),
            ("a;b=\"c d\"", "malformed"),
            ("a;b=\"c,d\"", "malformed"),
            ("a;b=\"c\"d", "malformed"),
            ("a;b=\"é\"", "malformed"),
            ("é", "malformed"),
            ("a/b", "malformed"),
            ("a\"b\"", "malformed"),
        ];
        for (line, expected) in table {
            assert_eq!(show(line), expected, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_line_does_harm(line in "[a-c;=,\"\\\\ \té]{0,40}|.{0,40}") {
            let _ = parse(&line);
        }
    }

    #[test]
    fn long_lines_take_one_pass() {
        for line in [
            "a,".repeat(30_000),
            "a;b=\"\\c\"".to_owned() + &";b=\"\\c\"".repeat(9_000),
            " ".repeat(60_000),
            "\"".repeat(60_000),
        ] {
            let _ = parse(&line);
        }
    }

    use alloc::borrow::ToOwned;
}
