//! Joins dialects and framings into what the hub calls once for each wire format.

use bytes::BytesMut;
use std::sync::Arc;
use switchboard_core::{ChannelName, Encode, Framing, FramingId, Mark, PresenceChange, Publication, WireFormat};
use switchboard_dialects::{Writer, write_count, write_presence, write_publications};

/// The transports' framings, by number, and a buffer that every message is made in.
#[derive(Debug)]
pub(crate) struct Encoder {
    framings: Vec<Box<dyn Framing>>,
    scratch: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(framings: Vec<Box<dyn Framing>>) -> Self {
        Self { framings, scratch: Vec::new() }
    }

    /// A writer to `out`; `None` if nobody registered the framing.
    pub(crate) fn writer<'a>(&'a mut self, framing: FramingId, out: &'a mut BytesMut) -> Option<Writer<'a>> {
        // One large message must not be kept for the sake of the next small one.
        if self.scratch.capacity() > SCRATCH_MAX {
            self.scratch = Vec::new();
        }
        let framing = self.framings.get(framing.0 as usize)?;
        Some(Writer::new(&**framing, &mut self.scratch, out))
    }
}

const SCRATCH_MAX: usize = 256 * 1024;

impl Encode for Encoder {
    fn publications(&mut self, format: WireFormat, publications: &[Arc<Publication>], mark: Mark, out: &mut BytesMut) {
        if let Some(mut writer) = self.writer(format.framing, out) {
            write_publications(format.dialect, publications, mark, &mut writer);
        }
    }

    fn presence(&mut self, format: WireFormat, channel: &ChannelName, changes: &[PresenceChange], out: &mut BytesMut) {
        if let Some(mut writer) = self.writer(format.framing, out) {
            write_presence(format.dialect, channel, changes, &mut writer);
        }
    }

    fn count(&mut self, format: WireFormat, channel: &ChannelName, count: u64, out: &mut BytesMut) {
        if let Some(mut writer) = self.writer(format.framing, out) {
            write_count(format.dialect, channel, count, &mut writer);
        }
    }
}
