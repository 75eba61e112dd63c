//! The Pusher Channels protocol, version 7 (`docs/reference/pusher.md`).
//!
//! Owns the form of messages, which operations a signature stands for, and the codes by which a client knows whether to come back. Signatures are
//! checked by the session, which knows the application's keys; rights, limits and the hub are elsewhere.

mod names;
mod read;
mod write;

pub(crate) use names::SIGNED_PREFIXES;
pub use names::{Kind, NAME_BYTES_MAX, NameError, from_pusher, to_pusher};
pub use read::{EVENT_BYTES_MAX, payload_of_text};
pub use write::{data_text, event_name};
pub(crate) use write::{write_count, write_presence, write_publications};

use crate::dialect::{Commands, Dialect, Incoming, Welcome};
use crate::writer::Writer;
use read::{Fault, Request};
use std::borrow::Cow;
use std::collections::VecDeque;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{
    CacheRequest, ChannelName, Command, Disconnect, Event, OpId, Operations, Outcome, Publish, Reject, RejectCode,
    SessionId, Signed,
};

/// Why a connection is not served, told after the handshake since the protocol has codes of its own for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No application has this key.
    UnknownApp,
    /// The application does not serve this protocol.
    Disabled,
    /// `protocol` is no number.
    BadVersion,
    /// Only versions 5 to 7 are spoken.
    UnsupportedVersion,
    /// `protocol` is missing.
    NoVersion,
}

impl Refused {
    const fn code(self) -> (u16, &'static str) {
        match self {
            Self::UnknownApp => (4001, "no application has this key"),
            Self::Disabled => (4003, "the application does not serve Pusher's clients"),
            Self::BadVersion => (4006, "\"protocol\" is not a version"),
            Self::UnsupportedVersion => (4007, "this version of the protocol is not spoken: versions 5 to 7 are"),
            Self::NoVersion => (4008, "\"protocol\" is missing in the address"),
        }
    }
}

/// One connection's state: its name, and the requests that wait for their answer.
#[derive(Debug)]
pub struct Pusher {
    refused: Option<Refused>,
    socket_id: Box<str>,
    /// The code of an end that was decided here, which is the protocol's already.
    own_end: Option<u16>,
    next_op: u64,
    pending: VecDeque<(OpId, Pending)>,
}

#[derive(Debug)]
enum Pending {
    Authorize,
    /// And why what was signed for it is no good, if it is not.
    Subscribe(ChannelName, Option<Cow<'static, str>>),
    Unsubscribe,
    ClientEvent(ChannelName),
    SignIn {
        user_data: String,
    },
}

/// A client may be silent for so much longer than the server before it asks whether the server is there, in seconds.
const ACTIVITY_MARGIN: u64 = 5;

/// The name of a session among Pusher's: two decimal numbers, the first of which says where the session is.
pub fn socket_id(session: SessionId) -> String {
    let place = u64::from(session.node) << 16 | u64::from(session.shard);
    format!("{place}.{}", session.serial)
}

/// The session that a `socket_id` names. It need not exist.
pub fn session_of(socket_id: &str) -> Option<SessionId> {
    let (place, serial) = socket_id.split_once('.')?;
    let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?;
    let place = number(place)?;
    let shard = u16::try_from(place & 0xffff).ok()?;
    Some(SessionId { node: u32::try_from(place >> 16).ok()?, shard, serial: number(serial)? })
}

impl Pusher {
    pub(crate) fn new(refused: Option<Refused>) -> Self {
        Self { refused, socket_id: "".into(), own_end: None, next_op: 0, pending: VecDeque::new() }
    }

    fn ask(&mut self, pending: Pending, command: Command, commands: &mut Commands) {
        let op = OpId(self.next_op);
        self.next_op += 1;
        self.pending.push_back((op, pending));
        commands.push((op, command));
    }

    fn handle(&mut self, request: Request, commands: &mut Commands, out: &mut Writer<'_>) -> Result<(), Fault> {
        match request {
            Request::Ping => write::pong(out),
            Request::Pong => {}
            Request::Subscribe { channel, auth, channel_data } => {
                self.subscribe(channel, auth, channel_data, commands, out)?;
            }
            Request::Unsubscribe { channel } => {
                self.ask(Pending::Unsubscribe, Command::Unsubscribe { channel }, commands);
            }
            Request::Signin { auth, user_data } => {
                let (user, watched) = read::user_data(&user_data)?;
                let signed = Signed { text: format!("{}::user::{user_data}", self.socket_id), signature: auth };
                self.ask(Pending::SignIn { user_data }, Command::SignIn { user, watched, signed }, commands);
            }
            Request::ClientEvent { channel, event, payload } => {
                let cache = caching(&channel);
                let publish = Publish { event: Some(event), cache, ..Publish::new(payload) };
                let command = Command::Publish {
                    channel: channel.clone(),
                    publish,
                    exclude_self: !is_planted(Canary::OwnEventComesBack),
                };
                self.ask(Pending::ClientEvent(channel), command, commands);
            }
        }
        Ok(())
    }

    fn subscribe(
        &mut self,
        channel: ChannelName,
        auth: Option<String>,
        channel_data: Option<String>,
        commands: &mut Commands,
        out: &mut Writer<'_>,
    ) -> Result<(), Fault> {
        let kind = Kind::of(channel.as_str());
        let name = names::to_pusher(channel.as_str());
        let refuse = |message: Cow<'static, str>, out: &mut Writer<'_>| {
            write::subscription_error(&name, "AuthError", 401, &message, out);
        };
        if kind.signed {
            let Some(signature) = auth else {
                refuse(
                    "private and presence channels need \"auth\", a signature of the application's server".into(),
                    out,
                );
                return Ok(());
            };
            let member = match (kind.presence, &channel_data) {
                (false, _) => None,
                (true, None) => {
                    refuse("presence channels need \"channel_data\" with a \"user_id\"".into(), out);
                    return Ok(());
                }
                (true, Some(data)) => match read::channel_data(data) {
                    Ok(member) => Some(member),
                    Err(fault) => {
                        refuse(fault.message, out);
                        return Ok(());
                    }
                },
            };
            let text = match channel_data {
                Some(data) => format!("{}:{name}:{data}", self.socket_id),
                None => format!("{}:{name}", self.socket_id),
            };
            let operations = granted(kind);
            let signed = Signed { text, signature };
            let command = Command::Authorize { channel: channel.clone(), operations, member, signed };
            self.ask(Pending::Authorize, command, commands);
        }
        let (presence, cached) = (kind.presence, kind.cache);
        let command = Command::Subscribe { channel: channel.clone(), since: None, presence, rate: 0, cached };
        self.ask(Pending::Subscribe(channel, None), command, commands);
        Ok(())
    }

    fn take(&mut self, op: OpId) -> Option<Pending> {
        let index = self.pending.iter().position(|(known, _)| *known == op)?;
        let (_, pending) = self.pending.remove(index)?;
        if self.pending.is_empty() && self.pending.capacity() > 16 {
            self.pending = VecDeque::new();
        }
        Some(pending)
    }

    fn end(&mut self, code: u16, reason: Cow<'static, str>) -> Disconnect {
        self.own_end = Some(code);
        Disconnect { code, reason, after: None }
    }

    fn fault(fault: &Fault, out: &mut Writer<'_>) {
        match &fault.channel {
            // Whoever waits for the subscription hears of it; a client library tells an error to the connection only.
            Some(channel) if fault.subscribes => {
                write::subscription_error(channel, "SubscriptionError", 400, &fault.message, out);
            }
            channel => write::error(None, &fault.message, channel.as_deref(), out),
        }
    }
}

/// What publishing on a channel does to its cached value: cache channels keep the last publication, whatever their options say.
pub fn caching(channel: &ChannelName) -> CacheRequest {
    if Kind::of(channel.as_str()).cache { CacheRequest::Keep } else { CacheRequest::ByOptions }
}

/// What a signature for a channel of this kind stands for.
fn granted(kind: Kind) -> Operations {
    let mut operations = Operations::SUBSCRIBE;
    if !kind.encrypted {
        operations = operations | Operations::PUBLISH;
    }
    if kind.presence {
        operations = operations | Operations::PRESENCE;
    }
    if kind.cache {
        operations = operations | Operations::HISTORY;
    }
    operations
}

impl Dialect for Pusher {
    fn open(&mut self, welcome: &Welcome<'_>, _: &mut Commands, out: &mut Writer<'_>) -> Option<Disconnect> {
        if let Some(refused) = self.refused {
            let (code, message) = refused.code();
            return Some(self.end(code, message.into()));
        }
        self.socket_id = socket_id(welcome.session).into();
        write::established(&self.socket_id, welcome.heartbeat.as_secs() + ACTIVITY_MARGIN, out);
        None
    }

    fn receive(&mut self, message: Incoming<'_>, commands: &mut Commands, out: &mut Writer<'_>) {
        let request = match message {
            Incoming::Text(text) => read::text(text),
            Incoming::Binary(_) => Err(Fault::new("binary messages are not of this protocol")),
        };
        if let Err(fault) = request.and_then(|request| self.handle(request, commands, out)) {
            Self::fault(&fault, out);
        }
    }

    fn answer(&mut self, op: OpId, outcome: &Outcome, out: &mut Writer<'_>) -> Option<Disconnect> {
        let pending = self.take(op)?;
        match (pending, outcome) {
            (Pending::Subscribe(channel, _), Outcome::Subscribed { users, cached, .. }) => {
                let name = names::to_pusher(channel.as_str());
                write::subscribed(&name, users.as_deref(), out);
                if Kind::of(channel.as_str()).cache && !cached {
                    write::cache_miss(&name, out);
                }
            }
            (Pending::Subscribe(channel, fault), Outcome::Rejected(reject)) => {
                let name = names::to_pusher(channel.as_str());
                let (kind, status) = subscription_error(reject);
                // Whoever signs wants to know what is wrong with the signature, not that there is no right without one.
                let fault = fault.filter(|_| reject.code == RejectCode::PermissionDenied);
                write::subscription_error(&name, kind, status, fault.as_ref().unwrap_or(&reject.message), out);
            }
            (Pending::ClientEvent(channel), Outcome::Rejected(reject)) => {
                // 4301 tells a client that it publishes too fast; nothing else has a number.
                let code = (reject.code == RejectCode::RateLimited).then_some(4301);
                write::error(code, &reject.message, Some(&names::to_pusher(channel.as_str())), out);
            }
            (Pending::SignIn { user_data }, Outcome::SignedIn { .. }) => {
                write::signed_in(&user_data, out);
            }
            (Pending::SignIn { .. }, Outcome::Rejected(reject)) => {
                return Some(self.end(4009, reject.message.clone()));
            }
            // The subscription that follows may have its right elsewhere. If not, it is refused, and told why.
            (Pending::Authorize, Outcome::Rejected(reject)) => {
                let next = self.pending.iter_mut().find(|(known, _)| known.0 == op.0 + 1);
                if let Some((_, Pending::Subscribe(_, fault))) = next {
                    *fault = Some(reject.message.clone());
                }
            }
            (Pending::Authorize | Pending::Unsubscribe, _) => {}
            _ => {}
        }
        None
    }

    fn on_event(&mut self, event: &Event, out: &mut Writer<'_>) -> Option<Disconnect> {
        match event {
            Event::Unsubscribed { channel, code } => {
                let message = match code {
                    RejectCode::Removed => "the application has ended the subscription",
                    _ => "the right to subscribe has ended",
                };
                let name = names::to_pusher(channel.as_str());
                write::subscription_error(&name, "AuthError", 401, message, out);
            }
            Event::Signal(signal) => write::signal(signal, out),
            // The protocol has no words for these; `docs/reference/pusher.md` says so.
            Event::CaughtUp { .. } | Event::Gap { .. } | Event::TokenExpiring { .. } => {}
        }
        None
    }

    fn on_silence(&mut self, out: &mut Writer<'_>) {
        write::ping(out);
    }

    fn on_disconnect(&mut self, disconnect: &Disconnect, out: &mut Writer<'_>) -> Disconnect {
        let code = self.own_end.unwrap_or_else(|| close_code(disconnect));
        write::error(Some(code), &disconnect.reason, None, out);
        Disconnect { code, ..disconnect.clone() }
    }

    fn can_refuse(&self) -> bool {
        true
    }

    fn can_authenticate(&self) -> bool {
        false
    }
}

fn subscription_error(reject: &Reject) -> (&'static str, u16) {
    match reject.code {
        RejectCode::PermissionDenied | RejectCode::Removed | RejectCode::Unauthenticated | RejectCode::BadToken => {
            ("AuthError", 401)
        }
        RejectCode::LimitExceeded => ("LimitReached", 403),
        RejectCode::RateLimited => ("LimitReached", 429),
        RejectCode::Unavailable | RejectCode::Internal => ("ServerError", 503),
        _ => ("SubscriptionError", 400),
    }
}

/// 4000–4099: do not come back; 4100–4199: come back after a second or more; 4200–4299: come back at once.
fn close_code(disconnect: &Disconnect) -> u16 {
    match disconnect.code {
        1001 | 1012 => 4200,
        4101 => 4201,
        4005 => 4001,
        _ if disconnect.reconnect() => 4100,
        _ => 4009,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_stands_for_what_the_name_says() {
        let (subscribe, publish) = (Operations::SUBSCRIBE, Operations::PUBLISH);
        let (presence, history) = (Operations::PRESENCE, Operations::HISTORY);
        for (name, operations) in [
            ("private-a", subscribe | publish),
            ("private-cache-a", subscribe | publish | history),
            ("private-encrypted-a", subscribe),
            ("private-encrypted-cache-a", subscribe | history),
            ("presence-a", subscribe | publish | presence),
            ("presence-cache-a", subscribe | publish | presence | history),
        ] {
            assert_eq!(granted(Kind::of(name)), operations, "{name}");
        }
    }

    #[test]
    fn the_code_of_an_end_says_whether_to_come_back() {
        for (disconnect, code) in [
            (Disconnect::going_away(Default::default()), 4200),
            (Disconnect::SILENT, 4201),
            (Disconnect::SLOW_CONSUMER, 4100),
            (Disconnect::OVERLOADED, 4100),
            (Disconnect::APPLICATION_REMOVED, 4001),
            (Disconnect::BY_APPLICATION, 4009),
        ] {
            assert_eq!(close_code(&disconnect), code, "{disconnect:?}");
        }
    }
}
