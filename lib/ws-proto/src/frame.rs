//! The frame header (RFC 6455 §5.2): reading and writing it. Knows nothing of what frames mean together.

use bytes::BufMut;

use crate::ProtocolError;

/// What a frame is (RFC 6455 §5.2).
///
/// ```
/// use switchboard_ws_proto::Opcode;
/// assert!(Opcode::Ping.is_control() && !Opcode::Text.is_control());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message before.
    Continuation = 0,
    /// A message of text, or its first fragment.
    Text = 1,
    /// A message of bytes, or its first fragment.
    Binary = 2,
    /// The closing handshake.
    Close = 8,
    /// Asks for a Pong.
    Ping = 9,
    /// Answers a Ping, or says that the peer lives.
    Pong = 10,
}

impl Opcode {
    /// Close, Ping and Pong: never fragmented, at most 125 bytes, allowed between fragments.
    ///
    /// ```
    /// assert!(switchboard_ws_proto::Opcode::Close.is_control());
    /// ```
    pub const fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }

    const fn from_u4(bits: u8) -> Result<Self, ProtocolError> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            reserved => return Err(ProtocolError::ReservedOpcode(reserved)),
        })
    }
}

/// The longest header: two bytes, a 64-bit length and a masking key.
///
/// ```
/// use switchboard_ws_proto::{FRAME_HEADER_BYTES_MAX, FrameHeader, Opcode};
///
/// let header = FrameHeader { mask: Some([0; 4]), ..FrameHeader::new(Opcode::Binary, 1 << 40) };
/// assert_eq!(header.encoded_len(), FRAME_HEADER_BYTES_MAX);
/// ```
pub const FRAME_HEADER_BYTES_MAX: usize = 14;

/// In [`FrameHeader::rsv`]: the first frame of a compressed message (RFC 7692 §6).
pub(crate) const RSV1: u8 = 0b100;

/// What precedes a frame's payload.
///
/// ```
/// use switchboard_ws_proto::{FrameHeader, Opcode};
///
/// // A frame for many receivers, encoded once: see `Connection::send_encoded`.
/// let mut frame = Vec::new();
/// FrameHeader::new(Opcode::Text, 5).encode(&mut frame);
/// frame.extend_from_slice(b"Hello");
/// assert_eq!(frame, b"\x81\x05Hello");
/// assert_eq!(FrameHeader::parse(&frame), Ok(Some((FrameHeader::new(Opcode::Text, 5), 2))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The last fragment of its message.
    pub fin: bool,
    /// RSV1 (4), RSV2 (2) and RSV3 (1).
    pub rsv: u8,
    /// What it is.
    pub opcode: Opcode,
    /// The masking key, on every frame of a client.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload that follow, below 2⁶³.
    pub payload_len: u64,
}

impl FrameHeader {
    /// A whole message or a control frame, as a server sends it.
    ///
    /// ```
    /// use switchboard_ws_proto::{FrameHeader, Opcode};
    ///
    /// assert!(FrameHeader::new(Opcode::Text, 5).fin);
    /// ```
    pub const fn new(opcode: Opcode, payload_len: u64) -> Self {
        Self { fin: true, rsv: 0, opcode, mask: None, payload_len }
    }

    /// Reads a header from the beginning of `bytes`: the header and its length, or `None` if more bytes are needed.
    ///
    /// Checked are the rules that one header can break alone: reserved opcodes, the shape of control frames, lengths that are not minimal or
    /// exceed 63 bits. Whether RSV bits and masking are right depends on the connection.
    ///
    /// ```
    /// use switchboard_ws_proto::FrameHeader;
    ///
    /// let (header, length) = FrameHeader::parse(b"\x81\x05Hello")?.expect("a whole header");
    /// assert_eq!((header.payload_len, length), (5, 2));
    /// # Ok::<(), switchboard_ws_proto::ProtocolError>(())
    /// ```
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let opcode = Opcode::from_u4(first & 0x0f)?;
        let fin = first & FIN != 0;
        let length = second & 0x7f;
        if opcode.is_control() {
            if !fin {
                return Err(ProtocolError::ControlFragmented);
            }
            if length > 125 {
                return Err(ProtocolError::ControlTooLong);
            }
        }
        let (payload_len, rest) = match length {
            126 => {
                let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
                let length = u64::from(u16::from_be_bytes(*length));
                if length < 126 {
                    return Err(ProtocolError::LengthNotMinimal(length));
                }
                (length, rest)
            }
            127 => {
                let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
                let length = u64::from_be_bytes(*length);
                if length >> 63 != 0 {
                    return Err(ProtocolError::LengthOverflow);
                }
                if length <= u64::from(u16::MAX) {
                    return Err(ProtocolError::LengthNotMinimal(length));
                }
                (length, rest)
            }
            length => (u64::from(length), rest),
        };
        let (mask, rest) = if second & MASKED == 0 {
            (None, rest)
        } else {
            let Some((key, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (Some(*key), rest)
        };
        let header = Self { fin, rsv: (first >> 4) & 7, opcode, mask, payload_len };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    /// Bytes that [`encode`](Self::encode) writes: 2 to 14.
    ///
    /// ```
    /// use switchboard_ws_proto::{FrameHeader, Opcode};
    ///
    /// assert_eq!(FrameHeader::new(Opcode::Text, 1000).encoded_len(), 4);
    /// ```
    pub const fn encoded_len(&self) -> usize {
        let length = match self.payload_len {
            0..=125 => 0,
            126..=0xffff => 2,
            _ => 8,
        };
        2 + length + if self.mask.is_some() { 4 } else { 0 }
    }

    /// Writes the header, the length in the fewest bytes. The payload is the caller's to append, masked if there is a key.
    ///
    /// ```
    /// use switchboard_ws_proto::{FrameHeader, Opcode};
    ///
    /// let mut frame = Vec::new();
    /// FrameHeader::new(Opcode::Text, 5).encode(&mut frame);
    /// assert_eq!(frame, b"\x81\x05");
    /// ```
    #[inline(always)]
    pub fn encode(&self, out: &mut impl BufMut) {
        debug_assert!(self.payload_len >> 63 == 0 && self.rsv < 8, "a header that no peer would take");
        let first = if self.fin { FIN } else { 0 } | (self.rsv << 4) | self.opcode as u8;
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        match self.payload_len {
            length @ 0..=125 => out.put_slice(&[first, masked | length as u8]),
            length @ 126..=0xffff => {
                let [high, low] = (length as u16).to_be_bytes();
                out.put_slice(&[first, masked | 126, high, low]);
            }
            length => {
                out.put_slice(&[first, masked | 127]);
                out.put_u64(length);
            }
        }
        if let Some(key) = self.mask {
            out.put_slice(&key);
        }
    }
}

/// In the first byte: the last fragment.
pub(crate) const FIN: u8 = 0x80;
/// In the second byte: a masking key follows.
pub(crate) const MASKED: u8 = 0x80;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn any_header() -> impl Strategy<Value = FrameHeader> {
        let edges = prop::sample::select(LENGTH_EDGES);
        (
            any::<bool>(),
            0..8u8,
            prop::sample::select(OPCODES),
            any::<Option<[u8; 4]>>(),
            prop_oneof![edges, 0..1u64 << 63],
        )
            .prop_map(|(fin, rsv, opcode, mask, payload_len)| {
                let control = opcode.is_control();
                let payload_len = if control { payload_len % 126 } else { payload_len };
                FrameHeader { fin: fin || control, rsv, opcode, mask, payload_len }
            })
    }

    const OPCODES: &[Opcode] =
        &[Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];

    const LENGTH_EDGES: &[u64] =
        &[0, 1, 124, 125, 126, 127, 128, 255, 256, 65534, 65535, 65536, 65537, (1 << 32) - 1, 1 << 32, (1 << 63) - 1];

    proptest! {
        #[test]
        fn what_is_encoded_is_parsed(header in any_header()) {
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), header.encoded_len());
            for length in 0..bytes.len() {
                prop_assert_eq!(FrameHeader::parse(bytes.get(..length).unwrap_or_default()), Ok(None));
            }
            let length = bytes.len();
            bytes.push(0xff);
            prop_assert_eq!(FrameHeader::parse(&bytes), Ok(Some((header, length))));
        }

        #[test]
        fn what_is_parsed_is_encoded_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(Some((header, length))) = FrameHeader::parse(&bytes) {
                let mut again = Vec::new();
                header.encode(&mut again);
                prop_assert_eq!(Some(&again[..]), bytes.get(..length));
            }
        }
    }

    #[test]
    fn lengths_at_their_edges() {
        let sixteen = |length: u16| {
            let [high, low] = length.to_be_bytes();
            FrameHeader::parse(&[0x82, 126, high, low]).map(|found| found.map(|(header, _)| header.payload_len))
        };
        let sixty_four = |length: u64| {
            let mut bytes = [0x82, 127, 0, 0, 0, 0, 0, 0, 0, 0];
            bytes[2..].copy_from_slice(&length.to_be_bytes());
            FrameHeader::parse(&bytes).map(|found| found.map(|(header, _)| header.payload_len))
        };
        for length in 0..=u16::MAX {
            let expected = if length < 126 {
                Err(ProtocolError::LengthNotMinimal(length.into()))
            } else {
                Ok(Some(length.into()))
            };
            assert_eq!(sixteen(length), expected);
            assert_eq!(sixty_four(length.into()), Err(ProtocolError::LengthNotMinimal(length.into())));
        }
        for &length in LENGTH_EDGES.iter().filter(|&&length| length > 65535) {
            assert_eq!(sixty_four(length), Ok(Some(length)));
        }
        for length in [1 << 63, (1 << 63) + 1, u64::MAX] {
            assert_eq!(sixty_four(length), Err(ProtocolError::LengthOverflow));
        }
    }
}
