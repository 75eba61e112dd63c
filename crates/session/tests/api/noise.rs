//! Whatever one client sends, the sessions do not panic, each request has at most one answer, and nobody else notices.

use serde_json::json;
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelMatch, Grant, Limits, Operations};
use switchboard_dialects::Opening;
use switchboard_testkit::{FakeDirectory, Received, Rng, World};

const SEEDS: [&str; 9] = [
    r#"{"type":"subscribe","id":1,"channel":"room:1","since":{"epoch":"e1","offset":3},"presence":true}"#,
    r#"{"type":"publish","id":"a","channel":"room:1","data":{"a":[1,2,{"b":"\u00e4\n"}]},"event":"e","key":"k"}"#,
    r#"{"type":"batch","messages":[{"type":"ping","id":1},{"type":"history","channel":"room:1","limit":5}]}"#,
    r#"{"type":"unsubscribe","channel":"room:1"}"#,
    r#"{"type":"presence","channel":"room:1"}"#,
    r#"{"type":"authenticate","token":"x"}"#,
    r#"{"type":"history","channel":"room:1","since":{"epoch":"e1","offset":0}}"#,
    r#"{"type":"pong"}"#,
    r#"{"type":"publish","channel":"room:1","data":"text","exclude_self":true}"#,
];

#[test]
fn noise_from_one_client_disturbs_nobody() {
    let limits = Limits { operations_per_second: 0, ..Limits::default() };
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let app = Arc::new(App { anonymous, limits, ..App::new(AppId::new("app")) });
    let mut rng = Rng::new(1);
    let mut world = World::new(2, FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() });
    let innocent = world.connect(0, &app, Opening::Native { batch: false }, None);
    world.send(innocent, r#"{"type":"subscribe","channel":"quiet"}"#);
    world.settle();
    world.received(innocent);
    let mut noisy = world.connect(1, &app, Opening::Native { batch: true }, None);
    for round in 0..20_000 {
        let mut bytes = SEEDS[rng.below(SEEDS.len())].as_bytes().to_vec();
        if rng.one_in(4) {
            let header = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            bytes.splice(0..0, header);
        }
        for _ in 0..rng.below(4) {
            mutate(&mut rng, &mut bytes);
        }
        match core::str::from_utf8(&bytes) {
            Ok(text) if !rng.one_in(8) => world.send(noisy, text),
            _ => world.send_binary(noisy, &bytes),
        }
        if round % 50 == 0 {
            world.settle();
            for message in world.received(noisy) {
                if let Received::Text(_) = message {
                    message.json();
                }
            }
            assert!(world.disconnect_of(noisy).is_none(), "round {round}");
            if rng.one_in(10) {
                world.cut(noisy);
                noisy = world.connect(1, &app, Opening::Native { batch: false }, None);
            }
        }
    }
    world.send(innocent, &json!({"type": "publish", "channel": "quiet", "data": "still here"}).to_string());
    world.settle();
    let received = world.received(innocent);
    assert!(received.len() == 1 && received[0].json()["data"] == "still here", "{received:?}");
}

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let at = rng.below(bytes.len().max(1));
    match rng.below(5) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
        1 => bytes.truncate(at),
        2 => bytes.insert(at.min(bytes.len()), b"{}[]\",:\\0\xff\0"[rng.below(11)]),
        3 if at < bytes.len() => _ = bytes.remove(at),
        _ => {
            let piece: Vec<u8> = bytes[at.min(bytes.len())..].iter().copied().take(rng.below(20)).collect();
            bytes.splice(at.min(bytes.len())..at.min(bytes.len()), piece);
        }
    }
}
