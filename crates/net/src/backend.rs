//! How a shard's broker reaches what it keeps publications in. Requests and replies are carried, never looked into.

use switchboard_hub::{Broker, History};
use tokio::sync::mpsc;

/// A broker that a shard can own.
pub trait ShardBroker: Broker + History + Send + 'static {}

impl<B: Broker + History + Send + 'static> ShardBroker for B {}

/// A shard's broker, and the ways to its backend and back if it has one.
#[derive(Debug)]
pub struct Backed<B: Broker> {
    /// The broker.
    pub broker: B,
    /// Its backend.
    pub backend: Option<Backend<B>>,
}

/// The ways to a backend that lives elsewhere: a thread, or a connection's task.
///
/// Both are bounded. A full way to the backend leaves requests with the broker, which [says](Broker::is_congested) when that is too much; the shard then reads neither
/// clients nor mail. A full way back makes the backend wait. A backend that ends while the shard runs fails the shard.
#[derive(Debug)]
pub struct Backend<B: Broker> {
    /// Requests, in order, each time all that a turn has brought, up to [`REQUESTS_MAX`].
    pub requests: mpsc::Sender<Vec<B::Request>>,
    /// Replies.
    pub replies: mpsc::Receiver<Vec<B::Reply>>,
}

/// The most requests that travel together.
pub const REQUESTS_MAX: usize = 1_024;
