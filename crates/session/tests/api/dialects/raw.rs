//! How raw clients speak: by coming and by what they send, and by nothing else.

use switchboard_core::{ChannelName, Payload, Since};
use switchboard_dialects::Opening;
use switchboard_testkit::{Ability, Heard, Received, Speech, Wish};

#[derive(Debug)]
pub(crate) struct Raw {
    channel: String,
}

impl Speech for Raw {
    const ABILITIES: &'static [Ability] =
        &[Ability::Publish, Ability::Echo, Ability::Resume, Ability::Cached, Ability::Token];

    fn new() -> Self {
        Self { channel: String::new() }
    }

    fn opening(&mut self, wish: &Wish) -> Opening {
        self.channel.clone_from(&wish.channel);
        let channel = ChannelName::parse(&wish.channel).unwrap();
        Opening::Raw { channel, since: wish.since.map(Since::Position), echo: true }
    }

    fn subscribe(&mut self, _: &Wish) -> Vec<Received> {
        Vec::new()
    }

    fn unsubscribe(&mut self, _: &str) -> Vec<Received> {
        unreachable!("a connection is a channel")
    }

    fn publish(&mut self, _: &str, payload: &Payload) -> Vec<Received> {
        vec![match payload {
            Payload::Json(text) | Payload::Text(text) => Received::Text((**text).to_owned()),
            Payload::Binary(bytes) => Received::Binary(bytes.to_vec()),
        }]
    }

    fn hear(&mut self, message: &Received) -> Vec<Heard> {
        let payload = match message {
            Received::Text(text) => Payload::Text(text.as_str().into()),
            Received::Binary(bytes) => Payload::Binary(bytes.clone().into()),
        };
        vec![Heard::Message { channel: self.channel.clone(), payload, cached: false }]
    }

    /// JSON is its text.
    fn arrives(payload: &Payload) -> Payload {
        match payload {
            Payload::Json(text) => Payload::Text(text.clone()),
            other => other.clone(),
        }
    }

    /// Every message means itself.
    fn noise() -> Vec<Received> {
        vec![Received::Text("noise".to_owned()), Received::Text(String::new()), Received::Binary(vec![0, 255])]
    }
}
