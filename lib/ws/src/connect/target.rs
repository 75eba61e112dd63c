//! What the URL of a WebSocket says (RFC 6455 §3). Knows nothing of sockets.

use http::Uri;

use super::ConnectError;

/// What a URL says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// For the Host header.
    pub(crate) authority: String,
    pub(super) path: String,
}

impl Target {
    /// For a name lookup: an IPv6 address has brackets in URLs only.
    pub(crate) fn dial_host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        // RFC 6455 §3: a fragment has no meaning here. `Uri` would drop it silently.
        if url.contains('#') {
            return Err(ConnectError::Url("it has a fragment"));
        }
        let uri: Uri = url.parse().map_err(|_| ConnectError::Url("it cannot be parsed"))?;
        let tls = match uri.scheme_str() {
            // RFC 3986 §3.1: in any case.
            Some(scheme) if scheme.eq_ignore_ascii_case("ws") => false,
            Some(scheme) if scheme.eq_ignore_ascii_case("wss") => true,
            _ => return Err(ConnectError::Url("the scheme is not ws:// or wss://")),
        };
        let authority = uri.authority().ok_or(ConnectError::Url("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(ConnectError::Url("it has a user name; use an Authorization header"));
        }
        if authority.host().is_empty() {
            return Err(ConnectError::Url("it has no host"));
        }
        let port = match authority.port() {
            Some(port) => {
                port.as_str().parse().map_err(|_| ConnectError::Url("the port is not a number up to 65535"))?
            }
            None if authority.as_str().ends_with(':') || !authority.as_str().ends_with(authority.host()) => {
                return Err(ConnectError::Url("the port is not a number up to 65535"));
            }
            None => default_port(tls),
        };
        let host = authority.host().to_owned();
        let authority = if port == default_port(tls) { host.clone() } else { format!("{host}:{port}") };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        // `ws://host?query` has an empty path, which is sent as `/`.
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { tls, host, port, authority, path })
    }
}

const fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        type Parts = (bool, &'static str, u16, &'static str, &'static str);
        let table: &[(&str, Option<Parts>)] = &[
            ("ws://localhost:8080/chat", Some((false, "localhost", 8080, "localhost:8080", "/chat"))),
            ("ws://example.org", Some((false, "example.org", 80, "example.org", "/"))),
            ("wss://example.org/a?b=c", Some((true, "example.org", 443, "example.org", "/a?b=c"))),
            ("wss://example.org:443/", Some((true, "example.org", 443, "example.org", "/"))),
            ("ws://example.org:443/", Some((false, "example.org", 443, "example.org:443", "/"))),
            ("ws://[::1]:9/x", Some((false, "[::1]", 9, "[::1]:9", "/x"))),
            ("WSS://Example.org/A", Some((true, "Example.org", 443, "Example.org", "/A"))),
            ("ws://example.org?x=1", Some((false, "example.org", 80, "example.org", "/?x=1"))),
            ("http://example.org/", None),
            ("ws://", None),
            ("ws:///path", None),
            ("/path", None),
            ("ws://user:pass@example.org/", None),
            ("ws://example.org/#part", None),
            ("ws://example.org:99999/", None),
            ("ws://exa mple.org/", None),
        ];
        for (url, expected) in table {
            let found = Target::parse(url).ok();
            let found = found.as_ref().map(|t| (t.tls, &*t.host, t.port, &*t.authority, &*t.path));
            assert_eq!(found, *expected, "{url}");
        }
    }
}
