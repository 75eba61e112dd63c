//! Two halves of one connection, for two tasks. Owns who is woken: the socket knows one task for each direction, but both halves write.

#![allow(
    clippy::disallowed_types,
    reason = "two tasks share one socket; whoever has messages pass through one task does not split it"
)]

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use switchboard_ws_proto::{CloseCode, CloseFrame, Connection, Limits, Message, Opcode, Piece, SendError};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::streaming::{PollFragments, PollPieces};
use crate::{Error, Received, WebSocket};

/// The half that receives. It also answers pings, keeps the time and finishes the closing handshake, so keep awaiting [`recv`](Self::recv). Without
/// it the other half only sends: nobody notices what the peer does. The stream is dropped with the second of both.
///
/// ```
/// # async fn run(mut receiver: switchboard_ws::Receiver<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
/// while let Some(message) = receiver.recv().await {
///     println!("{} bytes", message?.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Receiver<S>(Arc<Shared<S>>);

/// The half that sends. Dropping it does not close the connection: the receiving half goes on.
///
/// ```
/// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
/// sender.send("hello").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Sender<S>(Arc<Shared<S>>);

#[derive(Debug)]
struct Shared<S> {
    /// Never locked across an await.
    socket: Mutex<WebSocket<S>>,
    waiting: Arc<Waiting>,
    /// Wakes both: what readiness means is for the state to say.
    waker: Waker,
}

#[derive(Debug, Default)]
struct Waiting {
    receiver: Mutex<Option<Waker>>,
    sender: Mutex<Option<Waker>>,
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        for slot in [&self.receiver, &self.sender] {
            let waker = lock(slot).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

pub(crate) fn split<S>(socket: WebSocket<S>) -> (Receiver<S>, Sender<S>) {
    let waiting = Arc::new(Waiting::default());
    let shared = Arc::new(Shared { socket: Mutex::new(socket), waker: Waker::from(waiting.clone()), waiting });
    (Receiver(shared.clone()), Sender(shared))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Shared<S> {
    fn poll<T>(
        &self,
        slot: &Mutex<Option<Waker>>,
        other: &Mutex<Option<Waker>>,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut WebSocket<S>, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // Before polling: the socket may become ready on another thread meanwhile.
        *lock(slot) = Some(cx.waker().clone());
        let (result, news) = {
            let mut socket = lock(&self.socket);
            let queued = socket.queued_len();
            let result = poll(&mut socket, &mut Context::from_waker(&self.waker));
            (result, socket.queued_len() < queued || socket.has_ended())
        };
        if news {
            // Room was made, or there is an error to be told, that the other half may wait for. Not under the lock: some wakers poll at once.
            wake(other);
        }
        if result.is_ready() {
            lock(slot).take();
        }
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Receiver<S> {
    /// As [`WebSocket::recv`].
    ///
    /// ```
    /// # async fn run(mut receiver: switchboard_ws::Receiver<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// let message = receiver.recv().await.transpose()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::recv`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`WebSocket::recv_event`].
    ///
    /// ```
    /// # async fn run(mut receiver: switchboard_ws::Receiver<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// let event = receiver.recv_event().await.transpose()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::recv`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv_event(&mut self) -> Option<Result<Received, Error>> {
        poll_fn(|cx| {
            let waiting = &self.0.waiting;
            self.0.poll(&waiting.receiver, &waiting.sender, cx, WebSocket::poll_recv_event)
        })
        .await
    }

    /// As [`WebSocket::close_frame`].
    ///
    /// ```
    /// # async fn run(mut receiver: switchboard_ws::Receiver<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// while receiver.recv().await.transpose()?.is_some() {}
    /// println!("{:?}", receiver.close_frame());
    /// # Ok(())
    /// # }
    /// ```
    pub fn close_frame(&self) -> Option<CloseFrame> {
        lock(&self.0.socket).close_frame().cloned()
    }

    /// As [`WebSocket::is_open`].
    ///
    /// ```
    /// # async fn run(mut receiver: switchboard_ws::Receiver<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// while receiver.recv().await.transpose()?.is_some() {}
    /// assert!(!receiver.is_open());
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_open(&self) -> bool {
        lock(&self.0.socket).is_open()
    }

    /// As [`WebSocket::subprotocol`].
    ///
    /// ```
    /// # async fn run(mut receiver: switchboard_ws::Receiver<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// let old = receiver.subprotocol().as_deref() == Some("chat.v1");
    /// # Ok(())
    /// # }
    /// ```
    pub fn subprotocol(&self) -> Option<String> {
        lock(&self.0.socket).subprotocol().map(String::from)
    }

    /// As [`WebSocket::set_limits`].
    ///
    /// ```
    /// # async fn run(mut receiver: switchboard_ws::Receiver<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use switchboard_ws::Limits;
    ///
    /// receiver.set_limits(Limits { message_bytes_max: 64 << 20, ..Limits::default() });
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_limits(&mut self, limits: Limits) {
        lock(&self.0.socket).set_limits(limits);
    }

    /// Both halves in one again; `None` if `sender` is another connection's, and then both are dropped.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// let (receiver, sender) = socket.split();
    /// let socket = receiver.unsplit(sender);
    /// assert!(socket.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn unsplit(self, sender: Sender<S>) -> Option<WebSocket<S>> {
        if !Arc::ptr_eq(&self.0, &sender.0) {
            return None;
        }
        drop(sender);
        let shared = Arc::into_inner(self.0)?;
        Some(shared.socket.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        let waiting = &self.0.waiting;
        self.0.poll(&waiting.receiver, &waiting.sender, cx, WebSocket::poll_recv)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> PollPieces for Receiver<S> {
    fn poll_pieces(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, Error>>> {
        let waiting = &self.0.waiting;
        self.0.poll(&waiting.receiver, &waiting.sender, cx, WebSocket::poll_recv_piece)
    }
}

/// As [`WebSocket::recv`]; ends after a clean close or an error.
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for Receiver<S> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sender<S> {
    /// As [`WebSocket::send`].
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// sender.send("hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.feed(message).await?;
        self.flush().await
    }

    /// As [`WebSocket::feed`]; what is queued leaves with the next flush of either half.
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// sender.feed("hello").await?;
    /// sender.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::feed`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::feed`].
    pub async fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.room().await?;
        self.queue(|connection| connection.send(message.into()))
    }

    /// As [`WebSocket::feed_fragment`].
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use switchboard_ws::Opcode;
    ///
    /// sender.feed_fragment(Opcode::Text, true, "in one piece").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::feed_fragment`].
    ///
    /// # Cancel safety
    /// A piece is queued only when the future completes.
    pub async fn feed_fragment(&mut self, opcode: Opcode, fin: bool, payload: impl Into<Bytes>) -> Result<(), Error> {
        self.room().await?;
        self.queue(|connection| connection.send_fragment(opcode, fin, payload.into()))
    }

    /// As [`WebSocket::feed_encoded`].
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use bytes::Bytes;
    ///
    /// sender.feed_encoded(Bytes::from_static(b"\x81\x05hello")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::feed_encoded`].
    ///
    /// # Cancel safety
    /// The frames are queued only when the future completes.
    pub async fn feed_encoded(&mut self, frames: Bytes) -> Result<(), Error> {
        self.room().await?;
        self.queue(|connection| connection.send_encoded(frames))
    }

    /// As [`WebSocket::ping`].
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// sender.ping(b"there?").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::ping`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.room().await?;
        self.queue(|connection| connection.ping(payload))?;
        self.flush().await
    }

    /// As [`WebSocket::pong`].
    ///
    /// ```
    /// # async fn run(socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// let (_receiver, mut sender) = socket.split();
    /// sender.pong(b"still here").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::pong`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::pong`].
    pub async fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.room().await?;
        self.queue(|connection| connection.pong(payload))?;
        self.flush().await
    }

    /// As [`WebSocket::flush`].
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// sender.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::flush`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll(cx, WebSocket::poll_flush_output)).await
    }

    /// Sends a Close; the receiving half finishes the handshake and then returns `None`.
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use switchboard_ws::CloseCode;
    ///
    /// sender.close(CloseCode::NORMAL, "bye").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::start_close`] and [`WebSocket::flush`].
    ///
    /// # Cancel safety
    /// The Close is queued at the first poll.
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.start_close(code, reason)?;
        self.flush().await
    }

    fn start_close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        lock(&self.0.socket).start_close(code, reason)?;
        // The receiving half has a timeout to arm from now on.
        wake(&self.0.waiting.receiver);
        Ok(())
    }

    /// As [`WebSocket::is_open`].
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// if sender.is_open() {
    ///     sender.send("still there?").await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_open(&self) -> bool {
        lock(&self.0.socket).is_open()
    }

    /// As [`WebSocket::set_output_bytes_max`].
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// sender.set_output_bytes_max(1 << 20);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_output_bytes_max(&mut self, bytes: usize) {
        lock(&self.0.socket).set_output_bytes_max(bytes);
    }

    pub(crate) async fn room(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll(cx, WebSocket::poll_room)).await
    }

    pub(crate) fn queue(&mut self, queue: impl FnOnce(&mut Connection) -> Result<(), SendError>) -> Result<(), Error> {
        lock(&self.0.socket).queue(queue)
    }

    fn poll(
        &mut self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut WebSocket<S>, &mut Context<'_>) -> Poll<Result<(), Error>>,
    ) -> Poll<Result<(), Error>> {
        let waiting = &self.0.waiting;
        self.0.poll(&waiting.sender, &waiting.receiver, cx, poll)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> PollFragments for Sender<S> {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll(cx, WebSocket::poll_room)
    }

    fn queue_fragment(&mut self, opcode: Opcode, fin: bool, payload: Bytes) -> Result<(), Error> {
        self.queue(|connection| connection.send_fragment(opcode, fin, payload))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll(cx, WebSocket::poll_flush_output)
    }
}

/// As the [`Sink`] of [`WebSocket`]; `poll_close` sends a Close (1000), and the receiving half finishes the handshake.
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for Sender<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll(cx, WebSocket::poll_room)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.queue(|connection| connection.send(message))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll(cx, WebSocket::poll_flush_output)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.start_close(CloseCode::NORMAL, "")?;
        self.poll(cx, WebSocket::poll_flush_output)
    }
}

fn wake(slot: &Mutex<Option<Waker>>) {
    let waker = lock(slot).take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The state machine is whole between any two calls, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
