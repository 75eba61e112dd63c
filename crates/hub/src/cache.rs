//! Each channel's cached value: the last publication, kept for those who come, even where there is no history.
//!
//! It stays when history is trimmed and when nobody subscribes; it goes at its time, when it is cleared, and where there is no room, those first that
//! would go first anyway.

use crate::address::ChannelKey;
use crate::logs::{PUBLICATION_COST, shrink};
use hashbrown::HashMap;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use switchboard_core::{Publication, Time};

/// The cached values of the channels whose home is here.
#[derive(Debug)]
pub(crate) struct Cache {
    values: HashMap<ChannelKey, Value, foldhash::fast::RandomState>,
    due: BTreeSet<(Time, ChannelKey)>,
    bytes: usize,
    bytes_max: usize,
    /// Channels whose value, of this offset, went without anything having been published.
    gone: VecDeque<(ChannelKey, u64)>,
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
        Self { values: HashMap::default(), due: BTreeSet::new(), bytes: 0, bytes_max, gone: VecDeque::new() }
    }

    /// The channel's value is this from now on.
    pub(crate) fn keep(&mut self, key: &ChannelKey, publication: &Arc<Publication>, until: Time) {
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
            self.lose(key);
        }
    }

    /// All values together have at most so many bytes from the next one on.
    pub(crate) fn bound(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// The next channel whose value, of this offset, went at its time or because there was no room.
    pub(crate) fn poll_gone(&mut self) -> Option<(ChannelKey, u64)> {
        self.gone.pop_front()
    }

    /// The channel has none from now on.
    pub(crate) fn clear(&mut self, key: &ChannelKey) {
        if let Some(value) = self.remove(key) {
            self.due.remove(&(value.listed, key.clone()));
        }
    }

    /// The channel's value, if it has one, goes for want of room elsewhere.
    pub(crate) fn give_up(&mut self, key: &ChannelKey) {
        if let Some(value) = self.values.get(key) {
            self.due.remove(&(value.listed, key.clone()));
            self.lose(key.clone());
        }
    }

    /// Which publication the channel's value is, and until when.
    pub(crate) fn kept(&self, key: &ChannelKey) -> Option<(u64, Time)> {
        self.values.get(key).map(|value| (value.publication.position.offset, value.until))
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
                _ => self.lose(key),
            }
        }
    }

    fn lose(&mut self, key: ChannelKey) {
        if let Some(value) = self.remove(&key) {
            self.gone.push_back((key, value.publication.position.offset));
        }
    }

    fn remove(&mut self, key: &ChannelKey) -> Option<Value> {
        let value = self.values.remove(key)?;
        self.bytes -= cost(&value.publication);
        shrink(&mut self.values);
        Some(value)
    }
}

/// What a value costs besides its publication, in bytes: its places in a table that has just grown and in the list of those that are due.
const VALUE_COST: usize = 248;

/// As if no log had the publication too.
fn cost(publication: &Publication) -> usize {
    publication.cost() + PUBLICATION_COST + publication.channel.as_str().len() + VALUE_COST
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

    /// As a log is.
    #[test]
    fn a_value_is_charged_for_what_it_takes() {
        let slot = size_of::<(ChannelKey, Value)>() + 1;
        let takes = slot * 16 / 7 + 2 * size_of::<(Time, ChannelKey)>();
        assert!(takes <= VALUE_COST, "{takes} bytes");
    }

    fn offset(cache: &Cache, at: u64, name: &str) -> Option<u64> {
        cache.find(Time::from_secs(at), &key(name)).map(|publication| publication.position.offset)
    }

    #[test]
    fn a_value_lives_from_its_own_publication_on() {
        let mut cache = Cache::new(10_000);
        cache.keep(&key("a"), &publication(1), Time::from_secs(10));
        cache.keep(&key("a"), &publication(2), Time::from_secs(15));
        cache.handle_timeout(Time::from_secs(10));
        assert_eq!((offset(&cache, 14, "a"), cache.poll_timeout()), (Some(2), Some(Time::from_secs(15))));
        assert_eq!(offset(&cache, 15, "a"), None);
        cache.keep(&key("a"), &publication(3), Time::from_secs(12));
        assert_eq!(cache.poll_timeout(), Some(Time::from_secs(12)));
        cache.handle_timeout(Time::from_secs(12));
        assert_eq!((cache.poll_gone(), cache.poll_gone()), (Some((key("a"), 3)), None));
        assert_eq!((cache.bytes, cache.values.len(), cache.due.len()), (0, 0, 0));
    }

    #[test]
    fn what_is_cleared_or_has_no_room_is_gone() {
        let mut cache = Cache::new(3 * cost(&publication(1)));
        for (n, name) in ["a", "b", "c", "d"].iter().enumerate() {
            cache.keep(&key(name), &publication(1), Time::from_secs(10 + n as u64));
        }
        assert_eq!((offset(&cache, 4, "a"), offset(&cache, 4, "b")), (None, Some(1)));
        assert_eq!((cache.poll_gone(), cache.kept(&key("b"))), (Some((key("a"), 1)), Some((1, Time::from_secs(11)))));
        ["b", "c", "d", "never"].iter().for_each(|name| cache.clear(&key(name)));
        assert_eq!((cache.bytes, cache.values.len(), cache.due.len(), cache.poll_gone()), (0, 0, 0, None));
    }
}
