//! Pusher's HTTP API: who may ask, what reaches whom, and what is refused how.

mod channels;
mod events;
mod limits;
mod refusals;
mod routes;
pub mod support;
mod users;
