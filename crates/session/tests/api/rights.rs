//! Each operation needs its right on its channel, in its application, until it ends.

use core::time::Duration;
use serde_json::{Value, json};
use std::sync::Arc;
use switchboard_core::{
    App, AppId, ChannelMatch, ChannelName, ChannelOptions, Channels, Grant, Identity, Operations, Time, UserId,
};
use switchboard_dialects::Opening;
use switchboard_testkit::{ClientId, FakeDirectory, Received, World};

const NATIVE: Opening = Opening::Native { batch: false };

fn identity(operations: Operations, expires: Option<Time>) -> Identity {
    let grants = vec![Grant::new(ChannelMatch::parse("room:*"), operations)];
    Identity { user: UserId::parse("ann").unwrap(), info: None, grants, expires }
}

fn app(name: &str) -> Arc<App> {
    Arc::new(App::new(AppId::new(name)))
}

fn world(apps: &[Arc<App>]) -> World {
    World::new(1, FakeDirectory { apps: apps.to_vec(), ..FakeDirectory::default() })
}

/// Sends a request and returns its answer's code, or "ok".
fn ask(world: &mut World, client: ClientId, request: &Value) -> String {
    world.send(client, &request.to_string());
    world.settle();
    let answers: Vec<Value> = world.received(client).iter().map(Received::json).collect();
    let answer = answers.iter().find(|answer| answer["id"] == request["id"]).expect("an answer");
    answer["code"].as_str().unwrap_or("ok").to_owned()
}

#[test]
fn every_operation_needs_its_own_right_on_its_channel() {
    let requests = [
        ("subscribe", Operations::SUBSCRIBE, json!({"type": "subscribe"})),
        ("watch", Operations::SUBSCRIBE | Operations::PRESENCE, json!({"type": "subscribe", "presence": true})),
        ("publish", Operations::PUBLISH, json!({"type": "publish", "data": 1})),
        ("presence", Operations::PRESENCE, json!({"type": "presence"})),
        ("history", Operations::HISTORY, json!({"type": "history"})),
    ];
    let rights =
        [Operations::NONE, Operations::SUBSCRIBE, Operations::PUBLISH, Operations::PRESENCE, Operations::HISTORY];
    let app = app("app");
    for right in rights.into_iter().chain([Operations::ALL, Operations::SUBSCRIBE | Operations::PRESENCE]) {
        for (name, needed, request) in &requests {
            for (channel, covered) in [("room:1", true), ("other", false)] {
                let mut world = world(std::slice::from_ref(&app));
                let client = world.connect(0, &app, NATIVE, Some(identity(right, None)));
                let mut request = request.clone();
                request["id"] = json!(1);
                request["channel"] = json!(channel);
                let expected = if covered && right.contains(*needed) { "ok" } else { "permission_denied" };
                assert_eq!(ask(&mut world, client, &request), expected, "{name} on {channel} with {right:?}");
            }
        }
    }
}

#[test]
fn a_position_reads_no_history_without_the_right() {
    let app = app("app");
    let mut world = world(std::slice::from_ref(&app));
    let writer = world.connect(0, &app, NATIVE, Some(identity(Operations::ALL, None)));
    for n in 0..3 {
        ask(&mut world, writer, &json!({"type": "publish", "id": 1, "channel": "room:1", "data": n}));
    }
    let reader = world.connect(0, &app, NATIVE, Some(identity(Operations::SUBSCRIBE, None)));
    let since = json!({"epoch": "e1", "offset": 1});
    world.send(reader, &json!({"type": "subscribe", "channel": "room:1", "since": since}).to_string());
    world.settle();
    let received: Vec<Value> = world.received(reader).iter().map(Received::json).collect();
    assert_eq!(received.len(), 2, "{received:?}");
    assert_eq!(received[1]["recovered"], json!(false));
}

#[test]
fn applications_with_the_same_channel_names_never_meet() {
    let apps = [app("one"), app("two")];
    let mut world = world(&apps);
    let clients = apps.each_ref().map(|app| world.connect(0, app, NATIVE, Some(identity(Operations::ALL, None))));
    for client in clients {
        ask(&mut world, client, &json!({"type": "subscribe", "id": 1, "channel": "room:1", "presence": true}));
    }
    let publish = json!({"type": "publish", "channel": "room:1", "data": "secret"});
    world.send(clients[0], &publish.to_string());
    world.settle();
    assert_eq!(world.received(clients[0]).len(), 1);
    assert_eq!(world.received(clients[1]), []);
    for request in ["history", "presence"] {
        world.send(clients[1], &json!({"type": request, "id": 2, "channel": "room:1"}).to_string());
        world.settle();
        let answer = world.next(clients[1]).unwrap().json();
        assert!(!answer.to_string().contains("secret"), "{answer}");
        if request == "presence" {
            assert_eq!(answer["connections"], json!(1));
        }
    }
}

#[test]
fn a_token_ends_with_a_warning_and_a_fresh_one_goes_on() {
    let start = World::START;
    let expires = start + Duration::from_secs(600);
    let fresh = identity(Operations::SUBSCRIBE, Some(start + Duration::from_secs(1_200)));
    let app = app("app");
    let tokens = [((app.id.clone(), "fresh".to_owned()), fresh)].into_iter().collect();
    let mut world = World::new(1, FakeDirectory { apps: vec![app.clone()], tokens, ..FakeDirectory::default() });
    let [late, prompt] =
        [(); 2].map(|()| world.connect(0, &app, NATIVE, Some(identity(Operations::ALL, Some(expires)))));
    for client in [late, prompt] {
        ask(&mut world, client, &json!({"type": "subscribe", "id": 1, "channel": "room:1"}));
    }
    world.pass(Duration::from_secs(569));
    let warned = |world: &mut World, client| {
        world.received(client).iter().any(|message| message.json()["type"] == "token_expiring")
    };
    assert!(!warned(&mut world, prompt));
    world.pass(Duration::from_secs(1));
    assert!(warned(&mut world, prompt));
    assert_eq!(ask(&mut world, prompt, &json!({"type": "authenticate", "id": 2, "token": "fresh"})), "ok");
    world.pass(Duration::from_secs(40));
    assert_eq!(world.disconnect_of(late).map(|disconnect| disconnect.code), Some(4002));
    assert_eq!(world.disconnect_of(prompt), None);
    // The fresh token has fewer rights.
    let publish = json!({"type": "publish", "id": 3, "channel": "room:1", "data": 1});
    assert_eq!(ask(&mut world, prompt, &publish), "permission_denied");
}

#[test]
fn a_fresh_token_without_the_right_ends_the_subscription_and_another_user_is_refused() {
    let app = app("app");
    let none = Identity { grants: Vec::new(), ..identity(Operations::ALL, None) };
    let bob = Identity { user: UserId::parse("bob").unwrap(), ..identity(Operations::ALL, None) };
    let token = |name: &str, identity| ((app.id.clone(), name.to_owned()), identity);
    let tokens = [token("none", none), token("bob", bob)].into_iter().collect();
    let mut world = World::new(1, FakeDirectory { apps: vec![app.clone()], tokens, ..FakeDirectory::default() });
    let client = world.connect(0, &app, NATIVE, Some(identity(Operations::ALL, None)));
    ask(&mut world, client, &json!({"type": "subscribe", "id": 1, "channel": "room:1"}));
    assert_eq!(ask(&mut world, client, &json!({"type": "authenticate", "id": 2, "token": "bob"})), "bad_token");
    world.send(client, &json!({"type": "authenticate", "id": 3, "token": "none"}).to_string());
    world.settle();
    let received: Vec<Value> = world.received(client).iter().map(Received::json).collect();
    assert_eq!(received[1], json!({"type": "unsubscribed", "channel": "room:1", "code": "permission_denied"}));
    let channel = ChannelName::parse("room:1").unwrap();
    let publish = switchboard_core::Publish::new(switchboard_core::Payload::Text("after".into()));
    let command = switchboard_core::Command::Publish { channel, publish, exclude_self: false };
    world.submit(0, 0, &app, command);
    world.settle();
    assert_eq!(world.received(client), []);
}

#[test]
fn a_namespace_decides_on_echo_and_on_who_is_told_of_whom() {
    let quiet = ChannelOptions { echo: false, join_leave: false, ..ChannelOptions::default() };
    let channels = Channels::default().with_namespace("quiet", quiet);
    let everything = vec![Grant::new(ChannelMatch::all(), Operations::ALL)];
    let app = Arc::new(App { channels, anonymous: Some(everything), ..App::new(AppId::new("app")) });
    let mut world = World::new(1, FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() });
    let clients = [0, 1].map(|_| world.connect(0, &app, NATIVE, None));
    for client in clients {
        for channel in ["quiet:1", "loud:1"] {
            let request = json!({"type": "subscribe", "id": channel, "channel": channel, "presence": true});
            assert_eq!(ask(&mut world, client, &request), "ok");
        }
    }
    for channel in ["quiet:1", "loud:1"] {
        world.send(clients[0], &json!({"type": "publish", "channel": channel, "data": 1}).to_string());
    }
    world.settle();
    let told = |world: &mut World, client| -> Vec<String> {
        let text = |told: Value| format!("{} {}", told["type"].as_str().unwrap(), told["channel"].as_str().unwrap());
        world.received(client).iter().map(|told| text(told.json())).collect()
    };
    assert_eq!(told(&mut world, clients[0]), ["join loud:1", "message loud:1"]);
    assert_eq!(told(&mut world, clients[1]), ["message quiet:1", "message loud:1"]);
}

#[test]
fn a_channel_that_takes_a_signature_takes_an_equal_grant_elsewhere() {
    let everything = || Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let protected = || vec!["private-".into(), "presence-".into()];
    let app = Arc::new(App { anonymous: everything(), protected: protected(), ..App::new(AppId::new("app")) });
    let mut world = world(std::slice::from_ref(&app));
    let mut try_subscribe = |identity, channel: &str| {
        let client = world.connect(0, &app, NATIVE, identity);
        ask(&mut world, client, &json!({"type": "subscribe", "id": 1, "channel": channel}))
    };
    let token = |pattern| {
        let grants = vec![Grant::new(ChannelMatch::parse(pattern), Operations::ALL)];
        Some(Identity { user: UserId::parse("ann").unwrap(), info: None, grants, expires: None })
    };
    assert_eq!(try_subscribe(None, "news"), "ok");
    assert_eq!(try_subscribe(None, "private-news"), "permission_denied");
    assert_eq!(try_subscribe(None, "presence-news"), "permission_denied");
    assert_eq!(try_subscribe(token("*"), "private-news"), "ok");
    assert_eq!(try_subscribe(token("room:*"), "private-news"), "permission_denied");

    let named = Some(vec![Grant::new(ChannelMatch::parse("private-n*"), Operations::ALL)]);
    let app = Arc::new(App { anonymous: named, protected: protected(), ..App::new(AppId::new("app")) });
    let client = world.connect(0, &app, NATIVE, None);
    assert_eq!(ask(&mut world, client, &json!({"type": "subscribe", "id": 1, "channel": "private-news"})), "ok");
}

#[test]
fn a_signature_opens_one_channel_to_one_connection_until_it_leaves() {
    let app = app("app");
    let mut world = world(std::slice::from_ref(&app));
    let pusher = || Opening::Pusher { refused: None };
    let client = world.connect(0, &app, pusher(), None);
    let other = world.connect(0, &app, pusher(), None);
    world.settle();
    assert_eq!((world.received(client).len(), world.received(other).len()), (1, 1));
    let mut subscribe = |client, channel: &str, auth: &str| {
        let data = json!({"channel": channel, "auth": auth});
        world.send(client, &json!({"event": "pusher:subscribe", "data": data}).to_string());
        world.settle();
        let answer = world.next(client).unwrap().json();
        if channel == "private-a" && answer["event"] == "pusher_internal:subscription_succeeded" {
            world.send(client, &json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}).to_string());
            world.settle();
        }
        answer["event"].as_str().unwrap().to_owned()
    };
    let (good, bad) = ("pusher_internal:subscription_succeeded", "pusher:subscription_error");
    assert_eq!(subscribe(client, "private-a", "app:[0.1:private-a]"), good);
    // Left, it takes a signature again, which is still good for this connection only.
    assert_eq!(subscribe(client, "private-a", "app:[0.1:private-b]"), bad);
    assert_eq!(subscribe(other, "private-a", "app:[0.1:private-a]"), bad);
    assert_eq!(subscribe(client, "private-a", "other:[0.1:private-a]"), bad);
    assert_eq!(subscribe(client, "private-a", "app:[0.1:private-a]"), good);
    // Without anonymous rights, what takes no signature takes a right that a guest does not have.
    assert_eq!(subscribe(client, "news", "app:[0.1:news]"), bad);
}
