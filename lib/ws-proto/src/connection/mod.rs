//! One WebSocket connection after its opening handshake. Owns the order of things: what may be sent when, the closing handshake
//! (RFC 6455 §7), the answers to pings. Frames are read in `input`, collected in `transmit`, timed in `keepalive`;
//! what is sent is in `output`, where a connection stands in `state`.

mod output;
mod state;

use alloc::boxed::Box;
use alloc::string::ToString;
use core::fmt;

use bytes::{Bytes, BytesMut};

use crate::deflate::Outbound;
use crate::frame::Opcode;
use crate::input::{Incoming, Input};
use crate::keepalive::Keepalive;
use crate::mask::MaskKeys;
use crate::transmit::SMALL_BYTES_MAX;
use crate::utf8;
use crate::{CloseFrame, Config, Limits, Message, Piece, ProtocolError, Role, Transmit};

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
    /// A piece of one: only [`Connection::poll_piece`] tells these, and no whole messages.
    Piece(Piece),
    /// The peer asks whether we live. The Pong is queued already, unless [`Config::answer_pings`] says otherwise.
    Ping(Bytes),
    /// The peer lives.
    Pong(Bytes),
    /// The peer closes, or answers our Close; `None` without a code. Our own Close is queued if it was not sent. Only [`Event::Eof`] follows.
    Close(Option<CloseFrame>),
    /// The peer broke the rules. A Close with the code and the text of the error is queued, and input is ignored from now on (§7.1.7). Only
    /// [`Event::Eof`] follows.
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
///
/// ```
/// # use switchboard_ws_proto::{Config, Connection, Role};
/// # let mut connection = Connection::new(Role::Server, Config::default());
/// assert!(connection.is_open());
/// ```
pub struct Connection {
    input: Input,
    transmit: Transmit,
    limits: Limits,
    /// What follows from them for messages that are told by a shortcut.
    small_bytes_max: u8,
    /// A client's. Boxed, since servers have many connections and no keys.
    mask_keys: Option<Box<MaskKeys>>,
    keepalive: Keepalive,
    /// Something of the end has begun: a Close was sent or received, a rule broken, the stream ended, or the peer given up. As long as it has
    /// not, none of the fields up to `gave_up` and not `waiting` needs to be looked at.
    ending: bool,
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
    pong_due: Option<Box<Bytes>>,
    waiting: Waiting,
}

/// What is told when all that came before is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Nothing,
    Eof { clean: bool },
    Unresponsive,
}

impl Connection {
    /// Right after the opening handshake.
    ///
    /// ```
    /// use switchboard_ws_proto::{Config, Connection, Role};
    ///
    /// let connection = Connection::new(Role::Server, Config::default());
    /// ```
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
            small_bytes_max: small_bytes_max(&limits),
            transmit: Transmit::default(),
            limits,
            mask_keys: match role {
                Role::Server => None,
                Role::Client { mask_seed } => Some(Box::new(MaskKeys::new(mask_seed))),
            },
            keepalive: Keepalive::new(&config),
            ending: false,
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
            waiting: Waiting::Nothing,
        }
    }

    /// Whether this is the server's side.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// assert!(connection.is_server());
    /// ```
    pub fn is_server(&self) -> bool {
        self.mask_keys.is_none()
    }

    /// From the next frame on. A server raises them after authentication.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// use switchboard_ws_proto::Limits;
    ///
    /// connection.set_limits(Limits { message_bytes_max: 64 << 20, ..Limits::default() });
    /// ```
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.small_bytes_max = small_bytes_max(&limits);
    }

    /// What holds now.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// assert_eq!(connection.limits().message_bytes_max, 16 << 20);
    /// ```
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The window that the peer has agreed to inflate with: 9 to 15 bits, `None` if this side does not compress. A frame of
    /// [`compress_frame`](crate::deflate::compress_frame) with this window or a smaller one may be given to
    /// [`send_encoded`](Self::send_encoded).
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// assert_eq!(connection.deflate_window_bits(), None);
    /// ```
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
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Client { mask_seed: [0; 32] }, Config::default());
    /// use bytes::BytesMut;
    ///
    /// connection.receive(BytesMut::from(&b"\x81\x05Hello"[..]));
    /// assert!(connection.poll_event().is_some());
    /// ```
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
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// while let Some(event) = connection.poll_event() {
    ///     println!("{event:?}");
    /// }
    /// ```
    #[inline(always)]
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.ending {
            return self.poll_event_at_the_end();
        }
        if !self.input.has_work() {
            return None;
        }
        if let Some(message) = self.poll_small_message() {
            return Some(Event::Message(message));
        }
        self.poll_input()
    }

    /// The next message, if it is what most of a server's are: whole in the buffer, uncompressed, of 1 to 125 bytes. Anything else is for
    /// [`poll_event`](Self::poll_event), of which this is the shortcut: for whoever hands messages on at once, and would have each moved
    /// through an [`Event`] first.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// // "hi" and a ping, masked with zeros.
    /// connection.receive(bytes::BytesMut::from(&b"\x81\x82\0\0\0\0hi\x89\x80\0\0\0\0"[..]));
    /// assert_eq!(connection.poll_small_message(), Some("hi".into()));
    /// assert_eq!(connection.poll_small_message(), None);
    /// assert!(connection.poll_event().is_some());
    /// ```
    #[inline(always)]
    pub fn poll_small_message(&mut self) -> Option<Message> {
        if !self.input.has_header() || self.ending || self.mask_keys.is_some() {
            return None;
        }
        let message = self.input.poll_small(self.small_bytes_max)?;
        self.keepalive.heard = true;
        Some(message)
    }

    #[inline(never)]
    fn poll_event_at_the_end(&mut self) -> Option<Event> {
        if self.reading && self.input.has_work() {
            let event = self.poll_input();
            if event.is_some() {
                return event;
            }
        }
        self.poll_waiting()
    }

    #[inline(never)]
    fn poll_input(&mut self) -> Option<Event> {
        self.keepalive.heard |= self.input.has_news();
        match self.input.poll(self.mask_keys.is_none(), &self.limits) {
            Ok(Some(Incoming::Message(message))) => Some(Event::Message(message)),
            Ok(Some(control)) => Some(self.on_control(control)),
            Ok(None) => None,
            Err(error) => Some(self.fail(error)),
        }
    }

    /// As [`poll_event`](Self::poll_event), but messages come in pieces: what has come of one is told without waiting for the rest, and a
    /// message need not be held whole. What is held is what one buffer of input brought, or 12 KiB of what a compressed one is inflated to.
    ///
    /// The two may be called in turns. What `poll_event` has collected of a message is its first piece then; and `poll_event` passes over the
    /// rest of a message of which a piece was told.
    ///
    /// [`Limits`] hold for a message in pieces too, all pieces together. If it may be as long as its sender likes, lift them by
    /// [`set_limits`](Self::set_limits) to [`Limits::NONE`]: that costs no memory as long as nothing but `poll_piece` is called.
    ///
    /// A broken rule is [`Event::Failed`], as with whole messages; the pieces that were told before are of a message that has no end then. Text
    /// is checked as it comes (RFC 6455 §8.1), and each piece of it is text.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Client { mask_seed: [0; 32] }, Config::default());
    /// use bytes::BytesMut;
    /// use switchboard_ws_proto::Event;
    ///
    /// // The first four bytes of a message of a hundred.
    /// connection.receive(BytesMut::from(&b"\x82\x64abcd"[..]));
    /// let Some(Event::Piece(piece)) = connection.poll_piece() else { panic!() };
    /// assert!(piece.data.as_bytes() == b"abcd" && piece.first && !piece.last);
    /// ```
    pub fn poll_piece(&mut self) -> Option<Event> {
        if self.reading {
            self.keepalive.heard |= self.input.has_news();
            match self.input.poll_piece(self.mask_keys.is_none(), &self.limits) {
                Ok(Some(incoming)) => return Some(self.on_control(incoming)),
                Ok(None) => {}
                Err(error) => return Some(self.fail(error)),
            }
        }
        self.poll_waiting()
    }

    /// The peer's stream ended. What came before is still told first.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// use switchboard_ws_proto::Event;
    ///
    /// connection.receive_eof();
    /// assert_eq!(connection.poll_event(), Some(Event::Eof { clean: false }));
    /// ```
    pub fn receive_eof(&mut self) {
        if !self.eof {
            self.ending = true;
            self.eof = true;
            self.waiting = Waiting::Eof { clean: self.close_received };
        }
    }

    /// While a large message is in progress: its buffer, with room at its end. Read from the socket directly into it, then poll for events;
    /// there is no `receive` for what was read so. `None` when a buffer of the caller's serves better.
    ///
    /// It grows with what has come, never to a length that was only declared. Only append to it.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// use std::io::Read;
    ///
    /// # let mut stream = std::io::empty();
    /// let mut chunk = [0; 4096];
    /// let count = stream.read(&mut chunk)?;
    /// match connection.read_buffer() {
    ///     Some(buffer) => buffer.extend_from_slice(&chunk[..count]),
    ///     None => connection.receive(bytes::BytesMut::from(&chunk[..count])),
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_buffer(&mut self) -> Option<&mut BytesMut> {
        if self.reading { self.input.direct_buffer() } else { None }
    }

    /// Where to read what comes next, for whoever moves no buffer about: as [`read_buffer`](Self::read_buffer) while a large message is in
    /// progress. Otherwise it is the last buffer, or one without capacity; either may be put in order or exchanged if it
    /// [is empty](BytesMut::is_empty), and [`reclaim_input`](Self::reclaim_input) gives it back. Only append to it, and then poll for events.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Client { mask_seed: [0; 32] }, Config::default());
    /// use bytes::BytesMut;
    ///
    /// let buffer = connection.input_buffer();
    /// if buffer.is_empty() && !buffer.try_reclaim(4096) {
    ///     *buffer = BytesMut::with_capacity(4096);
    /// }
    /// buffer.extend_from_slice(b"\x81\x05Hello");
    /// assert!(connection.poll_event().is_some());
    /// ```
    #[inline]
    pub fn input_buffer(&mut self) -> &mut BytesMut {
        if !self.ending || self.reading { self.input.buffer() } else { self.input.discarded_buffer() }
    }

    /// After `poll_event` gave `None`: the last buffer, for the caller's pool. What is left of an incomplete frame moves to a place of its
    /// own, so that an idle connection holds no buffer. The buffer may be empty of capacity, or still shared with messages:
    /// [`BytesMut::try_reclaim`] tells.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// use bytes::BytesMut;
    ///
    /// connection.receive(BytesMut::with_capacity(65536));
    /// while connection.poll_event().is_some() {}
    /// let buffer = connection.reclaim_input();
    /// assert!(buffer.is_some_and(|buffer| buffer.capacity() == 65536));
    /// ```
    #[inline]
    pub fn reclaim_input(&mut self) -> Option<BytesMut> {
        if !self.reading {
            self.input.discarded_buffer();
        }
        self.input.reclaim()
    }

    /// Whether the next message's last frame lies whole in the buffer, so that `poll_event` has work without another read.
    ///
    /// ```
    /// # use switchboard_ws_proto::{Config, Connection, Role};
    /// # let mut connection = Connection::new(Role::Server, Config::default());
    /// assert!(!connection.message_waiting());
    /// ```
    pub fn message_waiting(&self) -> bool {
        self.reading && self.input.message_waiting()
    }

    fn poll_waiting(&mut self) -> Option<Event> {
        if self.waiting == Waiting::Nothing { None } else { self.take_waiting() }
    }

    #[cold]
    fn take_waiting(&mut self) -> Option<Event> {
        match core::mem::replace(&mut self.waiting, Waiting::Nothing) {
            Waiting::Nothing => None,
            Waiting::Eof { clean } => Some(Event::Eof { clean }),
            Waiting::Unresponsive => Some(Event::Unresponsive),
        }
    }

    #[inline(never)]
    fn on_control(&mut self, control: Incoming) -> Event {
        match control {
            Incoming::Ping(payload) => {
                self.answer_ping(&payload);
                Event::Ping(payload)
            }
            Incoming::Pong(payload) => Event::Pong(payload),
            Incoming::Message(message) => Event::Message(message),
            Incoming::Piece(piece) => Event::Piece(piece),
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
            // For whoever looks for the fault at the other end.
            self.queue_close(Some(error.close_code()), &error.to_string());
        }
        Event::Failed(error)
    }

    fn stop_reading(&mut self) {
        self.ending = true;
        self.reading = false;
        self.input.clear();
    }

    /// The end of the stream was noticed before the Close in front of it was read.
    fn correct_eof(&mut self) {
        if let Waiting::Eof { clean } = &mut self.waiting {
            *clean = true;
        }
    }

    fn answer_ping(&mut self, payload: &Bytes) {
        if self.close_sent || !self.keepalive.answers {
            return;
        }
        if self.transmit.len() >= PONG_BACKLOG_BYTES_MAX {
            // §5.5.3: a peer that does not read what it asks for gets the answer to its last ping only.
            self.pong_due = Some(Box::new(payload.clone()));
        } else {
            self.push_copied(Opcode::Pong, true, payload);
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what the peers say to each other.
        let Self { ending, close_sent, close_received, failed, eof, gave_up, .. } = self;
        let mut shown = f.debug_struct("Connection");
        shown.field("server", &self.is_server()).field("limits", &self.limits).field("ending", ending);
        shown.field("close_sent", close_sent).field("close_received", close_received).field("failed", failed);
        shown.field("eof", eof).field("gave_up", gave_up).field("transmit_len", &self.transmit_len());
        shown.finish_non_exhaustive()
    }
}

#[cfg(feature = "deflate")]
fn deflate_directions(config: &Config, server: bool) -> (Option<Box<crate::deflate::Inbound>>, Option<Box<Outbound>>) {
    let Some(agreed) = &config.deflate else { return (None, None) };
    let inbound = crate::deflate::Inbound::new(&agreed.params, server);
    (Some(Box::new(inbound)), Outbound::new(agreed, server).map(Box::new))
}

/// What the limits leave of the messages that are told by a shortcut.
fn small_bytes_max(limits: &Limits) -> u8 {
    if limits.fragments_max == 0 {
        return 0;
    }
    let bytes = limits.message_bytes_max.min(limits.frame_bytes_max).min(SMALL_BYTES_MAX);
    bytes as u8
}

/// Answers to pings may fill this much while output is stuck.
const PONG_BACKLOG_BYTES_MAX: usize = 64 * 1024;
