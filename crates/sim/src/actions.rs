//! The clients' side: what the plan has them do, and what they make of what they receive.

use crate::Violation;
use crate::conversation::Wanted;
use crate::pipe::{BINARY, CLOSE, TEXT, frame};
use crate::plan::{Action, Form, PATTERNS, Step};
use crate::rights::{Token, user};
use crate::subscription::Wish;
use crate::truth::{Place, Truth};
use crate::world::{Due, Talk, World};
use core::time::Duration;
use serde_json::json;
use std::sync::Arc;
use switchboard_core::{App, ChannelName, ChannelOptions, Command, Payload, Publish, UserId};

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
            Action::Submit { channel, size } => {
                if let Ok(name) = ChannelName::parse(self.plan.setup.channel(*channel).as_str()) {
                    self.submit(client, name, *size);
                }
            }
            Action::SendToUser { whom } => {
                if let Ok(name) = UserId::parse(user(*whom).as_str()) {
                    self.submit(*whom, ChannelName::of_user(&name), 20);
                }
            }
            Action::Control { whom, by_user, channel } => self.control(*whom, *by_user, *channel),
            Action::Call(calls) => self.call(client, calls),
            Action::Race { channel } => self.race(client, *channel),
            Action::Signal { channel, whom, by_user } => self.signal(client, *channel, *whom, *by_user),
            action => self.talk(client, action),
        }
        Ok(())
    }

    /// A request of one client.
    fn talk(&mut self, client: usize, action: &Action) {
        let Some(link) = self.clients[client].link else { return };
        if let Action::Publish { count, .. } = action {
            (0..*count).for_each(|_| self.publish(link, action));
            return;
        }
        let (now, setup) = (self.now, &self.plan.setup);
        if matches!(self.links[link].talk, Some(Talk::Pusher(_))) {
            return self.talk_pusher(link, action);
        }
        let Some(Talk::Native(conversation)) = &mut self.links[link].talk else { return };
        let request = match action {
            Action::Subscribe { channel, resume, presence, rate, cached } => {
                let wish = Wish { since: None, presence: *presence, rate: *rate, cached: *cached };
                conversation.subscribe(now, &setup.channel(*channel), *resume, wish)
            }
            Action::Unsubscribe { pick } => conversation.unsubscribe(now, *pick),
            Action::Watch { pattern } => PATTERNS.get(*pattern).and_then(|raw| conversation.watch(now, raw)),
            Action::Unwatch { pick } => conversation.unwatch(now, *pick),
            Action::Presence { channel } => Some(conversation.presence(now, &setup.channel(*channel))),
            Action::History { channel, from, limit } => {
                Some(conversation.history(now, &setup.channel(*channel), *from, *limit))
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

    /// The same in Pusher's words, as far as it has them.
    fn talk_pusher(&mut self, link: usize, action: &Action) {
        let client = self.links[link].client;
        let complete = |channel: usize| {
            let channel = self.plan.setup.channel(channel);
            let complete = self.is_complete(client, &channel);
            let caches = self.plan.setup.options(self.clients[client].app, &channel).cache;
            (channel, (complete, caches))
        };
        let now = self.now;
        let asked = if let Action::Subscribe { channel, .. } = action { Some(complete(*channel)) } else { None };
        let Some(Talk::Pusher(channels)) = &mut self.links[link].talk else { return };
        let request = match (action, asked) {
            (Action::Subscribe { .. }, Some((channel, promised))) => channels.subscribe(now, &channel, promised),
            (Action::SignIn { forged, watched }, _) => {
                channels.sign_in(watched.iter().map(|client| user(*client)).collect(), *forged)
            }
            (Action::Unsubscribe { pick }, _) => channels.unsubscribe(*pick),
            (Action::Ping, _) => Some(br#"{"event":"pusher:ping","data":{}}"#.to_vec()),
            _ => None,
        };
        if let Some(request) = request {
            self.client_sends(link, TEXT, &request);
        }
    }

    fn publish(&mut self, link: usize, action: &Action) {
        let Action::Publish { channel, size, exclude_self, form, answered, once, compare, cache, key, again, .. } =
            action
        else {
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
                if let Some(key) = key {
                    message["key"] = json!(format!("k{key}"));
                }
                match form {
                    Form::Json => message["data"] = json!([number, filler]),
                    Form::Text => message["data"] = json!(format!("{number}:{filler}")),
                    Form::Binary => {}
                }
                let if_position = conversation.position(&channel).filter(|_| *compare);
                let once = once.map(|once| format!("key-{once}"));
                let again = *again
                    && *answered
                    && once.is_some()
                    && remembers_ids(&conversation.place(&channel), &self.truth.borrow());
                let wanted = Wanted { number, answered: *answered, if_position, once };
                let mut requests = vec![conversation.publish(now, &channel, wanted.clone(), message.clone())];
                if again {
                    requests.push(conversation.publish(now, &channel, wanted, message));
                }
                for json in requests {
                    if *form != Form::Binary {
                        self.client_sends(link, TEXT, &json);
                        continue;
                    }
                    let mut bytes = u16::try_from(json.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
                    bytes.extend(json);
                    bytes.extend(format!("{number}:{filler}").into_bytes());
                    self.client_sends(link, BINARY, &bytes);
                }
            }
            Some(Talk::Raw(_)) => {
                let kind = if *form == Form::Binary { BINARY } else { TEXT };
                self.client_sends(link, kind, format!("{number}:{filler}").as_bytes());
            }
            Some(Talk::Pusher(channels)) => {
                if let Some(request) = channels.publish(&channel, number, &filler) {
                    self.client_sends(link, TEXT, &request);
                }
            }
            Some(Talk::Listening(_) | Talk::Polling(_)) | None => {}
        }
    }

    /// Everybody publishes at the position that they know: of those who know the same, one succeeds. Each asks once more, as if the answer had been lost.
    fn race(&mut self, client: usize, channel: usize) {
        let app = self.clients[client].app;
        let channel = self.plan.setup.channel(channel);
        let there = self.clients.iter().filter(|client| client.app == app).filter_map(|client| client.link);
        for link in there.collect::<Vec<_>>() {
            let number = self.next_number;
            let Some(Talk::Native(conversation)) = &mut self.links[link].talk else { continue };
            let Some(position) = conversation.position(&channel) else { continue };
            self.next_number += 1;
            let again = remembers_ids(&conversation.place(&channel), &self.truth.borrow());
            let once = Some(format!("race-{number}"));
            let wanted = Wanted { number, answered: true, if_position: Some(position), once };
            let message = json!({"type": "publish", "channel": channel, "data": [number]});
            let requests = (0..1 + usize::from(again))
                .map(|_| conversation.publish(self.now, &channel, wanted.clone(), message.clone()));
            let requests: Vec<Vec<u8>> = requests.collect();
            requests.iter().for_each(|request| self.client_sends(link, TEXT, request));
        }
    }

    /// The application publishes, on any shard.
    fn submit(&mut self, client: usize, channel: ChannelName, size: usize) {
        if !self.node.up {
            return;
        }
        let app = Arc::clone(&self.plan.setup.apps[self.clients[client].app]);
        let payload = Payload::Json(format!("[{},{:?}]", self.next_number, "x".repeat(size)).into());
        self.next_number += 1;
        let shard = self.rng.below(self.node.shards.len());
        // What a shard does not take waits outside, and here is not asked at all.
        if self.node.shards[shard].sessions.takes_requests() {
            self.ask_on(shard, &app, Command::Publish { channel, publish: Publish::new(payload), exclude_self: false });
        }
    }

    /// The application asks, on any shard. Returns the ticket.
    pub(crate) fn ask(&mut self, app: &Arc<App>, command: Command) -> u64 {
        let shard = self.rng.below(self.node.shards.len());
        self.ask_on(shard, app, command)
    }

    pub(crate) fn ask_on(&mut self, shard: usize, app: &Arc<App>, command: Command) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.tickets.insert(ticket, self.now);
        self.node.shards[shard].sessions.submit(self.now, ticket, app, command);
        self.want_turn(shard);
        ticket
    }

    pub(crate) fn client_sends(&mut self, link: usize, kind: u8, payload: &[u8]) {
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
            if self.links[link].plain {
                self.receive_plain(link, &bytes)?;
                continue;
            }
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
        let news = match &mut self.links[link].talk {
            Some(Talk::Native(conversation)) => {
                match kind {
                    TEXT => conversation.receive(self.now, &truth, payload)?,
                    _ => conversation.receive_binary(self.now, &truth, payload)?,
                }
                core::mem::take(&mut conversation.news)
            }
            Some(Talk::Raw(listener)) => {
                self.seen.messages += 1;
                return listener.receive(&truth, payload);
            }
            Some(Talk::Pusher(channels)) => {
                channels.receive(&truth, payload)?;
                core::mem::take(&mut channels.news)
            }
            Some(Talk::Listening(_) | Talk::Polling(_)) | None => return Ok(()),
        };
        drop(truth);
        news.iter().try_for_each(|news| self.learn(link, news))
    }

    /// A piece of a response came.
    fn receive_plain(&mut self, link: usize, bytes: &[u8]) -> Result<(), Violation> {
        self.trace.note(self.now, "received", &[link as u64], || String::from_utf8_lossy(bytes).into_owned());
        if !self.links[link].transmit.is_empty() {
            let wait = self.draw(self.plan.setup.wire);
            self.after(wait, Due::Writable(link));
        }
        let truth = self.truth.borrow();
        let news = match &mut self.links[link].talk {
            Some(Talk::Listening(listening)) => {
                listening.receive(&truth, bytes)?;
                core::mem::take(&mut listening.news)
            }
            Some(Talk::Polling(polling)) => {
                polling.receive(bytes);
                return Ok(());
            }
            _ => return Ok(()),
        };
        drop(truth);
        news.iter().try_for_each(|news| self.learn(link, news))
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
        self.note_stays(link);
        self.links[link].client_open = false;
        self.links[link].unsent.clear();
        match self.links[link].talk.take() {
            Some(Talk::Native(conversation)) => {
                self.seen.add(&conversation.seen);
                self.clients[client].left = conversation.end();
            }
            Some(Talk::Raw(listener)) => self.clients[client].left.extend(listener.end()),
            Some(Talk::Pusher(channels)) => self.seen.add(&channels.seen),
            Some(Talk::Listening(listening)) => {
                self.seen.add(&listening.seen);
                self.clients[client].left.extend(listening.end());
            }
            Some(Talk::Polling(polling)) => self.seen.add(&polling.seen),
            None => {}
        }
        Some(link)
    }

    /// The client finds that the server's end is gone.
    pub(crate) fn client_loses(&mut self, link: usize) -> Result<(), Violation> {
        if !self.links[link].client_open {
            return Ok(());
        }
        let client = self.links[link].client;
        if self.links[link].plain {
            // All that came before the end is read first, unless it reads no more.
            self.client_reads(link)?;
            self.end_poll(link)?;
        }
        if self.links[link].client_open {
            self.client_closes(client);
        }
        Ok(())
    }

    fn end_poll(&mut self, link: usize) -> Result<(), Violation> {
        let truth = self.truth.borrow();
        let Some(Talk::Polling(polling)) = &mut self.links[link].talk else { return Ok(()) };
        let places = polling.end(&truth)?;
        let news = core::mem::take(&mut polling.news);
        drop(truth);
        self.clients[self.links[link].client].left.extend(places);
        news.iter().try_for_each(|news| self.learn(link, news))
    }

    /// What the clients that are still there have seen counts too.
    pub(crate) fn end_conversations(&mut self) {
        for client in 0..self.clients.len() {
            self.client_closes(client);
        }
    }
}

/// A publication that is repeated is recognised for as long as a run takes, whatever comes between.
fn remembers_ids(place: &Place, truth: &Truth) -> bool {
    let long = |options: &ChannelOptions| {
        options.idempotency_ids >= 1_000 && options.idempotency_ttl >= Duration::from_secs(120)
    };
    !truth.short_of_memory && truth.options(place).is_some_and(long)
}
