//! What a message of the generator carries: which it is and when it ought to have gone, then letters up to its size.

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
        let stamp = self.digits();
        let letters = filler().take(size.saturating_sub(STAMP_BYTES));
        stamp.iter().copied().map(char::from).chain(letters).collect()
    }

    /// What a payload begins with.
    pub(crate) fn digits(self) -> [u8; STAMP_BYTES] {
        let mut digits = [0; STAMP_BYTES];
        let number = u128::from(self.number) << 64 | u128::from(self.moment);
        let (head, rest) = digits.split_at_mut(8);
        write_digits(head, u128::from(self.connection));
        write_digits(rest, number);
        digits
    }

    /// Reads a stamp at the beginning of a text.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let field = |range: core::ops::Range<usize>| {
            let digits = core::str::from_utf8(text.get(range)?).ok()?;
            u64::from_str_radix(digits, 16).ok()
        };
        Some(Self { connection: u32::try_from(field(0..8)?).ok()?, number: field(8..24)?, moment: field(24..40)? })
    }

    /// Whether a payload is the one that was sent with this stamp and these letters behind it, to the last byte.
    pub(crate) fn is_of(self, text: &[u8], letters: &[u8]) -> bool {
        text.split_at_checked(STAMP_BYTES).is_some_and(|(stamp, rest)| stamp == self.digits() && rest == letters)
    }
}

/// A number in hexadecimal, with zeros before it.
fn write_digits(place: &mut [u8], mut number: u128) {
    for digit in place.iter_mut().rev() {
        let value = (number & 15) as u8;
        *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
        number >>= 4;
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
            let behind = &letters[..payload.len() - STAMP_BYTES];
            assert!(stamp.is_of(payload.as_bytes(), behind));
            assert!(!stamp.is_of(&payload.as_bytes()[1..], behind));
            assert!(!Stamp { number: 5, ..stamp }.is_of(payload.as_bytes(), behind));
            assert!(!stamp.is_of(format!("{payload}x").as_bytes(), behind));
        }
        assert_eq!(&stamp.payload(0), "00000007ffffffffffffffff0000000000000001");
        assert_eq!(Stamp::read(b"short"), None);
        assert_eq!(Stamp::read(&[b'x'; 40]), None);
    }
}
