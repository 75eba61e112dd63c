//! How far a deflate stream looks back (RFC 1951), by a decoder that only reads: to find out whether a compressor keeps to its window. Slow.

/// The longest distance in a stream of blocks that fills its last byte.
pub(crate) fn farthest(compressed: &[u8]) -> usize {
    let mut bits = Bits { bytes: compressed, at: 0 };
    let mut farthest = 0;
    while bits.left() >= 8 {
        bits.take(1);
        farthest = farthest.max(match bits.take(2) {
            0 => stored(&mut bits),
            1 => coded(&mut bits, &Codes::new(&fixed_lengths()), &Codes::new(&[5; 30])),
            2 => {
                let (literals, distances) = own_codes(&mut bits);
                coded(&mut bits, &literals, &distances)
            }
            _ => panic!("no such block"),
        });
    }
    farthest
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> usize {
        let value = (0..count).map(|bit| self.bit(self.at + bit) << bit).sum();
        self.at += count;
        value
    }

    fn bit(&self, at: usize) -> usize {
        usize::from(self.bytes[at / 8] >> (at % 8) & 1)
    }

    fn left(&self) -> usize {
        (self.bytes.len() * 8).saturating_sub(self.at)
    }
}

fn stored(bits: &mut Bits<'_>) -> usize {
    bits.at = bits.at.next_multiple_of(8);
    let length = bits.take(16);
    assert_eq!(bits.take(16), length ^ 0xffff);
    bits.at += length * 8;
    0
}

fn coded(bits: &mut Bits<'_>, literals: &Codes, distances: &Codes) -> usize {
    let mut farthest = 0;
    loop {
        match literals.read(bits) {
            0..=255 => {}
            256 => return farthest,
            length => {
                let extra = match length {
                    0..=264 | 285 => 0,
                    _ => (length - 261) / 4,
                };
                bits.take(extra);
                let code = distances.read(bits);
                let extra = (code / 2).saturating_sub(1);
                let base = if code < 4 { code + 1 } else { ((2 + code % 2) << extra) + 1 };
                farthest = farthest.max(base + bits.take(extra));
            }
        }
    }
}

fn fixed_lengths() -> Vec<usize> {
    [(144, 8), (112, 9), (24, 7), (8, 8)]
        .into_iter()
        .flat_map(|(count, length)| std::iter::repeat_n(length, count))
        .collect()
}

fn own_codes(bits: &mut Bits<'_>) -> (Codes, Codes) {
    let (literals, distances, lengths) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
    let mut first = [0; 19];
    for place in ORDER.into_iter().take(lengths) {
        first[place] = bits.take(3);
    }
    let first = Codes::new(&first);
    let mut all = Vec::new();
    while all.len() < literals + distances {
        let (value, times) = match first.read(bits) {
            16 => (*all.last().unwrap(), 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            length => (length, 1),
        };
        all.extend(std::iter::repeat_n(value, times));
    }
    (Codes::new(&all[..literals]), Codes::new(&all[literals..]))
}

const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Huffman codes by their lengths: for each length its first code, and the symbols in the order of their codes.
struct Codes(Vec<(usize, Vec<usize>)>);

impl Codes {
    fn new(lengths: &[usize]) -> Self {
        let mut code = 0;
        let of_length = |length| (0..lengths.len()).filter(|&symbol| lengths[symbol] == length).collect::<Vec<_>>();
        Self(
            (1..=15)
                .map(|length| {
                    let (first, symbols) = (code, of_length(length));
                    code = (code + symbols.len()) << 1;
                    (first, symbols)
                })
                .collect(),
        )
    }

    fn read(&self, bits: &mut Bits<'_>) -> usize {
        let mut code = 0;
        for (first, symbols) in &self.0 {
            code = code << 1 | bits.take(1);
            if let Some(symbol) = code.checked_sub(*first).and_then(|place| symbols.get(place)) {
                return *symbol;
            }
        }
        panic!("no such code")
    }
}
