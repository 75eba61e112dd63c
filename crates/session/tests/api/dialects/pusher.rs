//! How clients of Pusher Channels speak. The application that signs for them is the test's directory.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use switchboard_core::Payload;
use switchboard_dialects::Opening;
use switchboard_testkit::{Ability, Heard, Received, Speech, Use, Wish};

#[derive(Debug)]
pub(crate) struct Pusher {
    socket_id: String,
}

impl Pusher {
    fn send(event: &str, channel: Option<&str>, data: &Value) -> Vec<Received> {
        let mut message = json!({"event": event, "data": data});
        if let Some(channel) = channel {
            message["channel"] = json!(channel);
        }
        vec![Received::Text(message.to_string())]
    }
}

impl Speech for Pusher {
    const ABILITIES: &'static [Ability] = &[
        Ability::Publish,
        Ability::Refuse,
        Ability::Several,
        Ability::Unsubscribe,
        Ability::Presence,
        Ability::Cached,
        Ability::Heartbeat,
    ];

    fn new() -> Self {
        Self { socket_id: String::new() }
    }

    fn opening(&mut self, _: &Wish) -> Opening {
        Opening::Pusher { refused: None }
    }

    fn subscribe(&mut self, wish: &Wish) -> Vec<Received> {
        let mut data = json!({"channel": wish.channel});
        if wish.channel.starts_with("private-") || wish.channel.starts_with("presence-") {
            let mut signed = format!("{}:{}", self.socket_id, wish.channel);
            if let Some(member) = wish.member {
                let who = json!({"user_id": member}).to_string();
                signed = format!("{signed}:{who}");
                data["channel_data"] = json!(who);
            }
            data["auth"] = json!(format!("app:[{signed}]"));
        }
        Self::send("pusher:subscribe", None, &data)
    }

    fn unsubscribe(&mut self, channel: &str) -> Vec<Received> {
        Self::send("pusher:unsubscribe", None, &json!({"channel": channel}))
    }

    fn publish(&mut self, channel: &str, payload: &Payload) -> Vec<Received> {
        let data = match payload {
            Payload::Json(text) => serde_json::from_str(text).unwrap(),
            Payload::Text(text) => json!(&**text),
            Payload::Binary(_) => unreachable!("clients have no bytes"),
        };
        Self::send("client-said", Some(channel), &data)
    }

    fn hear(&mut self, message: &Received) -> Vec<Heard> {
        let message = message.json();
        let data = message["data"].as_str().unwrap();
        let inner = || serde_json::from_str::<Value>(data).unwrap();
        let channel = message["channel"].as_str().unwrap_or_default().to_owned();
        vec![match message["event"].as_str().unwrap() {
            "pusher:connection_established" => {
                self.socket_id = inner()["socket_id"].as_str().unwrap().to_owned();
                Heard::Other
            }
            "pusher_internal:subscription_succeeded" => {
                let ids = inner()["presence"]["ids"].as_array().cloned();
                let users = ids.map(|ids| ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect());
                Heard::Subscribed { channel, recovered: None, users }
            }
            "pusher:subscription_error" | "pusher:error" => Heard::Refused,
            "pusher_internal:member_added" => Heard::Joined(inner()["user_id"].as_str().unwrap().to_owned()),
            "pusher_internal:member_removed" => Heard::Left(inner()["user_id"].as_str().unwrap().to_owned()),
            "pusher:ping" => Heard::Alive,
            name if name.starts_with("pusher") => Heard::Other,
            _ => Heard::Message { channel, payload: content(data, message["encoding"].as_str()), cached: false },
        }]
    }

    fn channel(wanted: Use) -> &'static str {
        match wanted {
            Use::Listening => "room-a",
            Use::Other => "room-b",
            Use::Speaking => "private-room",
            Use::Presence => "presence-room",
            Use::Cached => "cache-room",
        }
    }

    fn noise() -> Vec<Received> {
        let texts = [
            "",
            "{}",
            "[]",
            r#"{"event":"pusher:subscribe"}"#,
            r#"{"event":"pusher:subscribe","data":{"channel":"presence-x","auth":"app:1","channel_data":"{\"user_id\":{}}"}}"#,
            r#"{"event":"pusher:subscribe","data":"{\"channel\":\"room-a\"}"}"#,
            r#"{"event":"pusher:signin","data":{"auth":"app:1","user_data":"[]"}}"#,
            r#"{"event":"client-x\r\n","channel":"room-a","data":[[[[]]]]}"#,
            r#"{"event":"client-","channel":"private-a","data":"{"}"#,
            r#"{"event":"pusher_internal:member_added","channel":"room-a","data":{}}"#,
            r#"{"event":"pusher:ping","data":7}"#,
        ];
        let deep = format!(r#"{{"event":"client-x","channel":"private-a","data":{}}}"#, "[".repeat(5_000));
        let binary = Received::Binary(b"\0\xff".to_vec());
        texts.map(str::to_owned).into_iter().chain([deep]).map(Received::Text).chain([binary]).collect()
    }
}

/// As Pusher's libraries read it: JSON if it is JSON, else text.
fn content(data: &str, encoding: Option<&str>) -> Payload {
    match (encoding, serde_json::from_str::<Value>(data)) {
        (Some("base64"), _) => Payload::Binary(STANDARD.decode(data).unwrap().into()),
        (_, Ok(Value::String(text))) => Payload::Text(text.as_str().into()),
        (_, Ok(_)) => Payload::Json(data.into()),
        (_, Err(_)) => Payload::Text(data.into()),
    }
}
