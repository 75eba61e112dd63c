//! Pusher's HTTP API: who may ask, what reaches whom, and what is refused how.

mod events;
mod refusals;
pub mod support;
