//! How many sessions and subscriptions there are, counted apart from the sessions, so that one that is lost to a panic is still taken off.

use switchboard_dialects::AnyDialect;
use switchboard_hub::SubscriberId;

/// What each open session has been counted for.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// By slot.
    open: Vec<Option<Counted>>,
    pub(crate) sessions: [u64; AnyDialect::NAMES.len()],
    pub(crate) subscriptions: u64,
}

#[derive(Debug)]
struct Counted {
    id: SubscriberId,
    kind: usize,
    subscriptions: u64,
}

impl Gauges {
    pub(crate) fn open(&mut self, id: SubscriberId, kind: usize) {
        let index = id.slot as usize;
        if self.open.len() <= index {
            self.open.resize_with(index + 1, || None);
        }
        if let Some(place) = self.open.get_mut(index) {
            *place = Some(Counted { id, kind, subscriptions: 0 });
        }
        if let Some(count) = self.sessions.get_mut(kind) {
            *count += 1;
        }
    }

    pub(crate) fn close(&mut self, id: SubscriberId) {
        let place = self.open.get_mut(id.slot as usize);
        let Some(counted) = place.and_then(|place| place.take_if(|counted| counted.id == id)) else { return };
        self.subscriptions -= counted.subscriptions;
        if let Some(count) = self.sessions.get_mut(counted.kind) {
            *count -= 1;
        }
    }

    /// A session subscribes to so many channels now.
    pub(crate) fn set_subscriptions(&mut self, id: SubscriberId, subscriptions: usize) {
        if let Some(Some(counted)) = self.open.get_mut(id.slot as usize)
            && counted.id == id
        {
            let subscriptions = subscriptions as u64;
            self.subscriptions = self.subscriptions - counted.subscriptions + subscriptions;
            counted.subscriptions = subscriptions;
        }
    }
}
