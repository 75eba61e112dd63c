//! Where the sessions of a shard are that somebody may ask for: those of a user, and one by its name.
//!
//! A session without a user costs nothing here, and names cost nothing until the first is asked for. An entry may outlive its session: whoever looks one up
//! checks it.

use hashbrown::HashMap;
use smallvec::SmallVec;
use switchboard_core::{AppId, UserId};
use switchboard_hub::SubscriberId;

/// The sessions of one place in the index.
pub(crate) type Found = SmallVec<[SubscriberId; 2]>;

#[derive(Debug, Default)]
pub(crate) struct Index {
    users: HashMap<(AppId, UserId), Found, foldhash::fast::RandomState>,
    /// Slots by serial.
    names: Option<HashMap<u64, u32, foldhash::fast::RandomState>>,
}

impl Index {
    /// A session has begun.
    pub(crate) fn open(&mut self, id: SubscriberId) {
        if let Some(names) = &mut self.names {
            names.insert(id.serial, id.slot);
        }
    }

    /// A session has ended.
    pub(crate) fn close(&mut self, id: SubscriberId) {
        if let Some(names) = &mut self.names {
            names.remove(&id.serial);
        }
    }

    /// A session is a user's from now on.
    pub(crate) fn add_user(&mut self, app: &AppId, user: &UserId, id: SubscriberId) {
        let found = self.users.entry((app.clone(), user.clone())).or_default();
        if !found.contains(&id) {
            found.push(id);
        }
    }

    /// It is no longer.
    pub(crate) fn remove_user(&mut self, app: &AppId, user: &UserId, id: SubscriberId) {
        let key = (app.clone(), user.clone());
        if let Some(found) = self.users.get_mut(&key) {
            found.retain(|known| *known != id);
            if found.is_empty() {
                self.users.remove(&key);
            }
        }
    }

    /// A user's sessions.
    pub(crate) fn of_user(&self, app: &AppId, user: &UserId) -> Found {
        self.users.get(&(app.clone(), user.clone())).cloned().unwrap_or_default()
    }

    /// The session with this serial; `all` are those that there are now, for the first who asks.
    pub(crate) fn named(&mut self, serial: u64, all: impl Iterator<Item = SubscriberId>) -> Option<SubscriberId> {
        let names = self.names.get_or_insert_with(|| all.map(|id| (id.serial, id.slot)).collect());
        names.get(&serial).map(|slot| SubscriberId { slot: *slot, serial })
    }
}
