//! The server's check of an upgrade request (RFC 6455 §4.2.1, RFC 8441 §5), whoever parsed the HTTP.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, PAD};

use super::tokens::{contains, elements, is_token};
use super::{Answer, InvalidHeader, Rejection};

/// The version of HTTP that a request came with.
///
/// ```
/// use switchboard_ws_proto::handshake::{HttpVersion, UpgradeRequest};
///
/// assert!(UpgradeRequest::check("GET", HttpVersion::Http10, []).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/1.0 or older.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// What matters of a request that may be upgraded.
///
/// ```
/// use switchboard_ws_proto::handshake::{HttpVersion, UpgradeRequest};
///
/// let headers: [(&str, &[u8]); 6] = [
///     ("host", b"example.org"),
///     ("upgrade", b"websocket"),
///     ("connection", b"keep-alive, Upgrade"),
///     ("sec-websocket-version", b"13"),
///     ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
///     ("sec-websocket-protocol", b"mqtt, chat"),
/// ];
/// let request = UpgradeRequest::check("GET", HttpVersion::Http11, headers)?;
/// assert_eq!(request.subprotocols, ["mqtt", "chat"]);
/// # Ok::<(), switchboard_ws_proto::handshake::Rejection>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpgradeRequest {
    /// `Host`, or `:authority`.
    pub host: String,
    /// `Origin`, which browsers always send. Not checked here: what is allowed is the application's to say.
    pub origin: Option<String>,
    /// `Sec-WebSocket-Key`: base64 of 16 bytes. `None` over HTTP/2, which has none (RFC 8441 §5).
    pub key: Option<String>,
    /// The subprotocols that the client would speak, the preferred one first, without repetitions.
    pub subprotocols: Vec<String>,
    /// `Sec-WebSocket-Extensions`, each line as it came.
    pub extensions: Vec<String>,
}

impl UpgradeRequest {
    /// Checks method, version and headers of HTTP/1.1. Header names may be in any case; values are without white space around them.
    ///
    /// ```
    /// use switchboard_ws_proto::handshake::{HttpVersion, UpgradeRequest};
    ///
    /// // Of a request that somebody else has parsed.
    /// let headers: [(&str, &[u8]); 1] = [("host", b"example.org")];
    /// assert!(UpgradeRequest::check("GET", HttpVersion::Http11, headers).is_err());
    /// ```
    ///
    /// # Errors
    /// The first rule that is broken, with the HTTP status that says so.
    pub fn check<'a>(
        method: &str,
        version: HttpVersion,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, Rejection> {
        if method != "GET" {
            return Err(Rejection::MethodNotAllowed);
        }
        if version < HttpVersion::Http11 {
            return Err(Rejection::HttpVersionNotSupported);
        }
        let mut found = Found::default();
        for (name, value) in headers {
            found.take(name, value)?;
        }
        found.finish()
    }

    /// Checks an extended CONNECT of HTTP/2 (RFC 8441 §5): `protocol` is the pseudo-header `:protocol`, `authority` is `:authority`.
    ///
    /// ```
    /// use switchboard_ws_proto::handshake::{Rejection, UpgradeRequest};
    ///
    /// let headers: [(&str, &[u8]); 2] = [("sec-websocket-version", b"13"), ("sec-websocket-protocol", b"chat")];
    /// let request = UpgradeRequest::check_connect("CONNECT", Some("websocket"), Some("example.org"), headers)?;
    /// assert_eq!((request.key, &*request.host), (None, "example.org"));
    ///
    /// let error = UpgradeRequest::check_connect("CONNECT", None, Some("example.org:443"), headers).unwrap_err();
    /// assert_eq!(error.status(), 501);
    /// # Ok::<(), Rejection>(())
    /// ```
    ///
    /// # Errors
    /// The first rule that is broken, with the HTTP status that says so.
    pub fn check_connect<'a>(
        method: &str,
        protocol: Option<&str>,
        authority: Option<&str>,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, Rejection> {
        if method != "CONNECT" {
            return Err(Rejection::NotConnect);
        }
        // Names of protocols are compared in any case (RFC 9110 §7.8).
        if !protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")) {
            return Err(Rejection::ProtocolNotSupported);
        }
        let mut found = Found::default();
        for (name, value) in headers {
            found.take(name, value)?;
        }
        found.finish_connect(authority)
    }

    /// The answer that upgrades, for an HTTP library to write: status 101 with an accept value over HTTP/1.1, 200 without over HTTP/2.
    ///
    /// ```
    /// use switchboard_ws_proto::handshake::UpgradeRequest;
    ///
    /// let headers: [(&str, &[u8]); 2] = [("sec-websocket-version", b"13"), ("sec-websocket-protocol", b"chat")];
    /// let request = UpgradeRequest::check_connect("CONNECT", Some("websocket"), Some("example.org"), headers).unwrap();
    /// let answer = request.answer(Some("chat"))?;
    /// assert_eq!((answer.status, answer.headers), (200, vec![("Sec-WebSocket-Protocol", "chat".into())]));
    /// # Ok::<(), switchboard_ws_proto::handshake::InvalidHeader>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidHeader`] for a subprotocol that the client did not offer (RFC 6455 §4.2.2).
    pub fn answer(&self, subprotocol: Option<&str>) -> Result<Answer, InvalidHeader> {
        Answer::new(self, subprotocol, None)
    }

    /// As [`answer`](Self::answer), with compression as [`deflate`](Self::deflate) has agreed it.
    ///
    /// ```
    /// use switchboard_ws_proto::deflate::Policy;
    /// use switchboard_ws_proto::handshake::UpgradeRequest;
    ///
    /// let headers: [(&str, &[u8]); 2] =
    ///     [("sec-websocket-version", b"13"), ("sec-websocket-extensions", b"permessage-deflate")];
    /// let request = UpgradeRequest::check_connect("CONNECT", Some("websocket"), Some("example.org"), headers)?;
    /// let agreed = request.deflate(&Policy::default())?;
    /// let answer = request.answer_with(None, agreed.as_ref())?;
    /// assert!(answer.headers.iter().any(|(name, _)| *name == "Sec-WebSocket-Extensions"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    #[cfg(feature = "deflate")]
    pub fn answer_with(
        &self,
        subprotocol: Option<&str>,
        deflate: Option<&crate::deflate::Params>,
    ) -> Result<Answer, InvalidHeader> {
        Answer::new(self, subprotocol, deflate.map(alloc::string::ToString::to_string))
    }

    /// What the server agrees to of the compression that the client offers, for [`accept_response_with`](super::accept_response_with) and
    /// [`Config::deflate`](crate::Config::deflate). `None` for a connection without.
    ///
    /// ```
    /// use switchboard_ws_proto::deflate::Policy;
    /// use switchboard_ws_proto::handshake::UpgradeRequest;
    ///
    /// let headers: [(&str, &[u8]); 1] = [("sec-websocket-version", b"13")];
    /// let request = UpgradeRequest::check_connect("CONNECT", Some("websocket"), Some("example.org"), headers)?;
    /// assert_eq!(request.deflate(&Policy::default())?, None);
    /// # Ok::<(), switchboard_ws_proto::handshake::Rejection>(())
    /// ```
    ///
    /// # Errors
    /// [`Rejection::InvalidHeader`] if the header is no list of extensions (§9.1).
    #[cfg(feature = "deflate")]
    pub fn deflate(&self, policy: &crate::deflate::Policy) -> Result<Option<crate::deflate::Params>, Rejection> {
        let lines = self.extensions.iter().map(String::as_str);
        policy.answer(lines).map_err(|_| Rejection::InvalidHeader(EXTENSIONS))
    }
}

impl fmt::Debug for UpgradeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A subprotocol may be a token: browsers can set no other header.
        let mut shown = f.debug_struct("UpgradeRequest");
        shown.field("host", &self.host).field("origin", &self.origin).field("subprotocols", &self.subprotocols.len());
        shown.field("extensions", &self.extensions).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Found {
    host: Option<String>,
    origin: Option<String>,
    key: Option<String>,
    version: Option<bool>,
    upgrade: bool,
    connection: bool,
    subprotocols: Vec<String>,
    extensions: Vec<String>,
}

impl Found {
    fn take(&mut self, name: &str, value: &[u8]) -> Result<(), Rejection> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is(HOST) {
            once(&mut self.host, text(value, HOST)?, HOST)?;
        } else if is("upgrade") {
            self.upgrade |= contains(value, "websocket");
        } else if is("connection") {
            self.connection |= contains(value, "upgrade");
        } else if is("origin") {
            once(&mut self.origin, text(value, "Origin")?, "Origin")?;
        } else if is(KEY) {
            once(&mut self.key, text(value, KEY)?, KEY)?;
        } else if is(VERSION) {
            once(&mut self.version, value == b"13", VERSION)?;
        } else if is(PROTOCOL) {
            self.take_subprotocols(&text(value, PROTOCOL)?)?;
        } else if is(EXTENSIONS) {
            self.extensions.push(text(value, EXTENSIONS)?);
        } else if is("transfer-encoding") || (is("content-length") && value != b"0") {
            // What follows the head would be a body to one server and frames to another.
            return Err(Rejection::InvalidHeader(if is("transfer-encoding") {
                "Transfer-Encoding"
            } else {
                "Content-Length"
            }));
        }
        Ok(())
    }

    fn take_subprotocols(&mut self, line: &str) -> Result<(), Rejection> {
        for subprotocol in elements(line) {
            if !is_token(subprotocol) || self.subprotocols.len() >= SUBPROTOCOLS_MAX {
                return Err(Rejection::InvalidHeader(PROTOCOL));
            }
            if !self.subprotocols.iter().any(|known| known == subprotocol) {
                self.subprotocols.push(subprotocol.into());
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<UpgradeRequest, Rejection> {
        if !self.upgrade {
            return Err(Rejection::NotUpgrade);
        }
        if !self.connection {
            return Err(Rejection::InvalidHeader("Connection"));
        }
        match self.version {
            Some(true) => {}
            Some(false) => return Err(Rejection::VersionNotSupported),
            None => return Err(Rejection::MissingHeader(VERSION)),
        }
        let key = self.key.take().ok_or(Rejection::MissingHeader(KEY))?;
        // §4.2.1: base64 that decodes to 16 bytes.
        if key.len() != 24 || !KEY_BASE64.decode(&key).is_ok_and(|nonce| nonce.len() == 16) {
            return Err(Rejection::InvalidHeader(KEY));
        }
        let host = self.host.take().ok_or(Rejection::MissingHeader(HOST))?;
        Ok(self.into_request(host, Some(key)))
    }

    /// RFC 8441 §5: neither Upgrade nor Connection nor a key.
    fn finish_connect(self, authority: Option<&str>) -> Result<UpgradeRequest, Rejection> {
        match self.version {
            Some(true) => {}
            Some(false) => return Err(Rejection::VersionNotSupportedHttp2),
            None => return Err(Rejection::MissingHeader(VERSION)),
        }
        let host = match (authority.filter(|authority| !authority.is_empty()), &self.host) {
            // RFC 9113 §8.3.1: both name the same, or two readers would disagree about whom this is for.
            (Some(authority), Some(host)) if !host.eq_ignore_ascii_case(authority) => {
                return Err(Rejection::InvalidHeader(HOST));
            }
            (Some(authority), _) => String::from(authority),
            (None, _) => return Err(Rejection::MissingHeader(":authority")),
        };
        Ok(self.into_request(host, None))
    }

    fn into_request(self, host: String, key: Option<String>) -> UpgradeRequest {
        let Self { origin, subprotocols, extensions, .. } = self;
        UpgradeRequest { host, origin, key, subprotocols, extensions }
    }
}

fn once<T>(slot: &mut Option<T>, value: T, name: &'static str) -> Result<(), Rejection> {
    if slot.replace(value).is_some() { Err(Rejection::RepeatedHeader(name)) } else { Ok(()) }
}

fn text(value: &[u8], name: &'static str) -> Result<String, Rejection> {
    core::str::from_utf8(value).map(String::from).map_err(|_| Rejection::InvalidHeader(name))
}

/// The bits behind the sixteenth byte may be anything: they are so in the standard's own example of a key (§4.1).
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, PAD.with_decode_allow_trailing_bits(true));

const HOST: &str = "Host";
const KEY: &str = "Sec-WebSocket-Key";
const VERSION: &str = "Sec-WebSocket-Version";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// Each is compared with those before, so their number is bounded.
const SUBPROTOCOLS_MAX: usize = 64;
