//! From what a request names to what the hub knows, and from the hub's refusals to the API's.

use super::answer::PusherError;
use super::request::shown;
use switchboard_core::{ChannelName, Outcome, UserId};
use switchboard_dialects::pusher;

/// A channel's name as Pusher's clients write it.
pub(super) fn channel(name: &str) -> Result<ChannelName, PusherError> {
    pusher::from_pusher(name).map_err(|error| PusherError::bad_request(format!("channel {:?}: {error}", shown(name))))
}

/// Where an event goes: to a channel, or to a user by the name that the libraries give to that.
pub(super) fn target(name: &str) -> Result<ChannelName, PusherError> {
    match name.strip_prefix(TO_USER) {
        Some(name) => Ok(ChannelName::of_user(&user(name)?)),
        None => channel(name),
    }
}

/// A user's name.
pub(super) fn user(name: &str) -> Result<UserId, PusherError> {
    UserId::parse(name).map_err(|error| PusherError::bad_request(format!("user {:?}: {error}", shown(name))))
}

/// What stands before a user's name where a channel's is expected.
const TO_USER: &str = "#server-to-user-";

/// An answer that is not the one to what was asked.
pub(super) fn refused(outcome: Outcome) -> PusherError {
    match outcome {
        Outcome::Rejected(reject) => reject.into(),
        outcome => crate::api::unexpected(&outcome).into(),
    }
}
