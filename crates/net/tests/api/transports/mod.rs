//! What every transport must do, as one suite that takes a way of reaching a server.
//!
//! It knows no transport: how a client goes out and hears is [`Transport`], and what a transport has no means for is an [`Ability`] that it does not
//! declare. Everything is said in the native protocol's JSON, which all of these transports can carry.

mod plain;
mod scenarios;
mod websocket;

use serde_json::Value;
use switchboard_net::{Server, Settings};

/// A way to a server, and over it clients. On one that several share, all clients of a scenario do.
trait Transport {
    /// The name under which its sessions are counted.
    const DIALECT: &'static str;
    const ABILITIES: &'static [Ability];
    type Client: Listener;

    /// Before there is a server.
    fn new(settings: &mut Settings) -> Self;

    async fn reach(&mut self, server: &Server);

    /// A client that is subscribed as it wished.
    async fn open(&mut self, wish: &Wish) -> Result<Self::Client, Refusal>;
}

/// A client. Dropped it is gone without a word: a reset, of its connection or of its stream.
trait Listener {
    /// What the subscription was answered with.
    fn subscribed(&self) -> &Value;

    /// The next thing that it is told but for signs of life.
    async fn hear(&mut self) -> Value;

    /// Asked for only with [`Ability::Publish`].
    async fn publish(&mut self, channel: &str, text: &str);
}

/// What not every transport has the means for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ability {
    /// A client publishes on the connection that it listens on.
    Publish,
    /// It subscribes after it was let in: what it has no right to is refused by an answer. Without it, by the status.
    Later,
    /// There is more to come on what it listens to, so that it may be slow, and be told why it ends. Without it the end is an answer with nothing in it.
    GoesOn,
    /// Clients share a connection, which takes a place among those of the address beside theirs.
    Shares,
    /// Who finds no place is told so: by 503 on a connection that is shared, by 429 else. Without it the server hangs up.
    Overload,
}

/// How a client is turned away.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Status(u16),
    Answer(String),
    HungUp,
}

/// What a client comes with.
#[derive(Clone, Debug, Default)]
struct Wish {
    channel: &'static str,
    app: Option<&'static str>,
    token: Option<&'static str>,
    origin: Option<&'static str>,
    /// `EPOCH:OFFSET`
    since: Option<String>,
}

impl Wish {
    fn channel(channel: &'static str) -> Self {
        Self { channel, ..Self::default() }
    }

    /// In the application that wants tokens.
    fn closed(channel: &'static str, token: &'static str) -> Self {
        Self { app: Some("closed"), token: Some(token), ..Self::channel(channel) }
    }
}

fn check<T: Transport>() {
    scenarios::order::<T>();
    scenarios::refusals::<T>();
    scenarios::applications::<T>();
    scenarios::resume::<T>();
    scenarios::disappearance::<T>();
    scenarios::places::<T>();
    scenarios::slow_reader::<T>();
    scenarios::large_message::<T>();
    scenarios::drain::<T>();
}

#[test]
fn websocket_over_tcp() {
    check::<websocket::Over<websocket::Plain>>();
}

#[test]
fn websocket_over_tls() {
    check::<websocket::Over<websocket::Tls>>();
}

#[test]
fn websocket_over_http2() {
    check::<websocket::Over<websocket::Http2>>();
}

#[test]
fn events_over_http1() {
    check::<plain::Over<plain::Events, plain::Http1>>();
}

#[test]
fn events_over_http2() {
    check::<plain::Over<plain::Events, plain::Http2>>();
}

#[test]
fn lines_over_http1() {
    check::<plain::Over<plain::Lines, plain::Http1>>();
}

#[test]
fn lines_over_http2() {
    check::<plain::Over<plain::Lines, plain::Http2>>();
}

#[test]
fn polls_over_http1() {
    check::<plain::Over<plain::Polls, plain::Http1>>();
}

#[test]
fn polls_over_http2() {
    check::<plain::Over<plain::Polls, plain::Http2>>();
}
