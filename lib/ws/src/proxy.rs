//! A client's HTTP proxy: what its URL says, and the tunnel through it. What is asked and answered is the state machine's.

use std::fmt;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use http::Uri;
use switchboard_ws_proto::handshake::{HandshakeError, TunnelHandshake};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::connect::Target;
use crate::{ConnectError, Connector};

impl Connector {
    /// Connects through an HTTP proxy, `http://proxy.example:3128` or `http://name:password@proxy.example:3128`: asks it by CONNECT for a tunnel to
    /// the server, for ws:// as for wss:// (RFC 6455 §4.1), and for HTTP/2 too. What goes through is TLS if the URL is wss://; what is said to
    /// the proxy is not, the password included. `None` is the default: no proxy, whatever the environment says.
    ///
    /// [`connect_through`](Self::connect_through) gives `dial` the proxy's host and port then, and [`connect_over`](Self::connect_over) takes a
    /// stream that has left the proxy behind. The tunnel has to stand within the [`dial_timeout`](Self::dial_timeout).
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use switchboard_ws::Connector;
    ///
    /// let connector = Connector::new().proxy(std::env::var("HTTPS_PROXY").ok());
    /// let (mut socket, _) = connector.connect("wss://example.org/").await?;
    /// socket.send("hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn proxy(mut self, url: Option<impl Into<String>>) -> Self {
        self.proxy = url.map(|url| ProxyUrl(url.into()));
        self
    }

    /// A stream to the target, by way of the proxy if there is one.
    pub(crate) async fn dial<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        target: &Target,
        dial: impl AsyncFnOnce(&str, u16) -> io::Result<S>,
    ) -> Result<S, ConnectError> {
        let Some(url) = &self.proxy else { return Ok(dial(target.dial_host(), target.port).await?) };
        let proxy = Proxy::parse(url)?;
        let (host, port) = proxy.address();
        let mut stream = dial(host, port).await?;
        proxy.tunnel(&mut stream, target).await?;
        Ok(stream)
    }
}

/// As it was given.
#[derive(Clone)]
pub(crate) struct ProxyUrl(String);

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may have a password.
        let host = Proxy::parse(self).map(|proxy| proxy.host);
        f.debug_tuple("ProxyUrl").field(&host.ok()).finish()
    }
}

struct Proxy {
    host: String,
    port: u16,
    /// `Proxy-Authorization` (RFC 9110 §11.7.2).
    authorization: Option<String>,
}

impl Proxy {
    fn parse(url: &ProxyUrl) -> Result<Self, ConnectError> {
        let wrong = ConnectError::Url("the proxy's is not http:// with a host and a port");
        let Ok(uri) = url.0.parse::<Uri>() else { return Err(wrong) };
        let Some(authority) = uri.authority().filter(|_| uri.scheme_str() == Some("http")) else { return Err(wrong) };
        if authority.host().is_empty() {
            return Err(wrong);
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str().ends_with(authority.host()) => 80,
            None => return Err(wrong),
        };
        let credentials = authority.as_str().rsplit_once('@').map(|(credentials, _)| decoded(credentials));
        let authorization = credentials.map(|credentials| format!("Basic {}", STANDARD.encode(credentials)));
        Ok(Self { host: authority.host().to_owned(), port, authorization })
    }

    /// Where to dial: an IPv6 address has brackets in URLs only.
    fn address(&self) -> (&str, u16) {
        (self.host.trim_matches(['[', ']']), self.port)
    }

    /// Makes of a stream to the proxy one to the target.
    async fn tunnel<S>(&self, stream: &mut S, target: &Target) -> Result<(), ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let authorization = self.authorization.iter().map(|value| ("Proxy-Authorization", value.as_str()));
        let headers: Vec<_> = authorization.collect();
        let mut handshake = TunnelHandshake::new(&target.host, target.port, &headers)?;
        stream.write_all(&handshake.request()).await?;
        stream.flush().await?;
        let mut buffer = BytesMut::with_capacity(ANSWER_BYTES);
        loop {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(ConnectError::Eof);
            }
            if handshake.receive(&mut buffer).map_err(|error| ConnectError::Proxy(Box::new(error)))? {
                break;
            }
        }
        if !buffer.is_empty() {
            // Neither in TLS nor here does a server speak first.
            let told = "something came through the proxy's tunnel before anything was said";
            return Err(io::Error::new(io::ErrorKind::InvalidData, told).into());
        }
        Ok(())
    }
}

pub(crate) fn said(error: &HandshakeError) -> String {
    match error {
        HandshakeError::Refused { status, reason, .. } => format!("answered {status} {reason}"),
        other => format!("does not speak HTTP: {other}"),
    }
}

/// Without the percent signs that stand for what a URL cannot have (RFC 3986 §2.1).
fn decoded(credentials: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(credentials.len());
    let mut rest = credentials.as_bytes();
    while let [first, behind @ ..] = rest {
        let escaped = behind.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = escaped.and_then(|digits| str::from_utf8(digits).ok()).and_then(|digits| {
            let digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(digits)?;
            u8::from_str_radix(digits, 16).ok()
        });
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
    }
    bytes
}

const ANSWER_BYTES: usize = 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        type Parts = (&'static str, u16, Option<&'static str>);
        let table: &[(&str, Option<Parts>)] = &[
            ("http://proxy.example:3128", Some(("proxy.example", 3128, None))),
            ("http://proxy.example/", Some(("proxy.example", 80, None))),
            ("http://[::1]:8080", Some(("::1", 8080, None))),
            ("http://Aladdin:open%20sesame@proxy:1", Some(("proxy", 1, Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")))),
            ("http://a:%zz%@proxy:1", Some(("proxy", 1, Some("Basic YTolenol")))),
            ("https://proxy:1", None),
            ("socks5://proxy:1", None),
            ("proxy:1", None),
            ("http://", None),
            ("http://:1", None),
            ("http://proxy:", None),
            ("http://proxy:99999", None),
            ("", None),
        ];
        for (url, expected) in table {
            let url = ProxyUrl((*url).into());
            let found = Proxy::parse(&url).ok();
            let found = found.as_ref().map(|proxy| (proxy.address(), proxy.authorization.as_deref()));
            assert_eq!(found, expected.map(|(host, port, said)| ((host, port), said)), "{}", url.0);
        }
        assert!(!format!("{:?}", ProxyUrl("http://a:s3cret@proxy:1".into())).contains("s3cret"));
    }
}
