//! The head of an HTTP message: finding its end as bytes arrive, keeping its headers, and refusing to write one that would break it.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use bytes::{Bytes, BytesMut};

use super::tokens::is_token;

/// Bytes of a head, its last line break included. A longer one is refused.
///
/// ```
/// use switchboard_ws_proto::handshake::{HEAD_BYTES_MAX, ServerHandshake};
///
/// assert!(ServerHandshake::new().receive(&[b'x'; HEAD_BYTES_MAX + 1]).is_err());
/// ```
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Headers in a head. More are refused.
///
/// ```
/// use switchboard_ws_proto::handshake::{HEADERS_MAX, ServerHandshake};
///
/// let request = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX + 1));
/// assert!(ServerHandshake::new().receive(request.as_bytes()).is_err());
/// ```
pub const HEADERS_MAX: usize = 124;

/// The headers of a request or response: slices of the bytes that came.
///
/// ```
/// use switchboard_ws_proto::handshake::ServerHandshake;
/// let request = ServerHandshake::new().receive(
///     b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Room: lobby\r\n\
///       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
/// )?.unwrap();
/// assert_eq!(request.headers.get("x-room"), Some(&b"lobby"[..]));
/// # Ok::<(), switchboard_ws_proto::handshake::Rejection>(())
/// ```
#[derive(Clone, Default)]
pub struct Headers {
    head: Bytes,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

impl Headers {
    /// `parsed` are slices of `head`.
    pub(super) fn new(head: Bytes, parsed: &[httparse::Header<'_>]) -> Self {
        let base = head.as_ptr() as usize;
        let range = |part: &[u8]| {
            let start = (part.as_ptr() as usize).saturating_sub(base);
            start..start + part.len()
        };
        let fields = parsed.iter().map(|header| (range(header.name.as_bytes()), range(header.value))).collect();
        Self { head, fields }
    }

    /// Those of a response that somebody else parsed.
    pub(super) fn collect<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let (mut head, mut fields) = (BytesMut::new(), Vec::new());
        let mut keep = |part: &[u8]| {
            let start = head.len();
            head.extend_from_slice(part);
            start..head.len()
        };
        for (name, value) in headers {
            fields.push((keep(name.as_bytes()), keep(value)));
        }
        Self { head: head.freeze(), fields }
    }

    /// All of them, as they came.
    ///
    /// ```
    /// # use switchboard_ws_proto::handshake::ServerHandshake;
    /// # let mut handshake = ServerHandshake::new();
    /// # let request = handshake.receive(b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n")?.expect("a whole request");
    /// for (name, value) in request.headers.iter() {
    ///     println!("{name}: {}", String::from_utf8_lossy(value));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| {
            let name = self.head.get(name.clone()).and_then(|name| core::str::from_utf8(name).ok());
            (name.unwrap_or_default(), self.head.get(value.clone()).unwrap_or_default())
        })
    }

    /// The first of this name, in any case.
    ///
    /// ```
    /// # use switchboard_ws_proto::handshake::ServerHandshake;
    /// # let mut handshake = ServerHandshake::new();
    /// # let request = handshake.receive(b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n")?.expect("a whole request");
    /// assert_eq!(request.headers.get("HOST"), Some(&b"a"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// All of this name, in any case.
    ///
    /// ```
    /// # use switchboard_ws_proto::handshake::ServerHandshake;
    /// # let mut handshake = ServerHandshake::new();
    /// # let request = handshake.receive(b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    /// #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n")?.expect("a whole request");
    /// assert_eq!(request.headers.get_all("host").count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names only: values hold cookies and tokens.
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// A header that cannot be written: not a name, control characters in the value, or one that the handshake itself writes.
///
/// ```
/// use switchboard_ws_proto::handshake::{InvalidHeader, error_response};
///
/// let error = error_response(403, &[("X", "a\nb")], b"").unwrap_err();
/// assert_eq!(error, InvalidHeader("X".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("header {0:?} cannot be sent")]
pub struct InvalidHeader(pub alloc::string::String);

pub(super) fn write_header(out: &mut BytesMut, name: &str, value: &str) -> Result<(), InvalidHeader> {
    check_header(name, value)?;
    write_own(out, name, value);
    Ok(())
}

/// Whether a header may be written beside those of the handshake.
///
/// ```
/// use switchboard_ws_proto::handshake::check_header;
///
/// assert!(check_header("X-Node", "1").is_ok());
/// assert!(check_header("Upgrade", "websocket").is_err());
/// ```
///
/// # Errors
/// [`InvalidHeader`].
pub fn check_header(name: &str, value: &str) -> Result<(), InvalidHeader> {
    if !is_token(name) || RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) || !is_value(value) {
        return Err(InvalidHeader(name.into()));
    }
    Ok(())
}

/// A header of the handshake's own.
pub(super) fn write_own(out: &mut BytesMut, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Without control characters nothing can be smuggled behind a value.
pub(super) fn is_value(value: &str) -> bool {
    value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// What frames the message or belongs to the handshake.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
];

/// Finds the end of a head in bytes that arrive in pieces, looking at each byte once.
#[derive(Debug, Default)]
pub(super) struct HeadEnd {
    scanned: usize,
}

impl HeadEnd {
    /// The length of the head in `bytes`, which begin with all that was looked at before.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        // The end may be cut at any of its four bytes.
        let from = self.scanned.saturating_sub(END.len() - 1);
        let fresh = bytes.get(from..).unwrap_or_default();
        self.scanned = bytes.len();
        fresh.windows(END.len()).position(|window| window == END).map(|at| from + at + END.len())
    }
}

const END: &[u8] = b"\r\n\r\n";
