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
    serial: u64,
    subscriptions: u32,
    kind: u8,
}

impl Gauges {
    pub(crate) fn open(&mut self, id: SubscriberId, kind: usize) {
        let index = id.slot as usize;
        if self.open.len() <= index {
            self.open.resize_with(index + 1, || None);
        }
        if let Some(place) = self.open.get_mut(index) {
            let kind = u8::try_from(kind).unwrap_or(u8::MAX);
            *place = Some(Counted { serial: id.serial, subscriptions: 0, kind });
        }
        if let Some(count) = self.sessions.get_mut(kind) {
            *count += 1;
        }
    }

    pub(crate) fn close(&mut self, id: SubscriberId) {
        let place = self.open.get_mut(id.slot as usize);
        let Some(counted) = place.and_then(|place| place.take_if(|counted| counted.serial == id.serial)) else {
            return;
        };
        self.subscriptions -= u64::from(counted.subscriptions);
        if let Some(count) = self.sessions.get_mut(usize::from(counted.kind)) {
            *count -= 1;
        }
    }

    /// A session subscribes to so many channels now.
    pub(crate) fn set_subscriptions(&mut self, id: SubscriberId, subscriptions: usize) {
        if let Some(Some(counted)) = self.open.get_mut(id.slot as usize)
            && counted.serial == id.serial
        {
            let subscriptions = u32::try_from(subscriptions).unwrap_or(u32::MAX);
            self.subscriptions = self.subscriptions + u64::from(subscriptions) - u64::from(counted.subscriptions);
            counted.subscriptions = subscriptions;
        }
    }
}
