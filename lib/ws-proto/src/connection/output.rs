//! What a connection sends: messages, fragments, control frames, in the order in which they may be sent. Compressing is `deflate`'s, and
//! the queue `transmit`'s. Knows nothing of what comes in.

use bytes::{Bytes, BytesMut};

use super::{Connection, PONG_BACKLOG_BYTES_MAX};
use crate::close::reason_that_fits;
use crate::frame::{FrameHeader, Opcode, RSV1};
use crate::transmit::{LARGE_BYTES_MIN, SMALL_BYTES_MAX};
use crate::utf8;
use crate::{CloseCode, Message, SendError, Transmit};

/// Output. Everything is queued; [`transmit`](Connection::transmit) has it. There is no limit here to what the caller queues: see
/// [`transmit_len`](Connection::transmit_len).
impl Connection {
    /// Queues a message. A payload from 4 KiB on is not copied (a client's only if something else holds it too).
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// use switchboard_ws_proto::Message;
    ///
    /// connection.send(Message::from("hello"))?;
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError::Closing`] after a Close or a failure, [`SendError::InsideFragments`] before the last fragment of another message.
    #[inline]
    pub fn send(&mut self, message: Message) -> Result<(), SendError> {
        self.may_begin_message()?;
        if message.len() >= LARGE_BYTES_MIN || self.outbound.is_some() {
            self.send_kept(message);
        } else if let Some(keys) = &mut self.mask_keys {
            self.transmit.push_masked(keys.next_key(), opcode_of(&message), message.as_bytes());
        } else if message.len() <= SMALL_BYTES_MAX {
            self.transmit.push_small(opcode_of(&message), message.as_bytes());
        } else {
            self.transmit.push_medium(opcode_of(&message), message.as_bytes());
        }
        Ok(())
    }

    #[inline(never)]
    fn send_kept(&mut self, message: Message) {
        let opcode = opcode_of(&message);
        let payload = message.into_bytes();
        if self.outbound.is_none() || !self.push_compressed(opcode, &payload) {
            let header = self.header(opcode, true, payload.len());
            self.transmit.push(&header, payload);
        }
    }

    /// Queues a message of text, copied.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// connection.send_text("hello")?;
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.may_begin_message()?;
        self.push_message(Opcode::Text, text.as_bytes());
        Ok(())
    }

    /// Queues a message whose payload is copied, from a borrowed slice.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// use switchboard_ws_proto::Opcode;
    ///
    /// connection.send_data(Opcode::Binary, &[1, 2, 3])?;
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send), [`SendError::NotData`] unless `opcode` is text or binary, [`SendError::InvalidUtf8`].
    pub fn send_data(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), SendError> {
        self.may_begin_message()?;
        match opcode {
            Opcode::Binary => {}
            Opcode::Text if utf8::is_utf8(payload) => {}
            Opcode::Text => return Err(SendError::InvalidUtf8),
            _ => return Err(SendError::NotData),
        }
        self.push_message(opcode, payload);
        Ok(())
    }

    /// Queues a piece of a message: the first with [`Opcode::Text`] or [`Opcode::Binary`], the others with [`Opcode::Continuation`], the last
    /// with `fin`. Pings, pongs and a Close may be sent between. Text may be cut inside of a character.
    ///
    /// ```
    /// use bytes::{Buf, Bytes};
    /// use switchboard_ws_proto::{Config, Connection, Opcode, Role};
    ///
    /// let mut connection = Connection::new(Role::Server, Config::default());
    /// connection.send_fragment(Opcode::Text, false, Bytes::from_static(b"Hel"))?;
    /// connection.send_fragment(Opcode::Continuation, true, Bytes::from_static(b"lo"))?;
    /// assert_eq!(connection.transmit().chunk(), b"\x01\x03Hel\x80\x02lo");
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError::InsideFragments`] and [`SendError::OutsideFragments`] for pieces out of order, [`SendError::InvalidUtf8`] at the first
    /// piece whose text cannot be right, and as [`send`](Self::send).
    pub fn send_fragment(&mut self, opcode: Opcode, fin: bool, payload: Bytes) -> Result<(), SendError> {
        if self.close_sent {
            return Err(SendError::Closing);
        }
        let message = match (opcode, self.sending_fragments) {
            (Opcode::Continuation, Some(message)) => message,
            (Opcode::Continuation, None) => return Err(SendError::OutsideFragments),
            (Opcode::Text | Opcode::Binary, None) => opcode,
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(SendError::InsideFragments),
            _ => return Err(SendError::NotData),
        };
        if message == Opcode::Text {
            let checked = self.sending_utf8.feed(&payload);
            if checked.is_err() || (fin && self.sending_utf8.finish().is_err()) {
                self.sending_utf8 = utf8::Utf8Stream::default();
                return Err(SendError::InvalidUtf8);
            }
        }
        self.sending_fragments = (!fin).then_some(message);
        if self.outbound.is_some() && self.push_compressed_fragment(opcode, fin, &payload) {
            return Ok(());
        }
        let header = self.header(opcode, fin, payload.len());
        self.transmit.push(&header, payload);
        Ok(())
    }

    /// Queues frames that were encoded once for many receivers: whole, unmasked data frames that make whole messages (see
    /// [`FrameHeader::encode`]). That they are so is the caller's promise. They may be compressed if the peer has agreed to it; where context
    /// takeover is agreed too, the context starts anew behind them.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// use bytes::Bytes;
    ///
    /// connection.send_encoded(Bytes::from_static(b"\x81\x05hello"))?;
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send), [`SendError::ClientMustMask`] on a client, and [`SendError::CompressionNotAgreed`].
    #[inline]
    pub fn send_encoded(&mut self, frames: Bytes) -> Result<(), SendError> {
        self.may_begin_message()?;
        if !self.is_server() {
            return Err(SendError::ClientMustMask);
        }
        if let Some(outbound) = &mut self.outbound {
            outbound.sent_elsewhere(&frames);
        } else if frames.first().is_some_and(|first| first & (RSV1 << 4) != 0) {
            return Err(SendError::CompressionNotAgreed);
        }
        self.transmit.push_encoded(frames);
        Ok(())
    }

    /// Queues the rest of such frames whose beginning the caller has written to the socket itself, while nothing was queued here: what is sent next must not
    /// come into the midst of them.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// use bytes::Bytes;
    ///
    /// assert_eq!(connection.transmit_len(), 0);
    /// // The socket has taken the header and three letters of b"\x81\x05hello".
    /// connection.send_encoded_rest(Bytes::from_static(b"lo"));
    /// connection.send_text("next")?;
    /// assert_eq!(connection.transmit_len(), 2 + 6);
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    pub fn send_encoded_rest(&mut self, rest: Bytes) {
        self.transmit.push_encoded(rest);
    }

    /// Queues frames as [`send_encoded`](Self::send_encoded) takes them, none of them compressed, and compresses each whole message for this
    /// connection alone: many connections share what was encoded once, and those with context takeover make of it what their context
    /// gives. Answers how many were compressed: none where nothing is agreed.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// use bytes::Bytes;
    ///
    /// let frames = Bytes::from_static(b"\x81\x05hello\x81\x05world");
    /// assert_eq!(connection.compress_encoded(frames)?, 0);
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    ///
    /// # Errors
    /// As [`send_encoded`](Self::send_encoded).
    #[cfg(feature = "deflate")]
    pub fn compress_encoded(&mut self, mut frames: Bytes) -> Result<usize, SendError> {
        let mut compressed = 0;
        while self.outbound.is_some()
            && let Ok(Some((header, start))) = FrameHeader::parse(&frames)
        {
            self.may_begin_message()?;
            let end = start.saturating_add(header.payload_len as usize);
            if end > frames.len() {
                break;
            }
            let frame = frames.split_to(end);
            let whole = header.fin && header.rsv == 0 && matches!(header.opcode, Opcode::Text | Opcode::Binary);
            let payload = frame.get(start..).unwrap_or_default();
            if whole && self.is_server() && self.push_compressed(header.opcode, payload) {
                compressed += 1;
            } else {
                self.send_encoded(frame)?;
            }
        }
        if !frames.is_empty() {
            self.send_encoded(frames)?;
        }
        Ok(compressed)
    }

    /// Queues a Ping of at most 125 bytes.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// connection.ping(b"there?")?;
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError::Closing`] and [`SendError::ControlTooLong`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.control(Opcode::Ping, payload)
    }

    /// Queues a Pong that answers nothing (§5.5.3). Pings are answered without it.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// connection.pong(b"here")?;
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError::Closing`] and [`SendError::ControlTooLong`].
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.control(Opcode::Pong, payload)
    }

    /// Queues a Close and waits for the peer's until `close_timeout`; messages that come before it are still told. A reason of more than 123
    /// bytes is cut between characters. [`CloseCode::NO_STATUS`] sends a Close without a code. Does nothing if a Close was sent already.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// use switchboard_ws_proto::CloseCode;
    ///
    /// connection.close(CloseCode::NORMAL, "bye")?;
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError::InvalidCloseCode`] for a code that must not be sent.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), SendError> {
        if code != CloseCode::NO_STATUS && !code.is_allowed() {
            return Err(SendError::InvalidCloseCode(code.as_u16()));
        }
        if !self.close_sent {
            self.queue_close((code != CloseCode::NO_STATUS).then_some(code), reason);
        }
        Ok(())
    }

    /// What waits to be written, as one buffer of several chunks.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// use bytes::Buf;
    ///
    /// connection.send_text("a")?;
    /// let transmit = connection.transmit();
    /// let written = transmit.chunk().len();
    /// transmit.advance(written);
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    #[inline]
    pub fn transmit(&mut self) -> &mut Transmit {
        if self.pong_due.is_some() {
            self.queue_due_pong();
        }
        &mut self.transmit
    }

    /// Bytes that wait to be written. Stop sending, or disconnect, when a slow peer lets this grow.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// connection.send_text("a")?;
    /// assert_eq!(connection.transmit_len(), 3);
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    #[inline]
    pub fn transmit_len(&self) -> usize {
        self.transmit.len() + self.pong_due.as_ref().map_or(0, |payload| payload.len() + 2)
    }

    /// Whether anything waits to be written.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// assert!(!connection.has_output());
    /// connection.send_text("a")?;
    /// assert!(connection.has_output());
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    #[inline]
    pub fn has_output(&self) -> bool {
        !self.transmit.is_empty() || self.pong_due.is_some()
    }

    /// Gives a buffer to collect output in, for instance from a pool, so that the connection need not allocate one.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// connection.lend_transmit(bytes::BytesMut::with_capacity(4096));
    /// ```
    #[inline]
    pub fn lend_transmit(&mut self, buffer: BytesMut) {
        self.transmit.lend(buffer);
    }

    /// When everything is written: the buffer of output, so that an idle connection holds none.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// connection.lend_transmit(bytes::BytesMut::with_capacity(4096));
    /// assert!(connection.reclaim_transmit().is_some());
    /// ```
    #[inline]
    pub fn reclaim_transmit(&mut self) -> Option<BytesMut> {
        if self.pong_due.is_some() { None } else { self.transmit.reclaim() }
    }

    /// Where output is collected, for whoever moves no buffer about, as long as nothing is queued: it is empty, and may be exchanged.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// use bytes::BytesMut;
    ///
    /// let mut pooled = BytesMut::with_capacity(4096);
    /// if let Some(buffer) = connection.output_buffer() {
    ///     std::mem::swap(buffer, &mut pooled);
    /// }
    /// connection.send_text("hello")?;
    /// assert!(connection.output_buffer().is_none());
    /// # Ok::<(), switchboard_ws_proto::SendError>(())
    /// ```
    #[inline]
    pub fn output_buffer(&mut self) -> Option<&mut BytesMut> {
        if self.pong_due.is_some() { None } else { self.transmit.buffer() }
    }

    #[inline]
    fn may_begin_message(&self) -> Result<(), SendError> {
        if self.ending && self.close_sent {
            Err(SendError::Closing)
        } else if self.sending_fragments.is_some() {
            Err(SendError::InsideFragments)
        } else {
            Ok(())
        }
    }

    #[inline]
    fn header(&mut self, opcode: Opcode, fin: bool, length: usize) -> FrameHeader {
        let mask = self.mask_keys.as_mut().map(|keys| keys.next_key());
        FrameHeader { fin, rsv: 0, opcode, mask, payload_len: length as u64 }
    }

    #[inline]
    pub(super) fn push_copied(&mut self, opcode: Opcode, fin: bool, payload: &[u8]) {
        let header = self.header(opcode, fin, payload.len());
        self.transmit.push_copied(&header, payload);
    }

    #[inline]
    fn push_message(&mut self, opcode: Opcode, payload: &[u8]) {
        if self.outbound.is_none() || !self.push_compressed(opcode, payload) {
            self.push_copied(opcode, true, payload);
        }
    }

    /// Answers `false` if the message is better sent as it is.
    #[inline(never)]
    fn push_compressed(&mut self, opcode: Opcode, payload: &[u8]) -> bool {
        let Some(outbound) = &mut self.outbound else { return false };
        let (mask_keys, transmit) = (&mut self.mask_keys, &mut self.transmit);
        let pushed = outbound.message(payload, |compressed| {
            let mask = mask_keys.as_mut().map(|keys| keys.next_key());
            transmit.push_slice(&FrameHeader { fin: true, rsv: RSV1, opcode, mask, payload_len: 0 }, compressed);
        });
        pushed.is_some()
    }

    /// All fragments of a message or none: answers `false` for none.
    #[inline(never)]
    fn push_compressed_fragment(&mut self, opcode: Opcode, fin: bool, payload: &[u8]) -> bool {
        let first = opcode != Opcode::Continuation;
        if first && fin {
            return self.push_compressed(opcode, payload);
        }
        self.sending_compressed |= first;
        let Some(outbound) = self.outbound.as_mut().filter(|_| self.sending_compressed) else { return false };
        let (mask_keys, transmit) = (&mut self.mask_keys, &mut self.transmit);
        let pushed = outbound.fragment(fin, payload, |compressed| {
            let mask = mask_keys.as_mut().map(|keys| keys.next_key());
            let rsv = if first { RSV1 } else { 0 };
            transmit.push_slice(&FrameHeader { fin, rsv, opcode, mask, payload_len: 0 }, compressed);
        });
        self.sending_compressed = !fin && pushed.is_some();
        pushed.is_some()
    }

    fn control(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), SendError> {
        if self.close_sent {
            return Err(SendError::Closing);
        }
        if payload.len() > CONTROL_BYTES_MAX {
            return Err(SendError::ControlTooLong);
        }
        self.push_copied(opcode, true, payload);
        Ok(())
    }

    pub(super) fn queue_close(&mut self, code: Option<CloseCode>, reason: &str) {
        let mut payload = [0; CONTROL_BYTES_MAX];
        let mut length = 0;
        if let Some(code) = code {
            let bytes = code.as_u16().to_be_bytes().into_iter().chain(reason_that_fits(reason).bytes());
            for (slot, byte) in payload.iter_mut().zip(bytes) {
                *slot = byte;
                length += 1;
            }
        }
        // §5.5.1: nothing follows a Close.
        self.pong_due = None;
        self.push_copied(Opcode::Close, true, payload.get(..length).unwrap_or_default());
        self.ending = true;
        self.close_sent = true;
        self.keepalive.close_begins();
    }

    #[cold]
    fn queue_due_pong(&mut self) {
        if self.transmit.len() < PONG_BACKLOG_BYTES_MAX
            && let Some(payload) = self.pong_due.take()
        {
            self.push_copied(Opcode::Pong, true, &payload);
        }
    }
}

fn opcode_of(message: &Message) -> Opcode {
    match message {
        Message::Text(_) => Opcode::Text,
        Message::Binary(_) => Opcode::Binary,
    }
}

const CONTROL_BYTES_MAX: usize = 125;
