//! The task of a connection: it reads, keeps the protocol's deadlines, writes what the shard could not, and closes the socket.
//!
//! Owns when a connection is over. What the shard writes at the end of a turn, it does not see.

use super::{Connection, count_write, limits, with_slices};
use crate::backend::ShardBroker;
use crate::io::Io;
use crate::state::State;
use bytes::{Buf, BufMut, BytesMut};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;
use std::rc::Rc;
use switchboard_core::{Disconnect, Time};
use switchboard_session::Incoming;
use switchboard_ws_proto::{self as proto, CloseCode, Event, Message};
use tokio::io::AsyncWrite;

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

/// The most of a large message that is read at once: what is unmasked should still be in the cache.
const PIECE_BYTES: usize = 128 * 1024;
/// Reads before other tasks have their turn.
const READS: usize = 4;

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
            if self.eof || self.connection.socket.broken.get() {
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
            Some(buffer) => poll_read_into(&mut self.connection.socket.io.borrow_mut(), cx, buffer),
            None => poll_read_into(&mut self.connection.socket.io.borrow_mut(), cx, &mut pooled),
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
                self.connection.socket.break_off(&error);
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
            if !connection.socket.ended.get() && self.state.sessions.borrow_mut().pause(connection.socket.id) {
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
            Event::Message(message) if !connection.socket.ended.get() => {
                let now = self.state.clock.now();
                let mut sessions = self.state.sessions.borrow_mut();
                match &message {
                    Message::Text(text) => sessions.receive(now, connection.socket.id, Incoming::Text(text)),
                    Message::Binary(bytes) => sessions.receive(now, connection.socket.id, Incoming::Binary(bytes)),
                }
                let message_bytes = sessions.message_bytes(connection.socket.id);
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
                connection.socket.end_session(&self.state);
            }
            Event::Unresponsive => {
                self.state.stats.borrow_mut().unresponsive += 1;
                let Disconnect { code, reason, .. } = Disconnect::SILENT;
                // The peer is most likely gone; the close timeout bounds the wait. An error is a close that has begun already.
                let _ = connection.ws.borrow_mut().close(CloseCode::new(code), &reason);
                connection.socket.end_session(&self.state);
            }
            Event::Close(_) | Event::Eof { .. } => connection.socket.end_session(&self.state),
            _ => {}
        }
    }

    /// Writes where the shard could not. Ready when nothing is left to write.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = &self.connection;
        while connection.fill(&self.state) {
            let mut ws = connection.ws.borrow_mut();
            let written = with_slices(ws.transmit(), |slices| {
                Pin::new(&mut *connection.socket.io.borrow_mut()).poll_write_vectored(cx, slices)
            });
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => {
                    ws.transmit().advance(written);
                    count_write(&self.state, written);
                }
            }
        }
        Pin::new(&mut *connection.socket.io.borrow_mut()).poll_flush(cx)
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
        if !connection.socket.broken.get() && drained && shut_down && !self.shut {
            // An error is a socket that is closed already.
            let _ = ready!(Pin::new(&mut *connection.socket.io.borrow_mut()).poll_shutdown(cx));
            self.shut = true;
        }
        if !connection.socket.broken.get() && !finished {
            return Poll::Pending;
        }
        if !drained {
            // The peer reads no more: what the kernel still holds for it is of no use to anybody.
            connection.socket.abort();
        }
        Poll::Ready(())
    }
}

/// However the task ends, by a panic among the ways, its session ends with it.
impl<B: ShardBroker> Drop for ConnectionTask<B> {
    fn drop(&mut self) {
        self.state.set_timer(&self.connection, &mut self.timer, None);
        self.connection.socket.end_session(&self.state);
        self.state.detach(self.connection.socket.id);
        let mut stats = self.state.stats.borrow_mut();
        stats.connections -= 1;
        stats.connections_http2 -= u64::from(self.connection.socket.is_http2());
        drop(stats);
        self.state.want_turn();
    }
}

impl<B: ShardBroker> Future for ConnectionTask<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.connection.socket.register(cx);
        let _ = this.poll_read(cx);
        this.poll_timers();
        // Protocol answers (pong, close) that no session knows of are written here too.
        let own_output = this.connection.socket.write_blocked.get()
            || this.connection.socket.ended.get()
            || this.connection.ws.borrow().transmit_len() > 0;
        if own_output && this.connection.socket.begin_write() {
            let written = this.poll_write(cx);
            this.connection.socket.end_write(written);
        }
        this.poll_end(cx)
    }
}

fn poll_read_into(io: &mut Io, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
    tokio_util::io::poll_read_buf(Pin::new(io), cx, &mut buffer.limit(PIECE_BYTES))
}
