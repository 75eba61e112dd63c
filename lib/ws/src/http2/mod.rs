//! WebSockets over HTTP/2 (RFC 8441): each is one stream of a connection that it shares with others, and with ordinary requests.
//!
//! A client opens an [`Http2Connection`] with [`Connector::connect_http2`](crate::Connector::connect_http2), and WebSockets on it.
//! A server that hyper or axum drives needs nothing of this module: see the modules `hyper` and `axum`. A server that drives the crate
//! [`h2`] itself makes an [`Http2Stream`] of each stream that it has accepted.
//!
//! Owns streams as bytes and a client's connection. What a request has to say, and which answer is one, is
//! [`handshake`](crate::handshake)'s.

#[cfg(feature = "client")]
mod connection;
mod stream;

#[cfg(feature = "client")]
pub use connection::Http2Connection;
pub use stream::Http2Stream;
