//! What is lost on the way inside, by whatever fault, is told.

use core::time::Duration;
use serde_json::json;
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelMatch, ChannelName, Grant, Operations};
use switchboard_dialects::Opening;
use switchboard_hub::{ChannelKey, ShardId};
use switchboard_testkit::{ClientId, FakeDirectory, World};

const NATIVE: Opening = Opening::Native { batch: false };

struct Setup {
    world: World,
    writer: ClientId,
    reader: ClientId,
    channel: String,
}

/// A writer on the channel's home, a reader on the other shard.
fn setup() -> Setup {
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let app = Arc::new(App { anonymous, ..App::new(AppId::new("app")) });
    let mut world = World::new(2, FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() });
    let at_home =
        |name: &String| ChannelKey::new(app.id.clone(), ChannelName::parse(name).unwrap()).home(2) == ShardId(0);
    let channel = (0..).map(|n| format!("c{n}")).find(at_home).unwrap();
    let [writer, reader] = [0, 1].map(|shard| world.connect(shard, &app, NATIVE, None));
    world.send(reader, &json!({"type": "subscribe", "channel": channel}).to_string());
    world.settle();
    Setup { world, writer, reader, channel }
}

impl Setup {
    fn publish(&mut self) {
        let request = json!({"type": "publish", "channel": self.channel, "data": 1});
        self.world.send(self.writer, &request.to_string());
    }

    /// A publication of which the mail is lost.
    fn lose(&mut self) {
        self.publish();
        self.world.turn(0);
        self.world.post(0);
        assert_eq!(self.world.mail[0][1].drain(..).count(), 1);
        self.world.settle();
    }

    /// Offsets of messages, and gaps.
    fn told(&mut self) -> Vec<(u64, u64)> {
        let told = self.world.received(self.reader);
        let told =
            told.iter().map(switchboard_testkit::Received::json).filter_map(|told| match told["type"].as_str() {
                Some("message") => Some((told["offset"].as_u64()?, 0)),
                Some("gap") => Some((told["from"].as_u64()?, told["to"].as_u64()?)),
                _ => None,
            });
        told.collect()
    }
}

#[test]
fn the_next_publication_shows_what_is_missing() {
    let mut setup = setup();
    setup.publish();
    setup.world.settle();
    setup.lose();
    setup.lose();
    assert_eq!(setup.told(), [(1, 0)]);
    setup.publish();
    setup.world.settle();
    assert_eq!(setup.told(), [(2, 3), (4, 0)]);
    assert_eq!(setup.world.shards[1].stats().hub.losses, 1);
}

#[test]
fn the_position_check_shows_it_where_nothing_follows() {
    let mut setup = setup();
    setup.publish();
    setup.world.settle();
    setup.lose();
    assert_eq!(setup.told(), [(1, 0)]);
    setup.world.pass(Duration::from_secs(31));
    assert_eq!(setup.told(), [(2, 2)]);
    assert_eq!(setup.world.shards[1].stats().hub.losses, 1);
    setup.publish();
    setup.world.settle();
    setup.world.pass(Duration::from_secs(120));
    assert_eq!(setup.told(), [(3, 0)], "and once is enough");
}

#[test]
fn a_quiet_channel_and_one_that_is_slow_have_lost_nothing() {
    let mut setup = setup();
    setup.world.pass(Duration::from_secs(60));
    setup.world.set_reading(setup.reader, false);
    (0..50).for_each(|_| setup.publish());
    setup.world.settle();
    setup.world.pass(Duration::from_secs(60));
    setup.world.set_reading(setup.reader, true);
    setup.world.settle();
    let told = setup.told();
    assert!(told.len() == 50 && told.iter().all(|(_, to)| *to == 0), "{told:?}");
    assert_eq!(setup.world.shards[1].stats().hub.losses, 0);
}
