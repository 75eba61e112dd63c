//! The form of an event stream (HTML, "Server-sent events"): whatever is put in, one event comes out.

use super::cursor;
use switchboard_core::Position;

/// Names of our own events begin so, and a publication's name that does is told from them by a second colon.
pub(super) const PREFIX: &str = "switchboard:";

/// Appends one event. `write` appends its data, which may have line breaks.
pub(super) fn event(out: &mut Vec<u8>, id: Option<Position>, name: Option<Name<'_>>, write: impl FnOnce(&mut Vec<u8>)) {
    if let Some(position) = id {
        out.extend_from_slice(b"id: ");
        cursor::write_one(position, out);
        out.push(b'\n');
    }
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        name.write(out);
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    let start = out.len();
    write(out);
    if out.iter().skip(start).any(|b| is_break(*b)) {
        let data = out.split_off(start);
        write_lines(&data, out);
    }
    out.extend_from_slice(b"\n\n");
}

/// An event's name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Name<'a> {
    /// One of ours.
    Own(&'static str),
    /// A publication's.
    Publication(&'a str),
}

impl Name<'_> {
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Own(name) => {
                out.extend_from_slice(PREFIX.as_bytes());
                out.extend_from_slice(name.as_bytes());
            }
            Self::Publication(name) => {
                let rest = name.strip_prefix(PREFIX);
                if rest.is_some() {
                    out.extend_from_slice(PREFIX.as_bytes());
                    out.push(b':');
                }
                // No way of publishing lets such a character through; here it would begin a line of its own.
                for char in rest.unwrap_or(name).chars() {
                    let char = if matches!(char, '\r' | '\n' | '\0') { char::REPLACEMENT_CHARACTER } else { char };
                    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }
}

const fn is_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// A line of data for each line: CR, LF and both together are one break to the reader, who gets LF.
fn write_lines(data: &[u8], out: &mut Vec<u8>) {
    let mut after_cr = false;
    for byte in data {
        if is_break(*byte) {
            if !(after_cr && *byte == b'\n') {
                out.extend_from_slice(b"\ndata: ");
            }
        } else {
            out.push(*byte);
        }
        after_cr = *byte == b'\r';
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// What a reader makes of a stream, by the letter of the standard's §9.2.6: last event id, type, data.
    pub(in crate::listen) fn read(stream: &str) -> Vec<(String, String, String)> {
        let (mut id, mut kind, mut data) = (String::new(), String::new(), String::new());
        let mut events = Vec::new();
        let unified = stream.replace("\r\n", "\n").replace('\r', "\n");
        let lines: Vec<&str> = unified.split('\n').collect();
        // What is not ended is no line.
        for line in lines.iter().take(lines.len() - 1) {
            if line.is_empty() {
                if !data.is_empty() {
                    data.pop();
                    events.push((id.clone(), core::mem::take(&mut kind), core::mem::take(&mut data)));
                }
                kind.clear();
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => kind = value.to_owned(),
                "data" => {
                    data.push_str(value);
                    data.push('\n');
                }
                "id" if !value.contains('\0') => id = value.to_owned(),
                _ => {}
            }
        }
        events
    }

    fn written(name: Option<Name<'_>>, data: &str) -> Vec<(String, String, String)> {
        let mut out = Vec::new();
        event(&mut out, None, name, |out| out.extend_from_slice(data.as_bytes()));
        read(&String::from_utf8(out).unwrap())
    }

    fn as_lines(data: &str) -> String {
        data.replace("\r\n", "\n").replace('\r', "\n")
    }

    proptest! {
        #[test]
        fn any_string_is_exactly_one_event(data in "(?s).*", name in prop::option::of("(?s).+")) {
            let read = written(name.as_deref().map(Name::Publication), &data);
            prop_assert_eq!(read.len(), 1);
            let (id, kind, read) = read.into_iter().next().unwrap();
            prop_assert_eq!(id, "");
            prop_assert_eq!(read, as_lines(&data));
            prop_assert!(!kind.starts_with("switchboard:") || kind.starts_with("switchboard::"));
        }

        #[test]
        fn line_breaks_make_no_events(data in "[\r\n :a\0]*(data|event|id|retry)?[\r\n: ]*") {
            let read = written(None, &data);
            prop_assert_eq!(read, [(String::new(), String::new(), as_lines(&data))]);
        }

        #[test]
        fn names_come_back(name in "(switchboard)?:{0,3}[a-z ]{1,5}") {
            let kind = written(Some(Name::Publication(&name)), "x").into_iter().next().unwrap().1;
            // A reader takes one space off, which is the one that we write.
            let unescaped = kind.strip_prefix("switchboard::").map(|rest| format!("switchboard:{rest}"));
            prop_assert_eq!(unescaped.unwrap_or(kind), name);
        }
    }

    #[test]
    fn an_empty_payload_is_an_event_too() {
        assert_eq!(written(None, ""), [(String::new(), String::new(), String::new())]);
        assert_eq!(written(Some(Name::Own("end")), "{}"), [(String::new(), "switchboard:end".into(), "{}".into())]);
    }
}
