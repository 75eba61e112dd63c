//! The subscriptions of a client: which the application wants, what the server knows of them, and how far each has come.

use std::collections::BTreeMap;
use std::sync::Arc;

use switchboard_ws::proto::Time;

use super::wanted::{Name, Wanted, stands_for};
use crate::types::Position;

/// Names a subscription for as long as the client lives.
///
/// ```
/// use switchboard_client::core::{Core, Tokens, Wanted};
/// use switchboard_client::Config;
///
/// let mut core = Core::new(Config::default(), Tokens::None, 1);
/// let lobby = core.subscribe(Wanted::channel("room:lobby"))?;
/// assert_ne!(lobby, core.subscribe(Wanted::channel("scores"))?);
/// # Ok::<(), switchboard_client::SubscribeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub(super) u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The server is to be asked as soon as there is a connection.
    Detached,
    /// The server was asked by this request.
    Asked(u64),
    Live,
    /// The reader has fallen behind. The server is asked again when it has caught up.
    Behind,
    /// The server has refused for now.
    Refused {
        again_at: Time,
    },
}

#[derive(Debug)]
pub(super) struct Subscription {
    /// Its `since` is where it began; where it is now is `position`.
    pub(super) wanted: Wanted,
    pub(super) state: State,
    /// The last publication that was handed over. What it is before the server's first answer, the application chose. A pattern has none.
    pub(super) position: Option<Position>,
    /// While missed publications come: where they end.
    pub(super) replay_end: Option<u64>,
    /// Temporary refusals in a row.
    pub(super) attempt: u32,
    /// The application was told of the server's first answer.
    pub(super) told: bool,
}

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: BTreeMap<SubscriptionId, Subscription>,
    by_channel: BTreeMap<Arc<str>, SubscriptionId>,
    by_pattern: BTreeMap<Arc<str>, SubscriptionId>,
}

impl Subscriptions {
    /// `false` if there is one for the channel or pattern.
    pub(super) fn insert(&mut self, id: SubscriptionId, subscription: Subscription) -> bool {
        let (names, name) = self.names(&subscription.wanted.name);
        if names.contains_key(name) {
            return false;
        }
        names.insert(Arc::clone(name), id);
        self.all.insert(id, subscription);
        true
    }

    fn names<'a>(&mut self, name: &'a Name) -> (&mut BTreeMap<Arc<str>, SubscriptionId>, &'a Arc<str>) {
        match name {
            Name::Channel(channel) => (&mut self.by_channel, channel),
            Name::Pattern(pattern) => (&mut self.by_pattern, pattern),
        }
    }

    pub(super) fn remove(&mut self, id: SubscriptionId) -> Option<Subscription> {
        let subscription = self.all.remove(&id)?;
        let (names, name) = self.names(&subscription.wanted.name);
        names.remove(name);
        Some(subscription)
    }

    pub(super) fn get(&mut self, id: SubscriptionId) -> Option<&mut Subscription> {
        self.all.get_mut(&id)
    }

    pub(super) fn by_channel(&mut self, channel: &str) -> Option<(SubscriptionId, &mut Subscription)> {
        let id = *self.by_channel.get(channel)?;
        Some((id, self.all.get_mut(&id)?))
    }

    pub(super) fn by_pattern(&mut self, pattern: &str) -> Option<(SubscriptionId, &mut Subscription)> {
        let id = *self.by_pattern.get(pattern)?;
        Some((id, self.all.get_mut(&id)?))
    }

    /// The live subscriptions to patterns that stand for this channel.
    pub(super) fn matching<'a>(&'a self, channel: &'a str) -> impl Iterator<Item = SubscriptionId> + 'a {
        let matching = self.by_pattern.iter().filter(move |(pattern, _)| stands_for(pattern, channel));
        let live = |id: &SubscriptionId| self.all.get(id).is_some_and(|subscription| subscription.state == State::Live);
        matching.map(|(_, id)| *id).filter(live)
    }

    /// The connection is lost. Whoever is behind stays behind: the reader decides.
    pub(super) fn detach(&mut self) {
        for subscription in self.all.values_mut().filter(|subscription| subscription.state != State::Behind) {
            subscription.state = State::Detached;
            subscription.replay_end = None;
        }
    }

    /// Those to ask the server for, in the order in which they were made.
    pub(super) fn detached(&self) -> impl Iterator<Item = SubscriptionId> + '_ {
        self.all.iter().filter(|(_, subscription)| subscription.state == State::Detached).map(|(id, _)| *id)
    }

    /// Those whose refusal is over become detached.
    pub(super) fn retry(&mut self, now: Time) -> Vec<SubscriptionId> {
        let due =
            |subscription: &Subscription| matches!(subscription.state, State::Refused { again_at } if again_at <= now);
        let due = self.all.iter_mut().filter(|(_, subscription)| due(subscription));
        due.map(|(id, subscription)| {
            subscription.state = State::Detached;
            *id
        })
        .collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let again_at = |subscription: &Subscription| match subscription.state {
            State::Refused { again_at } => Some(again_at),
            _ => None,
        };
        self.all.values().filter_map(again_at).min()
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (SubscriptionId, Subscription)> + use<> {
        self.by_channel.clear();
        self.by_pattern.clear();
        std::mem::take(&mut self.all).into_iter()
    }
}
