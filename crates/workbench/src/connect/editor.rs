//! A line while it is typed: bytes from a terminal in, lines and what to show out. Knows no terminal.
//!
//! A byte is handled when it comes, however many come at once: a paste or a script's keys never wait for the next key.

use unicode_width::UnicodeWidthChar;

/// The line, the place in it, and the lines before it.
#[derive(Debug, Default)]
pub(crate) struct Editor {
    line: Vec<char>,
    cursor: usize,
    history: Vec<String>,
    /// Which line of the history is shown; `None` for the one being typed.
    shown: Option<usize>,
    /// The line being typed, while one of the history is shown.
    draft: Vec<char>,
    pending: Pending,
}

/// What is only half there.
#[derive(Debug, Default)]
enum Pending {
    #[default]
    Nothing,
    /// A character of several bytes.
    Utf8(Vec<u8>),
    /// ESC came.
    Escape,
    /// ESC and `[` or `O`, then these parameters.
    Sequence(Vec<u8>),
}

/// What a key has led to, beyond a change of the line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A line is complete.
    Line(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D on an empty line.
    End,
}

/// Lines that are kept.
const HISTORY_MAX: usize = 500;
/// The longest line, in characters.
const LINE_MAX: usize = 64 * 1024;
/// The longest sequence of a key.
const SEQUENCE_MAX: usize = 16;

impl Editor {
    /// Takes one byte.
    pub(crate) fn receive(&mut self, byte: u8) -> Option<Typed> {
        match core::mem::take(&mut self.pending) {
            Pending::Escape if matches!(byte, b'[' | b'O') => self.pending = Pending::Sequence(Vec::new()),
            Pending::Escape => {}
            Pending::Sequence(mut parameters) if matches!(byte, b'0'..=b'9' | b';') => {
                if parameters.len() < SEQUENCE_MAX {
                    parameters.push(byte);
                }
                self.pending = Pending::Sequence(parameters);
            }
            Pending::Sequence(parameters) => self.sequence(&parameters, byte),
            Pending::Utf8(mut bytes) if byte & 0xC0 == 0x80 => {
                bytes.push(byte);
                self.utf8(bytes);
            }
            Pending::Nothing | Pending::Utf8(_) => return self.key(byte),
        }
        None
    }

    fn key(&mut self, byte: u8) -> Option<Typed> {
        match byte {
            b'\r' | b'\n' => return Some(Typed::Line(self.submit())),
            0x03 => return Some(Typed::Interrupted),
            0x04 if self.line.is_empty() => return Some(Typed::End),
            0x04 => self.delete(self.cursor, self.cursor + 1),
            0x01 => self.cursor = 0,
            0x05 => self.cursor = self.line.len(),
            0x02 => self.cursor = self.cursor.saturating_sub(1),
            0x06 => self.cursor = (self.cursor + 1).min(self.line.len()),
            0x08 | 0x7F => self.delete(self.cursor.saturating_sub(1), self.cursor),
            0x0B => self.delete(self.cursor, self.line.len()),
            0x15 => self.delete(0, self.cursor),
            0x17 => self.delete(self.word_start(), self.cursor),
            0x10 => self.recall(true),
            0x0E => self.recall(false),
            0x1B => self.pending = Pending::Escape,
            b'\t' | 0x20..=0x7E => self.insert(char::from(byte)),
            0x80.. => self.utf8(vec![byte]),
            _ => {}
        }
        None
    }

    fn sequence(&mut self, parameters: &[u8], last: u8) {
        match (parameters, last) {
            (_, b'A') => self.recall(true),
            (_, b'B') => self.recall(false),
            (_, b'C') => self.cursor = (self.cursor + 1).min(self.line.len()),
            (_, b'D') => self.cursor = self.cursor.saturating_sub(1),
            (_, b'H') | (b"1" | b"7", b'~') => self.cursor = 0,
            (_, b'F') | (b"4" | b"8", b'~') => self.cursor = self.line.len(),
            (b"3", b'~') => self.delete(self.cursor, self.cursor + 1),
            _ => {}
        }
    }

    fn utf8(&mut self, bytes: Vec<u8>) {
        match core::str::from_utf8(&bytes) {
            Ok(text) => text.chars().filter(|c| !c.is_control()).for_each(|c| self.insert(c)),
            Err(error) if error.error_len().is_none() => self.pending = Pending::Utf8(bytes),
            // No character begins so.
            Err(_) => {}
        }
    }

    fn insert(&mut self, c: char) {
        if self.line.len() < LINE_MAX {
            self.line.insert(self.cursor, c);
            self.cursor += 1;
        }
    }

    fn delete(&mut self, from: usize, to: usize) {
        self.line.drain(from..to.min(self.line.len()));
        self.cursor = from;
    }

    fn word_start(&self) -> usize {
        let before = self.line.get(..self.cursor).unwrap_or_default();
        let end = before.iter().rposition(|c| !c.is_whitespace()).map_or(0, |place| place + 1);
        let word = before.get(..end).unwrap_or_default();
        word.iter().rposition(|c| c.is_whitespace()).map_or(0, |place| place + 1)
    }

    fn submit(&mut self) -> String {
        let line: String = core::mem::take(&mut self.line).into_iter().collect();
        self.cursor = 0;
        self.shown = None;
        if !line.is_empty() && self.history.last() != Some(&line) {
            if self.history.len() == HISTORY_MAX {
                self.history.remove(0);
            }
            self.history.push(line.clone());
        }
        line
    }

    fn recall(&mut self, older: bool) {
        let next = match (self.shown, older) {
            (None, true) => self.history.len().checked_sub(1),
            (Some(place), true) => Some(place.saturating_sub(1)),
            (Some(place), false) => Some(place + 1).filter(|place| *place < self.history.len()),
            (None, false) => None,
        };
        if next == self.shown {
            return;
        }
        if self.shown.is_none() {
            self.draft.clone_from(&self.line);
        }
        self.line = match next.and_then(|place| self.history.get(place)) {
            Some(line) => line.chars().collect(),
            None => core::mem::take(&mut self.draft),
        };
        self.shown = next;
        self.cursor = self.line.len();
    }

    /// The part of the line to show in so many columns, and the cursor's column in it.
    pub(crate) fn view(&self, columns: usize) -> (String, usize) {
        let width = |c: &char| if *c == '\t' { 1 } else { c.width().unwrap_or(0) };
        // One column is the cursor's own at the end of the line.
        let room = columns.saturating_sub(1);
        let before = self.line.get(..self.cursor).unwrap_or_default();
        let (mut start, mut column) = (self.cursor, 0);
        for c in before.iter().rev() {
            if column + width(c) > room {
                break;
            }
            column += width(c);
            start -= 1;
        }
        let mut used = 0;
        let visible = self.line.iter().skip(start).take_while(|c| {
            used += width(c);
            used <= room
        });
        (visible.map(|c| if *c == '\t' { ' ' } else { *c }).collect(), column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lines that keys lead to, and what is then shown with the cursor as `|`.
    fn check(keys: &str, lines: &[&str], shown: &str) {
        let mut editor = Editor::default();
        let typed: Vec<_> = keys.bytes().filter_map(|byte| editor.receive(byte)).collect();
        let expected: Vec<_> = lines.iter().map(|line| Typed::Line((*line).to_owned())).collect();
        assert_eq!(typed, expected, "{keys:?}");
        let mut line: String = editor.line.iter().collect();
        let place = editor.line.iter().take(editor.cursor).map(|c| c.len_utf8()).sum();
        line.insert(place, '|');
        assert_eq!(line, shown, "{keys:?}");
    }

    #[test]
    fn keys_do_what_they_do_elsewhere() {
        check("one\rtwo\nthr", &["one", "two"], "thr|");
        check("héllo ☀\u{7f}\u{8}", &[], "héllo|");
        check("ab\x1b[D\x1b[DX\x1b[CY", &[], "XaY|b");
        check("abc\x01X\x05Y\x02\x02Z\x06", &[], "XabZc|Y");
        check("abc\x1b[H\x1b[3~\x1b[F!\x1bOD\x1b[1~\x1b[4~", &[], "bc!|");
        check("one two  \x17", &[], "one |");
        check("one two\x02\x02\x0b", &[], "one t|");
        check("one two\x02\x15", &[], "|o");
        check("ab\x02\x04", &[], "a|");
        check("a\tb\x07\x1b[5~\x1bx", &[], "a\tb|");
        check("\x7f\x1b[D\x1b[3~\x17", &[], "|");
    }

    #[test]
    fn earlier_lines_come_back() {
        check("one\rtwo\r\x1b[A", &["one", "two"], "two|");
        check("one\rtwo\r\x1b[A\x1b[A\x1b[A", &["one", "two"], "one|");
        check("one\rtwo\rdraft\x1b[A\x1b[A\x1b[B\x1b[B\x1b[B", &["one", "two"], "draft|");
        check("one\rone\r\r\x10\x10", &["one", "one", ""], "one|");
        check("one\r\x10!\r\x10", &["one", "one!"], "one!|");
    }

    #[test]
    fn the_end_is_an_empty_line_and_ctrl_d() {
        let mut editor = Editor::default();
        assert_eq!(editor.receive(b'a'), None);
        assert_eq!(editor.receive(0x04), None);
        assert_eq!(editor.receive(0x7F), None);
        assert_eq!(editor.receive(0x04), Some(Typed::End));
        assert_eq!(editor.receive(0x03), Some(Typed::Interrupted));
    }

    #[test]
    fn a_long_line_is_shown_around_the_cursor() {
        let mut editor = Editor::default();
        "0123456789".bytes().for_each(|byte| assert_eq!(editor.receive(byte), None));
        assert_eq!(editor.view(20), ("0123456789".to_owned(), 10));
        assert_eq!(editor.view(5), ("6789".to_owned(), 4));
        editor.receive(0x01);
        assert_eq!(editor.view(5), ("0123".to_owned(), 0));
        assert_eq!(editor.view(0), (String::new(), 0));
        let mut wide = Editor::default();
        "日本語".bytes().for_each(|byte| assert_eq!(wide.receive(byte), None));
        assert_eq!(wide.view(6), ("本語".to_owned(), 4));
    }

    proptest! {
        #[test]
        fn any_bytes_leave_the_cursor_in_the_line(bytes in proptest::collection::vec(any::<u8>(), 0..200), columns in 0_usize..30) {
            let mut editor = Editor::default();
            for byte in bytes {
                if let Some(Typed::Line(line)) = editor.receive(byte) {
                    prop_assert!(!line.contains(['\r', '\n', '\x1b']));
                }
                prop_assert!(editor.cursor <= editor.line.len());
                let (_, column) = editor.view(columns);
                prop_assert!(column < columns.max(1));
            }
        }
    }
}
