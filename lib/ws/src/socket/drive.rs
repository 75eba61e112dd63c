//! The work behind every method of a [`WebSocket`]: reading, writing, the timer, and the end. Knows nothing of what a caller asked for.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut};
use switchboard_ws_proto::{Connection, Event, SendError, Transmit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::{Rare, WebSocket};
use crate::{Error, pool};

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// `wanted` gives what is told to the caller, and all else is handled here. With `PIECES`, messages come in pieces.
    #[inline(always)]
    pub(crate) fn poll_events<T, const PIECES: bool>(
        &mut self,
        cx: &mut Context<'_>,
        wanted: impl Fn(Event) -> Result<T, Event>,
    ) -> Poll<Option<Result<T, Error>>> {
        loop {
            // Told at once: not moved through the event that the others share.
            if !PIECES && let Some(message) = self.connection.poll_small_message() {
                match wanted(Event::Message(message)) {
                    Ok(wanted) => return Poll::Ready(Some(Ok(wanted))),
                    Err(event) => self.on_event(event),
                }
            }
            if self.connection.is_ending() && self.ended {
                return Poll::Ready(self.take_error().map(Err));
            }
            // Little but this is inlined: the more the loop holds, the more the compiler prepares for it that is then not needed.
            while let Some(event) = if PIECES { self.connection.poll_piece() } else { self.connection.poll_event() } {
                match wanted(event) {
                    Ok(wanted) => return Poll::Ready(Some(Ok(wanted))),
                    Err(event) => self.on_event(event),
                }
            }
            ready!(self.poll_io(cx));
        }
    }

    /// Writes what is queued and reads, or waits for the first thing to happen. Ready when there may be something to tell.
    #[inline(always)]
    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let written = self.poll_write(cx);
        if self.connection.is_ending() {
            return self.poll_io_at_the_end(cx, written.is_ready());
        }
        // Read even while output is stuck: two peers that both send and wait for the other to read would wait for ever. What may be queued
        // is bounded where it is queued, in `feed`; and what the protocol itself answers is bounded in the state machine.
        if self.poll_read(cx).is_ready() {
            return Poll::Ready(());
        }
        self.poll_timer(cx)
    }

    /// The same once something of the end has begun.
    #[inline(never)]
    fn poll_io_at_the_end(&mut self, cx: &mut Context<'_>, written: bool) -> Poll<()> {
        if !self.connection.is_open() && ready!(self.poll_closing(cx, written)) {
            return Poll::Ready(());
        }
        // Before reading: a peer that always sends would have its end put off for ever, as it uses up what a task may do in a turn.
        if self.poll_timer(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.read_ended { Poll::Pending } else { self.poll_read(cx) }
    }

    #[inline]
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(self.timer.poll(&mut self.connection, cx)) {
            self.on_output_lost();
        }
        Poll::Ready(())
    }

    /// Nobody takes it, and whoever waits for that has to be told.
    #[cold]
    fn on_output_lost(&mut self) {
        self.rare().write_error.get_or_insert_with(|| io::ErrorKind::TimedOut.into());
    }

    #[cold]
    fn on_event(&mut self, event: Event) {
        match event {
            Event::Close(frame) => self.rare().close_frame = frame,
            Event::Failed(error) => self.rare().error = Some(error.into()),
            Event::Unresponsive => self.rare().error = Some(Error::Unresponsive),
            Event::Eof { clean: false } => {
                let rare = self.rare();
                if rare.error.is_none() {
                    rare.error = Some(rare.write_error.take().map_or(Error::ConnectionLost, Error::Io));
                }
            }
            _ => {}
        }
    }

    #[cold]
    fn take_error(&mut self) -> Option<Error> {
        self.rare.as_mut()?.error.take()
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    #[inline]
    fn write_error(&self) -> Option<&io::Error> {
        self.rare.as_ref()?.write_error.as_ref()
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
            return self.poll_timer(cx).map(|()| true);
        }
        if !self.connection.close_received() {
            self.rare().error.get_or_insert(Error::CloseTimedOut);
        }
        self.ended = true;
        if let Some(mut buffer) = self.connection.reclaim_input() {
            buffer.clear();
            pool::take_input_back(&mut buffer);
        }
        Poll::Ready(true)
    }

    /// Ready when something was read, the end of the stream and a failure among it.
    #[inline(always)]
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let buffer = self.connection.input_buffer();
        let read = if buffer.is_empty() {
            pool::prepare_input(buffer);
            let read = poll_read_buf(&mut self.io, buffer, cx);
            if buffer.is_empty() {
                // Until there is more, it is of use to others.
                pool::take_input_back(buffer);
            }
            read
        } else {
            poll_read_buf(&mut self.io, &mut buffer.limit(DIRECT_READ_BYTES_MAX), cx)
        };
        let read = ready!(read);
        if !matches!(read, Ok(1..)) {
            self.on_read_end(read.err());
        }
        Poll::Ready(())
    }

    #[cold]
    fn on_read_end(&mut self, error: Option<io::Error>) {
        // Behind a Close it does not matter how the stream ends.
        if let Some(error) = error.filter(|_| !self.connection.close_received()) {
            self.rare().error.get_or_insert(error.into());
        }
        self.read_ended = true;
        self.connection.receive_eof();
    }

    /// Writes until all is written or the socket takes no more. Never fails: see `write_error`.
    #[inline(always)]
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.connection.has_output() && !self.unflushed {
            return Poll::Ready(());
        }
        self.poll_write_queued(cx)
    }

    #[inline(never)]
    fn poll_write_queued(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.write_error().is_some() {
            self.drop_output();
        } else if let Err(error) = ready!(self.poll_write_all(cx)) {
            self.rare().write_error = Some(error);
            self.drop_output();
        }
        if let Some(buffer) = self.connection.output_buffer() {
            pool::take_output_back(buffer);
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
        loop {
            let transmit = self.connection.transmit();
            let io = Pin::new(&mut self.io);
            let count = match transmit.only_chunk() {
                Some([]) => break,
                Some(chunk) => ready!(io.poll_write(cx, chunk))?,
                None => ready!(poll_write_some(io, transmit, cx))?,
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            transmit.advance(count);
            if !self.connection.has_output() {
                break;
            }
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_flush_output(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let written = self.poll_write(cx);
        if let Some(error) = self.write_error() {
            // Told to whoever sends, and again by `recv` once what the peer had sent is read.
            return Poll::Ready(Err(Error::Io(error.kind().into())));
        }
        written.map(Ok)
    }

    /// Ready when the queue is below its bound.
    #[inline]
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let room = !self.connection.has_output() || self.connection.transmit_len() <= self.output_bytes_max;
        if room && self.write_error().is_none() {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush_to_bound(cx)
    }

    #[inline(never)]
    fn poll_flush_to_bound(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.poll_flush_output(cx) {
            // The peer has taken some, which is enough.
            Poll::Pending if self.connection.transmit_len() <= self.output_bytes_max => Poll::Ready(Ok(())),
            flushed => flushed,
        }
    }

    pub(crate) fn queued_len(&self) -> usize {
        self.connection.transmit_len()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended || self.write_error().is_some()
    }

    #[inline]
    pub(super) async fn room(&mut self) -> Result<(), Error> {
        if self.connection.transmit_len() <= self.output_bytes_max && self.write_error().is_none() {
            return Ok(());
        }
        poll_fn(|cx| self.poll_room(cx)).await
    }

    #[inline]
    pub(crate) fn queue(&mut self, queue: impl FnOnce(&mut Connection) -> Result<(), SendError>) -> Result<(), Error> {
        if !self.connection.is_open() {
            return Err(SendError::Closing.into());
        }
        if let Some(buffer) = self.connection.output_buffer() {
            pool::lend_output(buffer);
        }
        Ok(queue(&mut self.connection)?)
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

/// Of several chunks. Apart, so that its array is not part of every caller's frame.
#[inline(never)]
fn poll_write_some<S: AsyncWrite>(
    io: Pin<&mut S>,
    transmit: &Transmit,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if !io.is_write_vectored() {
        return io.poll_write(cx, transmit.chunk());
    }
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let count = transmit.chunks_vectored(&mut slices);
    io.poll_write_vectored(cx, slices.get(..count).unwrap_or_default())
}

/// What one read of a large message may bring: what is unmasked right after is still in the cache then.
const DIRECT_READ_BYTES_MAX: usize = 128 * 1024;

/// Pieces for one system call.
const SLICES_MAX: usize = 64;
