//! A session whose output is the body of a response that goes on: over HTTP/1.1 up to the end of its connection, over HTTP/2 a stream of one.
//!
//! It carries bytes between the sessions and the socket as a WebSocket's connection does, with nothing in between. What the client sends behind its request means
//! nothing.

use crate::backend::ShardBroker;
use crate::http::CLOSE_TIMEOUT;
use crate::io::Io;
use crate::limits::Permit;
use crate::state::State;
use bytes::{Buf, Bytes};
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use switchboard_hub::SubscriberId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// One client's response, shared by its task and the shard.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: SubscriberId,
    io: RefCell<Io>,
    queue: RefCell<VecDeque<Bytes>>,
    task: RefCell<Option<Waker>>,
    /// The kernel took no more, or only the task can write.
    write_blocked: Cell<bool>,
    /// The session has ended; what is queued is the last.
    ended: Cell<bool>,
    /// The socket has failed, or the client has closed it.
    broken: Cell<bool>,
    /// By the client's reset.
    reset: Cell<bool>,
    permit: RefCell<Option<Permit>>,
}

/// As of a WebSocket's connection.
const WRITE_BYTES: usize = 64 * 1024;
const SEGMENTS: usize = 64;
/// What a client may send that nobody asked for.
const INPUT_BYTES_MAX: usize = 64 * 1024;

impl Stream {
    pub(crate) fn new(id: SubscriberId, io: Io, head: Option<Bytes>, permit: Permit) -> Self {
        Self {
            id,
            io: RefCell::new(io),
            queue: RefCell::new(head.into_iter().collect()),
            task: RefCell::default(),
            write_blocked: Cell::new(false),
            ended: Cell::new(false),
            broken: Cell::new(false),
            reset: Cell::new(false),
            permit: RefCell::new(Some(permit)),
        }
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(*self.io.borrow(), Io::Http2(_))
    }

    pub(crate) fn was_reset(&self) -> bool {
        self.reset.get()
    }

    /// Whether all was said.
    pub(crate) fn ended_in_order(&self) -> bool {
        !self.broken.get()
    }

    /// Somebody else may connect now.
    pub(crate) fn give_back_place(&self) {
        self.permit.take();
    }

    /// Forgets what was written and has not gone.
    pub(crate) fn abort(&self) {
        self.io.borrow_mut().abort();
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.task.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Writes what is queued, as far as the kernel takes it. Called by the shard at the end of a turn.
    pub(crate) fn flush<B: ShardBroker>(&self, state: &State<B>) {
        self.end_if_told(state);
        if self.write_blocked.get() || self.broken.get() {
            return;
        }
        while self.fill(state) {
            let mut queue = self.queue.borrow_mut();
            match with_slices(&queue, |slices| self.io.borrow_mut().try_write_vectored(slices)) {
                Some(Ok(0)) => return self.break_off(&io::ErrorKind::WriteZero.into()),
                Some(Ok(written)) => {
                    advance(&mut queue, written);
                    state.stats.borrow_mut().bytes_out += written as u64;
                }
                Some(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => return self.break_off(&error),
                Some(Err(_)) | None => {
                    self.write_blocked.set(true);
                    self.wake();
                    return;
                }
            }
        }
    }

    /// Moves some of the outbox to the queue. Returns whether that has anything.
    fn fill<B: ShardBroker>(&self, state: &State<B>) -> bool {
        let mut queue = self.queue.borrow_mut();
        if queue.is_empty() && !self.ended.get() {
            let mut sessions = state.sessions.borrow_mut();
            if queue.capacity() == 0 {
                *queue = state.take_output_queue();
            }
            sessions.take_output(self.id, WRITE_BYTES, &mut queue);
            if sessions.goes_on(self.id) {
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
        if self.ended.get() {
            return;
        }
        let mut sessions = state.sessions.borrow_mut();
        if sessions.closing(self.id).is_none() {
            return;
        }
        sessions.take_output(self.id, usize::MAX, &mut self.queue.borrow_mut());
        drop(sessions);
        self.end_session(state);
        self.wake();
    }

    fn break_off(&self, error: &io::Error) {
        tracing::debug!(%error, "a connection failed while it was written to");
        self.broken.set(true);
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
        while !self.eof && !self.stream.broken.get() {
            let mut space = [0; 1024];
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut *self.stream.io.borrow_mut()).poll_read(cx, &mut buffer));
            let count = buffer.filled().len();
            self.state.stats.borrow_mut().bytes_in += count as u64;
            self.input += count;
            match read {
                Err(error) => self.stream.break_off(&error),
                // Over HTTP/2 the end of the request is no end of the client's interest.
                Ok(()) if count == 0 => {
                    self.eof = true;
                    if !self.stream.is_http2() {
                        self.stream.end_session(&self.state);
                    }
                }
                Ok(()) if self.input > INPUT_BYTES_MAX => {
                    tracing::debug!("a client sends where nobody listens");
                    self.stream.broken.set(true);
                }
                Ok(()) => {}
            }
        }
        if !self.stream.broken.get() && !self.shut {
            let error = ready!(self.stream.io.borrow_mut().poll_gone(cx));
            self.stream.break_off(&error);
        }
        Poll::Pending
    }

    /// Writes where the shard could not. Ready when nothing is left to write.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &self.stream;
        while stream.fill(&self.state) {
            let mut queue = stream.queue.borrow_mut();
            let written =
                with_slices(&queue, |slices| Pin::new(&mut *stream.io.borrow_mut()).poll_write_vectored(cx, slices));
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => {
                    advance(&mut queue, written);
                    self.state.stats.borrow_mut().bytes_out += written as u64;
                }
            }
        }
        Pin::new(&mut *stream.io.borrow_mut()).poll_flush(cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stream = Rc::clone(&self.stream);
        if !stream.broken.get() && !stream.ended.get() {
            return Poll::Pending;
        }
        let drained = stream.queue.borrow().is_empty();
        if !stream.broken.get() {
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE_TIMEOUT)));
            let late = timer.as_mut().poll(cx).is_ready();
            if drained && !self.shut {
                // An error is a socket that is closed already.
                let _ = ready!(Pin::new(&mut *stream.io.borrow_mut()).poll_shutdown(cx));
                self.shut = true;
            }
            // To close before the client has would have the kernel forget what it has not taken yet.
            let over = drained && self.shut && (self.eof || stream.is_http2());
            if !late && !over {
                return Poll::Pending;
            }
        }
        if !drained {
            // The client reads no more: what the kernel still holds for it is of no use to anybody.
            stream.abort();
        }
        Poll::Ready(())
    }
}

/// However the task ends, by a panic among the ways, its session ends with it.
impl<B: ShardBroker> Drop for StreamTask<B> {
    fn drop(&mut self) {
        self.stream.end_session(&self.state);
        self.state.detach(self.stream.id);
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
        {
            let mut task = this.stream.task.borrow_mut();
            if !task.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *task = Some(cx.waker().clone());
            }
        }
        let _ = this.poll_read(cx);
        let own_output = this.stream.write_blocked.get() || this.stream.ended.get();
        if own_output && !this.stream.broken.get() {
            this.stream.write_blocked.set(true);
            match this.poll_write(cx) {
                Poll::Ready(Ok(())) => this.stream.write_blocked.set(false),
                Poll::Ready(Err(error)) => this.stream.break_off(&error),
                Poll::Pending => {}
            }
        }
        this.poll_end(cx)
    }
}
