//! Which channels are in use, in the order of their names, and how many are on them.
//!
//! Each home knows its own channels; a list of an application's is put together by the shard that was asked.

use crate::address::{Caller, ChannelKey, ReturnAddress, ShardId};
use crate::broker::{Broker, History};
use crate::gather::Part;
use crate::mail::{Letter, Reply, RequestKind};
use crate::shard::Shard;
use core::ops::Bound;
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelName, OpId, Time};

/// The most channels of one answer.
const CHANNELS_MAX: usize = 1_000;

/// The names of the channels that a home keeps something for.
#[derive(Debug, Default)]
pub(crate) struct Names {
    apps: HashMap<AppId, BTreeSet<ChannelName>, foldhash::fast::RandomState>,
}

/// Which part of an application's channels is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) app: AppId,
    pub(crate) prefix: Box<str>,
    pub(crate) after: Option<Box<str>>,
    pub(crate) limit: usize,
}

impl Names {
    /// Users' own channels are not among them.
    pub(crate) fn insert(&mut self, key: &ChannelKey) {
        if key.channel.user().is_some() {
            return;
        }
        self.apps.entry(key.app.clone()).or_default().insert(key.channel.clone());
    }

    pub(crate) fn remove(&mut self, key: &ChannelKey) {
        if let Some(names) = self.apps.get_mut(&key.app) {
            names.remove(&key.channel);
            if names.is_empty() {
                self.apps.remove(&key.app);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.apps.is_empty()
    }

    /// The names that were asked for, in order and without an end.
    pub(crate) fn find(&self, listing: &Listing) -> impl Iterator<Item = &ChannelName> {
        let prefix = &*listing.prefix;
        let from = match listing.after.as_deref() {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let names = self.apps.get(&listing.app).into_iter();
        let names = names.flat_map(move |names| names.range::<str, _>((from, Bound::Unbounded)));
        names.take_while(move |name| name.as_str().starts_with(prefix))
    }
}

impl<B: Broker + History> Shard<B> {
    /// Asks how many are on a channel, and where it is.
    pub fn channel(&mut self, now: Time, caller: Caller, op: OpId, app: &Arc<App>, key: ChannelKey) {
        self.request(now, caller, op, app, key, RequestKind::Channel);
    }

    /// Asks for the occupied channels of an application, by name. One list for a caller and operation at a time.
    #[expect(clippy::too_many_arguments, reason = "a question's parts have no life of their own")]
    pub fn channels(
        &mut self,
        now: Time,
        caller: Caller,
        op: OpId,
        app: &AppId,
        prefix: Box<str>,
        after: Option<Box<str>>,
        limit: usize,
    ) {
        if let Caller::Subscriber(id) = caller {
            let Some(subscriber) = self.subscriber(id) else { return };
            subscriber.pending += 1;
        }
        let limit = limit.min(CHANNELS_MAX);
        self.gathers.begin(caller, op, self.config.shards);
        let to = ReturnAddress { shard: self.config.id, caller, op, bytes: 0 };
        let listing = Arc::new(Listing { app: app.clone(), prefix, after, limit });
        for home in (0..self.config.shards).map(ShardId) {
            self.send_to(now, home, Letter::List { listing: Arc::clone(&listing), to });
        }
        self.route(now);
    }

    pub(crate) fn handle_list(&mut self, listing: &Listing, to: ReturnAddress) {
        let part = Part::Channels { channels: self.homes.occupied(listing), limit: listing.limit };
        self.homes.letters.push((to.shard, Letter::Reply { to, reply: Reply::Part(part) }));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_found_by_prefix_behind_a_name_and_in_their_application() {
        let mut names = Names::default();
        let key = |app: &str, name: &str| ChannelKey::new(AppId::new(app), ChannelName::parse(name).unwrap());
        for name in ["b", "room:2", "room:1", "room:10", "rooms", "a"] {
            names.insert(&key("one", name));
        }
        names.insert(&key("two", "room:3"));
        let find = |names: &Names, prefix: &str, after: Option<&str>| -> Vec<String> {
            let (prefix, after) = (prefix.into(), after.map(Into::into));
            let listing = Listing { app: AppId::new("one"), prefix, after, limit: 9 };
            names.find(&listing).map(ToString::to_string).collect()
        };
        assert_eq!(find(&names, "", None), ["a", "b", "room:1", "room:10", "room:2", "rooms"]);
        assert_eq!(find(&names, "room:", None), ["room:1", "room:10", "room:2"]);
        assert_eq!(find(&names, "room:", Some("room:1")), ["room:10", "room:2"]);
        // A name that is gone, or is before them all, is a place like any other.
        assert_eq!(find(&names, "room:", Some("room:11")), ["room:2"]);
        assert_eq!(find(&names, "room:", Some("a")), ["room:1", "room:10", "room:2"]);
        assert_eq!(find(&names, "room:", Some("z")), [""; 0]);
        names.remove(&key("two", "room:3"));
        assert_eq!(names.apps.len(), 1);
    }
}
