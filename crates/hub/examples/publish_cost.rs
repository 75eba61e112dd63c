//! One client that publishes on its own channel, sixteen publications a turn: what a publication costs in the hub.
//!
//! `cargo build --release -p switchboard-hub --example publish_cost`, then `valgrind --tool=callgrind` with one argument, the number of turns; the
//! difference between two runs is free of what starting costs.

use bytes::{Bytes, BytesMut};
use core::time::Duration;
use std::sync::Arc;
use switchboard_core::{
    App, AppId, ChannelName, Encode, FramingId, Mark, OpId, Payload, PresenceChange, Publication, Publish, Time,
    WireFormat,
};
use switchboard_hub::{Caller, ChannelKey, MemoryBroker, Portions, Shard, ShardConfig, ShardId, SubscribeRequest};

struct Encoder;

impl Encode for Encoder {
    fn publications(&mut self, _: WireFormat, publications: &[Arc<Publication>], _: Mark, out: &mut BytesMut) {
        out.resize(publications.len() * 100, 0);
    }

    fn presence(&mut self, _: WireFormat, _: &ChannelName, _: &[PresenceChange], _: &mut BytesMut) {}

    fn count(&mut self, _: WireFormat, _: &ChannelName, _: u64, _: &mut BytesMut) {}
}

fn main() {
    let turns: u64 = std::env::args().nth(1).and_then(|turns| turns.parse().ok()).unwrap_or(1_000);
    let config = ShardConfig {
        id: ShardId(0),
        shards: 1,
        node: 0,
        first_serial: 1,
        mailbox_bytes: 1 << 20,
        portions: Portions::default(),
    };
    let mut shard = Shard::new(config, MemoryBroker::new(1, 1 << 26));
    let app = Arc::new(App::new(AppId::new("app")));
    let Ok(channel) = ChannelName::parse("room:lobby") else { return };
    let (id, _) = shard.open(&app, WireFormat { dialect: 0, framing: FramingId(0) });
    let start = Time::from_secs(1_000);
    let key = || ChannelKey::new(app.id.clone(), channel.clone());
    shard.subscribe(start, id, OpId(0), &app, key(), SubscribeRequest::default());
    while shard.poll_answer().is_some() {}
    let payload = Payload::Binary(Bytes::from_static(&[7; 64]));
    for turn in 0..turns {
        let now = start + Duration::from_micros(turn);
        for _ in 0..16 {
            // A channel's name is read from each message anew.
            let publish = Publish::new(payload.clone());
            shard.publish(now, Caller::Subscriber(id), OpId(1), &app, key(), publish, None, None);
            while shard.poll_answer().is_some() {}
        }
        shard.end_turn(now, &mut Encoder);
        while shard.poll_dirty().is_some() {}
        while shard.outbox(id).and_then(switchboard_hub::Outbox::pop).is_some() {}
    }
    assert_eq!(shard.stats().publications, turns * 16);
}
