//! One WebSocket connection after its opening handshake. Owns the order of things: what may be sent when, the closing handshake
//! (RFC 6455 §7), the answers to pings. Frames are read in `input`, collected in `transmit`, timed in `keepalive`.

use alloc::boxed::Box;

use bytes::{Bytes, BytesMut};

use crate::close::reason_that_fits;
use crate::deflate::Outbound;
use crate::frame::{FrameHeader, Opcode, RSV1};
use crate::input::{Incoming, Input};
use crate::keepalive::{Due, Keepalive};
use crate::mask::MaskKeys;
use crate::utf8;
use crate::{CloseCode, CloseFrame, Config, Limits, Message, ProtocolError, Role, SendError, Time, Transmit};

/// What a connection has to tell.
///
/// ```
/// use switchboard_ws_proto::{Config, Connection, Event, Role};
///
/// let mut connection = Connection::new(Role::Server, Config::default());
/// connection.receive_eof();
/// assert_eq!(connection.poll_event(), Some(Event::Eof { clean: false }));
/// assert_eq!(connection.poll_event(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A whole message.
    Message(Message),
    /// The peer asks whether we live. The Pong is queued already.
    Ping(Bytes),
    /// The peer lives.
    Pong(Bytes),
    /// The peer closes, or answers our Close; `None` without a code. Our own Close is queued if it was not sent. Only [`Event::Eof`] follows.
    Close(Option<CloseFrame>),
    /// The peer broke the rules. A Close that says so is queued, and input is ignored from now on (§7.1.7). Only [`Event::Eof`] follows.
    Failed(ProtocolError),
    /// Not one byte came since a ping was sent `pong_timeout` ago. There is nobody to write to: drop the socket.
    Unresponsive,
    /// The peer's stream ended; `clean` if its Close had come.
    Eof {
        /// A Close came before.
        clean: bool,
    },
}

/// A WebSocket connection as a state machine.
///
/// Input: [`receive`](Self::receive) buffers, then take [`poll_event`](Self::poll_event) until `None`. Output: [`transmit`](Self::transmit).
/// Time: [`poll_timeout`](Self::poll_timeout) and [`handle_timeout`](Self::handle_timeout). The end: [`is_finished`](Self::is_finished).
///
/// No sequence of input bytes makes it panic or hold more than its [`Limits`] allow. See the [crate](crate)'s example.
#[derive(Debug)]
pub struct Connection {
    input: Input,
    transmit: Transmit,
    limits: Limits,
    /// A client's. Boxed, since servers have many connections and no keys.
    mask_keys: Option<Box<MaskKeys>>,
    keepalive: Keepalive,
    reading: bool,
    close_sent: bool,
    close_received: bool,
    failed: bool,
    eof: bool,
    /// Nobody will answer any more.
    gave_up: bool,
    /// If compression is agreed.
    outbound: Option<Box<Outbound>>,
    /// Text or binary whose last fragment is still to be sent.
    sending_fragments: Option<Opcode>,
    /// They are compressed.
    sending_compressed: bool,
    sending_utf8: utf8::Utf8Stream,
    /// An answer that waits until output has drained: the last ping's only (§5.5.3).
    pong_due: Option<Bytes>,
    waiting: Option<Event>,
}

impl Connection {
    /// Right after the opening handshake.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a configuration belongs to its connection; it will hold more than numbers"
    )]
    pub fn new(role: Role, config: Config) -> Self {
        let Config { limits, .. } = config;
        #[cfg(feature = "deflate")]
        let (inbound, outbound) = deflate_directions(&config, role.is_server());
        #[cfg(not(feature = "deflate"))]
        let (inbound, outbound) = (None, None);
        Self {
            input: Input::new(inbound),
            transmit: Transmit::default(),
            limits,
            mask_keys: match role {
                Role::Server => None,
                Role::Client { mask_seed } => Some(Box::new(MaskKeys::new(mask_seed))),
            },
            keepalive: Keepalive::new(&config),
            reading: true,
            close_sent: false,
            close_received: false,
            failed: false,
            eof: false,
            gave_up: false,
            outbound,
            sending_fragments: None,
            sending_compressed: false,
            sending_utf8: utf8::Utf8Stream::default(),
            pong_due: None,
            waiting: None,
        }
    }

    /// Whether this is the server's side.
    pub fn is_server(&self) -> bool {
        self.mask_keys.is_none()
    }

    /// From the next frame on. A server raises them after authentication.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What holds now.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The window that the peer has agreed to inflate with: 9 to 15 bits, `None` if this side does not compress. A frame of
    /// [`compress_frame`](crate::deflate::compress_frame) with this window or a smaller one may be given to
    /// [`send_encoded`](Self::send_encoded).
    #[cfg(feature = "deflate")]
    pub fn deflate_window_bits(&self) -> Option<u8> {
        self.outbound.as_ref().map(|outbound| outbound.window_bits())
    }
}

/// Input.
impl Connection {
    /// Takes bytes from the peer, with their buffer: a payload that lies whole in it is split off, unmasked in place and never copied.
    ///
    /// Take events until `None`, then ask for the buffer with [`reclaim_input`](Self::reclaim_input). If events of the last buffer are still
    /// waiting, `chunk` is appended to it by a copy.
    #[inline]
    pub fn receive(&mut self, chunk: BytesMut) {
        self.keepalive.heard = true;
        if self.reading {
            self.input.receive(chunk);
        } else {
            self.input.discard(chunk);
        }
    }

    /// The next event, or `None` if more bytes are needed.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.reading {
            match self.input.poll(self.mask_keys.is_none(), &self.limits) {
                Ok(Some(Incoming::Message(message))) => return Some(Event::Message(message)),
                Ok(Some(control)) => return Some(self.on_control(control)),
                Ok(None) => {}
                Err(error) => return Some(self.fail(error)),
            }
        }
        self.waiting.take()
    }

    /// The peer's stream ended. What came before is still told first.
    pub fn receive_eof(&mut self) {
        if !self.eof {
            self.eof = true;
            self.waiting = Some(Event::Eof { clean: self.close_received });
        }
    }

    /// While a large message is in progress: its buffer, with room at its end. Read from the socket directly into it, then poll for events;
    /// there is no `receive` for what was read so. `None` when a buffer of the caller's serves better.
    ///
    /// It grows with what has come, never to a length that was only declared. Only append to it.
    pub fn read_buffer(&mut self) -> Option<&mut BytesMut> {
        if !self.reading {
            return None;
        }
        let buffer = self.input.read_buffer();
        // What is read there passes `receive` by.
        self.keepalive.heard |= buffer.is_some();
        buffer
    }

    /// After `poll_event` gave `None`: the last buffer, for the caller's pool. What is left of an incomplete frame moves to a place of its
    /// own, so that an idle connection holds no buffer. The buffer may be empty of capacity, or still shared with messages:
    /// [`BytesMut::try_reclaim`] tells.
    #[inline]
    pub fn reclaim_input(&mut self) -> Option<BytesMut> {
        self.input.reclaim()
    }

    /// Whether the next message's last frame lies whole in the buffer, so that `poll_event` has work without another read.
    pub fn message_waiting(&self) -> bool {
        self.reading && self.input.message_waiting()
    }

    fn on_control(&mut self, control: Incoming) -> Event {
        match control {
            Incoming::Ping(payload) => {
                self.answer_ping(&payload);
                Event::Ping(payload)
            }
            Incoming::Pong(payload) => Event::Pong(payload),
            Incoming::Message(message) => Event::Message(message),
            Incoming::Close(payload) => match CloseFrame::parse(payload) {
                Ok(frame) => {
                    self.close_received = true;
                    self.stop_reading();
                    self.correct_eof();
                    if !self.close_sent {
                        // §5.5.1: the answer typically echoes the code.
                        self.queue_close(frame.as_ref().map(|frame| frame.code), "");
                    }
                    Event::Close(frame)
                }
                Err(error) => self.fail(error),
            },
        }
    }

    /// §7.1.7: tells the peer, then ignores it.
    #[cold]
    fn fail(&mut self, error: ProtocolError) -> Event {
        self.failed = true;
        self.stop_reading();
        if !self.close_sent {
            self.queue_close(Some(error.close_code()), "");
        }
        Event::Failed(error)
    }

    fn stop_reading(&mut self) {
        self.reading = false;
        self.input.clear();
    }

    /// The end of the stream was noticed before the Close in front of it was read.
    fn correct_eof(&mut self) {
        if let Some(Event::Eof { clean }) = &mut self.waiting {
            *clean = true;
        }
    }

    fn answer_ping(&mut self, payload: &Bytes) {
        if self.close_sent {
            return;
        }
        if self.transmit.len() >= PONG_BACKLOG_BYTES_MAX {
            // §5.5.3: a peer that does not read what it asks for gets the answer to its last ping only.
            self.pong_due = Some(payload.clone());
        } else {
            self.push_copied(Opcode::Pong, true, payload);
        }
    }
}

/// Output. Everything is queued; [`transmit`](Connection::transmit) has it. There is no limit here to what the caller queues: see
/// [`transmit_len`](Connection::transmit_len).
impl Connection {
    /// Queues a message. A payload from 4 KiB on is not copied (a client's only if something else holds it too).
    ///
    /// # Errors
    /// [`SendError::Closing`] after a Close or a failure, [`SendError::InsideFragments`] before the last fragment of another message.
    #[inline]
    pub fn send(&mut self, message: Message) -> Result<(), SendError> {
        self.may_begin_message()?;
        let (opcode, payload) = match message {
            Message::Text(text) => (Opcode::Text, text.into_bytes()),
            Message::Binary(bytes) => (Opcode::Binary, bytes),
        };
        if self.outbound.is_some() && self.push_compressed(opcode, &payload) {
            return Ok(());
        }
        let header = self.header(opcode, true, payload.len());
        self.transmit.push(&header, payload);
        Ok(())
    }

    /// Queues a message of text, copied.
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

    /// Queues a Ping of at most 125 bytes.
    ///
    /// # Errors
    /// [`SendError::Closing`] and [`SendError::ControlTooLong`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.control(Opcode::Ping, payload)
    }

    /// Queues a Pong that answers nothing (§5.5.3). Pings are answered without it.
    ///
    /// # Errors
    /// [`SendError::Closing`] and [`SendError::ControlTooLong`].
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.control(Opcode::Pong, payload)
    }

    /// Queues a Close and waits for the peer's until `close_timeout`; messages that come before it are still told. A reason of more than 123
    /// bytes is cut between characters. [`CloseCode::NO_STATUS`] sends a Close without a code. Does nothing if a Close was sent already.
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
    #[inline]
    pub fn transmit(&mut self) -> &mut Transmit {
        if self.pong_due.is_some() {
            self.queue_due_pong();
        }
        &mut self.transmit
    }

    /// Bytes that wait to be written. Stop sending, or disconnect, when a slow peer lets this grow.
    #[inline]
    pub fn transmit_len(&self) -> usize {
        self.transmit.len() + self.pong_due.as_ref().map_or(0, |payload| payload.len() + 2)
    }

    /// Gives a buffer to collect output in, for instance from a pool, so that the connection need not allocate one.
    #[inline]
    pub fn lend_transmit(&mut self, buffer: BytesMut) {
        self.transmit.lend(buffer);
    }

    /// When everything is written: the buffer of output, so that an idle connection holds none.
    #[inline]
    pub fn reclaim_transmit(&mut self) -> Option<BytesMut> {
        if self.pong_due.is_some() { None } else { self.transmit.reclaim() }
    }

    #[inline]
    fn may_begin_message(&self) -> Result<(), SendError> {
        if self.close_sent {
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
    fn push_copied(&mut self, opcode: Opcode, fin: bool, payload: &[u8]) {
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

    fn queue_close(&mut self, code: Option<CloseCode>, reason: &str) {
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

/// Time.
impl Connection {
    /// When to call [`handle_timeout`](Self::handle_timeout) next. [`Time::ZERO`] means at once: something began that needs to know the time.
    /// May change with every call of another method, so look before waiting.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.keepalive.deadline()
    }

    /// Tells the time. Pings a peer that was silent for `ping_interval` (looked at only here, so up to twice as long), reports it as
    /// [`Event::Unresponsive`] if nothing comes within `pong_timeout`, and gives up on a peer that does not close within `close_timeout`.
    pub fn handle_timeout(&mut self, now: Time) {
        match self.keepalive.handle_timeout(now) {
            Due::Nothing => {}
            Due::Ping => self.push_copied(Opcode::Ping, true, &[]),
            Due::Unresponsive => {
                self.gave_up = true;
                self.close_sent = true;
                self.stop_reading();
                self.transmit.clear();
                self.pong_due = None;
                self.waiting = Some(Event::Unresponsive);
            }
            Due::GiveUp => {
                self.gave_up = true;
                self.stop_reading();
                self.transmit.clear();
            }
        }
    }
}

/// State.
impl Connection {
    /// Messages may be sent: no Close was sent or received, and nothing failed.
    #[inline]
    pub fn is_open(&self) -> bool {
        !self.close_sent && !self.eof
    }

    /// A Close was sent (as an answer too), and the socket is still needed.
    pub fn is_closing(&self) -> bool {
        self.close_sent && !self.is_finished()
    }

    /// The peer's Close has come.
    pub fn close_received(&self) -> bool {
        self.close_received
    }

    /// Everything that will ever be sent is written: shut down the writing half of the socket. A server does so after both Closes, and
    /// either side after a failure; a client otherwise leaves it to the server (§7.1.1).
    pub fn should_shut_down_write(&self) -> bool {
        self.transmit.len() == 0
            && self.close_sent
            && (self.failed || self.gave_up || (self.close_received && self.is_server()))
    }

    /// The socket may be dropped. Until then keep reading (what comes is ignored): to drop a socket with unread bytes would reset it,
    /// and the peer might lose our Close. A client waits for the server's end of the stream, at most until `close_timeout`.
    pub fn is_finished(&self) -> bool {
        let closed = self.close_sent && self.close_received && self.is_server() && self.transmit.len() == 0;
        // A peer that ended its stream may still read, so our Close goes out first.
        let ended = self.eof && (self.transmit.len() == 0 || !self.close_sent);
        self.gave_up || closed || ended
    }
}

#[cfg(feature = "deflate")]
fn deflate_directions(config: &Config, server: bool) -> (Option<Box<crate::deflate::Inbound>>, Option<Box<Outbound>>) {
    let Some(agreed) = &config.deflate else { return (None, None) };
    let inbound = crate::deflate::Inbound::new(&agreed.params, server);
    (Some(Box::new(inbound)), Outbound::new(agreed, server).map(Box::new))
}

/// Answers to pings may fill this much while output is stuck.
const PONG_BACKLOG_BYTES_MAX: usize = 64 * 1024;

const CONTROL_BYTES_MAX: usize = 125;
