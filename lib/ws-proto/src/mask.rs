//! Masking (RFC 6455 §5.3): applying a key, and the stream that a client's keys come from.

use core::fmt;

/// Masks, or unmasks, in place. The first byte meets the first byte of `key`.
#[inline]
pub(crate) fn apply(key: [u8; 4], data: &mut [u8]) {
    // What servers send has no key.
    if key != [0; 4] {
        combine::<false>(key, data);
    }
}

/// The same, and answers whether what came of it is ASCII: for short text that saves another look at it.
#[inline]
pub(crate) fn apply_and_look(key: [u8; 4], data: &mut [u8]) -> bool {
    combine::<true>(key, data) & 0x8080_8080_8080_8080 == 0
}

/// Answers, if it is to look, the bits that are set anywhere.
#[inline(always)]
fn combine<const LOOK: bool>(key: [u8; 4], data: &mut [u8]) -> u64 {
    let mut seen = 0;
    let short = u32::from_ne_bytes(key);
    // The same key twice: the compiler makes vectors of this loop for long payloads, and nothing beats plain words for short ones.
    let wide = (u64::from(short) << 32) | u64::from(short);
    let (words, tail) = data.as_chunks_mut::<8>();
    for word in words {
        let combined = u64::from_ne_bytes(*word) ^ wide;
        *word = combined.to_ne_bytes();
        if LOOK {
            seen |= combined;
        }
    }
    let (half, tail) = tail.as_chunks_mut::<4>();
    for word in half {
        let combined = u32::from_ne_bytes(*word) ^ short;
        *word = combined.to_ne_bytes();
        if LOOK {
            seen |= u64::from(combined);
        }
    }
    for (byte, key) in tail.iter_mut().zip(key) {
        *byte ^= key;
        if LOOK {
            seen |= u64::from(*byte);
        }
    }
    seen
}

/// The key as it meets the payload's byte number `offset`.
#[inline]
pub(crate) const fn rotated(key: [u8; 4], offset: usize) -> [u8; 4] {
    u32::from_le_bytes(key).rotate_right((offset % 4) as u32 * 8).to_le_bytes()
}

/// Keys that nobody can foresee who does not know the seed: the output of ChaCha12 (as in D. J. Bernstein's «ChaCha, a variant of
/// Salsa20»), four bytes a key.
pub(crate) struct MaskKeys {
    input: [u32; 16],
    block: [u32; 16],
    used: usize,
}

impl MaskKeys {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        // "expand 32-byte k", the key, a 64-bit counter, a nonce of zero: the key is used for nothing else.
        let mut input = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let (words, _) = seed.as_chunks::<4>();
        for (slot, word) in input.iter_mut().skip(4).zip(words) {
            *slot = u32::from_le_bytes(*word);
        }
        Self { input, block: [0; 16], used: 16 }
    }

    pub(crate) fn next_key(&mut self) -> [u8; 4] {
        if self.used >= self.block.len() {
            self.refill();
        }
        let key = self.block.get(self.used).copied().unwrap_or_default();
        self.used += 1;
        key.to_le_bytes()
    }

    fn refill(&mut self) {
        self.block = self.input;
        for _ in 0..6 {
            for [a, b, c, d] in ROUNDS {
                quarter_round(&mut self.block, a, b, c, d);
            }
        }
        for (word, input) in self.block.iter_mut().zip(self.input) {
            *word = word.wrapping_add(input);
        }
        let counter = (u64::from(self.input[13]) << 32 | u64::from(self.input[12])).wrapping_add(1);
        self.input[12] = counter as u32;
        self.input[13] = (counter >> 32) as u32;
        self.used = 0;
    }
}

impl fmt::Debug for MaskKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKeys")
    }
}

/// Columns, then diagonals.
const ROUNDS: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

#[inline(always)]
#[allow(clippy::indexing_slicing)] // The indices are those of `ROUNDS`.
fn quarter_round(x: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    x[a] = x[a].wrapping_add(x[b]);
    x[d] = (x[d] ^ x[a]).rotate_left(16);
    x[c] = x[c].wrapping_add(x[d]);
    x[b] = (x[b] ^ x[c]).rotate_left(12);
    x[a] = x[a].wrapping_add(x[b]);
    x[d] = (x[d] ^ x[a]).rotate_left(8);
    x[c] = x[c].wrapping_add(x[d]);
    x[b] = (x[b] ^ x[c]).rotate_left(7);
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_the_definition(key: [u8; 4], data in proptest::collection::vec(any::<u8>(), 0..300), cut: prop::sample::Index) {
            let expected: Vec<u8> = data.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
            let mut whole = data.clone();
            apply(key, &mut whole);
            prop_assert_eq!(&whole, &expected);
            let mut looked_at = data.clone();
            prop_assert_eq!(apply_and_look(key, &mut looked_at), expected.is_ascii());
            prop_assert_eq!(&looked_at, &expected);
            let mut clear = expected.clone();
            clear.iter_mut().for_each(|byte| *byte &= 0x7f);
            prop_assert!(apply_and_look([0; 4], &mut clear));
            let mut parts = data;
            let at = cut.index(parts.len() + 1);
            apply(key, &mut parts[..at]);
            apply(rotated(key, at), &mut parts[at..]);
            prop_assert_eq!(parts, expected);
        }
    }

    #[test]
    fn chacha12_of_the_zero_key() {
        // TC1 of draft-strombergson-chacha-test-vectors: 256-bit key of zeros, 12 rounds.
        let mut keys = MaskKeys::new([0; 32]);
        let block: Vec<u8> = (0..16).flat_map(|_| keys.next_key()).collect();
        assert_eq!(
            block[..16],
            [0x9b, 0xf4, 0x9a, 0x6a, 0x07, 0x55, 0xf9, 0x53, 0x81, 0x1f, 0xce, 0x12, 0x5f, 0x26, 0x83, 0xd5]
        );
        assert_ne!(keys.next_key(), block[..4]);
    }
}
