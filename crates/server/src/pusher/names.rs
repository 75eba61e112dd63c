//! From what a request names to what the hub knows, and from the hub's refusals to the API's.

use super::answer::PusherError;
use super::request::shown;
use switchboard_core::{ChannelName, Outcome};
use switchboard_dialects::pusher;

/// A channel's name as Pusher's clients write it.
pub(super) fn channel(name: &str) -> Result<ChannelName, PusherError> {
    pusher::from_pusher(name).map_err(|error| PusherError::bad_request(format!("channel {:?}: {error}", shown(name))))
}

/// An answer that is not the one to what was asked.
pub(super) fn refused(outcome: Outcome) -> PusherError {
    match outcome {
        Outcome::Rejected(reject) => reject.into(),
        outcome => crate::api::unexpected(&outcome).into(),
    }
}
