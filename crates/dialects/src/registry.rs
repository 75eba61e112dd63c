//! The one place that names the dialects.

use crate::dialect::{Commands, Dialect, Incoming, Welcome};
use crate::listen::{self, Form, Listener, Poll, Post, PostKind, Wanted};
use crate::native::{self, Native};
use crate::pusher::{self, Pusher};
use crate::raw::{self, Raw};
use crate::writer::Writer;
use bytes::Bytes;
use core::time::Duration;
use std::collections::VecDeque;
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
    /// A stream of events (`docs/reference/sse.md`) or lines (`docs/reference/http-clients.md`).
    Listen {
        /// How it looks.
        form: Form,
        /// To what the client listens.
        wanted: Wanted,
    },
    /// One poll (`docs/reference/http-clients.md`).
    Poll {
        /// To what the client listens.
        wanted: Wanted,
        /// Messages in the answer at most.
        messages_max: usize,
        /// How long it waits for the first.
        wait: Duration,
    },
    /// One request (`docs/reference/http-clients.md`).
    Post {
        /// What it asks for.
        kind: PostKind,
    },
}

/// A dialect, whichever it is. Those of WebSockets, of which there are many at a time, decide how much room it takes.
#[derive(Debug)]
pub enum AnyDialect {
    /// The native protocol.
    Native(Native),
    /// Raw messages.
    Raw(Raw),
    /// Pusher Channels.
    Pusher(Pusher),
    /// A stream of events or lines.
    Listen(Box<Listener>),
    /// A poll.
    Poll(Box<Poll>),
    /// A request.
    Post(Box<Post>),
}

/// How publications are written: a dialect has one such format, or one for each of its options that changes the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Native,
    NativeBatch,
    Raw,
    Pusher,
    Listen(Form),
    Poll,
}

impl Format {
    /// The place of a format is its number.
    const ALL: [Self; 9] = [
        Self::Native,
        Self::NativeBatch,
        Self::Raw,
        Self::Pusher,
        Self::Listen(Form::Data),
        Self::Listen(Form::Messages),
        Self::Listen(Form::Many),
        Self::Listen(Form::Lines),
        Self::Poll,
    ];

    const fn number(self) -> u8 {
        match self {
            Self::Native => 0,
            Self::NativeBatch => 1,
            Self::Raw => 2,
            Self::Pusher => 3,
            Self::Listen(Form::Data) => 4,
            Self::Listen(Form::Messages) => 5,
            Self::Listen(Form::Many) => 6,
            Self::Listen(Form::Lines) => 7,
            Self::Poll => 8,
        }
    }

    /// `None` for a number that nobody has given.
    fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl AnyDialect {
    /// The names of the dialects, for metrics.
    pub const NAMES: [&str; 7] = ["native", "raw", "pusher", "sse", "stream", "poll", "post"];

    /// Begins a dialect.
    pub fn new(opening: Opening) -> Self {
        match opening {
            Opening::Native { batch } => Self::Native(Native::new(batch)),
            Opening::Raw { channel, since, echo } => Self::Raw(Raw::new(channel, since, echo)),
            Opening::Pusher { refused } => Self::Pusher(Pusher::new(refused)),
            Opening::Listen { form, wanted } => Self::Listen(Box::new(Listener::new(form, wanted))),
            Opening::Poll { wanted, messages_max, wait } => Self::Poll(Box::new(Poll::new(wanted, messages_max, wait))),
            Opening::Post { kind } => Self::Post(Box::new(Post::new(kind))),
        }
    }

    /// The number of its wire format, for [`write_publications`].
    pub fn format(&self) -> u8 {
        let format = match self {
            Self::Native(native) if native.batches() => Format::NativeBatch,
            Self::Native(_) => Format::Native,
            Self::Raw(_) => Format::Raw,
            Self::Pusher(_) => Format::Pusher,
            Self::Listen(listener) => Format::Listen(listener.form()),
            // A request gets no publications.
            Self::Poll(_) | Self::Post(_) => Format::Poll,
        };
        format.number()
    }

    /// Its place in [`AnyDialect::NAMES`].
    pub fn kind(&self) -> usize {
        match self {
            Self::Native(_) => 0,
            Self::Raw(_) => 1,
            Self::Pusher(_) => 2,
            Self::Listen(listener) if listener.form() != Form::Lines => 3,
            Self::Listen(_) => 4,
            Self::Poll(_) => 5,
            Self::Post(_) => 6,
        }
    }
}

/// Writes a run of one channel's publications in a format. What is marked is alone in its run.
pub fn write_publications(format: u8, publications: &[Arc<Publication>], mark: Mark, out: &mut Writer<'_>) {
    match Format::of(format) {
        Some(Format::Native) => native::write_publications(publications, mark, false, out),
        Some(Format::NativeBatch) => native::write_publications(publications, mark, true, out),
        Some(Format::Raw) => raw::write_publications(publications, out),
        Some(Format::Pusher) => pusher::write_publications(publications, out),
        Some(Format::Listen(form)) => listen::write_publications(form, publications, mark, out),
        Some(Format::Poll) => listen::write_polled(publications, mark, out),
        None => {}
    }
}

/// Writes a run of one channel's presence changes in a format. Formats that cannot express them write nothing.
pub fn write_presence(format: u8, channel: &ChannelName, changes: &[PresenceChange], out: &mut Writer<'_>) {
    match Format::of(format) {
        Some(Format::Native | Format::NativeBatch) => native::write_presence(channel, changes, out),
        Some(Format::Pusher) => pusher::write_presence(channel, changes, out),
        Some(Format::Listen(form)) => listen::write_presence(form, channel, changes, out),
        Some(Format::Raw | Format::Poll) | None => {}
    }
}

/// Writes how many subscribe to a channel in a format. Formats that cannot express it write nothing.
pub fn write_count(format: u8, channel: &ChannelName, count: u64, out: &mut Writer<'_>) {
    match Format::of(format) {
        Some(Format::Pusher) => pusher::write_count(channel, count, out),
        Some(Format::Native | Format::NativeBatch | Format::Raw | Format::Listen(_) | Format::Poll) | None => {}
    }
}

/// What the channels begin with for which a dialect, by its [name](AnyDialect::NAMES), has signatures.
pub fn signed_prefixes(dialect: &str) -> &'static [&'static str] {
    match dialect {
        "pusher" => &pusher::SIGNED_PREFIXES,
        _ => &[],
    }
}

macro_rules! each {
    ($self:ident, $dialect:ident => $call:expr) => {
        match $self {
            AnyDialect::Native($dialect) => $call,
            AnyDialect::Raw($dialect) => $call,
            AnyDialect::Pusher($dialect) => $call,
            AnyDialect::Listen($dialect) => $call,
            AnyDialect::Poll($dialect) => $call,
            AnyDialect::Post($dialect) => $call,
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

    fn transmit(&mut self, block: Bytes, out: &mut VecDeque<Bytes>) -> Option<Disconnect> {
        each!(self, dialect => dialect.transmit(block, out))
    }

    fn finish(&mut self, out: &mut VecDeque<Bytes>) -> Option<Disconnect> {
        each!(self, dialect => dialect.finish(out))
    }

    fn patience(&self) -> Option<Duration> {
        each!(self, dialect => dialect.patience())
    }

    fn is_present(&self) -> bool {
        each!(self, dialect => dialect.is_present())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_dialect_has_its_own_name() {
        let wanted = Wanted::default;
        let openings = [
            (Opening::Native { batch: false }, "native"),
            (Opening::Raw { channel: ChannelName::parse("a").unwrap(), since: None, echo: true }, "raw"),
            (Opening::Pusher { refused: None }, "pusher"),
            (Opening::Listen { form: Form::Many, wanted: wanted() }, "sse"),
            (Opening::Listen { form: Form::Lines, wanted: wanted() }, "stream"),
            (Opening::Poll { wanted: wanted(), messages_max: 1, wait: Duration::ZERO }, "poll"),
            (Opening::Post { kind: PostKind::Publish }, "post"),
        ];
        let names =
            openings.map(|(opening, name)| (AnyDialect::NAMES.get(AnyDialect::new(opening).kind()).copied(), name));
        assert_eq!(names.len(), AnyDialect::NAMES.len());
        for (found, name) in names {
            assert_eq!(found, Some(name));
        }
    }

    #[test]
    fn a_format_is_found_by_its_number() {
        for (place, format) in Format::ALL.into_iter().enumerate() {
            assert_eq!((usize::from(format.number()), Format::of(format.number())), (place, Some(format)));
        }
        assert_eq!(Format::of(9), None);
    }
}
