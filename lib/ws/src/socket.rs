//! A WebSocket over a stream of bytes: drives the protocol's state machine with a socket, the clock and pooled buffers. All state lives in the
//! struct, none in a future: whatever is dropped at an await loses nothing. Knows nothing of handshakes.

mod borrowed;
mod drive;
mod traits;

use std::future::{Future, poll_fn};
use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use switchboard_ws_proto::{CloseCode, CloseFrame, Config, Connection, Event, Limits, Message, Opcode, Role};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Error;
use crate::timer::Timer;

/// What [`WebSocket::recv_event`] tells.
///
/// ```
/// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
/// use switchboard_ws::Received;
///
/// if let Some(Received::Pong(payload)) = socket.recv_event().await.transpose()? {
///     println!("it lives: {payload:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole message.
    Message(Message),
    /// The peer has asked whether we live, and is answered unless [`Config::answer_pings`] says otherwise.
    Ping(Bytes),
    /// The peer lives.
    Pong(Bytes),
}

/// A WebSocket connection over `S`.
///
/// [`recv`](Self::recv) has to be awaited for the connection to notice anything of the peer: its messages, its pings (which are answered while it is
/// awaited), its Close, its silence. The methods that send only send. One that waits for a peer that does not read waits as long as the peer does: put
/// [`timeout`](tokio::time::timeout) around it, or [`split`](Self::split) the socket and receive meanwhile.
///
/// # What is sent when
/// - [`send`](Self::send) returns when the socket has taken everything.
/// - [`feed`](Self::feed) queues. What is queued leaves with the next `send` or [`flush`](Self::flush), and **before
///   [`recv`](Self::recv) waits**: a server that answers each message by `feed` answers all that one read brought by one write, and never
///   holds an answer back while it waits for the peer.
///
/// ```
/// # async fn serve<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
/// #     mut socket: switchboard_ws::WebSocket<S>,
/// # ) -> Result<(), switchboard_ws::Error> {
/// while let Some(message) = socket.recv().await {
///     socket.feed(message?).await?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cancellation
/// Every method may be dropped at any await. `recv`: nothing is lost, the next call goes on. `feed`: the message was not queued. `send`: the
/// message may have been queued and then leaves later, whole. `close`: the Close is queued; await `recv` or `close` again to finish.
#[derive(Debug)]
pub struct WebSocket<S> {
    io: S,
    connection: Connection,
    timer: Timer,
    output_bytes_max: usize,
    /// The socket took bytes that it may hold back until it is flushed (TLS).
    unflushed: bool,
    shut_down: bool,
    read_ended: bool,
    ended: bool,
    /// Boxed, since most connections have none of it for most of their life.
    rare: Option<Box<Rare>>,
}

/// How a connection ends, and what it was agreed to be.
#[derive(Debug, Default)]
struct Rare {
    /// Nothing can be written any more, but what the peer sent before may still be read.
    write_error: Option<io::Error>,
    /// Told once, when the connection has ended.
    error: Option<Error>,
    close_frame: Option<CloseFrame>,
    subprotocol: Option<Box<str>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Over a stream whose opening handshake is done. `leftover` is what was read behind the handshake: the peer's first frames.
    ///
    /// ```
    /// use switchboard_ws::{Config, Role, WebSocket};
    ///
    /// fn upgraded(stream: tokio::net::TcpStream, leftover: bytes::Bytes) -> WebSocket<tokio::net::TcpStream> {
    ///     WebSocket::from_upgraded(stream, leftover, Role::Server, Config::default())
    /// }
    /// ```
    pub fn from_upgraded(io: S, leftover: Bytes, role: Role, config: Config) -> Self {
        let mut connection = Connection::new(role, config);
        if !leftover.is_empty() {
            connection.receive(BytesMut::from(leftover));
        }
        Self {
            io,
            connection,
            timer: Timer::default(),
            output_bytes_max: OUTPUT_BYTES_MAX,
            unflushed: false,
            shut_down: false,
            read_ended: false,
            ended: false,
            rare: None,
        }
    }

    /// The next message; `None` after a clean close, or after an error was told. Answers pings and the peer's Close, and sends what is queued
    /// before it waits. After the peer's Close it finishes the closing handshake before it returns `None`.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// while let Some(message) = socket.recv().await {
    ///     println!("{} bytes", message?.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Protocol`], [`Error::ConnectionLost`], [`Error::Unresponsive`], [`Error::CloseTimedOut`] and [`Error::Io`], each once and last.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    // Not an `async fn`, whose future would be three times as large and keep a state that means nothing. So are those below.
    #[inline]
    pub fn recv(&mut self) -> impl Future<Output = Option<Result<Message, Error>>> {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// The next message, ping or pong: [`recv`](Self::recv) for whoever looks at the connection itself. A ping is answered already when it is told.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use switchboard_ws::Received;
    ///
    /// while let Some(event) = socket.recv_event().await {
    ///     match event? {
    ///         Received::Message(message) => println!("{} bytes", message.len()),
    ///         Received::Ping(_) | Received::Pong(_) => println!("it lives"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub fn recv_event(&mut self) -> impl Future<Output = Option<Result<Received, Error>>> {
        poll_fn(|cx| self.poll_recv_event(cx))
    }

    /// Sends a message: queues it and writes everything that is queued.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// socket.send("text").await?;
    /// socket.send(vec![1, 2, 3]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Send`] if the connection is closing or closed, [`Error::Io`].
    ///
    /// # Cancel safety
    /// The message may be queued or not; if it is, it leaves whole with what is sent next.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.feed(message).await?;
        self.flush().await
    }

    /// Queues a message, after waiting until the queue is below its [bound](Self::set_output_bytes_max). See [`WebSocket`] for when it leaves.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// for number in 0..100 {
    ///     socket.feed(number.to_string()).await?;
    /// }
    /// socket.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// A message is queued only when the future completes.
    // Not an `async fn`, whose future would hold the message twice: before and after it is converted.
    #[inline]
    pub fn feed(&mut self, message: impl Into<Message>) -> impl Future<Output = Result<(), Error>> {
        let mut message = Some(message.into());
        poll_fn(move |cx| {
            ready!(self.poll_room(cx))?;
            let message = message.take();
            Poll::Ready(self.queue(|connection| message.map_or(Ok(()), |message| connection.send(message))))
        })
    }

    /// Queues a piece of a message. The first piece has [`Opcode::Text`] or [`Opcode::Binary`], the others [`Opcode::Continuation`], the last
    /// one `fin`: a large message need not be held whole.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use switchboard_ws::Opcode;
    ///
    /// socket.feed_fragment(Opcode::Text, false, "begin").await?;
    /// socket.feed_fragment(Opcode::Continuation, true, " and end").await?;
    /// socket.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send); [`SendError`](crate::SendError) names pieces out of order.
    ///
    /// # Cancel safety
    /// A piece is queued only when the future completes.
    pub async fn feed_fragment(&mut self, opcode: Opcode, fin: bool, payload: impl Into<Bytes>) -> Result<(), Error> {
        self.room().await?;
        self.queue(|connection| connection.send_fragment(opcode, fin, payload.into()))
    }

    /// Queues frames that were encoded once for many receivers, as [`Connection::send_encoded`] takes them.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use bytes::{BufMut, BytesMut};
    /// use switchboard_ws::Opcode;
    /// use switchboard_ws::proto::FrameHeader;
    ///
    /// let mut frame = BytesMut::new();
    /// FrameHeader::new(Opcode::Text, 5).encode(&mut frame);
    /// frame.put_slice(b"hello");
    /// // The same bytes to any number of receivers.
    /// socket.feed_encoded(frame.freeze()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send), [`SendError::ClientMustMask`](crate::SendError::ClientMustMask) on a client, and [`SendError::CompressionNotAgreed`](crate::SendError::CompressionNotAgreed).
    ///
    /// # Cancel safety
    /// The frames are queued only when the future completes.
    pub async fn feed_encoded(&mut self, frames: Bytes) -> Result<(), Error> {
        self.room().await?;
        self.queue(|connection| connection.send_encoded(frames))
    }

    /// Sends a ping of at most 125 bytes. `recv` takes the pong silently; to be told of dead peers, set
    /// [`Config::ping_interval`](switchboard_ws_proto::Config).
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// socket.ping(b"there?").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`SendError::ControlTooLong`](crate::SendError::ControlTooLong).
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.room().await?;
        self.queue(|connection| connection.ping(payload))?;
        self.flush().await
    }

    /// Sends a pong of at most 125 bytes that answers nothing (RFC 6455 §5.5.3), which tells the peer that we live. Pings are answered without it.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// socket.pong(b"still here").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`ping`](Self::ping).
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.room().await?;
        self.queue(|connection| connection.pong(payload))?;
        self.flush().await
    }

    /// Writes everything that is queued.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// socket.feed("queued").await?;
    /// socket.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub fn flush(&mut self) -> impl Future<Output = Result<(), Error>> {
        poll_fn(|cx| self.poll_flush_output(cx))
    }

    /// Closes: sends a Close (the reason is cut at 123 bytes), waits for the peer's, then for the end of the stream as RFC 6455 §7.1.1 has it:
    /// a server ends it, a client waits for that. Messages that come meanwhile are dropped; to get them, [`start_close`](Self::start_close) and
    /// `recv`. Waits at most [`Config::close_timeout`](switchboard_ws_proto::Config).
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use switchboard_ws::CloseCode;
    ///
    /// socket.close(CloseCode::NORMAL, "bye").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError::InvalidCloseCode`](crate::SendError::InvalidCloseCode), and as [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// The Close is queued at the first poll; call again to finish.
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.start_close(code, reason)?;
        while let Some(message) = self.recv().await {
            message?;
        }
        Ok(())
    }

    /// Queues a Close. Await [`recv`](Self::recv) until `None`.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use switchboard_ws::CloseCode;
    ///
    /// socket.start_close(CloseCode::GOING_AWAY, "restarting")?;
    /// while let Some(message) = socket.recv().await {
    ///     println!("still came: {} bytes", message?.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError::InvalidCloseCode`](crate::SendError::InvalidCloseCode).
    pub fn start_close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        Ok(self.connection.close(code, reason)?)
    }

    /// The peer's Close, once it has come with a code.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// while socket.recv().await.transpose()?.is_some() {}
    /// if let Some(frame) = socket.close_frame() {
    ///     println!("{}: {}", frame.code, frame.reason);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.rare.as_ref()?.close_frame.as_ref()
    }

    /// Whether messages may be sent: neither side has begun to close, and the peer has not ended its stream.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// if socket.is_open() {
    ///     socket.send("still there?").await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_open(&self) -> bool {
        self.connection.is_open() && !self.has_ended()
    }

    /// What the opening handshake agreed on, if anything. Of a socket [`from_upgraded`](Self::from_upgraded) nothing is known.
    ///
    /// ```
    /// # async fn run(stream: tokio::net::TcpStream) -> Result<(), switchboard_ws::AcceptError> {
    /// use switchboard_ws::{AcceptOptions, accept_with};
    ///
    /// let options = AcceptOptions::default().subprotocols(["chat.v2", "chat.v1"]);
    /// let socket = accept_with(stream, &options).await?;
    /// let old = socket.subprotocol() == Some("chat.v1");
    /// # Ok(())
    /// # }
    /// ```
    pub fn subprotocol(&self) -> Option<&str> {
        self.rare.as_ref()?.subprotocol.as_deref()
    }

    pub(crate) fn set_subprotocol(&mut self, subprotocol: Option<&str>) {
        if let Some(subprotocol) = subprotocol {
            self.rare().subprotocol = Some(subprotocol.into());
        }
    }

    /// What the peer may make us hold, from the next frame on.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use switchboard_ws::Limits;
    ///
    /// // Who has logged in may send more.
    /// socket.set_limits(Limits { message_bytes_max: 64 << 20, ..Limits::default() });
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_limits(&mut self, limits: Limits) {
        self.connection.set_limits(limits);
    }

    /// How much may be queued before `feed` and `send` wait for the peer to take it. Default 256 KiB. One message more may exceed it.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// socket.set_output_bytes_max(1 << 20);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_output_bytes_max(&mut self, bytes: usize) {
        self.output_bytes_max = bytes;
    }

    /// As [`Connection::deflate_window_bits`]: whether, and with which window, messages are compressed for the peer.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// println!("we compress: {}", socket.deflate_window_bits().is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "deflate")]
    pub fn deflate_window_bits(&self) -> Option<u8> {
        self.connection.deflate_window_bits()
    }

    /// The stream.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// println!("{:?}", socket.get_ref().peer_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// The stream, for its options. To read from it or write to it breaks the connection.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// socket.get_mut().set_nodelay(true)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.io
    }

    /// The stream, without what is queued and what was read ahead.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use switchboard_ws::CloseCode;
    ///
    /// socket.close(CloseCode::NORMAL, "").await?;
    /// let stream = socket.into_inner();
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_inner(self) -> S {
        self.io
    }

    /// Two halves that may be used by two tasks.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// let (mut receiver, mut sender) = socket.split();
    /// tokio::spawn(async move { while let Some(Ok(_)) = receiver.recv().await {} });
    /// sender.send("hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn split(self) -> (crate::Receiver<S>, crate::Sender<S>) {
        crate::split::split(self)
    }

    /// As [`recv`](Self::recv).
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use std::future::poll_fn;
    ///
    /// let message = poll_fn(|cx| socket.poll_recv(cx)).await;
    /// # Ok(())
    /// # }
    /// ```
    // Apart, so that its variables lie together and not scattered over the frame of a task with many states.
    #[inline(never)]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        self.poll_events::<_, false>(cx, |event| match event {
            Event::Message(message) => Ok(message),
            other => Err(other),
        })
    }

    /// As [`recv_event`](Self::recv_event).
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use std::future::poll_fn;
    ///
    /// let event = poll_fn(|cx| socket.poll_recv_event(cx)).await;
    /// # Ok(())
    /// # }
    /// ```
    #[inline(never)]
    pub fn poll_recv_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Received, Error>>> {
        self.poll_events::<_, false>(cx, |event| match event {
            Event::Message(message) => Ok(Received::Message(message)),
            Event::Ping(payload) => Ok(Received::Ping(payload)),
            Event::Pong(payload) => Ok(Received::Pong(payload)),
            other => Err(other),
        })
    }
}

const OUTPUT_BYTES_MAX: usize = 256 * 1024;
