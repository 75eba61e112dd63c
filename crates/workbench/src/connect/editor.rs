//! A line while it is typed: bytes from a terminal in, lines and what to show out. Knows no terminal, and not what a line means.
//!
//! A byte is handled when it comes, however many come at once: a paste or a script's keys never wait for the next key. A line may have several rows.

mod line;
mod search;
mod view;

pub(crate) use line::LINE_MAX;
pub(crate) use view::{MORE, PROMPT, View};

use super::history::History;
use line::{Line, Place};
use search::Search;

/// The line, the place in it, and the lines before it.
#[derive(Debug, Default)]
pub(crate) struct Editor {
    line: Line,
    history: History,
    /// Which line of the history is shown; `None` for the one being typed.
    shown: Option<usize>,
    /// The line being typed, while one of the history is shown.
    draft: Line,
    /// What was cut last.
    cut: Vec<char>,
    pending: Pending,
    pasting: Pasting,
    search: Option<Search>,
    full: Full,
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

/// Whether what comes was typed, or pasted between the terminal's marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pasting {
    #[default]
    No,
    Yes,
    /// The last byte was a carriage return: a line feed behind it is the same end of a row.
    Return,
}

/// Whether a character found no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Full {
    #[default]
    No,
    Untold,
    Told,
}

/// What a key has led to, beyond a change of the line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A line is complete. Whether it is new among the earlier ones.
    Line { text: String, new: bool },
    /// Tab, in a line that is a command.
    Complete,
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D on an empty line.
    End,
    /// Ctrl-L.
    Clear,
    /// Ctrl-Z.
    Suspend,
    /// The line takes no more.
    Full,
}

/// The longest sequence of a key.
const SEQUENCE_MAX: usize = 16;
impl Editor {
    pub(crate) fn new(history: History) -> Self {
        Self { history, ..Self::default() }
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Takes one byte.
    pub(crate) fn receive(&mut self, byte: u8) -> Option<Typed> {
        let typed = match core::mem::take(&mut self.pending) {
            Pending::Escape if matches!(byte, b'[' | b'O') => {
                self.pending = Pending::Sequence(Vec::new());
                None
            }
            Pending::Escape => self.escaped(byte),
            Pending::Sequence(mut parameters) if matches!(byte, b'0'..=b'9' | b';') => {
                if parameters.len() < SEQUENCE_MAX {
                    parameters.push(byte);
                }
                self.pending = Pending::Sequence(parameters);
                None
            }
            Pending::Sequence(parameters) => {
                self.sequence(&parameters, byte);
                None
            }
            Pending::Utf8(mut bytes) if byte & 0xC0 == 0x80 => {
                bytes.push(byte);
                self.utf8(bytes);
                None
            }
            Pending::Nothing | Pending::Utf8(_) => self.byte(byte),
        };
        if typed.is_none() && self.full == Full::Untold {
            self.full = Full::Told;
            return Some(Typed::Full);
        }
        typed
    }

    fn byte(&mut self, byte: u8) -> Option<Typed> {
        if byte >= 0x80 {
            self.utf8(vec![byte]);
            return None;
        }
        if self.pasting != Pasting::No {
            self.pasted(byte);
            return None;
        }
        if self.search.is_some() && self.searched(byte) {
            return None;
        }
        self.key(byte)
    }

    fn key(&mut self, byte: u8) -> Option<Typed> {
        match byte {
            b'\r' | b'\n' if self.line.is_continued() => {
                self.line.move_to(Place::End);
                self.line.delete(Place::Left);
                self.insert('\n');
            }
            b'\r' | b'\n' => return Some(self.submit()),
            0x03 => return Some(Typed::Interrupted),
            0x04 if self.line.is_empty() => return Some(Typed::End),
            0x04 => _ = self.line.delete(Place::Right),
            0x01 => self.line.move_to(Place::RowStart),
            0x05 => self.line.move_to(Place::RowEnd),
            0x02 => self.line.move_to(Place::Left),
            0x06 => self.line.move_to(Place::Right),
            0x08 | 0x7F => _ = self.line.delete(Place::Left),
            0x0B => self.cut = self.line.delete(Place::RowEndOrNext),
            0x15 => self.cut = self.line.delete(Place::RowStart),
            0x17 => self.cut = self.line.delete(Place::WordStart),
            0x19 => self.cut.clone().into_iter().for_each(|c| self.insert(c)),
            0x10 => self.recall(true),
            0x0E => self.recall(false),
            0x0C => return Some(Typed::Clear),
            0x1A => return Some(Typed::Suspend),
            0x12 => self.search_older(),
            0x1B => self.pending = Pending::Escape,
            b'\t' if self.line.text().first() == Some(&'/') => return Some(Typed::Complete),
            b'\t' | 0x20..=0x7E => self.insert(char::from(byte)),
            _ => {}
        }
        None
    }

    /// What comes behind ESC and begins no sequence: Alt and a key.
    fn escaped(&mut self, byte: u8) -> Option<Typed> {
        if self.pasting != Pasting::No {
            return self.byte(byte);
        }
        self.accept_search();
        match byte {
            b'\r' | b'\n' => self.insert('\n'),
            b'b' => self.line.move_to(Place::WordStart),
            b'f' => self.line.move_to(Place::WordEnd),
            b'd' => self.cut = self.line.delete(Place::WordEnd),
            0x7F | 0x08 => self.cut = self.line.delete(Place::WordStart),
            0x1B => self.pending = Pending::Escape,
            _ => {}
        }
        None
    }

    fn sequence(&mut self, parameters: &[u8], last: u8) {
        match (parameters, last) {
            (b"200", b'~') => self.pasting = Pasting::Yes,
            (b"201", b'~') => self.end_paste(),
            _ if self.pasting != Pasting::No => {}
            _ => {
                self.accept_search();
                self.move_by(parameters, last);
            }
        }
    }

    fn move_by(&mut self, parameters: &[u8], last: u8) {
        let by_word = matches!(parameters, b"1;5" | b"1;3");
        match (parameters, last) {
            (_, b'A') => self.up(),
            (_, b'B') => self.down(),
            (_, b'C') if by_word => self.line.move_to(Place::WordEnd),
            (_, b'D') if by_word => self.line.move_to(Place::WordStart),
            (_, b'C') => self.line.move_to(Place::Right),
            (_, b'D') => self.line.move_to(Place::Left),
            (_, b'H') | (b"1" | b"7", b'~') => self.line.move_to(Place::RowStart),
            (_, b'F') | (b"4" | b"8", b'~') => self.line.move_to(Place::RowEnd),
            (b"3", b'~') => _ = self.line.delete(Place::Right),
            _ => {}
        }
    }

    fn pasted(&mut self, byte: u8) {
        let after_return = core::mem::replace(&mut self.pasting, Pasting::Yes) == Pasting::Return;
        match byte {
            b'\n' if after_return => {}
            b'\n' => self.insert('\n'),
            b'\r' => {
                self.insert('\n');
                self.pasting = Pasting::Return;
            }
            0x1B => self.pending = Pending::Escape,
            b'\t' | 0x20..=0x7E => self.insert(char::from(byte)),
            _ => {}
        }
    }

    /// The end of the last row of what was pasted is not one that was typed.
    fn end_paste(&mut self) {
        self.pasting = Pasting::No;
        if self.line.behind().is_empty() && self.line.before().last() == Some(&'\n') {
            self.line.delete(Place::Left);
        }
    }

    fn utf8(&mut self, bytes: Vec<u8>) {
        match core::str::from_utf8(&bytes) {
            Ok(text) => text.chars().filter(|c| !c.is_control()).for_each(|c| self.character(c)),
            Err(error) if error.error_len().is_none() => self.pending = Pending::Utf8(bytes),
            // No character begins so.
            Err(_) => {}
        }
    }

    fn character(&mut self, c: char) {
        match &mut self.search {
            Some(search) if self.pasting == Pasting::No => {
                search.push(c, &self.history);
                self.show_found();
            }
            _ => self.insert(c),
        }
    }

    fn insert(&mut self, c: char) {
        if !self.line.insert(c) && self.full == Full::No {
            self.full = Full::Untold;
        }
    }

    fn submit(&mut self) -> Typed {
        let text: String = core::mem::take(&mut self.line).text().iter().collect();
        self.shown = None;
        self.full = Full::No;
        let new = self.history.add(&text);
        Typed::Line { text, new }
    }
}

/// A command that is being completed.
impl Editor {
    /// What stands before the cursor.
    pub(crate) fn before_cursor(&self) -> String {
        self.line.before().iter().collect()
    }

    /// Puts a text in the place of so many characters before the cursor.
    pub(crate) fn replace(&mut self, count: usize, text: &str) {
        self.line.delete(Place::LeftBy(count));
        text.chars().filter(|c| !c.is_control() || *c == '\t').for_each(|c| self.insert(c));
    }
}

/// Earlier lines.
impl Editor {
    fn up(&mut self) {
        if !self.line.up() {
            self.recall(true);
        }
    }

    fn down(&mut self) {
        if !self.line.down() {
            self.recall(false);
        }
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
            self.draft = core::mem::take(&mut self.line);
        }
        self.line = match next.and_then(|place| self.history.get(place)) {
            Some(line) => Line::of(line),
            None => core::mem::take(&mut self.draft),
        };
        self.line.move_to(Place::End);
        self.shown = next;
    }

    /// Begins to look for an earlier line, or finds the next older one.
    fn search_older(&mut self) {
        let history = &self.history;
        match &mut self.search {
            Some(search) => search.older(history),
            None => {
                let line = self.line.clone();
                self.search = Some(Search::begin(line));
            }
        }
        self.show_found();
    }

    /// A key while an earlier line is looked for. Whether that was all it meant.
    fn searched(&mut self, byte: u8) -> bool {
        match byte {
            0x20..=0x7E => self.character(char::from(byte)),
            0x08 | 0x7F => {
                if let Some(search) = &mut self.search {
                    search.pop(&self.history);
                }
                self.show_found();
            }
            // Ctrl-R is handled as it is where nothing is looked for yet.
            0x12 | 0x1B => return false,
            0x07 | 0x03 => {
                if let Some(Search { line, .. }) = self.search.take() {
                    self.line = line;
                }
            }
            _ => {
                self.accept_search();
                return false;
            }
        }
        true
    }

    fn show_found(&mut self) {
        let found = self.search.as_ref().and_then(|search| self.history.get(search.found?));
        if let Some(line) = found {
            self.line = Line::of(line);
        }
    }

    fn accept_search(&mut self) {
        self.search = None;
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
        let texts: Vec<_> = typed
            .iter()
            .map(|typed| match typed {
                Typed::Line { text, .. } => text.clone(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(texts, lines, "{keys:?}");
        let text = |part: &[char]| part.iter().collect::<String>();
        let line = format!("{}|{}", text(editor.line.before()), text(editor.line.behind()));
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
        check("one two\x17\x01\x19", &[], "two|one ");
        check("one two\x1b[1;5D\x1bb\x1bfX\x1bd", &[], "oneX|");
        check("/f\t\x0c\x1a\x03", &["Complete", "Clear", "Suspend", "Interrupted"], "/f|");
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
    fn a_line_may_have_rows() {
        check("one\\\rtwo\r", &["one\ntwo"], "|");
        check("one\x1b\rtwo\x1b\nthree", &[], "one\ntwo\nthree|");
        check("two\\\\\r", &["two\\\\"], "|");
        check("abc\x1b\rdefg\x1b[AX", &[], "abcX|\ndefg");
        check("abcd\x1b\re\x1b\rfgh\x1b[A\x1b[AX\x1b[B\x1b[BY", &[], "aXbcd\ne\nfY|gh");
        check("a\x1b\rb\x01X\x05Y", &[], "a\nXbY|");
        check("old\ra\x1b\rb\x1b[A\x1b[A", &["old"], "old|");
    }

    #[test]
    fn what_is_pasted_is_not_sent() {
        check("\x1b[200~one\r\ntwo\x03\n\tthree\x1b[31m\n\x1b[201~", &[], "one\ntwo\n\tthree|");
        check("a\x1b[200~/x\t\x1b[201~b\r", &["a/x\tb"], "|");
        check("\x1b[200~\x1b[201~x", &[], "x|");
    }

    #[test]
    fn earlier_lines_are_found() {
        let earlier = "alpha\rbeta\ralpine\r";
        let typed = ["alpha", "beta", "alpine"];
        check(&format!("{earlier}\x12al"), &typed, "alpine|");
        check(&format!("{earlier}\x12al\x12"), &typed, "alpha|");
        check(&format!("{earlier}\x12al\x12\x12"), &typed, "alpha|");
        check(&format!("{earlier}dra\x12bet\x07ft"), &typed, "draft|");
        check(&format!("{earlier}\x12bet\x1b[DX"), &typed, "betX|a");
        check(&format!("{earlier}\x12zzz\x7f\x7f\x7fbe"), &typed, "beta|");
        check(&format!("{earlier}\x12bet\r"), &["alpha", "beta", "alpine", "beta"], "|");
        let mut editor = Editor::default();
        format!("{earlier}\x12al").bytes().for_each(|byte| drop(editor.receive(byte)));
        assert_eq!(editor.view(40, 5), View { rows: vec!["(search) al: alpine".into()], row: 0, column: 19 });
        assert!(editor.view(5, 5).column < 5);
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
    fn a_line_that_is_full_says_so_once() {
        let mut editor = Editor { line: Line::of(&"x".repeat(LINE_MAX)), ..Editor::default() };
        assert_eq!(editor.receive(b'a'), Some(Typed::Full));
        assert_eq!(editor.receive(b'a'), None);
        assert!(matches!(editor.receive(b'\r'), Some(Typed::Line { new: false, .. })));
    }

    #[test]
    fn a_word_is_put_in_the_place_of_another() {
        let mut editor = Editor::default();
        "/subscribe ro now".bytes().for_each(|byte| drop(editor.receive(byte)));
        "\x02\x02\x02\x02".bytes().for_each(|byte| drop(editor.receive(byte)));
        assert_eq!(editor.before_cursor(), "/subscribe ro");
        editor.replace(2, "room:a");
        assert_eq!(editor.before_cursor(), "/subscribe room:a");
    }

    #[test]
    fn rows_are_shown_around_the_cursor() {
        let mut editor = Editor::default();
        "a\x1b\rb\x1b\rcd\x1b\re\x1b[A".bytes().for_each(|byte| drop(editor.receive(byte)));
        let rows = |shown: &[&str]| shown.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
        assert_eq!(editor.view(20, 9), View { rows: rows(&["> a", ". b", ". cd", ". e"]), row: 2, column: 3 });
        assert_eq!(editor.view(20, 2), View { rows: rows(&[". b", ". cd"]), row: 1, column: 3 });
    }

    proptest! {
        #[test]
        fn any_bytes_leave_the_cursor_in_the_line(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), proptest::sample::select(b"\x1b[ABCD\r\\\x12200~201~\n".to_vec())], 0..200),
            columns in 0_usize..30,
            rows in 0_usize..5,
        ) {
            let mut editor = Editor::default();
            for byte in bytes {
                if let Some(Typed::Line { text, .. }) = editor.receive(byte) {
                    prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
                }
                let view = editor.view(columns, rows);
                prop_assert!(view.row < view.rows.len() && view.rows.len() <= rows.max(1));
                prop_assert!(view.column < columns.max(3));
                prop_assert!(view.rows.iter().all(|row| !row.contains(char::is_control)));
            }
        }
    }
}
