//! A whole node in a test: the shards' sessions, a clock, mail that arrives when the test lets it, and clients.

use crate::directory::FakeDirectory;
use crate::framing::{PlainFraming, Received, TestFraming};
use crate::rng::Rng;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::{App, Command, Disconnect, FramingId, Identity, Outcome, Time};
use switchboard_dialects::{Incoming, Opening};
use switchboard_hub::{Mail, MemoryBroker, Portions, Shard, ShardConfig, ShardId, SubscriberId};
use switchboard_session::{Client, Sessions};

/// A client of a [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub usize);

/// Shards with clients.
#[derive(Debug)]
pub struct World {
    /// The time now.
    pub now: Time,
    /// The shards.
    pub shards: Vec<Sessions<MemoryBroker>>,
    /// Mail on its way, by sender and receiver.
    pub mail: Vec<Vec<VecDeque<Mail>>>,
    clients: Vec<Connected>,
}

#[derive(Debug)]
struct Connected {
    shard: usize,
    id: SubscriberId,
    /// Its messages come in pieces, without frames: what plain HTTP carries.
    plain: bool,
    inbox: VecDeque<Received>,
    /// Takes what is in its outbox.
    reads: bool,
    disconnect: Option<Disconnect>,
    open: bool,
}

impl World {
    /// When every world begins.
    pub const START: Time = Time::from_millis(1_700_000_000_000);

    /// `shards` shards with the epochs e1, e2, ….
    pub fn new(shards: u16, directory: FakeDirectory) -> Self {
        Self::with_mailboxes(shards, directory, 1024 * 1024)
    }

    /// The same with bounds of the mailboxes between shards, in bytes.
    pub fn with_mailboxes(shards: u16, directory: FakeDirectory, mailbox_bytes: usize) -> Self {
        Self::with_portions(shards, directory, mailbox_bytes, Portions::default())
    }

    /// The same with other portions.
    pub fn with_portions(shards: u16, directory: FakeDirectory, mailbox_bytes: usize, portions: Portions) -> Self {
        let directory = Arc::new(directory);
        let shard = |id: u16| {
            let config = ShardConfig { id: ShardId(id), shards, node: 0, first_serial: 1, mailbox_bytes, portions };
            let broker = MemoryBroker::new(0xe1 + u64::from(id), 64 * 1024 * 1024);
            Sessions::new(
                Shard::new(config, broker),
                directory.clone(),
                vec![Box::new(TestFraming), Box::new(PlainFraming)],
            )
        };
        let mail = || (0..shards).map(|_| VecDeque::new()).collect();
        Self {
            now: Self::START,
            shards: (0..shards).map(shard).collect(),
            mail: (0..shards).map(|_| mail()).collect(),
            clients: Vec::new(),
        }
    }

    /// A client comes to a shard.
    pub fn connect(&mut self, shard: usize, app: &Arc<App>, opening: Opening, identity: Option<Identity>) -> ClientId {
        let plain = matches!(opening, Opening::Listen { .. } | Opening::Poll { .. } | Opening::Post { .. });
        let client = Client { app: app.clone(), opening, identity, framing: FramingId(u8::from(plain)) };
        let id = self.shards[shard].open(self.now, client);
        let inbox = VecDeque::new();
        self.clients.push(Connected { shard, id, plain, inbox, reads: true, disconnect: None, open: true });
        ClientId(self.clients.len() - 1)
    }

    /// A client sends text.
    pub fn send(&mut self, client: ClientId, text: &str) {
        let Connected { shard, id, .. } = self.clients[client.0];
        self.shards[shard].receive(self.now, id, Incoming::Text(text));
    }

    /// A client sends bytes.
    pub fn send_binary(&mut self, client: ClientId, bytes: &[u8]) {
        let Connected { shard, id, .. } = self.clients[client.0];
        self.shards[shard].receive(self.now, id, Incoming::Binary(bytes));
    }

    /// A client's connection breaks.
    pub fn cut(&mut self, client: ClientId) {
        let connected = &mut self.clients[client.0];
        if core::mem::replace(&mut connected.open, false) {
            self.shards[connected.shard].close(self.now, connected.id);
        }
    }

    /// Whether a client reads what is sent to it.
    pub fn set_reading(&mut self, client: ClientId, reads: bool) {
        self.clients[client.0].reads = reads;
    }

    /// The application itself asks, on a shard. The answer may need [`settle`](Self::settle) first.
    pub fn submit(&mut self, shard: usize, ticket: u64, app: &Arc<App>, command: Command) {
        self.shards[shard].submit(self.now, ticket, app, command);
    }

    /// The next answer to [`submit`](Self::submit) on a shard.
    pub fn poll_external(&mut self, shard: usize) -> Option<(u64, Outcome)> {
        self.shards[shard].poll_external()
    }

    /// Everything that a client has received since the last call.
    pub fn received(&mut self, client: ClientId) -> Vec<Received> {
        self.clients[client.0].inbox.drain(..).collect()
    }

    /// The next message that a client received.
    pub fn next(&mut self, client: ClientId) -> Option<Received> {
        self.clients[client.0].inbox.pop_front()
    }

    /// How the server ended a client's connection.
    pub fn disconnect_of(&self, client: ClientId) -> Option<&Disconnect> {
        self.clients[client.0].disconnect.as_ref()
    }

    /// Whether a client may send.
    pub fn may_send(&mut self, client: ClientId) -> bool {
        let Connected { shard, id, open, .. } = self.clients[client.0];
        open && !self.shards[shard].pause(id) && self.shards[shard].takes_requests()
    }

    /// Bytes that wait for a client.
    pub fn waiting(&mut self, client: ClientId) -> usize {
        let Connected { shard, id, .. } = self.clients[client.0];
        self.shards[shard].outbox(id).map_or(0, |outbox| outbox.len())
    }

    /// Lets time pass; timers fire at their moments.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let next = self.shards.iter().filter_map(Sessions::poll_timeout).min();
            match next.filter(|next| *next <= end) {
                Some(next) => {
                    self.now = self.now.max(next);
                    self.shards.iter_mut().for_each(|shard| shard.handle_timeout(self.now));
                    self.settle();
                }
                None => break,
            }
        }
        self.now = end;
    }

    /// One turn of one shard, without its mail. Returns whether it has more to do.
    pub fn turn(&mut self, shard: usize) -> bool {
        let more = self.shards[shard].end_turn(self.now);
        self.drain_outboxes(shard);
        more || self.shards[shard].wants_turn()
    }

    /// Hands a shard's outgoing mail to the ways.
    pub fn post(&mut self, from: usize) {
        for to in 0..self.shards.len() {
            let letters = self.shards[from].take_mail(self.now, ShardId(u16::try_from(to).unwrap()));
            self.mail[from][to].extend(letters);
        }
    }

    /// Delivers one letter. Returns whether there was one.
    pub fn deliver(&mut self, from: usize, to: usize) -> bool {
        match self.mail[from][to].pop_front() {
            Some(letter) => {
                self.shards[to].receive_mail(self.now, letter);
                true
            }
            None => false,
        }
    }

    /// Turns and mail until nothing is left to do.
    pub fn settle(&mut self) {
        let shards = self.shards.len();
        for _ in 0..1_000_000 {
            let mut more = false;
            for shard in 0..shards {
                more |= self.turn(shard);
                self.post(shard);
                for to in 0..shards {
                    while self.deliver(shard, to) {
                        more = true;
                    }
                }
            }
            if !more && (0..shards).all(|shard| !(0..shards).any(|to| self.has_mail(shard, to))) {
                (0..shards).for_each(|shard| _ = self.turn(shard));
                return;
            }
        }
        panic!("the shards never settle");
    }

    /// A random step of the node: a turn, or a letter.
    pub fn step(&mut self, rng: &mut Rng) {
        let (a, b) = (rng.below(self.shards.len()), rng.below(self.shards.len()));
        match rng.below(4) {
            0 => _ = self.turn(a),
            1 => self.post(a),
            _ => _ = self.deliver(a, b),
        }
    }

    fn has_mail(&self, from: usize, to: usize) -> bool {
        !self.mail[from][to].is_empty() || self.shards[from].has_mail(ShardId(u16::try_from(to).unwrap()))
    }

    fn drain_outboxes(&mut self, shard: usize) {
        while self.shards[shard].poll_dirty().is_some() {}
        for client in self.clients.iter_mut().filter(|client| client.shard == shard && client.open) {
            let sessions = &mut self.shards[shard];
            if !client.reads {
                continue;
            }
            let mut output = VecDeque::new();
            sessions.take_output(client.id, usize::MAX, &mut output);
            for bytes in output {
                match client.plain {
                    true => client.inbox.push_back(Received::Text(String::from_utf8(bytes.to_vec()).expect("UTF-8"))),
                    false => client.inbox.extend(Received::split(&bytes)),
                }
            }
            if let Some(disconnect) = sessions.closing(client.id) {
                client.disconnect = Some(disconnect.clone());
                client.open = false;
                sessions.close(self.now, client.id);
            }
        }
    }
}
