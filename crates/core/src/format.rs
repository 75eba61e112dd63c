//! Wire formats: what makes two subscribers' bytes equal, so that they are made once.

use crate::{ChannelName, PresenceChange, Publication};
use bytes::{Bytes, BytesMut};
use core::fmt::Debug;
use std::sync::Arc;

/// Everything that decides how a publication looks on the wire: two subscribers with the same format get the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WireFormat {
    /// The dialect with its version and options, as the registry of dialects numbers them.
    pub dialect: u8,
    /// How the transport frames the dialect's messages.
    pub framing: FramingId,
}

/// Names a [`Framing`] in the table that the driver gives to the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FramingId(pub u8);

/// The kind of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// UTF-8.
    Text,
    /// Anything.
    Binary,
}

/// Turns a dialect's message into the bytes that a transport carries for it.
pub trait Framing: Debug + Send + Sync {
    /// Appends the framed message to `out`.
    fn frame(&self, kind: FrameKind, payload: &[u8], out: &mut BytesMut);
}

/// Whole framed messages, ready for a socket, shared by all that get them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded(Bytes);

impl Encoded {
    /// From framed bytes.
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Their number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, to look at.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// What a receiver is told of a publication besides what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mark {
    /// Nothing.
    #[default]
    Live,
    /// It stands for so many before it that this receiver did not get.
    Conflated(u32),
    /// It is the channel's cached value, published before the receiver came.
    Cached,
}

/// Makes a format's bytes. The hub calls it at most once for each format and run of publications, however many subscribers there are.
pub trait Encode {
    /// Appends a run of one channel's publications, in order. What is marked is alone in its run.
    fn publications(&mut self, format: WireFormat, publications: &[Arc<Publication>], mark: Mark, out: &mut BytesMut);

    /// Appends a run of one channel's presence changes, in order.
    fn presence(&mut self, format: WireFormat, channel: &ChannelName, changes: &[PresenceChange], out: &mut BytesMut);

    /// Appends how many subscribe to a channel; nothing in formats that cannot express it.
    fn count(&mut self, format: WireFormat, channel: &ChannelName, count: u64, out: &mut BytesMut);
}
