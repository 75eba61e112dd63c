//! Why a request is not upgraded, and the HTTP answer to it.

use bytes::Bytes;

use super::response;

/// A request that is no WebSocket handshake, or a wrong one.
///
/// ```
/// use switchboard_ws_proto::handshake::{Rejection, ServerHandshake};
///
/// let error = ServerHandshake::new().receive(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap_err();
/// assert_eq!(error, Rejection::MethodNotAllowed);
/// assert_eq!(error.status(), 405);
/// assert!(error.response().starts_with(b"HTTP/1.1 405 Method Not Allowed\r\n"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The bytes are not HTTP.
    #[error("the request is not HTTP: {0}")]
    Malformed(&'static str),
    /// More than 64 KiB or 124 headers.
    #[error("the request's headers are too large")]
    HeadersTooLarge,
    /// Only GET, over HTTP/1.1 (RFC 6455 §4.1).
    #[error("the method of a WebSocket handshake is GET")]
    MethodNotAllowed,
    /// HTTP/1.0 and older (§4.1), or HTTP/3.
    #[error("a WebSocket handshake needs HTTP/1.1 or HTTP/2")]
    HttpVersionNotSupported,
    /// An ordinary request: `Upgrade` does not name `websocket`.
    #[error("the Upgrade header does not name websocket")]
    NotUpgrade,
    /// `Sec-WebSocket-Version` is not 13.
    #[error("the Sec-WebSocket-Version header is not 13")]
    VersionNotSupported,
    /// `Sec-WebSocket-Version` is not 13 in a request of HTTP/2, which has no status 426: there is nothing to upgrade to.
    #[error("the Sec-WebSocket-Version header is not 13")]
    VersionNotSupportedHttp2,
    /// A request of HTTP/2 that is no CONNECT.
    #[error("a WebSocket over HTTP/2 begins with an extended CONNECT (RFC 8441)")]
    NotConnect,
    /// A CONNECT of HTTP/2 whose `:protocol` is another one, or an ordinary one, for a proxy.
    #[error("the :protocol of a CONNECT is not websocket")]
    ProtocolNotSupported,
    /// This header has to be there.
    #[error("the {0} header is missing")]
    MissingHeader(&'static str),
    /// This header may be there only once.
    #[error("the {0} header is repeated")]
    RepeatedHeader(&'static str),
    /// This header's value is not what it should be.
    #[error("the {0} header is invalid")]
    InvalidHeader(&'static str),
}

impl Rejection {
    /// The HTTP status.
    ///
    /// ```
    /// assert_eq!(switchboard_ws_proto::handshake::Rejection::HttpVersionNotSupported.status(), 505);
    /// ```
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_)
            | Self::MissingHeader(_)
            | Self::RepeatedHeader(_)
            | Self::InvalidHeader(_)
            | Self::VersionNotSupportedHttp2 => 400,
            Self::MethodNotAllowed | Self::NotConnect => 405,
            Self::NotUpgrade | Self::VersionNotSupported => 426,
            Self::HeadersTooLarge => 431,
            // RFC 9220 §3 says so of HTTP/3, and RFC 9110 §15.6.2 of a method that the server does not have.
            Self::ProtocolNotSupported => 501,
            Self::HttpVersionNotSupported => 505,
        }
    }

    /// What the answer tells a client so that it can do better.
    ///
    /// ```
    /// use switchboard_ws_proto::handshake::Rejection;
    ///
    /// for (name, value) in Rejection::HttpVersionNotSupported.headers() {
    ///     println!("{name}: {value}");
    /// }
    /// ```
    pub const fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::MethodNotAllowed => &[("Allow", "GET")],
            Self::NotConnect => &[("Allow", "CONNECT")],
            Self::VersionNotSupportedHttp2 => &[("Sec-WebSocket-Version", "13")],
            Self::NotUpgrade => &[("Upgrade", "websocket")],
            Self::VersionNotSupported => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            _ => &[],
        }
    }

    /// The whole HTTP answer, after which the connection is to be closed.
    ///
    /// ```
    /// use switchboard_ws_proto::handshake::Rejection;
    ///
    /// assert!(Rejection::HttpVersionNotSupported.response().starts_with(b"HTTP/1.1 505 "));
    /// ```
    pub fn response(&self) -> Bytes {
        response::build(self.status(), self.headers(), alloc::format!("{self}\n").as_bytes())
    }
}
