//! Clients that only listen.

use serde_json::Value;
use switchboard_core::{ChannelName, Payload, Since};
use switchboard_dialects::{Form, Opening, Wanted};
use switchboard_testkit::{Ability, EventReader, Heard, Received, Speech, StreamEvent, Wish};

/// What a client of each form has in common. `FORM` is the place in [`FORMS`].
#[derive(Debug)]
pub(crate) struct Listener<const FORM: usize> {
    channel: String,
    reader: EventReader,
    comments: usize,
}

const FORMS: [Form; 4] = [Form::Data, Form::Messages, Form::Many, Form::Lines];

impl<const FORM: usize> Listener<FORM> {
    fn understand(&self, kind: &str, event: &StreamEvent) -> Heard {
        match kind {
            "subscribed" => {
                let json = event.json();
                Heard::Subscribed {
                    channel: json["channel"].as_str().unwrap().to_owned(),
                    recovered: json["recovered"].as_bool(),
                    users: json["users"]
                        .as_array()
                        .map(|users| users.iter().map(|user| user["user"].as_str().unwrap().to_owned()).collect()),
                }
            }
            "gap" => {
                let json = event.json();
                Heard::Gap(json["to"].as_u64().unwrap() + 1 - json["from"].as_u64().unwrap())
            }
            "join" => Heard::Joined(event.json()["user"].as_str().unwrap().to_owned()),
            "leave" => Heard::Left(event.json()["user"].as_str().unwrap().to_owned()),
            "unsubscribed" => Heard::Unsubscribed,
            "ping" => Heard::Alive,
            "message" | "binary" => message(&event.json()),
            _ => Heard::Other,
        }
    }

    fn hear_event(&mut self, event: &StreamEvent) -> Heard {
        match event.kind.strip_prefix("switchboard:") {
            Some(kind) => self.understand(kind, event),
            None if FORMS[FORM] == Form::Data => {
                // A payload is no more than its text: which kind it was is the publisher's and the reader's to know.
                let payload = Payload::Text(event.data.as_str().into());
                Heard::Message { channel: self.channel.clone(), payload, cached: false }
            }
            None => self.understand("message", event),
        }
    }
}

fn message(json: &Value) -> Heard {
    let payload = match (&json["data"], json["encoding"].as_str()) {
        (Value::String(text), Some("base64")) => {
            use base64::Engine;
            Payload::Binary(base64::engine::general_purpose::STANDARD.decode(text).unwrap().into())
        }
        (Value::String(text), None) => Payload::Text(text.as_str().into()),
        (other, _) => Payload::Json(other.to_string().into()),
    };
    let channel = json["channel"].as_str().unwrap().to_owned();
    Heard::Message { channel, payload, cached: json["cached"].as_bool().unwrap_or(false) }
}

impl<const FORM: usize> Speech for Listener<FORM> {
    const ABILITIES: &'static [Ability] = &[
        Ability::Resume,
        Ability::Recovered,
        Ability::Gap,
        Ability::Presence,
        Ability::Cached,
        Ability::Token,
        Ability::Heartbeat,
    ];

    fn new() -> Self {
        Self { channel: String::new(), reader: EventReader::default(), comments: 0 }
    }

    fn opening(&mut self, wish: &Wish) -> Opening {
        self.channel.clone_from(&wish.channel);
        let wanted = Wanted {
            channels: vec![(ChannelName::parse(&wish.channel).unwrap(), wish.since.map(Since::Position))],
            presence: wish.member.is_some(),
            returns: wish.since.is_some(),
            ..Wanted::default()
        };
        Opening::Listen { form: FORMS[FORM], wanted }
    }

    fn subscribe(&mut self, _: &Wish) -> Vec<Received> {
        Vec::new()
    }

    fn unsubscribe(&mut self, _: &str) -> Vec<Received> {
        unreachable!("it only listens")
    }

    fn publish(&mut self, _: &str, _: &Payload) -> Vec<Received> {
        unreachable!("it only listens")
    }

    fn hear(&mut self, message: &Received) -> Vec<Heard> {
        let Received::Text(piece) = message else { panic!("{message:?} is no text") };
        if FORMS[FORM] == Form::Lines {
            let line = |line: &str| {
                let event = StreamEvent { id: String::new(), kind: String::new(), data: line.to_owned() };
                let kind = event.json()["type"].as_str().unwrap().to_owned();
                self.understand(&kind, &event)
            };
            return piece.lines().map(line).collect();
        }
        let events = self.reader.receive(piece);
        let mut heard: Vec<Heard> = events.iter().map(|event| self.hear_event(event)).collect();
        let alive = self.reader.comments - core::mem::replace(&mut self.comments, self.reader.comments);
        heard.extend((0..alive).map(|_| Heard::Alive));
        heard
    }

    fn arrives(payload: &Payload) -> Payload {
        match (FORMS[FORM], payload) {
            (Form::Data, Payload::Json(text) | Payload::Text(text)) => {
                Payload::Text(text.replace("\r\n", "\n").replace('\r', "\n").into())
            }
            (_, payload) => payload.clone(),
        }
    }

    fn noise() -> Vec<Received> {
        [r#"{"type":"publish","channel":"room:b","data":1}"#, "GET / HTTP/1.1\r\n\r\n", "\n"]
            .map(|text| Received::Text(text.to_owned()))
            .to_vec()
    }
}
