//! The contract between a session and the protocol that its client speaks.

use crate::writer::Writer;
use bytes::Bytes;
use core::time::Duration;
use std::collections::VecDeque;
use switchboard_core::{Command, Disconnect, Event, Limits, OpId, Outcome, SessionId, UserId};

/// Requests that a message held, in order, each with the name under which it will be answered.
pub type Commands = Vec<(OpId, Command)>;

/// One whole message from the client.
#[derive(Clone, Copy, Debug)]
pub enum Incoming<'a> {
    /// UTF-8.
    Text(&'a str),
    /// Anything.
    Binary(&'a [u8]),
}

/// What a client is told first.
#[derive(Clone, Copy, Debug)]
pub struct Welcome<'a> {
    /// The session.
    pub session: SessionId,
    /// Who the client is; absent as long as it must authenticate.
    pub user: Option<&'a UserId>,
    /// The limits that hold for it.
    pub limits: &'a Limits,
    /// The largest message that it may send now.
    pub message_bytes: usize,
    /// How long the server is silent at most.
    pub heartbeat: Duration,
}

/// A protocol, as seen by the session that it serves.
///
/// Input becomes commands; outcomes, events and heartbeats become output. Nothing here waits or fails: what the client did wrong is told to the client.
pub trait Dialect {
    /// The connection is open. Returns how it ends if the protocol refuses its clients only now.
    #[must_use]
    fn open(&mut self, welcome: &Welcome<'_>, commands: &mut Commands, out: &mut Writer<'_>) -> Option<Disconnect>;

    /// A message came. Requests go to `commands`; what can be answered without the hub is answered at once.
    fn receive(&mut self, message: Incoming<'_>, commands: &mut Commands, out: &mut Writer<'_>);

    /// A request is answered. Returns how the connection ends if the protocol cannot go on after it.
    #[must_use]
    fn answer(&mut self, op: OpId, outcome: &Outcome, out: &mut Writer<'_>) -> Option<Disconnect>;

    /// Something happened. Returns how the connection ends if it does not survive that.
    #[must_use]
    fn on_event(&mut self, event: &Event, out: &mut Writer<'_>) -> Option<Disconnect>;

    /// Nothing was sent for the length of a heartbeat.
    fn on_silence(&mut self, out: &mut Writer<'_>);

    /// The connection is about to end. Returns how the transport shall close it after this output, in the protocol's own codes.
    #[must_use]
    fn on_disconnect(&mut self, disconnect: &Disconnect, out: &mut Writer<'_>) -> Disconnect;

    /// Whether a single request can be refused. Where it cannot, a client that sends too fast is read more slowly.
    fn can_refuse(&self) -> bool;

    /// Whether a client can show a token once it is connected. Where it cannot, it is a guest until then for ever, with what guests may do.
    fn can_authenticate(&self) -> bool {
        true
    }

    /// Bytes that were queued for this client go out, in their order: a block of publications that it shares with others, or what this dialect wrote. Returns how
    /// the connection ends if it does after this output; the rest is not sent.
    #[must_use]
    fn transmit(&mut self, block: Bytes, out: &mut VecDeque<Bytes>) -> Option<Disconnect> {
        out.push_back(block);
        None
    }

    /// Nothing more is queued for now. As [`transmit`](Self::transmit).
    #[must_use]
    fn finish(&mut self, _: &mut VecDeque<Bytes>) -> Option<Disconnect> {
        None
    }

    /// How long the client stays at most; `None` as long as it likes.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Whether presence counts it.
    fn is_present(&self) -> bool {
        true
    }
}
