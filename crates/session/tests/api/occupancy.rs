//! How many are where: the counts of a channel's home, and lists over all homes.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use switchboard_core::{
    App, AppId, ChannelMatch, ChannelName, ChannelOptions, Channels, Command, Grant, Identity, Limits, Occupancy,
    Operations, Outcome, Payload, PresenceCount, Publish, UserId,
};
use switchboard_dialects::Opening;
use switchboard_testkit::{ClientId, FakeDirectory, Rng, World};

fn setup(shards: u16) -> (World, Arc<App>, Arc<App>) {
    let quiet = ChannelOptions { presence: false, ..ChannelOptions::default() };
    let slow = ChannelOptions { presence_grace: Duration::from_secs(5), ..ChannelOptions::default() };
    let channels = Channels::default().with_namespace("quiet", quiet).with_namespace("slow", slow);
    let limits = Limits { operations_per_second: 0, ..Limits::default() };
    let app =
        |name: &str| Arc::new(App { channels: channels.clone(), limits: limits.clone(), ..App::new(AppId::new(name)) });
    let (app, other) = (app("app"), app("other"));
    let world =
        World::new(shards, FakeDirectory { apps: vec![app.clone(), other.clone()], ..FakeDirectory::default() });
    (world, app, other)
}

fn connect(world: &mut World, shard: usize, app: &Arc<App>, user: &str) -> ClientId {
    let grants = vec![Grant::new(ChannelMatch::all(), Operations::ALL)];
    let identity = Identity { user: UserId::parse(user).unwrap(), info: None, grants, expires: None };
    world.connect(shard, app, Opening::Native { batch: false }, Some(identity))
}

fn change(world: &mut World, client: ClientId, verb: &str, channel: &str) {
    world.send(client, &format!(r#"{{"type":"{verb}","channel":"{channel}"}}"#));
    world.settle();
}

fn ask(world: &mut World, shard: usize, app: &Arc<App>, command: Command) -> Outcome {
    world.submit(shard, 1, app, command);
    world.settle();
    world.poll_external(shard).expect("an answer").1
}

fn list(
    world: &mut World,
    shard: usize,
    app: &Arc<App>,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> (Vec<Occupancy>, bool) {
    let command = Command::Channels { prefix: prefix.into(), after: after.map(Into::into), limit };
    match ask(world, shard, app, command) {
        Outcome::Channels { channels, more } => (channels, more),
        outcome => panic!("{outcome:?}"),
    }
}

fn shown(occupancy: &Occupancy) -> String {
    match occupancy.presence {
        Some(PresenceCount { users, connections }) => {
            format!("{} {} ({users} users, {connections} connections)", occupancy.channel, occupancy.subscribers)
        }
        None => format!("{} {}", occupancy.channel, occupancy.subscribers),
    }
}

#[test]
fn connections_and_users_are_counted_over_all_shards_until_they_leave() {
    let (mut world, app, other) = setup(3);
    let clients = [(0, "ann"), (1, "ann"), (2, "bob")].map(|(shard, user)| connect(&mut world, shard, &app, user));
    for client in clients {
        change(&mut world, client, "subscribe", "room");
        change(&mut world, client, "subscribe", "quiet:1");
    }
    let stranger = connect(&mut world, 0, &other, "eve");
    change(&mut world, stranger, "subscribe", "room");
    let all = |world: &mut World, shard| -> Vec<String> {
        list(world, shard, &app, "", None, 100).0.iter().map(shown).collect()
    };
    for shard in 0..3 {
        assert_eq!(all(&mut world, shard), ["quiet:1 3", "room 3 (2 users, 3 connections)"]);
    }
    change(&mut world, clients[0], "unsubscribe", "room");
    world.cut(clients[2]);
    world.settle();
    assert_eq!(all(&mut world, 1), ["quiet:1 2", "room 1 (1 users, 1 connections)"]);
    world.cut(clients[1]);
    world.cut(clients[0]);
    world.settle();
    assert_eq!(all(&mut world, 1), [""; 0]);
    assert_eq!(
        list(&mut world, 0, &other, "", None, 9).0.iter().map(shown).collect::<Vec<_>>(),
        ["room 1 (1 users, 1 connections)"]
    );
}

#[test]
fn one_channel_tells_its_position_and_value_even_if_nobody_is_there() {
    let (mut world, app, _) = setup(2);
    let ask_channel = |world: &mut World, name: &str| match ask(
        world,
        1,
        &app,
        Command::Channel { channel: ChannelName::parse(name).unwrap() },
    ) {
        Outcome::Channel { occupancy, position, cached } => {
            (shown(&occupancy), position.offset, cached.map(|kept| kept.position.offset))
        }
        outcome => panic!("{outcome:?}"),
    };
    let publish = |cache| {
        let publish = Publish { cache, ..Publish::new(Payload::Text("x".into())) };
        Command::Publish { channel: ChannelName::parse("slow:a").unwrap(), publish, exclude_self: false }
    };
    let nobody = || "slow:a 0 (0 users, 0 connections)".to_owned();
    assert_eq!(ask_channel(&mut world, "slow:a"), (nobody(), 0, None));
    ask(&mut world, 0, &app, publish(switchboard_core::CacheRequest::ByOptions));
    assert_eq!(ask_channel(&mut world, "slow:a"), (nobody(), 1, None));
    ask(&mut world, 0, &app, publish(switchboard_core::CacheRequest::Keep));
    assert_eq!(ask_channel(&mut world, "slow:a"), (nobody(), 2, Some(2)));
    assert_eq!(ask_channel(&mut world, "quiet:a"), ("quiet:a 0".to_owned(), 0, None));
    let ann = connect(&mut world, 0, &app, "ann");
    change(&mut world, ann, "subscribe", "slow:a");
    assert_eq!(ask_channel(&mut world, "slow:a").0, "slow:a 1 (1 users, 1 connections)");
    change(&mut world, ann, "unsubscribe", "slow:a");
    // In the grace somebody is present, but nobody subscribes.
    assert_eq!(ask_channel(&mut world, "slow:a").0, "slow:a 0 (1 users, 0 connections)");
    assert_eq!(list(&mut world, 0, &app, "", None, 9), (vec![], false));
    world.pass(Duration::from_secs(5));
    assert_eq!(ask_channel(&mut world, "slow:a").0, nobody());
}

#[test]
fn pages_hold_every_occupied_channel_once_and_in_order() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let shards = 1 + rng.below(4);
        let (mut world, app, _) = setup(u16::try_from(shards).unwrap());
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..4 {
            let client = connect(&mut world, rng.below(shards), &app, "ann");
            let mut subscribed = BTreeSet::new();
            for _ in 0..rng.below(30) {
                let name = format!("{}:{}", ["quiet", "room"][rng.below(2)], rng.below(30));
                world.send(client, &format!(r#"{{"type":"subscribe","channel":"{name}"}}"#));
                // Asked twice it is refused, and not counted.
                if subscribed.insert(name.clone()) {
                    *expected.entry(name).or_default() += 1;
                }
            }
            world.settle();
        }
        let prefix = ["", "quiet:", "quiet:1", "none"][rng.below(4)];
        let limit = 1 + rng.below(9);
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let (page, more) = list(&mut world, rng.below(shards), &app, prefix, after.as_deref(), limit);
            assert!(page.len() <= limit && (!more || page.len() == limit), "seed {seed}: {page:?}");
            found.extend(page.iter().map(|one| (one.channel.to_string(), one.subscribers)));
            if !more {
                break;
            }
            after = page.last().map(|last| last.channel.to_string());
        }
        expected.retain(|name, _| name.starts_with(prefix));
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "seed {seed}");
    }
}
