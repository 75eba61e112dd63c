//! The server's answers: as bytes of HTTP/1.1, or as status and headers.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::headers::{InvalidHeader, write_header, write_own};
use super::tokens::is_token;
use super::{UpgradeRequest, accept_key};

/// The answer that upgrades: status 101, the accept value, the chosen subprotocol and `headers`.
///
/// ```
/// # use switchboard_ws_proto::handshake::ServerHandshake;
/// # let mut handshake = ServerHandshake::new();
/// # let request = handshake.receive(b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
/// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n")?.expect("a whole request");
/// use switchboard_ws_proto::handshake::accept_response;
///
/// let response = accept_response(&request.upgrade, Some("chat"), &[("X-Node", "1")])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`InvalidHeader`] for a name or value that cannot be written, one that the handshake writes itself, a subprotocol that the client did not
/// offer (RFC 6455 §4.2.2), or a request of HTTP/2.
pub fn accept_response(
    request: &UpgradeRequest,
    subprotocol: Option<&str>,
    headers: &[(&str, &str)],
) -> Result<Bytes, InvalidHeader> {
    build_accept(request, subprotocol, None, headers)
}

/// As [`accept_response`], with compression as [`UpgradeRequest::deflate`] has agreed it.
///
/// ```
/// # use switchboard_ws_proto::handshake::ServerHandshake;
/// # let mut handshake = ServerHandshake::new();
/// # let request = handshake.receive(b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
/// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n")?.expect("a whole request");
/// use switchboard_ws_proto::handshake::accept_response_with;
///
/// let response = accept_response_with(&request.upgrade, Some("chat"), None, &[])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`accept_response`].
#[cfg(feature = "deflate")]
pub fn accept_response_with(
    request: &UpgradeRequest,
    subprotocol: Option<&str>,
    deflate: Option<&crate::deflate::Params>,
    headers: &[(&str, &str)],
) -> Result<Bytes, InvalidHeader> {
    build_accept(request, subprotocol, deflate.map(ToString::to_string), headers)
}

fn build_accept(
    request: &UpgradeRequest,
    subprotocol: Option<&str>,
    extensions: Option<String>,
    headers: &[(&str, &str)],
) -> Result<Bytes, InvalidHeader> {
    let answer = Answer::new(request, subprotocol, extensions)?;
    if answer.status != 101 {
        // Checked as of HTTP/2, where these bytes would mean nothing.
        return Err(InvalidHeader("Sec-WebSocket-Accept".into()));
    }
    let mut out = BytesMut::with_capacity(256);
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in &answer.headers {
        write_own(&mut out, name, value);
    }
    for (name, value) in headers {
        write_header(&mut out, name, value)?;
    }
    out.extend_from_slice(b"\r\n");
    Ok(out.freeze())
}

/// An answer that upgrades, of whichever version of HTTP. See [`UpgradeRequest::answer`].
///
/// ```
/// use switchboard_ws_proto::handshake::Answer;
///
/// /// For an HTTP library to send.
/// fn lines(answer: &Answer) -> impl Iterator<Item = String> {
///     answer.headers.iter().map(|(name, value)| format!("{name}: {value}"))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// 101 over HTTP/1.1, 200 over HTTP/2.
    pub status: u16,
    /// All that the handshake demands.
    pub headers: Vec<(&'static str, String)>,
}

impl Answer {
    pub(super) fn new(
        request: &UpgradeRequest,
        subprotocol: Option<&str>,
        extensions: Option<String>,
    ) -> Result<Self, InvalidHeader> {
        let (status, mut headers) = match &request.key {
            Some(key) => {
                let upgrade = [("Upgrade", "websocket".into()), ("Connection", "Upgrade".into())];
                (101, Vec::from_iter(upgrade.into_iter().chain([("Sec-WebSocket-Accept", accept_key(key))])))
            }
            // RFC 8441 §5: the status alone says it.
            None => (200, Vec::new()),
        };
        if let Some(subprotocol) = subprotocol {
            if !is_token(subprotocol) || !request.subprotocols.iter().any(|offered| offered == subprotocol) {
                return Err(InvalidHeader("Sec-WebSocket-Protocol".into()));
            }
            headers.push(("Sec-WebSocket-Protocol", subprotocol.into()));
        }
        headers.extend(extensions.map(|extensions| ("Sec-WebSocket-Extensions", extensions)));
        Ok(Self { status, headers })
    }
}

/// An answer that refuses, with its body in plain text unless `headers` say otherwise. The connection is to be closed after it.
///
/// ```
/// use switchboard_ws_proto::handshake::error_response;
///
/// let response = error_response(401, &[("WWW-Authenticate", "Bearer")], b"who are you?\n")?;
/// # Ok::<(), switchboard_ws_proto::handshake::InvalidHeader>(())
/// ```
///
/// # Errors
/// [`InvalidHeader`] for a name or value that cannot be written.
pub fn error_response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<Bytes, InvalidHeader> {
    let mut checked = BytesMut::new();
    for (name, value) in headers {
        write_header(&mut checked, name, value)?;
    }
    Ok(build(status, headers, body))
}

/// As [`error_response`], with headers of our own.
pub(super) fn build(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(256 + body.len());
    for part in ["HTTP/1.1 ", &status.to_string(), " ", reason(status), "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in headers {
        write_own(&mut out, name, value);
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        write_own(&mut out, "Content-Type", "text/plain; charset=utf-8");
    }
    write_own(&mut out, "Content-Length", &body.len().to_string());
    let upgrade = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
    // RFC 9110 §7.8: who sends Upgrade names it in Connection.
    write_own(&mut out, "Connection", if upgrade { "close, Upgrade" } else { "close" });
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out.freeze()
}

const fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        // The phrase may be empty (RFC 9112 §4).
        _ => "",
    }
}
