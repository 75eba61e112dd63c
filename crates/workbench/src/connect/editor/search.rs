//! Looking for an earlier line by a part of it. Knows where it has got to in the history, and changes nothing.

use super::line::Line;
use crate::connect::history::History;

/// Looking for an earlier line (Ctrl-R).
#[derive(Debug)]
pub(super) struct Search {
    pub(super) text: String,
    /// Its place in the history.
    pub(super) found: Option<usize>,
    /// The line before, for who gives up.
    pub(super) line: Line,
}

/// The longest text that is looked for.
const SEARCH_MAX: usize = 200;

impl Search {
    pub(super) fn begin(line: Line) -> Self {
        Self { text: String::new(), found: None, line }
    }

    pub(super) fn push(&mut self, c: char, history: &History) {
        if self.text.len() < SEARCH_MAX {
            self.text.push(c);
            // What is shown may still be right.
            let before = self.found.map_or(history.len(), |place| place + 1);
            self.look(history, before);
        }
    }

    pub(super) fn pop(&mut self, history: &History) {
        self.text.pop();
        self.look(history, history.len());
    }

    pub(super) fn older(&mut self, history: &History) {
        self.look(history, self.found.unwrap_or(history.len()));
    }

    fn look(&mut self, history: &History, before: usize) {
        if let Some(place) = history.find(&self.text, before).filter(|_| !self.text.is_empty()) {
            self.found = Some(place);
        }
    }
}
