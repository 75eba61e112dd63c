//! What may be on its way between two shards, and what happens beyond that.

use serde_json::json;
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelMatch, ChannelName, Grant, Identity, Limits, Operations, UserId};
use switchboard_dialects::Opening;
use switchboard_hub::{ChannelKey, Portions, ShardId};
use switchboard_testkit::{ClientId, FakeDirectory, Received, World};

const NATIVE: Opening = Opening::Native { batch: false };

/// Two shards, an application without limits of rate, and a channel whose home is the given shard.
fn setup(mailbox_bytes: usize, portions: Portions, home: u16) -> (World, Arc<App>, String) {
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let limits = Limits { operations_per_second: 0, ..Limits::default() };
    let app = Arc::new(App { limits, anonymous, ..App::new(AppId::new("app")) });
    let directory = FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() };
    let world = World::with_portions(2, directory, mailbox_bytes, portions);
    let is_at_home =
        |name: &String| ChannelKey::new(app.id.clone(), ChannelName::parse(name).unwrap()).home(2) == ShardId(home);
    let channel = (0..).map(|n| format!("c{n}")).find(is_at_home).unwrap();
    (world, app, channel)
}

fn told(world: &mut World, client: ClientId, kind: &str) -> usize {
    world.received(client).iter().filter(|message| message.json()["type"] == kind).count()
}

#[test]
fn requests_to_a_home_that_does_not_answer_are_bounded_in_bytes_and_hold_up_first_who_asks_much() {
    const BOUND: usize = 100_000;
    let portions = Portions { unanswered_bytes_max: BOUND, ..Portions::default() };
    let (mut world, app, far) = setup(1 << 20, portions, 1);
    let near = {
        let here =
            |name: &String| ChannelKey::new(app.id.clone(), ChannelName::parse(name).unwrap()).home(2) == ShardId(0);
        (0..).map(|n| format!("n{n}")).find(here).unwrap()
    };
    let publish = |channel: &str| json!({"type": "publish", "id": 1, "channel": channel, "data": "x".repeat(10_000)});
    let [many, few] = [(); 2].map(|()| world.connect(0, &app, NATIVE, None));
    let mut sent = 0;
    while world.may_send(many) {
        world.send(many, &publish(&far).to_string());
        sent += 1;
    }
    let unanswered = world.shards[0].backlog().unanswered;
    assert!((BOUND / 2..BOUND / 2 + 11_000).contains(&unanswered), "{unanswered} after {sent}");
    // Whoever asks little goes on, here and there.
    for _ in 0..3 {
        assert!(world.may_send(few));
        world.send(few, &publish(&near).to_string());
    }
    world.turn(0);
    assert_eq!(told(&mut world, few, "ok"), 3);
    assert!(world.may_send(few));
    world.send(few, &publish(&far).to_string());
    assert!(!world.may_send(few), "it waits for its answer");
    // Many who ask little each come to the bound in the end, and then nobody is read.
    let mut others = Vec::new();
    while world.shards[0].takes_requests() {
        let other = world.connect(0, &app, NATIVE, None);
        world.send(other, &publish(&far).to_string());
        others.push(other);
    }
    let unanswered = world.shards[0].backlog().unanswered;
    assert!((BOUND..BOUND + 11_000).contains(&unanswered), "{unanswered}");
    let idle = world.connect(0, &app, NATIVE, None);
    assert!(!world.may_send(idle));
    // The answers end it.
    world.settle();
    assert_eq!(world.shards[0].backlog().unanswered, 0);
    assert!([many, few, idle].into_iter().all(|client| world.may_send(client)));
    assert_eq!(told(&mut world, many, "ok"), sent);
    others.into_iter().for_each(|other| assert_eq!(told(&mut world, other, "ok"), 1));
}

#[test]
fn changes_of_presence_that_find_no_room_end_those_who_watch_them_and_nobody_else() {
    let (mut world, app, channel) = setup(500, Portions::default(), 0);
    let watching = json!({"type": "subscribe", "channel": channel, "presence": true}).to_string();
    let subscribing = json!({"type": "subscribe", "channel": channel}).to_string();
    let [watcher, reader] = [(); 2].map(|()| world.connect(1, &app, NATIVE, None));
    world.send(watcher, &watching);
    world.send(reader, &subscribing);
    world.settle();
    let join = |world: &mut World, user: String| {
        let grants = vec![Grant::new(ChannelMatch::all(), Operations::ALL)];
        let identity = Identity { user: UserId::parse(&user).unwrap(), info: None, grants, expires: None };
        let client = world.connect(0, &app, NATIVE, Some(identity));
        world.send(client, &subscribing);
    };
    (0..40).for_each(|n| join(&mut world, format!("user-{n}")));
    assert!(world.shards[0].backlog().mail_max < 700, "{:?}", world.shards[0].backlog());
    // Who comes while there is no room knows all who were there then, and may miss whoever comes next.
    let late = world.connect(1, &app, NATIVE, None);
    world.send(late, &watching);
    world.turn(1);
    world.post(1);
    while world.deliver(1, 0) {}
    join(&mut world, "one-more".to_owned());
    world.settle();
    let code = |world: &World, client| world.disconnect_of(client).map(|disconnect| disconnect.code);
    assert_eq!([watcher, late, reader].map(|client| code(&world, client)), [Some(4100), Some(4100), None]);
    assert_eq!(world.shards[1].stats().hub.overflows, 2);
    // Whoever returns sees who is there.
    let again = world.connect(1, &app, NATIVE, None);
    world.send(again, &watching);
    world.settle();
    let answer = world.received(again).iter().map(Received::json).find(|told| told["type"] == "ok").unwrap();
    assert_eq!(answer["users"].as_array().map(Vec::len), Some(43), "{answer}");
}

/// What waits for its fan-out is bounded too: beyond it the loop reads nothing until it has caught up.
#[test]
fn a_loop_whose_fan_out_is_behind_reads_nothing_more() {
    const BOUND: usize = 50_000;
    let portions = Portions { pending_bytes_max: BOUND, ..Portions::default() };
    let (mut world, app, channel) = setup(1 << 20, portions, 0);
    let [reader, publisher, idle] = [(); 3].map(|()| world.connect(0, &app, NATIVE, None));
    world.send(reader, &json!({"type": "subscribe", "channel": channel}).to_string());
    world.settle();
    let publish = json!({"type": "publish", "channel": channel, "data": "x".repeat(10_000)}).to_string();
    let mut sent = 0;
    while world.may_send(publisher) && sent < 100 {
        world.send(publisher, &publish);
        sent += 1;
    }
    assert!((BOUND / 11_000..=BOUND / 10_000 + 1).contains(&sent), "{sent} of 10,000 bytes in {BOUND}");
    assert!(!world.may_send(idle), "whoever asks adds to it");
    world.settle();
    assert!(world.may_send(publisher) && world.may_send(idle));
    assert_eq!(told(&mut world, reader, "message"), sent);
}

/// What is live queues up behind a replay that the client does not read, up to a bound.
#[test]
fn a_replay_behind_which_too_much_queues_up_ends_the_connection() {
    for (behind, end) in [(8, None), (30, Some(4100))] {
        let portions = Portions { replay_bytes_max: 20_000, ..Portions::default() };
        let (mut world, app, channel) = setup(1 << 20, portions, 0);
        let limits = Limits { outbox_bytes: 3_000, ..app.limits };
        let small = Arc::new(App { limits, ..(*app).clone() });
        let [publisher, slow] = [(&app), (&small)].map(|app| world.connect(0, app, NATIVE, None));
        let publish = json!({"type": "publish", "id": 1, "channel": channel, "data": "x".repeat(1_000)}).to_string();
        (0..5).for_each(|_| world.send(publisher, &publish));
        world.settle();
        let answer = world.received(publisher).pop().unwrap().json();
        let since = json!({"epoch": answer["position"]["epoch"], "offset": 0});
        world.set_reading(slow, false);
        world.send(slow, &json!({"type": "subscribe", "channel": channel, "since": since}).to_string());
        world.settle();
        for _ in 0..behind {
            world.send(publisher, &publish);
            world.settle();
        }
        world.set_reading(slow, true);
        world.settle();
        let ended = world.disconnect_of(slow).map(|disconnect| disconnect.code);
        let offsets: Vec<u64> =
            world.received(slow).iter().filter_map(|message| message.json()["offset"].as_u64()).collect();
        assert_eq!(ended, end, "{behind} behind it: {offsets:?}");
        // Whole, or without a hole up to the end.
        let whole = 5 + behind;
        assert!(offsets.iter().copied().eq(1..=offsets.len() as u64) && (end.is_some() || offsets.len() == whole));
    }
}

/// A signal is kept nowhere: where the way to a shard is full, it is not sent, and not counted.
#[test]
fn signals_that_find_no_room_on_the_way_are_not_counted() {
    let (mut world, app, channel) = setup(1_000, Portions::default(), 0);
    let [sender, far] = [0, 1].map(|shard| world.connect(shard, &app, NATIVE, None));
    for client in [sender, far] {
        world.send(client, &json!({"type": "subscribe", "channel": channel}).to_string());
    }
    world.settle();
    let session = world.received(far).iter().map(Received::json).find(|told| told["type"] == "welcome").unwrap();
    let signal =
        json!({"type": "signal", "id": 1, "channel": channel, "session": session["session"], "data": "x".repeat(300)});
    (0..40).for_each(|_| world.send(sender, &signal.to_string()));
    assert!(world.shards[0].backlog().mail_max < 2_000, "{:?}", world.shards[0].backlog());
    world.settle();
    let answers: Vec<_> =
        world.received(sender).iter().map(Received::json).filter(|told| told["type"] == "ok").collect();
    let counted = answers.iter().filter_map(|answer| answer["sessions"].as_u64()).sum::<u64>();
    let got = told(&mut world, far, "signal") as u64;
    assert!((1..10).contains(&got) && counted == got, "{counted} counted, {got} came");
}

/// What patterns watch is read from no history: where it found no room on the way, whoever watches begins anew.
#[test]
fn what_finds_no_room_on_the_way_ends_those_whose_patterns_it_was_for() {
    let (mut world, app, channel) = setup(1_000, Portions::default(), 0);
    let [watcher, reader] = [(); 2].map(|()| world.connect(1, &app, NATIVE, None));
    world.send(watcher, &json!({"type": "subscribe", "pattern": "+"}).to_string());
    world.send(reader, &json!({"type": "subscribe", "channel": channel}).to_string());
    world.settle();
    let publisher = world.connect(0, &app, NATIVE, None);
    let publish = json!({"type": "publish", "channel": channel, "data": "x".repeat(300)}).to_string();
    (0..40).for_each(|_| world.send(publisher, &publish));
    assert!(world.shards[0].backlog().mail_max < 2_500, "{:?}", world.shards[0].backlog());
    world.settle();
    let code = |world: &World, client| world.disconnect_of(client).map(|disconnect| disconnect.code);
    assert_eq!([watcher, reader].map(|client| code(&world, client)), [Some(4100), None]);
    assert_eq!(told(&mut world, reader, "message"), 40, "who subscribes by name gets the rest from history");
}

/// One answer is bounded, whoever asks for how much.
#[test]
fn one_answer_holds_no_more_than_it_may() {
    let (mut world, app, channel) = setup(1 << 20, Portions::default(), 0);
    let limits = Limits { presence_users: 3, ..app.limits };
    let app = Arc::new(App { limits, ..(*app).clone() });
    let client = world.connect(0, &app, NATIVE, None);
    let publish = json!({"type": "publish", "channel": channel, "data": "x".repeat(60_000)}).to_string();
    (0..10).for_each(|_| world.send(client, &publish));
    let others: Vec<_> = (0..5).map(|_| world.connect(0, &app, NATIVE, None)).collect();
    for other in &others {
        world.send(*other, &json!({"type": "subscribe", "channel": channel}).to_string());
    }
    world.settle();
    world.received(client);
    let mut ask = |request: serde_json::Value| {
        world.send(client, &request.to_string());
        world.settle();
        world.received(client).pop().unwrap().json()
    };
    let history = ask(json!({"type": "history", "id": 1, "channel": channel, "limit": 1_000}));
    let offsets: Vec<_> = history["publications"].as_array().unwrap().iter().map(|one| one["offset"].clone()).collect();
    assert_eq!((offsets, &history["more"]), (vec![json!(7), json!(8), json!(9), json!(10)], &json!(true)));
    for request in [json!({"limit": 9}), json!({})] {
        let mut presence = json!({"type": "presence", "id": 2, "channel": channel});
        presence.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        let presence = ask(presence);
        assert_eq!((presence["users"].as_array().map(Vec::len), &presence["total"]), (Some(3), &json!(5)));
    }
    let watching = ask(json!({"type": "subscribe", "id": 3, "channel": channel, "presence": true}));
    assert_eq!(watching["users"].as_array().map(Vec::len), Some(3), "{watching}");
}
