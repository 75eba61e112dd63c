//! What a session subscribes to or has asked to, by the channel's name.
//!
//! A list in the order of names: mostly it has one entry, for which a table would have room for four; and the order is the same in each process, so that the same
//! input gives the same output.

use crate::session::Subscription;
use switchboard_core::ChannelName;

#[derive(Debug, Default)]
pub(crate) struct Subscribed(Vec<(ChannelName, Subscription)>);

impl Subscribed {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn contains(&self, channel: &ChannelName) -> bool {
        self.find(channel).is_ok()
    }

    /// A name that is there already keeps its subscription.
    pub(crate) fn insert(&mut self, channel: ChannelName, subscription: Subscription) {
        if let Err(place) = self.find(&channel) {
            if self.0.is_empty() {
                self.0.reserve_exact(1);
            }
            self.0.insert(place, (channel, subscription));
        }
    }

    pub(crate) fn remove(&mut self, channel: &ChannelName) -> Option<(ChannelName, Subscription)> {
        let place = self.find(channel).ok()?;
        Some(self.0.remove(place))
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&Subscription) -> bool) {
        self.0.retain(|(_, subscription)| keep(subscription));
    }

    /// In the order of names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(ChannelName, Subscription)> {
        self.0.iter()
    }

    fn find(&self, channel: &ChannelName) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(channel))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use switchboard_core::{OpId, Operations};

    #[test]
    fn names_are_kept_in_order_and_once() {
        let name = |name: &str| ChannelName::parse(name).unwrap();
        let subscription = |op| Subscription { asked: OpId(op), member: None, needs: Operations::SUBSCRIBE };
        let mut subscribed = Subscribed::default();
        for (op, channel) in ["b", "c", "a", "b"].into_iter().enumerate() {
            subscribed.insert(name(channel), subscription(op as u64));
        }
        let all: Vec<_> = subscribed.iter().map(|(channel, known)| (channel.as_str(), known.asked.0)).collect();
        assert_eq!(all, [("a", 2), ("b", 0), ("c", 1)]);
        assert!(subscribed.remove(&name("b")).is_some() && subscribed.remove(&name("b")).is_none());
        subscribed.retain(|known| known.asked == OpId(1));
        assert!(subscribed.len() == 1 && subscribed.contains(&name("c")) && !subscribed.contains(&name("a")));
    }
}
