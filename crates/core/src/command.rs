//! What a client asks for and what it is answered, in no protocol's words.

use crate::{
    ChannelName, ChannelPattern, Control, Occupancy, Operations, Payload, Position, PresentUser, Publication, Question,
    Recipient, Reject, SessionId, Time, Trail, UserId,
};
use std::sync::Arc;

/// A request, as a dialect understood it. Nothing is checked yet but the form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Show a token.
    Authenticate {
        /// The JWT.
        token: String,
    },
    /// Show a signature by which the application grants operations on one channel, for as long as the session lives or until it unsubscribes.
    Authorize {
        /// The channel.
        channel: ChannelName,
        /// What the signature stands for.
        operations: Operations,
        /// Whom presence on this channel shows.
        member: Option<Described>,
        /// What was signed.
        signed: Signed,
    },
    /// Become a user, whom the application has signed for.
    SignIn {
        /// Who.
        user: Described,
        /// Users about whose coming and going it is told.
        watched: Vec<UserId>,
        /// What was signed.
        signed: Signed,
    },
    /// Receive a channel's publications.
    Subscribe {
        /// The channel.
        channel: ChannelName,
        /// Where the client was when it left.
        since: Option<Since>,
        /// Whether it wants to be told who is there, comes and goes.
        presence: bool,
        /// Deliveries in a second that it wants at most; what comes between them is conflated. 0 is as many as there are.
        rate: u32,
        /// Whether it wants the channel's cached value, whatever the channel's options say.
        cached: bool,
    },
    /// Receive them no longer.
    Unsubscribe {
        /// The channel.
        channel: ChannelName,
    },
    /// Receive the publications of all channels that a pattern stands for and that the client may subscribe to.
    Watch {
        /// The pattern.
        pattern: ChannelPattern,
    },
    /// Receive them no longer.
    Unwatch {
        /// The pattern.
        pattern: ChannelPattern,
    },
    /// Publish.
    Publish {
        /// The channel.
        channel: ChannelName,
        /// What.
        publish: Publish,
        /// Not to the session that publishes.
        exclude_self: bool,
    },
    /// Who is there?
    Presence {
        /// The channel.
        channel: ChannelName,
        /// Users that are listed at most; `None` as many as the application's limit allows.
        limit: Option<usize>,
    },
    /// What was published?
    History {
        /// The channel.
        channel: ChannelName,
        /// Where to read.
        from: ReadFrom,
        /// How many at most.
        limit: usize,
    },
    /// Send to one session, or to those of a user, that subscribe to the same channel, past its history.
    Signal {
        /// The channel.
        channel: ChannelName,
        /// To whom.
        whom: Recipient,
        /// A name by which receivers tell kinds apart.
        event: Option<Arc<str>>,
        /// What.
        payload: Payload,
    },
    /// Do something to sessions. For the application itself.
    Control(Control),
    /// How many are on a channel, and where is it? For the application itself.
    Channel {
        /// The channel.
        channel: ChannelName,
    },
    /// Which channels are occupied? For the application itself.
    Channels {
        /// What their names begin with.
        prefix: Box<str>,
        /// Only those behind this name in the order of names.
        after: Option<Box<str>>,
        /// How many at most.
        limit: usize,
    },
    /// What became of a publication? For the application itself.
    Why(Question),
}

/// For whoever reads the channel and whoever replaces it.
macro_rules! channel_of {
    ($command:expr) => {
        match $command {
            Command::Authenticate { .. }
            | Command::SignIn { .. }
            | Command::Watch { .. }
            | Command::Unwatch { .. }
            | Command::Control(_)
            | Command::Channels { .. }
            | Command::Why(_) => None,
            Command::Authorize { channel, .. }
            | Command::Subscribe { channel, .. }
            | Command::Unsubscribe { channel }
            | Command::Publish { channel, .. }
            | Command::Presence { channel, .. }
            | Command::History { channel, .. }
            | Command::Signal { channel, .. }
            | Command::Channel { channel } => Some(channel),
        }
    };
}

impl Command {
    /// The channel that it names.
    pub const fn channel(&self) -> Option<&ChannelName> {
        channel_of!(self)
    }

    /// The same, to be replaced.
    pub const fn channel_mut(&mut self) -> Option<&mut ChannelName> {
        channel_of!(self)
    }

    /// Whether something is different once it is carried out: whoever gets no answer does not know how it is.
    pub const fn changes(&self) -> bool {
        match self {
            Self::Presence { .. }
            | Self::History { .. }
            | Self::Channel { .. }
            | Self::Channels { .. }
            | Self::Why(_) => false,
            Self::Authenticate { .. }
            | Self::Authorize { .. }
            | Self::SignIn { .. }
            | Self::Subscribe { .. }
            | Self::Unsubscribe { .. }
            | Self::Watch { .. }
            | Self::Unwatch { .. }
            | Self::Publish { .. }
            | Self::Signal { .. }
            | Self::Control(_) => true,
        }
    }
}

/// A text with a signature of the application's server. Which key it names and whether it is good is the directory's to say.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    /// What must have been signed.
    pub text: String,
    /// The key's name and the signature, as the client showed them.
    pub signature: String,
}

/// Never shows the signature.
impl core::fmt::Debug for Signed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Signed").field("text", &self.text).finish_non_exhaustive()
    }
}

/// A user, as the application describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The name.
    pub user: UserId,
    /// JSON that is shown with the name.
    pub info: Option<Arc<str>>,
}

/// A position as a client gave it. Its epoch may be one that no server ever had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// A position that can exist.
    Position(Position),
    /// One that cannot: treated as an epoch that has ended.
    Unknown,
}

/// Which part of a channel's history is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// The latest publications.
    Latest,
    /// The first after a position.
    After(Since),
    /// The last before a position, which is itself not among them.
    Before(Since),
}

/// What is published, and on what conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The content.
    pub payload: Payload,
    /// A name by which receivers tell kinds apart.
    pub event: Option<Arc<str>>,
    /// What it replaces for a subscriber that keeps only the latest.
    pub key: Option<Arc<str>>,
    /// The publisher's name for this one publication, 1 to [`ID_BYTES_MAX`](Self::ID_BYTES_MAX) bytes: publishing again under the same name within
    /// the channel's window publishes nothing and is answered as the first time.
    pub id: Option<Arc<str>>,
    /// Publish only if this is the channel's position.
    pub if_position: Option<Since>,
    /// What becomes of the channel's cached value.
    pub cache: CacheRequest,
    /// A session that is not given it. Only the application itself names one; a client can leave out itself and nobody else.
    pub exclude: Option<SessionId>,
}

/// What a publisher wants of a channel's cached value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheRequest {
    /// What the channel's options say.
    #[default]
    ByOptions,
    /// The publication becomes the cached value, whatever the options say.
    Keep,
    /// The channel has none from then on.
    Clear,
}

impl Publish {
    /// The longest `id`, in bytes.
    pub const ID_BYTES_MAX: usize = 128;

    /// Just a content.
    pub fn new(payload: Payload) -> Self {
        Self {
            payload,
            event: None,
            key: None,
            id: None,
            if_position: None,
            cache: CacheRequest::ByOptions,
            exclude: None,
        }
    }
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The token is good.
    Authenticated {
        /// The user it names.
        user: UserId,
        /// When it ends.
        expires: Option<Time>,
    },
    /// The signature is good.
    Authorized {
        /// For which channel.
        channel: ChannelName,
    },
    /// The user is signed in.
    SignedIn {
        /// Who.
        user: UserId,
    },
    /// Subscribed; live publications follow.
    Subscribed {
        /// The channel.
        channel: ChannelName,
        /// The channel's position at that moment.
        position: Position,
        /// If the client gave a position: whether all that it missed follows.
        recovered: Option<bool>,
        /// Whether the channel's cached value follows.
        cached: bool,
        /// If the client asked: who is there, itself included.
        users: Option<Vec<PresentUser>>,
    },
    /// No longer subscribed.
    Unsubscribed {
        /// The channel.
        channel: ChannelName,
    },
    /// Subscribed to a pattern.
    Watching {
        /// The pattern.
        pattern: ChannelPattern,
    },
    /// No longer.
    Unwatched {
        /// The pattern.
        pattern: ChannelPattern,
    },
    /// Published.
    Published {
        /// The channel.
        channel: ChannelName,
        /// Where.
        position: Position,
        /// It had been published before, there, under the same [`id`](Publish::id).
        duplicate: bool,
    },
    /// Who is there.
    Presence {
        /// The channel.
        channel: ChannelName,
        /// Each user once; not all if they are very many.
        users: Vec<PresentUser>,
        /// How many users there are, whether or not they are all listed.
        total: u64,
        /// The connections of all users, and of those beyond what the channel lists.
        connections: u64,
    },
    /// What was published.
    History {
        /// The channel.
        channel: ChannelName,
        /// The channel's position now.
        position: Position,
        /// In order.
        publications: Vec<Arc<Publication>>,
        /// Whether there are others beyond these.
        more: bool,
    },
    /// How it is with one channel.
    Channel {
        /// How many are on it; a channel that nobody uses is no error.
        occupancy: Occupancy,
        /// Its position now.
        position: Position,
        /// Its cached value.
        cached: Option<Arc<Publication>>,
    },
    /// The occupied channels.
    Channels {
        /// In the order of their names.
        channels: Vec<Occupancy>,
        /// Whether there are others behind these.
        more: bool,
    },
    /// It is done.
    Affected {
        /// How many sessions of this node it concerned.
        sessions: u64,
    },
    /// What became of a publication.
    Why(Trail),
    /// Refused.
    Rejected(Reject),
}
