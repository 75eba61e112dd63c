//! Seeds that have failed once, and must not again.

/// A seed with the number of operations that it failed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The seed.
    pub seed: u64,
    /// How many operations.
    pub operations: usize,
    /// What it found.
    pub note: String,
}

/// All of them: `seeds.txt`, one a line, as seed, operations and what it found.
pub fn kept() -> Vec<Kept> {
    parse(include_str!("../seeds.txt"))
}

fn parse(text: &str) -> Vec<Kept> {
    let line = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let seed = words.next()?.parse().ok()?;
        let operations = words.next()?.parse().ok()?;
        Some(Kept { seed, operations, note: words.next().unwrap_or_default().to_owned() })
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|text| line(text).unwrap_or_else(|| panic!("seeds.txt: `{text}` is not SEED OPERATIONS NOTE"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_file_is_well_formed() {
        assert!(kept().iter().all(|kept| kept.operations > 0 && !kept.note.is_empty()));
        let one = Kept { seed: 7, operations: 300, note: "a gap".into() };
        assert_eq!(parse("# seeds\n\n7 300 a gap\n"), [one]);
    }
}
