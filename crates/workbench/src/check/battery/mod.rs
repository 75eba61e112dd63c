//! The checks, group by group.

mod close;
mod compression;
mod control;
mod fragments;
mod framing;
mod handshake;
mod limits;
mod utf8;

use super::script::{Check, Step, Want};
use bytes::Bytes;
use switchboard_ws_proto::Opcode;

/// All checks, in the order in which they are best read.
pub fn battery() -> Vec<Check> {
    [
        handshake::checks(),
        framing::checks(),
        fragments::checks(),
        utf8::checks(),
        control::checks(),
        close::checks(),
        limits::checks(),
        compression::checks(),
    ]
    .concat()
}

/// A connection is open, these bytes are sent, and this is wanted.
fn send(bytes: Bytes, want: Want) -> Vec<Step> {
    vec![Step::Open, Step::Send(bytes), Step::Want(want)]
}

fn echo(opcode: Opcode, payload: impl Into<Bytes>) -> Want {
    Want::Echo(opcode, payload.into())
}

/// Text that can be told apart at any place.
fn letters(length: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(length).collect()
}
