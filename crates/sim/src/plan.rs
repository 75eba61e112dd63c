//! What a seed stands for: a node, how bad its world is, and what its clients will try to do.
//!
//! Everything is [drawn](crate::draw) before the run begins, so that a step can be left out and the others stay what they were.

use crate::listening::Look;
use crate::pipe::Latency;
use crate::rights::Token;
use core::time::Duration;
use std::sync::Arc;
use switchboard_core::{App, CacheRequest, Time};
use switchboard_hub::Portions;
use switchboard_store::Fsync;

/// A whole run, before it has begun.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// The node and its world.
    pub setup: Setup,
    /// What is tried, in order.
    pub steps: Vec<Step>,
}

/// The node and its world.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Event loops.
    pub shards: u16,
    /// Applications; the channels of both have the same names.
    pub apps: Vec<Arc<App>>,
    /// Channels of each application that are named `a:…` (the first half) or `b:…`, each second one with a level more. Behind them come those of [`SIGNED`].
    pub channels: usize,
    /// Clients, one connection each at a time.
    pub clients: usize,
    /// What clients may show.
    pub tokens: Vec<Token>,
    /// Deliveries on the way to another shard, in bytes.
    pub mailbox_bytes: usize,
    /// Batches of mail on the way to another shard.
    pub mail_batches: usize,
    /// How much a shard does at once.
    pub portions: Portions,
    /// Reading client to server and back.
    pub wire: Latency,
    /// Reading shard to shard.
    pub mail: Latency,
    /// Reading the first input of a turn to its end.
    pub turn: Latency,
    /// Bytes of one direction of a connection that the kernels hold.
    pub socket_bytes: usize,
    /// History of all channels of a shard, in bytes.
    pub history_bytes_max: usize,
    /// When the history is synced, if it is on a disk.
    pub fsync: Option<Fsync>,
    /// Bytes after which the journal begins another file.
    pub segment_bytes: usize,
    /// How long a batch of the journal takes.
    pub disk: Latency,
    /// Batches of requests on the way to the journal.
    pub store_batches: usize,
    /// Publications of a shard on their way to the journal, in bytes.
    pub asked_bytes_max: usize,
}

/// Something that is tried.
#[derive(Clone, Debug)]
pub struct Step {
    /// After the step before it.
    pub after: Duration,
    /// Who tries.
    pub client: usize,
    /// What.
    pub action: Action,
}

/// What a client, the application or fate does. What does not apply at its moment is left out.
#[derive(Clone, Debug)]
pub enum Action {
    /// Connect, and subscribe again to what was left.
    Connect {
        /// Which token it shows, if any.
        token: Option<usize>,
        /// The protocol.
        speech: Speech,
    },
    /// Subscribe.
    Subscribe {
        /// To which channel.
        channel: usize,
        /// With the position that it knows, if it knows one.
        resume: bool,
        /// With presence.
        presence: bool,
        /// Deliveries of each key in a second at most; 0 is as many as there are.
        rate: u32,
        /// With the channel's cached value.
        cached: bool,
    },
    /// Unsubscribe from the `pick`th of its channels.
    Unsubscribe {
        /// Which.
        pick: usize,
    },
    /// Subscribe to a pattern.
    Watch {
        /// Which of [`PATTERNS`].
        pattern: usize,
    },
    /// Unsubscribe from the `pick`th of its patterns.
    Unwatch {
        /// Which.
        pick: usize,
    },
    /// Publish a burst.
    Publish {
        /// Where.
        channel: usize,
        /// How many.
        count: usize,
        /// Bytes of filler.
        size: usize,
        /// Not to itself.
        exclude_self: bool,
        /// In which form.
        form: Form,
        /// Whether an answer is wanted.
        answered: bool,
        /// Under one of a few ids, so that some have been published before.
        once: Option<usize>,
        /// Only at the position that it knows.
        compare: bool,
        /// What becomes of the channel's cached value: kept so, or cleared.
        cache: Option<&'static str>,
        /// Which earlier publication it replaces for those who get the latest only.
        key: Option<usize>,
        /// And the same once more, as if the answer had been lost.
        again: bool,
    },
    /// Everybody who knows a channel's position publishes on the condition that it is still that.
    Race {
        /// Where.
        channel: usize,
    },
    /// Send to another client alone.
    Signal {
        /// Where they meet.
        channel: usize,
        /// To which client.
        whom: usize,
        /// To all of its user.
        by_user: bool,
    },
    /// Ask who is there.
    Presence {
        /// Where.
        channel: usize,
    },
    /// Read the history.
    History {
        /// Of which channel.
        channel: usize,
        /// Where.
        from: Reading,
        /// At most.
        limit: usize,
    },
    /// Become a user, where a protocol has it.
    SignIn {
        /// The signature is none.
        forged: bool,
        /// Wants to be told of these users.
        watched: Vec<usize>,
    },
    /// Show a token.
    Authenticate {
        /// Which.
        token: usize,
    },
    /// Send something that is no request.
    Nonsense {
        /// Which kind.
        kind: usize,
    },
    /// Ping.
    Ping,
    /// Read no more.
    Stall,
    /// Read again.
    Read,
    /// Close in order.
    Leave,
    /// The connection is reset.
    Cut,
    /// The client is gone and nobody tells the server.
    Vanish,
    /// The application publishes.
    Submit {
        /// Where.
        channel: usize,
        /// Bytes of filler.
        size: usize,
    },
    /// The application sends to a user.
    SendToUser {
        /// The user of this client.
        whom: usize,
    },
    /// The application ends sessions, or their subscription to a channel.
    Control {
        /// Of which client.
        whom: usize,
        /// Of all of its user.
        by_user: bool,
        /// The subscription to this channel and not the sessions.
        channel: Option<usize>,
    },
    /// The application asks over its HTTP API. Several requests are a batch: one after the other.
    Call(Vec<Call>),
    /// Nothing: a step that was left out.
    Nothing,
    /// The node dies and comes back.
    Crash {
        /// After how long.
        down: Duration,
        /// How it ends.
        end: End,
        /// A byte of its history is turned over meanwhile: which, is drawn from this.
        flip: Option<u64>,
    },
    /// Something happens to the disk of the history.
    Disk(DiskFault),
}

/// A request of the application.
#[derive(Clone, Debug)]
pub enum Call {
    /// Publish.
    Publish {
        /// Where. To several channels it is one after the other.
        channel: usize,
        /// Bytes of filler.
        size: usize,
        /// Which earlier publication it replaces for those who get the latest only.
        key: Option<usize>,
        /// Under one of a few ids.
        once: Option<usize>,
        /// Only at the position that the channel has, or had before its last publications: so many.
        compare: Option<usize>,
        /// What becomes of the channel's cached value.
        cache: CacheRequest,
        /// Not to this client.
        exclude: Option<usize>,
    },
    /// Read the history.
    History {
        /// Of which channel.
        channel: usize,
        /// Where, from so many publications before the last.
        from: (Reading, usize),
        /// At most.
        limit: usize,
    },
    /// Ask who is there.
    Presence {
        /// Where.
        channel: usize,
        /// Users at most.
        limit: Option<usize>,
    },
    /// Ask how it is with one channel.
    Channel {
        /// Which.
        channel: usize,
    },
    /// Ask which channels are occupied.
    Channels {
        /// What their names begin with.
        prefix: &'static str,
        /// Only behind this one.
        after: Option<usize>,
        /// At most.
        limit: usize,
    },
    /// Send to one client alone.
    Signal {
        /// On which channel.
        channel: usize,
        /// To which client.
        whom: usize,
        /// To all of its user.
        by_user: bool,
    },
    /// Ask what became of one of the last publications that a client was told of.
    Why {
        /// Which client.
        whom: usize,
        /// Which of them.
        pick: usize,
    },
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At once; the system keeps what was written.
    Kill,
    /// With the whole machine: what was not synced may be gone, in parts.
    Power,
    /// In order.
    Order,
}

/// What happens to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// It has so many bytes left.
    Full {
        /// Bytes.
        room: usize,
    },
    /// The next write fails.
    Write,
    /// The next sync fails, and what it should have kept is gone.
    Sync,
    /// The machine stops in the midst of a later operation.
    Stop {
        /// Which.
        operations: u64,
    },
    /// Each batch takes long.
    Slow,
    /// It is well again.
    Heal,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// The native protocol.
    Native {
        /// Several publications in one frame.
        batch: bool,
    },
    /// One channel, unwrapped.
    Raw {
        /// Which.
        channel: usize,
        /// Hears itself.
        echo: bool,
    },
    /// A stream over plain HTTP.
    Listen {
        /// To which channels.
        channels: (usize, Option<usize>),
        /// How it looks.
        look: Look,
        /// With presence.
        presence: bool,
        /// Deliveries of each key in a second at most.
        rate: u32,
        /// With cached values.
        cached: bool,
    },
    /// One poll.
    Poll {
        /// Of which channels.
        channels: (usize, Option<usize>),
        /// Messages at most.
        limit: usize,
        /// How long it waits, in milliseconds.
        wait: u64,
        /// With cached values.
        cached: bool,
    },
    /// Pusher Channels.
    Pusher,
}

/// Where history is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The latest.
    Latest,
    /// After the position that the client knows.
    Since,
    /// Before the position that the client knows.
    Before,
}

/// What a payload looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A JSON array.
    Json,
    /// A JSON string.
    Text,
    /// Bytes in a binary frame.
    Binary,
}

/// When every simulation begins.
pub(crate) const BEGIN: Time = Time::from_millis(1_700_000_000_000);

/// Names of users. Each client is always the same one; several clients are one user.
pub(crate) const USERS: usize = 5;

/// What clients watch: channels of one level and of two, all, and what stands for one.
pub const PATTERNS: [&str; 5] = ["+", "#", "+/t", "a:1/#", "b:3/+"];

/// Channels of which Pusher's clients want a signature, behind the others.
pub const SIGNED: [&str; 2] = ["private-p", "presence-p"];
/// What a user's own channel is called by its clients.
pub(crate) const OWN: &str = "#user";
