//! A client's way through an HTTP proxy (RFC 9110 §9.3.6, RFC 6455 §4.1): asks it for a tunnel to the server. Knows nothing of what goes through.

use core::fmt;

use bytes::{Bytes, BytesMut};

use super::client::{HandshakeError, Responses};
use super::headers::{InvalidHeader, is_value, write_header, write_own};

/// Writes the CONNECT, then reads the proxy's answer. Behind it the stream is the server's: for TLS, or the opening handshake.
///
/// ```
/// use bytes::BytesMut;
/// use switchboard_ws_proto::handshake::TunnelHandshake;
///
/// let mut handshake = TunnelHandshake::new("example.org", 443, &[("Proxy-Authorization", "Basic QWxhZGRpbg==")])?;
/// assert!(handshake.request().starts_with(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n"));
/// let mut read = BytesMut::from("HTTP/1.1 200 Connection established\r\n\r\n");
/// assert!(handshake.receive(&mut read)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TunnelHandshake {
    request: Bytes,
    responses: Responses,
}

impl TunnelHandshake {
    /// To a host (an IPv6 address in brackets) and a port.
    ///
    /// ```
    /// use switchboard_ws_proto::handshake::TunnelHandshake;
    ///
    /// assert!(TunnelHandshake::new("[::1]", 80, &[]).is_ok());
    /// assert!(TunnelHandshake::new("example.org\r\nX: y", 80, &[]).is_err());
    /// ```
    ///
    /// # Errors
    /// [`InvalidHeader`] names the header that cannot be written, the host's among them.
    pub fn new(host: &str, port: u16, headers: &[(&str, &str)]) -> Result<Self, InvalidHeader> {
        if host.is_empty() || host.contains([' ', '\t', '/']) || !is_value(host) {
            return Err(InvalidHeader("Host".into()));
        }
        let authority = alloc::format!("{host}:{port}");
        let mut out = BytesMut::with_capacity(256);
        for part in ["CONNECT ", &authority, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        write_own(&mut out, "Host", &authority);
        for (name, value) in headers {
            write_header(&mut out, name, value)?;
        }
        out.extend_from_slice(b"\r\n");
        Ok(Self { request: out.freeze(), responses: Responses::default() })
    }

    /// The bytes to send.
    ///
    /// ```
    /// use switchboard_ws_proto::handshake::TunnelHandshake;
    ///
    /// let handshake = TunnelHandshake::new("example.org", 443, &[])?;
    /// assert!(handshake.request().starts_with(b"CONNECT example.org:443 HTTP/1.1\r\n"));
    /// # Ok::<(), switchboard_ws_proto::handshake::InvalidHeader>(())
    /// ```
    pub fn request(&self) -> Bytes {
        self.request.clone()
    }

    /// Whether the tunnel is open. Takes the answer from the beginning of `buffer` once its head is whole; until then leaves the buffer for more
    /// to be appended. What stays behind the head comes from the server.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use switchboard_ws_proto::handshake::TunnelHandshake;
    ///
    /// let mut handshake = TunnelHandshake::new("example.org", 443, &[])?;
    /// // More is needed.
    /// assert!(!handshake.receive(&mut BytesMut::from("HTTP/1.1 200 "))?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`HandshakeError::Refused`] for an answer that opens no tunnel, [`HandshakeError::Malformed`] and [`HandshakeError::HeadersTooLarge`].
    pub fn receive(&mut self, buffer: &mut BytesMut) -> Result<bool, HandshakeError> {
        match self.responses.next(buffer)? {
            None => Ok(false),
            // Whatever its headers say: such an answer has no body.
            Some((200..=299, ..)) => Ok(true),
            // There is nothing to switch to.
            Some((101, ..)) => Err(HandshakeError::Malformed),
            Some((status, reason, headers)) => {
                Err(HandshakeError::Refused { status, reason, headers, body: buffer.split().freeze() })
            }
        }
    }
}

impl fmt::Debug for TunnelHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The request has secrets.
        f.debug_struct("TunnelHandshake").field("responses", &self.responses).finish_non_exhaustive()
    }
}
