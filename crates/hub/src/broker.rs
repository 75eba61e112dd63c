//! What the hub asks of whoever orders and keeps publications: memory, a log on disk, or another system.

use crate::address::{ChannelKey, ReturnAddress};
use core::fmt::Debug;
use std::sync::Arc;
use switchboard_core::{
    App, AppId, CacheEffect, CacheRequest, ChannelOptions, ClientInfo, Control, Position, Publication, Publish,
    ReadFrom, Reject, RejectCode, SessionId, Time,
};

/// Takes publications and gives each its place. Publishing is one atomic step: idempotency, comparison, order, append, position.
///
/// It is a state machine: it answers by events and touches no disk and no socket. What it needs of a backend (a journal's thread, a connection to another
/// system) it says in [`Request`](Broker::Request)s; the driver carries them there, and the [`Reply`](Broker::Reply)s back, in order and through bounded
/// queues. A broker without a backend sets both to [`Infallible`](core::convert::Infallible).
///
/// The rules:
/// - Events of one channel come in the order of their offsets.
/// - [`Published`](BrokerEvent::Published) comes when the promise of [`guarantees`](Broker::guarantees) holds for the publication, not before.
/// - A publication whose [id](PublishRequest::id_key) is remembered is a duplicate, and so is one whose id another has that is not told yet. That is looked at
///   before [`if_position`](Publish::if_position), so that a publisher who asks again after a lost answer is not told of a conflict with itself.
/// - What was refused, or was a duplicate, has changed nothing.
/// - A [control](Self::control) has no place among publications: what was published on a channel and is not yet told may be told after it.
/// - A channel's history is asked for only after it was [loaded](History::load).
pub trait Broker: Debug {
    /// What is asked of the backend.
    type Request: Debug + Send + 'static;

    /// What the backend answers.
    type Reply: Debug + Send + 'static;

    /// Publishes. Exactly one event with the request's `origin` follows, now or later.
    fn publish(&mut self, now: Time, request: PublishRequest);

    /// Announces something that concerns sessions on any node. Exactly one event with the request's `origin` follows, now or later: it comes back as
    /// [`Control`](BrokerEvent::Control), or is [refused](BrokerEvent::Refused). On each other node one broker reports it, once and without an origin; nothing
    /// is kept for a node that is out of reach.
    fn control(&mut self, now: Time, request: ControlRequest);

    /// What has happened since.
    fn poll_event(&mut self) -> Option<BrokerEvent>;

    /// The next request to the backend. The driver calls it only when there is room on the way.
    fn poll_request(&mut self) -> Option<Self::Request>;

    /// The backend has answered.
    fn handle_reply(&mut self, now: Time, reply: Self::Reply);

    /// Whether so much waits for the backend that nothing more shall be asked: the shard reads neither clients nor mail until it is not.
    fn is_congested(&self) -> bool;

    /// When [`handle_timeout`](Broker::handle_timeout) wants to be called next.
    fn poll_timeout(&self) -> Option<Time>;

    /// Forgets what is too old.
    fn handle_timeout(&mut self, now: Time);

    /// What it can promise.
    fn guarantees(&self) -> Guarantees;
}

/// Reads what was published. It changes nothing that a client can see.
///
/// A read is answered at once: what a channel keeps is bounded, so a broker whose log is elsewhere mirrors it. Only the first step may take its time.
pub trait History {
    /// Makes the channel readable, and says whether it is. Whoever must fetch it first reports [`BrokerEvent::Loaded`] when it is there or cannot be had. It
    /// stays readable until the events of that moment are handled, and as long as it is [retained](Self::retain). A broker that has everything at hand has
    /// nothing to do.
    fn load(&mut self, _now: Time, _key: &ChannelKey) -> Load {
        Load::Ready
    }

    /// Where the channel is.
    fn position(&self, key: &ChannelKey) -> Position;

    /// Where the channel is; until it is [released](History::release) its epoch stays.
    fn retain(&mut self, key: &ChannelKey) -> Position;

    /// Nobody subscribes to the channel any more: it may be forgotten once its publications are too old.
    fn release(&mut self, now: Time, key: &ChannelKey);

    /// A run of publications, oldest first whichever way it is read. After a position that is not the channel's, or from which on not all is kept, it is
    /// lost; before a position it ends where nothing older is kept.
    fn read(&mut self, now: Time, key: &ChannelKey, read: Read) -> Result<Slice, HistoryLost>;

    /// The channel's cached value: the last publication that [became it](CacheEffect::Keep), unless one cleared it, its time is over or there was no room.
    /// It does not matter whether the history still has it.
    fn cached(&self, now: Time, key: &ChannelKey) -> Option<Arc<Publication>>;
}

/// Whether a channel can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// It can.
    Ready,
    /// An event will tell.
    Pending,
}

/// What to read of a channel's history.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// From where, in which direction.
    pub from: ReadFrom,
    /// Publications at most.
    pub limit: usize,
    /// Bytes at most, though never less than one publication.
    pub bytes: usize,
}

impl Read {
    /// Everything that is kept in this direction.
    pub const fn all(from: ReadFrom) -> Self {
        Self { from, limit: usize::MAX, bytes: usize::MAX }
    }
}

/// Something that concerns sessions, on its way to them.
#[derive(Clone, Debug)]
pub struct ControlRequest {
    /// The application whose sessions it concerns.
    pub app: AppId,
    /// What is done to them.
    pub control: Arc<Control>,
    /// Who is told how many it concerned.
    pub origin: Option<ReturnAddress>,
}

/// A publication on its way to its place.
#[derive(Clone, Debug)]
pub struct PublishRequest {
    /// The channel.
    pub key: ChannelKey,
    /// The application, for its channels' options.
    pub app: Arc<App>,
    /// What.
    pub publish: Publish,
    /// By whom; absent for the application itself.
    pub publisher: Option<ClientInfo>,
    /// A session that shall not get it.
    pub exclude: Option<SessionId>,
    /// Who is told the outcome.
    pub origin: Option<ReturnAddress>,
}

impl PublishRequest {
    /// Gives the publication its place, after `previous`.
    pub fn place(self, now: Time, position: Position, previous: u64) -> Placed {
        let cache = self.cache_effect();
        self.place_with(cache, now, position, previous)
    }

    /// The same for who knows what it does to the channel's cached value.
    pub(crate) fn place_with(self, cache: CacheEffect, now: Time, position: Position, previous: u64) -> Placed {
        let Self { key, app, publish, publisher, exclude, origin } = self;
        let publication = Publication {
            channel: key.channel.clone(),
            position,
            previous,
            timestamp: now,
            event: publish.event,
            key: publish.key,
            payload: publish.payload,
            publisher,
            exclude,
            cache,
        };
        Placed { key, app, publication: Arc::new(publication), origin }
    }

    /// What it does to its channel's cached value.
    pub fn cache_effect(&self) -> CacheEffect {
        self.cache_effect_with(self.app.channels.of(&self.key.channel))
    }

    /// The same for who has looked up the channel's options.
    pub(crate) fn cache_effect_with(&self, options: &ChannelOptions) -> CacheEffect {
        match self.publish.cache {
            CacheRequest::ByOptions if !options.cache => CacheEffect::None,
            CacheRequest::ByOptions | CacheRequest::Keep => CacheEffect::Keep(options.cache_ttl),
            CacheRequest::Clear => CacheEffect::Clear,
        }
    }

    /// The refusal of one that demands another position than the channel's.
    pub fn conflict(&self, position: Position) -> Reject {
        let message = format!("channel '{}' is not at the position that was demanded", self.key.channel);
        Reject::new(RejectCode::Conflict, message).at(position)
    }

    /// The name under which the publication is remembered on its channel, if it has one. A user's ids are that user's own: nobody can take another's id
    /// in advance. Guests, who get a new name with each connection, share theirs.
    pub fn id_key(&self) -> Option<Box<str>> {
        let id = self.publish.id.as_deref()?;
        // Neither names nor ids have control characters.
        Some(match &self.publisher {
            None => format!("\0{id}").into(),
            Some(publisher) if publisher.user.is_guest() => format!("\u{1}\0{id}").into(),
            Some(publisher) => format!("{}\0{id}", publisher.user).into(),
        })
    }
}

/// A publication that has its place.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The channel.
    pub key: ChannelKey,
    /// The application, for its channels' options.
    pub app: Arc<App>,
    /// The publication.
    pub publication: Arc<Publication>,
    /// Who is told.
    pub origin: Option<ReturnAddress>,
}

/// What a broker reports.
#[derive(Clone, Debug)]
pub enum BrokerEvent {
    /// A publication has its place.
    Published {
        /// The channel.
        key: ChannelKey,
        /// The publication.
        publication: Arc<Publication>,
        /// Who asked, if it was on this node.
        origin: Option<ReturnAddress>,
    },
    /// It had been published before, and is not again.
    Duplicate {
        /// The channel.
        key: ChannelKey,
        /// Where the first one is.
        position: Position,
        /// Who asked.
        origin: Option<ReturnAddress>,
    },
    /// Something concerns sessions of this node.
    Control(ControlRequest),
    /// What [`History::load`] began is done.
    Loaded {
        /// The channel.
        key: ChannelKey,
        /// Whether it can be read now, or why not.
        result: Result<(), Reject>,
    },
    /// It was refused or failed.
    Refused {
        /// Who asked.
        origin: Option<ReturnAddress>,
        /// Why.
        reject: Reject,
    },
}

/// A run of a channel's publications.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    /// In order.
    pub publications: Vec<Arc<Publication>>,
    /// Whether there are more beyond the limit, in the direction of reading.
    pub more: bool,
}

/// The publications after a position are no longer all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history after this position is no longer complete")]
pub struct HistoryLost {
    /// The epoch is still the same, and everything after this offset is there.
    pub complete_after: Option<u64>,
}

/// What a broker can promise about what it has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarantees {
    /// Acknowledged publications survive the end of the process.
    pub survives_restart: bool,
    /// Subscribers on other nodes get them.
    pub crosses_nodes: bool,
}
