//! WebSockets (RFC 6455) for tokio, client and server.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! loop {
//!     let (stream, _) = listener.accept().await?;
//!     tokio::spawn(async move {
//!         let Ok(mut socket) = switchboard_ws::accept(stream).await else { return };
//!         while let Some(Ok(message)) = socket.recv().await {
//!             if socket.send(message).await.is_err() {
//!                 break;
//!             }
//!         }
//!     });
//! }
//! # }
//! ```
//!
//! - [`accept`], [`accept_with`], [`read_request`]: a server on any stream.
//! - [`connect`], [`Connector`] (feature `client`): ws://, and wss:// with the feature `tls`.
//! - The modules `hyper` and `axum` (features of those names): upgrading a request of an HTTP server.
//! - The module `http2` (feature of that name): the same over HTTP/2, where many WebSockets share a connection: `Connector::connect_http2` for
//!   clients, and what `hyper` and `axum` upgrade.
//! - [`WebSocket`]: receiving and sending; a `Stream` and a `Sink` too.
//! - The module `deflate` (feature of that name, on by default): compression, which is agreed only where
//!   `AcceptOptions::deflate` or `Connector::deflate` asks for it.
//!
//! Owns reading, writing, timers and buffers. What the bytes mean is [`switchboard_ws_proto`]'s, whose types are exported here.

mod accept;
#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "client")]
mod connect;
mod error;
#[cfg(feature = "http2")]
pub mod http2;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(feature = "client")]
mod phase;
mod pool;
mod socket;
mod split;
#[cfg(feature = "client")]
mod stream;
mod streaming;
mod timer;
#[cfg(feature = "tower")]
pub mod tower;

pub use accept::{AcceptError, AcceptOptions, PendingUpgrade, accept, accept_with, read_request};
#[cfg(feature = "client")]
pub use connect::{ConnectError, Connector, connect};
pub use error::Error;
#[cfg(feature = "client")]
pub use phase::Phase;
pub use socket::{Received, WebSocket};
pub use split::{Receiver, Sender};
#[cfg(feature = "client")]
pub use stream::MaybeTls;
pub use streaming::{MessageReader, MessageWriter};
#[cfg(feature = "deflate")]
pub use switchboard_ws_proto::deflate;
pub use switchboard_ws_proto::{
    self as proto, CloseCode, CloseFrame, Config, Limits, Message, Opcode, Piece, ProtocolError, Role, SendError,
    Utf8Bytes, handshake,
};
