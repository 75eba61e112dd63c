//! Recordings: what went over a connection, one JSON object a line, and when. Owns their form, what of one is sent again and when, and how what comes
//! back is compared. Knows no file and no clock.

use super::frames::Direction;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use core::time::Duration;
use serde_json::{Value, json};
use std::collections::VecDeque;
use switchboard_ws::{CloseCode, CloseFrame, Message};

/// Something that went over a connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// Since the recording began.
    pub(crate) at: Duration,
    pub(crate) direction: Direction,
    pub(crate) what: What,
}

/// What it was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    /// The connection was made.
    Open {
        url: String,
        subprotocol: Option<String>,
    },
    Message(Message),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl What {
    pub(crate) fn close(frame: Option<&CloseFrame>) -> Self {
        Self::Close(frame.map(|frame| (u16::from(frame.code), (*frame.reason).to_owned())))
    }
}

/// Why a recording cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct RecordError {
    line: usize,
    why: String,
}

impl Entry {
    /// Its line, without the end.
    pub(crate) fn line(&self) -> String {
        let Self { at, direction, what } = self;
        let (op, mut members) = match what {
            What::Open { url, subprotocol } => ("open", json!({ "url": url, "subprotocol": subprotocol })),
            What::Message(Message::Text(text)) => ("text", json!({ "data": &**text })),
            What::Message(Message::Binary(bytes)) => ("binary", json!({ "base64": STANDARD.encode(bytes) })),
            What::Ping(payload) => ("ping", json!({ "base64": STANDARD.encode(payload) })),
            What::Pong(payload) => ("pong", json!({ "base64": STANDARD.encode(payload) })),
            What::Close(Some((code, reason))) => ("close", json!({ "code": code, "reason": reason })),
            What::Close(None) => ("close", json!({})),
        };
        if let Some(members) = members.as_object_mut() {
            members.insert("ms".to_owned(), millis(*at));
            members.insert("dir".to_owned(), direction.name().into());
            members.insert("op".to_owned(), op.into());
        }
        members.to_string()
    }

    fn parse(line: &str) -> Result<Self, String> {
        let entry: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let at = entry.get("ms").and_then(Value::as_f64).ok_or("`ms` is missing, or no number")?;
        let at = Duration::try_from_secs_f64(at / 1_000.0).map_err(|_| format!("`ms` is {at}: no time"))?;
        let direction = match entry.get("dir").and_then(Value::as_str) {
            Some("in") => Direction::In,
            Some("out") => Direction::Out,
            _ => return Err("`dir` is neither \"in\" nor \"out\"".to_owned()),
        };
        let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        let bytes = || {
            let written = text("base64").ok_or("`base64` is missing, or no text")?;
            STANDARD.decode(written).map_err(|error| format!("`base64`: {error}"))
        };
        let what = match entry.get("op").and_then(Value::as_str) {
            Some("open") => What::Open { url: text("url").unwrap_or_default(), subprotocol: text("subprotocol") },
            Some("text") => What::Message(text("data").ok_or("`data` is missing, or no text")?.into()),
            Some("binary") => What::Message(bytes()?.into()),
            Some("ping") => What::Ping(short(bytes()?)?),
            Some("pong") => What::Pong(short(bytes()?)?),
            Some("close") => match entry.get("code") {
                None => What::Close(None),
                Some(code) => {
                    let code = code.as_u64().and_then(|code| u16::try_from(code).ok());
                    What::Close(Some((code.ok_or("`code` is no close code")?, text("reason").unwrap_or_default())))
                }
            },
            Some(other) => return Err(format!("`op` is {other:?}: not one of open, text, binary, ping, pong, close")),
            None => return Err("`op` is missing, or no text".to_owned()),
        };
        Ok(Self { at, direction, what })
    }
}

/// RFC 6455 §5.5: what a control frame may carry.
fn short(payload: Vec<u8>) -> Result<Vec<u8>, String> {
    if payload.len() > 125 {
        Err(format!("{} bytes do not go into a ping or a pong", payload.len()))
    } else {
        Ok(payload)
    }
}

/// Whether a Close may be sent: RFC 6455 §7.4 and §5.5.
fn sendable(what: &What) -> Result<(), String> {
    match what {
        What::Close(Some((code, _))) if !CloseCode::new(*code).is_allowed() => {
            Err(format!("{code} is no code that may be sent"))
        }
        What::Close(Some((_, reason))) if reason.len() > 123 => Err("`reason` has more than 123 bytes".to_owned()),
        _ => Ok(()),
    }
}

/// Milliseconds with three digits behind the point, and none where none are needed.
fn millis(at: Duration) -> Value {
    let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
    if micros % 1_000 == 0 { (micros / 1_000).into() } else { (micros as f64 / 1_000.0).into() }
}

/// A recording that is played: what is to be sent, and what is to come back.
#[derive(Debug, Default)]
pub struct Replay {
    out: VecDeque<(Duration, What)>,
    expected: VecDeque<Message>,
    compared: usize,
    count: usize,
    speed: f64,
}

impl Replay {
    /// Reads a recording, to be played so many times as fast; 0 does not wait at all.
    ///
    /// # Errors
    /// A line is not one of a recording.
    pub fn parse(text: &str, speed: f64) -> Result<Self, RecordError> {
        let mut replay = Self { speed, ..Self::default() };
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let entry = Entry::parse(line).map_err(|why| RecordError { line: index + 1, why })?;
            match (entry.direction, entry.what) {
                (_, What::Open { .. }) => {}
                (Direction::Out, what) => {
                    sendable(&what).map_err(|why| RecordError { line: index + 1, why })?;
                    replay.out.push_back((entry.at, what));
                }
                (Direction::In, What::Message(message)) => replay.expected.push_back(message),
                (Direction::In, _) => {}
            }
        }
        replay.count = replay.expected.len();
        Ok(replay)
    }

    /// When the next is due, since the connection was made.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        let (at, _) = self.out.front()?;
        if self.speed <= 0.0 {
            return Some(Duration::ZERO);
        }
        Some(Duration::try_from_secs_f64(at.as_secs_f64() / self.speed).unwrap_or(Duration::MAX))
    }

    /// What is due.
    pub(crate) fn take(&mut self, since_open: Duration) -> Option<What> {
        if self.next_at()? > since_open {
            return None;
        }
        self.out.pop_front().map(|(_, what)| what)
    }

    /// Whether all has been sent.
    pub(crate) fn is_sent(&self) -> bool {
        self.out.is_empty()
    }

    /// How many messages that were recorded have not come.
    pub(crate) fn missing(&self) -> usize {
        self.expected.len()
    }

    /// How many messages were recorded as coming.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// A message has come. Says how it differs from the one that was recorded, if it does.
    pub(crate) fn compare(&mut self, message: &Message) -> Option<String> {
        self.compared += 1;
        let number = self.compared;
        match self.expected.pop_front() {
            None => Some(format!("message {number} is one more than was recorded: {}", brief(message))),
            Some(expected) if expected == *message => None,
            Some(expected) => {
                Some(format!("message {number} is {}, recorded was {}", brief(message), brief(&expected)))
            }
        }
    }
}

fn brief(message: &Message) -> String {
    match message {
        Message::Text(text) if text.chars().count() <= BRIEF => format!("{:?}", &**text),
        Message::Text(text) => {
            let begin: String = text.chars().take(BRIEF).collect();
            format!("{begin:?}… of {} bytes", text.len())
        }
        Message::Binary(bytes) => {
            let begin: String = bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            format!("{} bytes {begin}{}", bytes.len(), if bytes.len() > 16 { "…" } else { "" })
        }
    }
}

/// Characters of a message that are told where it differs.
const BRIEF: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_look_as_documented() {
        let line = |at, direction, what| Entry { at: Duration::from_micros(at), direction, what }.line();
        assert_eq!(
            line(12_000, Direction::Out, What::Message("hi\n".into())),
            r#"{"data":"hi\n","dir":"out","ms":12,"op":"text"}"#
        );
        assert_eq!(
            line(1_500, Direction::In, What::Message(vec![1, 2].into())),
            r#"{"base64":"AQI=","dir":"in","ms":1.5,"op":"binary"}"#
        );
        assert_eq!(line(0, Direction::In, What::Close(None)), r#"{"dir":"in","ms":0,"op":"close"}"#);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, why) in [
            ("{}", "line 1: `ms` is missing"),
            ("\n{\"ms\":1}", "line 2: `dir`"),
            (r#"{"ms":-1,"dir":"in","op":"text"}"#, "line 1: `ms` is -1"),
            (r#"{"ms":1,"dir":"in","op":"text"}"#, "line 1: `data`"),
            (r#"{"ms":1,"dir":"in","op":"binary","base64":"?"}"#, "line 1: `base64`"),
            (r#"{"ms":1,"dir":"in","op":"shout"}"#, "line 1: `op` is \"shout\""),
            (r#"{"ms":1,"dir":"out","op":"close","code":70000}"#, "line 1: `code`"),
            (r#"{"ms":1,"dir":"out","op":"close","code":1005}"#, "line 1: 1005"),
            ("nonsense", "line 1: expected"),
        ] {
            let error = Replay::parse(text, 1.0).unwrap_err().to_string();
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }

    #[test]
    fn what_was_sent_is_sent_again_in_its_time() {
        let text = "{\"ms\":100,\"dir\":\"out\",\"op\":\"text\",\"data\":\"a\"}\n{\"ms\":150,\"dir\":\"in\",\"op\":\"text\",\"data\":\"A\"}\n\
                    {\"ms\":400,\"dir\":\"out\",\"op\":\"ping\",\"base64\":\"\"}\n";
        let mut replay = Replay::parse(text, 2.0).unwrap();
        assert_eq!(replay.next_at(), Some(Duration::from_millis(50)));
        assert_eq!(replay.take(Duration::from_millis(49)), None);
        assert_eq!(replay.take(Duration::from_millis(50)), Some(What::Message("a".into())));
        assert_eq!(replay.next_at(), Some(Duration::from_millis(200)));
        assert!(!replay.is_sent());
        assert_eq!(replay.take(Duration::from_secs(1)), Some(What::Ping(Vec::new())));
        assert!(replay.is_sent() && replay.missing() == 1);
        assert_eq!(replay.compare(&"A".into()), None);
        assert_eq!(replay.compare(&"B".into()).unwrap(), "message 2 is one more than was recorded: \"B\"");
        let mut at_once = Replay::parse(text, 0.0).unwrap();
        assert_eq!(at_once.take(Duration::ZERO), Some(What::Message("a".into())));
        assert_eq!(at_once.compare(&vec![1].into()).unwrap(), "message 1 is 1 bytes 01, recorded was \"A\"");
    }

    fn any_what() -> impl Strategy<Value = What> {
        prop_oneof![
            ".{0,20}".prop_map(|text| What::Message(text.into())),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| What::Message(bytes.into())),
            proptest::collection::vec(any::<u8>(), 0..125).prop_map(What::Ping),
            proptest::collection::vec(any::<u8>(), 0..125).prop_map(What::Pong),
            proptest::option::of((any::<u16>(), ".{0,20}")).prop_map(What::Close),
            (".{0,9}", proptest::option::of(".{0,9}")).prop_map(|(url, subprotocol)| What::Open { url, subprotocol }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(what in any_what(), micros in 0_u64..1 << 40, incoming in any::<bool>()) {
            let direction = if incoming { Direction::In } else { Direction::Out };
            let entry = Entry { at: Duration::from_micros(micros), direction, what };
            let line = entry.line();
            prop_assert!(!line.contains('\n'));
            let read = Entry::parse(&line).unwrap();
            prop_assert_eq!((read.direction, read.what), (entry.direction, entry.what));
            prop_assert!(read.at.abs_diff(entry.at) < Duration::from_micros(1));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = Replay::parse(&text, 1.0);
        }
    }
}
