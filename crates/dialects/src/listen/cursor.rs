//! Cursors: where a client stands on each of its channels, as one text. It is the `id` of an event, the `since` of an address and what a poll goes on from.
//!
//! `EPOCH:OFFSET` for each channel, in the order in which the client names its channels, with a comma between them. Nothing stands for a channel without a
//! position, and `.N` for the epoch that is the N-th in the same text, so that many channels of few epochs stay short.

use switchboard_core::{Epoch, Position, Since};

/// Writes the positions of a client's channels.
pub(super) fn write(positions: impl IntoIterator<Item = Option<Since>>, out: &mut Vec<u8>) {
    // Few: one a shard, mostly.
    let mut epochs: smallvec::SmallVec<[Option<Epoch>; 8]> = smallvec::SmallVec::new();
    for (index, position) in positions.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let Position { epoch, offset } = match position {
            None => continue,
            Some(Since::Position(position)) => position,
            Some(Since::Unknown) => {
                epochs.push(None);
                out.extend_from_slice(UNKNOWN);
                continue;
            }
        };
        match epochs.iter().position(|known| *known == Some(epoch)) {
            Some(number) => {
                out.push(b'.');
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            None => {
                epochs.push(Some(epoch));
                write_epoch(epoch, out);
            }
        }
        out.push(b':');
        out.extend_from_slice(itoa::Buffer::new().format(offset).as_bytes());
    }
}

/// Read as a position of an epoch that has ended.
const UNKNOWN: &[u8] = b"x:0";

/// One position.
pub(super) fn write_one(Position { epoch, offset }: Position, out: &mut Vec<u8>) {
    write_epoch(epoch, out);
    out.push(b':');
    out.extend_from_slice(itoa::Buffer::new().format(offset).as_bytes());
}

/// As [`Epoch`]'s `Display`, without its machinery: this is on the way of every event.
fn write_epoch(Epoch(epoch): Epoch, out: &mut Vec<u8>) {
    let digits = ((64 - epoch.leading_zeros()).div_ceil(4)).max(1);
    for digit in (0..digits).rev() {
        let nibble = (epoch >> (digit * 4)) & 0xf;
        out.push(b"0123456789abcdef".get(nibble as usize).copied().unwrap_or(b'0'));
    }
}

/// Reads a cursor of so many channels. `None` if it has not the form of one. A position that no server can have given is not an error: it is of an epoch that
/// has ended.
pub fn parse_cursor(raw: &str, channels: usize) -> Option<Vec<Option<Since>>> {
    if channels == 0 {
        return raw.is_empty().then(Vec::new);
    }
    let mut epochs: Vec<Option<Epoch>> = Vec::new();
    let mut positions = Vec::with_capacity(channels.min(raw.len() + 1));
    for part in raw.split(',') {
        if positions.len() == channels {
            return None;
        }
        if part.is_empty() {
            positions.push(None);
            continue;
        }
        let (epoch, offset) = part.split_once(':')?;
        if offset.is_empty() || !offset.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let epoch = match epoch.strip_prefix('.') {
            Some(number) if number.bytes().all(|b| b.is_ascii_digit()) => *epochs.get(number.parse::<usize>().ok()?)?,
            Some(_) => return None,
            None if epoch.is_empty() => return None,
            None => {
                epochs.push(Epoch::parse(epoch));
                Epoch::parse(epoch)
            }
        };
        positions.push(Some(match (epoch, offset.parse()) {
            (Some(epoch), Ok(offset)) => Since::Position(Position { epoch, offset }),
            _ => Since::Unknown,
        }));
    }
    (positions.len() == channels).then_some(positions)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn text(positions: &[Option<Since>]) -> String {
        let mut out = Vec::new();
        write(positions.iter().copied(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn position(epoch: u64, offset: u64) -> Option<Since> {
        Some(Since::Position(Position { epoch: Epoch(epoch), offset }))
    }

    #[test]
    fn an_epoch_is_written_once() {
        assert_eq!(text(&[position(0xe1, 7)]), "e1:7");
        let several = [position(0xe1, 7), None, position(0xf, 1), position(0xe1, 0), position(0xf, 12)];
        assert_eq!(text(&several), "e1:7,,f:1,.0:0,.1:12");
        assert_eq!(text(&[None, Some(Since::Unknown)]), ",x:0");
        assert_eq!(text(&[position(0, 0)]), "0:0");
    }

    #[test]
    fn what_is_no_cursor_is_told_from_one_that_is_of_no_use() {
        for bad in
            ["", "e1", "e1:", ":1", "e1:x", "e1:-1", "e1:1,e1:1,e1:1", ".0:1,e1:1", ".1:1,", "e1:1,.1:1", "e1:1,.+0:1"]
        {
            assert_eq!(parse_cursor(bad, 2), None, "{bad:?}");
        }
        let unknown = Some(Since::Unknown);
        assert_eq!(parse_cursor("xyz:1,.0:1", 2).unwrap(), [unknown, unknown]);
        assert_eq!(parse_cursor("e1:99999999999999999999,", 2).unwrap(), [unknown, None]);
        assert_eq!(parse_cursor("", 1).unwrap(), [None]);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(positions in prop::collection::vec(
            prop::option::of(prop::option::of((prop_oneof![0..3_u64, any::<u64>()], any::<u64>()))), 1..20)) {
            let since = |position: Option<(u64, u64)>| position.map_or(Since::Unknown, |(epoch, offset)| {
                Since::Position(Position { epoch: Epoch(epoch), offset })
            });
            let positions: Vec<_> = positions.into_iter().map(|position| position.map(since)).collect();
            prop_assert_eq!(parse_cursor(&text(&positions), positions.len()), Some(positions));
        }

        #[test]
        fn nothing_makes_the_reader_fail(raw in ".*", channels in 0..5_usize) {
            if let Some(positions) = parse_cursor(&raw, channels) {
                prop_assert_eq!(positions.len(), channels);
            }
        }
    }
}
