//! A raw connection: it sees payloads and nothing else, so all that it can check is order, and that nothing comes twice.

use crate::Violation;
use crate::conversation::{Checked, violation};
use crate::truth::{Place, Truth, number_in};
use switchboard_core::{SessionId, Time};

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: SessionId,
    place: Place,
    /// Epoch and offset of the last publication, or where it asked to begin.
    last: Option<(u64, u64)>,
    /// Nothing can be missing without a word: the history is large and the policy is to disconnect.
    complete: bool,
    /// The channel keeps a value for those who come.
    caches: bool,
    /// When it asked to listen.
    asked: Time,
    heard: bool,
    /// Something came that was live for certain: from there on everything is counted.
    is_live: bool,
}

impl Listener {
    pub(crate) fn new(
        name: SessionId,
        place: Place,
        since: Option<(u64, u64)>,
        (complete, caches): (bool, bool),
        asked: Time,
    ) -> Self {
        Self { name, place, last: since, complete, caches, asked, heard: false, is_live: false }
    }

    pub(crate) fn channel(&self) -> &str {
        &self.place.1
    }

    pub(crate) fn end(self) -> Option<(String, (u64, u64))> {
        self.last.map(|last| (self.place.1, last))
    }

    /// The first may be the value that the channel keeps for those who come, which tells nothing of where they are: who came back may have published it.
    pub(crate) fn may_be_kept(&self) -> bool {
        self.caches && !self.heard
    }

    pub(crate) fn receive(&mut self, truth: &Truth, payload: &[u8]) -> Checked {
        let number = number_in(payload);
        let Some((place, position)) = number.and_then(|number| truth.place_of(number)) else {
            return violation("raw: a message that nobody published");
        };
        let (epoch, offset) = (position.epoch.0, position.offset);
        if *place != self.place {
            return violation("raw: a message of another channel");
        }
        let record = truth.at(place, epoch, offset);
        let may_be_cached = self.may_be_kept();
        if record.is_some_and(|record| record.exclude == Some(self.name)) && !may_be_cached {
            return violation("raw: a message from which it is excluded");
        }
        if let Some((before, last)) = self.last
            && before == epoch
        {
            if offset <= last && !may_be_cached {
                return Err(Violation::new("raw: a message twice or too late", format!("{offset} after {last}")));
            }
            let mut between = truth.between(place, epoch, last, offset).iter();
            // What it missed before the first message may be lost without a word.
            if self.complete && self.is_live && between.any(|record| record.exclude != Some(self.name)) {
                return Err(Violation::new("raw: a silent gap", format!("{offset} after {last}")));
            }
        }
        self.last = Some((epoch, offset));
        self.heard = true;
        self.is_live |= !may_be_cached || record.is_some_and(|record| record.told >= self.asked);
        Ok(())
    }
}
