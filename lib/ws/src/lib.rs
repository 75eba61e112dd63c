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
//! What is here:
//!
//! - [`accept`], [`accept_with`], [`read_request`]: a server on any stream of bytes.
//! - [`connect`], [`Connector`] (feature `client`, on by default): ws://, and wss:// with the feature `tls`.
//! - [`WebSocket`]: receiving and sending; a `Stream` and a `Sink` too. [`Receiver`] and [`Sender`] are its halves.
//! - [`MessageReader`] and [`MessageWriter`]: messages that nobody holds whole.
//! - The modules `hyper`, `axum` and `tower` (features of those names): upgrading the requests of an HTTP server.
//! - The feature `http2`: many WebSockets on one connection (RFC 8441), as a client and within hyper and axum.
//! - The module `deflate` (feature of that name, on by default): compression, which is agreed only where
//!   `AcceptOptions::deflate` or `Connector::deflate` asks for it.
//!
//! What is public here of other crates: `bytes`, tokio's `AsyncRead` and `AsyncWrite`, the traits of `futures`; with their features `http`, `hyper`, `h2`,
//! `axum`, `rustls` and `tokio-rustls`.
//!
//! The examples in `lib/ws/examples` are whole programs, each run by one command that its first lines tell.
//!
//! # A tour
//!
//! ## A client
//!
//! [`Connector`] has what is to be said in the request, and how long each phase may take.
//!
//! ```no_run
//! # #[cfg(feature = "client")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use switchboard_ws::{CloseCode, Connector, Message};
//!
//! let (mut socket, response) =
//!     Connector::new().bearer_token("secret").subprotocols(["chat.v2"]).connect("ws://localhost:9001/").await?;
//! println!("we speak {:?}", response.subprotocol);
//! socket.send("hello").await?;
//! match socket.recv().await {
//!     Some(Ok(Message::Text(text))) => println!("{text}"),
//!     Some(Ok(Message::Binary(bytes))) => println!("{} bytes", bytes.len()),
//!     Some(Err(error)) => return Err(error.into()),
//!     None => println!("closed: {:?}", socket.close_frame()),
//! }
//! socket.close(CloseCode::NORMAL, "bye").await?;
//! # Ok(())
//! # }
//! ```
//!
//! ## Limits
//!
//! What a peer can make grow has a bound, and whoever passes it is told 1009 before the bytes are stored: see [`Limits`]. A peer that says
//! nothing is pinged if [`Config::ping_interval`] is set, and given up if it does not answer. The request of a client has ten seconds.
//!
//! ```
//! use std::time::Duration;
//! use switchboard_ws::{AcceptOptions, Config, Limits};
//!
//! let limits = Limits { message_bytes_max: 64 * 1024, ..Limits::default() };
//! let config = Config::default().limits(limits).ping_interval(Some(Duration::from_secs(25)));
//! let options = AcceptOptions::default().config(config).request_timeout(Duration::from_secs(5));
//! ```
//!
//! ## Backpressure
//!
//! [`WebSocket::send`] returns when the socket has taken the message. [`WebSocket::feed`] queues, and waits when more than
//! [256 KiB](WebSocket::set_output_bytes_max) are queued, until the peer reads: a slow peer slows down who sends to it, and costs no more memory.
//! What is queued leaves with the next `send` or [`flush`](WebSocket::flush), and **before [`recv`](WebSocket::recv) waits**. So an
//! echo server answers everything that one read brought by one write:
//!
//! ```
//! # use tokio::io::{AsyncRead, AsyncWrite};
//! use switchboard_ws::{Error, WebSocket};
//!
//! async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocket<S>) -> Result<(), Error> {
//!     while let Some(message) = socket.recv().await {
//!         socket.feed(message?).await?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A peer that does not read makes its sender wait for as long as it likes: its silence is noticed by who receives, not by who sends. Where that
//! matters, put a time limit around sending:
//!
//! ```
//! # use tokio::io::{AsyncRead, AsyncWrite};
//! use std::time::Duration;
//! use switchboard_ws::WebSocket;
//! use tokio::time::timeout;
//!
//! /// Whether the peer has taken it in time. If not, the connection is of no use any more: drop it.
//! async fn send_soon<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocket<S>, text: &str) -> bool {
//!     matches!(timeout(Duration::from_secs(10), socket.send_text(text)).await, Ok(Ok(())))
//! }
//! ```
//!
//! Where one message goes to many and none may wait for the slowest, give each a bounded queue of its own, and a rule for when it is full. The
//! example `chat` does so with `tokio::sync::broadcast`, and encodes each message once for all.
//!
//! ## Waiting for several things
//!
//! Every future may be dropped, and its documentation says under *Cancel safety* what that does. So `select!` just works:
//!
//! ```
//! # use tokio::io::{AsyncRead, AsyncWrite};
//! use switchboard_ws::{Error, Message, WebSocket};
//! use tokio::sync::mpsc;
//!
//! async fn relay<S: AsyncRead + AsyncWrite + Unpin>(
//!     mut socket: WebSocket<S>,
//!     mut outgoing: mpsc::Receiver<Message>,
//!     incoming: mpsc::Sender<Message>,
//! ) -> Result<(), Error> {
//!     loop {
//!         tokio::select! {
//!             message = socket.recv() => match message {
//!                 // While this waits nothing is received, and the peer has to wait too.
//!                 Some(message) => drop(incoming.send(message?).await),
//!                 None => return Ok(()),
//!             },
//!             Some(message) = outgoing.recv() => socket.send(message).await?,
//!         }
//!     }
//! }
//! ```
//!
//! ## Two halves
//!
//! [`WebSocket::split`] gives a [`Receiver`] and a [`Sender`] for two tasks. The receiver answers pings and finishes the closing handshake, so
//! it has to be awaited until it says `None`, even if nothing of interest is expected.
//!
//! ```
//! # use tokio::io::{AsyncRead, AsyncWrite};
//! use switchboard_ws::{CloseCode, Error, WebSocket};
//!
//! async fn count<S>(socket: WebSocket<S>) -> Result<(), Error>
//! where
//!     S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
//! {
//!     let (mut receiver, mut sender) = socket.split();
//!     let sending = tokio::spawn(async move {
//!         for number in 0..1000 {
//!             sender.feed(number.to_string()).await?;
//!         }
//!         sender.close(CloseCode::NORMAL, "counted").await
//!     });
//!     while let Some(message) = receiver.recv().await {
//!         println!("{:?}", message?.as_text());
//!     }
//!     sending.await.unwrap_or(Ok(()))
//! }
//! ```
//!
//! ## Closing
//!
//! [`WebSocket::close`] sends a Close, waits for the peer's and ends the stream, within [`Config::close_timeout`]. When the peer closes, `recv`
//! answers it, finishes the handshake and gives `None`; [`close_frame`](WebSocket::close_frame) has its code and reason. A stream that just ends
//! is [`Error::ConnectionLost`]. To take the messages that still come, [`start_close`](WebSocket::start_close) and go on with `recv`. A socket
//! that is dropped sends nothing.
//!
//! ## Large messages
//!
//! [`WebSocket::recv_piece`] gives what has come of a message, [`recv_reader`](WebSocket::recv_reader) a message as an `AsyncRead`, and
//! [`binary_writer`](WebSocket::binary_writer) one that is sent as it is written. Nobody holds the whole, compressed or not, and the limits
//! may be lifted.
//!
//! ```
//! # use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, copy_buf};
//! use switchboard_ws::{Limits, WebSocket};
//!
//! async fn backup<S: AsyncRead + AsyncWrite + Unpin>(
//!     mut socket: WebSocket<S>,
//!     mut disk: impl AsyncRead + AsyncWrite + Unpin,
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut writer = socket.binary_writer();
//!     copy(&mut disk, &mut writer).await?;
//!     writer.shutdown().await?;
//!     socket.set_limits(Limits::NONE);
//!     if let Some(reader) = socket.recv_reader().await {
//!         copy_buf(&mut reader?, &mut disk).await?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! ## TLS
//!
//! A server accepts from any stream, so from one of tokio-rustls as well. A client gives its configuration of rustls, and with it the provider of
//! cryptography, to `Connector::tls`; with the feature `native-roots` the system's certificates and the provider that the application has
//! installed are used without one. The example `custom_tls` has an authority of its own and certificates of clients.
//!
//! ```no_run
//! # #[cfg(feature = "tls")]
//! # async fn run(roots: rustls::RootCertStore) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
//! let tls = rustls::ClientConfig::builder_with_provider(provider)
//!     .with_safe_default_protocol_versions()?
//!     .with_root_certificates(roots)
//!     .with_no_client_auth();
//! let (socket, _) = switchboard_ws::Connector::new().tls(Arc::new(tls)).connect("wss://example.org/").await?;
//! # Ok(())
//! # }
//! ```
//!
//! ## Within an HTTP server
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # fn app() -> axum::Router {
//! use axum::{Router, response::Response, routing::any};
//! use switchboard_ws::axum::WebSocketUpgrade;
//!
//! async fn echo(upgrade: WebSocketUpgrade) -> Response {
//!     upgrade.on_upgrade(|mut socket| async move {
//!         while let Some(Ok(message)) = socket.recv().await {
//!             if socket.feed(message).await.is_err() {
//!                 break;
//!             }
//!         }
//!     })
//! }
//!
//! Router::new().route("/echo", any(echo))
//! # }
//! ```
//!
//! `hyper::upgrade` does the same for a bare hyper service, and `tower::WebSocketLayer` for any tower service.
//!
//! # What it is made of
//!
//! Owns reading, writing, timers and buffers. What the bytes mean is [`switchboard_ws_proto`]'s, whose types are exported here, and which serves
//! whoever wants another runtime, or none.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]

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
#[cfg(feature = "client")]
mod proxy;
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
pub use switchboard_ws_proto::handshake::InvalidHeader;
pub use switchboard_ws_proto::{
    self as proto, CloseCode, CloseFrame, Config, Limits, Message, Opcode, Piece, ProtocolError, Role, SendError,
    Utf8Bytes, handshake,
};

/// The snippets of a page for those who come from elsewhere, compiled with the examples of the documentation.
#[cfg(all(doctest, feature = "client", feature = "deflate"))]
#[doc = include_str!("../../../docs/howto/from-tungstenite.md")]
mod from_tungstenite {}

/// And those of the page that introduces it.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
mod readme {}
