//! Blocks whose parts say where they stand: what every client gets alike, shared, and beside it what each client's dialect needs to put its own before it.
//!
//! A block goes through an outbox like any other. Its marks never reach a client: the dialect takes them off as the block goes out
//! ([`Dialect::transmit`](crate::Dialect::transmit)).

use core::ops::Range;
use switchboard_core::{Epoch, Position};

/// What is read of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Means something to the dialect only.
    pub(super) kind: u8,
    pub(super) channel: &'a str,
    pub(super) position: Position,
    /// Where in the block its content is.
    pub(super) body: Range<usize>,
}

/// Of no channel.
const NOWHERE: Position = Position { epoch: Epoch(0), offset: 0 };
/// Stands beside the kind of a part with a place. Notices have none, and many of them may wait.
const PLACED: u8 = 0x80;

/// Appends a part of no channel.
pub(super) fn part(block: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    block.push(kind);
    write_body(block, write);
}

/// Appends a part.
pub(super) fn part_of(
    block: &mut Vec<u8>,
    kind: u8,
    channel: &str,
    position: Position,
    write: impl FnOnce(&mut Vec<u8>),
) {
    block.push(kind | PLACED);
    block.extend_from_slice(&position.epoch.0.to_le_bytes());
    block.extend_from_slice(&position.offset.to_le_bytes());
    // Names are at most 200 bytes.
    block.extend_from_slice(&u16::try_from(channel.len()).unwrap_or(0).to_le_bytes());
    block.extend_from_slice(channel.as_bytes());
    write_body(block, write);
}

fn write_body(block: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let length = block.len();
    block.extend_from_slice(&[0; 4]);
    let start = block.len();
    write(block);
    let written = u32::try_from(block.len() - start).unwrap_or(0);
    if let Some(place) = block.get_mut(length..start) {
        place.copy_from_slice(&written.to_le_bytes());
    }
}

/// Takes a block apart.
pub(super) fn parts(block: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut rest = block;
    core::iter::from_fn(move || {
        let (kind, after) = rest.split_first()?;
        let (channel, position, after) = match kind & PLACED {
            0 => ("", NOWHERE, after),
            _ => {
                let (epoch, after) = after.split_first_chunk::<8>()?;
                let (offset, after) = after.split_first_chunk::<8>()?;
                let (name, after) = after.split_first_chunk::<2>()?;
                let (name, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*name)))?;
                let epoch = Epoch(u64::from_le_bytes(*epoch));
                let position = Position { epoch, offset: u64::from_le_bytes(*offset) };
                (core::str::from_utf8(name).ok()?, position, after)
            }
        };
        let (length, after) = after.split_first_chunk::<4>()?;
        let start = block.len() - after.len();
        let end = start + u32::from_le_bytes(*length) as usize;
        rest = block.get(end..)?;
        Some(Part { kind: kind & !PLACED, channel, position, body: start..end })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_taken_apart_as_it_was_put_together() {
        let mut block = Vec::new();
        let position = Position { epoch: Epoch(0xe1), offset: 7 };
        part_of(&mut block, 3, "naïve", position, |out| out.extend_from_slice(b"hello"));
        part(&mut block, 0, |_| {});
        part(&mut block, 1, |out| out.extend_from_slice(b"x"));
        let found: Vec<_> = parts(&block).collect();
        let body = |index: usize| found.get(index).and_then(|part| block.get(part.body.clone()));
        assert_eq!(found.first().map(|part| (part.kind, part.channel, part.position)), Some((3, "naïve", position)));
        assert_eq!((found.len(), body(0), body(1), body(2)), (3, Some(&b"hello"[..]), Some(&b""[..]), Some(&b"x"[..])));
    }
}
