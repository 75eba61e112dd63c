//! What can be wrong: with the peer's bytes ([`ProtocolError`]) and with our own call ([`SendError`]).

use crate::CloseCode;

/// The peer broke the rules. The connection has failed (RFC 6455 §7.1.7): a Close with [`close_code`](Self::close_code) is queued, and
/// what the peer sends from now on is ignored.
///
/// ```
/// use switchboard_ws_proto::{CloseCode, ProtocolError};
/// assert_eq!(ProtocolError::InvalidUtf8.close_code(), CloseCode::INVALID_PAYLOAD);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RSV1 to RSV3 are set, and no extension that gives them a meaning was agreed (§5.2).
    #[error("reserved bits are set (RSV {0:03b})")]
    ReservedBits(u8),
    /// Opcodes 3 to 7 and 11 to 15 (§5.2).
    #[error("opcode {0} is reserved")]
    ReservedOpcode(u8),
    /// A client must mask every frame (§5.1).
    #[error("frame from a client is not masked")]
    Unmasked,
    /// A server must not mask (§5.1).
    #[error("frame from a server is masked")]
    Masked,
    /// A control frame without FIN (§5.5).
    #[error("control frame is fragmented")]
    ControlFragmented,
    /// A control frame of more than 125 bytes (§5.5).
    #[error("control frame has more than 125 bytes")]
    ControlTooLong,
    /// The length could have been written in fewer bytes (§5.2).
    #[error("payload length {0} is not written in the fewest bytes")]
    LengthNotMinimal(u64),
    /// The most significant bit of a 64-bit length is set (§5.2).
    #[error("payload length has its highest bit set")]
    LengthOverflow,
    /// A continuation with nothing to continue (§5.4).
    #[error("continuation frame without a message to continue")]
    UnexpectedContinuation,
    /// A new message inside of a fragmented one (§5.4).
    #[error("new message begins before the last fragment of the one before")]
    ExpectedContinuation,
    /// Text that is not UTF-8 (§8.1), or the reason of a Close.
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// A compressed message that cannot be inflated (RFC 7692 §7.2.2).
    #[error("message cannot be inflated")]
    InvalidCompression,
    /// A Close with a payload of one byte (§5.5.1).
    #[error("close frame has a payload of one byte")]
    CloseTooShort,
    /// A code that must not be on the wire (§7.4).
    #[error("close code {0} is not allowed")]
    InvalidCloseCode(u16),
    /// More than `frame_bytes_max`.
    #[error("frame has {bytes} bytes, more than the limit of {max}")]
    FrameTooBig {
        /// As the header declares it.
        bytes: u64,
        /// The limit.
        max: usize,
    },
    /// More than `message_bytes_max`, known from the headers so far.
    #[error("message has at least {bytes} bytes, more than the limit of {max}")]
    MessageTooBig {
        /// What came already, with what the last header declares.
        bytes: u64,
        /// The limit.
        max: usize,
    },
    /// More than `fragments_max`, empty ones included.
    #[error("message has more than {max} fragments")]
    TooManyFragments {
        /// The limit.
        max: usize,
    },
}

impl ProtocolError {
    /// How the peer is told.
    ///
    /// ```
    /// use switchboard_ws_proto::{CloseCode, ProtocolError};
    ///
    /// assert_eq!(ProtocolError::Unmasked.close_code(), CloseCode::PROTOCOL_ERROR);
    /// ```
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBits(_)
            | Self::ReservedOpcode(_)
            | Self::Unmasked
            | Self::Masked
            | Self::ControlFragmented
            | Self::ControlTooLong
            | Self::LengthNotMinimal(_)
            | Self::LengthOverflow
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::CloseTooShort
            | Self::InvalidCloseCode(_) => CloseCode::PROTOCOL_ERROR,
            // RFC 7692 names no code. §7.4.1: data that is not consistent with the type of the message.
            Self::InvalidUtf8 | Self::InvalidCompression => CloseCode::INVALID_PAYLOAD,
            Self::FrameTooBig { .. } | Self::MessageTooBig { .. } | Self::TooManyFragments { .. } => {
                CloseCode::MESSAGE_TOO_BIG
            }
        }
    }
}

/// The local caller erred, or came too late. Nothing was queued.
///
/// ```
/// use switchboard_ws_proto::{CloseCode, Config, Connection, Message, Role, SendError};
///
/// let mut connection = Connection::new(Role::Server, Config::default());
/// connection.close(CloseCode::NORMAL, "bye")?;
/// assert_eq!(connection.send(Message::from("too late")), Err(SendError::Closing));
/// # Ok::<(), SendError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// A Close was sent or received, or the connection failed: nothing may follow (RFC 6455 §5.5.1).
    #[error("the connection is closing")]
    Closing,
    /// A ping or pong of more than 125 bytes (§5.5).
    #[error("control frame has more than 125 bytes")]
    ControlTooLong,
    /// This code must not be put on the wire (§7.4.1).
    #[error("close code {0} must not be sent")]
    InvalidCloseCode(u16),
    /// A message or a first fragment while another message's last fragment is due (§5.4).
    #[error("a fragmented message is being sent")]
    InsideFragments,
    /// A continuation with no message begun (§5.4).
    #[error("no fragmented message is being sent")]
    OutsideFragments,
    /// Only text and binary have fragments.
    #[error("opcode is not for messages")]
    NotData,
    /// Text that is not UTF-8 (§5.6).
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// Frames encoded for many receivers are compressed, and the peer has not agreed to that (RFC 7692 §6).
    #[error("compression was not agreed")]
    CompressionNotAgreed,
    /// Frames encoded for many receivers are unmasked, which only a server may send (§5.1).
    #[error("a client masks each frame on its own")]
    ClientMustMask,
}
