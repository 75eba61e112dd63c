//! A line and the cursor in it: what is where, and what goes.
//!
//! Owns that the cursor is always in the line and that the line has a limit. Knows no keys, and no line but this one.

/// Characters with a cursor between them. May have several rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    text: Vec<char>,
    cursor: usize,
}

/// Where the cursor may go, and up to where something may go away: seen from the cursor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Left,
    /// So many characters.
    LeftBy(usize),
    Right,
    WordStart,
    WordEnd,
    RowStart,
    RowEnd,
    /// The end of the row, and behind that the beginning of the next.
    RowEndOrNext,
    End,
}

/// The longest line, in characters. What is longer comes from a file.
pub(crate) const LINE_MAX: usize = 256 * 1024;

impl Line {
    /// With the cursor at its end.
    pub(super) fn of(text: &str) -> Self {
        let text: Vec<char> = text.chars().collect();
        let cursor = text.len();
        Self { text, cursor }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn text(&self) -> &[char] {
        &self.text
    }

    pub(super) fn before(&self) -> &[char] {
        self.text.get(..self.cursor).unwrap_or_default()
    }

    pub(super) fn behind(&self) -> &[char] {
        self.text.get(self.cursor..).unwrap_or_default()
    }

    /// How many characters of its row are before the cursor.
    pub(super) fn column(&self) -> usize {
        self.cursor - self.row_start()
    }

    /// Whether Enter begins another row: there is a backslash at the end that stands for itself.
    pub(super) fn is_continued(&self) -> bool {
        self.text.iter().rev().take_while(|c| **c == '\\').count() % 2 == 1
    }

    /// Puts a character before the cursor. Whether there was room.
    pub(super) fn insert(&mut self, c: char) -> bool {
        let room = self.text.len() < LINE_MAX;
        if room {
            self.text.insert(self.cursor, c);
            self.cursor += 1;
        }
        room
    }

    pub(super) fn move_to(&mut self, place: Place) {
        self.cursor = self.find(place);
    }

    /// Removes what is between the cursor and a place, and returns it.
    pub(super) fn delete(&mut self, place: Place) -> Vec<char> {
        let place = self.find(place);
        let (from, to) = (place.min(self.cursor), place.max(self.cursor));
        self.cursor = from;
        self.text.drain(from..to).collect()
    }

    /// To the row above. Whether there is one.
    pub(super) fn up(&mut self) -> bool {
        let start = self.row_start();
        if start == 0 {
            return false;
        }
        let column = self.cursor - start;
        self.cursor = start - 1;
        self.cursor = (self.row_start() + column).min(start - 1);
        true
    }

    /// To the row below. Whether there is one.
    pub(super) fn down(&mut self) -> bool {
        let (column, end) = (self.column(), self.row_end());
        if end == self.text.len() {
            return false;
        }
        self.cursor = end + 1;
        self.cursor = (end + 1 + column).min(self.row_end());
        true
    }

    fn find(&self, place: Place) -> usize {
        let found = match place {
            Place::Left => self.cursor.saturating_sub(1),
            Place::LeftBy(count) => self.cursor.saturating_sub(count),
            Place::Right => self.cursor + 1,
            Place::WordStart => self.word_start(),
            Place::WordEnd => self.word_end(),
            Place::RowStart => self.row_start(),
            Place::RowEnd => self.row_end(),
            Place::RowEndOrNext => self.row_end().max(self.cursor + 1),
            Place::End => self.text.len(),
        };
        found.min(self.text.len())
    }

    fn row_start(&self) -> usize {
        self.before().iter().rposition(|c| *c == '\n').map_or(0, |place| place + 1)
    }

    fn row_end(&self) -> usize {
        self.behind().iter().position(|c| *c == '\n').map_or(self.text.len(), |place| self.cursor + place)
    }

    fn word_start(&self) -> usize {
        let end = self.before().iter().rposition(|c| !c.is_whitespace()).map_or(0, |place| place + 1);
        let word = self.text.get(..end).unwrap_or_default();
        word.iter().rposition(|c| c.is_whitespace()).map_or(0, |place| place + 1)
    }

    fn word_end(&self) -> usize {
        let behind = self.behind();
        let start = behind.iter().position(|c| !c.is_whitespace()).unwrap_or(behind.len());
        let word = behind.get(start..).unwrap_or_default();
        self.cursor + start + word.iter().position(|c| c.is_whitespace()).unwrap_or(word.len())
    }
}
