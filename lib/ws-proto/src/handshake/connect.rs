//! The client's side of the handshake over HTTP/2 (RFC 8441 §5). Knows nothing of frames, streams and settings.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::client::{ClientRequest, ClientResponse, HandshakeError, Offered, own_headers};
use super::headers::{Headers, InvalidHeader, check_header};

/// Makes the headers of an extended CONNECT, then checks the response. The pseudo-headers are the caller's to write: `:method` `CONNECT`,
/// `:protocol` `websocket`, `:scheme` `https` or `http`, and `:authority` and `:path` as [`ClientRequest::host`] and
/// [`ClientRequest::target`].
///
/// ```
/// use switchboard_ws_proto::handshake::{ClientRequest, ConnectHandshake};
///
/// let request = ClientRequest { subprotocols: vec!["chat".into()], ..ClientRequest::new("example.org", "/") };
/// let handshake = ConnectHandshake::new(request)?;
/// let headers: Vec<(&str, &str)> = handshake.headers().collect();
/// assert_eq!(headers, [("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat")]);
///
/// let response = handshake.check(200, [("sec-websocket-protocol", &b"chat"[..])])?;
/// assert_eq!(response.subprotocol.as_deref(), Some("chat"));
/// assert!(handshake.check(404, []).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ConnectHandshake {
    headers: Vec<(String, String)>,
    offered: Offered,
}

impl ConnectHandshake {
    /// For a request with this host and target.
    ///
    /// ```
    /// use switchboard_ws_proto::handshake::{ClientRequest, ConnectHandshake};
    ///
    /// let handshake = ConnectHandshake::new(ClientRequest::new("example.org", "/"))?;
    /// # Ok::<(), switchboard_ws_proto::handshake::InvalidHeader>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidHeader`] names the part of the request that cannot be written.
    pub fn new(request: ClientRequest) -> Result<Self, InvalidHeader> {
        let own = own_headers(&request)?;
        let mut headers: Vec<_> = own.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        let origin = request.origin.as_ref().map(|origin| ("origin", origin.as_str()));
        let more = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in origin.into_iter().chain(more) {
            check_header(name, value)?;
            // RFC 9113 §8.2.2: these belong to a connection of HTTP/1.1.
            if HTTP1_ONLY.iter().any(|only| name.eq_ignore_ascii_case(only)) {
                return Err(InvalidHeader(name.into()));
            }
            // RFC 9113 §8.2.1: names are in lower case.
            headers.push((name.to_ascii_lowercase(), value.into()));
        }
        Ok(Self { headers, offered: Offered::new(request) })
    }

    /// The headers to send.
    ///
    /// ```
    /// use switchboard_ws_proto::handshake::{ClientRequest, ConnectHandshake};
    ///
    /// let handshake = ConnectHandshake::new(ClientRequest::new("example.org", "/"))?;
    /// assert!(handshake.headers().any(|(name, value)| (name, value) == ("sec-websocket-version", "13")));
    /// # Ok::<(), switchboard_ws_proto::handshake::InvalidHeader>(())
    /// ```
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Checks the response: any status of success opens the WebSocket (§5), there is no accept value.
    ///
    /// ```
    /// use switchboard_ws_proto::handshake::{ClientRequest, ConnectHandshake};
    ///
    /// let handshake = ConnectHandshake::new(ClientRequest::new("example.org", "/"))?;
    /// assert!(handshake.check(200, []).is_ok() && handshake.check(404, []).is_err());
    /// # Ok::<(), switchboard_ws_proto::handshake::InvalidHeader>(())
    /// ```
    ///
    /// # Errors
    /// [`HandshakeError`]. The stream is of no use then, the HTTP/2 connection is.
    pub fn check<'a>(
        &self,
        status: u16,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<ClientResponse, HandshakeError> {
        let headers = Headers::collect(headers.into_iter());
        if (200..300).contains(&status) {
            return self.offered.check(headers);
        }
        // HTTP/2 has no reason phrase.
        Err(HandshakeError::Refused { status, reason: String::new(), headers, body: bytes::Bytes::new() })
    }
}

impl fmt::Debug for ConnectHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names only: values hold cookies and tokens.
        f.debug_list().entries(self.headers().map(|(name, _)| name)).finish()
    }
}

const HTTP1_ONLY: &[&str] = &["keep-alive", "proxy-connection", "te"];
