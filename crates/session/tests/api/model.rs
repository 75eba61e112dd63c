//! Random runs of a node of three shards and two applications, checked against what was promised: order, no duplicate, no silent gap, a resume
//! that is complete or says that it is not, and nothing crosses between applications.

use core::time::Duration;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelMatch, ChannelOptions, Channels, Grant, Limits, Operations};
use switchboard_dialects::Opening;
use switchboard_hub::Portions;
use switchboard_testkit::{ClientId, FakeDirectory, Rng, World};

const SHARDS: usize = 3;
const CHANNELS: usize = 4;

#[test]
fn random_runs_keep_the_promises() {
    let runs = std::env::var("SWITCHBOARD_RUNS").map_or(150, |runs| runs.parse().unwrap());
    let mut seen = Seen::default();
    for seed in 0..runs {
        let mut run = Run::new(seed);
        for _ in 0..600 {
            run.operation();
        }
        run.finish(&mut seen);
    }
    // A run that never comes to the hard parts shows nothing.
    assert!(
        seen.messages > 0 && seen.recovered > 0 && seen.lost > 0 && seen.overflowed > 0 && seen.gaps > 0,
        "{seen:?}"
    );
}

#[derive(Debug, Default)]
struct Seen {
    messages: u64,
    recovered: u64,
    lost: u64,
    overflowed: u64,
    gaps: u64,
}

struct Run {
    seed: u64,
    rng: Rng,
    world: World,
    apps: Vec<Arc<App>>,
    clients: Vec<Model>,
    /// What each offset was, as the first who saw it did.
    truth: HashMap<(usize, String, String, u64), Value>,
    next_data: u64,
    seen: Seen,
}

/// What a client knows.
struct Model {
    id: ClientId,
    app: usize,
    reads: bool,
    gone: bool,
    channels: BTreeMap<String, Subscription>,
    /// Positions of channels that it left, as it knew them last.
    left: BTreeMap<String, (String, u64)>,
}

#[derive(Debug)]
struct Subscription {
    asked: Option<(String, u64)>,
    epoch: String,
    /// The last offset it has or will not get.
    offset: u64,
    answered: bool,
    leaving: bool,
    replay_until: Option<u64>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let app = |name: &str| {
            Arc::new(App {
                anonymous: Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]),
                limits: Limits { operations_per_second: 0, outbox_bytes: 8_000, ..Limits::default() },
                channels: Channels::new(ChannelOptions {
                    history_size: 25,
                    history_ttl: Duration::from_secs(60),
                    ..ChannelOptions::default()
                }),
                ..App::new(AppId::new(name))
            })
        };
        let apps = vec![app("one"), app("two")];
        let directory = FakeDirectory { apps: apps.clone(), ..FakeDirectory::default() };
        // The position check gives the world a turn in each pause: without it more falls behind.
        let position_check = Duration::from_secs([0, 30][seed as usize % 2]);
        let portions = Portions { position_check, ..Portions::default() };
        let world = World::with_portions(u16::try_from(SHARDS).unwrap(), directory, 1_000, portions);
        let (rng, seen) = (Rng::new(seed), Seen::default());
        Self { seed, rng, world, apps, clients: Vec::new(), truth: HashMap::new(), next_data: 0, seen }
    }

    fn operation(&mut self) {
        match self.rng.below(20) {
            0 if self.clients.len() < 12 => self.connect(BTreeMap::new(), None),
            1..=3 => self.subscribe(),
            4 => self.unsubscribe(),
            5..=10 => self.publish(),
            11 => self.come_back(),
            12 => self.toggle_reading(),
            13 if self.rng.one_in(4) => {
                let pause = Duration::from_secs(self.rng.below(20) as u64);
                self.world.pass(pause);
            }
            _ => (0..self.rng.below(8)).for_each(|_| self.world.step(&mut self.rng)),
        }
        self.observe();
    }

    fn connect(&mut self, left: BTreeMap<String, (String, u64)>, app: Option<usize>) {
        let app = app.unwrap_or_else(|| self.rng.below(2));
        let shard = self.rng.below(SHARDS);
        let batch = self.rng.one_in(2);
        let id = self.world.connect(shard, &self.apps[app], Opening::Native { batch }, None);
        self.clients.push(Model { id, app, reads: true, gone: false, channels: BTreeMap::new(), left });
    }

    fn pick(&mut self) -> Option<usize> {
        let index = self.rng.below(self.clients.len().max(1));
        let client = self.clients.get(index)?;
        (!client.gone && self.world.may_send(client.id)).then_some(index)
    }

    fn subscribe(&mut self) {
        let Some(index) = self.pick() else { return };
        let channel = format!("c{}", self.rng.below(CHANNELS));
        let client = &mut self.clients[index];
        if client.channels.contains_key(&channel) {
            return;
        }
        let asked = client.left.get(&channel).cloned().filter(|_| self.rng.below(4) > 0);
        let mut request = json!({"type": "subscribe", "channel": channel});
        if let Some((epoch, offset)) = &asked {
            request["since"] = json!({"epoch": epoch, "offset": offset});
        }
        let subscription = Subscription {
            asked,
            epoch: String::new(),
            offset: 0,
            answered: false,
            leaving: false,
            replay_until: None,
        };
        client.channels.insert(channel, subscription);
        self.world.send(client.id, &request.to_string());
    }

    fn unsubscribe(&mut self) {
        let Some(index) = self.pick() else { return };
        let client = &mut self.clients[index];
        // Only what is established and caught up: what is in flight afterwards would blur the model, not the server.
        let settled = |subscription: &Subscription| {
            subscription.answered && !subscription.leaving && subscription.replay_until.is_none()
        };
        let Some((channel, subscription)) = client.channels.iter_mut().find(|(_, subscription)| settled(subscription))
        else {
            return;
        };
        subscription.leaving = true;
        self.world.send(client.id, &json!({"type": "unsubscribe", "id": channel, "channel": channel}).to_string());
    }

    fn publish(&mut self) {
        let Some(index) = self.pick() else { return };
        let client = &self.clients[index];
        for _ in 0..=self.rng.below(6) {
            let channel = format!("c{}", self.rng.below(CHANNELS));
            let filler = "x".repeat(self.rng.below(300));
            let data = json!([client.app, channel, self.next_data, filler]);
            self.next_data += 1;
            let request = json!({"type": "publish", "channel": channel, "data": data});
            self.world.send(client.id, &request.to_string());
        }
    }

    /// Loses the connection and returns on another, with the positions it had.
    fn come_back(&mut self) {
        let Some(index) = self.pick() else { return };
        self.world.cut(self.clients[index].id);
        self.leave(index);
    }

    fn leave(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.gone = true;
        let mut left = core::mem::take(&mut client.left);
        for (channel, subscription) in core::mem::take(&mut client.channels) {
            if subscription.answered {
                left.insert(channel, (subscription.epoch, subscription.offset));
            }
        }
        let app = client.app;
        self.connect(left, Some(app));
    }

    fn toggle_reading(&mut self) {
        let Some(index) = self.pick() else { return };
        let client = &mut self.clients[index];
        client.reads = !client.reads;
        self.world.set_reading(client.id, client.reads);
    }

    fn observe(&mut self) {
        for index in 0..self.clients.len() {
            for message in self.world.received(self.clients[index].id) {
                self.check(index, &message.json());
            }
            if !self.clients[index].gone && self.world.disconnect_of(self.clients[index].id).is_some() {
                self.seen.overflowed += 1;
                self.leave(index);
            }
        }
    }

    fn check(&mut self, index: usize, message: &Value) {
        let channel = message["channel"].as_str().unwrap_or_default().to_owned();
        let seed = self.seed;
        let client = &mut self.clients[index];
        match message["type"].as_str().unwrap() {
            "batch" => message["messages"].as_array().unwrap().iter().for_each(|message| self.check(index, message)),
            "message" => self.check_publication(index, &channel, message),
            "ok" if message["id"].is_string() => {
                let subscription = client.channels.remove(&channel).unwrap();
                client.left.insert(channel, (subscription.epoch, subscription.offset));
            }
            "ok" if message["position"].is_object() => {
                let subscription = client.channels.get_mut(&channel).unwrap();
                let epoch = message["position"]["epoch"].as_str().unwrap().to_owned();
                let offset = message["position"]["offset"].as_u64().unwrap();
                subscription.answered = true;
                subscription.offset = offset;
                if let Some((asked_epoch, asked)) = subscription.asked.take() {
                    if message["recovered"].as_bool().unwrap() {
                        assert_eq!(asked_epoch, epoch, "seed {seed}");
                        subscription.offset = asked;
                        subscription.replay_until = Some(offset);
                        self.seen.recovered += 1;
                    } else {
                        self.seen.lost += 1;
                    }
                }
                subscription.epoch = epoch;
            }
            "gap" => {
                let subscription = client.channels.get_mut(&channel).unwrap();
                assert_eq!(message["from"].as_u64().unwrap(), subscription.offset + 1, "seed {seed}");
                subscription.offset = message["to"].as_u64().unwrap();
                self.seen.gaps += 1;
            }
            "caught_up" => {
                let subscription = client.channels.get_mut(&channel).unwrap();
                let until = subscription.replay_until.take().expect("a replay was promised");
                assert!(subscription.offset >= until, "seed {seed}: caught up without {until}");
            }
            "welcome" | "ping" | "disconnect" => {}
            other => panic!("seed {seed}: unexpected {other}: {message}"),
        }
    }

    fn check_publication(&mut self, index: usize, channel: &str, message: &Value) {
        let seed = self.seed;
        let client = &mut self.clients[index];
        let Some(subscription) = client.channels.get_mut(channel) else { return };
        let offset = message["offset"].as_u64().unwrap();
        let data = &message["data"];
        assert_eq!(offset, subscription.offset + 1, "seed {seed}: {channel} skipped or repeated");
        subscription.offset = offset;
        assert_eq!((data[0].as_u64(), data[1].as_str()), (Some(client.app as u64), Some(channel)), "seed {seed}");
        let place = (client.app, channel.to_owned(), subscription.epoch.clone(), offset);
        let known = self.truth.entry(place).or_insert_with(|| data.clone());
        assert_eq!(known, data, "seed {seed}: two publications at one offset");
        self.seen.messages += 1;
    }

    /// When all is quiet, whoever reads has everything.
    fn finish(mut self, seen: &mut Seen) {
        self.world.settle();
        self.observe();
        let mut ends: HashMap<(usize, String, String), u64> = HashMap::new();
        for (app, channel, epoch, offset) in self.truth.keys() {
            let end = ends.entry((*app, channel.clone(), epoch.clone())).or_default();
            *end = (*end).max(*offset);
        }
        for client in self.clients.iter().filter(|client| client.reads && !client.gone) {
            for (channel, subscription) in client.channels.iter() {
                assert!(
                    subscription.answered && subscription.replay_until.is_none(),
                    "seed {}: {subscription:?}",
                    self.seed
                );
                let place = (client.app, channel.clone(), subscription.epoch.clone());
                let end = ends.get(&place).copied().unwrap_or_default();
                assert!(subscription.offset >= end, "seed {}: {channel} ends at {end}, {subscription:?}", self.seed);
            }
        }
        let losses: u64 = self.world.shards.iter().map(|shard| shard.stats().hub.losses).sum();
        assert_eq!(losses, 0, "seed {}", self.seed);
        seen.messages += self.seen.messages;
        seen.recovered += self.seen.recovered;
        seen.lost += self.seen.lost;
        seen.overflowed += self.seen.overflowed;
        seen.gaps += self.seen.gaps;
    }
}
