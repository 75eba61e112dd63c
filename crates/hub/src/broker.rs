//! What the hub asks of whoever orders and keeps publications: memory, a log on disk, or another system.

use crate::address::{ChannelKey, ReturnAddress};
use core::fmt::Debug;
use std::sync::Arc;
use switchboard_core::{App, ClientInfo, Position, Publication, Publish, Reject, SessionId, Time};

/// Takes publications and gives each its place. Publishing is one atomic step: order, append, position.
///
/// It answers by events, so that a broker on another machine fits the same path as one in memory. Events of one channel come in the order of
/// their offsets.
pub trait Broker: Debug {
    /// Publishes. Exactly one event with the request's `origin` follows if there is one.
    fn publish(&mut self, now: Time, request: PublishRequest);

    /// What has happened since.
    fn poll_event(&mut self) -> Option<BrokerEvent>;

    /// When [`handle_timeout`](Broker::handle_timeout) wants to be called next.
    fn poll_timeout(&self) -> Option<Time>;

    /// Forgets what is too old.
    fn handle_timeout(&mut self, now: Time);

    /// What it can promise.
    fn guarantees(&self) -> Guarantees;
}

/// Reads what was published. It changes nothing that a client can see.
pub trait History {
    /// Where the channel is.
    fn position(&self, key: &ChannelKey) -> Position;

    /// Where the channel is; until it is [released](History::release) its epoch stays.
    fn retain(&mut self, key: &ChannelKey) -> Position;

    /// Nobody subscribes to the channel any more: it may be forgotten once its publications are too old.
    fn release(&mut self, now: Time, key: &ChannelKey);

    /// The publications after `position`, in order, up to `limit` and about `bytes`.
    fn after(
        &mut self,
        now: Time,
        key: &ChannelKey,
        position: Position,
        limit: usize,
        bytes: usize,
    ) -> Result<Slice, HistoryLost>;

    /// The latest publications, in order, up to `limit` and about `bytes`.
    fn latest(&mut self, now: Time, key: &ChannelKey, limit: usize, bytes: usize) -> Slice;
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
    /// Whether there are more beyond the limit.
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
