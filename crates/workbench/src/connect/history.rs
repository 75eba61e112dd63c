//! Lines that were typed before, and the form in which a file keeps them. Owns the bounds; knows no file.

use std::collections::VecDeque;

/// Earlier lines, the newest last.
#[derive(Debug, Default)]
pub(crate) struct History {
    lines: VecDeque<String>,
    bytes: usize,
}

/// Lines that are kept.
const LINES_MAX: usize = 1_000;
/// What they may take together.
const BYTES_MAX: usize = 512 * 1024;
/// A file of so many lines is written anew, with those that are kept.
const FILE_LINES_MAX: usize = 2 * LINES_MAX;

impl History {
    /// Reads what a file has. Also says whether the file has grown too long and is to be written anew.
    pub(crate) fn read(text: &str) -> (Self, bool) {
        let mut history = Self::default();
        let mut count = 0;
        for line in text.lines() {
            count += 1;
            history.add(&decode(line));
        }
        (history, count > FILE_LINES_MAX || text.len() > 2 * BYTES_MAX)
    }

    /// The whole file.
    pub(crate) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{}\n", encode(line))).collect()
    }

    /// Takes a line. `false` if it is empty, the same as the last one, or too long to be kept.
    pub(crate) fn add(&mut self, line: &str) -> bool {
        if line.trim().is_empty() || line.len() > BYTES_MAX / 8 || self.lines.back().is_some_and(|last| last == line) {
            return false;
        }
        self.bytes += line.len();
        self.lines.push_back(line.to_owned());
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let oldest = self.lines.pop_front().unwrap_or_default();
            self.bytes -= oldest.len();
        }
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn get(&self, place: usize) -> Option<&str> {
        self.lines.get(place).map(String::as_str)
    }

    /// The newest line before a place that contains this text.
    pub(crate) fn find(&self, text: &str, before: usize) -> Option<usize> {
        (0..before.min(self.len())).rev().find(|place| self.get(*place).is_some_and(|line| line.contains(text)))
    }

    /// The newest lines, oldest first.
    pub(crate) fn newest(&self, count: usize) -> impl Iterator<Item = &str> {
        self.lines.iter().skip(self.len().saturating_sub(count)).map(String::as_str)
    }
}

/// A line as a file has it: one line, whatever is in it.
pub(crate) fn encode(line: &str) -> String {
    line.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn decode(line: &str) -> String {
    let mut decoded = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => decoded.push('\n'),
                Some('r') => decoded.push('\r'),
                Some(other) => decoded.push(other),
                None => {}
            },
            c => decoded.push(c),
        }
    }
    decoded
}

/// Whether a line may be kept beyond this run: as in shells, a blank before it says no.
pub(crate) fn is_lasting(line: &str) -> bool {
    !line.starts_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_oldest_lines_make_room() {
        let mut history = History::default();
        for number in 0..LINES_MAX + 10 {
            assert!(history.add(&format!("line {number}")));
        }
        assert_eq!((history.len(), history.get(0)), (LINES_MAX, Some("line 10")));
        let long = "x".repeat(BYTES_MAX / 8);
        for number in 0..20 {
            history.add(&format!("{number}{}", long.get(3..).unwrap()));
        }
        assert!(history.bytes <= BYTES_MAX && history.len() < 20);
        assert!(!history.add(&"x".repeat(BYTES_MAX)) && !history.add("") && !history.add("  "));
        let (read, anew) = History::read(&"a\nb\n".repeat(FILE_LINES_MAX));
        assert!(anew && read.len() == LINES_MAX);
    }

    #[test]
    fn a_text_is_found_from_the_newest_on() {
        let (history, anew) = History::read("one\ntwo\none more\n");
        assert!(!anew);
        assert_eq!(history.find("one", history.len()), Some(2));
        assert_eq!(history.find("one", 2), Some(0));
        assert_eq!(history.find("three", 3), None);
        assert_eq!(history.newest(2).collect::<Vec<_>>(), ["two", "one more"]);
    }

    proptest! {
        #[test]
        fn lines_come_back_from_a_file(lines in proptest::collection::vec("[a-c\\\\\n\r ]{1,6}", 0..10)) {
            let mut history = History::default();
            for line in &lines {
                history.add(line);
            }
            let (read, _) = History::read(&history.text());
            prop_assert_eq!(read.lines, history.lines);
        }

        #[test]
        fn any_file_is_read(text in "\\PC{0,80}|[\\\\\n]{0,20}") {
            let (history, _) = History::read(&text);
            prop_assert!(history.len() <= text.lines().count());
        }
    }
}
