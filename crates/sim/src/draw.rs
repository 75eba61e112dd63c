//! Drawing a [plan](crate::plan) from a seed: what there is, how often what is tried, and how bad it may get.

use crate::listening::Look;
use crate::pipe::Latency;
use crate::plan::{
    Action, Call, DiskFault, End, Form, OWN, PATTERNS, Plan, Reading, SIGNED, Setup, Speech, Step, USERS,
};
use crate::rights::{Rights, Token};
use core::time::Duration;
use std::sync::Arc;
use switchboard_core::{
    App, AppId, CacheRequest, ChannelName, ChannelOptions, Channels, ConflateBy, Limits, NoticeKinds, Notices, Overflow,
};
use switchboard_hub::{Portions, TraceOptions};
use switchboard_store::Fsync;
use switchboard_testkit::Rng;

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
        let channels = &self.apps[app].channels;
        // Users' own channels have names that nobody can write.
        ChannelName::parse(channel)
            .map_or_else(|_| (**channels.defaults()).clone(), |name| (**channels.of(&name)).clone())
    }

    /// Channels that everybody can name.
    pub(crate) fn places(&self) -> usize {
        self.channels + SIGNED.len()
    }

    /// A channel's name; behind all others comes the own channel of each user.
    pub(crate) fn channel(&self, number: usize) -> String {
        match number.checked_sub(self.channels) {
            None => {
                let namespace = if number < self.channels / 2 { "a" } else { "b" };
                let level = if number % 2 == 1 { "/t" } else { "" };
                format!("{namespace}:{number}{level}")
            }
            Some(signed) => (*SIGNED.get(signed).unwrap_or(&OWN)).to_owned(),
        }
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
    let [a, b, others] = [(); 3].map(|()| draw_options(rng));
    let channels = Channels::new(others).with_namespace("a", a).with_namespace("b", b);
    let anonymous = (!rng.one_in(3)).then(|| Rights::Guest.grants());
    let notices = Notices {
        wanted: if rng.one_in(3) { Vec::new() } else { vec![("".into(), NoticeKinds::ALL)] },
        vacated_grace: Duration::from_secs(pick(rng, &[0, 1, 5])),
        count_for_subscribers: rng.one_in(2),
        ..Notices::default()
    };
    // As the server has it where Pusher's protocol is spoken.
    let protected = vec!["private-".into(), "presence-".into()];
    App { limits, channels, anonymous, protected, notices, ..App::new(AppId::new(name)) }
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
        overflow: pick(rng, &[Overflow::Disconnect, Overflow::Disconnect, Overflow::DropOldest, Overflow::KeepLatest]),
        conflate_by: pick(rng, &[ConflateBy::Key, ConflateBy::Channel]),
        rate: pick(rng, &[0, 0, 0, 0, 0, 0, 2, 50]),
        presence_grace: Duration::from_secs(pick(rng, &[0, 0, 1, 20])),
        cache: rng.one_in(4),
        ..ChannelOptions::default()
    }
}

/// How often what is tried, against the others. Some kinds of step do not come at all, so that others come together more often.
#[derive(Debug)]
struct Weights([usize; KINDS]);

const KINDS: usize = 23;

impl Weights {
    fn draw(rng: &mut Rng) -> Self {
        //             conn sub unsub publ pres hist auth nons ping stall read leave cut vanish submit disk
        let mut weights = [14, 20, 6, 40, 4, 6, 3, 1, 1, 5, 7, 2, 5, 2, 6, 1, 1, 4, 3, 1, 6, 5, 12];
        //                                              race signal to-user control pattern call signin
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
    let channel = if rng.one_in(2) { rng.below(2) } else { rng.below(setup.places()) };
    let action = match weights.pick(rng) {
        0 => Action::Connect {
            token: (!rng.one_in(4)).then(|| rng.below(Token::KINDS)),
            speech: draw_speech(rng, setup, channel),
        },
        1 => Action::Subscribe {
            channel: if rng.one_in(12) { setup.places() } else { channel },
            resume: !rng.one_in(4),
            presence: rng.one_in(3),
            rate: if rng.one_in(8) { pick(rng, &[1, 5, 100]) } else { 0 },
            cached: rng.one_in(5),
        },
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
            key: (!rng.one_in(4)).then(|| rng.below(3)),
            again: rng.one_in(3),
        },
        4 => Action::Presence { channel },
        5 => Action::History {
            channel,
            from: pick(rng, &[Reading::Latest, Reading::Since, Reading::Before]),
            limit: [1, 3, 100][rng.below(3)],
        },
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
        16 => Action::Race { channel },
        17 => Action::Signal { channel, whom: rng.below(setup.clients), by_user: rng.one_in(2) },
        18 => Action::SendToUser { whom: rng.below(setup.clients) },
        19 => Action::Control {
            whom: rng.below(setup.clients),
            by_user: rng.one_in(2),
            channel: (!rng.one_in(3)).then_some(channel),
        },
        20 if rng.one_in(3) => Action::Unwatch { pick: rng.below(2) },
        20 => Action::Watch { pattern: rng.below(PATTERNS.len()) },
        21 => Action::Call(draw_calls(rng, setup, channel)),
        22 => Action::SignIn { forged: rng.one_in(10), watched: (0..rng.below(4)).map(|_| rng.below(USERS)).collect() },
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

/// One request of the application, or a batch of some that mostly concern the same channel.
fn draw_calls(rng: &mut Rng, setup: &Setup, channel: usize) -> Vec<Call> {
    let count = if rng.one_in(3) { 2 + rng.below(5) } else { 1 };
    let draw = |_| {
        let channel = if rng.one_in(3) { rng.below(setup.places()) } else { channel };
        draw_call(rng, setup, channel)
    };
    (0..count).map(draw).collect()
}

fn draw_call(rng: &mut Rng, setup: &Setup, channel: usize) -> Call {
    match rng.below(16) {
        0..=4 => Call::Publish {
            channel,
            size: [20, 200, 900][rng.below(3)],
            key: rng.one_in(2).then(|| rng.below(3)),
            once: rng.one_in(3).then(|| rng.below(4)),
            compare: rng.one_in(3).then(|| pick(rng, &[0, 0, 1])),
            cache: pick(
                rng,
                &[CacheRequest::ByOptions, CacheRequest::ByOptions, CacheRequest::Keep, CacheRequest::Clear],
            ),
            exclude: rng.one_in(4).then(|| rng.below(setup.clients)),
        },
        5..=7 => Call::History {
            channel,
            from: (pick(rng, &[Reading::Latest, Reading::Since, Reading::Before]), pick(rng, &[0, 1, 5, 40])),
            limit: pick(rng, &[1, 3, 100]),
        },
        8..=9 => Call::Presence { channel, limit: pick(rng, &[None, None, Some(0), Some(2)]) },
        10..=11 => Call::Channel { channel },
        12..=13 => Call::Channels {
            prefix: pick(rng, &["", "", "a:", "b:", "p", "presence-"]),
            after: rng.one_in(3).then(|| rng.below(setup.places())),
            limit: pick(rng, &[1, 3, 100]),
        },
        14 => Call::Signal { channel, whom: rng.below(setup.clients), by_user: rng.one_in(2) },
        _ => Call::Why { whom: rng.below(setup.clients), pick: rng.below(100) },
    }
}

fn draw_speech(rng: &mut Rng, setup: &Setup, channel: usize) -> Speech {
    let mut channels = || {
        let second = rng.below(setup.channels);
        (channel, rng.one_in(2).then_some(second).filter(|second| *second != channel))
    };
    let channels = channels();
    match rng.below(16) {
        0..=1 => Speech::Raw { channel, echo: !rng.one_in(3) },
        2..=3 => Speech::Listen {
            channels,
            look: match channels.1 {
                None => pick(rng, &[Look::Data, Look::Messages, Look::Lines]),
                Some(_) => pick(rng, &[Look::Messages, Look::Messages, Look::Lines]),
            },
            presence: rng.one_in(3),
            rate: if rng.one_in(8) { pick(rng, &[1, 5, 100]) } else { 0 },
            cached: rng.one_in(4),
        },
        4..=5 => Speech::Poll {
            channels,
            limit: pick(rng, &[1, 3, 100]),
            wait: pick(rng, &[0, 50, 3_000]),
            cached: rng.one_in(4),
        },
        6..=8 => Speech::Pusher,
        _ => Speech::Native { batch: rng.one_in(2) },
    }
}

fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.below(choices.len())]
}
