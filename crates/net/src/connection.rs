//! A WebSocket connection: it carries bytes between a socket, the protocol's state machine and the sessions.
//!
//! Reading, and writing where only the task can write, happens in the connection's own task. What the sessions queue for it is written at
//! the end of the turn by the shard, without waking the task, as long as the kernel takes it.

use crate::backend::ShardBroker;
use crate::compression::Output;
use crate::framing::WEBSOCKET;
use crate::io::Io;
use crate::limits::Permit;
use crate::state::State;
use bytes::{Buf, BufMut, BytesMut};
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use std::io::{self, IoSlice};
use std::rc::Rc;
use switchboard_core::{Disconnect, Encoded, Time};
use switchboard_hub::SubscriberId;
use switchboard_session::Incoming;
use switchboard_ws_proto::{self as proto, CloseCode, Event, Message, SendError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One client's connection, shared by its task and the shard.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: SubscriberId,
    io: RefCell<Io>,
    ws: RefCell<proto::Connection>,
    task: RefCell<Option<Waker>>,
    /// The kernel took no more, or only the task can write.
    write_blocked: Cell<bool>,
    /// The session has ended; only the transport is still to be closed.
    ended: Cell<bool>,
    /// The socket has failed.
    broken: Cell<bool>,
    /// By the peer's reset, in the midst of a session.
    reset: Cell<bool>,
    /// How its output is compressed.
    output: Output,
    /// In the shard's list of those that are read again when it is not congested any more.
    pub(crate) waits_for_room: Cell<bool>,
    permit: RefCell<Option<Permit>>,
}

/// Bytes that are taken from the outbox for one write. What is taken can no longer be dropped by policy, so it is little.
const WRITE_BYTES: usize = 64 * 1024;
/// Segments of one vectored write.
const SEGMENTS: usize = 32;
/// The most of a large message that is read at once: what is unmasked should still be in the cache.
const PIECE_BYTES: usize = 128 * 1024;
/// Reads before other tasks have their turn.
const READS: usize = 4;

impl Connection {
    pub(crate) fn new(id: SubscriberId, io: Io, ws: proto::Connection, output: Output, permit: Permit) -> Self {
        Self {
            id,
            io: RefCell::new(io),
            ws: RefCell::new(ws),
            task: RefCell::default(),
            write_blocked: Cell::new(false),
            ended: Cell::new(false),
            broken: Cell::new(false),
            reset: Cell::new(false),
            output,
            waits_for_room: Cell::new(false),
            permit: RefCell::new(Some(permit)),
        }
    }

    /// Whether the peer has reset it.
    pub(crate) fn was_reset(&self) -> bool {
        self.reset.get()
    }

    /// Waits for the end of what the peer sends, which is of no interest any more. Returns whether it ended in order.
    pub(crate) async fn ended_by_peer(&self) -> bool {
        poll_fn(|cx| {
            loop {
                let mut space = [0; 256];
                let mut buffer = ReadBuf::new(&mut space);
                let read = ready!(Pin::new(&mut *self.io.borrow_mut()).poll_read(cx, &mut buffer));
                if read.is_err() || buffer.filled().is_empty() {
                    return Poll::Ready(read.is_ok());
                }
            }
        })
        .await
    }

    /// Somebody else may connect now.
    pub(crate) fn give_back_place(&self) {
        self.permit.take();
    }

    /// Forgets what was written and has not gone.
    pub(crate) fn abort(&self) {
        self.io.borrow_mut().abort();
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(*self.io.borrow(), Io::Http2(_))
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.task.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Writes what is queued, as far as the kernel takes it. Called by the shard at the end of a turn.
    pub(crate) fn flush<B: ShardBroker>(&self, state: &State<B>) {
        match self.write_only(state) {
            Ok(true) => {}
            Ok(false) => self.flush_all(state),
            Err(error) => self.fail_to_write(&error),
        }
    }

    /// What happens mostly, and therefore by the shortest way: one message waits for a client that reads. Returns whether that was all.
    fn write_only<B: ShardBroker>(&self, state: &State<B>) -> io::Result<bool> {
        if !self.is_usual() {
            return Ok(false);
        }
        let mut sessions = state.sessions.borrow_mut();
        let Some(outbox) = sessions.usual_outbox(self.id) else { return Ok(false) };
        let Some(message) = outbox.only() else { return Ok(false) };
        let length = message.len();
        let Some(written) = self.io.borrow_mut().try_write_vectored(&[IoSlice::new(message)]) else { return Ok(false) };
        let written = written?;
        count_write(state, written);
        if let Some(rest) = outbox.advance(written) {
            self.ws.borrow_mut().send_encoded_rest(rest);
        }
        Ok(written == length)
    }

    /// Whether nothing but the outbox decides on what is written next.
    pub(crate) fn is_usual(&self) -> bool {
        !self.write_blocked.get() && !self.broken.get() && self.passes_through()
    }

    fn flush_all<B: ShardBroker>(&self, state: &State<B>) {
        self.close_if_told(state);
        if self.write_blocked.get() || self.broken.get() {
            return;
        }
        while let Some(written) = self.write_next(state) {
            match written {
                Ok(0) => return self.break_off(&io::ErrorKind::WriteZero.into()),
                Ok(written) => count_write(state, written),
                Err(error) => return self.fail_to_write(&error),
            }
        }
        let mut ws = self.ws.borrow_mut();
        // An idle connection owns no buffer.
        if let Some(buffer) = ws.reclaim_transmit() {
            state.return_output(buffer);
        }
        if ws.should_shut_down_write() {
            self.wake();
        }
    }

    /// Writes once, if there is anything. It would block too where only the task can write.
    fn write_next<B: ShardBroker>(&self, state: &State<B>) -> Option<io::Result<usize>> {
        let would_block = || Err(io::ErrorKind::WouldBlock.into());
        if self.passes_through() {
            return self.write_through(state);
        }
        if !self.fill(state) {
            return None;
        }
        let mut ws = self.ws.borrow_mut();
        let written = with_slices(ws.transmit(), |slices| self.io.borrow_mut().try_write_vectored(slices));
        if let Some(Ok(written)) = written {
            ws.transmit().advance(written);
        }
        Some(written.unwrap_or_else(would_block))
    }

    /// Whether what waits in the outbox is what goes over the wire next.
    fn passes_through(&self) -> bool {
        let ws = self.ws.borrow();
        self.output == Output::Ready(WEBSOCKET) && ws.transmit_len() == 0 && ws.is_open() && !self.ended.get()
    }

    /// Writes from the outbox: nothing is copied or allocated for a client that reads. What the kernel takes of a message only in part goes on by way of the
    /// transport's queue.
    fn write_through<B: ShardBroker>(&self, state: &State<B>) -> Option<io::Result<usize>> {
        let mut sessions = state.sessions.borrow_mut();
        let outbox = sessions.outbox(self.id).filter(|outbox| !outbox.is_empty())?;
        let written = with_messages(outbox.waiting(), |slices| self.io.borrow_mut().try_write_vectored(slices));
        if let Some(Ok(written)) = written {
            let rest = outbox.advance(written);
            if sessions.goes_on(self.id) {
                state.want_turn();
            }
            if let Some(rest) = rest {
                self.ws.borrow_mut().send_encoded_rest(rest);
            }
        }
        Some(written.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into())))
    }

    /// Moves some of the outbox to the transport's queue. Returns whether that has anything.
    fn fill<B: ShardBroker>(&self, state: &State<B>) -> bool {
        let mut ws = self.ws.borrow_mut();
        if ws.transmit_len() == 0 && ws.is_open() && !self.ended.get() {
            let mut sessions = state.sessions.borrow_mut();
            if let Some(outbox) = sessions.outbox(self.id) {
                if !outbox.is_empty() {
                    ws.lend_transmit(state.take_output());
                }
                let mut taken = 0;
                while taken < WRITE_BYTES
                    && let Some(encoded) = outbox.pop()
                {
                    taken += encoded.len();
                    if self.queue(state, &mut ws, encoded).is_err() {
                        break;
                    }
                }
            }
            if sessions.goes_on(self.id) {
                state.want_turn();
            }
        }
        let queued = ws.transmit_len() > 0;
        // An idle connection owns no buffer.
        if !queued && let Some(buffer) = ws.reclaim_transmit() {
            state.return_output(buffer);
        }
        queued
    }

    fn queue<B: ShardBroker>(
        &self,
        state: &State<B>,
        ws: &mut proto::Connection,
        encoded: Encoded,
    ) -> Result<(), SendError> {
        if self.output != Output::Own {
            return ws.send_encoded(encoded.into_bytes());
        }
        let (queued, length) = (ws.transmit_len(), encoded.len());
        let compressed = ws.compress_encoded(encoded.into_bytes())?;
        state.compression.add(compressed, length, ws.transmit_len() - queued);
        if self.write_blocked.get() {
            // The task writes, outside of a turn: the end of the next one publishes what was counted.
            state.want_turn();
        }
        Ok(())
    }

    /// If the session has decided to end: what is left of the outbox, then the Close frame. From here the protocol's close timeout runs, whether the
    /// peer reads or not.
    fn close_if_told<B: ShardBroker>(&self, state: &State<B>) {
        let mut ws = self.ws.borrow_mut();
        if !ws.is_open() || self.ended.get() {
            return;
        }
        let mut sessions = state.sessions.borrow_mut();
        let Some(disconnect) = sessions.closing(self.id).cloned() else { return };
        if let Some(outbox) = sessions.outbox(self.id) {
            while let Some(encoded) = outbox.pop()
                && self.queue(state, &mut ws, encoded).is_ok()
            {}
        }
        if let Err(error) = ws.close(CloseCode::new(disconnect.code), &disconnect.reason) {
            tracing::debug!(%error, code = disconnect.code, "a connection cannot be closed in order");
            self.broken.set(true);
        }
        drop((ws, sessions));
        self.end_session(state);
        self.wake();
    }

    fn fail_to_write(&self, error: &io::Error) {
        if error.kind() != io::ErrorKind::WouldBlock {
            return self.break_off(error);
        }
        self.write_blocked.set(true);
        self.wake();
    }

    fn break_off(&self, error: &io::Error) {
        tracing::debug!(%error, "a connection failed while it was written to");
        self.broken.set(true);
        // A peer that has closed in order may reset what it has no more use for.
        self.reset.set(error.kind() == io::ErrorKind::ConnectionReset && !self.ended.get());
        self.wake();
    }

    fn end_session<B: ShardBroker>(&self, state: &State<B>) {
        if !self.ended.replace(true) {
            state.sessions.borrow_mut().close(state.clock.now(), self.id);
            state.want_turn();
        }
    }
}

fn count_write<B: ShardBroker>(state: &State<B>, bytes: usize) {
    let mut stats = state.stats.borrow_mut();
    stats.writes += 1;
    stats.bytes_out += bytes as u64;
}

/// Calls with the transport's queue as slices for one vectored write.
fn with_slices<T>(transmit: &mut proto::Transmit, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
    let mut slices = [IoSlice::new(&[]); SEGMENTS];
    let count = transmit.chunks_vectored(&mut slices);
    write(slices.get(..count).unwrap_or_default())
}

/// The same with the first of some messages, of which there is one mostly.
fn with_messages<'a, T>(mut messages: impl Iterator<Item = &'a [u8]>, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
    let first = IoSlice::new(messages.next().unwrap_or_default());
    let Some(second) = messages.next() else { return write(&[first]) };
    let mut slices = [first; SEGMENTS];
    let mut count = 1;
    for (slice, message) in slices.iter_mut().skip(1).zip(core::iter::once(second).chain(messages)) {
        *slice = IoSlice::new(message);
        count += 1;
    }
    write(slices.get(..count).unwrap_or_default())
}

/// The task of one connection. It ends when the socket is closed or broken, or the peer does not close in time.
#[derive(Debug)]
pub(crate) struct ConnectionTask<B: ShardBroker> {
    connection: Rc<Connection>,
    state: Rc<State<B>>,
    /// When the shard wakes it.
    timer: Option<Time>,
    message_bytes: usize,
    eof: bool,
    /// The write half is closed.
    shut: bool,
}

impl<B: ShardBroker> ConnectionTask<B> {
    pub(crate) fn new(connection: Rc<Connection>, state: Rc<State<B>>, message_bytes: usize) -> Self {
        Self { connection, state, timer: None, message_bytes, eof: false, shut: false }
    }

    pub(crate) fn connection(&self) -> Rc<Connection> {
        Rc::clone(&self.connection)
    }

    /// Takes the bytes that came together with the request.
    pub(crate) fn receive_early(&mut self, bytes: BytesMut) {
        if !bytes.is_empty() {
            self.connection.ws.borrow_mut().receive(bytes);
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..READS {
            // What was read before a pause comes first.
            if !self.handle_events() {
                return Poll::Pending;
            }
            if self.eof || self.connection.broken.get() {
                return Poll::Pending;
            }
            if !self.state.sessions.borrow().takes_requests() {
                self.state.wait_for_room(&self.connection);
                return Poll::Pending;
            }
            ready!(self.poll_read_once(cx));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read_once(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ws = self.connection.ws.borrow_mut();
        // A large message is read to where its beginning is; anything else into a buffer of the shard.
        let own = ws.read_buffer().is_some();
        let mut pooled = if own { BytesMut::new() } else { self.state.take_buffer() };
        let read = match ws.read_buffer() {
            Some(buffer) => poll_read_into(&mut self.connection.io.borrow_mut(), cx, buffer),
            None => poll_read_into(&mut self.connection.io.borrow_mut(), cx, &mut pooled),
        };
        match read {
            Poll::Ready(Ok(0)) => {
                self.eof = true;
                ws.receive_eof();
            }
            Poll::Ready(Ok(count)) => {
                self.state.stats.borrow_mut().bytes_in += count as u64;
                if !own {
                    ws.receive(pooled);
                }
            }
            Poll::Ready(Err(error)) => {
                drop(ws);
                self.connection.break_off(&error);
                return Poll::Ready(());
            }
            Poll::Pending => {
                if !own {
                    self.state.return_buffer(pooled);
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Takes the protocol's events to the session. Returns `false` if the client shall not be read for now.
    fn handle_events(&mut self) -> bool {
        let connection = Rc::clone(&self.connection);
        loop {
            if !connection.ended.get() && self.state.sessions.borrow_mut().pause(connection.id) {
                return false;
            }
            let event = connection.ws.borrow_mut().poll_event();
            let Some(event) = event else { break };
            self.handle_event(event);
        }
        if let Some(buffer) = connection.ws.borrow_mut().reclaim_input() {
            self.state.return_buffer(buffer);
        }
        true
    }

    fn handle_event(&mut self, event: Event) {
        let connection = &self.connection;
        match event {
            Event::Message(message) if !connection.ended.get() => {
                let now = self.state.clock.now();
                let mut sessions = self.state.sessions.borrow_mut();
                match &message {
                    Message::Text(text) => sessions.receive(now, connection.id, Incoming::Text(text)),
                    Message::Binary(bytes) => sessions.receive(now, connection.id, Incoming::Binary(bytes)),
                }
                let message_bytes = sessions.message_bytes(connection.id);
                drop(sessions);
                if message_bytes != self.message_bytes {
                    self.message_bytes = message_bytes;
                    connection.ws.borrow_mut().set_limits(limits(message_bytes));
                }
                self.state.want_turn();
            }
            Event::Failed(error) => {
                self.state.stats.borrow_mut().protocol_errors += 1;
                tracing::info!(%error, "a client broke the WebSocket protocol");
                connection.end_session(&self.state);
            }
            Event::Unresponsive => {
                self.state.stats.borrow_mut().unresponsive += 1;
                let Disconnect { code, reason, .. } = Disconnect::SILENT;
                // The peer is most likely gone; the close timeout bounds the wait. An error is a close that has begun already.
                let _ = connection.ws.borrow_mut().close(CloseCode::new(code), &reason);
                connection.end_session(&self.state);
            }
            Event::Close(_) | Event::Eof { .. } => connection.end_session(&self.state),
            _ => {}
        }
    }

    /// Writes where the shard could not. Ready when nothing is left to write.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = &self.connection;
        while connection.fill(&self.state) {
            let mut ws = connection.ws.borrow_mut();
            let written = with_slices(ws.transmit(), |slices| {
                Pin::new(&mut *connection.io.borrow_mut()).poll_write_vectored(cx, slices)
            });
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => {
                    ws.transmit().advance(written);
                    count_write(&self.state, written);
                }
            }
        }
        Pin::new(&mut *connection.io.borrow_mut()).poll_flush(cx)
    }

    /// Handles what is due, and has the shard wake this task at the protocol's next deadline: a timer of the runtime would be an allocation of its own for
    /// each connection.
    fn poll_timers(&mut self) {
        loop {
            let next = self.connection.ws.borrow().poll_timeout();
            let next = next.map(|time| Time::from_micros(time.as_micros()));
            let now = self.state.clock.now();
            if next.is_none_or(|next| next > now) {
                return self.state.set_timer(&self.connection, &mut self.timer, next);
            }
            self.connection.ws.borrow_mut().handle_timeout(proto::Time::from_micros(now.as_micros()));
            self.handle_events();
        }
    }

    /// Closes the socket when the protocol is through with it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let connection = Rc::clone(&self.connection);
        let (drained, shut_down, finished) = {
            let ws = connection.ws.borrow();
            (ws.transmit_len() == 0, ws.should_shut_down_write(), ws.is_finished())
        };
        if !connection.broken.get() && drained && shut_down && !self.shut {
            // An error is a socket that is closed already.
            let _ = ready!(Pin::new(&mut *connection.io.borrow_mut()).poll_shutdown(cx));
            self.shut = true;
        }
        if !connection.broken.get() && !finished {
            return Poll::Pending;
        }
        if !drained {
            // The peer reads no more: what the kernel still holds for it is of no use to anybody.
            connection.abort();
        }
        Poll::Ready(())
    }
}

/// However the task ends, by a panic among the ways, its session ends with it.
impl<B: ShardBroker> Drop for ConnectionTask<B> {
    fn drop(&mut self) {
        self.state.set_timer(&self.connection, &mut self.timer, None);
        self.connection.end_session(&self.state);
        self.state.detach(self.connection.id);
        let mut stats = self.state.stats.borrow_mut();
        stats.connections -= 1;
        stats.connections_http2 -= u64::from(self.connection.is_http2());
        drop(stats);
        self.state.want_turn();
    }
}

impl<B: ShardBroker> Future for ConnectionTask<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        {
            let mut task = this.connection.task.borrow_mut();
            if !task.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *task = Some(cx.waker().clone());
            }
        }
        let _ = this.poll_read(cx);
        this.poll_timers();
        // Protocol answers (pong, close) that no session knows of are written here too.
        let own_output = this.connection.write_blocked.get()
            || this.connection.ended.get()
            || this.connection.ws.borrow().transmit_len() > 0;
        if own_output && !this.connection.broken.get() {
            this.connection.write_blocked.set(true);
            match this.poll_write(cx) {
                Poll::Ready(Ok(())) => this.connection.write_blocked.set(false),
                Poll::Ready(Err(error)) => this.connection.break_off(&error),
                Poll::Pending => {}
            }
        }
        this.poll_end(cx)
    }
}

/// The protocol's limits for a client that may send messages of this size.
pub(crate) fn limits(message_bytes: usize) -> proto::Limits {
    proto::Limits { message_bytes_max: message_bytes, ..proto::Limits::default() }
}

fn poll_read_into(io: &mut Io, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
    tokio_util::io::poll_read_buf(Pin::new(io), cx, &mut buffer.limit(PIECE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_hub::MemoryBroker;

    /// With what tokio adds to a task and a socket, this is what an idle connection takes beside its session: bench/README.md has the account.
    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection>() <= 384, "{} bytes", size_of::<Connection>());
        let task = size_of::<ConnectionTask<MemoryBroker>>();
        assert!(task <= 48, "{task} bytes");
    }
}
