//! What a subscriber costs: bytes while nothing happens, and nothing but its own bytes while something does. Counted by an allocator that knows what each
//! thread holds.

use allocation_counter::measure;
use serde_json::json;
use std::sync::Arc;
use switchboard_core::{
    App, AppId, ChannelMatch, ChannelName, Command, FramingId, Grant, Limits, Operations, Payload, Publish,
};
use switchboard_dialects::{Incoming, Opening};
use switchboard_hub::{MemoryBroker, SubscriberId};
use switchboard_session::{Client, Sessions};
use switchboard_testkit::{FakeDirectory, World};

const NATIVE: Opening = Opening::Native { batch: false };

/// One shard, and an application for everybody.
fn setup() -> (World, Arc<App>) {
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let limits = Limits { operations_per_second: 0, ..Limits::default() };
    let app = Arc::new(App { limits, anonymous, ..App::new(AppId::new("app")) });
    (World::new(1, FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() }), app)
}

/// A client that has subscribed and read its answers.
fn subscribe(world: &mut World, app: &Arc<App>, channel: &str) -> SubscriberId {
    let now = world.now;
    let sessions = &mut world.shards[0];
    let client = Client { app: app.clone(), opening: NATIVE, identity: None, framing: FramingId(0) };
    let id = sessions.open(now, client);
    assert!(drain(sessions, id) > 0);
    let subscribe = json!({"type": "subscribe", "id": 1, "channel": channel}).to_string();
    sessions.receive(now, id, Incoming::Text(&subscribe));
    sessions.end_turn(now);
    assert!(drain(sessions, id) > 0);
    id
}

/// As a transport does, from where the messages are.
fn drain(sessions: &mut Sessions<MemoryBroker>, id: SubscriberId) -> usize {
    let outbox = sessions.outbox(id).unwrap();
    let waiting = outbox.waiting().map(<[u8]>::len).sum();
    assert!(outbox.advance(waiting).is_none() && outbox.is_empty());
    waiting
}

fn publish(world: &mut World, app: &Arc<App>, channel: &str) {
    let publish = Publish::new(Payload::Text("x".repeat(128).into()));
    let command = Command::Publish { channel: ChannelName::parse(channel).unwrap(), publish, exclude_self: false };
    world.shards[0].submit(world.now, 0, app, command);
    world.shards[0].poll_external().unwrap();
}

/// The account of these bytes is in bench/README.md, under "Idle subscribed connections".
#[test]
fn an_idle_subscriber_takes_little() {
    let (mut world, app) = setup();
    // From one power of two to the next: lists that double have grown by one place for each.
    const COUNT: usize = 1024;
    (0..COUNT).for_each(|_| _ = subscribe(&mut world, &app, "room"));
    let info = measure(|| (0..COUNT).for_each(|_| _ = subscribe(&mut world, &app, "room")));
    let each = info.bytes_current / COUNT as i64;
    assert!((600..=IDLE_MAX).contains(&each), "{each} bytes");
}

const IDLE_MAX: i64 = 858;

/// What is allocated while a publication goes out does not depend on how many get it.
#[test]
fn a_delivery_allocates_nothing() {
    let allocations = |subscribers: usize| {
        let (mut world, app) = setup();
        let all: Vec<_> = (0..subscribers).map(|_| subscribe(&mut world, &app, "room")).collect();
        let now = world.now;
        let round = |world: &mut World| {
            publish(world, &app, "room");
            let (mut written, mut more) = (0, true);
            while more {
                more = world.shards[0].end_turn(now);
                while let Some(id) = world.shards[0].poll_dirty() {
                    assert!(world.shards[0].closing(id).is_none());
                    written += usize::from(drain(&mut world.shards[0], id) > 0);
                }
            }
            assert_eq!(written, all.len());
        };
        // Lists find their size, and the history its own.
        (0..200).for_each(|_| round(&mut world));
        measure(|| (0..100).for_each(|_| round(&mut world))).count_total
    };
    assert_eq!(allocations(10), allocations(1_000));
}
