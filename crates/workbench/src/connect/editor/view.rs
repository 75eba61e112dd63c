//! What is to be seen of the line, in a terminal that may be smaller than it.

use super::Editor;
use unicode_width::UnicodeWidthChar;

/// What is to be seen of the line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) rows: Vec<String>,
    /// Where the cursor is.
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl Editor {
    /// The rows to show in a terminal of so many columns, at most so many rows: those around the cursor.
    pub(crate) fn view(&self, columns: usize, rows_max: usize) -> View {
        if let Some(search) = &self.search {
            let prompt = format!("(search) {}: ", search.text);
            let first = self.line.text().split(|c| *c == '\n').next().unwrap_or_default();
            let (shown, column) = scrolled(first, first.len(), columns.saturating_sub(prompt.chars().count()));
            let row: String = format!("{prompt}{shown}").chars().take(columns.saturating_sub(1)).collect();
            return View {
                rows: vec![row],
                row: 0,
                column: (prompt.chars().count() + column).min(columns.saturating_sub(1)),
            };
        }
        let room = columns.saturating_sub(PROMPT.len());
        let cursor_row = self.line.before().iter().filter(|c| **c == '\n').count();
        let first = (cursor_row + 1).saturating_sub(rows_max.max(1));
        let mut view = View { rows: Vec::new(), row: cursor_row - first, column: 0 };
        let rows = self.line.text().split(|c| *c == '\n').enumerate().skip(first).take(rows_max.max(1));
        for (index, row) in rows {
            let prompt = if index == 0 { PROMPT } else { MORE };
            let place = if index == cursor_row { self.line.column() } else { 0 };
            let (shown, column) = scrolled(row, place, room);
            if index == cursor_row {
                view.column = PROMPT.len() + column;
            }
            view.rows.push(format!("{prompt}{shown}"));
        }
        view
    }
}

/// Before a line.
pub(crate) const PROMPT: &str = "> ";
/// Before its other rows.
pub(crate) const MORE: &str = ". ";

/// The part of a row to show in so many columns, with this place in it, and the place's column.
fn scrolled(row: &[char], place: usize, columns: usize) -> (String, usize) {
    let width = |c: &char| if c.is_control() { 1 } else { c.width().unwrap_or(0) };
    // One column is the cursor's own at the end of the line.
    let room = columns.saturating_sub(1);
    let (mut start, mut column) = (place, 0);
    for c in row.get(..place).unwrap_or_default().iter().rev() {
        if column + width(c) > room {
            break;
        }
        column += width(c);
        start -= 1;
    }
    let mut used = 0;
    let visible = row.iter().skip(start).take_while(|c| {
        used += width(c);
        used <= room
    });
    (visible.map(|c| if c.is_control() { ' ' } else { *c }).collect(), column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_shown_around_the_cursor() {
        let shown = |text: &str, columns| scrolled(&text.chars().collect::<Vec<_>>(), text.chars().count(), columns);
        assert_eq!(shown("0123456789", 20), ("0123456789".to_owned(), 10));
        assert_eq!(shown("0123456789", 5), ("6789".to_owned(), 4));
        assert_eq!(scrolled(&['0', '1', '2', '3', '4', '5'], 0, 5), ("0123".to_owned(), 0));
        assert_eq!(shown("0123456789", 0), (String::new(), 0));
        assert_eq!(shown("日本語", 6), ("本語".to_owned(), 4));
    }
}
