//! Who is there and what was said last: presence with its grace, and cached values.

use core::time::Duration;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use switchboard_core::{
    App, AppId, ChannelMatch, ChannelOptions, Channels, Grant, Identity, Limits, Operations, UserId,
};
use switchboard_dialects::Opening;
use switchboard_testkit::{ClientId, FakeDirectory, Received, Rng, World};

const NATIVE: Opening = Opening::Native { batch: false };

fn setup(shards: u16, options: ChannelOptions) -> (World, Arc<App>) {
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let limits = Limits { operations_per_second: 0, ..Limits::default() };
    let channels = Channels::new(options);
    let app = Arc::new(App { limits, channels, anonymous, ..App::new(AppId::new("app")) });
    let world = World::new(shards, FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() });
    (world, app)
}

fn connect(world: &mut World, shard: usize, app: &Arc<App>, user: &str, operations: Operations) -> ClientId {
    let grants = vec![Grant::new(ChannelMatch::all(), operations)];
    let identity = Identity { user: UserId::parse(user).unwrap(), info: None, grants, expires: None };
    world.connect(shard, app, NATIVE, Some(identity))
}

fn messages(world: &mut World, client: ClientId) -> Vec<Value> {
    world.received(client).iter().map(Received::json).filter(|message| message["type"] != "ping").collect()
}

fn ask(world: &mut World, client: ClientId, request: &Value) -> Value {
    world.settle();
    messages(world, client);
    world.send(client, &request.to_string());
    world.settle();
    messages(world, client).swap_remove(0)
}

#[test]
fn a_user_who_reconnects_within_the_grace_was_never_away() {
    let grace = Duration::from_secs(5);
    let (mut world, app) = setup(2, ChannelOptions { presence_grace: grace, ..ChannelOptions::default() });
    let watcher = connect(&mut world, 0, &app, "watcher", Operations::ALL);
    ask(&mut world, watcher, &json!({"type": "subscribe", "channel": "room", "presence": true}));
    let join = |world: &mut World| {
        let ann = connect(world, 1, &app, "ann", Operations::ALL);
        world.send(ann, r#"{"type":"subscribe","channel":"room"}"#);
        world.settle();
        ann
    };
    let told = |world: &mut World| -> Vec<String> {
        messages(world, watcher).iter().map(|told| told["type"].as_str().unwrap().to_owned()).collect()
    };
    let first = join(&mut world);
    assert_eq!(told(&mut world), ["join"]);
    world.cut(first);
    world.settle();
    world.pass(Duration::from_millis(4_999));
    let counted = ask(&mut world, watcher, &json!({"type": "presence", "channel": "room", "limit": 0}));
    assert_eq!((&counted["users"], &counted["total"], &counted["connections"]), (&json!([]), &json!(2), &json!(1)));
    let second = join(&mut world);
    world.pass(Duration::from_secs(60));
    assert_eq!(told(&mut world), [""; 0]);
    world.cut(second);
    world.settle();
    world.pass(grace);
    assert_eq!(told(&mut world), ["leave"]);
}

#[test]
fn a_channel_in_its_grace_dies_when_the_last_has_left() {
    let grace = Duration::from_secs(5);
    let (mut world, app) = setup(1, ChannelOptions { presence_grace: grace, ..ChannelOptions::default() });
    let ann = connect(&mut world, 0, &app, "ann", Operations::ALL);
    ask(&mut world, ann, &json!({"type": "subscribe", "channel": "room"}));
    world.cut(ann);
    world.settle();
    assert_eq!(world.shards[0].stats().hub.channels, 1);
    let bob = connect(&mut world, 0, &app, "bob", Operations::ALL);
    let seen = ask(&mut world, bob, &json!({"type": "presence", "channel": "room"}));
    assert_eq!(seen["users"], json!([{"user": "ann", "connections": 0}]));
    world.pass(grace);
    assert_eq!(world.shards[0].stats().hub.channels, 0);
}

/// Who is in the grace keeps the channel's home, but not its history, and with that its epoch goes.
#[test]
fn who_comes_to_a_channel_that_lives_by_its_grace_alone_has_lost_nothing_of_what_was_before() {
    let (presence_grace, history_ttl) = (Duration::from_secs(60), Duration::from_secs(1));
    let (mut world, app) = setup(1, ChannelOptions { presence_grace, history_ttl, ..ChannelOptions::default() });
    let ann = connect(&mut world, 0, &app, "ann", Operations::ALL);
    let before = ask(&mut world, ann, &json!({"type": "subscribe", "channel": "room"}));
    for _ in 0..3 {
        ask(&mut world, ann, &json!({"type": "publish", "channel": "room", "data": 1}));
    }
    world.cut(ann);
    world.settle();
    world.pass(Duration::from_secs(5));
    let bob = connect(&mut world, 0, &app, "bob", Operations::ALL);
    let now = ask(&mut world, bob, &json!({"type": "subscribe", "channel": "room"}));
    assert_ne!(before["position"]["epoch"], now["position"]["epoch"], "the channel began anew");
    assert_eq!(now["position"]["offset"], json!(0));
    // Longer than the position check and the grace.
    world.pass(Duration::from_secs(90));
    let told = messages(&mut world, bob);
    assert_eq!(told.iter().filter(|told| told["type"] != "leave").collect::<Vec<_>>(), [&json!(null); 0]);
}

#[test]
fn a_full_list_lists_no_more_and_counts_on() {
    let (mut world, app) = setup(1, ChannelOptions { presence_members: 2, ..ChannelOptions::default() });
    let mut clients = Vec::new();
    for user in ["ann", "bob", "cy", "ann"] {
        let client = connect(&mut world, 0, &app, user, Operations::ALL);
        ask(&mut world, client, &json!({"type": "subscribe", "channel": "room"}));
        clients.push(client);
    }
    let seen = ask(&mut world, clients[0], &json!({"type": "presence", "channel": "room"}));
    let users = json!([{"user": "ann", "connections": 2}, {"user": "bob", "connections": 1}]);
    assert_eq!((&seen["users"], &seen["total"], &seen["connections"]), (&users, &json!(2), &json!(4)));
}

/// What a watcher was told agrees with itself at every step, and with who is there once all is quiet.
#[test]
fn what_watchers_know_converges_under_any_interleaving() {
    let mut changes = 0;
    for seed in 0..80 {
        let mut rng = Rng::new(seed);
        let grace = Duration::from_secs([0, 3][rng.below(2)]);
        let (mut world, app) = setup(3, ChannelOptions { presence_grace: grace, ..ChannelOptions::default() });
        let watcher = connect(&mut world, 0, &app, "watcher", Operations::ALL);
        world.send(watcher, r#"{"type":"subscribe","channel":"room","presence":true}"#);
        let mut known: Option<BTreeSet<String>> = None;
        let mut open: Vec<(ClientId, String)> = Vec::new();
        let mut observe = |world: &mut World, known: &mut Option<BTreeSet<String>>| {
            for message in messages(world, watcher) {
                let user = message["user"].as_str().unwrap_or_default().to_owned();
                match message["type"].as_str().unwrap() {
                    "ok" => {
                        let users = message["users"].as_array().unwrap();
                        *known = Some(users.iter().map(|user| user["user"].as_str().unwrap().to_owned()).collect());
                    }
                    "join" => assert!(known.as_mut().unwrap().insert(user), "seed {seed}: came twice"),
                    "leave" => assert!(known.as_mut().unwrap().remove(&user), "seed {seed}: left and was not there"),
                    _ => continue,
                }
                changes += 1;
            }
        };
        for _ in 0..200 {
            match rng.below(8) {
                0 | 1 => {
                    let user = ["ann", "bob", "cy"][rng.below(3)];
                    let shard = rng.below(3);
                    let client = connect(&mut world, shard, &app, user, Operations::ALL);
                    world.send(client, r#"{"type":"subscribe","channel":"room"}"#);
                    open.push((client, user.to_owned()));
                }
                2 | 3 if !open.is_empty() => {
                    let (client, _) = open.swap_remove(rng.below(open.len()));
                    if rng.one_in(3) {
                        world.send(client, r#"{"type":"unsubscribe","channel":"room"}"#);
                    }
                    world.cut(client);
                }
                4 => world.pass(Duration::from_millis(rng.below(2_000) as u64)),
                _ => (0..rng.below(6)).for_each(|_| world.step(&mut rng)),
            }
            observe(&mut world, &mut known);
        }
        world.settle();
        world.pass(grace);
        world.settle();
        observe(&mut world, &mut known);
        let mut present: BTreeMap<&str, u64> = BTreeMap::from([("watcher", 1)]);
        open.iter().for_each(|(_, user)| *present.entry(user).or_default() += 1);
        let users: BTreeSet<String> = present.keys().map(|user| (*user).to_owned()).collect();
        assert_eq!(known, Some(users), "seed {seed}");
        let asked = ask(&mut world, watcher, &json!({"type": "presence", "channel": "room"}));
        let counted = asked["users"].as_array().unwrap().iter();
        let counted: BTreeMap<&str, u64> =
            counted.map(|user| (user["user"].as_str().unwrap(), user["connections"].as_u64().unwrap())).collect();
        assert_eq!(counted, present, "seed {seed}");
    }
    assert!(changes > 500, "{changes} changes show little");
}

#[test]
fn whoever_comes_gets_the_cached_value_once_and_before_what_is_live() {
    let options = ChannelOptions { history_size: 0, cache: true, ..ChannelOptions::default() };
    let (mut world, app) = setup(2, options);
    let writer = connect(&mut world, 0, &app, "writer", Operations::ALL);
    for data in 1..=3 {
        world.send(writer, &json!({"type": "publish", "channel": "news", "data": data}).to_string());
    }
    world.settle();
    world.pass(Duration::from_secs(3_600));
    // The cache is the namespace's word: reading it needs no right to the history.
    let late = connect(&mut world, 1, &app, "late", Operations::SUBSCRIBE);
    world.send(late, r#"{"type":"subscribe","channel":"news"}"#);
    world.settle();
    world.send(writer, r#"{"type":"publish","channel":"news","data":4}"#);
    world.settle();
    let got: Vec<_> = messages(&mut world, late)[1..]
        .iter()
        .map(|got| (got["type"].as_str().unwrap().to_owned(), got["data"].clone(), got["cached"].clone()))
        .collect();
    let (message, none) = ("message".to_owned(), Value::Null);
    assert_eq!(got[1..], [(message.clone(), json!(3), json!(true)), (message, json!(4), none)]);
    world.pass(Duration::from_secs(24 * 3_600));
    let later = connect(&mut world, 1, &app, "later", Operations::SUBSCRIBE);
    world.send(later, r#"{"type":"subscribe","channel":"news"}"#);
    world.settle();
    assert_eq!(messages(&mut world, later).len(), 2, "welcome and ok: the value has gone at its time");
}

#[test]
fn a_publisher_may_keep_and_clear_and_who_resumes_gets_no_cached_value_besides() {
    let (mut world, app) = setup(1, ChannelOptions::default());
    let writer = connect(&mut world, 0, &app, "writer", Operations::ALL);
    let come = |world: &mut World, request: &Value, operations| -> Vec<Value> {
        let client = connect(world, 0, &app, "reader", operations);
        world.send(client, &request.to_string());
        world.settle();
        let got = messages(world, client);
        world.cut(client);
        got.iter().filter(|got| got["type"] == "message").map(|got| json!([got["data"], got["cached"]])).collect()
    };
    let wants = json!({"type": "subscribe", "channel": "lamp", "cached": true});
    let kept =
        ask(&mut world, writer, &json!({"type": "publish", "id": 1, "channel": "lamp", "data": "on", "cache": "keep"}));
    ask(&mut world, writer, &json!({"type": "publish", "id": 2, "channel": "lamp", "data": "blink"}));
    assert_eq!(come(&mut world, &wants, Operations::ALL), [json!(["on", true])]);
    assert_eq!(come(&mut world, &wants, Operations::SUBSCRIBE), [Value::Null; 0], "without the right to history");
    assert_eq!(come(&mut world, &json!({"type": "subscribe", "channel": "lamp"}), Operations::ALL), [Value::Null; 0]);
    let mut resumes = wants.clone();
    resumes["since"] = kept["position"].clone();
    assert_eq!(come(&mut world, &resumes, Operations::ALL), [json!(["blink", null])]);
    ask(&mut world, writer, &json!({"type": "publish", "id": 3, "channel": "lamp", "data": "", "cache": "clear"}));
    assert_eq!(come(&mut world, &wants, Operations::ALL), [Value::Null; 0]);
}
