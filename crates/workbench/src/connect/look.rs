//! How things look: for people on a terminal, for people through pipes, and as JSON for programs. Owns colours, times of day and what stands before a line.
//! Whatever a peer sent goes through `printable` here before a terminal sees it. Writes nothing itself.

use super::editor::{MORE, PROMPT};
use super::frames::{Direction, Shown, opcode_name};
use super::text::{Part, hex_dump, one_line, pretty, printable};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use core::time::Duration;
use serde_json::{Value, json};
use switchboard_ws::Message;
use switchboard_ws_proto::FrameHeader;

/// What was chosen, and where it goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// Everything that happens, as JSON.
    pub json: bool,
    /// JSON in messages with a line for each member.
    pub pretty: bool,
    /// The time of day before each line, UTC.
    pub timestamps: bool,
    /// Colours.
    pub colour: bool,
    /// Each frame.
    pub frames: bool,
    /// Somebody sees it on a terminal.
    pub terminal: bool,
    /// And types there.
    pub interactive: bool,
    /// What the clock says when time begins, in milliseconds since 1970.
    pub epoch_ms: u64,
}

/// Bytes of a binary message that are shown on a terminal.
const HEX_BYTES_MAX: usize = 1024;

/// Escape sequences of our own.
mod paint {
    pub(super) const DIM: &str = "\x1b[2m";
    pub(super) const GREEN: &str = "\x1b[32m";
    pub(super) const CYAN: &str = "\x1b[36m";
    pub(super) const BLUE: &str = "\x1b[34m";
    pub(super) const YELLOW: &str = "\x1b[33m";
    pub(super) const END: &str = "\x1b[0m";
}

impl Look {
    /// A message of the server, without an end of line.
    pub(crate) fn message(&self, now: Duration, message: &Message) -> String {
        if self.json {
            let event = match message {
                Message::Text(text) => json!({ "type": "text", "data": &**text }),
                Message::Binary(bytes) => json!({ "type": "binary", "data": STANDARD.encode(bytes) }),
            };
            return self.event(now, event);
        }
        let body = match message {
            Message::Text(text) => self.text(text),
            Message::Binary(bytes) if self.terminal => binary(&format!("{} bytes", bytes.len()), bytes),
            Message::Binary(bytes) => format!("{} bytes, base64: {}", bytes.len(), STANDARD.encode(bytes)),
        };
        self.incoming(now, &body)
    }

    fn text(&self, text: &str) -> String {
        let paint = |part, text: &str| match part {
            Part::Name => self.paint(paint::BLUE, &printable(text)),
            Part::Text => self.paint(paint::GREEN, &printable(text)),
            Part::Other => self.paint(paint::YELLOW, text),
            Part::Between => text.to_owned(),
        };
        let shown = if self.pretty { pretty(text, paint) } else { None };
        // What goes into a file or another program is what came.
        shown.unwrap_or_else(|| if self.terminal { printable(text) } else { text.to_owned() })
    }

    /// Something that came, in words that are harmless already.
    pub(crate) fn incoming(&self, now: Duration, body: &str) -> String {
        let stamp = self.stamp(now);
        if !self.interactive {
            return format!("{stamp}{body}");
        }
        // No line of a message begins where a message begins.
        format!("{stamp}{} {}", self.paint(paint::GREEN, "<"), body.replace('\n', "\n  "))
    }

    /// A message of the native protocol in words.
    pub(crate) fn told(&self, now: Duration, line: &str) -> String {
        self.incoming(now, &one_line(line))
    }

    /// Bytes behind what is said of them.
    pub(crate) fn told_binary(&self, now: Duration, line: &str, bytes: &[u8]) -> String {
        self.incoming(now, &binary(&one_line(line), bytes))
    }

    /// A line as it was typed.
    pub(crate) fn typed(&self, now: Duration, line: &str) -> String {
        let rows = line.replace('\n', &format!("\n{MORE}"));
        format!("{}{}{}", self.stamp(now), self.paint(paint::CYAN, PROMPT), printable(&rows))
    }

    /// Something that happened, for people.
    pub(crate) fn notice(&self, now: Duration, text: &str) -> String {
        let text = printable(text);
        let text = if self.interactive { self.paint(paint::DIM, &text) } else { text };
        format!("{}{text}", self.stamp(now))
    }

    /// Something that happened, for programs.
    pub(crate) fn event(&self, now: Duration, mut event: Value) -> String {
        if self.timestamps
            && let Some(members) = event.as_object_mut()
        {
            members.insert("time".to_owned(), self.epoch_ms.saturating_add(millis(now)).into());
        }
        event.to_string()
    }

    /// A frame's header.
    pub(crate) fn frame(&self, now: Duration, direction: Direction, header: &FrameHeader) -> String {
        if self.json {
            let mask = header.mask.map(|mask| mask.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            return self.event(
                now,
                json!({
                    "type": "frame", "dir": direction.name(), "opcode": opcode_name(header.opcode), "fin": header.fin,
                    "rsv": header.rsv, "length": header.payload_len, "mask": mask,
                }),
            );
        }
        let arrow = if direction == Direction::In { "<-" } else { "->" };
        self.notice(now, &format!("{arrow} {}", Shown(header)))
    }

    fn stamp(&self, now: Duration) -> String {
        if !self.timestamps {
            return String::new();
        }
        let at = self.epoch_ms.saturating_add(millis(now));
        let seconds = at / 1_000;
        let clock =
            format!("{:02}:{:02}:{:02}.{:03}", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60, at % 1_000);
        format!("{} ", self.paint(paint::DIM, &clock))
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("{colour}{text}{}", paint::END) } else { text.to_owned() }
    }
}

fn binary(head: &str, bytes: &[u8]) -> String {
    if bytes.is_empty() { head.to_owned() } else { format!("{head}\n{}", hex_dump(bytes, HEX_BYTES_MAX)) }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A latency for people: three digits that count.
pub(crate) fn latency(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1_000.0;
    match millis {
        ..10.0 => format!("{millis:.2} ms"),
        ..100.0 => format!("{millis:.1} ms"),
        _ => format!("{millis:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use switchboard_ws_proto::Opcode;

    const NOW: Duration = Duration::from_millis(1_234);
    const TERMINAL: Look = Look {
        json: false,
        pretty: false,
        timestamps: false,
        colour: false,
        frames: false,
        terminal: true,
        interactive: true,
        epoch_ms: 1_700_000_000_000,
    };
    const PIPE: Look = Look { terminal: false, interactive: false, ..TERMINAL };

    #[test]
    fn a_pipe_gets_what_came_and_a_terminal_what_is_harmless() {
        let text = Message::from("a\n\u{1b}[2J");
        assert_eq!(PIPE.message(NOW, &text), "a\n\u{1b}[2J");
        assert_eq!(TERMINAL.message(NOW, &text), "< a\n  \\u{1b}[2J");
        assert_eq!(Look { interactive: false, ..TERMINAL }.message(NOW, &text), "a\n\\u{1b}[2J");
        let bytes = Message::from(vec![0xff, b'a']);
        assert_eq!(PIPE.message(NOW, &bytes), "2 bytes, base64: /2E=");
        assert!(TERMINAL.message(NOW, &bytes).starts_with("< 2 bytes\n  00000000  ff 61 "));
        assert_eq!(Look { json: true, ..PIPE }.message(NOW, &bytes), r#"{"data":"/2E=","type":"binary"}"#);
    }

    #[test]
    fn times_colours_and_lines_are_as_chosen() {
        let stamped = Look { timestamps: true, ..TERMINAL };
        assert_eq!(stamped.message(NOW, &"x".into()), "22:13:21.234 < x");
        assert_eq!(
            Look { json: true, ..stamped }.message(NOW, &"x".into()),
            r#"{"data":"x","time":1700000001234,"type":"text"}"#
        );
        let pretty = Look { pretty: true, ..TERMINAL };
        assert_eq!(pretty.message(NOW, &r#"{"a":1}"#.into()), "< {\n    \"a\": 1\n  }");
        assert_eq!(pretty.message(NOW, &"no JSON".into()), "< no JSON");
        let colour = Look { colour: true, ..pretty };
        assert_eq!(colour.message(NOW, &"[1]".into()), "\u{1b}[32m<\u{1b}[0m [\n    \u{1b}[33m1\u{1b}[0m\n  ]");
        assert_eq!(TERMINAL.typed(NOW, "a\nb"), "> a\n. b");
        let header = FrameHeader::new(Opcode::Text, 5);
        assert_eq!(TERMINAL.frame(NOW, Direction::In, &header), "<- text fin=1 rsv=000 length=5 unmasked");
        assert_eq!(latency(Duration::from_micros(1_234)), "1.23 ms");
        assert_eq!(latency(Duration::from_micros(123_456)), "123 ms");
    }

    proptest! {
        #[test]
        fn nothing_of_a_peer_steers_a_terminal(text in "\\PC{0,20}[\\x00-\\x1f\u{7f}-\u{9f}]{0,4}\\PC{0,20}", pretty in any::<bool>()) {
            let look = Look { pretty, ..TERMINAL };
            let quoted = json!({ "a": &text }).to_string();
            for shown in [look.message(NOW, &text.clone().into()), look.message(NOW, &quoted.into()), look.told(NOW, &text), look.notice(NOW, &text)] {
                prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{shown:?}");
            }
        }
    }
}
