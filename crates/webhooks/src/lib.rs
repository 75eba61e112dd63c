//! Telling an application's own servers what happens to its channels.
//!
//! A [`Dispatcher`] takes notices in and gives requests out: it decides what is sent to whom, when, again, and not at all. A state machine without sockets,
//! files, clock and randomness; what it wants written down it says as lines ([`journal`]), and somebody else keeps them.

mod address;
mod dispatcher;
mod form;
mod hook;
pub mod journal;
mod ledger;
mod pace;
mod queue;
mod settings;

pub use address::is_public;
pub use dispatcher::Dispatcher;
pub use hook::{Answered, Request, WebhookStats};
pub use ledger::Fact;
pub use pace::{Answer, Breaker};
pub use settings::{Settings, Webhook};
