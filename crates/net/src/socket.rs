//! The socket of one session: what it is for its task and its shard, and how it ends.
//!
//! Owns who is told when it ends: the session once, the task each time. Knows nothing of the bytes that it carries.

use crate::backend::ShardBroker;
use crate::io::Io;
use crate::limits::Permit;
use crate::state::State;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use std::io;
use switchboard_hub::SubscriberId;
use tokio::io::{AsyncRead, ReadBuf};

/// Shared by a connection's task and the shard.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) id: SubscriberId,
    pub(crate) io: RefCell<Io>,
    task: RefCell<Option<Waker>>,
    /// The kernel took no more, or only the task can write.
    pub(crate) write_blocked: Cell<bool>,
    /// The session has ended; only the transport is still to be closed.
    pub(crate) ended: Cell<bool>,
    /// The socket has failed, or the peer has closed it before it was told all.
    pub(crate) broken: Cell<bool>,
    /// By the peer's reset, in the midst of a session.
    reset: Cell<bool>,
    permit: RefCell<Option<Permit>>,
}

impl Socket {
    pub(crate) fn new(id: SubscriberId, io: Io, permit: Permit) -> Self {
        Self {
            id,
            io: RefCell::new(io),
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

    /// Whether the peer has reset it.
    pub(crate) fn was_reset(&self) -> bool {
        self.reset.get()
    }

    /// Whether all was said.
    pub(crate) fn ended_in_order(&self) -> bool {
        !self.broken.get()
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

    /// This task is woken from now on.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.task.borrow() {
            waker.wake_by_ref();
        }
    }

    /// From here to [`end_write`](Self::end_write) only the task writes. Returns whether there is anything to write to.
    pub(crate) fn begin_write(&self) -> bool {
        let intact = !self.broken.get();
        if intact {
            self.write_blocked.set(true);
        }
        intact
    }

    /// The shard may write again where the task has written all.
    pub(crate) fn end_write(&self, written: Poll<io::Result<()>>) {
        match written {
            Poll::Ready(Ok(())) => self.write_blocked.set(false),
            Poll::Ready(Err(error)) => self.break_off(&error),
            Poll::Pending => {}
        }
    }

    /// The shard could not write: the task does, if anybody can.
    pub(crate) fn fail_to_write(&self, error: &io::Error) {
        if error.kind() != io::ErrorKind::WouldBlock {
            return self.break_off(error);
        }
        self.write_blocked.set(true);
        self.wake();
    }

    pub(crate) fn break_off(&self, error: &io::Error) {
        tracing::debug!(%error, "a connection failed while it was written to");
        self.broken.set(true);
        // A peer that has closed in order may reset what it has no more use for.
        self.reset.set(error.kind() == io::ErrorKind::ConnectionReset && !self.ended.get());
        self.wake();
    }

    pub(crate) fn end_session<B: ShardBroker>(&self, state: &State<B>) {
        if !self.ended.replace(true) {
            state.sessions.borrow_mut().close(state.clock.now(), self.id);
            state.want_turn();
        }
    }
}
