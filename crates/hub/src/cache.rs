//! Each channel's cached value: the last publication, kept for those who come, even where there is no history.
//!
//! It stays when history is trimmed and when nobody subscribes; it goes at its time, when it is cleared, and where there is no room, those first that
//! would go first anyway.

use crate::address::ChannelKey;
use core::time::Duration;
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use switchboard_core::{Publication, Time};

/// The cached values of the channels whose home is here.
#[derive(Debug)]
pub(crate) struct Cache {
    values: HashMap<ChannelKey, Value, foldhash::fast::RandomState>,
    due: BTreeSet<(Time, ChannelKey)>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Value {
    publication: Arc<Publication>,
    until: Time,
    /// Under which time it stands in the list: not moved with each new value.
    listed: Time,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { values: HashMap::default(), due: BTreeSet::new(), bytes: 0, bytes_max }
    }

    /// The channel's value is this from now on.
    pub(crate) fn keep(&mut self, now: Time, key: &ChannelKey, publication: &Arc<Publication>, ttl: Duration) {
        let until = now + ttl;
        self.bytes += cost(publication);
        match self.values.get_mut(key) {
            Some(value) => {
                self.bytes -= cost(&value.publication);
                value.publication = Arc::clone(publication);
                value.until = until;
                if until < value.listed {
                    self.due.remove(&(value.listed, key.clone()));
                    value.listed = until;
                    self.due.insert((until, key.clone()));
                }
            }
            None => {
                let value = Value { publication: Arc::clone(publication), until, listed: until };
                self.values.insert(key.clone(), value);
                self.due.insert((until, key.clone()));
            }
        }
        while self.bytes > self.bytes_max
            && let Some((_, key)) = self.due.pop_first()
        {
            self.remove(&key);
        }
    }

    /// The channel has none from now on.
    pub(crate) fn clear(&mut self, key: &ChannelKey) {
        if let Some(listed) = self.remove(key) {
            self.due.remove(&(listed, key.clone()));
        }
    }

    pub(crate) fn find(&self, now: Time, key: &ChannelKey) -> Option<&Arc<Publication>> {
        self.values.get(key).filter(|value| now < value.until).map(|value| &value.publication)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        while let Some((at, _)) = self.due.first()
            && *at <= now
        {
            let Some((_, key)) = self.due.pop_first() else { return };
            match self.values.get_mut(&key) {
                Some(value) if now < value.until => {
                    value.listed = value.until;
                    self.due.insert((value.until, key));
                }
                _ => _ = self.remove(&key),
            }
        }
    }

    fn remove(&mut self, key: &ChannelKey) -> Option<Time> {
        let value = self.values.remove(key)?;
        self.bytes -= cost(&value.publication);
        Some(value.listed)
    }
}

fn cost(publication: &Publication) -> usize {
    /// The tables' part.
    const FLAT: usize = 200;
    publication.cost() + FLAT
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use switchboard_core::{AppId, ChannelName, Epoch, Payload, Position};

    fn key(name: &str) -> ChannelKey {
        ChannelKey::new(AppId::new("app"), ChannelName::parse(name).unwrap())
    }

    fn publication(offset: u64) -> Arc<Publication> {
        Arc::new(Publication {
            channel: ChannelName::parse("c").unwrap(),
            position: Position { epoch: Epoch(1), offset },
            previous: offset - 1,
            timestamp: Time::default(),
            event: None,
            key: None,
            payload: Payload::Text("x".repeat(100).into()),
            publisher: None,
            exclude: None,
            cache: switchboard_core::CacheEffect::None,
        })
    }

    fn offset(cache: &Cache, at: u64, name: &str) -> Option<u64> {
        cache.find(Time::from_secs(at), &key(name)).map(|publication| publication.position.offset)
    }

    #[test]
    fn a_value_lives_from_its_own_publication_on() {
        let mut cache = Cache::new(10_000);
        let ttl = Duration::from_secs(10);
        cache.keep(Time::from_secs(0), &key("a"), &publication(1), ttl);
        cache.keep(Time::from_secs(5), &key("a"), &publication(2), ttl);
        cache.handle_timeout(Time::from_secs(10));
        assert_eq!((offset(&cache, 14, "a"), cache.poll_timeout()), (Some(2), Some(Time::from_secs(15))));
        assert_eq!(offset(&cache, 15, "a"), None);
        cache.keep(Time::from_secs(11), &key("a"), &publication(3), Duration::from_secs(1));
        assert_eq!(cache.poll_timeout(), Some(Time::from_secs(12)));
        cache.handle_timeout(Time::from_secs(12));
        assert_eq!((cache.bytes, cache.values.len(), cache.due.len()), (0, 0, 0));
    }

    #[test]
    fn what_is_cleared_or_has_no_room_is_gone() {
        let mut cache = Cache::new(3 * cost(&publication(1)));
        for (n, name) in ["a", "b", "c", "d"].iter().enumerate() {
            cache.keep(Time::from_secs(n as u64), &key(name), &publication(1), Duration::from_secs(10));
        }
        assert_eq!((offset(&cache, 4, "a"), offset(&cache, 4, "b")), (None, Some(1)));
        ["b", "c", "d", "never"].iter().for_each(|name| cache.clear(&key(name)));
        assert_eq!((cache.bytes, cache.values.len(), cache.due.len()), (0, 0, 0));
    }
}
