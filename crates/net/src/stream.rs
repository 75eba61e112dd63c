//! A session whose output is the body of a response that goes on: over HTTP/1.1 up to the end of its connection, over HTTP/2 a stream of one.
//!
//! It carries bytes between the sessions and the socket as a WebSocket's connection does, with nothing in between. What the client sends behind its request means
//! nothing.

use crate::backend::ShardBroker;
use crate::http::CLOSE_TIMEOUT;
use crate::io::Io;
use crate::limits::Permit;
use crate::socket::Socket;
use crate::state::State;
use bytes::{Buf, Bytes};
use core::cell::RefCell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use switchboard_hub::SubscriberId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// One client's response, shared by its task and the shard.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) socket: Socket,
    queue: RefCell<VecDeque<Bytes>>,
}

/// As of a WebSocket's connection.
const WRITE_BYTES: usize = 64 * 1024;
const SEGMENTS: usize = 64;
/// What a client may send that nobody asked for.
const INPUT_BYTES_MAX: usize = 64 * 1024;

impl Stream {
    pub(crate) fn new(id: SubscriberId, io: Io, head: Option<Bytes>, permit: Permit) -> Self {
        Self { socket: Socket::new(id, io, permit), queue: RefCell::new(head.into_iter().collect()) }
    }

    /// Writes what is queued, as far as the kernel takes it. Called by the shard at the end of a turn.
    pub(crate) fn flush<B: ShardBroker>(&self, state: &State<B>) {
        self.end_if_told(state);
        if self.socket.write_blocked.get() || self.socket.broken.get() {
            return;
        }
        while self.fill(state) {
            let mut queue = self.queue.borrow_mut();
            match with_slices(&queue, |slices| self.socket.io.borrow_mut().try_write_vectored(slices)) {
                Some(Ok(0)) => return self.socket.break_off(&io::ErrorKind::WriteZero.into()),
                Some(Ok(written)) => {
                    advance(&mut queue, written);
                    state.stats.borrow_mut().bytes_out += written as u64;
                }
                Some(Err(error)) => return self.socket.fail_to_write(&error),
                // Only the task can.
                None => return self.socket.fail_to_write(&io::ErrorKind::WouldBlock.into()),
            }
        }
    }

    /// Moves some of the outbox to the queue. Returns whether that has anything.
    fn fill<B: ShardBroker>(&self, state: &State<B>) -> bool {
        let mut queue = self.queue.borrow_mut();
        if queue.is_empty() && !self.socket.ended.get() {
            let mut sessions = state.sessions.borrow_mut();
            if queue.capacity() == 0 {
                *queue = state.take_output_queue();
            }
            sessions.take_output(self.socket.id, WRITE_BYTES, &mut queue);
            if sessions.goes_on(self.socket.id) {
                state.want_turn();
            }
        }
        if queue.is_empty() {
            // An idle connection owns no buffer.
            state.return_output_queue(core::mem::take(&mut queue));
        }
        !queue.is_empty()
    }

    /// If the session has decided to end: what is left of the outbox, then nothing more.
    fn end_if_told<B: ShardBroker>(&self, state: &State<B>) {
        if self.socket.ended.get() {
            return;
        }
        let mut sessions = state.sessions.borrow_mut();
        if sessions.closing(self.socket.id).is_none() {
            return;
        }
        sessions.take_output(self.socket.id, usize::MAX, &mut self.queue.borrow_mut());
        drop(sessions);
        self.socket.end_session(state);
        self.socket.wake();
    }
}

fn with_slices<T>(queue: &VecDeque<Bytes>, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
    let mut slices = [IoSlice::new(&[]); SEGMENTS];
    let mut count = 0;
    for (slice, bytes) in slices.iter_mut().zip(queue) {
        *slice = IoSlice::new(bytes);
        count += 1;
    }
    write(slices.get(..count).unwrap_or_default())
}

fn advance(queue: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = queue.front_mut() {
        if written < first.len() {
            first.advance(written);
            return;
        }
        written -= first.len();
        queue.pop_front();
    }
}

/// The task of one response. It ends when all is written and the client has closed, or does not in time.
#[derive(Debug)]
pub(crate) struct StreamTask<B: ShardBroker> {
    stream: Rc<Stream>,
    state: Rc<State<B>>,
    /// Runs from the end of the session.
    timer: Option<Pin<Box<Sleep>>>,
    input: usize,
    eof: bool,
    /// The write half is closed.
    shut: bool,
}

impl<B: ShardBroker> StreamTask<B> {
    pub(crate) fn new(stream: Rc<Stream>, state: Rc<State<B>>) -> Self {
        Self { stream, state, timer: None, input: 0, eof: false, shut: false }
    }

    pub(crate) fn stream(&self) -> Rc<Stream> {
        Rc::clone(&self.stream)
    }

    /// Notices that the client has gone.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.eof && !self.stream.socket.broken.get() {
            let mut space = [0; 1024];
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut *self.stream.socket.io.borrow_mut()).poll_read(cx, &mut buffer));
            let count = buffer.filled().len();
            self.state.stats.borrow_mut().bytes_in += count as u64;
            self.input += count;
            match read {
                Err(error) => self.stream.socket.break_off(&error),
                // Over HTTP/2 the end of the request is no end of the client's interest.
                Ok(()) if count == 0 => {
                    self.eof = true;
                    if !self.stream.socket.is_http2() {
                        self.stream.socket.end_session(&self.state);
                    }
                }
                Ok(()) if self.input > INPUT_BYTES_MAX => {
                    tracing::debug!("a client sends where nobody listens");
                    self.stream.socket.broken.set(true);
                }
                Ok(()) => {}
            }
        }
        if !self.stream.socket.broken.get() && !self.shut {
            let error = ready!(self.stream.socket.io.borrow_mut().poll_gone(cx));
            self.stream.socket.break_off(&error);
        }
        Poll::Pending
    }

    /// Writes where the shard could not. Ready when nothing is left to write.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &self.stream;
        while stream.fill(&self.state) {
            let mut queue = stream.queue.borrow_mut();
            let written = with_slices(&queue, |slices| {
                Pin::new(&mut *stream.socket.io.borrow_mut()).poll_write_vectored(cx, slices)
            });
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => {
                    advance(&mut queue, written);
                    self.state.stats.borrow_mut().bytes_out += written as u64;
                }
            }
        }
        Pin::new(&mut *stream.socket.io.borrow_mut()).poll_flush(cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stream = Rc::clone(&self.stream);
        if !stream.socket.broken.get() && !stream.socket.ended.get() {
            return Poll::Pending;
        }
        let drained = stream.queue.borrow().is_empty();
        if !stream.socket.broken.get() {
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE_TIMEOUT)));
            let late = timer.as_mut().poll(cx).is_ready();
            if drained && !self.shut {
                // An error is a socket that is closed already.
                let _ = ready!(Pin::new(&mut *stream.socket.io.borrow_mut()).poll_shutdown(cx));
                self.shut = true;
            }
            // To close before the client has would have the kernel forget what it has not taken yet.
            let over = drained && self.shut && (self.eof || stream.socket.is_http2());
            if !late && !over {
                return Poll::Pending;
            }
        }
        if !drained {
            // The client reads no more: what the kernel still holds for it is of no use to anybody.
            stream.socket.abort();
        }
        Poll::Ready(())
    }
}

/// However the task ends, by a panic among the ways, its session ends with it.
impl<B: ShardBroker> Drop for StreamTask<B> {
    fn drop(&mut self) {
        self.stream.socket.end_session(&self.state);
        self.state.detach(self.stream.socket.id);
        let mut stats = self.state.stats.borrow_mut();
        stats.streams -= 1;
        drop(stats);
        self.state.want_turn();
    }
}

impl<B: ShardBroker> Future for StreamTask<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.stream.socket.register(cx);
        let _ = this.poll_read(cx);
        let own_output = this.stream.socket.write_blocked.get() || this.stream.socket.ended.get();
        if own_output && this.stream.socket.begin_write() {
            let written = this.poll_write(cx);
            this.stream.socket.end_write(written);
        }
        this.poll_end(cx)
    }
}
