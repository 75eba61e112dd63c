//! The client's side of the handshake over HTTP/1.1 (RFC 6455 §4.1), and what it has in common with that over HTTP/2.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};

use super::headers::{HEAD_BYTES_MAX, HEADERS_MAX, HeadEnd, Headers, InvalidHeader, is_value, write_header, write_own};
use super::tokens::{contains, is_token};

use super::accept_key;

/// What the client asks for.
///
/// ```
/// use switchboard_ws_proto::handshake::ClientRequest;
/// let request = ClientRequest { subprotocols: vec!["mqtt".into()], ..ClientRequest::new("example.org", "/mqtt") };
/// ```
#[derive(Clone, Default)]
pub struct ClientRequest {
    /// `Host`: the URL's host, with the port unless it is the scheme's own.
    pub host: String,
    /// The URL's path and query, beginning with `/`.
    pub target: String,
    /// `Origin`, which browsers send.
    pub origin: Option<String>,
    /// The subprotocols to offer, the preferred one first.
    pub subprotocols: Vec<String>,
    /// More headers.
    pub headers: Vec<(String, String)>,
    /// Compression to offer.
    #[cfg(feature = "deflate")]
    pub deflate: Option<crate::deflate::Offer>,
}

impl ClientRequest {
    /// A plain request.
    ///
    /// ```
    /// use switchboard_ws_proto::handshake::ClientRequest;
    ///
    /// let mut request = ClientRequest::new("example.org", "/chat");
    /// request.subprotocols.push("chat".into());
    /// ```
    pub fn new(host: impl Into<String>, target: impl Into<String>) -> Self {
        Self { host: host.into(), target: target.into(), ..Self::default() }
    }
}

impl fmt::Debug for ClientRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Tokens travel in headers, in queries and as subprotocols.
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let mut shown = f.debug_struct("ClientRequest");
        shown.field("host", &self.host).field("path", &path_of(&self.target)).field("origin", &self.origin);
        shown.field("subprotocols", &self.subprotocols.len()).field("headers", &headers).finish_non_exhaustive()
    }
}

/// Writes the request, then reads the response.
///
/// ```
/// use bytes::BytesMut;
/// use switchboard_ws_proto::handshake::{ClientHandshake, ClientRequest};
///
/// // The key is 16 random bytes, anew for each connection.
/// let mut handshake = ClientHandshake::new(ClientRequest::new("example.org", "/"), *b"the sample nonce")?;
/// assert!(handshake.request().starts_with(b"GET / HTTP/1.1\r\nHost: example.org\r\n"));
/// let mut read = BytesMut::from(
///     &b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81"[..],
/// );
/// assert!(handshake.receive(&mut read)?.is_some());
/// // What is left is the server's first frames.
/// assert_eq!(&read[..], b"\x81");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ClientHandshake {
    request: Bytes,
    accept: String,
    offered: Offered,
    responses: Responses,
}

/// The server agreed.
///
/// ```
/// use switchboard_ws_proto::handshake::ClientResponse;
///
/// fn server(response: &ClientResponse) -> Option<&[u8]> {
///     response.headers.get("server")
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientResponse {
    /// One of those that were offered, if the server chose one.
    pub subprotocol: Option<String>,
    /// The compression that the server agreed to.
    #[cfg(feature = "deflate")]
    pub deflate: Option<crate::deflate::Params>,
    /// Everything.
    pub headers: Headers,
}

/// The server did not agree, or not properly.
///
/// ```
/// use switchboard_ws_proto::handshake::HandshakeError;
///
/// fn later(error: &HandshakeError) -> bool {
///     matches!(error, HandshakeError::Refused { status: 503, .. })
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The bytes are not HTTP/1.1.
    #[error("the response is not HTTP/1.1")]
    Malformed,
    /// More than 64 KiB or 124 headers.
    #[error("the response's headers are too large")]
    HeadersTooLarge,
    /// An ordinary HTTP answer: a redirect, a demand for authentication, an error.
    #[error("the server answered {status} {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's phrase for it.
        reason: String,
        /// Everything.
        headers: Headers,
        /// What had come of the body, which may be all, some or nothing.
        body: Bytes,
    },
    /// This header is missing or wrong in a response that claims to upgrade.
    #[error("the {0} header of the response is missing or wrong")]
    WrongHeader(&'static str),
    /// The server chose a subprotocol that was not offered.
    #[error("the server chose the subprotocol {0:?}, which was not offered")]
    SubprotocolNotOffered(String),
    /// The server uses an extension that was not offered.
    #[error("the server chose an extension, and none was offered")]
    ExtensionNotOffered,
    /// The server's answer to the offer of compression is none.
    #[cfg(feature = "deflate")]
    #[error(transparent)]
    Deflate(#[from] crate::deflate::NegotiationError),
}

impl ClientHandshake {
    /// `key` is 16 random bytes (§4.1).
    ///
    /// ```
    /// use switchboard_ws_proto::handshake::{ClientHandshake, ClientRequest};
    ///
    /// // Random bytes, in earnest.
    /// let handshake = ClientHandshake::new(ClientRequest::new("example.org", "/"), [7; 16])?;
    /// # Ok::<(), switchboard_ws_proto::handshake::InvalidHeader>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidHeader`] names the part of the request that cannot be written.
    pub fn new(request: ClientRequest, key: [u8; 16]) -> Result<Self, InvalidHeader> {
        let key = STANDARD.encode(key);
        Ok(Self {
            request: write_request(&request, &key)?,
            accept: accept_key(&key),
            offered: Offered::new(request),
            responses: Responses::default(),
        })
    }

    /// The bytes to send.
    ///
    /// ```
    /// use switchboard_ws_proto::handshake::{ClientHandshake, ClientRequest};
    ///
    /// let handshake = ClientHandshake::new(ClientRequest::new("example.org", "/chat"), [7; 16])?;
    /// assert!(handshake.request().starts_with(b"GET /chat HTTP/1.1\r\n"));
    /// # Ok::<(), switchboard_ws_proto::handshake::InvalidHeader>(())
    /// ```
    pub fn request(&self) -> Bytes {
        self.request.clone()
    }

    /// Takes the response from the beginning of `buffer` once its head is whole; until then leaves the buffer for more to be appended. What
    /// stays behind the head are frames.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use switchboard_ws_proto::handshake::{ClientHandshake, ClientRequest};
    ///
    /// let mut handshake = ClientHandshake::new(ClientRequest::new("example.org", "/"), [7; 16])?;
    /// // More is needed.
    /// assert!(handshake.receive(&mut BytesMut::from("HTTP/1.1 101 "))?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Every [`HandshakeError`]; the connection is of no use then.
    pub fn receive(&mut self, buffer: &mut BytesMut) -> Result<Option<ClientResponse>, HandshakeError> {
        match self.responses.next(buffer)? {
            None => Ok(None),
            Some((101, _, headers)) => self.check(headers).map(Some),
            Some((status, reason, headers)) => {
                Err(HandshakeError::Refused { status, reason, headers, body: buffer.split().freeze() })
            }
        }
    }

    fn check(&self, headers: Headers) -> Result<ClientResponse, HandshakeError> {
        if !headers.get_all("upgrade").any(|value| value.eq_ignore_ascii_case(b"websocket")) {
            return Err(HandshakeError::WrongHeader("Upgrade"));
        }
        if !headers.get_all("connection").any(|value| contains(value, "upgrade")) {
            return Err(HandshakeError::WrongHeader("Connection"));
        }
        if !headers.get_all("sec-websocket-accept").eq([self.accept.as_bytes()]) {
            return Err(HandshakeError::WrongHeader("Sec-WebSocket-Accept"));
        }
        self.offered.check(headers)
    }
}

impl fmt::Debug for ClientHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The request has secrets.
        f.debug_struct("ClientHandshake").field("responses", &self.responses).finish_non_exhaustive()
    }
}

/// A target without its query.
pub(super) fn path_of(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// Finds the head of the final response, or of one that switches protocols.
#[derive(Debug, Default)]
pub(super) struct Responses {
    end: HeadEnd,
    received: usize,
}

impl Responses {
    /// Takes it from the beginning of `buffer` once it is whole, with the interim ones before it.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<(u16, String, Headers)>, HandshakeError> {
        loop {
            let Some(length) = self.end.find(buffer) else {
                let too_large = self.received + buffer.len() >= HEAD_BYTES_MAX;
                return if too_large { Err(HandshakeError::HeadersTooLarge) } else { Ok(None) };
            };
            self.received += length;
            if self.received > HEAD_BYTES_MAX {
                return Err(HandshakeError::HeadersTooLarge);
            }
            let head = buffer.split_to(length).freeze();
            self.end = HeadEnd::default();
            let response = parse(&head)?;
            // RFC 9110 §15.2: other interim responses may come first.
            if response.0 == 101 || !(100..200).contains(&response.0) {
                return Ok(Some(response));
            }
        }
    }
}

/// What a request offers, by which its response is checked.
pub(super) struct Offered {
    subprotocols: Vec<String>,
    #[cfg(feature = "deflate")]
    deflate: Option<crate::deflate::Offer>,
}

impl Offered {
    pub(super) fn new(request: ClientRequest) -> Self {
        Self {
            subprotocols: request.subprotocols,
            #[cfg(feature = "deflate")]
            deflate: request.deflate,
        }
    }

    /// The headers that both versions of HTTP share.
    pub(super) fn check(&self, headers: Headers) -> Result<ClientResponse, HandshakeError> {
        #[cfg(feature = "deflate")]
        let deflate = self.check_deflate(&headers)?;
        #[cfg(not(feature = "deflate"))]
        check_no_extensions(&headers)?;
        let mut chosen = headers.get_all("sec-websocket-protocol");
        let subprotocol = chosen.next().map(|value| String::from_utf8_lossy(value).into_owned());
        if chosen.next().is_some() {
            return Err(HandshakeError::WrongHeader("Sec-WebSocket-Protocol"));
        }
        drop(chosen);
        if let Some(chosen) = &subprotocol
            && !self.subprotocols.contains(chosen)
        {
            return Err(HandshakeError::SubprotocolNotOffered(chosen.clone()));
        }
        Ok(ClientResponse {
            subprotocol,
            #[cfg(feature = "deflate")]
            deflate,
            headers,
        })
    }

    #[cfg(feature = "deflate")]
    fn check_deflate(&self, headers: &Headers) -> Result<Option<crate::deflate::Params>, HandshakeError> {
        let Some(offer) = &self.deflate else { return check_no_extensions(headers).map(|()| None) };
        let lines = headers.get_all("sec-websocket-extensions").map(core::str::from_utf8);
        let lines: Vec<&str> =
            lines.collect::<Result<_, _>>().map_err(|_| crate::deflate::NegotiationError::Malformed)?;
        Ok(offer.check(lines)?)
    }
}

fn check_no_extensions(headers: &Headers) -> Result<(), HandshakeError> {
    let chosen = headers.get_all("sec-websocket-extensions").any(|value| !value.is_empty());
    if chosen { Err(HandshakeError::ExtensionNotOffered) } else { Ok(()) }
}

/// Its array of headers does not belong into the frame of a task that lives on after the handshake.
#[inline(never)]
fn parse(head: &Bytes) -> Result<(u16, String, Headers), HandshakeError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError::HeadersTooLarge),
        _ => return Err(HandshakeError::Malformed),
    }
    if response.version != Some(1) && response.code == Some(101) {
        return Err(HandshakeError::Malformed);
    }
    let reason = String::from(response.reason.unwrap_or_default());
    let headers = Headers::new(head.clone(), response.headers);
    Ok((response.code.unwrap_or_default(), reason, headers))
}

fn write_request(request: &ClientRequest, key: &str) -> Result<Bytes, InvalidHeader> {
    let own = own_headers(request)?;
    let mut out = BytesMut::with_capacity(512);
    for part in ["GET ", &request.target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    write_own(&mut out, "Host", &request.host);
    write_own(&mut out, "Upgrade", "websocket");
    write_own(&mut out, "Connection", "Upgrade");
    write_own(&mut out, "Sec-WebSocket-Key", key);
    for (name, value) in own {
        write_own(&mut out, name, &value);
    }
    if let Some(origin) = &request.origin {
        write_header(&mut out, "Origin", origin)?;
    }
    for (name, value) in &request.headers {
        write_header(&mut out, name, value)?;
    }
    out.extend_from_slice(b"\r\n");
    Ok(out.freeze())
}

/// Checks the head of a request, and makes the headers that both versions of HTTP share.
pub(super) fn own_headers(request: &ClientRequest) -> Result<Vec<(&'static str, String)>, InvalidHeader> {
    let target_is_written_safely = request.target.bytes().all(|byte| byte.is_ascii_graphic());
    if !request.target.starts_with('/') || !target_is_written_safely {
        return Err(InvalidHeader("(request target)".into()));
    }
    if request.host.is_empty() || !is_value(&request.host) {
        return Err(InvalidHeader("Host".into()));
    }
    let mut headers = Vec::from([("Sec-WebSocket-Version", String::from("13"))]);
    if !request.subprotocols.is_empty() {
        if !request.subprotocols.iter().all(|subprotocol| is_token(subprotocol)) {
            return Err(InvalidHeader("Sec-WebSocket-Protocol".into()));
        }
        headers.push(("Sec-WebSocket-Protocol", request.subprotocols.join(", ")));
    }
    #[cfg(feature = "deflate")]
    if let Some(offer) = &request.deflate {
        headers.push(("Sec-WebSocket-Extensions", alloc::string::ToString::to_string(offer)));
    }
    Ok(headers)
}
