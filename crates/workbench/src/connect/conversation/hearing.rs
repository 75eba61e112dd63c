//! The part of a conversation that listens: what comes over the connection, how it is shown, and what it is answered by itself.

use super::ending::End;
use super::{Act, Conversation, Outgoing, Phase};
use crate::connect::frames::Direction;
use crate::connect::look::latency;
use crate::connect::native::Native;
use crate::connect::record::What;
use core::time::Duration;
use serde_json::json;
use switchboard_ws::{Message, Received};
use switchboard_ws_proto::{FrameHeader, Opcode};

/// RFC 7692 §6: the first frame of a compressed message has it.
const RSV1: u8 = 0b100;

impl Conversation {
    pub(crate) fn heard(&mut self, now: Duration, received: &Received) {
        match received {
            Received::Ping(payload) => {
                self.record(now, Direction::In, What::Ping(payload.to_vec()));
                self.report_control(now, "ping", payload, None);
            }
            Received::Pong(payload) => {
                self.record(now, Direction::In, What::Pong(payload.to_vec()));
                let took = self.pings.answered(now, payload);
                self.report_control(now, "pong", payload, took);
            }
            Received::Message(message) => self.message(now, message),
        }
    }

    fn message(&mut self, now: Duration, message: &Message) {
        // Behind our own Close nothing more is wanted where one message was.
        if matches!(self.phase, Phase::Closing { end: End::One, .. }) {
            return;
        }
        self.record(now, Direction::In, What::Message(message.clone()));
        if self.manner.expect {
            self.compare(now, message);
        }
        self.report_size(now, message);
        if !self.understood(now, message) {
            let text = self.look.message(now, message);
            self.acts.push_back(Act::Print { data: true, text });
        }
        self.greeted = true;
        if self.manner.one_message && matches!(self.phase, Phase::Open { .. }) {
            self.close(now, None, End::One);
        }
    }

    /// Whether a message was one of the native protocol, and is said in words.
    fn understood(&mut self, now: Duration, message: &Message) -> bool {
        if !self.manner.native || !self.look.interactive || self.look.json {
            return false;
        }
        if !self.greeted
            && let Message::Text(text) = message
        {
            let welcomed = Native::welcome(text, self.native.take());
            if let Some((mut native, said)) = welcomed {
                let again = native.again();
                self.native = Some(native);
                self.notice(now, &said);
                for request in again {
                    self.send(now, Outgoing::Message(request.into()));
                }
                return true;
            }
        }
        let (native, look) = (self.native.as_mut(), self.look);
        let Some(native) = native else { return false };
        let told = match message {
            Message::Text(text) => native.hear(text),
            Message::Binary(bytes) => match native.hear_binary(bytes) {
                Some((line, payload)) => {
                    let text = look.told_binary(now, &line, payload);
                    self.acts.push_back(Act::Print { data: true, text });
                    return true;
                }
                None => None,
            },
        };
        let Some(told) = told else { return false };
        for line in told.lines {
            self.acts.push_back(Act::Print { data: true, text: look.told(now, &line) });
        }
        if let Some(answer) = told.answer {
            self.send(now, Outgoing::Message(answer.into()));
        }
        true
    }

    fn report_control(&mut self, now: Duration, kind: &str, payload: &[u8], took: Option<Duration>) {
        let text = String::from_utf8_lossy(payload);
        if self.look.json {
            let mut event = json!({ "type": kind, "data": text });
            if let (Some(took), Some(members)) = (took, event.as_object_mut()) {
                members.insert("latency_ms".to_owned(), (took.as_micros() as f64 / 1_000.0).into());
            }
            return self.event(now, event);
        }
        let wanted = self.manner.show_ping_pong
            || self.look.interactive
            || self.manner.ping_interval.is_some() && took.is_some();
        if wanted {
            let after = took.map_or(String::new(), |took| format!(" after {}", latency(took)));
            let said = format!("{kind} {text}");
            self.notice(now, &format!("{}{after}", said.trim_end()));
        }
    }

    /// A frame went over the connection.
    pub(crate) fn frame(&mut self, now: Duration, direction: Direction, header: &FrameHeader) {
        if direction == Direction::In && !header.opcode.is_control() {
            if header.opcode != Opcode::Continuation {
                self.wire = (0, header.rsv & RSV1 != 0);
            }
            self.wire.0 = self.wire.0.saturating_add(header.payload_len);
        }
        if self.look.frames {
            let text = self.look.frame(now, direction, header);
            self.acts.push_back(Act::Print { data: self.look.json, text });
        }
    }

    /// So many frames were not shown.
    pub(crate) fn frames_missed(&mut self, now: Duration, count: u64) {
        if self.look.frames {
            self.notice(now, &format!("{count} frames more than can be shown"));
        }
    }

    fn report_size(&mut self, now: Duration, message: &Message) {
        if let (true, false, (bytes, true)) = (self.look.frames, self.look.json, self.wire) {
            self.notice(now, &format!("<- {bytes} compressed bytes are {}", message.len()));
        }
    }
}
