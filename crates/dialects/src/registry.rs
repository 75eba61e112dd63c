//! The one place that names the dialects.

use switchboard_core::{ChannelName, Since};

/// Which dialect a connection speaks, and with which options, as its address and headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The native protocol (`docs/reference/native-protocol.md`).
    Native {
        /// Several waiting publications may come in one frame.
        batch: bool,
    },
    /// Whole messages of one channel, unwrapped (`docs/reference/raw.md`).
    Raw {
        /// The channel that the connection consists of.
        channel: ChannelName,
        /// Where the client was when it left.
        since: Option<Since>,
        /// Whether what the client sends comes back to it.
        echo: bool,
    },
}
