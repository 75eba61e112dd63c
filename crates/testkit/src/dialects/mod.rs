//! What every dialect must do, as one suite that takes a way of speaking.
//!
//! It drives clients of the dialect through the real sessions and hub, and compares what they are told with what was promised to everybody. It knows no
//! dialect: how a client says and understands things is [`Speech`], and what it cannot say or be told it declares as a missing [`Ability`].

mod flow;
mod people;
mod pressure;
mod recovery;
mod rights;
mod stage;

use crate::framing::Received;
use core::fmt::Debug;
use switchboard_core::{Payload, Position};
use switchboard_dialects::Opening;

/// How clients of a dialect say and understand things. One value is one client.
pub trait Speech: Debug {
    /// What its clients can say and be told.
    const ABILITIES: &'static [Ability];

    /// A client that has said nothing yet.
    fn new() -> Self;

    /// What a connection is opened with by a client that wants this first.
    fn opening(&mut self, wish: &Wish) -> Opening;

    /// What the client says to subscribe; nothing where the opening has said it.
    fn subscribe(&mut self, wish: &Wish) -> Vec<Received>;

    /// What it says to leave a channel. Asked for only with [`Ability::Unsubscribe`].
    fn unsubscribe(&mut self, channel: &str) -> Vec<Received>;

    /// What it says to publish. Asked for only with [`Ability::Publish`].
    fn publish(&mut self, channel: &str, payload: &Payload) -> Vec<Received>;

    /// What a message tells the client, in order.
    fn hear(&mut self, message: &Received) -> Vec<Heard>;

    /// The content as it arrives at a client of this dialect.
    fn arrives(payload: &Payload) -> Payload {
        payload.clone()
    }

    /// The name by which clients of this dialect know a channel for a use.
    fn channel(wanted: Use) -> &'static str {
        match wanted {
            Use::Listening => "room:a",
            Use::Other => "room:b",
            Use::Speaking => "room:speaking",
            Use::Presence => "room:people",
            Use::Cached => "cached:a",
        }
    }

    /// Messages that mean nothing, or not what they seem to.
    fn noise() -> Vec<Received>;
}

/// What channels are used for: dialects whose names say what a channel is have one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To receive what the application publishes.
    Listening,
    /// Another of the same kind.
    Other,
    /// To publish as a client.
    Speaking,
    /// To see who is there.
    Presence,
    /// To get the last publication on coming.
    Cached,
}

/// What not every protocol has words for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ability {
    /// Clients publish.
    Publish,
    /// Who publishes gets it too, if it subscribes.
    Echo,
    /// A publication is acknowledged.
    Acknowledge,
    /// A request is refused and the connection goes on. Without it the connection ends.
    Refuse,
    /// Several channels on one connection, added as it goes.
    Several,
    /// Channels are left before the connection ends.
    Unsubscribe,
    /// A client says where it was, and gets what it missed.
    Resume,
    /// It is told whether that was all.
    Recovered,
    /// Publications that will not come are told.
    Gap,
    /// Who is there, who comes, who leaves.
    Presence,
    /// The last publication for those who come.
    Cached,
    /// A client shows a token, and is the user that it names.
    Token,
    /// Silence is broken by a message.
    Heartbeat,
}

/// What a client wants to subscribe to.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The channel.
    pub channel: String,
    /// Where it was.
    pub since: Option<Position>,
    /// Whom presence shall show.
    pub member: Option<&'static str>,
}

impl Wish {
    /// A channel, from now on.
    pub fn channel(channel: &str) -> Self {
        Self { channel: channel.to_owned(), since: None, member: None }
    }
}

/// What a client has understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is subscribed, and if it said where it was, whether it gets all that it missed; with presence, who is there.
    Subscribed {
        /// The channel.
        channel: String,
        /// Whether it gets all that it missed.
        recovered: Option<bool>,
        /// Who is there.
        users: Option<Vec<String>>,
    },
    /// A request was refused.
    Refused,
    /// Its publication was taken.
    Acknowledged,
    /// A publication.
    Message {
        /// The channel; where it goes without saying, the one that was asked for first.
        channel: String,
        /// The content.
        payload: Payload,
        /// Whether it was published before the client came, and kept.
        cached: bool,
    },
    /// So many publications will not come.
    Gap(u64),
    /// A user came.
    Joined(String),
    /// A user left.
    Left(String),
    /// A channel was left.
    Unsubscribed,
    /// Nothing but a sign of life.
    Alive,
    /// Something else.
    Other,
}

/// Runs the suite.
pub fn check_dialect<S: Speech>() {
    flow::live::<S>();
    flow::payloads::<S>();
    flow::publishing::<S>();
    flow::leaving::<S>();
    flow::applications::<S>();
    rights::matrix::<S>();
    rights::expiry::<S>();
    recovery::resume::<S>();
    recovery::cached::<S>();
    people::presence::<S>();
    pressure::disconnect::<S>();
    pressure::drop_oldest::<S>();
    pressure::keep_latest::<S>();
    pressure::limits::<S>();
    pressure::silence::<S>();
    pressure::drain::<S>();
    pressure::noise::<S>();
}

fn has<S: Speech>(ability: Ability) -> bool {
    S::ABILITIES.contains(&ability)
}
