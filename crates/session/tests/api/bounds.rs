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
