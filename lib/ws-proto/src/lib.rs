//! The WebSocket protocol (RFC 6455) as a pure state machine: bytes and time go in, events and bytes come out.
//!
//! Owns framing, masking, fragmentation, UTF-8, the closing handshake, keep-alive and the opening handshakes of both roles.
//! Knows nothing of sockets, clocks, threads or randomness: those are arguments, so one state machine serves every runtime, a
//! simulator and a fuzzer alike. `no_std` with `alloc` when the feature `std` is off. With the feature `deflate` it compresses messages (RFC 7692).
//!
//! ```
//! use bytes::{Buf, BytesMut};
//! use switchboard_ws_proto::{Config, Connection, Event, Message, Role};
//!
//! let mut connection = Connection::new(Role::Server, Config::default());
//! // "Hello" from a client, masked: the example of RFC 6455 §5.7.
//! connection.receive(BytesMut::from(&b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"[..]));
//! while let Some(event) = connection.poll_event() {
//!     if let Event::Message(message) = event {
//!         assert_eq!(message, Message::from("Hello"));
//!         connection.send(message)?;
//!     }
//! }
//! // All that was queued since the last write, in one piece.
//! assert_eq!(connection.transmit().chunk(), b"\x81\x05Hello");
//! # Ok::<(), switchboard_ws_proto::SendError>(())
//! ```
//!
//! The loop of a driver: read bytes, [`receive`](Connection::receive) them, take every event, write what
//! [`transmit`](Connection::transmit) holds, and call [`handle_timeout`](Connection::handle_timeout) when
//! [`poll_timeout`](Connection::poll_timeout) says so.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod close;
mod config;
mod connection;
#[cfg(feature = "deflate")]
pub mod deflate;
#[cfg(not(feature = "deflate"))]
#[path = "no_deflate.rs"]
mod deflate;
mod error;
mod frame;
pub mod handshake;
mod input;
mod keepalive;
mod mask;
mod message;
mod piece;
mod time;
mod transmit;
mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use config::{Config, Limits, Role};
pub use connection::{Connection, Event};
pub use error::{ProtocolError, SendError};
pub use frame::{FRAME_HEADER_BYTES_MAX, FrameHeader, Opcode};
pub use message::{Message, Utf8Bytes};
pub use piece::Piece;
pub use time::Time;
pub use transmit::Transmit;

/// The snippet of the page that introduces it, compiled with the examples of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
