//! A WebSocket over a stream of bytes: drives the protocol's state machine with a socket, the clock and pooled buffers. All state lives in the
//! struct, none in a future: whatever is dropped at an await loses nothing. Knows nothing of handshakes.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_core::Stream;
use futures_sink::Sink;
use switchboard_ws_proto::{
    CloseCode, CloseFrame, Config, Connection, Event, Limits, Message, Opcode, Role, SendError, Transmit,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::timer::Timer;
use crate::{Error, pool};

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
    /// The peer has asked whether we live, and is answered.
    Ping(Bytes),
    /// The peer lives.
    Pong(Bytes),
}

/// A WebSocket connection over `S`.
///
/// Pings are answered while [`recv`](Self::recv) (or any other method) is awaited. [`recv`](Self::recv) has to be awaited for the connection
/// to notice anything of the peer: its messages, its pings, its Close, its silence.
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
    /// Nothing can be written any more, but what the peer sent before may still be read.
    write_error: Option<io::Error>,
    /// Told once, when the connection has ended.
    error: Option<Error>,
    ended: bool,
    /// Boxed, since most of a connection's life there is none.
    close_frame: Option<Box<CloseFrame>>,
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
            write_error: None,
            error: None,
            ended: false,
            close_frame: None,
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
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|cx| self.poll_recv(cx)).await
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
    pub async fn recv_event(&mut self) -> Option<Result<Received, Error>> {
        poll_fn(|cx| self.poll_recv_event(cx)).await
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
    /// As [`send`](Self::send); [`SendError`] names pieces out of order.
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
    /// As [`send`](Self::send), [`SendError::ClientMustMask`] on a client, and [`SendError::CompressionNotAgreed`].
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
    /// As [`send`](Self::send), and [`SendError::ControlTooLong`].
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.room().await?;
        self.queue(|connection| connection.ping(payload))?;
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
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush_output(cx)).await
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
    /// [`SendError::InvalidCloseCode`], and as [`recv`](Self::recv).
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
    /// [`SendError::InvalidCloseCode`].
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
        self.close_frame.as_deref()
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
        self.poll_events(cx, Connection::poll_event, |event| match event {
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
        self.poll_events(cx, Connection::poll_event, |event| match event {
            Event::Message(message) => Ok(Received::Message(message)),
            Event::Ping(payload) => Ok(Received::Ping(payload)),
            Event::Pong(payload) => Ok(Received::Pong(payload)),
            other => Err(other),
        })
    }

    /// `next` asks the state machine; `wanted` gives what is told to the caller, and all else is handled here.
    #[inline(always)]
    pub(crate) fn poll_events<T>(
        &mut self,
        cx: &mut Context<'_>,
        next: impl Fn(&mut Connection) -> Option<Event>,
        wanted: impl Fn(Event) -> Result<T, Event>,
    ) -> Poll<Option<Result<T, Error>>> {
        loop {
            if self.ended {
                return Poll::Ready(self.error.take().map(Err));
            }
            // Nothing but this is inlined: the more the loop holds, the more the compiler prepares for it that is then not needed.
            while let Some(event) = next(&mut self.connection) {
                match wanted(event) {
                    Ok(wanted) => return Poll::Ready(Some(Ok(wanted))),
                    Err(event) => self.on_event(event),
                }
            }
            ready!(self.poll_io(cx));
        }
    }

    /// Writes what is queued and reads, or waits for the first thing to happen. Ready when there may be something to tell.
    #[inline(never)]
    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The buffer that was just read, for the read that follows.
        let buffer = self.connection.reclaim_input();
        let written = self.poll_write(cx);
        if !self.connection.is_open() && ready!(self.poll_closing(cx, written.is_ready())) {
            return Poll::Ready(());
        }
        // Read even while output is stuck: two peers that both send and wait for the other to read would wait for ever. What may be queued
        // is bounded where it is queued, in `feed`; and what the protocol itself answers is bounded in the state machine.
        if !self.read_ended && self.poll_read(cx, buffer).is_ready() {
            return Poll::Ready(());
        }
        self.timer.poll(&mut self.connection, cx)
    }

    #[cold]
    fn on_event(&mut self, event: Event) {
        match event {
            Event::Close(frame) => self.close_frame = frame.map(Box::new),
            Event::Failed(error) => self.error = Some(error.into()),
            Event::Unresponsive => self.error = Some(Error::Unresponsive),
            Event::Eof { clean: false } if self.error.is_none() => {
                self.error = Some(self.write_error.take().map_or(Error::ConnectionLost, Error::Io));
            }
            _ => {}
        }
    }

    /// Once closing has begun: ends our side of the stream when all is said. Ready with whether the state has changed.
    #[cold]
    fn poll_closing(&mut self, cx: &mut Context<'_>, written: bool) -> Poll<bool> {
        if !self.connection.is_finished() {
            if written && self.connection.should_shut_down_write() && !self.shut_down {
                self.shut_down = Pin::new(&mut self.io).poll_shutdown(cx).is_ready();
            }
            return Poll::Ready(false);
        }
        // With no timeout running, the peer is gone or was given up: nothing is waited for.
        let gone = self.connection.poll_timeout().is_none();
        let unwritten = !written && !gone;
        if unwritten || (!self.shut_down && Pin::new(&mut self.io).poll_shutdown(cx).is_pending() && !gone) {
            return self.timer.poll(&mut self.connection, cx).map(|()| true);
        }
        if self.error.is_none() && !self.connection.close_received() {
            self.error = Some(Error::CloseTimedOut);
        }
        self.ended = true;
        Poll::Ready(true)
    }

    /// Ready when something was read, the end of the stream and a failure among it.
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, spare: Option<BytesMut>) -> Poll<()> {
        let read = if let Some(buffer) = self.connection.read_buffer() {
            if let Some(spare) = spare {
                pool::give_input(spare);
            }
            ready!(poll_read_buf(&mut self.io, &mut buffer.limit(DIRECT_READ_BYTES_MAX), cx))
        } else {
            let mut buffer = spare.map_or_else(pool::take_input, pool::renew_input);
            let read = poll_read_buf(&mut self.io, &mut buffer, cx);
            if matches!(read, Poll::Ready(Ok(1..))) {
                self.connection.receive(buffer);
            } else {
                pool::give_input(buffer);
            }
            ready!(read)
        };
        if !matches!(read, Ok(1..)) {
            self.on_read_end(read.err());
        }
        Poll::Ready(())
    }

    #[cold]
    fn on_read_end(&mut self, error: Option<io::Error>) {
        // Behind a Close it does not matter how the stream ends.
        if let Some(error) = error.filter(|_| !self.connection.close_received() && self.error.is_none()) {
            self.error = Some(error.into());
        }
        self.read_ended = true;
        self.connection.receive_eof();
    }

    /// Writes until all is written or the socket takes no more. Never fails: see `write_error`.
    #[inline(always)]
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.connection.transmit_len() == 0 && !self.unflushed {
            return Poll::Ready(());
        }
        self.poll_write_queued(cx)
    }

    #[inline(never)]
    fn poll_write_queued(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.write_error.is_none()
            && let Err(error) = ready!(self.poll_write_all(cx))
        {
            self.write_error = Some(error);
        }
        if self.write_error.is_some() {
            self.drop_output();
        }
        if let Some(buffer) = self.connection.reclaim_transmit() {
            pool::give_output(buffer);
        }
        Poll::Ready(())
    }

    /// Nothing can be written any more.
    #[cold]
    fn drop_output(&mut self) {
        self.unflushed = false;
        let lost = self.connection.transmit_len();
        let transmit = self.connection.transmit();
        transmit.advance(lost.min(transmit.remaining()));
    }

    #[inline]
    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.transmit_len() > 0 {
            let transmit = self.connection.transmit();
            let io = Pin::new(&mut self.io);
            let count = if transmit.chunk().len() == transmit.remaining() || !io.is_write_vectored() {
                ready!(io.poll_write(cx, transmit.chunk()))?
            } else {
                ready!(poll_write_vectored(io, transmit, cx))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            transmit.advance(count);
            self.unflushed = true;
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_flush_output(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let written = self.poll_write(cx);
        if let Some(error) = &self.write_error {
            // Told to whoever sends, and again by `recv` once what the peer had sent is read.
            return Poll::Ready(Err(Error::Io(error.kind().into())));
        }
        written.map(Ok)
    }

    /// Ready when the queue is below its bound.
    #[inline]
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.connection.transmit_len() <= self.output_bytes_max && self.write_error.is_none() {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush_output(cx)
    }

    pub(crate) fn queued_len(&self) -> usize {
        self.connection.transmit_len()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended || self.write_error.is_some()
    }

    #[inline]
    async fn room(&mut self) -> Result<(), Error> {
        if self.connection.transmit_len() <= self.output_bytes_max && self.write_error.is_none() {
            return Ok(());
        }
        poll_fn(|cx| self.poll_room(cx)).await
    }

    #[inline]
    pub(crate) fn queue(&mut self, queue: impl FnOnce(&mut Connection) -> Result<(), SendError>) -> Result<(), Error> {
        if !self.connection.is_open() {
            return Err(SendError::Closing.into());
        }
        if self.connection.transmit_len() == 0 {
            self.connection.lend_transmit(pool::take_output());
        }
        Ok(queue(&mut self.connection)?)
    }
}

/// As [`WebSocket::recv`]; ends after a clean close or an error.
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx)
    }
}

/// `start_send` is [`WebSocket::feed`]; `poll_close` sends a Close (1000) and does not wait for the answer, which comes as the end of the
/// [`Stream`].
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_room(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.queue(|connection| connection.send(message))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_flush_output(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.start_close(CloseCode::NORMAL, "")?;
        self.poll_flush_output(cx)
    }
}

fn poll_read_buf<S: AsyncRead + Unpin>(
    io: &mut S,
    buffer: &mut impl BufMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    // This future has no state of its own, and reads into capacity that nobody filled with zeros.
    pin!(io.read_buf(buffer)).poll(cx)
}

/// Apart, so that its array is not part of every caller's frame.
#[inline(never)]
fn poll_write_vectored<S: AsyncWrite>(
    io: Pin<&mut S>,
    transmit: &Transmit,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let count = transmit.chunks_vectored(&mut slices);
    io.poll_write_vectored(cx, slices.get(..count).unwrap_or_default())
}

/// What one read of a large message may bring: what is unmasked right after is still in the cache then.
const DIRECT_READ_BYTES_MAX: usize = 128 * 1024;

/// Pieces for one system call.
const SLICES_MAX: usize = 64;

const OUTPUT_BYTES_MAX: usize = 256 * 1024;
