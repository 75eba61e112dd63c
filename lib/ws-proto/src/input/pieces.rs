//! Messages in pieces: each is given as it comes, unmasked and checked, so that nobody holds the whole. Owns where text may be cut. The
//! rules between frames, and the limits, are those of `input`.

use bytes::{Buf, Bytes, BytesMut};

use super::partial::{Partial, Pieces, Progress};
use super::{Incoming, Source};
use crate::frame::Opcode;
use crate::utf8::Begun;
use crate::{Limits, Message, Piece, ProtocolError, Utf8Bytes, mask};

impl Partial {
    /// The next piece of a message, or control frame that is whole.
    pub(super) fn poll_piece(
        &mut self,
        source: &mut Source,
        masked: bool,
        limits: &Limits,
    ) -> Result<Option<Incoming>, ProtocolError> {
        if self.message.is_some()
            && self.pieces == Pieces::None
            && let Some(piece) = self.collected(source)?
        {
            return Ok(Some(Incoming::Piece(piece)));
        }
        loop {
            match self.step(source, masked, limits)? {
                Progress::Incoming(incoming) => return Ok(Some(incoming)),
                Progress::Fragment => {}
                Progress::Starved => return Ok(None),
            }
        }
    }

    /// Whoever asked for pieces wants whole messages again: passes over the rest of this one, if a piece of it was given. Control frames in
    /// between are answered.
    #[cold]
    pub(super) fn skip_pieces(
        &mut self,
        source: &mut Source,
        masked: bool,
        limits: &Limits,
    ) -> Result<Option<Incoming>, ProtocolError> {
        if self.pieces == Pieces::First {
            self.collect(source);
        } else {
            self.pieces = Pieces::Skipped;
        }
        while self.pieces != Pieces::None {
            match self.step(source, masked, limits)? {
                Progress::Incoming(incoming) => return Ok(Some(incoming)),
                Progress::Fragment => {}
                Progress::Starved => break,
            }
        }
        Ok(None)
    }

    fn step(&mut self, source: &mut Source, masked: bool, limits: &Limits) -> Result<Progress, ProtocolError> {
        if let Some(frame) = &self.frame {
            return if frame.opcode.is_control() {
                Ok(self.continue_control(source))
            } else {
                self.piece(source, limits)
            };
        }
        let Some(header) = source.next_header()? else { return Ok(Progress::Starved) };
        let key = source.check(&header, masked, limits, self.begun(source))?;
        if header.opcode.is_control() {
            // At most 125 bytes.
            let length = header.payload_len as usize;
            if source.chunk.len() >= length {
                return source.whole(header.opcode, key, 0, length).map(Progress::Incoming);
            }
        } else if self.message.is_none() {
            self.pieces = Pieces::First;
        }
        self.begin(&header, key);
        Ok(Progress::Fragment)
    }

    /// The opposite of [`collected`](Self::collected): nothing was given yet, so all that can have come is the beginning of a character.
    fn collect(&mut self, source: &mut Source) {
        let begun = self.utf8.begun();
        match &mut source.inbound {
            Some(inbound) if self.compressed => inbound.put_back(begun.as_bytes()),
            _ => {
                self.payload.extend_from_slice(begun.as_bytes());
                self.payload_done = self.payload.len();
                self.given = 0;
            }
        }
        self.pieces = Pieces::None;
    }

    /// What was collected of the message before anybody asked for pieces.
    fn collected(&mut self, source: &mut Source) -> Result<Option<Piece>, ProtocolError> {
        let bytes = match &mut source.inbound {
            Some(inbound) if self.compressed => inbound.take(),
            _ => {
                if self.frame.as_ref().is_some_and(|frame| !frame.opcode.is_control()) {
                    self.absorb(source)?;
                }
                self.payload_done = 0;
                self.given = self.payload.len() as u64;
                core::mem::take(&mut self.payload).freeze()
            }
        };
        self.pieces = Pieces::First;
        Ok(self.cut(Begun::default(), bytes, false))
    }

    /// Takes what has come of the data frame's payload, and ends the frame, and the message, if that was all.
    fn piece(&mut self, source: &mut Source, limits: &Limits) -> Result<Progress, ProtocolError> {
        let begun = self.utf8.begun();
        let (bytes, more) =
            if self.compressed { self.inflate_block(source, limits)? } else { (self.plain_piece(source)?, false) };
        let ended = !more && self.frame.as_ref().is_none_or(|frame| frame.remaining == 0);
        let last = ended && self.frame.as_ref().is_some_and(|frame| frame.fin);
        if ended {
            self.frame = None;
        }
        if last {
            if let Some(inbound) = source.inbound.as_mut().filter(|_| self.compressed) {
                inbound.finish()?;
            }
            self.utf8.finish().map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        let piece = self.cut(begun, bytes, last);
        if last {
            self.message = None;
            self.compressed = false;
            self.fragments = 0;
            self.pieces = Pieces::None;
            self.given = 0;
        }
        Ok(match piece {
            Some(piece) => Progress::Incoming(Incoming::Piece(piece)),
            None if ended || more || !source.chunk.is_empty() => Progress::Fragment,
            None => Progress::Starved,
        })
    }

    /// Of the caller's own buffer, without a copy.
    fn plain_piece(&mut self, source: &mut Source) -> Result<Bytes, ProtocolError> {
        let Some(frame) = &mut self.frame else { return Ok(Bytes::new()) };
        let length = (source.chunk.len() as u64).min(frame.remaining) as usize;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let mut fresh = source.chunk.split_to(length);
        mask::apply(frame.key, &mut fresh);
        frame.key = mask::rotated(frame.key, length);
        frame.remaining -= length as u64;
        self.given += length as u64;
        if self.message == Some(Opcode::Text) {
            self.utf8.feed(&fresh).map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        Ok(fresh.freeze())
    }

    /// Inflates until something comes of it, at most a block. Answers whether there is more even without further input.
    fn inflate_block(&mut self, source: &mut Source, limits: &Limits) -> Result<(Bytes, bool), ProtocolError> {
        let (Some(frame), Some(inbound)) = (&mut self.frame, &mut source.inbound) else {
            return Ok((Bytes::new(), false));
        };
        let length = (source.chunk.len() as u64).min(frame.remaining).min(COMPRESSED_STEP_BYTES) as usize;
        let fresh = source.chunk.get_mut(..length).unwrap_or_default();
        mask::apply(frame.key, fresh);
        let utf8 = (self.message == Some(Opcode::Text)).then_some(&mut self.utf8);
        let consumed = inbound.feed_block(fresh, utf8, limits.message_bytes_max)?;
        frame.key = mask::rotated(frame.key, consumed);
        frame.remaining -= consumed as u64;
        // What was not taken is masked again, until its turn comes.
        mask::apply(frame.key, fresh.get_mut(consumed..).unwrap_or_default());
        source.chunk.advance(consumed);
        Ok((inbound.take(), inbound.has_more()))
    }

    /// The next piece: `bytes` behind the character that was `begun`, without the character that they cut themselves. `None` if that is
    /// nothing, and not the last either.
    fn cut(&mut self, begun: Begun, bytes: Bytes, last: bool) -> Option<Piece> {
        let data = if self.message == Some(Opcode::Text) {
            Message::Text(Utf8Bytes::from_checked(whole_characters(&begun, bytes, self.utf8.begun().len())))
        } else {
            Message::Binary(bytes)
        };
        if self.pieces == Pieces::Skipped || (data.is_empty() && !last) {
            return None;
        }
        let first = self.pieces == Pieces::First;
        self.pieces = Pieces::Further;
        Some(Piece { data, first, last })
    }
}

fn whole_characters(begun: &Begun, mut bytes: Bytes, cut: usize) -> Bytes {
    if begun.len() + bytes.len() == cut {
        // Still the same character.
        return Bytes::new();
    }
    bytes.truncate(bytes.len().saturating_sub(cut));
    if begun.len() == 0 {
        return bytes;
    }
    let mut joined = BytesMut::with_capacity(begun.len() + bytes.len());
    joined.extend_from_slice(begun.as_bytes());
    joined.extend_from_slice(&bytes);
    joined.freeze()
}

/// What is unmasked at once of compressed bytes: they may become a thousand times more than a piece, and what is not taken then waits.
const COMPRESSED_STEP_BYTES: u64 = 8 * 1024;
