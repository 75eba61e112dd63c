//! The wall clock, for what is outside of the shards.

use std::time::{SystemTime, UNIX_EPOCH};
use switchboard_core::Time;

/// Now.
pub(crate) fn now() -> Time {
    Time::default() + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
