//! A piece of a message that is not held whole. Knows nothing of frames.

use crate::Message;

/// A piece of a message, as [`Connection::poll_piece`](crate::Connection::poll_piece) tells it.
///
/// It is what one buffer of input brought of the message, or at most 12 KiB of what a compressed one is inflated to: where the sender's
/// fragments begin and end does not show, and nothing may depend on where the pieces do.
///
/// ```
/// use bytes::BytesMut;
/// use switchboard_ws_proto::{Config, Connection, Event, Message, Piece, Role};
///
/// let mut connection = Connection::new(Role::Client { mask_seed: [0; 32] }, Config::default());
/// // "Hello" in two fragments (RFC 6455 §5.7).
/// connection.receive(BytesMut::from(&b"\x01\x03Hel\x80\x02lo"[..]));
/// let first = Piece { data: Message::from("Hel"), first: true, last: false };
/// assert_eq!(connection.poll_piece(), Some(Event::Piece(first)));
/// let second = Piece { data: Message::from("lo"), first: false, last: true };
/// assert_eq!(connection.poll_piece(), Some(Event::Piece(second)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Text or binary, as the message is. Text is cut between characters, wherever its sender has cut it. Empty only if it is the last.
    pub data: Message,
    /// Begins a message.
    pub first: bool,
    /// Ends it.
    pub last: bool,
}
