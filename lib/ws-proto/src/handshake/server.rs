//! The server's side of the handshake over a raw stream of bytes.

use alloc::string::String;
use core::fmt;

use bytes::{Bytes, BytesMut};

use super::client::path_of;
use super::headers::{HEAD_BYTES_MAX, HEADERS_MAX, HeadEnd, Headers, InvalidHeader};
use super::{HttpVersion, Rejection, UpgradeRequest, accept_response};

/// Collects a request until its head is whole, then parses and checks it once. Each byte is looked at once while it is collected, in
/// however many pieces it comes; at most 64 KiB are held.
///
/// ```
/// use switchboard_ws_proto::handshake::ServerHandshake;
///
/// let mut handshake = ServerHandshake::new();
/// assert!(handshake.receive(b"GET /chat HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\n")?.is_none());
/// let request = handshake.receive(
///     b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81",
/// )?.unwrap();
/// assert_eq!(request.target, "/chat");
/// let response = request.accept(None, &[("X-Served-By", "me")]).unwrap();
/// // What the client sent behind its request: the first bytes for `Connection::receive`.
/// assert_eq!(&handshake.into_leftover()[..], b"\x81");
/// # Ok::<(), switchboard_ws_proto::handshake::Rejection>(())
/// ```
#[derive(Default)]
pub struct ServerHandshake {
    buffer: BytesMut,
    end: HeadEnd,
}

/// A request that may be upgraded, with all of its headers.
///
/// ```
/// # use switchboard_ws_proto::handshake::ServerHandshake;
/// # let mut handshake = ServerHandshake::new();
/// # let request = handshake.receive(b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
/// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n")?.expect("a whole request");
/// assert_eq!(request.target, "/chat");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ServerRequest {
    /// The path and query, whether the request had them alone or behind `http://` and a host (RFC 9112 §3.2).
    pub target: String,
    /// What the handshake is about.
    pub upgrade: UpgradeRequest,
    /// Everything.
    pub headers: Headers,
}

impl ServerHandshake {
    /// Waiting for a request.
    ///
    /// ```
    /// let handshake = switchboard_ws_proto::handshake::ServerHandshake::new();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes; the request once its head is whole, after which nothing more may be given.
    ///
    /// ```
    /// use switchboard_ws_proto::handshake::ServerHandshake;
    ///
    /// let mut handshake = ServerHandshake::new();
    /// // More is needed.
    /// assert!(handshake.receive(b"GET /chat HT")?.is_none());
    /// # Ok::<(), switchboard_ws_proto::handshake::Rejection>(())
    /// ```
    ///
    /// # Errors
    /// Send [`Rejection::response`] and close the connection.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<ServerRequest>, Rejection> {
        if self.buffer.is_empty() && bytes.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
            // Not worth waiting for its end: TLS or another protocol on the wrong port.
            return Err(Rejection::Malformed("method"));
        }
        self.buffer.extend_from_slice(bytes);
        let Some(length) = self.end.find(&self.buffer) else {
            return if self.buffer.len() >= HEAD_BYTES_MAX { Err(Rejection::HeadersTooLarge) } else { Ok(None) };
        };
        if length > HEAD_BYTES_MAX {
            return Err(Rejection::HeadersTooLarge);
        }
        parse(&self.buffer.split_to(length).freeze()).map(Some)
    }

    /// What came behind the head.
    ///
    /// ```
    /// # use switchboard_ws_proto::handshake::ServerHandshake;
    /// # let mut handshake = ServerHandshake::new();
    /// # let request = handshake.receive(b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n")?.expect("a whole request");
    /// assert!(handshake.into_leftover().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_leftover(self) -> BytesMut {
        self.buffer
    }
}

impl fmt::Debug for ServerHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What came may be cookies and tokens.
        f.debug_struct("ServerHandshake").field("received", &self.buffer.len()).finish()
    }
}

impl fmt::Debug for ServerRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query may have a token.
        let Self { target, upgrade, headers } = self;
        let mut shown = f.debug_struct("ServerRequest");
        shown.field("path", &path_of(target)).field("upgrade", upgrade).field("headers", headers).finish()
    }
}

impl ServerRequest {
    /// The answer that upgrades. See [`accept_response`].
    ///
    /// ```
    /// # use switchboard_ws_proto::handshake::ServerHandshake;
    /// # let mut handshake = ServerHandshake::new();
    /// # let request = handshake.receive(b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n")?.expect("a whole request");
    /// let response = request.accept(Some("chat"), &[])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`accept_response`].
    pub fn accept(&self, subprotocol: Option<&str>, headers: &[(&str, &str)]) -> Result<Bytes, InvalidHeader> {
        accept_response(&self.upgrade, subprotocol, headers)
    }

    /// As [`accept`](Self::accept), with compression as [`UpgradeRequest::deflate`] has agreed it.
    ///
    /// ```
    /// # use switchboard_ws_proto::handshake::ServerHandshake;
    /// # let mut handshake = ServerHandshake::new();
    /// # let request = handshake.receive(b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n")?.expect("a whole request");
    /// let response = request.accept_with(Some("chat"), None, &[])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`accept_response`].
    #[cfg(feature = "deflate")]
    pub fn accept_with(
        &self,
        subprotocol: Option<&str>,
        deflate: Option<&crate::deflate::Params>,
        headers: &[(&str, &str)],
    ) -> Result<Bytes, InvalidHeader> {
        super::accept_response_with(&self.upgrade, subprotocol, deflate, headers)
    }
}

/// Its array of headers does not belong into the frame of a task that lives on after the handshake.
#[inline(never)]
fn parse(head: &Bytes) -> Result<ServerRequest, Rejection> {
    // Where one reader takes a line break without CR for the end of a line, another sees one header that goes on.
    // All bytes are looked at and nothing branches, so that the compiler makes vectors of it.
    let pairs = head.iter().zip(head.get(1..).unwrap_or_default());
    if pairs.fold(false, |bare, (&before, &byte)| bare | ((byte == b'\n') & (before != b'\r'))) {
        return Err(Rejection::Malformed("line breaks"));
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Rejection::Malformed("line breaks")),
        Err(httparse::Error::TooManyHeaders) => return Err(Rejection::HeadersTooLarge),
        Err(httparse::Error::Version) => return Err(Rejection::HttpVersionNotSupported),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => return Err(Rejection::Malformed("header")),
        Err(_) => return Err(Rejection::Malformed("request line")),
    }
    let version = if request.version == Some(1) { HttpVersion::Http11 } else { HttpVersion::Http10 };
    let fields = request.headers.iter().map(|header| (header.name, header.value));
    let mut upgrade = UpgradeRequest::check(request.method.unwrap_or_default(), version, fields)?;
    let (authority, target) =
        read_target(request.path.unwrap_or_default()).ok_or(Rejection::Malformed("request target"))?;
    if let Some(authority) = authority {
        // RFC 9112 §3.2.2: it stands above the Host header.
        upgrade.host = authority.into();
    }
    let headers = Headers::new(head.clone(), request.headers);
    Ok(ServerRequest { target, upgrade, headers })
}

/// The authority, if there is one, and the path with the query (RFC 9112 §3.2). A fragment is the client's own affair (RFC 6455 §3).
fn read_target(target: &str) -> Option<(Option<&str>, String)> {
    if target.contains('#') {
        return None;
    }
    if target.starts_with('/') {
        return Some((None, target.into()));
    }
    let (scheme, rest) = target.split_once("://")?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    Some((Some(authority), if path.starts_with('/') { path.into() } else { String::from("/") + path }))
}
