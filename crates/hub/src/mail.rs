//! What shards write to each other, and the bounded queue of one shard's mail for another.
//!
//! Requests are bounded by whoever asks, in number for each session and in bytes for a shard, until they are answered; answers by the requests. Deliveries and
//! changes of presence are bounded here. When they are too many, the channel is marked *behind* for that shard, and the rest is read from history when there
//! is room again; what is in no history is lost, and the subscribers are told.

use crate::address::{ChannelKey, ReturnAddress, ShardId};
use crate::broker::ControlRequest;
use crate::gather::Part;
use crate::occupancy::Listing;
use crate::presence::Member;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use switchboard_core::{
    App, AppId, ChannelPattern, ClientInfo, Outcome, Position, PresenceChange, PresentUser, Publication, Publish,
    Question, ReadFrom, SessionId, Since,
};

/// A letter from one shard to another. Whoever carries it keeps the order of each pair of shards and cannot look inside.
#[derive(Debug)]
pub struct Mail(pub(crate) Letter);

#[derive(Debug)]
pub(crate) enum Letter {
    /// To a channel's home on another shard. Boxed: it is several times as large as any other letter.
    Request(Box<Request>),
    /// From a channel's home to whoever asked.
    Reply { to: ReturnAddress, reply: Reply },
    /// To a shard with subscribers.
    Deliver { key: ChannelKey, publication: Arc<Publication> },
    /// To a shard where somebody watches a pattern that stands for the channel.
    DeliverWatched { key: ChannelKey, publication: Arc<Publication> },
    /// To the same: some of those found no room.
    WatchedLost,
    /// To every home: this shard watches a pattern, and somebody waits to hear that it is known; or watches it no longer.
    Watch { app: AppId, pattern: ChannelPattern, shard: ShardId, to: Option<ReturnAddress> },
    /// To a shard with subscribers: these offsets cannot be delivered any more.
    Gap { key: ChannelKey, from: u64, to: u64 },
    /// To every home: which of its channels are occupied?
    List { listing: Arc<Listing>, to: ReturnAddress },
    /// To a shard with sessions: something may concern them.
    Control(ControlRequest),
    /// To every shard: what does it remember?
    Why { asked: Arc<(AppId, Question)>, to: ReturnAddress },
    /// To a channel's home: what has it published?
    Check { key: ChannelKey, shard: ShardId },
    /// To a shard with subscribers: everything up to this offset was sent to it.
    Checked { key: ChannelKey, offset: u64 },
    /// To a shard with subscribers: so many there are on all shards.
    Count { key: ChannelKey, count: u64 },
    /// To a shard with subscribers: somebody came or left.
    Presence { key: ChannelKey, change: PresenceChange },
    /// To the same: some of those found no room.
    PresenceLost { key: ChannelKey },
}

/// Something that a channel's home is asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) key: ChannelKey,
    pub(crate) app: Arc<App>,
    pub(crate) from: ReturnAddress,
    pub(crate) kind: RequestKind,
}

/// What a subscriber wants of a channel.
#[derive(Clone, Debug, Default)]
pub struct SubscribeRequest {
    /// Where it was when it left.
    pub since: Option<Since>,
    /// Whether it wants to be told who is there, comes and goes.
    pub presence: bool,
    /// Whether it wants nothing but presence: no publication is given to it.
    pub only_presence: bool,
    /// How presence counts it, if it does. Shared by all who have to name it at its end.
    pub member: Option<Arc<Member>>,
    /// Deliveries in a second that it wants at most; 0 is as many as there are. The channel's options may allow fewer.
    pub rate: u32,
    /// Whether it wants the channel's cached value, if it does not get what it missed.
    pub cached: bool,
}

#[derive(Debug)]
pub(crate) enum RequestKind {
    /// Register the subscriber's shard; replay what was missed.
    Subscribe(Box<SubscribeRequest>),
    /// Let it go. A subscriber that has disappeared is not answered.
    Unsubscribe {
        answer: bool,
        member: Option<Arc<Member>>,
    },
    Publish {
        publish: Publish,
        publisher: Option<ClientInfo>,
        exclude: Option<SessionId>,
    },
    Presence {
        limit: Option<usize>,
    },
    History {
        from: ReadFrom,
        limit: usize,
    },
    /// How many are on it, where is it?
    Channel,
}

impl RequestKind {
    /// What it counts until it is answered, in bytes.
    pub(crate) fn cost(&self) -> u32 {
        /// A letter, its place in queues and tables.
        const FLAT: usize = 256;
        let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        let variable = match self {
            Self::Publish { publish, .. } => {
                publish.payload.len() + text(&publish.event) + text(&publish.key) + text(&publish.id)
            }
            Self::Subscribe(request) => request.member.as_ref().map_or(0, |member| text(&member.info)),
            Self::Unsubscribe { .. } | Self::Presence { .. } | Self::History { .. } | Self::Channel => 0,
        };
        u32::try_from(FLAT + variable).unwrap_or(u32::MAX)
    }

    /// Whether the channel's history is needed for it.
    pub(crate) fn reads(&self) -> bool {
        matches!(self, Self::Subscribe(_) | Self::History { .. } | Self::Channel)
    }
}

/// A home's answer.
#[derive(Debug)]
pub(crate) enum Reply {
    Subscribed(Box<Subscribed>),
    Unsubscribed {
        key: ChannelKey,
    },
    /// One home knows of it.
    Watched {
        pattern: ChannelPattern,
    },
    /// What one of several shards has to say.
    Part(Part),
    /// Anything else goes to the caller as it is.
    Outcome(Outcome),
}

/// The shard is registered; what follows live begins after `position`.
#[derive(Debug)]
pub(crate) struct Subscribed {
    pub(crate) key: ChannelKey,
    pub(crate) position: Position,
    /// Whether `missed` is all that was missed.
    pub(crate) recovered: Option<bool>,
    pub(crate) missed: Vec<Arc<Publication>>,
    pub(crate) cached: Option<Arc<Publication>>,
    pub(crate) users: Option<Vec<PresentUser>>,
    /// The last presence change that `users` includes.
    pub(crate) presence_serial: u64,
    /// What was asked for.
    pub(crate) request: Box<SubscribeRequest>,
}

/// The mail for one other shard that the driver has not taken yet. Where anything is lost, something waits in front of it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    queue: VecDeque<Mail>,
    /// Deliveries and changes of presence.
    bytes: usize,
    bytes_max: usize,
    /// Channels whose deliveries wait in history, each once.
    behind: VecDeque<ChannelKey>,
    /// Deliveries to watchers have found no room, and the shard is told so.
    watched_lost: bool,
    /// Channels whose changes of presence have found no room.
    presence_lost: BTreeSet<ChannelKey>,
}

impl Outgoing {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            bytes_max,
            behind: VecDeque::new(),
            watched_lost: false,
            presence_lost: BTreeSet::new(),
        }
    }

    pub(crate) fn push(&mut self, letter: Letter) {
        self.bytes += match &letter {
            Letter::Deliver { publication, .. } | Letter::DeliverWatched { publication, .. } => publication.cost(),
            Letter::Presence { change, .. } => change.cost(),
            Letter::Control(request) => request.control.cost(),
            Letter::Count { .. } => size_of::<Letter>(),
            _ => 0,
        };
        self.queue.push_back(Mail(letter));
    }

    /// Deliveries to watchers cannot be caught up with: one notice stands for all that find no room until it goes.
    pub(crate) fn lose_watched(&mut self) {
        self.watched_lost = true;
    }

    /// The same for a channel's changes of presence.
    pub(crate) fn lose_presence(&mut self, key: ChannelKey) {
        self.presence_lost.insert(key);
    }

    /// Whether another delivery may wait here.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes < self.bytes_max
    }

    pub(crate) fn mark_behind(&mut self, key: ChannelKey) {
        self.behind.push_back(key);
    }

    pub(crate) fn next_behind(&mut self) -> Option<ChannelKey> {
        self.behind.pop_front()
    }

    /// Deliveries and changes of presence that wait, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Letters of any kind.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.behind.is_empty()
    }

    /// What is lost is told last: whoever came while there was no room may have missed something too.
    pub(crate) fn take(&mut self) -> Vec<Mail> {
        self.bytes = 0;
        if core::mem::take(&mut self.watched_lost) {
            self.queue.push_back(Mail(Letter::WatchedLost));
        }
        let lost = core::mem::take(&mut self.presence_lost);
        self.queue.extend(lost.into_iter().map(|key| Mail(Letter::PresenceLost { key })));
        core::mem::take(&mut self.queue).into()
    }
}
