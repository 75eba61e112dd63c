//! What a message of the generator carries: which it is and when it ought to have gone, then letters up to its size.

use core::fmt::Write;

/// Bytes of a stamp: connection, number, moment in nanoseconds, each in hexadecimal.
pub(crate) const STAMP_BYTES: usize = 8 + 16 + 16;

/// Which message it is, and when it ought to have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) connection: u32,
    pub(crate) number: u64,
    pub(crate) moment: u64,
}

impl Stamp {
    /// The whole payload, at least [`STAMP_BYTES`] long.
    pub(crate) fn payload(self, size: usize) -> String {
        let mut text = String::with_capacity(size.max(STAMP_BYTES));
        // Writing to a String does not fail.
        let _ = write!(text, "{:08x}{:016x}{:016x}", self.connection, self.number, self.moment);
        text.extend(filler().take(size.saturating_sub(STAMP_BYTES)));
        text
    }

    /// Reads a stamp at the beginning of a text.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let field = |range: core::ops::Range<usize>| {
            let digits = core::str::from_utf8(text.get(range)?).ok()?;
            u64::from_str_radix(digits, 16).ok()
        };
        Some(Self { connection: u32::try_from(field(0..8)?).ok()?, number: field(8..24)?, moment: field(24..40)? })
    }

    /// Whether a payload of that size is what was sent, to the last byte.
    pub(crate) fn is_whole(text: &[u8], size: usize, filler: &[u8]) -> bool {
        text.len() == size.max(STAMP_BYTES) && text.get(STAMP_BYTES..) == filler.get(..text.len() - STAMP_BYTES)
    }
}

/// The letters behind a stamp.
pub(crate) fn filler() -> impl Iterator<Item = char> {
    ('a'..='z').cycle()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp { connection: 7, number: u64::MAX, moment: 1 };
        let letters: Vec<u8> = filler().take(1_000).map(|c| c as u8).collect();
        for size in [0, 40, 41, 300] {
            let payload = stamp.payload(size);
            assert_eq!(payload.len(), size.max(STAMP_BYTES));
            assert_eq!(Stamp::read(payload.as_bytes()), Some(stamp));
            assert!(Stamp::is_whole(payload.as_bytes(), size, &letters));
            assert!(!Stamp::is_whole(&payload.as_bytes()[1..], size, &letters));
        }
        assert_eq!(Stamp::read(b"short"), None);
        assert_eq!(Stamp::read(&[b'x'; 40]), None);
    }
}
