//! What one client may cost, and that nobody else pays for it.

use core::time::Duration;
use serde_json::{Value, json};
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelMatch, ChannelName, ChannelOptions, Grant, Limits, Operations, Overflow};
use switchboard_dialects::{Opening, PostKind};
use switchboard_hub::{ChannelKey, ShardId};
use switchboard_testkit::{ClientId, FakeDirectory, Received, World};

const NATIVE: Opening = Opening::Native { batch: false };

fn setup(limits: Limits, channels: ChannelOptions) -> (World, Arc<App>) {
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let app = Arc::new(App { limits, channels: channels.into(), anonymous, ..App::new(AppId::new("app")) });
    (World::new(1, FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() }), app)
}

fn subscribe(world: &mut World, client: ClientId, channel: &str) {
    world.send(client, &json!({"type": "subscribe", "channel": channel}).to_string());
    world.settle();
    world.received(client);
}

fn publish(world: &mut World, client: ClientId, channel: &str, data: &str) {
    world.send(client, &json!({"type": "publish", "channel": channel, "data": data}).to_string());
}

fn kinds(world: &mut World, client: ClientId) -> Vec<String> {
    let kind = |message: &Received| message.json()["type"].as_str().unwrap().to_owned();
    world.received(client).iter().map(kind).collect()
}

#[test]
fn too_fast_is_told_and_temporary() {
    let (mut world, app) = setup(
        Limits { operations_per_second: 10, operations_burst: 5, ..Limits::default() },
        ChannelOptions::default(),
    );
    let client = world.connect(0, &app, NATIVE, None);
    world.settle();
    world.received(client);
    for n in 0..6 {
        world.send(client, &json!({"type": "publish", "id": n, "channel": "a", "data": 1}).to_string());
    }
    world.settle();
    let answers: Vec<Value> = world.received(client).iter().map(Received::json).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer["type"] == "error").collect();
    assert_eq!(
        refused,
        [
            &json!({"type": "error", "id": 5, "code": "rate_limited", "message": "Server overloaded, please slow down", "temporary": true})
        ]
    );
    world.pass(Duration::from_millis(100));
    world.send(client, &json!({"type": "publish", "id": 9, "channel": "a", "data": 1}).to_string());
    world.settle();
    assert_eq!(kinds(&mut world, client), ["ok"]);
}

#[test]
fn a_raw_client_that_is_too_fast_is_read_more_slowly() {
    let (mut world, app) = setup(
        Limits { operations_per_second: 10, operations_burst: 5, ..Limits::default() },
        ChannelOptions::default(),
    );
    let channel = ChannelName::parse("chat").unwrap();
    let client = world.connect(0, &app, Opening::Raw { channel, since: None, echo: true }, None);
    let mut sent = 0;
    while world.may_send(client) && sent < 100 {
        world.send(client, "x");
        sent += 1;
    }
    world.settle();
    // Subscribing took none of the tokens; the message that found none was taken all the same.
    assert_eq!((sent, world.received(client).len()), (6, 6));
    world.pass(Duration::from_millis(50));
    assert!(!world.may_send(client));
    world.pass(Duration::from_millis(100));
    assert!(world.may_send(client));
}

#[test]
fn noise_without_requests_is_read_more_slowly_too() {
    let (mut world, app) = setup(
        Limits { operations_per_second: 10, operations_burst: 5, ..Limits::default() },
        ChannelOptions::default(),
    );
    let client = world.connect(0, &app, NATIVE, None);
    let mut sent = 0;
    while world.may_send(client) && sent < 100 {
        world.send(client, "garbage");
        sent += 1;
    }
    assert_eq!(sent, 6);
}

#[test]
fn channels_are_counted() {
    let (mut world, app) = setup(Limits { channels: 2, ..Limits::default() }, ChannelOptions::default());
    let client = world.connect(0, &app, NATIVE, None);
    for channel in ["a", "b"] {
        subscribe(&mut world, client, channel);
    }
    world.send(client, r#"{"type":"subscribe","channel":"c"}"#);
    world.send(client, r#"{"type":"subscribe","channel":"a"}"#);
    world.send(client, r#"{"type":"unsubscribe","channel":"a"}"#);
    world.send(client, r#"{"type":"subscribe","channel":"c"}"#);
    world.settle();
    let codes: Vec<_> = world
        .received(client)
        .iter()
        .map(|message| message.json()["code"].as_str().unwrap_or("ok").to_owned())
        .collect();
    assert_eq!(codes, ["limit_exceeded", "already_subscribed", "ok", "ok"]);
}

#[test]
fn a_reader_that_stops_is_sent_away_at_its_cap_and_the_others_miss_nothing() {
    let limits = Limits { outbox_bytes: 10_000, operations_per_second: 0, ..Limits::default() };
    let (mut world, app) = setup(limits, ChannelOptions::default());
    let [writer, stalled, healthy] = [(); 3].map(|()| world.connect(0, &app, NATIVE, None));
    subscribe(&mut world, stalled, "a");
    subscribe(&mut world, healthy, "a");
    world.set_reading(stalled, false);
    let text = "x".repeat(1_000);
    for _ in 0..20 {
        publish(&mut world, writer, "a", &text);
        world.settle();
        assert!(world.waiting(stalled) <= 10_000);
    }
    world.set_reading(stalled, true);
    world.settle();
    assert_eq!(kinds(&mut world, healthy).len(), 20);
    assert_eq!(kinds(&mut world, stalled), ["disconnect"]);
    assert_eq!(world.disconnect_of(stalled).map(|disconnect| disconnect.code), Some(4100));
}

#[test]
fn drop_oldest_keeps_the_reader_and_says_what_it_missed() {
    let limits = Limits { outbox_bytes: 10_000, operations_per_second: 0, ..Limits::default() };
    let (mut world, app) =
        setup(limits, ChannelOptions { overflow: Overflow::DropOldest, ..ChannelOptions::default() });
    let [writer, stalled] = [(); 2].map(|()| world.connect(0, &app, NATIVE, None));
    subscribe(&mut world, stalled, "a");
    world.set_reading(stalled, false);
    for _ in 0..20 {
        publish(&mut world, writer, "a", &"x".repeat(1_000));
        world.settle();
        assert!(world.waiting(stalled) <= 10_000);
    }
    world.set_reading(stalled, true);
    world.settle();
    let received: Vec<Value> = world.received(stalled).iter().map(Received::json).collect();
    let mut accounted: Vec<u64> = Vec::new();
    for message in &received {
        match message["type"].as_str().unwrap() {
            "message" => accounted.push(message["offset"].as_u64().unwrap()),
            "gap" => accounted.extend(message["from"].as_u64().unwrap()..=message["to"].as_u64().unwrap()),
            other => panic!("{other}"),
        }
    }
    accounted.sort_unstable();
    assert_eq!(accounted, (1..=20).collect::<Vec<_>>());
    assert!(world.disconnect_of(stalled).is_none());
}

#[test]
fn a_client_that_must_authenticate_has_ten_seconds_and_16_kib() {
    let app = Arc::new(App::new(AppId::new("app")));
    let mut world = World::new(1, FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() });
    let [slow, chatty] = [(); 2].map(|()| world.connect(0, &app, NATIVE, None));
    for _ in 0..3 {
        world.send(chatty, &format!("{:8000}", ""));
    }
    world.settle();
    assert_eq!(world.disconnect_of(chatty).map(|disconnect| disconnect.code), Some(4001));
    world.pass(Duration::from_millis(9_999));
    assert_eq!(world.disconnect_of(slow), None);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.disconnect_of(slow).map(|disconnect| disconnect.code), Some(4001));
}

#[test]
fn a_long_replay_does_not_overflow_the_outbox_and_comes_before_what_is_live() {
    let limits = Limits { outbox_bytes: 20_000, operations_per_second: 0, ..Limits::default() };
    let options = ChannelOptions { history_bytes: 10_000_000, ..ChannelOptions::default() };
    let (mut world, app) = setup(limits, options);
    let [writer, reader] = [(); 2].map(|()| world.connect(0, &app, NATIVE, None));
    world.settle();
    world.received(reader);
    for _ in 0..200 {
        publish(&mut world, writer, "a", &"x".repeat(1_000));
        world.settle();
    }
    world.set_reading(reader, false);
    let since = json!({"epoch": "e1", "offset": 0});
    world.send(reader, &json!({"type": "subscribe", "channel": "a", "since": since}).to_string());
    for _ in 0..50 {
        publish(&mut world, writer, "a", "live");
        world.settle();
    }
    world.set_reading(reader, true);
    world.settle();
    let received: Vec<Value> = world.received(reader).iter().map(Received::json).collect();
    let offsets: Vec<u64> = received.iter().filter_map(|message| message["offset"].as_u64()).collect();
    assert_eq!(offsets, (1..=250).collect::<Vec<_>>());
    assert_eq!(received[0]["recovered"], json!(true));
    let caught_up = received.iter().position(|message| message["type"] == "caught_up").unwrap();
    assert!(caught_up > 200, "{caught_up}");
}

#[test]
fn a_shutdown_is_spread_over_its_window_with_a_time_to_return() {
    let (mut world, app) = setup(Limits::default(), ChannelOptions::default());
    let clients: Vec<_> = (0..200).map(|_| world.connect(0, &app, NATIVE, None)).collect();
    let window = Duration::from_secs(10);
    let now = world.now;
    world.shards[0].drain(now, window);
    let mut gone = Vec::new();
    for _ in 0..10 {
        world.pass(Duration::from_secs(1));
        gone.push(clients.iter().filter(|client| world.disconnect_of(**client).is_some()).count());
    }
    assert_eq!(gone[9], 200);
    assert!(gone.windows(2).all(|pair| pair[1] - pair[0] > 5), "{gone:?}");
    let disconnect = world.disconnect_of(clients[0]).unwrap();
    assert!(disconnect.code == 1001 && disconnect.reconnect() && disconnect.after.unwrap() <= window);
    let last = world.received(clients[0]).last().unwrap().json();
    assert_eq!((last["type"].as_str(), last["code"].as_u64()), (Some("disconnect"), Some(1001)));
}

/// The channel's home is the other shard, whose mail is held up.
#[test]
fn who_is_sent_away_gets_the_answers_to_what_it_has_asked_if_they_come_soon() {
    for (comes, opening, request, expected) in [
        (true, NATIVE, r#"{"type":"publish","id":1,"channel":"CHANNEL","data":1}"#, &[r#""ok""#, "disconnect"][..]),
        (false, NATIVE, r#"{"type":"publish","id":1,"channel":"CHANNEL","data":1}"#, &["disconnect"]),
        (true, post("publish"), r#"{"channel":"CHANNEL","data":1}"#, &[r#""position""#]),
        (false, post("publish"), r#"{"channel":"CHANNEL","data":1}"#, &["unconfirmed"]),
        (true, post("history"), r#"{"channel":"CHANNEL"}"#, &[r#""publications""#]),
        (false, post("history"), r#"{"channel":"CHANNEL"}"#, &["unavailable"]),
    ] {
        let (_, app) = setup(Limits::default(), ChannelOptions::default());
        let mut world = World::new(2, FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() });
        let client = world.connect(0, &app, opening, None);
        world.settle();
        world.received(client);
        world.send(client, &request.replace("CHANNEL", &far(&app)));
        world.turn(0);
        world.post(0);
        let now = world.now;
        world.shards[0].drain(now, Duration::ZERO);
        let pass = |world: &mut World, seconds: u64| {
            world.now = world.now + Duration::from_secs(seconds);
            let now = world.now;
            world.shards[0].handle_timeout(now);
            world.turn(0);
        };
        pass(&mut world, 0);
        assert_eq!((world.received(client).len(), world.disconnect_of(client)), (0, None), "it still waits");
        assert!(!world.may_send(client), "what it asks now would not be answered");
        if comes {
            world.settle();
        } else {
            pass(&mut world, 3);
        }
        assert!(world.disconnect_of(client).is_some());
        let told: Vec<String> = world.received(client).iter().map(|message| message.json().to_string()).collect();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        assert!(told.iter().zip(expected).all(|(told, expected)| told.contains(expected)), "{told:?}");
    }
}

fn post(kind: &str) -> Opening {
    Opening::Post { kind: PostKind::find(kind).unwrap() }
}

/// A channel whose home is the second of two shards.
fn far(app: &App) -> String {
    let names = (0..).map(|number| format!("far-{number}"));
    let home = |name: &str| ChannelKey::new(app.id.clone(), ChannelName::parse(name).unwrap()).home(2);
    names.into_iter().find(|name| home(name) == ShardId(1)).unwrap()
}

#[test]
fn a_client_that_was_lost_to_a_panic_is_no_longer_counted() {
    let (mut world, app) = setup(Limits::default(), ChannelOptions::default());
    let client = world.connect(0, &app, NATIVE, None);
    subscribe(&mut world, client, "a");
    let stats = world.shards[0].stats();
    assert_eq!((stats.subscriptions, stats.sessions[0], world.shards[0].len()), (1, 1, 1));
    let bug = std::panic::AssertUnwindSafe(|| world.send(client, r#"{"type":"authenticate","token":"PANIC"}"#));
    std::panic::catch_unwind(bug).unwrap_err();
    world.cut(client);
    world.settle();
    let stats = world.shards[0].stats();
    assert_eq!((stats.subscriptions, stats.sessions[0], stats.hub.channels, stats.hub.subscribers), (0, 0, 0, 0));
    assert!(world.shards[0].is_empty());
}

#[test]
fn an_ended_client_leaves_no_trace() {
    let (mut world, app) = setup(Limits::default(), ChannelOptions::default());
    let client = world.connect(0, &app, NATIVE, None);
    for channel in ["a", "b"] {
        subscribe(&mut world, client, channel);
    }
    world.cut(client);
    world.settle();
    let stats = world.shards[0].stats();
    assert_eq!((stats.subscriptions, stats.hub.channels, stats.hub.subscribers, stats.sessions[0]), (0, 0, 0, 0));
}

#[test]
fn a_large_room_is_walked_in_slices_and_who_leaves_meanwhile_changes_nothing_for_the_others() {
    let (mut world, app) = setup(Limits::default(), ChannelOptions::default());
    let writer = world.connect(0, &app, NATIVE, None);
    let channel = ChannelName::parse("a").unwrap();
    let raw = || Opening::Raw { channel: channel.clone(), since: None, echo: true };
    let readers: Vec<_> = (0..3_000).map(|_| world.connect(0, &app, raw(), None)).collect();
    world.settle();
    for round in 0..3 {
        publish(&mut world, writer, "a", &round.to_string());
        // A small room is served in the first turn, whatever the large one costs.
        let small = world.connect(
            0,
            &app,
            Opening::Raw { channel: ChannelName::parse("b").unwrap(), since: None, echo: true },
            None,
        );
        world.send(small, "quick");
        assert!(world.turn(0), "one turn is not enough for all");
        assert_eq!(world.received(small), [Received::Text("quick".into())]);
        // From those who have it, those who have not, and the next ones.
        for gone in [round, 500 + round, 1_023 - round, 1_024 + round, 2_000 + round, 2_999 - round] {
            world.cut(readers[gone]);
        }
    }
    world.settle();
    let cut = |index: usize| {
        [0, 500, 2_000].iter().any(|from| (*from..from + 3).contains(&index))
            || [1_021..=1_026, 2_997..=2_999].iter().any(|range| range.contains(&index))
    };
    for (index, reader) in readers.iter().enumerate().filter(|(index, _)| !cut(*index)) {
        let expected: Vec<_> = (0..3).map(|round| Received::Text(round.to_string())).collect();
        assert_eq!(world.received(*reader), expected, "reader {index}");
    }
}

#[test]
fn who_is_given_up_at_once_is_greeted_first() {
    let limits = Limits { outbox_bytes: 700, operations_per_second: 0, ..Limits::default() };
    let (mut world, app) = setup(limits, ChannelOptions::default());
    let hasty = world.connect(0, &app, NATIVE, None);
    (0..20).for_each(|_| world.send(hasty, r#"{"type":"shout"}"#));
    world.settle();
    assert_eq!(kinds(&mut world, hasty), ["welcome", "disconnect"]);
    assert_eq!(world.disconnect_of(hasty).map(|end| end.code), Some(4100));
    // Once it was, there is room for last words only.
    let later = world.connect(0, &app, NATIVE, None);
    world.settle();
    (0..20).for_each(|_| world.send(later, r#"{"type":"shout"}"#));
    world.settle();
    assert_eq!(kinds(&mut world, later), ["welcome", "disconnect"]);
}
