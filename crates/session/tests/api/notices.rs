//! What applications' servers are told: from the channel's home, in its order, whichever shards and protocols are concerned.

use core::time::Duration;
use serde_json::{Value, json};
use std::sync::Arc;
use switchboard_core::{
    App, AppId, ChannelMatch, ChannelOptions, Channels, Grant, Happened, Identity, Limits, NoticeKinds, Notices,
    Operations, UserId,
};
use switchboard_dialects::Opening;
use switchboard_testkit::{ClientId, FakeDirectory, Received, World};

const NATIVE: Opening = Opening::Native { batch: false };
const PUSHER: Opening = Opening::Pusher { refused: None };

fn setup(notices: Notices, options: ChannelOptions) -> (World, Arc<App>) {
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let limits = Limits { operations_per_second: 0, ..Limits::default() };
    let channels = Channels::new(options);
    let app = Arc::new(App { limits, channels, anonymous, notices, ..App::new(AppId::new("app")) });
    let apps = vec![app.clone()];
    (World::new(3, FakeDirectory { apps, trusts: true, ..FakeDirectory::default() }), app)
}

fn all(prefix: &str) -> Notices {
    Notices { wanted: vec![(prefix.into(), NoticeKinds::ALL)], ..Notices::default() }
}

fn connect(world: &mut World, shard: usize, app: &Arc<App>, user: &str) -> ClientId {
    let grants = vec![Grant::new(ChannelMatch::all(), Operations::ALL)];
    let identity = Identity { user: UserId::parse(user).unwrap(), info: None, grants, expires: None };
    world.connect(shard, app, NATIVE, Some(identity))
}

fn send(world: &mut World, client: ClientId, request: &Value) {
    world.send(client, &request.to_string());
    world.settle();
}

/// Everything that was told since, without times: `channel: what`.
fn told(world: &mut World) -> Vec<String> {
    let mut told = Vec::new();
    for shard in &mut world.shards {
        let batch = shard.take_notices();
        assert_eq!(batch.lost, 0);
        told.extend(batch.notices.into_iter().map(|notice| {
            let what = match notice.what {
                Happened::Occupied => "occupied".to_owned(),
                Happened::Vacated => "vacated".to_owned(),
                Happened::MemberAdded(user) => format!("+{user}"),
                Happened::MemberRemoved(user) => format!("-{user}"),
                Happened::ClientEvent { event, publisher, session, .. } => {
                    assert!(session.is_some());
                    format!(
                        "{} of {}",
                        event.as_deref().unwrap_or("?"),
                        publisher.map_or("?".into(), |user| user.to_string())
                    )
                }
                Happened::CacheMiss => "cache miss".to_owned(),
                Happened::SubscriptionCount(count) => count.to_string(),
            };
            format!("{}: {what}", notice.channel)
        }));
    }
    told
}

fn pusher_events(world: &mut World, client: ClientId, name: &str) -> Vec<String> {
    let received: Vec<Value> = world.received(client).iter().map(Received::json).collect();
    received
        .into_iter()
        .filter(|one| one["event"] == name)
        .map(|one| one["data"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_life_of_a_channel_is_told_once_in_order_over_all_shards() {
    let (mut world, app) = setup(all("room"), ChannelOptions::default());
    let clients = [0, 1, 2].map(|shard| connect(&mut world, shard, &app, if shard == 2 { "bob" } else { "ann" }));
    for client in clients {
        send(&mut world, client, &json!({"type": "subscribe", "channel": "room"}));
        send(&mut world, client, &json!({"type": "subscribe", "channel": "other"}));
    }
    send(&mut world, clients[0], &json!({"type": "publish", "channel": "room", "event": "say", "data": 1}));
    send(&mut world, clients[0], &json!({"type": "publish", "channel": "room2", "data": 1}));
    assert_eq!(
        told(&mut world).into_iter().filter(|told| !told.starts_with("room2")).collect::<Vec<_>>(),
        ["room: occupied", "room: +ann", "room: 1", "room: +bob", "room: say of ann"]
    );
    world.pass(Duration::from_secs(1));
    assert_eq!(told(&mut world), ["room: 3"]);
    for client in clients {
        world.cut(client);
    }
    world.settle();
    world.pass(Duration::from_secs(1));
    assert_eq!(told(&mut world), ["room: -ann", "room: -bob", "room: 0"]);
    world.pass(Duration::from_secs(3));
    assert_eq!(told(&mut world), [""; 0]);
    world.pass(Duration::from_secs(2));
    assert_eq!(told(&mut world), ["room: vacated"]);
}

#[test]
fn a_reconnect_to_another_shard_is_no_coming_and_going() {
    let options = ChannelOptions { presence_grace: Duration::from_secs(20), ..ChannelOptions::default() };
    let (mut world, app) = setup(all(""), options);
    let mut client = connect(&mut world, 0, &app, "ann");
    send(&mut world, client, &json!({"type": "subscribe", "channel": "room"}));
    assert_eq!(told(&mut world), ["room: occupied", "room: +ann", "room: 1"]);
    for round in 0..6 {
        world.cut(client);
        world.settle();
        world.pass(Duration::from_secs(4));
        client = connect(&mut world, round % 3, &app, "ann");
        send(&mut world, client, &json!({"type": "subscribe", "channel": "room"}));
        world.pass(Duration::from_secs(2));
        let told = told(&mut world);
        assert!(told.iter().all(|told| told == "room: 0" || told == "room: 1"), "{told:?}");
    }
    world.cut(client);
    world.settle();
    world.pass(Duration::from_secs(30));
    // Whoever may still come back keeps the channel, and leaves before it does.
    assert_eq!(told(&mut world), ["room: 0", "room: -ann", "room: vacated"]);
}

#[test]
fn pushers_clients_cause_and_hear_of_the_same() {
    let notices = Notices { count_for_subscribers: true, ..all("") };
    let (mut world, app) = setup(notices, ChannelOptions::default());
    let clients = [0, 1, 2].map(|shard| world.connect(shard, &app, PUSHER, None));
    let subscribe = |channel: &str| {
        let data = r#"{"user_id":"ann"}"#;
        json!({"event": "pusher:subscribe", "data": {"channel": channel, "auth": "app:SIGNATURE", "channel_data": data}})
    };
    send(&mut world, clients[0], &subscribe("private-cache-a"));
    send(&mut world, clients[1], &subscribe("presence-a"));
    send(&mut world, clients[1], &json!({"event": "client-wave", "channel": "presence-a", "data": {}}));
    let mut heard = told(&mut world);
    heard.sort();
    assert_eq!(
        heard,
        [
            "presence-a: +ann",
            "presence-a: 1",
            "presence-a: client-wave of ann",
            "presence-a: occupied",
            "private-cache-a: 1",
            "private-cache-a: cache miss",
            "private-cache-a: occupied",
        ]
    );
    let count = "pusher_internal:subscription_count";
    assert_eq!(pusher_events(&mut world, clients[0], count), [r#"{"subscription_count":1}"#]);
    // Presence channels tell who.
    assert_eq!(pusher_events(&mut world, clients[1], count), [""; 0]);
    send(&mut world, clients[1], &subscribe("private-cache-a"));
    send(&mut world, clients[2], &subscribe("private-cache-a"));
    assert_eq!(pusher_events(&mut world, clients[2], count), [""; 0]);
    world.pass(Duration::from_secs(1));
    for client in clients {
        assert_eq!(pusher_events(&mut world, client, count), [r#"{"subscription_count":3}"#]);
    }
}

#[test]
fn at_the_end_nobody_is_told_as_gone_if_the_next_process_knows_who_was_there() {
    let (mut world, app) = setup(all("room"), ChannelOptions::default());
    let client = connect(&mut world, 0, &app, "ann");
    send(&mut world, client, &json!({"type": "subscribe", "channel": "room"}));
    assert_eq!(told(&mut world), ["room: occupied", "room: +ann", "room: 1"]);
    for shard in &mut world.shards {
        shard.keep_told();
    }
    world.cut(client);
    world.settle();
    world.pass(Duration::from_secs(60));
    assert_eq!(told(&mut world), [""; 0]);
}

#[test]
fn an_application_that_wants_nothing_is_told_nothing() {
    let (mut world, app) = setup(Notices::default(), ChannelOptions::default());
    let client = connect(&mut world, 0, &app, "ann");
    send(&mut world, client, &json!({"type": "subscribe", "channel": "room"}));
    send(&mut world, client, &json!({"type": "publish", "channel": "room", "data": 1}));
    world.cut(client);
    world.pass(Duration::from_secs(60));
    assert!(world.shards.iter().all(|shard| !shard.has_notices()));
}
