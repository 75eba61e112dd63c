//! What a user has asked of a conversation. Owns no decision: what follows from each wish is the conversation's.

use core::time::Duration;

/// How one wants to talk.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// Where to; shown, not used.
    pub url: String,
    /// Messages to send in place of what is typed or piped in.
    pub execute: Vec<String>,
    /// How long to wait for answers once there is no more input; `None` for as long as the server stays.
    pub wait: Option<Duration>,
    /// Stay when the input ends, until the server closes.
    pub no_close: bool,
    /// Send at most one message, and end with the first that arrives.
    pub one_message: bool,
    /// Show pings and pongs to those who do not type, too.
    pub show_ping_pong: bool,
    /// Send lines as binary messages.
    pub binary: bool,
    /// Ping so often, and show how long the pong takes.
    pub ping_interval: Option<Duration>,
    /// Connect again when the connection is lost or cannot be made.
    pub reconnect: bool,
    /// Understand a Switchboard's own protocol where it is met.
    pub native: bool,
    /// Compare what comes with the recording that is played.
    pub expect: bool,
    /// Write down what goes over the connection.
    pub record: bool,
}
