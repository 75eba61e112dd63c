//! The run: a queue of what will happen when, and whose turn it is.

use crate::Violation;
use crate::calls::Calls;
use crate::conversation::{Conversation, Position};
use crate::listener::Listener;
use crate::listening::Listening;
use crate::node::Node;
use crate::notices::{Stays, Told};
use crate::pipe::{Deframer, Latency, Pipe};
use crate::plan::{BEGIN, Plan};
use crate::polling::Polling;
use crate::pusher::Channels;
use crate::reach::{Order, Sent};
use crate::storage::Storage;
use crate::trace::Trace;
use crate::truth::Truth;
use core::cell::RefCell;
use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use switchboard_core::{Outcome, SessionId, Time};
use switchboard_hub::SubscriberId;
use switchboard_testkit::Rng;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The hash of everything that happened.
    pub hash: u64,
    /// Things that happened.
    pub events: u64,
    /// What the clients saw.
    pub seen: Seen,
    /// The promise that was broken first.
    pub violation: Option<Violation>,
}

/// How often what was seen: a run that never comes to the hard parts shows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Publications in their place.
    pub publications: u64,
    /// Messages that clients received.
    pub messages: u64,
    /// Answers to requests.
    pub answers: u64,
    /// Replays that were promised.
    pub recovered: u64,
    /// Replays that were refused.
    pub lost: u64,
    /// Gaps that were told.
    pub gaps: u64,
    /// Connections that the server ended.
    pub ended: u64,
    /// Publications that were duplicates.
    pub duplicates: u64,
    /// Publications that were refused.
    pub refused: u64,
    /// Deaths of the node.
    pub crashes: u64,
    /// Messages that stood for others.
    pub conflated: u64,
    /// Values that channels had kept.
    pub cached: u64,
    /// Signals of other clients.
    pub signals: u64,
    /// Subscriptions that the application ended.
    pub removed: u64,
    /// What the application's servers were told.
    pub notices: u64,
    /// Polls that were answered.
    pub polls: u64,
    /// Streams of events and lines that began.
    pub streams: u64,
    /// Messages that came by a pattern.
    pub shown: u64,
    /// Requests of the application that were answered.
    pub calls: u64,
    /// Users of whose coming or going others were told.
    pub watched: u64,
}

impl Seen {
    /// Adds up.
    pub fn add(&mut self, other: &Self) {
        self.publications += other.publications;
        self.messages += other.messages;
        self.answers += other.answers;
        self.recovered += other.recovered;
        self.lost += other.lost;
        self.gaps += other.gaps;
        self.ended += other.ended;
        self.duplicates += other.duplicates;
        self.refused += other.refused;
        self.crashes += other.crashes;
        self.conflated += other.conflated;
        self.cached += other.cached;
        self.signals += other.signals;
        self.removed += other.removed;
        self.notices += other.notices;
        self.polls += other.polls;
        self.streams += other.streams;
        self.shown += other.shown;
        self.calls += other.calls;
        self.watched += other.watched;
    }
}

/// Runs a plan to its end or to the first broken promise.
pub fn simulate(plan: &Plan, print: bool) -> Report {
    let mut world = World::new(plan, print);
    let result = world.run();
    world.end_conversations();
    let truth = world.truth.borrow();
    let violation = result.err().or_else(|| truth.violation.clone());
    world.seen.publications = truth.len() as u64;
    world.seen.duplicates = truth.duplicates;
    world.seen.refused = truth.refused;
    Report { hash: world.trace.hash(), events: world.trace.count, seen: world.seen, violation }
}

pub(crate) struct World<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) now: Time,
    pub(crate) rng: Rng,
    pub(crate) node: Node,
    pub(crate) storage: Option<Storage>,
    pub(crate) clients: Vec<Client>,
    pub(crate) links: Vec<Link>,
    pub(crate) truth: Rc<RefCell<Truth>>,
    pub(crate) trace: Trace,
    pub(crate) seen: Seen,
    /// The number in the next payload.
    pub(crate) next_number: u64,
    /// The application's questions that wait for an answer, by ticket.
    pub(crate) tickets: BTreeMap<u64, Time>,
    /// The answers to the last of them.
    pub(crate) outcomes: BTreeMap<u64, Outcome>,
    pub(crate) next_ticket: u64,
    /// What the application asks over its HTTP API.
    pub(crate) calls: Calls,
    /// What clients and the application have sent to one client alone, by the number in it.
    pub(crate) signals: BTreeMap<u64, Sent>,
    /// What the application has asked to be done to sessions.
    pub(crate) orders: Vec<Order>,
    /// What the application's servers were told.
    pub(crate) told: Told,
    /// Who was where and when.
    pub(crate) stays: Stays,
    heap: BinaryHeap<Reverse<(Time, u64, Due)>>,
    serial: u64,
}

/// Something that will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The plan's next step.
    Step(usize),
    /// A shard ends its turn.
    Turn(usize),
    /// Mail arrives.
    Mail { from: usize, to: usize },
    /// A shard's timers are due.
    Timer(usize),
    /// Bytes arrived at the server, or it may read again.
    ToServer(usize),
    /// Bytes arrived at the client, or it may write again.
    ToClient(usize),
    /// The client has read: the server may write.
    Writable(usize),
    /// The server finds the connection dead.
    ServerLoses(usize),
    /// The client finds the connection dead.
    ClientLoses(usize),
    /// The node is back.
    Restart,
    /// The thread of the store looks what there is to do.
    Store,
    /// The next request of a batch is made.
    Call(u64),
    /// The disk has done it.
    Stored { life: u64 },
    /// Somebody looks after a failed disk.
    Operator { life: u64 },
}

/// One client over all its connections.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) app: usize,
    pub(crate) link: Option<usize>,
    pub(crate) stalled: bool,
    pub(crate) left: BTreeMap<String, Position>,
}

/// What a client says and hears on one connection.
#[derive(Debug)]
pub(crate) enum Talk {
    Native(Conversation),
    Raw(Listener),
    Pusher(Channels),
    Listening(Listening),
    Polling(Polling),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: usize,
    pub(crate) shard: usize,
    pub(crate) id: SubscriberId,
    pub(crate) name: SessionId,
    pub(crate) talk: Option<Talk>,
    pub(crate) user: String,
    /// When the token that it came with ends.
    pub(crate) expires: Option<Time>,
    /// What the server says is the body of a response, without frames.
    pub(crate) plain: bool,
    /// The response ends when all of it is written.
    pub(crate) ending: bool,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    /// What the client has not got rid of.
    pub(crate) unsent: Vec<u8>,
    /// What the server's end of the transport holds.
    pub(crate) transmit: Vec<u8>,
    pub(crate) server_reads: Deframer,
    pub(crate) client_reads: Deframer,
    /// The session exists.
    pub(crate) session_open: bool,
    /// The server's end of the transport exists.
    pub(crate) server_open: bool,
    pub(crate) client_open: bool,
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, print: bool) -> Self {
        let truth = Rc::new(RefCell::new(Truth::new(&plan.setup)));
        let mut rng = Rng::new(plan.seed ^ 0x0DDB_A115);
        let storage = Storage::new(&plan.setup, &mut rng);
        let node = Node::new(&plan.setup, &truth, &mut rng, Vec::new());
        let clients = (0..plan.setup.clients).map(|index| Client {
            app: usize::from(index % 5 == 4),
            link: None,
            stalled: false,
            left: BTreeMap::new(),
        });
        let mut world = Self {
            plan,
            now: BEGIN,
            rng,
            node,
            storage,
            clients: clients.collect(),
            links: Vec::new(),
            truth,
            trace: Trace::new(BEGIN, print),
            seen: Seen::default(),
            next_number: 1,
            tickets: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            next_ticket: 0,
            calls: Calls::default(),
            signals: BTreeMap::new(),
            orders: Vec::new(),
            told: Told::default(),
            stays: Stays::new(),
            heap: BinaryHeap::new(),
            serial: 0,
        };
        if let Some(first) = plan.steps.first() {
            world.after(first.after, Due::Step(0));
        }
        world
    }

    fn run(&mut self) -> Result<(), Violation> {
        self.begin_node()?;
        self.run_until(Time::from_micros(u64::MAX), |due| matches!(due, Due::Step(_)))?;
        self.calm_down()?;
        self.check_quiet()?;
        self.check_reach()?;
        self.check_why()?;
        self.send_everybody_home()?;
        self.check_nothing_left()
    }

    /// Lets things happen until `end`, or until nothing of the kind `wanted` is still to come.
    pub(crate) fn run_until(&mut self, end: Time, wanted: impl Fn(&Due) -> bool) -> Result<(), Violation> {
        let mut left = self.heap.iter().filter(|Reverse((_, _, due))| wanted(due)).count();
        while let Some(Reverse((at, _, due))) = self.heap.peek().copied() {
            if at > end || left == 0 && end.as_micros() == u64::MAX {
                break;
            }
            self.heap.pop();
            self.now = self.now.max(at);
            self.truth.borrow_mut().now = self.now;
            left -= usize::from(wanted(&due));
            self.happen(due)?;
            if let Due::Step(index) = due
                && let Some(next) = self.plan.steps.get(index + 1)
            {
                self.after(next.after, Due::Step(index + 1));
                left += usize::from(wanted(&due));
            }
            if let Some(violation) = &self.truth.borrow().violation {
                return Err(violation.clone());
            }
        }
        if end.as_micros() != u64::MAX {
            self.now = end;
        }
        Ok(())
    }

    fn happen(&mut self, due: Due) -> Result<(), Violation> {
        match due {
            Due::Step(index) => self.step(index),
            Due::Turn(shard) => self.turn(shard),
            Due::Mail { from, to } => {
                self.mail_arrives(from, to);
                Ok(())
            }
            Due::Timer(shard) => {
                self.timer(shard);
                Ok(())
            }
            Due::ToServer(link) => {
                self.server_reads(link);
                Ok(())
            }
            Due::ToClient(link) => self.client_reads(link),
            Due::Writable(link) => {
                self.flush(link);
                Ok(())
            }
            Due::ServerLoses(link) => {
                self.server_loses(link);
                Ok(())
            }
            Due::ClientLoses(link) => self.client_loses(link),
            Due::Restart => self.restart(),
            Due::Store => {
                self.store();
                Ok(())
            }
            Due::Call(batch) => {
                self.call_next(batch);
                Ok(())
            }
            Due::Stored { life } => {
                self.stored(life);
                Ok(())
            }
            Due::Operator { life } => {
                self.operate(life);
                Ok(())
            }
        }
    }

    /// Has something happen later.
    pub(crate) fn after(&mut self, wait: Duration, due: Due) {
        self.at(self.now + wait, due);
    }

    /// Has something happen at a time.
    pub(crate) fn at(&mut self, at: Time, due: Due) {
        self.serial += 1;
        self.heap.push(Reverse((at, self.serial, due)));
    }

    pub(crate) fn draw(&mut self, latency: Latency) -> Duration {
        latency.draw(&mut self.rng)
    }
}
