//! One stream of HTTP/2 as a stream of bytes. Knows nothing of connections, requests and WebSockets.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The DATA of one stream. The peer may send more only as it is read, and what is written waits for the peer's window and for room in the
/// connection's buffer of the stream (`max_send_buffer_size`), so that neither side holds more than that.
///
/// - Its end (END_STREAM) is the end of the stream of bytes, and shutting down sends it.
/// - RST_STREAM is [`io::ErrorKind::ConnectionReset`], GOAWAY [`io::ErrorKind::ConnectionAborted`].
/// - To drop it before both sides have ended resets it with CANCEL (RFC 8441 §5), once what was written has gone.
///
/// Flushing has nothing to do: the task of the connection writes what all streams have, in as few system calls as it can.
///
/// ```
/// use bytes::Bytes;
/// use switchboard_ws::{Config, Role, WebSocket};
/// use switchboard_ws::http2::Http2Stream;
///
/// // For a request that `UpgradeRequest::check_connect` has found good.
/// fn upgrade(
///     request: http::Request<h2::RecvStream>,
///     respond: &mut h2::server::SendResponse<Bytes>,
/// ) -> Result<WebSocket<Http2Stream>, h2::Error> {
///     let send = respond.send_response(http::Response::new(()), false)?;
///     let stream = Http2Stream::new(send, request.into_body());
///     Ok(WebSocket::from_upgraded(stream, Bytes::new(), Role::Server, Config::default()))
/// }
/// ```
#[derive(Debug)]
pub struct Http2Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    /// Of the last frame.
    unread: Bytes,
    shut: bool,
}

impl Http2Stream {
    /// Both directions of one stream. Nothing may have been reserved of the one, or read of the other.
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use switchboard_ws::http2::Http2Stream;
    /// fn join(send: h2::SendStream<Bytes>, recv: h2::RecvStream) -> Http2Stream {
    ///     Http2Stream::new(send, recv)
    /// }
    /// ```
    pub fn new(send: SendStream<Bytes>, recv: RecvStream) -> Self {
        Self { send, recv, unread: Bytes::new(), shut: false }
    }

    /// Writes what there is room for now, in one piece, and returns how much that was. From outside of a task.
    ///
    /// ```
    /// # use switchboard_ws::http2::Http2Stream;
    /// use std::io::{ErrorKind, IoSlice, Result};
    ///
    /// fn write_some(stream: &mut Http2Stream, bytes: &[u8]) -> Result<usize> {
    ///     match stream.try_write_vectored(&[IoSlice::new(bytes)]) {
    ///         Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
    ///         written => written,
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is no room, or the stream was reset: `poll_write` waits for the one and says the other.
    pub fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let wanted = slices.iter().map(|slice| slice.len()).sum::<usize>().min(WRITE_BYTES_MAX);
        self.send.reserve_capacity(wanted);
        match self.send.capacity().min(wanted) {
            0 if wanted > 0 => Err(io::ErrorKind::WouldBlock.into()),
            room => self.send_now(slices, room),
        }
    }

    /// Ends both directions at once, and forgets what was written and has not gone: RST_STREAM with CANCEL.
    ///
    /// ```
    /// # use switchboard_ws::WebSocket;
    /// # use switchboard_ws::http2::Http2Stream;
    /// fn give_up(mut socket: WebSocket<Http2Stream>) {
    ///     socket.get_mut().abort();
    /// }
    /// ```
    pub fn abort(&mut self) {
        self.send.send_reset(Reason::CANCEL);
    }

    /// Waits for the other side to reset the stream, which somebody who has nothing to write and has read all would not notice otherwise.
    ///
    /// ```
    /// # use std::{future::poll_fn, io};
    /// # use switchboard_ws::http2::Http2Stream;
    /// async fn wait_for_the_end(stream: &mut Http2Stream) -> io::Error {
    ///     poll_fn(|cx| stream.poll_reset(cx)).await
    /// }
    /// ```
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.send.poll_reset(cx).map(|reason| to_io(reason.map_or_else(|error| error, Into::into)))
    }

    fn send_now(&mut self, slices: &[IoSlice<'_>], count: usize) -> io::Result<usize> {
        if count == 0 {
            return Ok(0);
        }
        let mut data = BytesMut::with_capacity(count);
        for slice in slices {
            let room = count - data.len();
            data.extend_from_slice(slice.get(..room).unwrap_or(slice));
        }
        self.send.send_data(data.freeze(), false).map_err(to_io)?;
        Ok(count)
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() {
            match ready!(this.recv.poll_data(cx)) {
                Some(Ok(data)) => this.unread = data,
                None => return Poll::Ready(Ok(())),
                // RFC 9113 §8.1: a server that has said all asks to be told no more.
                Some(Err(error)) if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) => {
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => return Poll::Ready(Err(to_io(error))),
            }
        }
        let count = this.unread.len().min(buffer.remaining());
        buffer.put_slice(this.unread.get(..count).unwrap_or_default());
        this.unread.advance(count);
        // An error is a stream that is closed already: there is no window to open.
        let _ = this.recv.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wanted = slices.iter().map(|slice| slice.len()).sum::<usize>().min(WRITE_BYTES_MAX);
        // What is reserved and not used is taken from other streams: it is always just what waits here.
        this.send.reserve_capacity(wanted);
        while this.send.capacity() == 0 && wanted > 0 {
            match ready!(this.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(to_io(error))),
                None => return Poll::Ready(Err(this.why_closed(cx))),
            }
        }
        let room = this.send.capacity().min(wanted);
        Poll::Ready(this.send_now(slices, room))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.shut {
            this.shut = true;
            this.send.send_data(Bytes::new(), true).map_err(to_io)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Http2Stream {
    /// Why nothing more can be written.
    fn why_closed(&mut self, cx: &mut Context<'_>) -> io::Error {
        match self.send.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => to_io(reason.into()),
            Poll::Ready(Err(error)) => to_io(error),
            Poll::Pending => io::ErrorKind::BrokenPipe.into(),
        }
    }
}

/// The kind says what has ended: a stream, or all of them.
pub(super) fn to_io(error: h2::Error) -> io::Error {
    let kind = match &error {
        error if error.is_io() => match error.get_io() {
            Some(inner) => inner.kind(),
            None => io::ErrorKind::Other,
        },
        error if error.is_go_away() => io::ErrorKind::ConnectionAborted,
        error if error.reason().is_some() => io::ErrorKind::ConnectionReset,
        _ => io::ErrorKind::BrokenPipe,
    };
    io::Error::new(kind, error)
}

/// Of one write. What is written is copied, and a piece this large needs no more system calls than a larger one.
const WRITE_BYTES_MAX: usize = 64 * 1024;
