//! The opening handshakes: over HTTP/1.1 (RFC 6455 §4) bytes in, a checked request or response out; over HTTP/2 (RFC 8441) headers.
//!
//! [`UpgradeRequest::check`] and [`UpgradeRequest::check_connect`] are the server's checks of a request that somebody else parsed (hyper,
//! axum), [`UpgradeRequest::answer`] its answer to both. [`ServerHandshake`] and [`ClientHandshake`] parse the bytes of a socket themselves;
//! [`ConnectHandshake`] is a client's request and its check of the response over HTTP/2, whose frames are not known here, [`TunnelHandshake`] the
//! way through a proxy. Of extensions they know permessage-deflate, with the feature `deflate`: a
//! server answers an offer only if it is told to, a client takes an answer only to what it offered.

mod client;
mod connect;
mod headers;
mod rejection;
mod request;
mod response;
mod server;
mod tokens;
mod tunnel;

pub use client::{ClientHandshake, ClientRequest, ClientResponse, HandshakeError};
pub use connect::ConnectHandshake;
pub use headers::{HEAD_BYTES_MAX, HEADERS_MAX, Headers, InvalidHeader, check_header};
pub use rejection::Rejection;
pub use request::{HttpVersion, UpgradeRequest};
#[cfg(feature = "deflate")]
pub use response::accept_response_with;
pub use response::{Answer, accept_response, error_response};
pub use server::{ServerHandshake, ServerRequest};
pub use tunnel::TunnelHandshake;

use alloc::string::String;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The value of `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
///
/// ```
/// use switchboard_ws_proto::handshake::accept_key;
/// assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &str) -> String {
    let digest = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    STANDARD.encode(digest)
}
