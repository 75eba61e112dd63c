//! A conversation with any WebSocket server: lines out, messages in, and everything that helps to see what goes on.
//!
//! `Conversation` decides; the line's editor, the commands, the history, recordings, frames and how things look are pure too.
//! `drive`, `tap` and `terminal` have the sockets, the clock and the terminal. Data goes to stdout, all else to stderr.

mod backoff;
mod command;
mod conversation;
mod drive;
mod editor;
mod frames;
mod history;
mod look;
mod manner;
mod native;
mod pings;
mod record;
mod tap;
mod terminal;
mod text;
mod typing;

pub use drive::{Options, run};
pub use look::Look;
pub use manner::Manner;
pub use record::{RecordError, Replay};
pub use tap::Route;
pub use text::printable;

use switchboard_ws::ConnectError;

/// Why it did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// What was asked for cannot be done.
    #[error("{0}")]
    Usage(String),
    /// There was no connection.
    #[error(transparent)]
    Connecting(#[from] ConnectError),
    /// The connection broke.
    #[error("{0}")]
    Connection(String),
    /// The server refused who asked, or for want of a right.
    #[error("{0}")]
    Refused(String),
    /// The user pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}
