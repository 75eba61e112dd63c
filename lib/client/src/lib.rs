//! A client of Switchboard that stays connected.
//!
//! ```no_run
//! use futures_util::StreamExt;
//! use switchboard_client::{Client, SubscriptionEvent};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("ws://localhost:8080/ws").connect()?;
//! let mut room = client.subscribe("room:lobby").await?;
//! client.publish("room:lobby", &"hello").await?;
//! while let Some(event) = room.next().await {
//!     match event {
//!         SubscriptionEvent::Message(message) => println!("{}", message.data.decode::<String>()?),
//!         SubscriptionEvent::Lost { .. } => println!("too much was missed: load the state afresh"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - It reconnects by itself: exponential backoff with full jitter, the server's hints honoured, a fresh token if it needs one.
//! - Subscriptions live through that. A subscription resumes behind the last message that it handed over: what was missed comes in
//!   order and once, or there is a [`Lost`](SubscriptionEvent::Lost). Never a silent gap.
//! - Requests made while there is no connection wait in a bounded queue with a policy ([`QueueOverflow`]).
//! - A subscription whose reader falls behind is stopped and later resumed from the server's history: it holds a bounded number of bytes here,
//!   and does not hold up the others.
//!
//! [`core`] is all of that as a pure state machine, without sockets, clock or randomness; [`Client`] drives it with tokio.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]

pub mod core;
mod driver;
mod error;
mod types;

pub use crate::core::config::{Config, QueueOverflow};
pub use driver::builder::{Builder, StartError, TokenError};
pub use driver::client::{Client, Events};
pub use driver::requests::{AskPresence, History, Publish, SendSignal, Subscribe, SubscribePattern};
pub use driver::subscription::Subscription;
pub use error::{Cause, Ended, Refusal, RequestError, SubscribeError};
pub use switchboard_ws as ws;
pub use types::{
    Cache, ConnectionEvent, Data, HistoryPage, Member, Message, Position, Presence, Published, Receiver, Sender,
    Signal, Subscribed, SubscriptionEvent, Unsubscribed, User,
};

/// The snippets of the page that shows how to use it, compiled with the examples of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/howto/rust-client.md")]
mod rust_client {}

/// And that of the page that introduces it.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
