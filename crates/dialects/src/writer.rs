//! Where dialects put their messages: each is framed for its transport at once.

use bytes::BytesMut;
use core::fmt;
use switchboard_core::{FrameKind, Framing};

/// Takes whole messages and appends them, framed, to a buffer.
pub struct Writer<'a> {
    framing: &'a dyn Framing,
    scratch: &'a mut Vec<u8>,
    out: &'a mut BytesMut,
}

impl<'a> Writer<'a> {
    /// Writes to `out`. `scratch` is only lent, to be reused.
    pub fn new(framing: &'a dyn Framing, scratch: &'a mut Vec<u8>, out: &'a mut BytesMut) -> Self {
        Self { framing, scratch, out }
    }

    /// A text message, made in place.
    pub fn text(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.scratch.clear();
        write(self.scratch);
        self.framing.frame(FrameKind::Text, self.scratch, self.out);
    }

    /// A binary message, made in place.
    pub fn binary(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.scratch.clear();
        write(self.scratch);
        self.framing.frame(FrameKind::Binary, self.scratch, self.out);
    }

    /// A message that exists already.
    pub fn message(&mut self, kind: FrameKind, payload: &[u8]) {
        self.framing.frame(kind, payload, self.out);
    }
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("framing", &self.framing).field("bytes", &self.out.len()).finish()
    }
}
