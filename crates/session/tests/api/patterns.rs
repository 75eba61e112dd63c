//! Subscriptions to patterns: what is shown, to whom, in which order, and what it costs those who do not use them.

use core::time::Duration;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use switchboard_core::{
    App, AppId, ChannelMatch, ChannelOptions, Channels, Grant, Identity, Limits, Operations, Overflow, Time, UserId,
};
use switchboard_dialects::Opening;
use switchboard_testkit::{ClientId, FakeDirectory, Received, Rng, World};

const NATIVE: Opening = Opening::Native { batch: false };

fn identity(user: &str, matches: &[&str], expires: Option<Time>) -> Identity {
    let grant = |raw: &&str| Grant { expires, ..Grant::new(ChannelMatch::parse(raw), Operations::ALL) };
    let grants = matches.iter().map(grant).collect();
    Identity { user: UserId::parse(user).unwrap(), info: None, grants, expires: None }
}

fn setup(shards: u16) -> (World, Arc<App>) {
    let limits = Limits { operations_per_second: 0, outbox_bytes: 16_000, channels: 3, ..Limits::default() };
    let latest = ChannelOptions { overflow: Overflow::KeepLatest, ..ChannelOptions::default() };
    let channels = Channels::default().with_namespace("prices", latest);
    let app = Arc::new(App { limits, channels, ..App::new(AppId::new("app")) });
    let tokens = HashMap::from([
        ((app.id.clone(), "ONE".to_owned()), identity("ann", &["a/1*"], None)),
        ((app.id.clone(), "NONE".to_owned()), identity("ann", &[], None)),
    ]);
    (World::new(shards, FakeDirectory { apps: vec![app.clone()], tokens, ..FakeDirectory::default() }), app)
}

fn connect(world: &mut World, shard: usize, app: &Arc<App>, matches: &[&str]) -> ClientId {
    world.connect(shard, app, NATIVE, Some(identity("ann", matches, None)))
}

fn send(world: &mut World, client: ClientId, request: &Value) {
    world.send(client, &request.to_string());
}

fn publish(world: &mut World, client: ClientId, channel: &str) {
    send(world, client, &json!({"type": "publish", "channel": channel, "data": 1}));
}

/// Channels and offsets of what came, and other messages by their kind.
fn got(world: &mut World, client: ClientId) -> Vec<String> {
    world.settle();
    let show = |message: Value| match message["type"].as_str().unwrap() {
        "message" => format!("{}@{}", message["channel"].as_str().unwrap(), message["offset"]),
        "error" => message["code"].as_str().unwrap().to_owned(),
        kind => kind.to_owned(),
    };
    world.received(client).iter().map(Received::json).map(show).collect()
}

#[test]
fn a_pattern_shows_what_its_subscriber_may_see_and_follows_its_tokens() {
    let (mut world, app) = setup(3);
    let writer = connect(&mut world, 0, &app, &["*"]);
    let reader = connect(&mut world, 1, &app, &["a/*"]);
    send(&mut world, reader, &json!({"type": "subscribe", "pattern": "+/+"}));
    assert_eq!(got(&mut world, reader), ["welcome", "ok"]);
    let all = ["a/1", "a/2", "b/1", "a/1/x", "a"];
    let round = |world: &mut World| {
        all.iter().for_each(|channel| publish(world, writer, channel));
        let mut got = got(world, reader);
        got.sort();
        got
    };
    assert_eq!(round(&mut world), ["a/1@1", "a/2@1"]);
    send(&mut world, reader, &json!({"type": "authenticate", "token": "ONE"}));
    assert_eq!(round(&mut world), ["a/1@2", "ok"]);
    send(&mut world, reader, &json!({"type": "authenticate", "token": "NONE"}));
    assert_eq!(round(&mut world), ["ok"]);
    send(&mut world, reader, &json!({"type": "unsubscribe", "pattern": "+/+"}));
    assert_eq!(round(&mut world), ["ok"]);
}

#[test]
fn a_grant_that_ends_shows_no_more() {
    let (mut world, app) = setup(1);
    let writer = connect(&mut world, 0, &app, &["*"]);
    let until = World::START + Duration::from_secs(10);
    let reader = world.connect(0, &app, NATIVE, Some(identity("bob", &["a/*"], Some(until))));
    send(&mut world, reader, &json!({"type": "subscribe", "pattern": "#"}));
    publish(&mut world, writer, "a/1");
    assert_eq!(got(&mut world, reader), ["welcome", "ok", "a/1@1"]);
    world.pass(Duration::from_secs(10));
    publish(&mut world, writer, "a/1");
    assert_eq!(got(&mut world, reader), [""; 0]);
}

#[test]
fn patterns_that_overlap_and_a_subscription_by_name_are_one_delivery() {
    let (mut world, app) = setup(2);
    let writer = connect(&mut world, 0, &app, &["*"]);
    let reader = connect(&mut world, 1, &app, &["*"]);
    for request in [
        json!({"type": "subscribe", "pattern": "a/#"}),
        json!({"type": "subscribe", "pattern": "a/+"}),
        json!({"type": "subscribe", "channel": "a/1"}),
    ] {
        send(&mut world, reader, &request);
    }
    assert_eq!(got(&mut world, reader), ["welcome", "ok", "ok", "ok"]);
    publish(&mut world, writer, "a/1");
    assert_eq!(got(&mut world, reader), ["a/1@1"]);
    send(&mut world, reader, &json!({"type": "unsubscribe", "channel": "a/1"}));
    got(&mut world, reader);
    publish(&mut world, writer, "a/1");
    assert_eq!(got(&mut world, reader), ["a/1@2"]);
    for (request, code) in [
        (json!({"type": "subscribe", "pattern": "a/#"}), "already_subscribed"),
        (json!({"type": "unsubscribe", "pattern": "b/#"}), "not_subscribed"),
        (json!({"type": "subscribe", "pattern": "c/#"}), "ok"),
        (json!({"type": "subscribe", "channel": "c/1"}), "limit_exceeded"),
        (json!({"type": "subscribe", "pattern": "d/#"}), "limit_exceeded"),
    ] {
        send(&mut world, reader, &request);
        assert_eq!(got(&mut world, reader), [code], "{request}");
    }
}

/// A loss could not be told with its channel, so the session ends, as without a rate.
#[test]
fn what_finds_no_room_for_a_pattern_while_it_waits_for_its_moment_ends_the_session() {
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let limits = Limits { operations_per_second: 0, outbox_bytes: 16_000, ..Limits::default() };
    let channels =
        Channels::new(ChannelOptions { overflow: Overflow::DropOldest, rate: 1, ..ChannelOptions::default() });
    let app = Arc::new(App { limits, channels, anonymous, ..App::new(AppId::new("app")) });
    let mut world = World::new(1, FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() });
    let [writer, reader] = [(); 2].map(|()| world.connect(0, &app, NATIVE, None));
    send(&mut world, reader, &json!({"type": "subscribe", "pattern": "#"}));
    assert_eq!(got(&mut world, reader), ["welcome", "ok"]);
    for key in 0..60 {
        let data = "x".repeat(900);
        send(&mut world, writer, &json!({"type": "publish", "channel": "a", "key": key.to_string(), "data": data}));
        world.settle();
    }
    assert_eq!(world.disconnect_of(reader).map(|disconnect| disconnect.code), Some(4100));
}

/// One delivery of a key in a second, so that what follows waits.
fn setup_with_a_rate() -> (World, [ClientId; 2]) {
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let limits = Limits { operations_per_second: 0, ..Limits::default() };
    let channels = Channels::new(ChannelOptions { rate: 1, ..ChannelOptions::default() });
    let app = Arc::new(App { limits, channels, anonymous, ..App::new(AppId::new("app")) });
    let tokens = HashMap::from([((app.id.clone(), "NONE".to_owned()), identity("ann", &[], None))]);
    let directory = FakeDirectory { apps: vec![app.clone()], tokens, ..FakeDirectory::default() };
    let mut world = World::new(1, directory);
    let [writer, reader] = [(); 2].map(|()| world.connect(0, &app, NATIVE, None));
    send(&mut world, reader, &json!({"type": "subscribe", "pattern": "#"}));
    assert_eq!(got(&mut world, reader), ["welcome", "ok"]);
    for _ in 0..2 {
        publish(&mut world, writer, "a");
        world.settle();
    }
    assert_eq!(got(&mut world, reader), ["a@1"]);
    (world, [writer, reader])
}

#[test]
fn what_waits_for_its_moment_is_not_shown_once_the_pattern_or_the_right_has_ended() {
    for request in [json!({"type": "unsubscribe", "pattern": "#"}), json!({"type": "authenticate", "token": "NONE"})] {
        let (mut world, [_, reader]) = setup_with_a_rate();
        send(&mut world, reader, &request);
        assert_eq!(got(&mut world, reader), ["ok"], "{request}");
        world.pass(Duration::from_secs(3));
        assert_eq!(got(&mut world, reader), [""; 0], "{request}");
    }
}

#[test]
fn what_waits_for_its_moment_is_not_shown_among_what_comes_by_name() {
    let (mut world, [writer, reader]) = setup_with_a_rate();
    send(&mut world, reader, &json!({"type": "subscribe", "channel": "a"}));
    assert_eq!(got(&mut world, reader), ["ok"]);
    world.pass(Duration::from_secs(3));
    assert_eq!(got(&mut world, reader), [""; 0]);
    publish(&mut world, writer, "a");
    assert_eq!(got(&mut world, reader), ["a@3"]);
}

#[test]
fn what_a_pattern_shows_from_before_a_subscription_by_name_comes_before_its_answer() {
    let (mut world, app) = setup(1);
    let [writer, reader] = [(); 2].map(|()| connect(&mut world, 0, &app, &["*"]));
    send(&mut world, reader, &json!({"type": "subscribe", "pattern": "#"}));
    assert_eq!(got(&mut world, reader), ["welcome", "ok"]);
    publish(&mut world, writer, "a");
    send(&mut world, reader, &json!({"type": "subscribe", "channel": "a"}));
    publish(&mut world, writer, "a");
    assert_eq!(got(&mut world, reader), ["a@1", "ok", "a@2"]);
}

#[test]
fn who_publishes_may_exclude_itself_and_who_reads_slowly_meets_the_policy() {
    let (mut world, app) = setup(1);
    let writer = connect(&mut world, 0, &app, &["*"]);
    send(&mut world, writer, &json!({"type": "subscribe", "pattern": "#"}));
    send(&mut world, writer, &json!({"type": "publish", "channel": "a", "data": 1, "exclude_self": true}));
    assert_eq!(got(&mut world, writer), ["welcome", "ok"]);
    send(&mut world, writer, &json!({"type": "unsubscribe", "pattern": "#"}));
    let readers = ["prices/#", "other/#"].map(|pattern| {
        let reader = connect(&mut world, 0, &app, &["*"]);
        send(&mut world, reader, &json!({"type": "subscribe", "pattern": pattern}));
        reader
    });
    readers.iter().for_each(|reader| _ = got(&mut world, *reader));
    readers.iter().for_each(|reader| world.set_reading(*reader, false));
    for n in 0..100 {
        for channel in ["prices/1", "prices/2", "other/1"] {
            let data = "x".repeat(300);
            send(&mut world, writer, &json!({"type": "publish", "channel": channel, "data": [n, data]}));
        }
        world.settle();
    }
    readers.iter().for_each(|reader| world.set_reading(*reader, true));
    let prices = got(&mut world, readers[0]);
    assert!(prices.len() < 50 && prices.contains(&"prices/1@100".to_owned()), "{prices:?}");
    assert!(prices.contains(&"prices/2@100".to_owned()));
    world.settle();
    assert_eq!(world.disconnect_of(readers[1]).map(|disconnect| disconnect.code), Some(4100));
}

#[test]
fn whoever_has_gone_leaves_no_pattern_behind() {
    let (mut world, app) = setup(2);
    let writer = connect(&mut world, 0, &app, &["*"]);
    for _ in 0..3 {
        let reader = connect(&mut world, 1, &app, &["*"]);
        send(&mut world, reader, &json!({"type": "subscribe", "pattern": "a/#"}));
        world.cut(reader);
    }
    world.settle();
    assert_eq!(world.shards[1].stats().hub.subscribers, 0);
    publish(&mut world, writer, "a/1");
    world.turn(0);
    world.post(0);
    let letters = world.mail[0][1].len();
    world.settle();
    let (home_elsewhere, deliveries) = (letters, world.shards[1].stats().hub.deliveries);
    assert!(home_elsewhere <= 1 && deliveries == 0, "{letters} letters, {deliveries} deliveries");
}

/// Under any interleaving a channel's publications come in order and once; from when the subscription is answered until it ends, all of them.
#[test]
fn random_patterns_miss_nothing_and_repeat_nothing() {
    let mut seen = 0;
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let (mut world, app) = setup(3);
        let writers = [0, 1, 2].map(|shard| connect(&mut world, shard, &app, &["*"]));
        let reader = connect(&mut world, 1, &app, &["*"]);
        send(&mut world, reader, &json!({"type": "subscribe", "pattern": "a/+/#"}));
        world.settle();
        got(&mut world, reader);
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        let mut published: BTreeMap<String, u64> = BTreeMap::new();
        let mut others = vec![json!({"pattern": "#"}), json!({"pattern": "a/1"}), json!({"channel": "a/2"})];
        let mut observe = |world: &mut World| {
            for message in world.received(reader) {
                let message = message.json();
                if message["type"] == "message" {
                    let last = last.entry(message["channel"].as_str().unwrap().to_owned()).or_default();
                    *last += 1;
                    assert_eq!(message["offset"].as_u64(), Some(*last), "seed {seed}: {message}");
                    seen += 1;
                }
            }
            last.clone()
        };
        for _ in 0..200 {
            match rng.below(8) {
                0 if !others.is_empty() => {
                    let mut request = others.swap_remove(rng.below(others.len()));
                    request["type"] = json!("subscribe");
                    if !others.is_empty() {
                        send(&mut world, reader, &request);
                    }
                }
                1..=4 => {
                    let channel = format!("a/{}", rng.below(4));
                    publish(&mut world, writers[rng.below(3)], &channel);
                    *published.entry(channel).or_default() += 1;
                }
                _ => (0..rng.below(6)).for_each(|_| world.step(&mut rng)),
            }
            observe(&mut world);
        }
        world.settle();
        assert_eq!(observe(&mut world), published, "seed {seed}");
    }
    assert!(seen > 1_000, "{seen} messages show little");
}
