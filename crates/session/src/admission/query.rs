//! Query parameters and percent-encoding (RFC 3986 §2.1; `+` as a space only in queries, as HTML forms write it).

use super::{Refusal, RefusalCode};
use std::borrow::Cow;

/// The parameters of one request, in their order. Unknown ones are the business of nobody.
#[derive(Clone, Debug)]
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// More is no client of ours: channels are the only ones that may be many.
const PARAMETERS_MAX: usize = 300;

impl<'a> Query<'a> {
    pub(super) fn parse(raw: &'a str) -> Result<Self, Refusal> {
        let mut pairs = Vec::new();
        for part in raw.split('&').filter(|part| !part.is_empty()) {
            if pairs.len() == PARAMETERS_MAX {
                return Err(bad("the query has more than 300 parameters"));
            }
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (Some(name), Some(value)) = (percent_decode(name, true), percent_decode(value, true)) else {
                return Err(bad("the query is not percent-encoded UTF-8"));
            };
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// A parameter that may be given once.
    pub(super) fn value(&self, name: &str) -> Result<Option<Cow<'a, str>>, Refusal> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(bad(format!("\"{name}\" is given twice"))),
            (value, None) => Ok(value),
        }
    }

    /// All values of a parameter, in their order.
    pub(super) fn values<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// A switch: `1` or `true`, `0` or `false`.
    pub(super) fn flag(&self, name: &str, absent: bool) -> Result<bool, Refusal> {
        match self.value(name)?.as_deref() {
            None => Ok(absent),
            Some("1" | "true") => Ok(true),
            Some("0" | "false") => Ok(false),
            Some(_) => Err(bad(format!("\"{name}\" is neither 0 nor 1"))),
        }
    }
}

/// `None` if an escape is incomplete or the result is not UTF-8.
pub(super) fn percent_decode(raw: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    if !raw.bytes().any(|b| b == b'%' || (b == b'+' && plus_is_space)) {
        return Some(Cow::Borrowed(raw));
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn bad(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn escapes_are_whole_and_make_utf8() {
        assert_eq!(percent_decode("caf%C3%A9%2Fx", false).as_deref(), Some("café/x"));
        assert_eq!(percent_decode("a+b", false).as_deref(), Some("a+b"));
        assert_eq!(percent_decode("a+b%2b", true).as_deref(), Some("a b+"));
        for bad in ["%", "%4", "%zz", "%+1", "%ff", "%c3", "x%"] {
            assert_eq!(percent_decode(bad, false), None, "{bad:?}");
        }
    }

    #[test]
    fn a_parameter_given_twice_is_refused_only_if_it_matters() {
        let query = Query::parse("a=1&&b=2&a=3&c").unwrap();
        assert_eq!(query.value("b").unwrap().as_deref(), Some("2"));
        assert_eq!(query.value("c").unwrap().as_deref(), Some(""));
        assert_eq!(query.value("d").unwrap(), None);
        assert_eq!(query.value("a").unwrap_err().message, "\"a\" is given twice");
        assert!(Query::parse(&"a&".repeat(301)).is_err());
    }

    #[test]
    fn switches_are_zero_or_one() {
        let query = Query::parse("on=1&off=false&odd=yes").unwrap();
        assert!(query.flag("on", false).unwrap());
        assert!(!query.flag("off", true).unwrap());
        assert!(query.flag("none", true).unwrap());
        assert_eq!(query.flag("odd", true).unwrap_err().message, "\"odd\" is neither 0 nor 1");
    }
}
