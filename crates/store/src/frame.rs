//! How records stand in a segment's file: each with its length and checksums that also say where it stands.
//!
//! Owns the bytes of a segment's header and of a record's, and finding the next good record behind damage. Knows nothing of what records mean.
//!
//! A record is `hash u64, length u32, check u32, body`, all little-endian. Both checksums are seeded with the store's secret number and the record's place:
//! a record is good at one place only, and nobody who publishes can make bytes that would be taken for one when recovery looks for the next
//! good record byte by byte.

use core::ops::Range;
use switchboard_core::canary::{Canary, is_planted};
use twox_hash::XxHash3_64;

/// What every checksum of a store is seeded with. Drawn at random when the store is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(pub(crate) u64);

/// The version of the format that is written. Others are refused by name.
pub(crate) const VERSION: u32 = 1;
/// Bytes of a segment's header.
pub(crate) const HEADER: usize = 48;
/// Bytes of a record before its body.
pub(crate) const RECORD_HEADER: usize = 16;
/// The longest body: the largest message that can be configured, with room for its names.
pub(crate) const BODY_MAX: usize = (64 << 20) + (64 << 10);

const MAGIC: [u8; 8] = *b"swbdjrnl";

/// What stands at the beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) seed: Seed,
    /// Which segment; the file's name says it too.
    pub(crate) sequence: u64,
    /// The length of the segment before it, in bytes: it was whole when this one was begun. 0 if there was none.
    pub(crate) previous_length: u64,
}

/// Why a segment's header was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// It is no header, or a damaged one.
    Damaged,
    /// It was written by another version.
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&0_u32.to_le_bytes());
        for number in [self.seed.0, self.sequence, self.previous_length] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let hash = XxHash3_64::oneshot(out.get(begin..).unwrap_or_default());
        out.extend_from_slice(&hash.to_le_bytes());
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, HeaderError> {
        let (Some(head), Some(hash)) = (bytes.get(..HEADER - 8), number_at(bytes, HEADER - 8)) else {
            return Err(HeaderError::Damaged);
        };
        if !head.starts_with(&MAGIC) || XxHash3_64::oneshot(head) != hash {
            return Err(HeaderError::Damaged);
        }
        let version = half_at(head, 8).unwrap_or_default();
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        match (number_at(head, 16), number_at(head, 24), number_at(head, 32)) {
            (Some(seed), Some(sequence), Some(previous_length)) => {
                Ok(Self { seed: Seed(seed), sequence, previous_length })
            }
            _ => Err(HeaderError::Damaged),
        }
    }
}

/// The name of a segment's file.
pub(crate) fn segment_name(sequence: u64) -> String {
    format!("journal-{sequence:016x}")
}

/// Which segment a file is, if it is one.
pub(crate) fn segment_sequence(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("journal-")?;
    let plain = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if plain { u64::from_str_radix(digits, 16).ok() } else { None }
}

fn number_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn half_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

impl Seed {
    /// Of a record at a place.
    fn at(self, sequence: u64, offset: usize) -> u64 {
        self.0 ^ sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (offset as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
    }
}

/// The low half is enough: a length that passes is still followed by a body that must.
fn check(seed: u64, length: u32) -> u32 {
    (XxHash3_64::oneshot_with_seed(seed, &length.to_le_bytes()) & u64::from(u32::MAX)) as u32
}

/// Appends a record. `write` appends its body; `base` is where `out` begins in the segment.
///
/// # Errors
/// The body is longer than [`BODY_MAX`]; `out` is as it was.
pub(crate) fn write_record(
    seed: Seed,
    sequence: u64,
    base: usize,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<usize, TooLong> {
    let begin = out.len();
    out.extend_from_slice(&[0; RECORD_HEADER]);
    write(out);
    let body = out.len() - begin - RECORD_HEADER;
    let Some(length) = u32::try_from(body).ok().filter(|_| body <= BODY_MAX) else {
        out.truncate(begin);
        return Err(TooLong);
    };
    let seed = seed.at(sequence, base + begin);
    for (at, number) in [(begin + 8, length), (begin + 12, check(seed, length))] {
        if let Some(place) = out.get_mut(at..at + 4) {
            place.copy_from_slice(&number.to_le_bytes());
        }
    }
    let hash = XxHash3_64::oneshot_with_seed(seed, out.get(begin + 8..).unwrap_or_default());
    if let Some(place) = out.get_mut(begin..begin + 8) {
        place.copy_from_slice(&hash.to_le_bytes());
    }
    Ok(RECORD_HEADER + body)
}

/// A record's body is longer than [`BODY_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// What is found in a segment, from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A good record: where it begins, and its body.
    Record { at: usize, body: Range<usize> },
    /// Bytes that are no record.
    Damage(Range<usize>),
}

/// Walks through a segment's bytes.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    seed: Seed,
    sequence: u64,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// From a place that a record begins at, or may begin at.
    pub(crate) fn new(seed: Seed, sequence: u64, bytes: &'a [u8], at: usize) -> Self {
        Self { seed, sequence, bytes, at }
    }

    /// The body's length if a record's header at this place is good, whatever its body is.
    fn header(&self, at: usize) -> Option<usize> {
        let length = half_at(self.bytes, at + 8)?;
        let good = half_at(self.bytes, at + 12)? == check(self.seed.at(self.sequence, at), length);
        let length = usize::try_from(length).ok().filter(|length| good && *length <= BODY_MAX)?;
        (length <= self.bytes.len() - at - RECORD_HEADER).then_some(length)
    }

    fn record(&self, at: usize) -> Option<Range<usize>> {
        let end = at + RECORD_HEADER + self.header(at)?;
        let hash = XxHash3_64::oneshot_with_seed(self.seed.at(self.sequence, at), self.bytes.get(at + 8..end)?);
        (number_at(self.bytes, at)? == hash || is_planted(Canary::TornRecordTaken)).then_some(at + RECORD_HEADER..end)
    }
}

impl Iterator for Walk<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let begin = self.at;
        if begin >= self.bytes.len() {
            return None;
        }
        if let Some(body) = self.record(begin) {
            self.at = body.end;
            return Some(Found::Record { at: begin, body });
        }
        // A good header whose body is damaged says where the next record begins; a damaged one says nothing.
        let next = self.header(begin).map(|length| begin + RECORD_HEADER + length);
        let at_next = next.filter(|next| *next == self.bytes.len() || self.header(*next).is_some());
        let end = at_next.or_else(|| (begin + 1..self.bytes.len()).find(|at| self.record(*at).is_some()));
        self.at = end.unwrap_or(self.bytes.len());
        Some(Found::Damage(begin..self.at))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SEED: Seed = Seed(0xfeed);

    fn segment(bodies: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        SegmentHeader { seed: SEED, sequence: 3, previous_length: 0 }.write(&mut bytes);
        for body in bodies {
            write_record(SEED, 3, 0, &mut bytes, |out| out.extend_from_slice(body)).unwrap();
        }
        bytes
    }

    fn good(bytes: &[u8]) -> Vec<&[u8]> {
        let found = Walk::new(SEED, 3, bytes, HEADER).filter_map(|found| match found {
            Found::Record { body, .. } => bytes.get(body),
            Found::Damage(_) => None,
        });
        found.collect()
    }

    #[test]
    fn headers_are_read_as_written_and_other_versions_named() {
        let header = SegmentHeader { seed: SEED, sequence: 9, previous_length: 77 };
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        assert_eq!((bytes.len(), SegmentHeader::read(&bytes)), (HEADER, Ok(header)));
        for at in 0..HEADER {
            let mut bytes = bytes.clone();
            bytes[at] ^= 4;
            assert_eq!(SegmentHeader::read(&bytes), Err(HeaderError::Damaged), "{at}");
            assert_eq!(SegmentHeader::read(&bytes[..at]), Err(HeaderError::Damaged));
        }
        bytes[8] = 2;
        let hash = XxHash3_64::oneshot(&bytes[..HEADER - 8]);
        bytes[HEADER - 8..].copy_from_slice(&hash.to_le_bytes());
        assert_eq!(SegmentHeader::read(&bytes), Err(HeaderError::Version(2)));
    }

    #[test]
    fn names_are_read_as_written_and_nothing_else() {
        assert_eq!(segment_sequence(&segment_name(0xabc)), Some(0xabc));
        for other in [
            "journal-1",
            "journal-00000000000000AB",
            "journal-+000000000000001",
            "LOCK",
            "journal-0000000000000001.new",
        ] {
            assert_eq!(segment_sequence(other), None, "{other}");
        }
    }

    #[test]
    fn behind_any_damaged_byte_the_other_records_are_found() {
        let bytes = segment(&[b"one", b"", b"three", b"four"]);
        assert_eq!(good(&bytes), [&b"one"[..], b"", b"three", b"four"]);
        for at in HEADER..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                assert_eq!(good(&bytes).len(), 3, "byte {at}");
                let damaged: usize = Walk::new(SEED, 3, &bytes, HEADER)
                    .map(|found| if let Found::Damage(range) = found { range.len() } else { 0 })
                    .sum();
                assert!(damaged >= RECORD_HEADER, "byte {at}");
            }
        }
    }

    #[test]
    fn a_cut_segment_ends_with_damage_unless_it_is_cut_between_records() {
        let bytes = segment(&[b"one", b"two"]);
        let first = HEADER + RECORD_HEADER + 3;
        for length in HEADER..bytes.len() {
            let last = Walk::new(SEED, 3, &bytes[..length], HEADER).last();
            let whole = length == HEADER || length == first;
            assert_eq!(matches!(last, Some(Found::Damage(_))), !whole, "{length}");
        }
    }

    #[test]
    fn a_record_is_good_at_its_own_place_only() {
        // What a publisher has seen of another store, or of another place, is no record here.
        let inner = segment(&[b"inner"]);
        let moved = segment(&[b"x", &inner]);
        let mut torn = moved.clone();
        // The outer record's header is damaged: recovery looks through its body.
        torn[HEADER + RECORD_HEADER + 1] ^= 1;
        torn[HEADER + RECORD_HEADER + 1 + 8] ^= 1;
        assert_eq!(good(&torn), [b"x"]);
    }

    #[test]
    fn a_body_that_is_too_long_is_refused_and_leaves_nothing() {
        let mut out = vec![1, 2];
        let refused = write_record(SEED, 3, 0, &mut out, |out| out.resize(out.len() + BODY_MAX + 1, 0));
        assert_eq!((refused, out), (Err(TooLong), vec![1, 2]));
    }
}
