//! The vocabulary that every other crate speaks: applications, channels, publications, commands, rights, limits and wire formats.
//!
//! It knows no protocol, no socket and no clock, and decides nothing that needs more than its arguments.

mod app;
pub mod canary;
mod channel;
mod command;
mod control;
mod disconnect;
mod event;
mod format;
mod grant;
mod ids;
mod limits;
mod notice;
mod occupancy;
mod options;
mod pattern;
mod payload;
mod publication;
mod reject;
mod time;
mod why;

pub use app::App;
pub use channel::{ChannelMatch, ChannelName, ChannelNameError};
pub use command::{CacheRequest, Command, Described, Outcome, Publish, ReadFrom, Signed, Since};
pub use control::{Control, Recipient, Signal};
pub use disconnect::Disconnect;
pub use event::{Event, PresenceChange, PresentUser};
pub use format::{Encode, Encoded, FrameKind, Framing, FramingId, Mark, WireFormat};
pub use grant::{Grant, Identity, Operations};
pub use ids::{AppId, ClientInfo, OpId, SessionId, UserId, UserIdError};
pub use limits::Limits;
pub use notice::{Happened, Notice, NoticeKinds, Notices};
pub use occupancy::{Occupancy, PresenceCount};
pub use options::{ChannelOptions, Channels, ConflateBy, Overflow};
pub use pattern::{ChannelPattern, ChannelPatternError};
pub use payload::Payload;
pub use publication::{CacheEffect, Epoch, Position, Publication};
pub use reject::{Reject, RejectCode};
pub use time::{Deadline, Time};
pub use why::{About, Earlier, Fate, Question, Standing, Step, Trail, What, Whereabouts, Whom};
