//! What both sides agree to (RFC 7692 §5 and §7.1): offers, the server's choice, the client's check of it. Pure text and numbers.

use alloc::string::String;
use core::fmt;

use super::extensions::{self, Extension, Malformed};
use super::{COMPRESSOR_WINDOW_BITS_MIN, Tuning, WINDOW_BITS_MAX};

/// What one side is ready for, server or client. Every field has a setter of its name.
///
/// Memory is why [context takeover](super#what-it-costs) is off by default in both directions.
///
/// ```
/// use switchboard_ws_proto::deflate::Policy;
///
/// // A server that takes the clients' context but keeps none of its own.
/// let policy = Policy::default().peer_context_takeover(true);
/// let params = policy.answer(["permessage-deflate; client_max_window_bits"])?.unwrap();
/// assert_eq!(params.to_string(), "permessage-deflate; server_no_context_takeover");
/// # Ok::<(), switchboard_ws_proto::deflate::NegotiationError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Policy {
    /// We compress with what we sent before, if the peer lets us. Default: no.
    pub context_takeover: bool,
    /// The peer may compress with what it sent before. Default: no.
    pub peer_context_takeover: bool,
    /// The window that we compress with has at most 2 to the power of this many bytes: 9 to 15. Default 15.
    pub window_bits: u8,
    /// The peer is asked to keep to this window: 9 to 15. It is the peer's memory that a smaller one saves, not ours. Default 15.
    pub peer_window_bits: u8,
    /// How we compress.
    pub tuning: Tuning,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            context_takeover: false,
            peer_context_takeover: false,
            window_bits: WINDOW_BITS_MAX,
            peer_window_bits: WINDOW_BITS_MAX,
            tuning: Tuning::default(),
        }
    }
}

/// A client's offer. Made by [`Policy::offer`]; `Display` gives the header's value.
///
/// ```
/// use switchboard_ws_proto::deflate::Policy;
/// let offer = Policy::default().context_takeover(true).peer_context_takeover(true).offer();
/// assert_eq!(offer.to_string(), "permessage-deflate; client_max_window_bits");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Offer {
    /// The server must compress each message on its own.
    pub server_no_context_takeover: bool,
    /// A hint: the client will compress each message on its own.
    pub client_no_context_takeover: bool,
    /// The server must not use a larger window.
    pub server_max_window_bits: Option<u8>,
    /// The server may limit the client's window, which is not larger than this. 15 is written without a value.
    pub client_max_window_bits: Option<u8>,
}

/// What is agreed: the server's answer. `Display` gives the header's value.
///
/// ```
/// use switchboard_ws_proto::deflate::Policy;
///
/// let params = Policy::default().window_bits(10).answer(["permessage-deflate"])?.expect("it is offered");
/// assert_eq!(
///     params.to_string(),
///     "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10"
/// );
/// # Ok::<(), switchboard_ws_proto::deflate::NegotiationError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Params {
    /// The server compresses each message on its own.
    pub server_no_context_takeover: bool,
    /// The client compresses each message on its own.
    pub client_no_context_takeover: bool,
    /// The server's window, 15 if nothing is said.
    pub server_max_window_bits: Option<u8>,
    /// The client's window, 15 if nothing is said.
    pub client_max_window_bits: Option<u8>,
}

/// The peer's `Sec-WebSocket-Extensions` header breaks the rules: the connection must not be used (RFC 6455 §9.1, RFC 7692 §7.1).
///
/// ```
/// use switchboard_ws_proto::deflate::{NegotiationError, Policy};
///
/// assert_eq!(Policy::default().answer(["permessage-deflate; ="]), Err(NegotiationError::Malformed));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// Not a list of extensions.
    #[error("Sec-WebSocket-Extensions is malformed")]
    Malformed,
    /// The server chose an extension that was not offered, or one of them twice.
    #[error("the server chose the extension {0:?}, which was not offered")]
    NotOffered(String),
    /// The server's answer has a parameter that is unknown, repeated, of a wrong value or not to the offer, or lacks one that the offer demands.
    #[error("the server's {0:?} of permessage-deflate is wrong or does not fit the offer")]
    Parameter(String),
}

impl Policy {
    /// Sets [`context_takeover`](Self#structfield.context_takeover).
    ///
    /// ```
    /// let policy = switchboard_ws_proto::deflate::Policy::default().context_takeover(true);
    /// ```
    #[must_use]
    pub const fn context_takeover(mut self, takeover: bool) -> Self {
        self.context_takeover = takeover;
        self
    }

    /// Sets [`peer_context_takeover`](Self#structfield.peer_context_takeover).
    ///
    /// ```
    /// let policy = switchboard_ws_proto::deflate::Policy::default().peer_context_takeover(true);
    /// ```
    #[must_use]
    pub const fn peer_context_takeover(mut self, takeover: bool) -> Self {
        self.peer_context_takeover = takeover;
        self
    }

    /// Sets [`window_bits`](Self#structfield.window_bits).
    ///
    /// ```
    /// let policy = switchboard_ws_proto::deflate::Policy::default().window_bits(12);
    /// ```
    #[must_use]
    pub const fn window_bits(mut self, bits: u8) -> Self {
        self.window_bits = bits;
        self
    }

    /// Sets [`peer_window_bits`](Self#structfield.peer_window_bits).
    ///
    /// ```
    /// let policy = switchboard_ws_proto::deflate::Policy::default().peer_window_bits(12);
    /// ```
    #[must_use]
    pub const fn peer_window_bits(mut self, bits: u8) -> Self {
        self.peer_window_bits = bits;
        self
    }

    /// Sets [`tuning`](Self#structfield.tuning).
    ///
    /// ```
    /// use switchboard_ws_proto::deflate::{Policy, Tuning};
    ///
    /// let policy = Policy::default().tuning(Tuning { level: 6, ..Tuning::default() });
    /// ```
    #[must_use]
    pub const fn tuning(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// The server's choice among what a client offers in the lines of its header: the first offer that is right and acceptable, or `None` for a
    /// connection without compression. Other extensions are passed over, and so are offers with parameters that are unknown, repeated or
    /// wrong (§7.1). An offer that demands a window of 8 bits is declined.
    ///
    /// ```
    /// use switchboard_ws_proto::deflate::Policy;
    ///
    /// let policy = Policy::default().context_takeover(true).peer_context_takeover(true);
    /// let params = policy.answer(["x-webkit-deflate-frame, permessage-deflate; client_max_window_bits"])?;
    /// assert_eq!(params.map(|params| params.to_string()).as_deref(), Some("permessage-deflate"));
    /// # Ok::<(), switchboard_ws_proto::deflate::NegotiationError>(())
    /// ```
    ///
    /// # Errors
    /// [`NegotiationError::Malformed`]: the handshake has to be refused (RFC 6455 §9.1).
    pub fn answer<'a>(&self, lines: impl IntoIterator<Item = &'a str>) -> Result<Option<Params>, NegotiationError> {
        let mut chosen = None;
        for line in lines {
            // Read to the end, whatever was chosen: a header that is malformed anywhere is to be refused.
            for extension in extensions::parse(line)?.iter().filter(|extension| extension.name == NAME) {
                if chosen.is_none()
                    && let Ok(offer) = Offer::parse(extension)
                {
                    chosen = self.accept(&offer);
                }
            }
        }
        Ok(chosen)
    }

    /// What a client of this policy offers.
    ///
    /// ```
    /// use switchboard_ws_proto::deflate::Policy;
    ///
    /// assert!(Policy::default().offer().to_string().starts_with("permessage-deflate; "));
    /// ```
    #[must_use]
    pub fn offer(&self) -> Offer {
        let peer_window_bits = supported(self.peer_window_bits);
        Offer {
            server_no_context_takeover: !self.peer_context_takeover,
            client_no_context_takeover: !self.context_takeover,
            server_max_window_bits: (peer_window_bits < WINDOW_BITS_MAX).then_some(peer_window_bits),
            client_max_window_bits: Some(supported(self.window_bits)),
        }
    }

    fn accept(&self, offer: &Offer) -> Option<Params> {
        let window_bits = supported(self.window_bits).min(offer.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX));
        if window_bits < COMPRESSOR_WINDOW_BITS_MIN {
            return None;
        }
        // §7.1.2.1: what was asked for is to be confirmed, and what was not may be told.
        let tell = offer.server_max_window_bits.is_some() || window_bits < WINDOW_BITS_MAX;
        let peer_window_bits = supported(self.peer_window_bits);
        Some(Params {
            server_no_context_takeover: offer.server_no_context_takeover || !self.context_takeover,
            client_no_context_takeover: offer.client_no_context_takeover || !self.peer_context_takeover,
            server_max_window_bits: tell.then_some(window_bits),
            // §7.1.2.2: only if the client knows the parameter; and nothing needs to be said to one that uses less already.
            client_max_window_bits: offer
                .client_max_window_bits
                .filter(|offered| peer_window_bits < *offered)
                .map(|_| peer_window_bits),
        })
    }
}

impl Offer {
    /// The client's check of the server's header: what is agreed, or `None` if the server takes no part in compression.
    ///
    /// ```
    /// use switchboard_ws_proto::deflate::Policy;
    ///
    /// let offer = Policy::default().context_takeover(true).peer_context_takeover(true).offer();
    /// assert!(offer.check(["permessage-deflate"])?.is_some());
    /// assert!(offer.check(["permessage-bzip2"]).is_err());
    /// # Ok::<(), switchboard_ws_proto::deflate::NegotiationError>(())
    /// ```
    ///
    /// # Errors
    /// The connection has to be given up: an answer must keep to the offer (RFC 7692 §7.1, RFC 6455 §9.1).
    pub fn check<'a>(&self, lines: impl IntoIterator<Item = &'a str>) -> Result<Option<Params>, NegotiationError> {
        let mut agreed = None;
        for line in lines {
            for extension in extensions::parse(line)? {
                if extension.name != NAME || agreed.is_some() {
                    return Err(NegotiationError::NotOffered(extension.name.into()));
                }
                agreed = Some(self.check_params(&extension)?);
            }
        }
        Ok(agreed)
    }

    fn check_params(&self, extension: &Extension<'_>) -> Result<Params, NegotiationError> {
        let found = Found::parse(extension)?;
        let wrong = |name: &str| Err(NegotiationError::Parameter(name.into()));
        // §7.1.1.1: a server that accepts this offer says so.
        if self.server_no_context_takeover && !found.server_no_context_takeover {
            return wrong(SERVER_NO_CONTEXT_TAKEOVER);
        }
        let server_max_window_bits = match (self.server_max_window_bits, found.server_max_window_bits) {
            // §7.1.2.1: the same or a smaller one.
            (Some(offered), Some(Some(bits))) if bits <= offered => Some(bits),
            // And one that was not asked for may be told.
            (None, Some(Some(bits))) => Some(bits),
            (None, None) => None,
            _ => return wrong(SERVER_MAX_WINDOW_BITS),
        };
        let client_max_window_bits = match (self.client_max_window_bits, found.client_max_window_bits) {
            (_, None) => None,
            // §7.1.2.2: not unless it was offered, and not without a value.
            (Some(offered), Some(Some(bits))) if bits <= offered => Some(bits),
            _ => return wrong(CLIENT_MAX_WINDOW_BITS),
        };
        Ok(Params {
            server_no_context_takeover: found.server_no_context_takeover,
            client_no_context_takeover: found.client_no_context_takeover || self.client_no_context_takeover,
            server_max_window_bits,
            // Without a word from the server, the client still keeps to what it has offered.
            client_max_window_bits: client_max_window_bits
                .or(self.client_max_window_bits.filter(|bits| *bits < WINDOW_BITS_MAX)),
        })
    }

    fn parse(extension: &Extension<'_>) -> Result<Self, NegotiationError> {
        let found = Found::parse(extension)?;
        Ok(Self {
            server_no_context_takeover: found.server_no_context_takeover,
            client_no_context_takeover: found.client_no_context_takeover,
            server_max_window_bits: match found.server_max_window_bits {
                // §7.1.2.1: it has a value always.
                Some(None) => return Err(NegotiationError::Parameter(SERVER_MAX_WINDOW_BITS.into())),
                Some(bits) => bits,
                None => None,
            },
            client_max_window_bits: found.client_max_window_bits.map(|bits| bits.unwrap_or(WINDOW_BITS_MAX)),
        })
    }
}

impl Params {
    /// Whether this side compresses with context, and with which window.
    pub(super) fn ours(&self, server: bool) -> (bool, u8) {
        let (alone, bits) = if server {
            (self.server_no_context_takeover, self.server_max_window_bits)
        } else {
            (self.client_no_context_takeover, self.client_max_window_bits)
        };
        (!alone, bits.unwrap_or(WINDOW_BITS_MAX))
    }
}

/// The parameters of one offer or answer, each at most once. A window is `Some(None)` without a value.
#[derive(Default)]
struct Found {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<Option<u8>>,
    client_max_window_bits: Option<Option<u8>>,
}

impl Found {
    /// §7.1: an unknown name, a repetition or a wrong value spoils the whole.
    fn parse(extension: &Extension<'_>) -> Result<Self, NegotiationError> {
        let mut found = Self::default();
        for param in &extension.params {
            let value = param.value.as_deref();
            let good = match param.name {
                SERVER_NO_CONTEXT_TAKEOVER => flag(&mut found.server_no_context_takeover, value),
                CLIENT_NO_CONTEXT_TAKEOVER => flag(&mut found.client_no_context_takeover, value),
                SERVER_MAX_WINDOW_BITS => window(&mut found.server_max_window_bits, value),
                CLIENT_MAX_WINDOW_BITS => window(&mut found.client_max_window_bits, value),
                _ => false,
            };
            if !good {
                return Err(NegotiationError::Parameter(param.name.into()));
            }
        }
        Ok(found)
    }
}

fn flag(slot: &mut bool, value: Option<&str>) -> bool {
    !core::mem::replace(slot, true) && value.is_none()
}

fn window(slot: &mut Option<Option<u8>>, value: Option<&str>) -> bool {
    let bits = value.map(window_bits);
    slot.replace(bits.flatten()).is_none() && bits != Some(None)
}

/// §7.1.2: a decimal number from 8 to 15 without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=WINDOW_BITS_MAX).contains(bits))?;
    (value.len() == if bits < 10 { 1 } else { 2 }).then_some(bits)
}

/// What can be compressed with.
fn supported(bits: u8) -> u8 {
    bits.clamp(COMPRESSOR_WINDOW_BITS_MIN, WINDOW_BITS_MAX)
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, client) = (self.server_no_context_takeover, self.client_no_context_takeover);
        write(f, server, client, self.server_max_window_bits)?;
        match self.client_max_window_bits {
            Some(WINDOW_BITS_MAX) => write!(f, "; {CLIENT_MAX_WINDOW_BITS}"),
            Some(bits) => write!(f, "; {CLIENT_MAX_WINDOW_BITS}={bits}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, client) = (self.server_no_context_takeover, self.client_no_context_takeover);
        write(f, server, client, self.server_max_window_bits)?;
        self.client_max_window_bits.map_or(Ok(()), |bits| write!(f, "; {CLIENT_MAX_WINDOW_BITS}={bits}"))
    }
}

fn write(f: &mut fmt::Formatter<'_>, server: bool, client: bool, server_bits: Option<u8>) -> fmt::Result {
    f.write_str(NAME)?;
    if server {
        write!(f, "; {SERVER_NO_CONTEXT_TAKEOVER}")?;
    }
    if client {
        write!(f, "; {CLIENT_NO_CONTEXT_TAKEOVER}")?;
    }
    server_bits.map_or(Ok(()), |bits| write!(f, "; {SERVER_MAX_WINDOW_BITS}={bits}"))
}

impl From<Malformed> for NegotiationError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";
