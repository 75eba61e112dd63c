//! A publication and its place in its channel's history.

use crate::{ChannelName, ClientInfo, Payload, SessionId, Time};
use core::fmt;
use core::time::Duration;
use std::sync::Arc;

/// Names an unbroken run of a channel's offsets. It changes whenever continuity cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Reads what [`Display`](fmt::Display) wrote. `None` for anything else: to a server that never gave it, it is an epoch that has ended.
    pub fn parse(raw: &str) -> Option<Self> {
        // from_str_radix would take a sign.
        if raw.is_empty() || raw.len() > 16 || !raw.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        u64::from_str_radix(raw, 16).ok().map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Where in a channel's history somebody is: after the publication with this offset. Offset 0 is before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The run of offsets.
    pub epoch: Epoch,
    /// The offset in that run, at most 2⁵³−1 so that every JSON reader can hold it.
    pub offset: u64,
}

/// A message as its channel has it: once made, it is shared and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Its channel.
    pub channel: ChannelName,
    /// Its place.
    pub position: Position,
    /// The offset of the publication before it: offsets may skip.
    pub previous: u64,
    /// When the broker took it.
    pub timestamp: Time,
    /// A name by which receivers tell kinds apart.
    pub event: Option<Arc<str>>,
    /// What it replaces for a subscriber that keeps only the latest.
    pub key: Option<Arc<str>>,
    /// The content.
    pub payload: Payload,
    /// Who published it; absent for publications by the application.
    pub publisher: Option<ClientInfo>,
    /// A session that shall not get it.
    pub exclude: Option<SessionId>,
    /// What it does to its channel's cached value.
    pub cache: CacheEffect,
}

/// What a publication does to its channel's cached value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheEffect {
    /// Nothing.
    #[default]
    None,
    /// It is the cached value for so long, unless another takes its place.
    Keep(Duration),
    /// There is none after it.
    Clear,
}

impl Publication {
    /// What it costs to keep, in bytes: the content, the names and a flat sum for the rest.
    pub fn cost(&self) -> usize {
        const FLAT: usize = 160;
        let name = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        FLAT + self.payload.len() + name(&self.event) + name(&self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_read_as_written_and_nothing_else() {
        for epoch in [0, 0xe1, u64::MAX] {
            assert_eq!(Epoch::parse(&Epoch(epoch).to_string()), Some(Epoch(epoch)));
        }
        for bad in ["", "+1", "-1", "xyz", " 1", "10000000000000000"] {
            assert_eq!(Epoch::parse(bad), None, "{bad:?}");
        }
    }
}
