//! When which session must be looked at. Each has at most one timer: its nearest deadline.

use std::collections::BTreeSet;
use switchboard_core::{Deadline, Time};

#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Time, u32)>,
}

impl Timers {
    /// Moves a slot's timer. `timer` is where the slot keeps what is set.
    pub(crate) fn set(&mut self, slot: u32, timer: &mut Deadline, at: Deadline) {
        if *timer == at {
            return;
        }
        if let Some(old) = timer.get() {
            self.due.remove(&(old, slot));
        }
        if let Some(at) = at.get() {
            self.due.insert((at, slot));
        }
        *timer = at;
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.due.first().map(|(time, _)| *time)
    }

    /// Takes the next slot that is due.
    pub(crate) fn pop(&mut self, now: Time) -> Option<u32> {
        let (time, slot) = *self.due.first()?;
        if time > now {
            return None;
        }
        self.due.pop_first();
        Some(slot)
    }
}
