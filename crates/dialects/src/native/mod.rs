//! The native protocol, version 1 (`docs/reference/native-protocol.md`).
//!
//! Owns request ids and the form of messages. Rights, limits and the hub are elsewhere.

mod member;
mod read;
mod write;

pub(crate) use read::request;
pub(crate) use write::{Object, shown, write_change, write_event, write_message, write_presence, write_publications};

use crate::dialect::{Commands, Dialect, Incoming, Welcome};
use crate::writer::Writer;
use read::{Frame, Request};
use std::collections::VecDeque;
use switchboard_core::{Command, Disconnect, Event, OpId, Outcome, Reject};

/// One connection's state: the requests that wait for their answer.
#[derive(Debug)]
pub struct Native {
    batch: bool,
    next_op: u64,
    /// Ids as the client wrote them, oldest first; few, and mostly answered in order.
    ids: VecDeque<(OpId, Box<str>)>,
}

/// Publications without an id: answered only if refused.
const QUIET: OpId = OpId(0);

impl Native {
    pub(crate) fn new(batch: bool) -> Self {
        Self { batch, next_op: 1, ids: VecDeque::new() }
    }

    pub(crate) fn batches(&self) -> bool {
        self.batch
    }

    fn name(&mut self, id: Option<&str>, command: &Command) -> OpId {
        if id.is_none() && matches!(command, Command::Publish { .. }) {
            return QUIET;
        }
        // Without an id too: the session tells its operations apart by this.
        let op = OpId(self.next_op);
        self.next_op += 1;
        if let Some(id) = id {
            if self.ids.is_empty() {
                // Most clients wait for one answer at a time, and most connections are idle.
                self.ids.reserve_exact(1);
            }
            self.ids.push_back((op, id.into()));
        }
        op
    }

    fn take_id(&mut self, op: OpId) -> Option<Box<str>> {
        let index = self.ids.iter().position(|(known, _)| *known == op)?;
        let (_, id) = self.ids.remove(index)?;
        if self.ids.is_empty() && self.ids.capacity() > 16 {
            self.ids = VecDeque::new();
        }
        Some(id)
    }

    fn handle(&mut self, request: Request<'_>, commands: &mut Commands, out: &mut Writer<'_>) {
        match request {
            Request::Command { id, command } => {
                let op = self.name(id, &command);
                commands.push((op, command));
            }
            Request::Ping { id } => write::pong(id, out),
            Request::Pong => {}
            Request::Refused { id, reject } => write::error(id, &reject, out),
        }
    }
}

impl Dialect for Native {
    fn open(&mut self, welcome: &Welcome<'_>, _: &mut Commands, out: &mut Writer<'_>) -> Option<Disconnect> {
        write::welcome(welcome, out);
        None
    }

    fn receive(&mut self, message: Incoming<'_>, commands: &mut Commands, out: &mut Writer<'_>) {
        let frame = match message {
            Incoming::Text(text) => read::text(text),
            Incoming::Binary(bytes) => read::binary(bytes),
        };
        match frame {
            Frame::One(request) => self.handle(request, commands, out),
            Frame::Batch(requests) => {
                for raw in requests {
                    self.handle(read::one_of_batch(raw.get()), commands, out);
                }
            }
        }
    }

    fn answer(&mut self, op: OpId, outcome: &Outcome, out: &mut Writer<'_>) -> Option<Disconnect> {
        let id = self.take_id(op);
        match outcome {
            Outcome::Rejected(reject) => write::error(id.as_deref(), reject, out),
            _ if op == QUIET => {}
            outcome => write::ok(id.as_deref(), outcome, out),
        }
        None
    }

    fn on_event(&mut self, event: &Event, out: &mut Writer<'_>) -> Option<Disconnect> {
        write::event(event, out);
        None
    }

    fn on_silence(&mut self, out: &mut Writer<'_>) {
        write::ping(out);
    }

    fn on_disconnect(&mut self, disconnect: &Disconnect, out: &mut Writer<'_>) -> Disconnect {
        write::disconnect(disconnect, out);
        disconnect.clone()
    }

    fn can_refuse(&self) -> bool {
        true
    }
}

/// A refusal of the message's form.
fn refuse(code: switchboard_core::RejectCode, message: impl Into<std::borrow::Cow<'static, str>>) -> Reject {
    Reject::new(code, message)
}
