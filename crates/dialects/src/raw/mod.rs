//! The raw dialect: a connection is a channel, a message is a payload (`docs/reference/raw.md`).
//!
//! It has no words for anything else: a refusal ends the connection, a gap cannot be told.

use crate::dialect::{Commands, Dialect, Incoming, Welcome};
use crate::writer::Writer;
use bytes::Bytes;
use std::sync::Arc;
use switchboard_core::{
    ChannelName, Command, Disconnect, Event, FrameKind, OpId, Outcome, Payload, Publication, Publish, RejectCode, Since,
};

/// One raw connection.
#[derive(Debug)]
pub struct Raw {
    channel: ChannelName,
    since: Option<Since>,
    echo: bool,
}

/// Outcomes are told by ending the connection or not at all, so one name serves all operations.
const OP: OpId = OpId(0);

impl Raw {
    pub(crate) fn new(channel: ChannelName, since: Option<Since>, echo: bool) -> Self {
        Self { channel, since, echo }
    }
}

impl Dialect for Raw {
    fn open(&mut self, _: &Welcome<'_>, commands: &mut Commands, _: &mut Writer<'_>) -> Option<Disconnect> {
        let (channel, since) = (self.channel.clone(), self.since.take());
        commands.push((OP, Command::Subscribe { channel, since, presence: false, rate: 0, cached: false }));
        None
    }

    fn receive(&mut self, message: Incoming<'_>, commands: &mut Commands, _: &mut Writer<'_>) {
        let payload = match message {
            Incoming::Text(text) => Payload::Text(text.into()),
            Incoming::Binary(bytes) => Payload::Binary(Bytes::copy_from_slice(bytes)),
        };
        let publish = Publish::new(payload);
        commands.push((OP, Command::Publish { channel: self.channel.clone(), publish, exclude_self: !self.echo }));
    }

    fn answer(&mut self, _: OpId, outcome: &Outcome, _: &mut Writer<'_>) -> Option<Disconnect> {
        match outcome {
            Outcome::Rejected(reject) => Some(Disconnect::refused(reject.message.clone())),
            _ => None,
        }
    }

    fn on_event(&mut self, event: &Event, _: &mut Writer<'_>) -> Option<Disconnect> {
        match event {
            Event::Unsubscribed { code: RejectCode::Removed, .. } => Some(Disconnect::BY_APPLICATION),
            Event::Unsubscribed { .. } => Some(Disconnect::refused("the right to subscribe has ended".into())),
            Event::CaughtUp { .. } | Event::Gap { .. } | Event::Signal(_) | Event::TokenExpiring { .. } => None,
        }
    }

    fn on_silence(&mut self, _: &mut Writer<'_>) {}

    fn on_disconnect(&mut self, disconnect: &Disconnect, _: &mut Writer<'_>) -> Disconnect {
        disconnect.clone()
    }

    fn can_refuse(&self) -> bool {
        false
    }
}

/// Payloads as they are: JSON as its text, text as text, bytes as bytes.
pub(crate) fn write_publications(publications: &[Arc<Publication>], out: &mut Writer<'_>) {
    for publication in publications {
        match &publication.payload {
            Payload::Json(text) | Payload::Text(text) => out.message(FrameKind::Text, text.as_bytes()),
            Payload::Binary(bytes) => out.message(FrameKind::Binary, bytes),
        }
    }
}
