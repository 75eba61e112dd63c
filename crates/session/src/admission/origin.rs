//! Which pages may connect: origins (RFC 6454) and the patterns that allow them. Anything that is not plainly an origin matches nothing.

use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

/// An origin, or a set of them:
///
/// - `https://example.com`, `http://localhost:5173`: just this one. Scheme and host in any case, a default port written or not.
/// - `https://*.example.com`: every host below `example.com`, at any depth, but not `example.com` itself.
/// - `http://localhost:*`: any port.
/// - `*`: every page on the web. Sandboxed pages and local files, whose origin is `null`, are not among them.
/// - `null`: those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Any,
    Null,
    Of { scheme: Box<str>, below: bool, host: Box<str>, port: Port },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Any,
    Is(u16),
    /// None was written, and the scheme has no default.
    Absent,
}

/// Why a text is no origin pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginPatternError {
    /// There is no `scheme://`.
    #[error("an origin begins with a scheme, as in https://example.com")]
    Scheme,
    /// There is a path, a query or a user name.
    #[error("an origin is scheme, host and port only, as in https://example.com:8443")]
    Extra,
    /// The host is empty or has characters that no host has.
    #[error("the host has to be ASCII without spaces (an international name in its xn-- form)")]
    Host,
    /// A `*` stands elsewhere than as the whole first label or the whole port.
    #[error("'*' stands for the whole first part of a host (https://*.example.com), for a port, or alone")]
    Wildcard,
    /// The port is no number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
}

impl OriginPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(raw: &str) -> Result<Self, OriginPatternError> {
        match raw {
            "*" => return Ok(Self(Kind::Any)),
            "null" => return Ok(Self(Kind::Null)),
            _ => {}
        }
        let (scheme, rest) = split_scheme(raw).ok_or(OriginPatternError::Scheme)?;
        if rest.contains(['/', '?', '#', '@', '\\']) {
            return Err(OriginPatternError::Extra);
        }
        let (below, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (rest, any_port) = match rest.strip_suffix(":*") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        if rest.contains('*') {
            return Err(OriginPatternError::Wildcard);
        }
        let (host, port) = split_port(rest).ok_or(OriginPatternError::Port)?;
        let host = normal_host(host).ok_or(OriginPatternError::Host)?;
        if below && (host.starts_with('[') || host.bytes().all(|b| b.is_ascii_digit() || b == b'.')) {
            return Err(OriginPatternError::Wildcard);
        }
        if any_port && port.is_some() {
            return Err(OriginPatternError::Port);
        }
        let port = if any_port { Port::Any } else { effective_port(&scheme, port) };
        Ok(Self(Kind::Of { scheme: scheme.into(), below, host: host.into(), port }))
    }

    /// Whether a browser that sends this `Origin` header may connect.
    pub fn matches(&self, origin: &str) -> bool {
        let Kind::Of { scheme, below, host, port } = &self.0 else {
            return match self.0 {
                Kind::Null => origin == "null",
                _ => Origin::parse(origin).is_some(),
            };
        };
        let Some(origin) = Origin::parse(origin) else { return false };
        let host_matches = if *below {
            // The dot is what tells a.example.com from evil-example.com.
            origin.host.strip_suffix(&**host).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            *origin.host == **host
        };
        host_matches && *origin.scheme == **scheme && (*port == Port::Any || *port == origin.port)
    }

    /// Whether it allows pages of any host.
    pub fn is_any(&self) -> bool {
        self.0 == Kind::Any
    }
}

impl FromStr for OriginPattern {
    type Err = OriginPatternError;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        Self::parse(raw)
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Any => f.write_str("*"),
            Kind::Null => f.write_str("null"),
            Kind::Of { scheme, below, host, port } => {
                write!(f, "{scheme}://{}{host}", if *below { "*." } else { "" })?;
                match port {
                    Port::Any => f.write_str(":*"),
                    Port::Is(port) if default_port(scheme) != Some(*port) => write!(f, ":{port}"),
                    Port::Is(_) | Port::Absent => Ok(()),
                }
            }
        }
    }
}

/// A page's origin, as a header gives it.
struct Origin {
    scheme: String,
    host: String,
    port: Port,
}

impl Origin {
    fn parse(raw: &str) -> Option<Self> {
        let (scheme, rest) = split_scheme(raw)?;
        let (host, port) = split_port(rest)?;
        let host = normal_host(host)?;
        let port = effective_port(&scheme, port);
        Some(Self { scheme, host, port })
    }
}

fn split_scheme(raw: &str) -> Option<(String, &str)> {
    let (scheme, rest) = raw.split_once("://")?;
    let good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    good.then(|| (scheme.to_ascii_lowercase(), rest))
}

/// Host and port. `None` if what stands where the port should be is no port.
fn split_port(rest: &str) -> Option<(&str, Option<u16>)> {
    let after_address = rest.rfind(']').map_or(0, |end| end + 1);
    let Some(colon) = rest.get(after_address..)?.find(':') else { return Some((rest, None)) };
    let (host, port) = rest.split_at_checked(after_address + colon)?;
    let port = port.strip_prefix(':')?;
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    match port.parse() {
        Ok(0) | Err(_) => None,
        Ok(port) => Some((host, Some(port))),
    }
}

/// Lower case; an IPv6 address in its one spelling. A trailing dot is kept: to browsers it is another origin.
fn normal_host(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let good = !host.is_empty()
        && host.len() <= 255
        && !host.starts_with('.')
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    good.then(|| host.to_ascii_lowercase())
}

fn effective_port(scheme: &str, port: Option<u16>) -> Port {
    port.or_else(|| default_port(scheme)).map_or(Port::Absent, Port::Is)
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// Each line: a pattern, what it matches, what it does not.
    const CORPUS: &[(&str, &[&str], &[&str])] = &[
        (
            "https://example.com",
            &["https://example.com", "HTTPS://EXAMPLE.com", "https://example.com:443"],
            &[
                "http://example.com",
                "https://example.com:8443",
                "https://example.com:0443x",
                "https://example.com.",
                "https://example.com.evil.com",
                "https://evil-example.com",
                "https://sub.example.com",
                "https://example.com@evil.com",
                "https://user:pass@example.com",
                "https://evil.com/https://example.com",
                "https://example.com/",
                "https://example.com/path",
                "https://example.com#x",
                "https://example.com?x",
                "https://example.com\\",
                "https://example.com evil",
                " https://example.com",
                "https://example.com\t",
                "https://еxample.com",
                "https://xn--xample-2of.com",
                "https://example%2ecom",
                "https:example.com",
                "//example.com",
                "example.com",
                "https://",
                "https://:443",
                "https://example.com:",
                "https://example.com:99999",
                "https://example.com:+443",
                "https://example.com:443:443",
                "null",
                "",
                "*",
            ],
        ),
        (
            "https://*.example.com",
            &["https://a.example.com", "https://a.b.example.com", "https://A.EXAMPLE.COM:443"],
            &[
                "https://example.com",
                "https://.example.com",
                "https://evil-example.com",
                "https://evilexample.com",
                "https://a.example.com.evil.com",
                "https://a.example.com.",
                "http://a.example.com",
                "https://a.example.com:8443",
                "https://evil.com@a.example.com",
                "https://evil.com/.example.com",
                "https://*.example.com",
                "null",
            ],
        ),
        (
            "http://localhost:5173",
            &["http://localhost:5173"],
            &["http://localhost", "http://localhost:51730", "http://127.0.0.1:5173"],
        ),
        (
            "http://localhost:*",
            &["http://localhost", "http://localhost:5173"],
            &["https://localhost", "http://localhost.evil.com:80"],
        ),
        (
            "http://[::1]:8080",
            &["http://[::1]:8080", "http://[0:0:0:0:0:0:0:1]:8080"],
            &["http://[::1]", "http://[::2]:8080", "http://::1:8080", "http://[::1:8080"],
        ),
        (
            "http://127.0.0.1:8080",
            &["http://127.0.0.1:8080"],
            &["http://127.1:8080", "http://2130706433:8080", "http://127.0.0.1.evil.com:8080"],
        ),
        (
            "*",
            &["https://anything.example", "http://x:1", "capacitor://localhost"],
            &["null", "", "file://", "*", "https://a b"],
        ),
        ("null", &["null"], &["NULL", "", "https://null", "null://x"]),
        ("capacitor://localhost", &["capacitor://localhost"], &["http://localhost", "capacitor://localhost:1"]),
        ("https://xn--bcher-kva.example", &["https://xn--bcher-kva.example"], &["https://bücher.example"]),
    ];

    #[test]
    fn origins_match_exactly_what_is_meant() {
        for (pattern, matching, other) in CORPUS {
            let parsed = OriginPattern::parse(pattern).unwrap();
            for origin in *matching {
                assert!(parsed.matches(origin), "{pattern} should match {origin:?}");
            }
            for origin in *other {
                assert!(!parsed.matches(origin), "{pattern} should not match {origin:?}");
            }
        }
    }

    #[test]
    fn bad_patterns_say_what_is_wrong() {
        use OriginPatternError as E;
        for (raw, error) in [
            ("", E::Scheme),
            ("example.com", E::Scheme),
            ("1http://x", E::Scheme),
            ("https://example.com/", E::Extra),
            ("https://user@example.com", E::Extra),
            ("https://", E::Host),
            ("https://bücher.example", E::Host),
            ("https://exa mple.com", E::Host),
            ("https://*example.com", E::Wildcard),
            ("https://a.*.example.com", E::Wildcard),
            ("https://*", E::Wildcard),
            ("https://*.127.0.0.1", E::Wildcard),
            ("https://*.[::1]", E::Wildcard),
            ("https://x:0", E::Port),
            ("https://x:y", E::Port),
            ("https://x:65536", E::Port),
            ("https://x:1:*", E::Port),
        ] {
            assert_eq!(OriginPattern::parse(raw), Err(error), "{raw:?}");
        }
    }

    #[test]
    fn patterns_are_shown_as_they_are_written() {
        for (raw, shown) in [
            ("*", "*"),
            ("null", "null"),
            ("https://*.Example.com:443", "https://*.example.com"),
            ("http://localhost:*", "http://localhost:*"),
            ("http://[0::1]:80", "http://[::1]"),
        ] {
            assert_eq!(OriginPattern::parse(raw).unwrap().to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_a_shown_pattern_is_the_same(raw in "\\PC{0,40}", origin in "\\PC{0,40}") {
            if let Ok(pattern) = OriginPattern::parse(&raw) {
                pattern.matches(&origin);
                prop_assert_eq!(OriginPattern::parse(&pattern.to_string()), Ok(pattern));
            }
        }

        #[test]
        fn a_wildcard_never_leaves_its_domain(before in "[a-z.@/:#-]{0,12}", after in "[a-z.@/:#-]{0,12}") {
            let origin = format!("https://{before}example.com{after}");
            let pattern = OriginPattern::parse("https://*.example.com").unwrap();
            if pattern.matches(&origin) {
                prop_assert!(before.ends_with('.') && before.len() > 1);
                prop_assert!(!before.contains(['@', '/', ':', '#']));
                // No more than the default port may follow, and this alphabet has no digits.
                prop_assert!(after.is_empty() || after.ends_with(".example.com"));
            }
        }
    }
}
