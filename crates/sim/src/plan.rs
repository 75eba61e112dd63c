//! What a seed stands for: a node, how bad its world is, and what its clients will try to do.
//!
//! Everything is drawn before the run begins, so that a step can be left out and the others stay what they were.

use crate::pipe::Latency;
use crate::rights::{Rights, Token};
use core::time::Duration;
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelName, ChannelOptions, Channels, Limits, Overflow, Time};
use switchboard_hub::{Portions, TraceOptions};
use switchboard_store::Fsync;
use switchboard_testkit::Rng;

/// A whole run, before it has begun.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// The node and its world.
    pub setup: Setup,
    /// What is tried, in order.
    pub steps: Vec<Step>,
}

/// The node and its world.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Event loops.
    pub shards: u16,
    /// Applications; the channels of both have the same names.
    pub apps: Vec<Arc<App>>,
    /// Channels of each application. The first half is named `a:…`, the others `b:…`.
    pub channels: usize,
    /// Clients, one connection each at a time.
    pub clients: usize,
    /// What clients may show.
    pub tokens: Vec<Token>,
    /// Deliveries on the way to another shard, in bytes.
    pub mailbox_bytes: usize,
    /// Batches of mail on the way to another shard.
    pub mail_batches: usize,
    /// How much a shard does at once.
    pub portions: Portions,
    /// From client to server and back.
    pub wire: Latency,
    /// From shard to shard.
    pub mail: Latency,
    /// From the first input of a turn to its end.
    pub turn: Latency,
    /// Bytes of one direction of a connection that the kernels hold.
    pub socket_bytes: usize,
    /// History of all channels of a shard, in bytes.
    pub history_bytes_max: usize,
    /// When the history is synced, if it is on a disk.
    pub fsync: Option<Fsync>,
    /// Bytes after which the journal begins another file.
    pub segment_bytes: usize,
    /// How long a batch of the journal takes.
    pub disk: Latency,
    /// Batches of requests on the way to the journal.
    pub store_batches: usize,
    /// Publications of a shard on their way to the journal, in bytes.
    pub asked_bytes_max: usize,
}

/// Something that is tried.
#[derive(Clone, Debug)]
pub struct Step {
    /// After the step before it.
    pub after: Duration,
    /// Who tries.
    pub client: usize,
    /// What.
    pub action: Action,
}

/// What a client, the application or fate does. What does not apply at its moment is left out.
#[derive(Clone, Debug)]
pub enum Action {
    /// Connect, and subscribe again to what was left.
    Connect {
        /// Which token it shows, if any.
        token: Option<usize>,
        /// The protocol.
        speech: Speech,
    },
    /// Subscribe.
    Subscribe {
        /// To which channel.
        channel: usize,
        /// With the position that it knows, if it knows one.
        resume: bool,
        /// With presence.
        presence: bool,
    },
    /// Unsubscribe from the `pick`th of its channels.
    Unsubscribe {
        /// Which.
        pick: usize,
    },
    /// Publish a burst.
    Publish {
        /// Where.
        channel: usize,
        /// How many.
        count: usize,
        /// Bytes of filler.
        size: usize,
        /// Not to itself.
        exclude_self: bool,
        /// In which form.
        form: Form,
        /// Whether an answer is wanted.
        answered: bool,
        /// Under one of a few ids, so that some have been published before.
        once: Option<usize>,
        /// Only at the position that it knows.
        compare: bool,
        /// What becomes of the channel's cached value: kept so, or cleared.
        cache: Option<&'static str>,
    },
    /// Ask who is there.
    Presence {
        /// Where.
        channel: usize,
    },
    /// Read the history.
    History {
        /// Of which channel.
        channel: usize,
        /// After the position that it knows.
        since: bool,
        /// At most.
        limit: usize,
    },
    /// Show a token.
    Authenticate {
        /// Which.
        token: usize,
    },
    /// Send something that is no request.
    Nonsense {
        /// Which kind.
        kind: usize,
    },
    /// Ping.
    Ping,
    /// Read no more.
    Stall,
    /// Read again.
    Read,
    /// Close in order.
    Leave,
    /// The connection is reset.
    Cut,
    /// The client is gone and nobody tells the server.
    Vanish,
    /// The application publishes.
    Submit {
        /// Where.
        channel: usize,
        /// Bytes of filler.
        size: usize,
    },
    /// Nothing: a step that was left out.
    Nothing,
    /// The node dies and comes back.
    Crash {
        /// After how long.
        down: Duration,
        /// How it ends.
        end: End,
        /// A byte of its history is turned over meanwhile: which, is drawn from this.
        flip: Option<u64>,
    },
    /// Something happens to the disk of the history.
    Disk(DiskFault),
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At once; the system keeps what was written.
    Kill,
    /// With the whole machine: what was not synced may be gone, in parts.
    Power,
    /// In order.
    Order,
}

/// What happens to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// It has so many bytes left.
    Full {
        /// Bytes.
        room: usize,
    },
    /// The next write fails.
    Write,
    /// The next sync fails, and what it should have kept is gone.
    Sync,
    /// The machine stops in the midst of a later operation.
    Stop {
        /// Which.
        operations: u64,
    },
    /// Each batch takes long.
    Slow,
    /// It is well again.
    Heal,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// The native protocol.
    Native {
        /// Several publications in one frame.
        batch: bool,
    },
    /// One channel, unwrapped.
    Raw {
        /// Which.
        channel: usize,
        /// Hears itself.
        echo: bool,
    },
}

/// What a payload looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A JSON array.
    Json,
    /// A JSON string.
    Text,
    /// Bytes in a binary frame.
    Binary,
}

/// When every simulation begins.
pub(crate) const BEGIN: Time = Time::from_millis(1_700_000_000_000);

/// Names of users. Each client is always the same one; several clients are one user.
pub(crate) const USERS: usize = 5;

impl Plan {
    /// Draws everything from a seed.
    pub fn new(seed: u64, operations: usize) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x51D0_0001);
        let setup = Setup::draw(&mut rng);
        let weights = Weights::draw(&mut rng);
        let pace = [200, 1_000, 5_000][rng.below(3)];
        let steps = (0..operations).map(|_| draw_step(&mut rng, &setup, &weights, pace)).collect();
        Self { seed, setup, steps }
    }
}

impl Setup {
    fn draw(rng: &mut Rng) -> Self {
        let shards = 1 + rng.below(4);
        let small = rng.one_in(2);
        let portions = Portions {
            walk_subscribers: pick(rng, &[1, 2, 3, 1_024]),
            run_bytes: pick(rng, &[300, 1_000, 64 * 1024]),
            replay_bytes_max: pick(rng, &[8_000, 16 * 1024 * 1024]),
            catch_up_bytes: pick(rng, &[500, 2_000, 256 * 1024]),
            pending_bytes_max: pick(rng, &[2_000, 20_000, 8 * 1024 * 1024]),
            ..Portions::default()
        };
        let unanswered_bytes_max = portions.replay_bytes_max / 2;
        // Everybody is traced, in some runs for a short time only.
        let trace = TraceOptions { steps: if portions.catch_up_bytes == 500 { 300 } else { 4_096 }, sample: 1 };
        let portions = Portions { unanswered_bytes_max, trace, ..portions };
        let usual = Portions { trace, ..Portions::default() };
        let tokens = Token::all();
        let mut setup = Self {
            shards: u16::try_from(shards).unwrap_or(1),
            apps: Vec::new(),
            channels: 2 + rng.below(6),
            clients: 4 + rng.below(14),
            tokens,
            mailbox_bytes: pick(rng, &[400, 2_000, 1024 * 1024]),
            mail_batches: pick(rng, &[1, 2, 8]),
            portions: if small { portions } else { usual },
            wire: draw_latency(rng, 5_000),
            mail: draw_latency(rng, 300),
            turn: draw_latency(rng, 100),
            socket_bytes: pick(rng, &[700, 4_000, 64 * 1024]),
            history_bytes_max: pick(rng, &[20_000, 64 * 1024 * 1024]),
            fsync: pick(rng, &FSYNC),
            segment_bytes: pick(rng, &[700, 3_000, 40_000]),
            disk: draw_latency(rng, 2_000),
            store_batches: pick(rng, &[1, 2, 64]),
            asked_bytes_max: pick(rng, &[2_000, 20_000, 8 * 1024 * 1024]),
        };
        setup.apps = ["one", "two"].map(|name| Arc::new(draw_app(name, rng))).into();
        setup
    }

    /// How a channel of an application behaves.
    pub(crate) fn options(&self, app: usize, channel: &str) -> ChannelOptions {
        let name = ChannelName::parse(channel).expect("the plan's names are good");
        ChannelOptions::clone(self.apps[app].channels.of(&name))
    }

    /// A channel's name.
    pub(crate) fn channel(&self, number: usize) -> String {
        let half = if number < self.channels / 2 { "a" } else { "b" };
        format!("{half}:{number}")
    }
}

/// In memory one time of three; else mostly with the promise that is the hardest to keep.
const FSYNC: [Option<Fsync>; 6] = [
    None,
    None,
    Some(Fsync::Always),
    Some(Fsync::Always),
    Some(Fsync::Interval(Duration::from_millis(50))),
    Some(Fsync::Never),
];

fn draw_latency(rng: &mut Rng, scale: u64) -> Latency {
    let min = rng.number() % scale;
    Latency { min, max: min + pick(rng, &[0, scale, 10 * scale, 50 * scale]) }
}

fn draw_app(name: &str, rng: &mut Rng) -> App {
    let limits = Limits {
        operations_per_second: pick(rng, &[0, 0, 50]),
        operations_burst: 40,
        operations_pending: pick(rng, &[2, 8, 128]),
        outbox_bytes: pick(rng, &[2_500, 8_000, 64 * 1024, 1024 * 1024]),
        channels: pick(rng, &[3, 128]),
        presence_users: pick(rng, &[3, 10_000]),
        heartbeat: Duration::from_secs(pick(rng, &[2, 25])),
        ..Limits::default()
    };
    let [a, b] = ["a", "b"].map(|name| (name, draw_options(rng)));
    let channels = Channels::default().with_namespace(a.0, a.1).with_namespace(b.0, b.1);
    let anonymous = (!rng.one_in(3)).then(|| Rights::Guest.grants());
    App { limits, channels, anonymous, ..App::new(AppId::new(name)) }
}

fn draw_options(rng: &mut Rng) -> ChannelOptions {
    ChannelOptions {
        history_size: pick(rng, &[0, 5, 30, 1_000]),
        history_bytes: pick(rng, &[3_000, 1024 * 1024]),
        history_ttl: Duration::from_secs(pick(rng, &[1, 10, 300])),
        presence: !rng.one_in(4),
        idempotency_ttl: Duration::from_secs(pick(rng, &[2, 120])),
        idempotency_ids: pick(rng, &[0, 2, 1_000]),
        cache_ttl: Duration::from_secs(pick(rng, &[5, 60])),
        overflow: if rng.one_in(3) { Overflow::DropOldest } else { Overflow::Disconnect },
        ..ChannelOptions::default()
    }
}

/// How often what is tried, against the others. Some kinds of step do not come at all, so that others come together more often.
#[derive(Debug)]
struct Weights([usize; KINDS]);

const KINDS: usize = 16;

impl Weights {
    fn draw(rng: &mut Rng) -> Self {
        //             conn sub unsub publ pres hist auth nons ping stall read leave cut vanish submit disk
        let mut weights = [14, 20, 6, 40, 4, 6, 3, 1, 1, 5, 7, 2, 5, 2, 6, 1];
        for weight in weights.iter_mut().skip(2) {
            match rng.below(5) {
                0 => *weight = 0,
                1 => *weight *= 3,
                _ => {}
            }
        }
        // Whatever else: something is published.
        weights[3] = weights[3].max(10);
        Self(weights)
    }

    fn pick(&self, rng: &mut Rng) -> usize {
        let mut ticket = rng.below(self.0.iter().sum());
        for (kind, weight) in self.0.iter().enumerate() {
            if ticket < *weight {
                return kind;
            }
            ticket -= weight;
        }
        0
    }
}

fn draw_step(rng: &mut Rng, setup: &Setup, weights: &Weights, pace: u64) -> Step {
    let after = match rng.below(400) {
        0 => Duration::from_millis(rng.number() % 8_000),
        1..=5 => Duration::from_millis(rng.number() % 300),
        6..=200 => Duration::ZERO,
        _ => Duration::from_micros(rng.number() % pace),
    };
    let client = rng.below(setup.clients);
    // Few channels are busy, most are not.
    let channel = if rng.one_in(2) { rng.below(2) } else { rng.below(setup.channels) };
    let action = match weights.pick(rng) {
        0 => Action::Connect {
            token: (!rng.one_in(4)).then(|| rng.below(Token::KINDS)),
            speech: if rng.one_in(5) {
                Speech::Raw { channel, echo: !rng.one_in(3) }
            } else {
                Speech::Native { batch: rng.one_in(2) }
            },
        },
        1 => Action::Subscribe { channel, resume: !rng.one_in(4), presence: rng.one_in(3) },
        2 => Action::Unsubscribe { pick: rng.below(8) },
        3 => Action::Publish {
            channel,
            count: if rng.one_in(6) { 1 + rng.below(12) } else { 1 },
            size: [20, 200, 900][rng.below(3)],
            exclude_self: rng.one_in(6),
            form: [Form::Json, Form::Json, Form::Text, Form::Binary][rng.below(4)],
            answered: !rng.one_in(5),
            once: rng.one_in(6).then(|| rng.below(4)),
            compare: rng.one_in(8),
            cache: rng.one_in(8).then(|| pick(rng, &["keep", "keep", "clear"])),
        },
        4 => Action::Presence { channel },
        5 => Action::History { channel, since: rng.one_in(2), limit: [1, 3, 100][rng.below(3)] },
        6 => Action::Authenticate { token: rng.below(Token::KINDS) },
        7 => Action::Nonsense { kind: rng.below(4) },
        8 => Action::Ping,
        9 => Action::Stall,
        10 => Action::Read,
        11 => Action::Leave,
        12 if rng.one_in(60) => Action::Crash {
            down: Duration::from_millis(rng.number() % 2_000),
            end: pick(rng, &[End::Kill, End::Power, End::Power, End::Order]),
            flip: rng.one_in(8).then(|| rng.number()),
        },
        12 => Action::Cut,
        13 => Action::Vanish,
        14 => Action::Submit { channel, size: [20, 200, 900][rng.below(3)] },
        _ if rng.one_in(4) => Action::Disk(match rng.below(6) {
            0 => DiskFault::Full { room: rng.below(3_000) },
            1 => DiskFault::Write,
            2 => DiskFault::Sync,
            3 => DiskFault::Stop { operations: rng.number() % 20 },
            4 => DiskFault::Slow,
            _ => DiskFault::Heal,
        }),
        _ => Action::Disk(DiskFault::Heal),
    };
    Step { after, client, action }
}

fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.below(choices.len())]
}
