//! Large messages without holding them whole: pieces as they come, a reader of one message, a writer of one. Knows nothing of frames: what
//! a piece or a fragment is, is the state machine's.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use switchboard_ws_proto::{Event, Opcode, Piece};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use crate::{Error, Receiver, Sender, WebSocket};

/// Receiving messages in pieces.
impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The next piece of a message, as soon as it has come; `None` as with [`recv`](Self::recv). Where pieces begin and end says nothing of
    /// the message; pieces of text are text.
    ///
    /// A piece is at most what one read brought (64 KiB), and no more than that is held: the peer is read no faster than pieces are asked
    /// for. The [`Limits`](crate::Limits) hold for all pieces of a message together. If messages may be as long as their sender likes, lift
    /// them to [`Limits::NONE`](crate::Limits::NONE), and call nothing else to receive.
    ///
    /// [`recv`](Self::recv) may be called between messages; after some of the pieces of one, it passes over the rest.
    ///
    /// ```
    /// # async fn run<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    /// #     socket: &mut switchboard_ws::WebSocket<S>,
    /// # ) -> Result<(), switchboard_ws::Error> {
    /// let mut bytes = 0;
    /// while let Some(piece) = socket.recv_piece().await {
    ///     let piece = piece?;
    ///     bytes += piece.data.len();
    ///     if piece.last {
    ///         println!("a message of {bytes} bytes");
    ///         bytes = 0;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv). The message of the pieces before has no end then.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv_piece(&mut self) -> Option<Result<Piece, Error>> {
        poll_fn(|cx| self.poll_recv_piece(cx)).await
    }

    /// As [`recv_piece`](Self::recv_piece).
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use std::future::poll_fn;
    ///
    /// let piece = poll_fn(|cx| socket.poll_recv_piece(cx)).await;
    /// # Ok(())
    /// # }
    /// ```
    #[inline(never)]
    pub fn poll_recv_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, Error>>> {
        self.poll_events::<_, true>(cx, |event| match event {
            Event::Piece(piece) => Ok(piece),
            other => Err(other),
        })
    }

    /// The next message as an [`AsyncRead`], once it has begun; `None` as with [`recv`](Self::recv). What of it is not read is passed over by
    /// the next [`recv`](Self::recv).
    ///
    /// ```
    /// # async fn run<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    /// #     socket: &mut switchboard_ws::WebSocket<S>,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// // The message may be larger than what we would hold of one.
    /// socket.set_limits(switchboard_ws::Limits::NONE);
    /// let mut file = tokio::io::sink();
    /// if let Some(reader) = socket.recv_reader().await {
    ///     tokio::io::copy_buf(&mut reader?, &mut file).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`recv_piece`](Self::recv_piece).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv_reader(&mut self) -> Option<Result<MessageReader<'_, Self>, Error>> {
        Some(self.recv_piece().await?.map(|piece| MessageReader::new(self, piece)))
    }

    /// A binary message that is sent as it is written: see [`MessageWriter`].
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use tokio::io::AsyncWriteExt;
    ///
    /// let mut writer = socket.binary_writer();
    /// writer.write_all(&[1, 2, 3]).await?;
    /// writer.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn binary_writer(&mut self) -> MessageWriter<'_, Self> {
        MessageWriter::new(self, Opcode::Binary)
    }

    /// A message of text that is sent as it is written: see [`MessageWriter`]. Writing may cut characters; what is not UTF-8 is an error.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use tokio::io::AsyncWriteExt;
    ///
    /// let mut writer = socket.text_writer();
    /// writer.write_all("héllo".as_bytes()).await?;
    /// writer.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn text_writer(&mut self) -> MessageWriter<'_, Self> {
        MessageWriter::new(self, Opcode::Text)
    }
}

/// Receiving messages in pieces.
impl<S: AsyncRead + AsyncWrite + Unpin> Receiver<S> {
    /// As [`WebSocket::recv_piece`].
    ///
    /// ```
    /// # async fn run(mut receiver: switchboard_ws::Receiver<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// while let Some(piece) = receiver.recv_piece().await {
    ///     println!("{} bytes", piece?.data.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::recv_piece`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv_piece(&mut self) -> Option<Result<Piece, Error>> {
        poll_fn(|cx| self.poll_pieces(cx)).await
    }

    /// As [`WebSocket::recv_reader`].
    ///
    /// ```
    /// # async fn run(mut receiver: switchboard_ws::Receiver<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use tokio::io::AsyncReadExt;
    ///
    /// if let Some(reader) = receiver.recv_reader().await {
    ///     let mut begin = [0; 4];
    ///     reader?.read_exact(&mut begin).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`WebSocket::recv_piece`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv_reader(&mut self) -> Option<Result<MessageReader<'_, Self>, Error>> {
        Some(self.recv_piece().await?.map(|piece| MessageReader::new(self, piece)))
    }
}

/// Sending messages as they are written.
impl<S: AsyncRead + AsyncWrite + Unpin> Sender<S> {
    /// As [`WebSocket::binary_writer`].
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use tokio::io::AsyncWriteExt;
    ///
    /// let mut writer = sender.binary_writer();
    /// writer.write_all(&[1, 2, 3]).await?;
    /// writer.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn binary_writer(&mut self) -> MessageWriter<'_, Self> {
        MessageWriter::new(self, Opcode::Binary)
    }

    /// As [`WebSocket::text_writer`].
    ///
    /// ```
    /// # async fn run(mut sender: switchboard_ws::Sender<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// use tokio::io::AsyncWriteExt;
    ///
    /// let mut writer = sender.text_writer();
    /// writer.write_all(b"hello").await?;
    /// writer.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn text_writer(&mut self) -> MessageWriter<'_, Self> {
        MessageWriter::new(self, Opcode::Text)
    }
}

/// One message that comes, as an [`AsyncRead`]: [`WebSocket::recv_reader`] and [`Receiver::recv_reader`] give it.
///
/// Reading ends with the message. If the connection ends before, reading fails, with [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) or the
/// [`Error`] in the [`io::Error`].
///
/// ```
/// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
/// use tokio::io::AsyncReadExt;
///
/// while let Some(reader) = socket.recv_reader().await {
///     let mut text = String::new();
///     reader?.read_to_string(&mut text).await?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// Dropping a future of [`AsyncReadExt::read`](tokio::io::AsyncReadExt::read) or of `fill_buf` loses nothing; of `read_exact` and others,
/// what it had read.
#[derive(Debug)]
pub struct MessageReader<'a, T> {
    source: &'a mut T,
    text: bool,
    last: bool,
    /// Of the current piece, what is not read.
    rest: Bytes,
}

impl<'a, T> MessageReader<'a, T> {
    fn new(source: &'a mut T, piece: Piece) -> Self {
        let text = piece.data.as_text().is_some();
        Self { source, text, last: piece.last, rest: piece.data.into_bytes() }
    }

    /// Whether the message is text. It is UTF-8 then, though a read may cut a character.
    ///
    /// ```
    /// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
    /// if let Some(reader) = socket.recv_reader().await {
    ///     println!("text: {}", reader?.is_text());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_text(&self) -> bool {
        self.text
    }
}

impl<T: PollPieces> AsyncBufRead for MessageReader<'_, T> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.rest.is_empty() && !this.last {
            let piece = match ready!(this.source.poll_pieces(cx)) {
                Some(Ok(piece)) => piece,
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            };
            this.last = piece.last;
            this.rest = piece.data.into_bytes();
        }
        Poll::Ready(Ok(&this.rest))
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        let this = self.get_mut();
        this.rest.advance(count.min(this.rest.len()));
    }
}

impl<T: PollPieces> AsyncRead for MessageReader<'_, T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let bytes = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = bytes.len().min(buffer.remaining());
        buffer.put_slice(bytes.get(..count).unwrap_or_default());
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}

/// One message that is sent as it is written, as an [`AsyncWrite`]: each write is a fragment of it (RFC 6455 §5.4), at most 64 KiB. Writing
/// waits while more than the [bound](WebSocket::set_output_bytes_max) is queued.
///
/// **[`shutdown`](tokio::io::AsyncWriteExt::shutdown) ends the message.** Without that it has no end, and whatever else is sent is refused with
/// [`SendError::InsideFragments`](crate::SendError::InsideFragments): half a message cannot be taken back, only the connection be closed.
///
/// ```
/// # async fn run<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
/// #     socket: &mut switchboard_ws::WebSocket<S>,
/// #     mut file: impl tokio::io::AsyncRead + Unpin,
/// # ) -> std::io::Result<()> {
/// use tokio::io::AsyncWriteExt;
///
/// let mut writer = socket.binary_writer();
/// tokio::io::copy(&mut file, &mut writer).await?;
/// writer.shutdown().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`WebSocket::send`], in the [`io::Error`].
///
/// # Cancel safety
/// Of a future of [`AsyncWriteExt::write`](tokio::io::AsyncWriteExt::write) that is dropped nothing is queued; of `write_all` any
/// beginning may be. `flush` and `shutdown` may be called again.
#[derive(Debug)]
pub struct MessageWriter<'a, T> {
    sink: &'a mut T,
    /// Of the next fragment.
    opcode: Opcode,
    ended: bool,
}

impl<'a, T> MessageWriter<'a, T> {
    fn new(sink: &'a mut T, opcode: Opcode) -> Self {
        Self { sink, opcode, ended: false }
    }
}

impl<T: PollFragments> AsyncWrite for MessageWriter<'_, T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let bytes = bytes.get(..FRAGMENT_BYTES_MAX).unwrap_or(bytes);
        if !bytes.is_empty() {
            ready!(this.sink.poll_room(cx)).map_err(io::Error::from)?;
            this.sink.queue_fragment(this.opcode, false, Bytes::copy_from_slice(bytes)).map_err(io::Error::from)?;
            this.opcode = Opcode::Continuation;
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().sink.poll_flush(cx).map_err(io::Error::from)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ended {
            this.sink.queue_fragment(this.opcode, true, Bytes::new()).map_err(io::Error::from)?;
            this.ended = true;
        }
        this.sink.poll_flush(cx).map_err(io::Error::from)
    }
}

/// What gives pieces: a [`WebSocket`] or a [`Receiver`]. It is used through [`MessageReader`].
#[doc(hidden)]
#[allow(unreachable_pub, reason = "a bound of public types that nobody else may implement")]
pub trait PollPieces {
    #[doc(hidden)]
    fn poll_pieces(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, Error>>>;
}

impl<S: AsyncRead + AsyncWrite + Unpin> PollPieces for WebSocket<S> {
    fn poll_pieces(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, Error>>> {
        self.poll_recv_piece(cx)
    }
}

/// What takes fragments: a [`WebSocket`] or a [`Sender`]. It is used through [`MessageWriter`].
#[doc(hidden)]
#[allow(unreachable_pub, reason = "a bound of public types that nobody else may implement")]
pub trait PollFragments {
    #[doc(hidden)]
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;
    #[doc(hidden)]
    fn queue_fragment(&mut self, opcode: Opcode, fin: bool, payload: Bytes) -> Result<(), Error>;
    #[doc(hidden)]
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;
}

impl<S: AsyncRead + AsyncWrite + Unpin> PollFragments for WebSocket<S> {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        WebSocket::poll_room(self, cx)
    }

    fn queue_fragment(&mut self, opcode: Opcode, fin: bool, payload: Bytes) -> Result<(), Error> {
        self.queue(|connection| connection.send_fragment(opcode, fin, payload))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_flush_output(cx)
    }
}

/// What one write becomes: as much as one read of the peer's takes.
const FRAGMENT_BYTES_MAX: usize = 64 * 1024;
