//! A node with two clients of the native protocol, of which one says anything, in any order with the mail between shards and time: nothing
//! panics, what the noisy one receives is JSON, and the innocent one still has its channel.
//!
//! Input: a byte of switches, then steps: what, a length, and so many bytes. A message is a template with the bytes put in, or the bytes alone.
//! The token `PANIC` is a planted bug of the test kit, so inputs that say it are passed over.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::{Corpus, fuzz_target};
use switchboard_core::{App, AppId, ChannelMatch, Grant, Limits, Operations};
use switchboard_dialects::Opening;
use switchboard_fuzz::Input;
use switchboard_testkit::{ClientId, FakeDirectory, Received, Rng, World};

fuzz_target!(|data: &[u8]| -> Corpus {
    if data.windows(5).any(|window| window == b"PANIC") {
        return Corpus::Reject;
    }
    let mut input = Input::new(data);
    let mut node = Node::new(input.byte());
    while !input.is_empty() {
        let (what, length) = (input.byte(), usize::from(input.byte()));
        node.step(what, input.take(length));
    }
    node.finish();
    Corpus::Keep
});

struct Node {
    world: World,
    app: Arc<App>,
    innocent: ClientId,
    noisy: ClientId,
    batch: bool,
    rng: Rng,
}

impl Node {
    fn new(switches: u8) -> Self {
        let limits = Limits { operations_per_second: u32::from(switches & 1) * 5, ..Limits::default() };
        let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
        let app = Arc::new(App { anonymous, limits, ..App::new(AppId::new("app")) });
        let shards = 1 + u16::from(switches >> 1 & 1);
        let mut world = World::new(shards, FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() });
        let innocent = world.connect(0, &app, Opening::Native { batch: false }, None);
        world.send(innocent, r#"{"type":"subscribe","channel":"quiet"}"#);
        world.settle();
        world.received(innocent);
        let batch = switches & 4 != 0;
        let noisy = world.connect(usize::from(shards - 1), &app, Opening::Native { batch }, None);
        Self { world, app, innocent, noisy, batch, rng: Rng::new(u64::from(switches)) }
    }

    fn step(&mut self, what: u8, bytes: &[u8]) {
        match what & 15 {
            0 => self.world.step(&mut self.rng),
            1 => self.world.settle(),
            2 => self.world.pass(Duration::from_millis(bytes.len() as u64 * 100)),
            3 => self.world.set_reading(self.noisy, bytes.is_empty()),
            4 => self.again(),
            5 => self.say(|world, noisy| world.send_binary(noisy, bytes)),
            6 => {
                let text = String::from_utf8_lossy(bytes);
                self.say(|world, noisy| world.send(noisy, &text));
            }
            number => {
                let piece = String::from_utf8_lossy(bytes);
                let text = TEMPLATES[usize::from(number - 7)].replace("$", &piece);
                self.say(|world, noisy| world.send(noisy, &text));
            }
        }
    }

    /// As a transport does: nothing reaches a session that is gone or does not want more.
    fn say(&mut self, send: impl FnOnce(&mut World, ClientId)) {
        if self.world.may_send(self.noisy) {
            send(&mut self.world, self.noisy);
        }
    }

    fn again(&mut self) {
        self.world.cut(self.noisy);
        let shard = self.world.shards.len() - 1;
        self.noisy = self.world.connect(shard, &self.app, Opening::Native { batch: self.batch }, None);
    }

    fn finish(&mut self) {
        self.world.set_reading(self.noisy, true);
        self.world.settle();
        for message in self.world.received(self.noisy) {
            if let Received::Text(_) = message {
                message.json();
            }
        }
        // The innocent one does not answer heartbeats; if time has passed, it was told to go, as anybody would be.
        if self.world.disconnect_of(self.innocent).is_some() {
            return;
        }
        self.world.received(self.innocent);
        self.world.send(self.innocent, r#"{"type":"publish","channel":"quiet","data":"still here"}"#);
        self.world.settle();
        let received = self.world.received(self.innocent);
        let mine = received.iter().filter(|message| message.json()["data"] == "still here").count();
        assert_eq!(mine, 1, "{received:?}");
    }
}

/// `$` is where the input goes.
const TEMPLATES: [&str; 9] = [
    r#"{"type":"subscribe","id":1,"channel":"$","presence":true}"#,
    r#"{"type":"subscribe","id":1,"channel":"room:1","since":{"epoch":"e1","offset":$}}"#,
    r#"{"type":"publish","id":"a","channel":"room:1","data":$,"event":"e","key":"k"}"#,
    r#"{"type":"publish","id":2,"channel":"quiet","data":"$","exclude_self":true}"#,
    r#"{"type":"batch","messages":[{"type":"ping","id":1},$]}"#,
    r#"{"type":"unsubscribe","channel":"$"}"#,
    r#"{"type":"history","channel":"room:1","limit":$}"#,
    r#"{"type":"presence","channel":"$"}"#,
    r#"{"type":"$"}"#,
];
