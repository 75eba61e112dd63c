//! A WebSocket connection: it carries bytes between a socket, the protocol's state machine and the sessions.
//!
//! Reading, and writing where only the task can write, happens in the connection's own task. What the sessions queue for it is written at
//! the end of the turn by the shard, without waking the task, as long as the kernel takes it.

mod task;

pub(crate) use task::ConnectionTask;

use crate::backend::ShardBroker;
use crate::compression::Output;
use crate::framing::WEBSOCKET;
use crate::io::Io;
use crate::limits::Permit;
use crate::socket::Socket;
use crate::state::State;
use bytes::Buf;
use core::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use switchboard_core::Encoded;
use switchboard_hub::SubscriberId;
use switchboard_ws_proto::{self as proto, CloseCode, SendError};

/// One client's connection, shared by its task and the shard.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    ws: RefCell<proto::Connection>,
    /// How its output is compressed.
    output: Output,
    /// In the shard's list of those that are read again when it is not congested any more.
    pub(crate) waits_for_room: Cell<bool>,
}

/// Bytes that are taken from the outbox for one write. What is taken can no longer be dropped by policy, so it is little.
const WRITE_BYTES: usize = 64 * 1024;
/// Segments of one vectored write.
const SEGMENTS: usize = 32;
impl Connection {
    pub(crate) fn new(id: SubscriberId, io: Io, ws: proto::Connection, output: Output, permit: Permit) -> Self {
        Self { socket: Socket::new(id, io, permit), ws: RefCell::new(ws), output, waits_for_room: Cell::new(false) }
    }

    /// Writes what is queued, as far as the kernel takes it. Called by the shard at the end of a turn.
    pub(crate) fn flush<B: ShardBroker>(&self, state: &State<B>) {
        match self.write_only(state) {
            Ok(true) => {}
            Ok(false) => self.flush_all(state),
            Err(error) => self.socket.fail_to_write(&error),
        }
    }

    /// What happens mostly, and therefore by the shortest way: one message waits for a client that reads. Returns whether that was all.
    fn write_only<B: ShardBroker>(&self, state: &State<B>) -> io::Result<bool> {
        if !self.is_usual() {
            return Ok(false);
        }
        let mut sessions = state.sessions.borrow_mut();
        let Some(outbox) = sessions.usual_outbox(self.socket.id) else { return Ok(false) };
        let Some(message) = outbox.only() else { return Ok(false) };
        let length = message.len();
        let Some(written) = self.socket.io.borrow_mut().try_write_vectored(&[IoSlice::new(message)]) else {
            return Ok(false);
        };
        let written = written?;
        count_write(state, written);
        if let Some(rest) = outbox.advance(written) {
            self.ws.borrow_mut().send_encoded_rest(rest);
        }
        Ok(written == length)
    }

    /// Whether nothing but the outbox decides on what is written next.
    pub(crate) fn is_usual(&self) -> bool {
        !self.socket.write_blocked.get() && !self.socket.broken.get() && self.passes_through()
    }

    fn flush_all<B: ShardBroker>(&self, state: &State<B>) {
        self.close_if_told(state);
        if self.socket.write_blocked.get() || self.socket.broken.get() {
            return;
        }
        while let Some(written) = self.write_next(state) {
            match written {
                Ok(0) => return self.socket.break_off(&io::ErrorKind::WriteZero.into()),
                Ok(written) => count_write(state, written),
                Err(error) => return self.socket.fail_to_write(&error),
            }
        }
        let mut ws = self.ws.borrow_mut();
        // An idle connection owns no buffer.
        if let Some(buffer) = ws.reclaim_transmit() {
            state.return_output(buffer);
        }
        if ws.should_shut_down_write() {
            self.socket.wake();
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
        let written = with_slices(ws.transmit(), |slices| self.socket.io.borrow_mut().try_write_vectored(slices));
        if let Some(Ok(written)) = written {
            ws.transmit().advance(written);
        }
        Some(written.unwrap_or_else(would_block))
    }

    /// Whether what waits in the outbox is what goes over the wire next.
    fn passes_through(&self) -> bool {
        let ws = self.ws.borrow();
        self.output == Output::Ready(WEBSOCKET) && ws.transmit_len() == 0 && ws.is_open() && !self.socket.ended.get()
    }

    /// Writes from the outbox: nothing is copied or allocated for a client that reads. What the kernel takes of a message only in part goes on by way of the
    /// transport's queue.
    fn write_through<B: ShardBroker>(&self, state: &State<B>) -> Option<io::Result<usize>> {
        let mut sessions = state.sessions.borrow_mut();
        let outbox = sessions.outbox(self.socket.id).filter(|outbox| !outbox.is_empty())?;
        let written = with_messages(outbox.waiting(), |slices| self.socket.io.borrow_mut().try_write_vectored(slices));
        if let Some(Ok(written)) = written {
            let rest = outbox.advance(written);
            if sessions.goes_on(self.socket.id) {
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
        if ws.transmit_len() == 0 && ws.is_open() && !self.socket.ended.get() {
            let mut sessions = state.sessions.borrow_mut();
            if let Some(outbox) = sessions.outbox(self.socket.id) {
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
            if sessions.goes_on(self.socket.id) {
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
        if self.socket.write_blocked.get() {
            // The task writes, outside of a turn: the end of the next one publishes what was counted.
            state.want_turn();
        }
        Ok(())
    }

    /// If the session has decided to end: what is left of the outbox, then the Close frame. From here the protocol's close timeout runs, whether the
    /// peer reads or not.
    fn close_if_told<B: ShardBroker>(&self, state: &State<B>) {
        let mut ws = self.ws.borrow_mut();
        if !ws.is_open() || self.socket.ended.get() {
            return;
        }
        let mut sessions = state.sessions.borrow_mut();
        let Some(disconnect) = sessions.closing(self.socket.id).cloned() else { return };
        if let Some(outbox) = sessions.outbox(self.socket.id) {
            while let Some(encoded) = outbox.pop()
                && self.queue(state, &mut ws, encoded).is_ok()
            {}
        }
        if let Err(error) = ws.close(CloseCode::new(disconnect.code), &disconnect.reason) {
            tracing::debug!(%error, code = disconnect.code, "a connection cannot be closed in order");
            self.socket.broken.set(true);
        }
        drop((ws, sessions));
        self.socket.end_session(state);
        self.socket.wake();
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

/// The protocol's limits for a client that may send messages of this size.
pub(crate) fn limits(message_bytes: usize) -> proto::Limits {
    proto::Limits { message_bytes_max: message_bytes, ..proto::Limits::default() }
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
