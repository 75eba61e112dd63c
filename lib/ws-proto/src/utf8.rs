//! UTF-8, whole and as a stream that stops at the first bad byte (RFC 6455 §8.1). Knows nothing of frames.

/// Whether all of it is UTF-8.
pub(crate) fn is_utf8(bytes: &[u8]) -> bool {
    if bytes.len() < SIMD_BYTES_MIN {
        core::str::from_utf8(bytes).is_ok()
    } else {
        simdutf8::basic::from_utf8(bytes).is_ok()
    }
}

/// Below this the standard library is the faster one.
pub(crate) const SIMD_BYTES_MIN: usize = 128;

/// Text that comes in pieces, cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct Utf8Stream(Begun);

/// The beginning of a character whose rest is due. Its first `len` bytes are a proper beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Begun {
    bytes: [u8; 4],
    len: u8,
}

impl Begun {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidUtf8;

impl Utf8Stream {
    /// Fails if no continuation could make what came so far UTF-8.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), InvalidUtf8> {
        while self.0.len > 0 {
            let Some((&next, rest)) = bytes.split_first() else { return Ok(()) };
            self.push(next)?;
            bytes = rest;
        }
        let Err((valid_up_to, error_len)) = check(bytes) else { return Ok(()) };
        if error_len.is_some() {
            return Err(InvalidUtf8);
        }
        // Cut inside of a character: at most three bytes, and so far a proper beginning.
        for &byte in bytes.get(valid_up_to..).unwrap_or_default() {
            self.push(byte)?;
        }
        Ok(())
    }

    /// The character that the end of what came so far has cut.
    pub(crate) fn begun(&self) -> Begun {
        self.0
    }

    /// At the end of the message: fails inside of a character. Ready for the next message.
    pub(crate) fn finish(&mut self) -> Result<(), InvalidUtf8> {
        if core::mem::take(&mut self.0.len) == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }

    fn push(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        let length = self.0.len();
        let Some(slot) = self.0.bytes.get_mut(length) else { return Err(InvalidUtf8) };
        *slot = byte;
        self.0.len += 1;
        match core::str::from_utf8(self.0.as_bytes()) {
            Ok(_) => self.0.len = 0,
            Err(error) if error.error_len().is_none() => {}
            Err(_) => return Err(InvalidUtf8),
        }
        Ok(())
    }
}

/// `Err` with where the good part ends, and the length of the bad part unless the end cut a character.
fn check(bytes: &[u8]) -> Result<(), (usize, Option<usize>)> {
    if bytes.len() < SIMD_BYTES_MIN {
        core::str::from_utf8(bytes).map(drop).map_err(|error| (error.valid_up_to(), error.error_len()))
    } else {
        simdutf8::compat::from_utf8(bytes).map(drop).map_err(|error| (error.valid_up_to(), error.error_len()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// How many bytes are taken before the first that cannot be right, or `None` if all can.
    fn first_bad(pieces: &[&[u8]]) -> Option<usize> {
        let mut stream = Utf8Stream::default();
        let mut taken = 0;
        for piece in pieces {
            if stream.feed(piece).is_err() {
                return Some(taken);
            }
            taken += piece.len();
        }
        None
    }

    #[test]
    fn fails_at_the_first_bad_byte() {
        let table: &[(&[u8], Option<usize>)] = &[
            (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", None),
            (b"\xed\xa0\x80", Some(1)),     // a surrogate: 0xA0 cannot follow 0xED
            (b"\xf4\x90\x80\x80", Some(1)), // past U+10FFFF
            (b"\xe0\x80\xaf", Some(1)),     // overlong
            (b"\xf0\x80\x80\xaf", Some(1)),
            (b"\xc0\xaf", Some(0)),
            (b"\xf5", Some(0)),
            (b"\x80", Some(0)),
            (b"ab\xfe", Some(2)),
            (b"\xf0\x9f\x8c\x8d\xff", Some(4)),
        ];
        for (bytes, expected) in table {
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(first_bad(&single), *expected, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library_however_it_is_cut(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..64),
                ".{0,300}".prop_map(String::into_bytes),
                (".{0,200}", any::<u8>(), any::<prop::sample::Index>()).prop_map(|(text, bad, at)| {
                    let mut bytes = text.into_bytes();
                    bytes.insert(at.index(bytes.len() + 1), bad);
                    bytes
                }),
            ],
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let mut stream = Utf8Stream::default();
            let fed = at.windows(2).try_for_each(|cut| stream.feed(&bytes[cut[0]..cut[1]]));
            let ours = fed.and_then(|()| stream.finish());
            prop_assert_eq!(ours.is_ok(), core::str::from_utf8(&bytes).is_ok());
            prop_assert_eq!(is_utf8(&bytes), core::str::from_utf8(&bytes).is_ok());
        }
    }

    use alloc::string::String;
}
