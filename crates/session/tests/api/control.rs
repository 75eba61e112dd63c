//! What is done to sessions from outside reaches all that it concerns, on every shard, and nobody else.

use core::time::Duration;
use serde_json::{Value, json};
use std::sync::Arc;
use switchboard_core::{
    App, AppId, ChannelMatch, ChannelName, Command, Control, Disconnect, Grant, Identity, Operations, Outcome, Payload,
    Publish, Recipient, SessionId, UserId,
};
use switchboard_dialects::Opening;
use switchboard_testkit::{ClientId, FakeDirectory, Received, World};

const NATIVE: Opening = Opening::Native { batch: false };

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn identity(name: &str) -> Identity {
    let grants = vec![Grant::new(ChannelMatch::all(), Operations::ALL)];
    Identity { user: user(name), info: None, grants, expires: None }
}

fn app(name: &str) -> Arc<App> {
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    Arc::new(App { anonymous, ..App::new(AppId::new(name)) })
}

fn world(shards: u16, apps: &[Arc<App>]) -> World {
    World::new(shards, FakeDirectory { apps: apps.to_vec(), trusts: true, ..FakeDirectory::default() })
}

fn connect(world: &mut World, shard: usize, app: &Arc<App>, name: &str) -> ClientId {
    let client = world.connect(shard, app, NATIVE, Some(identity(name)));
    told(world, client);
    client
}

fn told(world: &mut World, client: ClientId) -> Vec<Value> {
    world.settle();
    world.received(client).iter().map(Received::json).collect()
}

fn ask(world: &mut World, client: ClientId, request: &Value) -> Value {
    told(world, client);
    world.send(client, &request.to_string());
    told(world, client).swap_remove(0)
}

fn subscribe(world: &mut World, client: ClientId, name: &str) {
    assert_eq!(ask(world, client, &json!({"type": "subscribe", "channel": name}))["type"], "ok");
}

fn affected(world: &mut World, shard: usize, app: &Arc<App>, control: Control) -> u64 {
    world.submit(shard, 1, app, Command::Control(control));
    world.settle();
    match world.poll_external(shard) {
        Some((1, Outcome::Affected { sessions })) => sessions,
        other => panic!("{other:?}"),
    }
}

fn to_user(name: &str, text: &str) -> Command {
    let publish = Publish::new(Payload::Text(text.into()));
    Command::Publish { channel: ChannelName::of_user(&user(name)), publish, exclude_self: false }
}

#[test]
fn a_user_is_disconnected_on_every_shard_and_nobody_else_is() {
    let apps = [app("one"), app("two")];
    for shard in 0..3 {
        let mut world = world(3, &apps);
        let anns: Vec<ClientId> = (0..5).map(|n| connect(&mut world, n % 3, &apps[0], "ann")).collect();
        let others = [connect(&mut world, 0, &apps[0], "bob"), connect(&mut world, 1, &apps[1], "ann")];
        let guest = world.connect(2, &apps[0], NATIVE, None);
        let disconnect = Disconnect { code: 4010, reason: "banned".into(), after: None };
        let whom = Recipient::User(user("ann"));
        let control = Control::Disconnect { whom: whom.clone(), disconnect };
        assert_eq!(affected(&mut world, shard, &apps[0], control.clone()), 5);
        for ann in anns {
            let last = json!({"type": "disconnect", "code": 4010, "reason": "banned", "reconnect": false});
            assert_eq!(told(&mut world, ann), [last]);
            assert_eq!(world.disconnect_of(ann).map(|end| end.code), Some(4010));
        }
        assert!(others.iter().chain([&guest]).all(|other| world.disconnect_of(*other).is_none()));
        assert_eq!(affected(&mut world, shard, &apps[0], control), 0);
    }
}

#[test]
fn a_session_is_found_by_its_name_in_its_own_application_only() {
    let apps = [app("one"), app("two")];
    let mut world = world(2, &apps);
    let first = connect(&mut world, 0, &apps[0], "ann");
    let named = |shard: u16, serial| SessionId { node: 0, shard, serial };
    let end = |whom| Control::Disconnect { whom: Recipient::Session(whom), disconnect: Disconnect::BY_APPLICATION };
    for nobody in [named(0, 9), named(1, 1), named(7, 1), SessionId { node: 3, ..named(0, 1) }] {
        assert_eq!(affected(&mut world, 1, &apps[0], end(nobody)), 0, "{nobody}");
    }
    assert_eq!(affected(&mut world, 1, &apps[1], end(named(0, 1))), 0);
    // Come and gone after somebody was first asked for by name.
    let second = world.connect(0, &apps[0], NATIVE, None);
    world.cut(first);
    assert_eq!(affected(&mut world, 1, &apps[0], end(named(0, 1))), 0);
    assert_eq!(affected(&mut world, 1, &apps[0], end(named(0, 2))), 1);
    assert_eq!(world.disconnect_of(second), Some(&Disconnect::BY_APPLICATION));
}

#[test]
fn a_subscription_ends_the_client_is_told_why_and_may_come_again() {
    let app = app("app");
    let mut world = world(2, std::slice::from_ref(&app));
    let ann = [0, 1].map(|shard| connect(&mut world, shard, &app, "ann"));
    let bob = connect(&mut world, 1, &app, "bob");
    for client in [ann[0], ann[1], bob] {
        subscribe(&mut world, client, "room");
        subscribe(&mut world, client, "lobby");
    }
    let unsubscribe = |whom| Control::Unsubscribe { whom, channel: channel("room") };
    assert_eq!(affected(&mut world, 0, &app, unsubscribe(Recipient::User(user("ann")))), 2);
    for client in ann {
        assert_eq!(told(&mut world, client), [json!({"type": "unsubscribed", "channel": "room", "code": "removed"})]);
    }
    for name in ["room", "lobby"] {
        let publish = Publish::new(Payload::Text(name.into()));
        world.submit(0, 2, &app, Command::Publish { channel: channel(name), publish, exclude_self: false });
    }
    let heard = |world: &mut World, client| -> Vec<Value> {
        told(world, client).iter().map(|message| message["data"].clone()).collect()
    };
    assert_eq!(heard(&mut world, ann[1]), ["lobby"]);
    assert_eq!(heard(&mut world, bob), ["room", "lobby"]);
    assert_eq!(ask(&mut world, ann[0], &json!({"type": "presence", "channel": "room"}))["connections"], 1);
    subscribe(&mut world, ann[0], "room");
    let name = SessionId { node: 0, shard: 0, serial: 1 };
    while world.poll_external(0).is_some() {}
    assert_eq!(affected(&mut world, 0, &app, unsubscribe(Recipient::Session(name))), 1);
    assert_eq!(affected(&mut world, 0, &app, unsubscribe(Recipient::Session(name))), 0);
    // On a raw connection nothing is left without it.
    let raw = Opening::Raw { channel: channel("room"), since: None, echo: true };
    let raw = world.connect(0, &app, raw, Some(identity("ann")));
    world.settle();
    assert_eq!(affected(&mut world, 1, &app, unsubscribe(Recipient::User(user("ann")))), 1);
    assert_eq!(world.disconnect_of(raw).map(|end| end.code), Some(4003));
}

#[test]
fn a_subscription_that_the_application_ends_on_its_way_is_refused_for_that() {
    let app = app("app");
    let mut world = world(2, std::slice::from_ref(&app));
    let ann = connect(&mut world, 0, &app, "ann");
    for name in ["here", "there", "elsewhere"] {
        world.send(ann, &json!({"type": "subscribe", "id": name, "channel": name}).to_string());
        let whom = Recipient::User(user("ann"));
        world.submit(0, 1, &app, Command::Control(Control::Unsubscribe { whom, channel: channel(name) }));
        // The control is carried out before the mail from a home on the other shard comes.
        world.turn(0);
        let messages = told(&mut world, ann);
        let kinds: Vec<&str> = messages.iter().map(|message| message["type"].as_str().unwrap()).collect();
        match kinds[..] {
            ["ok", "unsubscribed"] => assert_eq!(messages[1]["code"], "removed"),
            ["error"] => {
                assert_eq!((&messages[0]["code"], &messages[0]["temporary"]), (&json!("removed"), &json!(false)));
            }
            _ => panic!("{messages:?}"),
        }
    }
}

#[test]
fn what_is_sent_to_a_user_reaches_the_user_on_every_shard_and_nobody_else() {
    let app = app("app");
    let mut world = world(3, std::slice::from_ref(&app));
    let anns = [0, 1, 2].map(|shard| connect(&mut world, shard, &app, "ann"));
    let bob = connect(&mut world, 0, &app, "bob");
    let guest = world.connect(0, &app, NATIVE, None);
    for client in [anns[0], anns[1], bob] {
        let answer = ask(&mut world, client, &json!({"type": "subscribe", "id": 1, "channel": "#user"}));
        assert_eq!((&answer["type"], &answer["channel"]), (&json!("ok"), &json!("#user")), "{answer}");
    }
    // No pattern shows it, and no other name reaches it.
    assert_eq!(ask(&mut world, bob, &json!({"type": "subscribe", "pattern": "#"}))["type"], "ok");
    for name in ["#ann", "#user:ann", "#"] {
        assert_eq!(ask(&mut world, bob, &json!({"type": "subscribe", "channel": name}))["code"], "bad_channel");
    }
    for request in ["subscribe", "history", "presence"] {
        told(&mut world, guest);
        let refused = ask(&mut world, guest, &json!({"type": request, "channel": "#user"}));
        assert_eq!(refused["code"], "permission_denied", "{refused}");
    }
    let publish = json!({"type": "publish", "channel": "#user", "data": 1});
    assert_eq!(ask(&mut world, anns[0], &publish)["code"], "permission_denied");
    world.submit(2, 1, &app, to_user("ann", "hello"));
    for client in [anns[0], anns[1]] {
        let messages = told(&mut world, client);
        assert_eq!(messages.len(), 1);
        assert_eq!((&messages[0]["channel"], &messages[0]["data"]), (&json!("#user"), &json!("hello")));
    }
    assert!([anns[2], bob, guest].iter().all(|client| told(&mut world, *client).is_empty()));
    // It is in the user's history, and who was away resumes.
    let history = ask(&mut world, anns[2], &json!({"type": "history", "channel": "#user"}));
    assert_eq!(history["publications"][0]["data"], "hello");
    let since = json!({"epoch": history["position"]["epoch"], "offset": 0});
    let resumed = ask(&mut world, anns[2], &json!({"type": "subscribe", "channel": "#user", "since": since}));
    assert_eq!(resumed["recovered"], true);
    // Who is online is who takes part; no list of channels shows it.
    let online = Command::Presence { channel: ChannelName::of_user(&user("ann")), limit: Some(0) };
    world.poll_external(2);
    world.submit(2, 1, &app, online);
    world.submit(2, 2, &app, Command::Channels { prefix: "".into(), after: None, limit: 9 });
    world.settle();
    let answers = [world.poll_external(2), world.poll_external(2)].map(|answer| answer.unwrap().1);
    assert!(answers.iter().any(|answer| matches!(answer, Outcome::Presence { total: 1, connections: 3, .. })));
    assert!(answers.contains(&Outcome::Channels { channels: vec![], more: false }), "{answers:?}");
}

#[test]
fn what_was_sent_before_the_end_comes_before_it() {
    let app = app("app");
    for shards in [1, 3] {
        let mut world = world(shards, std::slice::from_ref(&app));
        let home = (0..usize::from(shards))
            .find(|shard| {
                let key = switchboard_hub::ChannelKey::new(app.id.clone(), ChannelName::of_user(&user("ann")));
                usize::from(key.home(shards).0) == *shard
            })
            .unwrap();
        for shard in 0..usize::from(shards) {
            let ann = connect(&mut world, shard, &app, "ann");
            subscribe(&mut world, ann, "#user");
            world.submit(home, 1, &app, to_user("ann", "you are banned"));
            let disconnect = Disconnect::BY_APPLICATION;
            let control = Control::Disconnect { whom: Recipient::User(user("ann")), disconnect };
            world.submit(home, 2, &app, Command::Control(control));
            let kinds: Vec<Value> = told(&mut world, ann).iter().map(|message| message["type"].clone()).collect();
            assert_eq!(kinds, ["message", "disconnect"]);
        }
    }
}

#[test]
fn a_signal_reaches_one_other_on_a_shared_channel_and_leaves_no_trace() {
    let app = app("app");
    let mut world = world(2, std::slice::from_ref(&app));
    let ann = connect(&mut world, 0, &app, "ann");
    let bobs = [0, 1].map(|shard| connect(&mut world, shard, &app, "bob"));
    let elsewhere = connect(&mut world, 1, &app, "bob");
    for client in [ann, bobs[0], bobs[1]] {
        subscribe(&mut world, client, "call");
    }
    let offer =
        json!({"type": "signal", "id": 1, "channel": "call", "user": "bob", "event": "offer", "data": {"sdp": 1}});
    assert_eq!(ask(&mut world, ann, &offer), json!({"type": "ok", "id": 1, "sessions": 2}));
    let from = json!({"user": "ann", "session": "0-1"});
    let expected = json!({"type": "signal", "channel": "call", "event": "offer", "data": {"sdp": 1}, "from": from});
    for bob in bobs {
        assert_eq!(told(&mut world, bob), std::slice::from_ref(&expected));
    }
    assert!(told(&mut world, elsewhere).is_empty());
    // An answer to the session that asked; to oneself nothing.
    let answer = json!({"type": "signal", "id": 2, "channel": "call", "session": "0-1", "data": "yes"});
    assert_eq!(ask(&mut world, bobs[1], &answer)["sessions"], 1);
    assert_eq!(told(&mut world, ann)[0]["from"], json!({"user": "bob", "session": "1-1"}));
    assert_eq!(ask(&mut world, ann, &answer)["sessions"], 0);
    assert_eq!(ask(&mut world, ann, &json!({"type": "history", "channel": "call"}))["publications"], json!([]));
    // It takes its own right.
    let grants = vec![Grant::new(ChannelMatch::all(), Operations::READ | Operations::PUBLISH)];
    let eve = world.connect(0, &app, NATIVE, Some(Identity { grants, ..identity("eve") }));
    told(&mut world, eve);
    assert_eq!(ask(&mut world, eve, &offer)["code"], "permission_denied");
    for (request, code) in [
        (json!({"type": "signal", "channel": "call", "data": 1}), "bad_request"),
        (json!({"type": "signal", "channel": "call", "user": "a", "session": "0-1", "data": 1}), "bad_request"),
        (json!({"type": "signal", "channel": "call", "user": "", "data": 1}), "bad_request"),
        (json!({"type": "signal", "channel": "call", "session": "x", "data": 1}), "bad_request"),
        (json!({"type": "signal", "channel": "call", "user": "bob"}), "bad_request"),
    ] {
        assert_eq!(ask(&mut world, ann, &request)["code"], code, "{request}");
    }
}

#[test]
fn rights_that_end_by_themselves_end_what_stands_on_them() {
    let app = app("app");
    let start = World::START;
    let until = |pattern: &str, operations, seconds| Grant {
        pattern: ChannelMatch::parse(pattern),
        operations,
        expires: Some(start + Duration::from_secs(seconds)),
    };
    let grants = vec![
        Grant::new(ChannelMatch::parse("always"), Operations::ALL),
        Grant::new(ChannelMatch::parse("seen"), Operations::SUBSCRIBE),
        until("seen", Operations::PRESENCE, 10),
        until("short", Operations::ALL, 10),
        until("long", Operations::ALL, 20),
    ];
    let mut world = world(2, std::slice::from_ref(&app));
    let client = world.connect(0, &app, NATIVE, Some(Identity { grants, ..identity("ann") }));
    told(&mut world, client);
    for name in ["always", "short", "long"] {
        subscribe(&mut world, client, name);
    }
    let seen = json!({"type": "subscribe", "channel": "seen", "presence": true});
    assert_eq!(ask(&mut world, client, &seen)["type"], "ok");
    let ended = |world: &mut World| -> Vec<String> {
        let told = told(world, client).into_iter().filter(|message| message["type"] != "ping");
        told.map(|message| format!("{} {}", message["code"].as_str().unwrap(), message["channel"].as_str().unwrap()))
            .collect()
    };
    world.pass(Duration::from_millis(9_999));
    assert_eq!(ended(&mut world), [""; 0]);
    world.pass(Duration::from_millis(1));
    assert_eq!(ended(&mut world), ["permission_denied seen", "permission_denied short"]);
    let publish = json!({"type": "publish", "id": 1, "channel": "short", "data": 1});
    assert_eq!(ask(&mut world, client, &publish)["code"], "permission_denied");
    world.pass(Duration::from_secs(10));
    assert_eq!(ended(&mut world), ["permission_denied long"]);
    assert_eq!(ask(&mut world, client, &json!({"type": "presence", "channel": "always"}))["connections"], 1);
}
