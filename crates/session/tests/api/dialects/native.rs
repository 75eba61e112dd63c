//! How clients of the native protocol speak.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use switchboard_core::Payload;
use switchboard_dialects::Opening;
use switchboard_testkit::{Ability, Heard, Received, Speech, Wish};

#[derive(Debug)]
pub(crate) struct Native;

/// The same for clients that take several publications in one frame.
#[derive(Debug)]
pub(crate) struct Batching(Native);

const ABILITIES: &[Ability] = &[
    Ability::Publish,
    Ability::Echo,
    Ability::Acknowledge,
    Ability::Refuse,
    Ability::Several,
    Ability::Unsubscribe,
    Ability::Resume,
    Ability::Recovered,
    Ability::Gap,
    Ability::Presence,
    Ability::Cached,
    Ability::Token,
    Ability::Heartbeat,
];

impl Speech for Native {
    const ABILITIES: &'static [Ability] = ABILITIES;

    fn new() -> Self {
        Self
    }

    fn opening(&mut self, _: &Wish) -> Opening {
        Opening::Native { batch: false }
    }

    fn subscribe(&mut self, wish: &Wish) -> Vec<Received> {
        let mut request = json!({"type": "subscribe", "id": "subscribe", "channel": wish.channel});
        if let Some(since) = wish.since {
            request["since"] = json!({"epoch": since.epoch.to_string(), "offset": since.offset});
        }
        if wish.member.is_some() {
            request["presence"] = json!(true);
        }
        vec![Received::Text(request.to_string())]
    }

    fn unsubscribe(&mut self, channel: &str) -> Vec<Received> {
        let request = json!({"type": "unsubscribe", "id": "unsubscribe", "channel": channel});
        vec![Received::Text(request.to_string())]
    }

    fn publish(&mut self, channel: &str, payload: &Payload) -> Vec<Received> {
        let header = json!({"type": "publish", "id": "publish", "channel": channel});
        vec![match payload {
            Payload::Json(text) => {
                let mut request = header;
                request["data"] = serde_json::from_str(text).unwrap();
                Received::Text(request.to_string())
            }
            Payload::Text(text) => {
                let mut request = header;
                request["data"] = json!(&**text);
                Received::Text(request.to_string())
            }
            Payload::Binary(bytes) => {
                let header = header.to_string();
                let mut frame = u16::try_from(header.len()).unwrap().to_be_bytes().to_vec();
                frame.extend_from_slice(header.as_bytes());
                frame.extend_from_slice(bytes);
                Received::Binary(frame)
            }
        }]
    }

    fn hear(&mut self, message: &Received) -> Vec<Heard> {
        match message {
            Received::Text(_) => understand(&message.json(), None),
            Received::Binary(frame) => {
                let (length, rest) = frame.split_first_chunk::<2>().unwrap();
                let (header, payload) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
                understand(&serde_json::from_slice(header).unwrap(), Some(payload))
            }
        }
    }

    fn noise() -> Vec<Received> {
        let texts = [
            "",
            "{}",
            "[]",
            "null",
            r#"{"type":"subscribe"}"#,
            r#"{"type":"subscribe","channel":"room:a","since":{"epoch":"x","offset":-1}}"#,
            r#"{"type":"publish","channel":"room:a","data":{"a":[1,2]},"event":"e","key":"k","if_position":{"epoch":"e1","offset":0}}"#,
            r#"{"type":"unsubscribe","pattern":"a/+/#"}"#,
            r#"{"type":"batch","messages":[{"type":"ping"},{"type":"presence","channel":"room:a"},{"type":"batch","messages":[]}]}"#,
            r#"{"type":"history","channel":"room:a","limit":10,"before":{"epoch":"e1","offset":3}}"#,
            r#"{"type":"authenticate","token":"x"}"#,
        ];
        let frames: [&[u8]; 4] = [b"", b"\0", b"\xff\xff{}", b"\0\x02{}payload"];
        let deep = format!(r#"{{"type":"publish","channel":"room:a","data":{}}}"#, "[".repeat(5_000));
        texts
            .map(str::to_owned)
            .into_iter()
            .chain([deep])
            .map(Received::Text)
            .chain(frames.map(|frame| Received::Binary(frame.to_vec())))
            .collect()
    }
}

impl Speech for Batching {
    const ABILITIES: &'static [Ability] = ABILITIES;

    fn new() -> Self {
        Self(Native)
    }

    fn opening(&mut self, _: &Wish) -> Opening {
        Opening::Native { batch: true }
    }

    fn subscribe(&mut self, wish: &Wish) -> Vec<Received> {
        self.0.subscribe(wish)
    }

    fn unsubscribe(&mut self, channel: &str) -> Vec<Received> {
        self.0.unsubscribe(channel)
    }

    fn publish(&mut self, channel: &str, payload: &Payload) -> Vec<Received> {
        self.0.publish(channel, payload)
    }

    fn hear(&mut self, message: &Received) -> Vec<Heard> {
        self.0.hear(message)
    }

    fn noise() -> Vec<Received> {
        Native::noise()
    }
}

fn understand(message: &Value, payload: Option<&[u8]>) -> Vec<Heard> {
    let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
    vec![match (message["type"].as_str().unwrap(), message["id"].as_str()) {
        ("batch", _) => {
            let messages = message["messages"].as_array().unwrap();
            return messages.iter().flat_map(|message| understand(message, None)).collect();
        }
        ("ok", Some("subscribe")) => Heard::Subscribed {
            channel: text("channel"),
            recovered: message["recovered"].as_bool(),
            users: message["users"].as_array().map(|users| users.iter().map(|user| name(&user["user"])).collect()),
        },
        ("ok", Some("publish")) => Heard::Acknowledged,
        ("ok", Some("unsubscribe")) | ("unsubscribed", _) => Heard::Unsubscribed,
        ("error", _) => Heard::Refused,
        ("message", _) => Heard::Message {
            channel: text("channel"),
            payload: payload.map_or_else(|| content(message), |bytes| Payload::Binary(bytes.to_vec().into())),
            cached: message["cached"] == json!(true),
        },
        ("gap", _) => Heard::Gap(message["to"].as_u64().unwrap() - message["from"].as_u64().unwrap() + 1),
        ("join", _) => Heard::Joined(text("user")),
        ("leave", _) => Heard::Left(text("user")),
        ("ping", _) => Heard::Alive,
        _ => Heard::Other,
    }]
}

fn content(message: &Value) -> Payload {
    match (&message["data"], message["encoding"].as_str()) {
        (Value::String(text), Some("base64")) => Payload::Binary(STANDARD.decode(text).unwrap().into()),
        (Value::String(text), _) => Payload::Text(text.as_str().into()),
        (data, _) => Payload::Json(data.to_string().as_str().into()),
    }
}

fn name(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
