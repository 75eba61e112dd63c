//! What is on its way to the server and not sent yet, counted: what was handed to the driver, and what waits for a connection.
//!
//! Owns how much of both there may be. Knows nothing of what is sent.

use super::Outgoing;
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(super) struct Unsent {
    /// Of each message that the driver has, its bytes.
    sizes: VecDeque<usize>,
    /// All of them, and those of what is held.
    bytes: usize,
    /// What somebody sends while the connection is being made.
    held: VecDeque<Outgoing>,
}

/// Lines that are read before they can be sent.
pub(super) const LINES_MAX: usize = 64;
/// Bytes that may wait for a server that does not read, when somebody types on.
pub(super) const BYTES_MAX: usize = 64 * 1024 * 1024;

impl Unsent {
    pub(super) fn takes_lines(&self) -> bool {
        self.sizes.len() < LINES_MAX
    }

    /// How many bytes wait, if they are too many for more to come behind them.
    pub(super) fn too_many(&self) -> Option<usize> {
        (self.bytes > BYTES_MAX).then_some(self.bytes)
    }

    /// Whether the driver has sent all that it was given.
    pub(super) fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// The driver was given a message of so many bytes.
    pub(super) fn push(&mut self, bytes: usize) {
        self.sizes.push_back(bytes);
        self.bytes += bytes;
    }

    /// It has sent so many.
    pub(super) fn sent(&mut self, count: usize) {
        for _ in 0..count {
            self.bytes -= self.sizes.pop_front().unwrap_or(0);
        }
    }

    /// Keeps something until there is a connection.
    pub(super) fn hold(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.len();
        self.held.push_back(outgoing);
    }

    /// There is one: what was held is to be sent as if it came now.
    pub(super) fn take_held(&mut self) -> VecDeque<Outgoing> {
        self.bytes = 0;
        core::mem::take(&mut self.held)
    }

    /// The connection is gone, and all this with it. Returns how many things had waited for one.
    pub(super) fn forget(&mut self) -> usize {
        core::mem::take(self).held.len()
    }
}

impl Outgoing {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            _ => 0,
        }
    }
}
