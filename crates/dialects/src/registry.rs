//! The one place that names the dialects.

use crate::dialect::{Commands, Dialect, Incoming, Welcome};
use crate::native::{self, Native};
use crate::pusher::{self, Pusher};
use crate::raw::{self, Raw};
use crate::writer::Writer;
use std::sync::Arc;
use switchboard_core::{ChannelName, Disconnect, Event, Mark, OpId, Outcome, PresenceChange, Publication, Since};

/// Which dialect a connection speaks, and with which options, as its address and headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The native protocol (`docs/reference/native-protocol.md`).
    Native {
        /// Several waiting publications may come in one frame.
        batch: bool,
    },
    /// Whole messages of one channel, unwrapped (`docs/reference/raw.md`).
    Raw {
        /// The channel that the connection consists of.
        channel: ChannelName,
        /// Where the client was when it left.
        since: Option<Since>,
        /// Whether what the client sends comes back to it.
        echo: bool,
    },
    /// Pusher Channels (`docs/reference/pusher.md`).
    Pusher {
        /// Why the connection ends at once, if it does.
        refused: Option<pusher::Refused>,
    },
}

/// A dialect, whichever it is.
#[derive(Debug)]
pub enum AnyDialect {
    /// The native protocol.
    Native(Native),
    /// Raw messages.
    Raw(Raw),
    /// Pusher Channels.
    Pusher(Pusher),
}

/// Numbers of the wire formats' dialects. `NAMES` follows them.
const NATIVE: u8 = 0;
const NATIVE_BATCH: u8 = 1;
const RAW: u8 = 2;
const PUSHER: u8 = 3;

impl AnyDialect {
    /// The names of the dialects, for metrics.
    pub const NAMES: [&str; 3] = ["native", "raw", "pusher"];

    /// Begins a dialect.
    pub fn new(opening: Opening) -> Self {
        match opening {
            Opening::Native { batch } => Self::Native(Native::new(batch)),
            Opening::Raw { channel, since, echo } => Self::Raw(Raw::new(channel, since, echo)),
            Opening::Pusher { refused } => Self::Pusher(Pusher::new(refused)),
        }
    }

    /// The number of its wire format, for [`write_publications`].
    pub fn format(&self) -> u8 {
        match self {
            Self::Native(native) if native.batches() => NATIVE_BATCH,
            Self::Native(_) => NATIVE,
            Self::Raw(_) => RAW,
            Self::Pusher(_) => PUSHER,
        }
    }

    /// Its place in [`AnyDialect::NAMES`].
    pub fn kind(&self) -> usize {
        match self {
            Self::Native(_) => 0,
            Self::Raw(_) => 1,
            Self::Pusher(_) => 2,
        }
    }
}

/// Writes a run of one channel's publications in a format. What is marked is alone in its run.
pub fn write_publications(format: u8, publications: &[Arc<Publication>], mark: Mark, out: &mut Writer<'_>) {
    match format {
        RAW => raw::write_publications(publications, out),
        PUSHER => pusher::write_publications(publications, out),
        format => native::write_publications(publications, mark, format == NATIVE_BATCH, out),
    }
}

/// Writes a run of one channel's presence changes in a format. Formats that cannot express them write nothing.
pub fn write_presence(format: u8, channel: &ChannelName, changes: &[PresenceChange], out: &mut Writer<'_>) {
    match format {
        RAW => {}
        PUSHER => pusher::write_presence(channel, changes, out),
        _ => native::write_presence(channel, changes, out),
    }
}

/// Writes how many subscribe to a channel in a format. Formats that cannot express it write nothing.
pub fn write_count(format: u8, channel: &ChannelName, count: u64, out: &mut Writer<'_>) {
    if format == PUSHER {
        pusher::write_count(channel, count, out);
    }
}

macro_rules! each {
    ($self:ident, $dialect:ident => $call:expr) => {
        match $self {
            AnyDialect::Native($dialect) => $call,
            AnyDialect::Raw($dialect) => $call,
            AnyDialect::Pusher($dialect) => $call,
        }
    };
}

impl Dialect for AnyDialect {
    fn open(&mut self, welcome: &Welcome<'_>, commands: &mut Commands, out: &mut Writer<'_>) -> Option<Disconnect> {
        each!(self, dialect => dialect.open(welcome, commands, out))
    }

    fn receive(&mut self, message: Incoming<'_>, commands: &mut Commands, out: &mut Writer<'_>) {
        each!(self, dialect => dialect.receive(message, commands, out));
    }

    fn answer(&mut self, op: OpId, outcome: &Outcome, out: &mut Writer<'_>) -> Option<Disconnect> {
        each!(self, dialect => dialect.answer(op, outcome, out))
    }

    fn on_event(&mut self, event: &Event, out: &mut Writer<'_>) -> Option<Disconnect> {
        each!(self, dialect => dialect.on_event(event, out))
    }

    fn on_silence(&mut self, out: &mut Writer<'_>) {
        each!(self, dialect => dialect.on_silence(out));
    }

    fn on_disconnect(&mut self, disconnect: &Disconnect, out: &mut Writer<'_>) -> Disconnect {
        each!(self, dialect => dialect.on_disconnect(disconnect, out))
    }

    fn can_refuse(&self) -> bool {
        each!(self, dialect => dialect.can_refuse())
    }

    fn can_authenticate(&self) -> bool {
        each!(self, dialect => dialect.can_authenticate())
    }
}
