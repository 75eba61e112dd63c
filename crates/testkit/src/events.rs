//! A reader of event streams, by the letter of the standard (HTML §9.2.6).

/// One event that was dispatched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEvent {
    /// The last event id when it was.
    pub id: String,
    /// Its type; empty is `message`.
    pub kind: String,
    /// Its data.
    pub data: String,
}

impl StreamEvent {
    /// The data's JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {:?}", self.data))
    }
}

/// Takes a stream in pieces.
#[derive(Debug, Default)]
pub struct EventReader {
    line: String,
    after_cr: bool,
    /// The last event id: a client that comes back begins with the one that it had.
    pub id: String,
    kind: String,
    data: String,
    /// What the last `retry` said, in milliseconds.
    pub retry: Option<u64>,
    /// Comments so far.
    pub comments: usize,
}

impl EventReader {
    /// The events that a piece completes.
    pub fn receive(&mut self, piece: &str) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        for char in piece.chars() {
            match char {
                '\n' if self.after_cr => {}
                '\r' | '\n' => events.extend(self.end_line()),
                char => self.line.push(char),
            }
            self.after_cr = char == '\r';
        }
        events
    }

    fn end_line(&mut self) -> Option<StreamEvent> {
        let line = core::mem::take(&mut self.line);
        if line.is_empty() {
            let (kind, mut data) = (core::mem::take(&mut self.kind), core::mem::take(&mut self.data));
            return data.pop().map(|_| StreamEvent { id: self.id.clone(), kind, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comments += 1,
            "event" => self.kind = value.to_owned(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = value.to_owned(),
            "retry" => self.retry = value.parse().ok(),
            _ => {}
        }
        None
    }
}
