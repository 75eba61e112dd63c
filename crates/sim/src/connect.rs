//! How a client connects: as admission would let it in, with where it was on the channels that it had.

use crate::conversation::{Conversation, Position};
use crate::listener::Listener;
use crate::listening::{Listening, Look};
use crate::pipe::{Deframer, Pipe, TEXT};
use crate::plan::Speech;
use crate::polling::Polling;
use crate::pusher::Channels;
use crate::rights::{Right, Rights, Token, user};
use crate::subscription::Wish;
use crate::world::{Link, Talk, World};
use core::time::Duration;
use std::sync::Arc;
use switchboard_core::{App, ChannelName, Epoch, FramingId, Identity, Overflow, SessionId, Since, UserId};
use switchboard_session::{Client, Directory, Form, Opening, Wanted};

/// Who asks to be let in.
struct Visitor {
    client: usize,
    app: Arc<App>,
    rights: Rights,
    token: Option<Token>,
    named: bool,
}

/// Channels that a client of plain HTTP names, with where it was.
type Places = Vec<(String, Option<Position>)>;

impl World<'_> {
    pub(crate) fn connect(&mut self, client: usize, token: Option<usize>, speech: Speech) {
        if self.clients[client].link.is_some() || !self.node.up {
            return;
        }
        let token = token.filter(|_| speech != Speech::Pusher);
        let Some((visitor, identity)) = self.admit(client, token) else { return };
        let Some(opening) = self.opening(&visitor, speech) else { return };
        let shard = self.rng.below(self.node.shards.len());
        let plain = matches!(speech, Speech::Listen { .. } | Speech::Poll { .. });
        let framing = FramingId(u8::from(plain));
        let opened = Client { app: Arc::clone(&visitor.app), opening, identity, framing };
        let id = self.node.shards[shard].sessions.open(self.now, opened);
        let Some(name) = self.node.shards[shard].sessions.name(id) else { return };
        let member = if visitor.named { user(client) } else { UserId::guest(name).as_str().to_owned() };
        let Some(talk) = self.talk_of(&visitor, speech, name, &member) else { return };
        let socket = self.plan.setup.socket_bytes;
        let link = self.links.len();
        self.links.push(Link {
            client,
            shard,
            id,
            name,
            talk: Some(talk),
            user: member,
            expires: visitor.token.and_then(|token| token.expires),
            plain,
            ending: false,
            up: Pipe::new(socket),
            down: Pipe::new(socket),
            unsent: Vec::new(),
            transmit: Vec::new(),
            server_reads: Deframer::default(),
            client_reads: Deframer::default(),
            session_open: true,
            server_open: true,
            client_open: true,
        });
        self.trace
            .note(self.now, "connected", &[link as u64, client as u64, shard as u64], || format!("{name} {speech:?}"));
        self.clients[client].link = Some(link);
        self.node.shards[shard].links.insert((id.slot, id.serial), link);
        self.want_turn(shard);
        self.resubscribe(link);
    }

    /// As admission does it.
    fn admit(&self, client: usize, token: Option<usize>) -> Option<(Visitor, Option<Identity>)> {
        let app = Arc::clone(&self.plan.setup.apps[self.clients[client].app]);
        let show = |kind| self.node.directory.authenticate(&app.id, &Token::text(kind, client), self.now);
        let identity = token.map(show).transpose().ok()?;
        let token = token.map(|kind| self.plan.setup.tokens[kind]);
        let rights = match (&token, &app.anonymous) {
            (Some(token), _) => token.rights,
            (None, Some(_)) => Rights::Guest,
            (None, None) => Rights::Nothing,
        };
        Some((Visitor { client, app, rights, token, named: identity.is_some() }, identity))
    }

    /// What its address asks for, unless that is refused at once.
    fn opening(&self, visitor: &Visitor, speech: Speech) -> Option<Opening> {
        Some(match speech {
            Speech::Native { batch } => Opening::Native { batch },
            Speech::Pusher => Opening::Pusher { refused: None },
            Speech::Raw { channel, echo } => {
                let (channel, since) = self.places(visitor, (channel, None)).pop()?;
                if !visitor.rights.allow(Right::Subscribe, &channel) {
                    return None;
                }
                Opening::Raw { channel: ChannelName::parse(channel.as_str()).ok()?, since: since.map(position), echo }
            }
            Speech::Listen { channels, look, .. } => {
                let form = match (look, channels.1) {
                    (Look::Data, _) => Form::Data,
                    (Look::Messages, None) => Form::Messages,
                    (Look::Messages, Some(_)) => Form::Many,
                    (Look::Lines, _) => Form::Lines,
                };
                Opening::Listen { form, wanted: self.wanted_by(visitor, speech)? }
            }
            Speech::Poll { limit, wait, .. } => {
                let wanted = self.wanted_by(visitor, speech)?;
                Opening::Poll { wanted, messages_max: limit, wait: Duration::from_millis(wait) }
            }
        })
    }

    /// What a client of plain HTTP wants to hear. One that would be refused does not ask.
    fn wanted_by(&self, visitor: &Visitor, speech: Speech) -> Option<Wanted> {
        let (channels, wish) = wish_of(speech)?;
        let places = self.places(visitor, channels);
        let may = |(channel, _): &(String, _)| {
            let rights = visitor.rights;
            rights.allow(Right::Subscribe, channel) && (!wish.presence || rights.allow(Right::Presence, channel))
        };
        let limit = visitor.app.limits.channels;
        if !places.iter().all(may) || places.len() > limit {
            return None;
        }
        let name = |(channel, since): &(String, Option<Position>)| {
            Some((ChannelName::parse(channel.as_str()).ok()?, since.map(position)))
        };
        Some(Wanted {
            channels: places.iter().map(name).collect::<Option<_>>()?,
            presence: wish.presence,
            rate: wish.rate,
            cached: wish.cached,
            returns: places.iter().any(|(_, since)| since.is_some()),
            ..Wanted::default()
        })
    }

    fn places(&self, visitor: &Visitor, (first, second): (usize, Option<usize>)) -> Places {
        let place = |channel: usize| {
            let channel = self.plan.setup.channel(channel);
            let left = self.clients[visitor.client].left.get(&channel).copied();
            (channel, left)
        };
        core::iter::once(first).chain(second).map(place).collect()
    }

    /// What the client makes of what it will be told.
    fn talk_of(&self, visitor: &Visitor, speech: Speech, name: SessionId, member: &str) -> Option<Talk> {
        let Visitor { client, app, rights, token, named } = visitor;
        let left = &self.clients[*client].left;
        Some(match speech {
            Speech::Native { .. } => {
                let expires = token.and_then(|token| token.expires);
                let durable = self.plan.setup.fsync.is_some();
                let own = UserId::parse(user(*client).as_str()).ok().map(|user| ChannelName::of_user(&user))?;
                Talk::Native(Conversation::new(name, app, (*rights, *named), own, expires, left.clone(), durable))
            }
            Speech::Raw { channel, .. } => {
                let channel = self.plan.setup.channel(channel);
                let complete = self.is_complete(*client, &channel);
                let begin = left.get(&channel).copied();
                let cache = self.plan.setup.options(self.clients[*client].app, &channel).cache;
                Talk::Raw(Listener::new(name, (app.id.clone(), channel), begin, (complete, cache), self.now))
            }
            Speech::Pusher => Talk::Pusher(Channels::new(name, app, *rights, user(*client), member.to_owned())),
            Speech::Listen { look, .. } => {
                let (channels, wish) = wish_of(speech)?;
                let places = self.places(visitor, channels);
                Talk::Listening(Listening::new(name, app, look, (*rights, member.to_owned()), places, (wish, self.now)))
            }
            Speech::Poll { limit, .. } => {
                let (channels, wish) = wish_of(speech)?;
                let places = self.places(visitor, channels);
                Talk::Polling(Polling::new(name, app, *rights, places, wish, limit, self.now))
            }
        })
    }

    /// Whether nothing can be missing on a channel without a word: the history is large and the policy is to disconnect.
    pub(crate) fn is_complete(&self, client: usize, channel: &str) -> bool {
        let options = self.plan.setup.options(self.clients[client].app, channel);
        options.overflow == Overflow::Disconnect
            && options.rate == 0
            && options.history_size >= 1_000
            && options.history_bytes >= 1024 * 1024
            && options.history_ttl >= Duration::from_secs(300)
            && self.plan.setup.history_bytes_max >= 1024 * 1024
    }

    /// Everything that the client had comes back with its position.
    fn resubscribe(&mut self, link: usize) {
        let now = self.now;
        let Some(Talk::Native(conversation)) = &mut self.links[link].talk else { return };
        let channels: Vec<String> = conversation.left.keys().cloned().collect();
        let requests: Vec<Vec<u8>> =
            channels.iter().filter_map(|channel| conversation.subscribe(now, channel, true, Wish::default())).collect();
        requests.into_iter().for_each(|request| self.client_sends(link, TEXT, &request));
    }
}

fn wish_of(speech: Speech) -> Option<((usize, Option<usize>), Wish)> {
    Some(match speech {
        Speech::Listen { channels, presence, rate, cached, .. } => {
            (channels, Wish { since: None, presence, rate, cached })
        }
        Speech::Poll { channels, cached, .. } => (channels, Wish { cached, ..Wish::default() }),
        _ => return None,
    })
}

fn position((epoch, offset): Position) -> Since {
    Since::Position(switchboard_core::Position { epoch: Epoch(epoch), offset })
}
