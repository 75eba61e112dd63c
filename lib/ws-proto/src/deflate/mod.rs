//! permessage-deflate (RFC 7692): what is agreed in the handshake, and the compression of messages. Owns compressors and decompressors, of which
//! an idle connection without context takeover holds none. Knows nothing of fragmentation's rules, of UTF-8 or of closing.
//!
//! # Agreeing
//! A [`Policy`] says what one side is ready for. A server [answers](Policy::answer) a client's header by it; a client makes an [`Offer`] of
//! it and [checks](Offer::check) the server's header. Both end with [`Params`], which go into
//! [`Config::deflate`](crate::Config::deflate) as [`Agreed`].
//!
//! ```
//! use switchboard_ws_proto::deflate::{Agreed, Policy};
//! use switchboard_ws_proto::{Config, Connection, Message, Role};
//!
//! let offer = Policy::default().offer();
//! let params = Policy::default().answer([&*offer.to_string()])?.ok_or("no offer was acceptable")?;
//! assert_eq!(params.to_string(), "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
//! assert_eq!(offer.check([&*params.to_string()])?, Some(params));
//!
//! let config = Config::default().deflate(Some(Agreed::new(params)));
//! let mut server = Connection::new(Role::Server, config);
//! server.send(Message::from("again and again ".repeat(100)))?;
//! assert!(server.transmit_len() < 64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it costs
//! Each thread keeps a few compressors (274 KiB each) and decompressors (47 KiB), which connections borrow for a message, or for as long as its
//! fragments take. What a connection holds by itself:
//!
//! | | bytes |
//! |---|---|
//! | without context takeover | none |
//! | we compress with context | up to 4 KiB: the end of what was sent, less with a window of 9 to 11 bits |
//! | the peer compresses with context | a decompressor: 47 KiB, with any window |
//!
//! A compressor is told the end of what was sent before it goes on with it, so a connection needs none of its own. The one that made a connection's last message
//! knows the whole window, and a thread's last four connections find it again. A sender may also begin anew at any message: a context that has
//! lain idle between two pings (see [`Config::ping_interval`](crate::Config)) is given back.
//!
//! What context takeover gives is size: a message finds the words of those before it. Messages of 1 KiB of JSON whose names repeat and whose numbers do not
//! shrink to 47 % without, to 30 % with the last 4 KiB and to 28 % with the whole window.
//!
//! # What a peer can do
//! A message is inflated as it arrives, in pieces of 12 KiB, and the connection fails with 1009 at the first byte past
//! [`Limits::message_bytes_max`](crate::Limits). So a frame that would inflate to a thousand times its size costs the limit and 64 KiB at most. A peer that begins a compressed
//! message and leaves it there holds a decompressor for as long as it stays.

mod extensions;
mod inbound;
mod negotiation;
mod outbound;
mod pool;

pub use negotiation::{NegotiationError, Offer, Params, Policy};
pub use outbound::{compress_frame, compress_frame_into};

pub(crate) use inbound::Inbound;
pub(crate) use outbound::Outbound;

/// How hard to compress, and what.
///
/// ```
/// use switchboard_ws_proto::deflate::Tuning;
/// let thorough = Tuning { level: 6, ..Tuning::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuning {
    /// 1 (fast) to 9 (small). Default 1: for JSON of 1 KiB it takes a fifth of level 6's time and gives 24 % instead of 19 %.
    pub level: u8,
    /// Messages of fewer bytes are sent as they are. Default 128: below, without context, hardly anything is gained.
    pub message_bytes_min: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { level: 1, message_bytes_min: 128 }
    }
}

/// What a connection needs to know: what both sides agreed to, and how we compress within it.
///
/// ```
/// use switchboard_ws_proto::Config;
/// use switchboard_ws_proto::deflate::{Agreed, Policy, Tuning};
///
/// // As the server that this client asks.
/// if let Some(params) = Policy::default().answer(["permessage-deflate"])? {
///     let tuning = Tuning { level: 6, ..Tuning::default() };
///     let config = Config::default().deflate(Some(Agreed { params, tuning }));
/// }
/// # Ok::<(), switchboard_ws_proto::deflate::NegotiationError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Agreed {
    /// As in the server's header.
    pub params: Params,
    /// Our own affair.
    pub tuning: Tuning,
}

impl Agreed {
    /// With the default tuning.
    ///
    /// ```
    /// use switchboard_ws_proto::deflate::{Agreed, Params};
    ///
    /// assert_eq!(Agreed::new(Params::default()).tuning.level, 1);
    /// ```
    pub const fn new(params: Params) -> Self {
        Self { params, tuning: Tuning { level: 1, message_bytes_min: 128 } }
    }
}

/// RFC 7692 §7.2.1: what a compressor's flush ends with, and no message carries.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// RFC 7692 §7.1.2: what holds unless a smaller one is agreed.
const WINDOW_BITS_MAX: u8 = 15;

/// The protocol knows 8, but zlib and its descendants silently compress with 9 then.
const COMPRESSOR_WINDOW_BITS_MIN: u8 = 9;
