//! Signed-in clients of Pusher's protocol: their own channels, and being told who of others is there.

use core::time::Duration;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use switchboard_core::{
    App, AppId, ChannelMatch, ChannelName, ChannelOptions, Channels, Command, Control, Disconnect, Grant, Identity,
    Limits, Operations, Payload, Publish, Recipient, UserId,
};
use switchboard_dialects::Opening;
use switchboard_testkit::{ClientId, FakeDirectory, Received, Rng, World};

const PUSHER: Opening = Opening::Pusher { refused: None };

fn setup(shards: u16, grace: Duration) -> (World, Arc<App>) {
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let users = ChannelOptions { presence_grace: grace, ..ChannelOptions::default() };
    let channels = Channels::default().with_namespace(ChannelName::USERS, users);
    let limits = Limits { operations_per_second: 0, ..Limits::default() };
    let app = Arc::new(App { anonymous, channels, limits, ..App::new(AppId::new("app")) });
    let directory = FakeDirectory { apps: vec![app.clone()], trusts: true, ..FakeDirectory::default() };
    (World::new(shards, directory), app)
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn sign_in(world: &mut World, client: ClientId, user_data: &Value) {
    let data = json!({"auth": "app:SIGNATURE", "user_data": user_data.to_string()});
    world.send(client, &json!({"event": "pusher:signin", "data": data}).to_string());
}

fn pusher(world: &mut World, shard: usize, app: &Arc<App>, name: &str, watchlist: &[&str]) -> ClientId {
    let client = world.connect(shard, app, PUSHER, None);
    sign_in(world, client, &json!({"id": name, "watchlist": watchlist}));
    client
}

fn subscribe_own(world: &mut World, client: ClientId, name: &str) {
    let data = json!({"channel": format!("#server-to-user-{name}")});
    world.send(client, &json!({"event": "pusher:subscribe", "data": data}).to_string());
}

/// The events that have come, those of watchlists as `online NAME`.
fn events(world: &mut World, client: ClientId) -> Vec<String> {
    world.settle();
    let mut events = Vec::new();
    for message in world.received(client) {
        let message = message.json();
        match message["event"].as_str().unwrap() {
            "pusher:connection_established" | "pusher:signin_success" | "pusher:ping" => {}
            "pusher_internal:watchlist_events" => {
                let data: Value = serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
                let one = |event: &Value| {
                    format!("{} {}", event["name"].as_str().unwrap(), event["user_ids"][0].as_str().unwrap())
                };
                events.extend(data["events"].as_array().unwrap().iter().map(one));
            }
            event => events.push(format!("{event} {}", message["channel"].as_str().unwrap_or_default())),
        }
    }
    events
}

#[test]
fn what_is_sent_to_a_signed_in_user_reaches_that_user_only_and_watching_shows_none_of_it() {
    let (mut world, app) = setup(2, Duration::ZERO);
    let ann = pusher(&mut world, 0, &app, "ann", &[]);
    let bob = pusher(&mut world, 1, &app, "bob", &["ann"]);
    let guest = world.connect(0, &app, PUSHER, None);
    for client in [ann, bob, guest] {
        subscribe_own(&mut world, client, "ann");
    }
    let own = "#server-to-user-ann";
    assert_eq!(events(&mut world, ann), [format!("pusher_internal:subscription_succeeded {own}")]);
    assert_eq!(events(&mut world, guest), [format!("pusher:subscription_error {own}")]);
    let mut told = events(&mut world, bob);
    told.sort_unstable();
    assert!(told.contains(&format!("pusher:subscription_error {own}")), "{told:?}");
    let publish = Publish { event: Some("note".into()), ..Publish::new(Payload::Text("secret".into())) };
    let channel = ChannelName::of_user(&user("ann"));
    world.submit(1, 0, &app, Command::Publish { channel, publish, exclude_self: false });
    assert_eq!(events(&mut world, ann), [format!("note {own}")]);
    assert_eq!((events(&mut world, bob), events(&mut world, guest)), (vec![], vec![]));
    // Another user on the same connection has nothing of the first.
    sign_in(&mut world, ann, &json!({"id": "carl"}));
    assert_eq!(events(&mut world, ann), [format!("pusher:subscription_error {own}")]);
    assert_eq!(events(&mut world, bob), ["offline ann"]);
    // Terminated, all connections of the user end, with the code by which the libraries stay away.
    let carl = pusher(&mut world, 1, &app, "carl", &[]);
    let whom = Recipient::User(user("carl"));
    let control = Control::Disconnect { whom, disconnect: Disconnect::BY_APPLICATION };
    world.submit(0, 0, &app, Command::Control(control));
    world.settle();
    for client in [ann, carl] {
        assert_eq!(world.disconnect_of(client).map(|end| end.code), Some(4009));
    }
    assert!(world.disconnect_of(bob).is_none());
}

#[test]
fn a_watcher_is_told_who_is_there_and_who_comes_and_goes() {
    let grace = Duration::from_secs(5);
    let (mut world, app) = setup(2, grace);
    let ann = pusher(&mut world, 0, &app, "ann", &[]);
    subscribe_own(&mut world, ann, "ann");
    world.settle();
    let watcher = pusher(&mut world, 1, &app, "watcher", &["ann", "bob", "watcher", "bob"]);
    let mut first = events(&mut world, watcher);
    first.sort_unstable();
    assert_eq!(first, ["offline bob", "online ann"]);
    // Two connections are one user, of whatever protocol, and a reconnect within the grace is nothing.
    let grants = Vec::new();
    let identity = Identity { user: user("bob"), info: None, grants, expires: None };
    let bob = world.connect(1, &app, Opening::Native { batch: false }, Some(identity));
    world.send(bob, r##"{"type":"subscribe","channel":"#user"}"##);
    let second = pusher(&mut world, 0, &app, "bob", &[]);
    subscribe_own(&mut world, second, "bob");
    assert_eq!(events(&mut world, watcher), ["online bob"]);
    world.cut(bob);
    world.cut(ann);
    world.settle();
    let again = pusher(&mut world, 1, &app, "ann", &[]);
    subscribe_own(&mut world, again, "ann");
    world.settle();
    world.pass(grace);
    assert_eq!(events(&mut world, watcher), [""; 0]);
    world.cut(second);
    world.settle();
    world.pass(grace);
    assert_eq!(events(&mut world, watcher), ["offline bob"]);
    // Signing in again replaces the list.
    sign_in(&mut world, watcher, &json!({"id": "watcher", "watchlist": ["bob"]}));
    assert_eq!(events(&mut world, watcher), ["offline bob"]);
    world.cut(again);
    world.settle();
    world.pass(grace);
    assert_eq!(events(&mut world, watcher), [""; 0]);
}

#[test]
fn what_watchers_believe_converges_under_any_interleaving() {
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let shards = 1 + rng.below(3);
        let (mut world, app) = setup(u16::try_from(shards).unwrap(), Duration::ZERO);
        let names = ["u0", "u1", "u2", "u3"];
        let mut clients: Vec<(ClientId, usize)> = Vec::new();
        let mut watchers: Vec<(ClientId, BTreeMap<String, bool>)> = Vec::new();
        for _ in 0..200 {
            match rng.below(6) {
                0 => {
                    let name = rng.below(names.len());
                    let client = pusher(&mut world, rng.below(shards), &app, names[name], &[]);
                    subscribe_own(&mut world, client, names[name]);
                    clients.push((client, name));
                }
                1 if !clients.is_empty() => {
                    let (client, _) = clients.swap_remove(rng.below(clients.len()));
                    world.cut(client);
                }
                2 if watchers.len() < 5 => {
                    let client = pusher(&mut world, rng.below(shards), &app, "watcher", &names);
                    watchers.push((client, BTreeMap::new()));
                }
                _ => (0..5).for_each(|_| world.step(&mut rng)),
            }
        }
        world.settle();
        let there: BTreeSet<&str> = clients.iter().map(|(_, name)| names[*name]).collect();
        for (client, known) in &mut watchers {
            for event in events(&mut world, *client) {
                let (state, name) = event.split_once(' ').unwrap();
                let before = known.insert(name.to_owned(), state == "online");
                assert_ne!(before, Some(state == "online"), "seed {seed}: told twice: {event}");
            }
            let believed: BTreeSet<&str> = known.iter().filter(|(_, on)| **on).map(|(name, _)| name.as_str()).collect();
            assert_eq!((believed, known.len()), (there.clone(), names.len()), "seed {seed}");
        }
    }
}

#[test]
fn a_watchlist_is_checked() {
    let (mut world, app) = setup(1, Duration::ZERO);
    let client = world.connect(0, &app, PUSHER, None);
    for watchlist in [json!("ann"), json!([true]), json!([""]), json!(vec!["x"; 101])] {
        sign_in(&mut world, client, &json!({"id": "ann", "watchlist": watchlist}));
        world.settle();
        let last = world.received(client).last().map(Received::json).unwrap();
        assert_eq!(last["event"], "pusher:error", "{watchlist}");
    }
}
