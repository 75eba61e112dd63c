//! The hub: what a publication costs it, and what a delivery. Bytes of messages are not made here, only copied once.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use switchboard_core::{
    App, AppId, ChannelName, Encode, FramingId, Mark, OpId, Payload, PresenceChange, Publication, Publish, Time,
    WireFormat,
};
use switchboard_hub::{
    Caller, ChannelKey, MemoryBroker, Portions, Shard, ShardConfig, ShardId, SubscribeRequest, SubscriberId,
};

const START: Time = Time::from_secs(1_000);

const WARM_UP: u64 = 3_000;

struct Encoder;

impl Encode for Encoder {
    fn publications(&mut self, _: WireFormat, publications: &[Arc<Publication>], _: Mark, out: &mut BytesMut) {
        out.resize(publications.len() * 100, 0);
    }

    fn presence(&mut self, _: WireFormat, _: &ChannelName, _: &[PresenceChange], _: &mut BytesMut) {}

    fn count(&mut self, _: WireFormat, _: &ChannelName, _: u64, _: &mut BytesMut) {}
}

struct Hub {
    shard: Shard<MemoryBroker>,
    app: Arc<App>,
    channel: ChannelName,
    subscribers: Vec<SubscriberId>,
}

impl Hub {
    fn new(subscribers: usize) -> Option<Self> {
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
        let channel = ChannelName::parse("room:lobby").ok()?;
        let mut all = Vec::with_capacity(subscribers);
        for _ in 0..subscribers {
            let (id, _) = shard.open(&app, WireFormat { dialect: 0, framing: FramingId(0) });
            let key = ChannelKey::new(app.id.clone(), channel.clone());
            shard.subscribe(START, id, OpId(0), &app, key, SubscribeRequest::default());
            while shard.poll_answer().is_some() {}
            all.push(id);
        }
        Some(Self { shard, app, channel, subscribers: all })
    }

    /// History, and what is remembered of publications, have the size that they stay at.
    fn warm_up(&mut self) {
        (0..WARM_UP).for_each(|_| self.publish(START));
        self.end_turns(START);
    }

    /// As a client does. A channel's name is read from each message anew.
    fn publish(&mut self, now: Time) {
        let Some(id) = self.subscribers.first() else { return };
        let key = ChannelKey::new(self.app.id.clone(), self.channel.clone());
        let publish = Publish::new(Payload::Binary(Bytes::from_static(&[7; 64])));
        self.shard.publish(now, Caller::Subscriber(*id), OpId(1), &self.app, key, publish, None, None);
        while self.shard.poll_answer().is_some() {}
    }

    /// Ends turns until everybody has everything, and takes it to sockets that take all.
    fn end_turns(&mut self, now: Time) {
        loop {
            let more = self.shard.end_turn(now, &mut Encoder);
            while let Some(id) = self.shard.poll_dirty() {
                let Some(outbox) = self.shard.outbox(id) else { continue };
                let bytes = outbox.waiting().map(|bytes| black_box(bytes).len()).sum();
                outbox.advance(bytes);
            }
            if !more {
                return;
            }
        }
    }
}

/// Sixteen publications a turn, to one subscriber: of one of them.
pub(crate) fn publish(count: usize) {
    let Some(mut hub) = Hub::new(1) else { return };
    hub.warm_up();
    for round in 0..count {
        let now = START + Duration::from_micros(round as u64);
        hub.publish(now);
        if round % 16 == 15 {
            hub.end_turns(now);
        }
    }
    assert_eq!(hub.shard.stats().publications, WARM_UP + count as u64);
}

/// One publication a turn, to a thousand subscribers.
pub(crate) fn fan_out(count: usize) {
    let Some(mut hub) = Hub::new(1_000) else { return };
    hub.warm_up();
    for round in 0..count {
        let now = START + Duration::from_micros(round as u64);
        hub.publish(now);
        hub.end_turns(now);
    }
    assert_eq!(hub.shard.stats().deliveries, (WARM_UP + count as u64) * 1_000);
}
