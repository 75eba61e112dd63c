//! What a subscriber gets when it is slow, or asked for fewer deliveries: the latest of each key, in order, with an account of what it did not get.

use core::time::Duration;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_core::{
    App, AppId, ChannelMatch, ChannelOptions, Channels, ConflateBy, Grant, Limits, Operations, Overflow,
};
use switchboard_dialects::Opening;
use switchboard_testkit::{ClientId, FakeDirectory, Received, Rng, World};

const NATIVE: Opening = Opening::Native { batch: false };
const OUTBOX: usize = 8_000;

fn setup(shards: u16, channels: Channels) -> (World, Arc<App>) {
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let limits = Limits { outbox_bytes: OUTBOX, operations_per_second: 0, ..Limits::default() };
    let app = Arc::new(App { limits, channels, anonymous, ..App::new(AppId::new("app")) });
    let world = World::new(shards, FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() });
    (world, app)
}

fn keeping_latest(conflate_by: ConflateBy, rate: u32) -> Channels {
    let options = ChannelOptions {
        history_size: 0,
        overflow: Overflow::KeepLatest,
        conflate_by,
        rate,
        ..ChannelOptions::default()
    };
    Channels::default().with_namespace("prices", options)
}

fn publish(world: &mut World, client: ClientId, channel: &str, key: &str, data: u64) {
    let data = json!([data, "x".repeat(300)]);
    world.send(client, &json!({"type": "publish", "channel": channel, "key": key, "data": data}).to_string());
}

/// What a subscriber has got, and what it was told that it did not get.
#[derive(Debug, Default)]
struct Account {
    offset: u64,
    received: u64,
    conflated: u64,
    latest: BTreeMap<String, u64>,
}

impl Account {
    fn take(&mut self, world: &mut World, client: ClientId) -> u64 {
        let before = self.received;
        for message in world.received(client) {
            let message = message.json();
            match message["type"].as_str().unwrap() {
                "message" => {
                    let offset = message["offset"].as_u64().unwrap();
                    assert!(offset > self.offset, "{offset} after {}", self.offset);
                    self.offset = offset;
                    self.received += 1;
                    self.conflated += message["conflated"].as_u64().unwrap_or_default();
                    let key = message["key"].as_str().unwrap().to_owned();
                    self.latest.insert(key, message["data"][0].as_u64().unwrap());
                }
                "welcome" | "ok" | "ping" => {}
                other => panic!("unexpected {other}: {message}"),
            }
        }
        self.received - before
    }
}

/// It is older than where the client is, so its loss could not be told.
#[test]
fn a_cached_value_is_not_dropped_for_what_is_newer() {
    let options =
        ChannelOptions { overflow: Overflow::DropOldest, cache: true, history_size: 0, ..ChannelOptions::default() };
    let (mut world, app) = setup(1, Channels::new(options));
    let [writer, reader] = [(); 2].map(|()| world.connect(0, &app, NATIVE, None));
    publish(&mut world, writer, "a", "k", 1);
    world.settle();
    world.received(reader);
    world.set_reading(reader, false);
    world.send(reader, r#"{"type":"subscribe","channel":"a"}"#);
    world.settle();
    for number in 2..=60 {
        publish(&mut world, writer, "a", "k", number);
        world.settle();
    }
    world.set_reading(reader, true);
    world.settle();
    let told: Vec<_> = world.received(reader).iter().map(Received::json).collect();
    let [begin, cached, gap, rest @ ..] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&begin["type"], &begin["position"]["offset"]), (&json!("ok"), &json!(1)));
    assert_eq!((&cached["type"], &cached["cached"], &cached["offset"]), (&json!("message"), &json!(true), &json!(1)));
    assert_eq!((&gap["type"], &gap["from"]), (&json!("gap"), &json!(2)));
    assert_eq!(rest.last().map(|last| &last["offset"]), Some(&json!(60)));
    assert!(rest.iter().all(|told| told["type"] == "message"), "{told:?}");
}

/// Some of what waits for the clock finds no room: that is told before what is let out of the rest.
#[test]
fn what_a_rate_drops_is_told_at_its_place() {
    let options = ChannelOptions { overflow: Overflow::DropOldest, rate: 1, ..ChannelOptions::default() };
    let (mut world, app) = setup(1, Channels::new(options));
    let [writer, reader] = [(); 2].map(|()| world.connect(0, &app, NATIVE, None));
    world.send(reader, r#"{"type":"subscribe","channel":"a"}"#);
    world.settle();
    world.received(reader);
    for key in 0..40 {
        publish(&mut world, writer, "a", &format!("key {key}"), key);
    }
    world.settle();
    world.pass(Duration::from_secs(2));
    let (mut last, mut lost) = (0, 0);
    for message in world.received(reader).iter().map(Received::json) {
        let (from, to) = match message["type"].as_str().unwrap() {
            "message" => (message["offset"].as_u64().unwrap(), message["offset"].as_u64().unwrap()),
            "gap" => (message["from"].as_u64().unwrap(), message["to"].as_u64().unwrap()),
            "ping" => continue,
            other => panic!("unexpected {other}: {message}"),
        };
        assert_eq!(from, last + 1, "{message} after {last}");
        lost += u64::from(message["type"] == "gap") * (to + 1 - from);
        last = to;
    }
    assert!(last == 40 && lost > 10, "{last}, {lost} of them lost");
}

#[test]
fn whoever_is_behind_gets_the_latest_of_each_key_and_the_others_all() {
    let (mut world, app) = setup(1, keeping_latest(ConflateBy::Key, 0));
    let [writer, slow, healthy] = [(); 3].map(|()| world.connect(0, &app, NATIVE, None));
    for client in [slow, healthy] {
        world.send(client, r#"{"type":"subscribe","channel":"prices:eu"}"#);
    }
    world.settle();
    world.set_reading(slow, false);
    let mut healthy_account = Account::default();
    for round in 0..100 {
        for key in ["a", "b", "c"] {
            publish(&mut world, writer, "prices:eu", key, round);
        }
        world.settle();
        assert!(world.waiting(slow) <= OUTBOX);
        healthy_account.take(&mut world, healthy);
    }
    world.set_reading(slow, true);
    world.settle();
    let mut account = Account::default();
    account.take(&mut world, slow);
    assert_eq!(account.latest.values().copied().collect::<Vec<_>>(), [99, 99, 99]);
    assert!(account.received < 30, "{account:?}");
    assert_eq!(account.received + account.conflated, 300, "every publication came or is accounted for");
    assert_eq!((healthy_account.received, healthy_account.conflated), (300, 0));

    publish(&mut world, writer, "prices:eu", "a", 100);
    publish(&mut world, writer, "prices:eu", "a", 101);
    world.settle();
    assert_eq!((account.take(&mut world, slow), account.offset), (2, 302), "nothing is conflated any more");
}

#[test]
fn more_keys_than_fit_end_the_session_and_it_may_come_back() {
    let (mut world, app) = setup(1, keeping_latest(ConflateBy::Key, 0));
    let [writer, slow] = [(); 2].map(|()| world.connect(0, &app, NATIVE, None));
    world.send(slow, r#"{"type":"subscribe","channel":"prices:eu"}"#);
    world.settle();
    world.set_reading(slow, false);
    for key in 0..100 {
        publish(&mut world, writer, "prices:eu", &key.to_string(), key);
        world.settle();
        let backlog = world.shards[0].backlog();
        assert!(backlog.outbox_max + backlog.conflated_max <= OUTBOX, "{backlog:?}");
    }
    world.set_reading(slow, true);
    world.settle();
    assert_eq!(world.disconnect_of(slow).map(|disconnect| disconnect.code), Some(4100));
}

#[test]
fn a_rate_lets_out_the_latest_at_its_moments() {
    let (mut world, app) = setup(1, keeping_latest(ConflateBy::Channel, 0));
    let [writer, calm, eager] = [(); 3].map(|()| world.connect(0, &app, NATIVE, None));
    world.send(calm, r#"{"type":"subscribe","channel":"prices:eu","rate":10}"#);
    world.send(eager, r#"{"type":"subscribe","channel":"prices:eu"}"#);
    world.settle();
    let [mut slow, mut all] = [Account::default(), Account::default()];
    for n in 0..200 {
        publish(&mut world, writer, "prices:eu", "a", n);
        world.settle();
        world.pass(Duration::from_millis(10));
        slow.take(&mut world, calm);
        all.take(&mut world, eager);
    }
    world.pass(Duration::from_secs(1));
    slow.take(&mut world, calm);
    assert_eq!((all.received, slow.latest["a"]), (200, 199));
    assert!((19..=21).contains(&slow.received), "{slow:?}");
    assert_eq!(slow.received + slow.conflated, 200);
}

#[test]
fn a_namespace_has_a_rate_for_all_and_a_client_may_only_ask_for_less() {
    for (asked, expected) in [(0, 4), (1, 1), (100, 4)] {
        let (mut world, app) = setup(1, keeping_latest(ConflateBy::Key, 4));
        let [writer, client] = [(); 2].map(|()| world.connect(0, &app, NATIVE, None));
        let mut request = json!({"type": "subscribe", "channel": "prices:eu"});
        if asked > 0 {
            request["rate"] = json!(asked);
        }
        world.send(client, &request.to_string());
        world.settle();
        let mut account = Account::default();
        for n in 0..1_000 {
            publish(&mut world, writer, "prices:eu", ["a", "b"][n as usize % 2], n);
            world.settle();
            world.pass(Duration::from_millis(10));
        }
        world.pass(Duration::from_secs(2));
        account.take(&mut world, client);
        // Each of two keys, over ten seconds.
        let most = expected * 2 * 10;
        assert!((most - 3..=most + 3).contains(&account.received), "{asked}: {account:?}");
        assert_eq!(account.received + account.conflated, 1_000);
        assert_eq!(account.latest.values().copied().collect::<Vec<_>>(), [998, 999]);
    }
}

#[test]
fn what_is_unsubscribed_waits_no_longer() {
    let (mut world, app) = setup(1, keeping_latest(ConflateBy::Key, 1));
    let [writer, client] = [(); 2].map(|()| world.connect(0, &app, NATIVE, None));
    world.send(client, r#"{"type":"subscribe","channel":"prices:eu"}"#);
    world.settle();
    (0..9).for_each(|n| publish(&mut world, writer, "prices:eu", "a", n));
    world.settle();
    world.send(client, r#"{"type":"unsubscribe","channel":"prices:eu"}"#);
    world.settle();
    let mut account = Account::default();
    account.take(&mut world, client);
    world.pass(Duration::from_secs(5));
    assert_eq!(account.take(&mut world, client), 0);
    assert_eq!(world.shards[0].backlog().conflated_max, 0);
}

/// Whatever happens in between: offsets grow, every publication came or is accounted for, and the last of each key is the last that was published.
#[test]
fn random_readers_end_with_the_latest_of_each_key() {
    let mut conflated = 0;
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let (by, rate) = (if rng.one_in(3) { ConflateBy::Channel } else { ConflateBy::Key }, rng.below(3) as u32 * 5);
        let (mut world, app) = setup(2, keeping_latest(by, rate));
        let [writer, reader] = [0, 1].map(|shard| world.connect(shard, &app, NATIVE, None));
        world.send(reader, r#"{"type":"subscribe","channel":"prices:eu"}"#);
        world.settle();
        let mut account = Account::default();
        let mut published = BTreeMap::new();
        let mut count = 0;
        for _ in 0..300 {
            match rng.below(10) {
                0 => world.set_reading(reader, rng.one_in(2)),
                1 => world.pass(Duration::from_millis(rng.below(400) as u64)),
                2..=6 => {
                    let key = ["a", "b", "c", "d"][rng.below(4)];
                    count += 1;
                    publish(&mut world, writer, "prices:eu", key, count);
                    published.insert(key.to_owned(), count);
                }
                _ => (0..rng.below(5)).for_each(|_| world.step(&mut rng)),
            }
            account.take(&mut world, reader);
        }
        world.set_reading(reader, true);
        world.settle();
        world.pass(Duration::from_secs(2));
        account.take(&mut world, reader);
        assert_eq!(account.received + account.conflated, count, "seed {seed}: {account:?}");
        match by {
            ConflateBy::Key => assert_eq!(account.latest, published, "seed {seed}"),
            ConflateBy::Channel => assert_eq!(account.latest.values().max(), Some(&count), "seed {seed}"),
        }
        conflated += account.conflated;
    }
    assert!(conflated > 500, "{conflated} show little");
}
