//! The server's side: shards that end their turns, mail between them, and the transports' ends. It imitates `switchboard-net`, step by step.

use crate::Violation;
use crate::calls::Calls;
use crate::pipe::{BINARY, CLOSE, TEXT, frame};
use crate::plan::{End, Setup};
use crate::recorder::{Inner, Recorder};
use crate::rights;
use crate::truth::Truth;
use crate::world::{Due, Talk, World};
use core::cell::RefCell;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use switchboard_core::Time;
use switchboard_hub::{Mail, Outbox, Shard, ShardConfig, ShardId};
use switchboard_session::{Directory, Incoming, Sessions};
use switchboard_testkit::{FakeDirectory, PlainFraming, Rng, TestFraming};

/// All shards of the node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) up: bool,
    pub(crate) directory: Arc<FakeDirectory>,
    pub(crate) shards: Vec<OneShard>,
    /// Batches of mail on their way, by sender and receiver, with the time of their arrival.
    ways: Vec<Vec<Way>>,
}

/// Batches of mail in order.
type Way = VecDeque<(Time, Vec<Mail>)>;

#[derive(Debug)]
pub(crate) struct OneShard {
    pub(crate) sessions: Sessions<Recorder>,
    turn_planned: bool,
    timer: Option<Time>,
    /// Connections that wait for congestion to pass, and shards whose mail does.
    waiting_links: Vec<usize>,
    waiting_mail: BTreeSet<usize>,
    /// Connections by session.
    pub(crate) links: BTreeMap<(u32, u64), usize>,
}

/// What a transport takes from an outbox for one write.
const WRITE_BYTES: usize = 2_000;
/// How long a peer may take for its part of the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

impl Node {
    /// One whose shards have these brokers, or none of them.
    pub(crate) fn new(setup: &Setup, truth: &Rc<RefCell<Truth>>, rng: &mut Rng, brokers: Vec<Inner>) -> Self {
        let directory = Arc::new(rights::directory(&setup.apps, &setup.tokens));
        let shards = (0..setup.shards).zip(brokers).map(|(id, broker)| {
            let config = ShardConfig {
                id: ShardId(id),
                shards: setup.shards,
                node: 0,
                first_serial: rng.number() & 0xFFFF_FFFF,
                mailbox_bytes: setup.mailbox_bytes,
                portions: setup.portions,
            };
            let broker = Recorder::new(usize::from(id), broker, truth);
            let shard = Shard::new(config, broker);
            let directory: Arc<dyn Directory> = directory.clone();
            OneShard {
                sessions: Sessions::new(shard, directory, vec![Box::new(TestFraming), Box::new(PlainFraming)]),
                turn_planned: false,
                timer: None,
                waiting_links: Vec::new(),
                waiting_mail: BTreeSet::new(),
                links: BTreeMap::new(),
            }
        });
        let shards: Vec<_> = shards.collect();
        let ways = || (0..setup.shards).map(|_| VecDeque::new()).collect();
        let ways = (0..setup.shards).map(|_| ways()).collect();
        Self { up: true, directory, shards, ways }
    }

    pub(crate) fn has_mail(&self) -> bool {
        let count = self.shards.len();
        let posted = self.ways.iter().flatten().any(|way| !way.is_empty());
        let waits = |shard: &OneShard| (0..count).any(|to| shard.sessions.has_mail(shard_id(to)));
        posted || self.shards.iter().any(waits)
    }
}

pub(crate) fn shard_id(index: usize) -> ShardId {
    ShardId(u16::try_from(index).unwrap_or(u16::MAX))
}

impl World<'_> {
    pub(crate) fn want_turn(&mut self, shard: usize) {
        if !core::mem::replace(&mut self.node.shards[shard].turn_planned, true) {
            let wait = self.draw(self.plan.setup.turn);
            self.after(wait, Due::Turn(shard));
        }
    }

    /// Ends a turn: outboxes are filled and written, mail is sent.
    pub(crate) fn turn(&mut self, shard: usize) -> Result<(), Violation> {
        if !self.node.up {
            return Ok(());
        }
        self.trace.note(self.now, "turn", &[shard as u64], String::new);
        self.node.shards[shard].turn_planned = false;
        let more = self.node.shards[shard].sessions.end_turn(self.now);
        self.check_bounds(shard)?;
        while let Some(id) = self.node.shards[shard].sessions.poll_dirty() {
            if let Some(link) = self.node.shards[shard].links.get(&(id.slot, id.serial)) {
                self.flush(*link);
            }
        }
        while let Some((ticket, outcome)) = self.node.shards[shard].sessions.poll_external() {
            self.trace.note(self.now, "submitted", &[ticket], || format!("{outcome:?}"));
            if self.tickets.remove(&ticket).is_none() {
                return Err(Violation::new("application: answered twice", format!("{ticket} {outcome:?}")));
            }
            self.answered(ticket, &outcome)?;
            self.outcomes.insert(ticket, outcome);
        }
        while let Some(id) = self.node.shards[shard].sessions.poll_resumed() {
            if let Some(link) = self.node.shards[shard].links.get(&(id.slot, id.serial)).copied() {
                self.after(Duration::ZERO, Due::ToServer(link));
            }
        }
        self.hear(shard)?;
        self.send_mail(shard);
        self.ask_store(shard);
        let one = &mut self.node.shards[shard];
        if one.sessions.takes_requests() {
            let links = core::mem::take(&mut one.waiting_links);
            links.into_iter().for_each(|link| self.after(Duration::ZERO, Due::ToServer(link)));
        }
        let one = &mut self.node.shards[shard];
        if !one.sessions.is_congested() {
            let mail = core::mem::take(&mut one.waiting_mail);
            mail.into_iter().for_each(|from| self.after(Duration::ZERO, Due::Mail { from, to: shard }));
        }
        if more || self.node.shards[shard].sessions.wants_turn() {
            self.want_turn(shard);
        }
        self.set_timer(shard);
        Ok(())
    }

    fn send_mail(&mut self, from: usize) {
        for to in 0..self.node.shards.len() {
            while self.node.shards[from].sessions.has_mail(shard_id(to))
                && self.node.ways[from][to].len() < self.plan.setup.mail_batches
            {
                let batch = self.node.shards[from].sessions.take_mail(self.now, shard_id(to));
                let arrives = self.now + self.draw(self.plan.setup.mail);
                let arrives = self.node.ways[from][to].back().map_or(arrives, |(before, _)| arrives.max(*before));
                self.trace.note(self.now, "mail", &[from as u64, to as u64, batch.len() as u64], String::new);
                self.node.ways[from][to].push_back((arrives, batch));
                self.at(arrives, Due::Mail { from, to });
            }
        }
    }

    pub(crate) fn mail_arrives(&mut self, from: usize, to: usize) {
        if !self.node.up || self.node.ways[from][to].front().is_none_or(|(at, _)| *at > self.now) {
            return;
        }
        if self.node.shards[to].sessions.is_congested() {
            self.node.shards[to].waiting_mail.insert(from);
            self.want_turn(to);
            return;
        }
        if let Some((_, batch)) = self.node.ways[from][to].pop_front() {
            for letter in batch {
                self.node.shards[to].sessions.receive_mail(self.now, letter);
            }
        }
        self.want_turn(to);
        // There is room on the way again, and what came before congestion passed may have been passed over.
        self.send_mail(from);
        if let Some((at, _)) = self.node.ways[from][to].front() {
            self.at((*at).max(self.now), Due::Mail { from, to });
        }
    }

    pub(crate) fn set_timer(&mut self, shard: usize) {
        let one = &mut self.node.shards[shard];
        if let Some(next) = one.sessions.poll_timeout()
            && one.timer.is_none_or(|planned| next < planned)
        {
            one.timer = Some(next);
            let late = Duration::from_micros(self.rng.number() % 2_000);
            self.at(next.max(self.now) + late, Due::Timer(shard));
        }
    }

    pub(crate) fn timer(&mut self, shard: usize) {
        if !self.node.up {
            return;
        }
        let one = &mut self.node.shards[shard];
        one.timer = None;
        if one.sessions.poll_timeout().is_some_and(|next| next <= self.now) {
            one.sessions.handle_timeout(self.now);
            self.want_turn(shard);
        }
        self.set_timer(shard);
    }

    /// Takes what a client has sent to its session, as long as that wants it.
    pub(crate) fn server_reads(&mut self, link: usize) {
        let (now, shard) = (self.now, self.links[link].shard);
        self.links[link].up.arrive(now);
        while self.links[link].session_open {
            let sessions = &mut self.node.shards[shard].sessions;
            if sessions.pause(self.links[link].id) {
                return;
            }
            if !sessions.takes_requests() {
                self.node.shards[shard].waiting_links.push(link);
                self.want_turn(shard);
                return;
            }
            let Some((kind, payload)) = self.links[link].server_reads.next() else {
                let bytes = self.links[link].up.read(1 + self.rng.below(4_000));
                if bytes.is_empty() {
                    break;
                }
                self.links[link].server_reads.push(&bytes);
                if !self.links[link].unsent.is_empty() {
                    let wait = self.draw(self.plan.setup.wire);
                    self.after(wait, Due::ToClient(link));
                }
                continue;
            };
            let id = self.links[link].id;
            self.trace.note(now, "request", &[link as u64], || String::from_utf8_lossy(&payload).into_owned());
            match (kind, core::str::from_utf8(&payload)) {
                (TEXT, Ok(text)) => sessions.receive(now, id, Incoming::Text(text)),
                (BINARY, _) => sessions.receive(now, id, Incoming::Binary(&payload)),
                _ => {
                    self.server_loses(link);
                    return;
                }
            }
            self.want_turn(shard);
        }
    }

    /// Writes what is queued for a client, as far as the way takes it.
    pub(crate) fn flush(&mut self, link: usize) {
        if !self.links[link].plain {
            self.close_if_told(link);
        }
        while self.links[link].server_open && self.fill(link) {
            let Self { links, rng, plan, .. } = self;
            let one = &mut links[link];
            let (taken, arrives) = one.down.write(self.now, &one.transmit, plan.setup.wire, rng);
            one.transmit.drain(..taken);
            if taken == 0 {
                return;
            }
            self.trace.note(self.now, "write", &[link as u64, taken as u64], String::new);
            self.at(arrives, Due::ToClient(link));
        }
        if self.links[link].ending && self.links[link].transmit.is_empty() {
            self.end_response(link);
        }
    }

    /// Takes what a response has to say, as its dialect sends it: with some, that is their end.
    fn fill_plain(&mut self, link: usize) {
        let one = &mut self.links[link];
        if !one.session_open {
            return;
        }
        let sessions = &mut self.node.shards[one.shard].sessions;
        let mut output = VecDeque::new();
        let polls = matches!(one.talk, Some(Talk::Polling(_)));
        if polls || sessions.closing(one.id).is_some() {
            sessions.take_output(one.id, usize::MAX, &mut output);
        } else if one.transmit.is_empty() {
            sessions.take_output(one.id, WRITE_BYTES, &mut output);
        }
        let ends = sessions.closing(one.id).is_some();
        if ends && !polls {
            sessions.take_output(one.id, usize::MAX, &mut output);
        }
        output.iter().for_each(|piece| one.transmit.extend_from_slice(piece));
        if sessions.wants_turn() {
            let shard = one.shard;
            self.want_turn(shard);
        }
        if ends {
            self.links[link].ending = true;
            self.end_session(link);
            self.after(CLOSE_TIMEOUT, Due::ServerLoses(link));
        }
    }

    /// All of a response is written: its end comes behind it.
    fn end_response(&mut self, link: usize) {
        let Self { links, rng, plan, .. } = self;
        let one = &mut links[link];
        if core::mem::replace(&mut one.server_open, false) {
            let arrived = one.down.write(self.now, &[], plan.setup.wire, rng).1;
            self.trace.note(self.now, "closed", &[link as u64], String::new);
            let wait = self.draw(self.plan.setup.wire);
            self.at(arrived.max(self.now) + wait, Due::ClientLoses(link));
        }
    }

    /// Moves some of the outbox to the transport's queue. Returns whether that has anything.
    fn fill(&mut self, link: usize) -> bool {
        if self.links[link].plain {
            self.fill_plain(link);
        }
        let one = &mut self.links[link];
        let shard = one.shard;
        if one.transmit.is_empty() && one.session_open && !one.plain {
            let sessions = &mut self.node.shards[shard].sessions;
            if let Some(outbox) = sessions.outbox(one.id) {
                while one.transmit.len() < WRITE_BYTES
                    && let Some(encoded) = outbox.pop()
                {
                    one.transmit.extend_from_slice(&encoded.into_bytes());
                }
            }
            if sessions.wants_turn() {
                self.want_turn(shard);
            }
        }
        !self.links[link].transmit.is_empty()
    }

    /// If the session has decided to end: what is left of the outbox, then the close.
    fn close_if_told(&mut self, link: usize) {
        let one = &mut self.links[link];
        if !one.session_open {
            return;
        }
        let sessions = &mut self.node.shards[one.shard].sessions;
        let Some(disconnect) = sessions.closing(one.id).cloned() else { return };
        while let Some(encoded) = sessions.outbox(one.id).and_then(Outbox::pop) {
            one.transmit.extend_from_slice(&encoded.into_bytes());
        }
        one.transmit.extend(frame(CLOSE, &disconnect.code.to_be_bytes()));
        self.end_session(link);
        self.after(CLOSE_TIMEOUT, Due::ServerLoses(link));
    }

    /// The transport is over for the session, whatever is still to be written.
    pub(crate) fn end_session(&mut self, link: usize) {
        self.note_stays(link);
        let one = &mut self.links[link];
        if core::mem::replace(&mut one.session_open, false) {
            let (shard, id) = (one.shard, one.id);
            self.node.shards[shard].links.remove(&(id.slot, id.serial));
            self.node.shards[shard].sessions.close(self.now, id);
            self.want_turn(shard);
        }
    }

    /// The server gives a connection up. What it has written may still arrive.
    pub(crate) fn server_loses(&mut self, link: usize) {
        self.end_session(link);
        let one = &mut self.links[link];
        if core::mem::replace(&mut one.server_open, false) {
            self.trace.note(self.now, "closed", &[link as u64], String::new);
            one.transmit.clear();
            let wait = self.draw(self.plan.setup.wire);
            self.after(wait, Due::ClientLoses(link));
        }
    }

    /// The node dies: everything that it had in memory is gone.
    pub(crate) fn crash(&mut self, down: Duration, end: End) {
        if !core::mem::replace(&mut self.node.up, false) {
            return;
        }
        self.seen.crashes += 1;
        self.trace.note(self.now, "crash", &[], || format!("{end:?}"));
        self.end_store(end);
        for link in 0..self.links.len() {
            let one = &mut self.links[link];
            one.session_open = false;
            if core::mem::replace(&mut one.server_open, false) {
                one.up.clear();
                let wait = Duration::from_micros(self.rng.number() % 50_000);
                self.after(wait, Due::ClientLoses(link));
            }
        }
        // Whoever submitted something learns nothing.
        self.tickets.clear();
        self.calls = Calls::default();
        self.after(down, Due::Restart);
    }

    pub(crate) fn restart(&mut self) -> Result<(), Violation> {
        self.begin_node()?;
        self.trace.note(self.now, "restarted", &[], String::new);
        Ok(())
    }
}
