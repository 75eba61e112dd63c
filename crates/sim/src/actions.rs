//! The clients' side: what the plan has them do, and what they make of what they receive.

use crate::Violation;
use crate::conversation::Conversation;
use crate::listener::Listener;
use crate::pipe::{BINARY, CLOSE, Deframer, Pipe, TEXT, frame};
use crate::plan::{Action, Form, Speech, Step};
use crate::rights::{Right, Rights, Token, user};
use crate::world::{Due, Link, Talk, World};
use core::time::Duration;
use serde_json::json;
use std::sync::Arc;
use switchboard_core::{ChannelName, Command, Epoch, FramingId, Overflow, Payload, Position, Publish, Since, UserId};
use switchboard_session::{Client, Directory, Opening};

impl World<'_> {
    pub(crate) fn step(&mut self, index: usize) -> Result<(), Violation> {
        let Some(Step { client, action, .. }) = self.plan.steps.get(index) else { return Ok(()) };
        let client = *client;
        self.trace.note(self.now, "step", &[index as u64, client as u64], || format!("{action:?}"));
        match action {
            Action::Connect { token, speech } => self.connect(client, *token, *speech),
            Action::Stall => self.clients[client].stalled = true,
            Action::Read => {
                self.clients[client].stalled = false;
                if let Some(link) = self.clients[client].link {
                    return self.client_reads(link);
                }
            }
            Action::Leave => self.leave(client),
            Action::Cut => {
                if let Some(link) = self.client_closes(client) {
                    let wait = self.draw(self.plan.setup.wire);
                    self.links[link].up.clear();
                    self.links[link].down.clear();
                    self.after(wait, Due::ServerLoses(link));
                }
            }
            Action::Vanish => {
                if let Some(link) = self.client_closes(client) {
                    let wait = Duration::from_millis(20_000 + self.rng.number() % 40_000);
                    self.after(wait, Due::ServerLoses(link));
                }
            }
            Action::Nothing => {}
            Action::Crash { down, end, flip } => {
                self.crash(*down, *end);
                if let Some(number) = flip {
                    self.flip(*number);
                }
            }
            Action::Disk(fault) => self.disk(*fault),
            Action::Submit { channel, size } => self.submit(client, *channel, *size),
            action => self.talk(client, action),
        }
        Ok(())
    }

    fn connect(&mut self, client: usize, token: Option<usize>, speech: Speech) {
        let app = Arc::clone(&self.plan.setup.apps[self.clients[client].app]);
        if self.clients[client].link.is_some() || !self.node.up {
            return;
        }
        // As admission does it.
        let identity =
            token.map(|kind| self.node.directory.authenticate(&app.id, &Token::text(kind, client), self.now));
        let identity = match identity {
            None => None,
            Some(Ok(identity)) => Some(identity),
            Some(Err(_)) => return,
        };
        let token = token.map(|kind| self.plan.setup.tokens[kind]);
        let rights = match (&token, &app.anonymous) {
            (Some(token), _) => token.rights,
            (None, Some(_)) => Rights::Guest,
            (None, None) => Rights::Nothing,
        };
        let left = self.clients[client].left.clone();
        let opening = match speech {
            Speech::Native { batch } => Opening::Native { batch },
            Speech::Raw { channel, echo } => {
                let channel = self.plan.setup.channel(channel);
                if !rights.allow(Right::Subscribe, &channel) {
                    return;
                }
                let since = left.get(&channel).map(|position| since(*position));
                let Ok(channel) = ChannelName::parse(channel.as_str()) else { return };
                Opening::Raw { channel, since, echo }
            }
        };
        let shard = self.rng.below(self.node.shards.len());
        let named = identity.is_some();
        let opened = Client { app: Arc::clone(&app), opening, identity, framing: FramingId(0) };
        let id = self.node.shards[shard].sessions.open(self.now, opened);
        let Some(name) = self.node.shards[shard].sessions.name(id) else { return };
        let talk = match speech {
            Speech::Native { .. } => {
                let expires = token.and_then(|token| token.expires);
                let durable = self.plan.setup.fsync.is_some();
                Talk::Native(Conversation::new(name, &app, rights, expires, left, durable))
            }
            Speech::Raw { channel, .. } => {
                let channel = self.plan.setup.channel(channel);
                let begin = left.get(&channel).copied();
                let options = self.plan.setup.options(self.clients[client].app, &channel);
                let complete = options.overflow == Overflow::Disconnect
                    && options.history_size >= 1_000
                    && options.history_bytes >= 1024 * 1024
                    && options.history_ttl >= Duration::from_secs(300)
                    && self.plan.setup.history_bytes_max >= 1024 * 1024;
                Talk::Raw(Listener::new(name, (app.id.clone(), channel), begin, complete))
            }
        };
        let socket = self.plan.setup.socket_bytes;
        let link = self.links.len();
        self.links.push(Link {
            client,
            shard,
            id,
            name,
            talk: Some(talk),
            user: if named { user(client) } else { UserId::guest(name).as_str().to_owned() },
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
        self.trace.note(self.now, "connected", &[link as u64, client as u64, shard as u64], || name.to_string());
        self.clients[client].link = Some(link);
        self.node.shards[shard].links.insert((id.slot, id.serial), link);
        self.want_turn(shard);
        self.resubscribe(link);
    }

    /// Everything that the client had comes back with its position.
    fn resubscribe(&mut self, link: usize) {
        let now = self.now;
        let Some(Talk::Native(conversation)) = &mut self.links[link].talk else { return };
        let channels: Vec<String> = conversation.left.keys().cloned().collect();
        let requests: Vec<Vec<u8>> =
            channels.iter().filter_map(|channel| conversation.subscribe(now, channel, true, false)).collect();
        requests.into_iter().for_each(|request| self.client_sends(link, TEXT, &request));
    }

    /// A request of one client.
    fn talk(&mut self, client: usize, action: &Action) {
        let Some(link) = self.clients[client].link else { return };
        if let Action::Publish { count, .. } = action {
            (0..*count).for_each(|_| self.publish(link, action));
            return;
        }
        let (now, setup) = (self.now, &self.plan.setup);
        let Some(Talk::Native(conversation)) = &mut self.links[link].talk else { return };
        let request = match action {
            Action::Subscribe { channel, resume, presence } => {
                conversation.subscribe(now, &setup.channel(*channel), *resume, *presence)
            }
            Action::Unsubscribe { pick } => conversation.unsubscribe(now, *pick),
            Action::Presence { channel } => Some(conversation.presence(now, &setup.channel(*channel))),
            Action::History { channel, since, limit } => {
                Some(conversation.history(now, &setup.channel(*channel), *since, *limit))
            }
            Action::Authenticate { token } => {
                let Token { rights, expires } = setup.tokens[*token];
                let text = Token::text(*token, client);
                Some(conversation.authenticate(now, &text, rights, user(client), expires))
            }
            Action::Nonsense { kind } => Some(conversation.nonsense(now, *kind)),
            Action::Ping => Some(conversation.ping(now)),
            _ => None,
        };
        if let Some(request) = request {
            self.client_sends(link, TEXT, &request);
        }
    }

    fn publish(&mut self, link: usize, action: &Action) {
        let Action::Publish { channel, size, exclude_self, form, answered, once, compare, cache, .. } = action else {
            return;
        };
        let channel = self.plan.setup.channel(*channel);
        let number = self.next_number;
        self.next_number += 1;
        let filler = "x".repeat(*size);
        let now = self.now;
        match &mut self.links[link].talk {
            Some(Talk::Native(conversation)) => {
                let mut message = json!({"type": "publish", "channel": channel});
                if *exclude_self {
                    message["exclude_self"] = json!(true);
                }
                if let Some(cache) = cache {
                    message["cache"] = json!(cache);
                }
                if let Some(once) = once {
                    message["idempotency_key"] = json!(format!("key-{once}"));
                }
                match form {
                    Form::Json => message["data"] = json!([number, filler]),
                    Form::Text => message["data"] = json!(format!("{number}:{filler}")),
                    Form::Binary => {}
                }
                let position = conversation.position(&channel).filter(|_| *compare);
                let json = conversation.publish(now, &channel, number, *answered, position, message);
                if *form != Form::Binary {
                    return self.client_sends(link, TEXT, &json);
                }
                let mut bytes = u16::try_from(json.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
                bytes.extend(json);
                bytes.extend(format!("{number}:{filler}").into_bytes());
                self.client_sends(link, BINARY, &bytes);
            }
            Some(Talk::Raw(_)) => {
                let kind = if *form == Form::Binary { BINARY } else { TEXT };
                self.client_sends(link, kind, format!("{number}:{filler}").as_bytes());
            }
            None => {}
        }
    }

    /// The application publishes, on any shard.
    fn submit(&mut self, client: usize, channel: usize, size: usize) {
        if !self.node.up {
            return;
        }
        let app = Arc::clone(&self.plan.setup.apps[self.clients[client].app]);
        let Ok(channel) = ChannelName::parse(self.plan.setup.channel(channel).as_str()) else { return };
        let payload = Payload::Json(format!("[{},{:?}]", self.next_number, "x".repeat(size)).into());
        self.next_number += 1;
        let shard = self.rng.below(self.node.shards.len());
        // What a shard does not take waits outside, and here is not asked at all.
        if self.node.shards[shard].sessions.takes_requests() {
            self.ask_on(shard, &app, Command::Publish { channel, publish: Publish::new(payload), exclude_self: false });
        }
    }

    /// The application asks, on any shard. Returns the ticket.
    pub(crate) fn ask(&mut self, app: &Arc<switchboard_core::App>, command: Command) -> u64 {
        let shard = self.rng.below(self.node.shards.len());
        self.ask_on(shard, app, command)
    }

    fn ask_on(&mut self, shard: usize, app: &Arc<switchboard_core::App>, command: Command) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.tickets.insert(ticket, self.now);
        self.node.shards[shard].sessions.submit(self.now, ticket, app, command);
        self.want_turn(shard);
        ticket
    }

    fn client_sends(&mut self, link: usize, kind: u8, payload: &[u8]) {
        self.links[link].unsent.extend(frame(kind, payload));
        self.client_writes(link);
    }

    fn client_writes(&mut self, link: usize) {
        let Self { links, rng, plan, .. } = self;
        let one = &mut links[link];
        let (taken, arrives) = one.up.write(self.now, &one.unsent, plan.setup.wire, rng);
        one.unsent.drain(..taken);
        if taken > 0 {
            self.at(arrives, Due::ToServer(link));
        }
    }

    /// Bytes came, or there is room for others.
    pub(crate) fn client_reads(&mut self, link: usize) -> Result<(), Violation> {
        if !self.links[link].client_open {
            return Ok(());
        }
        self.links[link].down.arrive(self.now);
        self.client_writes(link);
        while !self.clients[self.links[link].client].stalled && self.links[link].client_open {
            let bytes = self.links[link].down.read(1 + self.rng.below(8_000));
            if bytes.is_empty() {
                break;
            }
            self.trace.add(&bytes);
            self.links[link].client_reads.push(&bytes);
            while let Some((kind, payload)) = self.links[link].client_reads.next() {
                self.receive(link, kind, &payload)?;
            }
            if !self.links[link].transmit.is_empty() {
                let wait = self.draw(self.plan.setup.wire);
                self.after(wait, Due::Writable(link));
            }
        }
        Ok(())
    }

    fn receive(&mut self, link: usize, kind: u8, payload: &[u8]) -> Result<(), Violation> {
        self.trace.note(self.now, "received", &[link as u64, u64::from(kind)], || {
            String::from_utf8_lossy(payload).into_owned()
        });
        if kind == CLOSE {
            self.seen.ended += 1;
            self.client_closes(self.links[link].client);
            let wait = self.draw(self.plan.setup.wire);
            self.after(wait, Due::ServerLoses(link));
            return Ok(());
        }
        let truth = self.truth.borrow();
        match &mut self.links[link].talk {
            Some(Talk::Native(conversation)) if kind == TEXT => conversation.receive(self.now, &truth, payload),
            Some(Talk::Native(conversation)) => conversation.receive_binary(self.now, &truth, payload),
            Some(Talk::Raw(listener)) => {
                self.seen.messages += 1;
                listener.receive(&truth, payload)
            }
            None => Ok(()),
        }
    }

    /// The client closes in order: what it has sent before arrives.
    pub(crate) fn leave(&mut self, client: usize) {
        if let Some(link) = self.client_closes(client) {
            let end = self.links[link].up.write(self.now, &[], self.plan.setup.wire, &mut self.rng).1;
            let wait = self.draw(self.plan.setup.wire);
            self.at(end.max(self.now) + wait, Due::ServerLoses(link));
        }
    }

    /// The client's end is gone. Returns the connection, if there was one.
    fn client_closes(&mut self, client: usize) -> Option<usize> {
        let link = self.clients[client].link.take()?;
        self.links[link].client_open = false;
        self.links[link].unsent.clear();
        match self.links[link].talk.take() {
            Some(Talk::Native(conversation)) => {
                self.seen.add(&conversation.seen);
                self.clients[client].left = conversation.end();
            }
            Some(Talk::Raw(listener)) => self.clients[client].left.extend(listener.end()),
            None => {}
        }
        Some(link)
    }

    /// The client finds that the server's end is gone.
    pub(crate) fn client_loses(&mut self, link: usize) {
        if self.links[link].client_open {
            self.client_closes(self.links[link].client);
        }
    }

    /// What the clients that are still there have seen counts too.
    pub(crate) fn end_conversations(&mut self) {
        for client in 0..self.clients.len() {
            self.client_closes(client);
        }
    }
}

fn since((epoch, offset): (u64, u64)) -> Since {
    Since::Position(Position { epoch: Epoch(epoch), offset })
}
