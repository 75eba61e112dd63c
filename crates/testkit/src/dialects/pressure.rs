//! What is too much, too slow, too long or meaningless: bounded, told, and nobody else notices.

use super::stage::{Scene, Stage, arrived, heavy, number, wish};
use super::{Ability, Heard, Speech, Use, Wish, has};
use crate::{Received, Rng};
use core::time::Duration;
use switchboard_core::{ChannelOptions, Limits, Overflow, Payload};

const OUTBOX: usize = 16_000;

fn slow_scene(overflow: Overflow) -> Scene {
    let options = ChannelOptions { overflow, ..ChannelOptions::default() };
    let limits = Limits { outbox_bytes: OUTBOX, operations_per_second: 0, ..Limits::default() };
    Scene { options, limits, ..Scene::default() }
}

/// Plays a reader that stops while a healthy one goes on, and returns what the slow one has got after it reads again.
fn play<S: Speech>(overflow: Overflow, count: usize) -> (Stage<S>, super::stage::Who, Vec<Heard>) {
    let mut stage = Stage::<S>::new(&slow_scene(overflow));
    let channel = S::channel(Use::Listening);
    let [slow, healthy] = [0; 2].map(|_| stage.come(&wish::<S>(Use::Listening)));
    stage.heard(slow);
    stage.set_reading(slow, false);
    for n in 0..count {
        stage.publish(channel, &heavy(n));
        stage.settle();
        let waiting = stage.waiting(slow);
        assert!(waiting <= OUTBOX, "{waiting} bytes wait");
    }
    let expected: Vec<Payload> = (0..count).map(|n| S::arrives(&heavy(n))).collect();
    assert_eq!(stage.messages(healthy, channel), expected, "somebody else noticed");
    stage.set_reading(slow, true);
    stage.settle();
    let heard = stage.heard(slow);
    (stage, slow, heard)
}

fn contents(heard: &[Heard]) -> Vec<Payload> {
    let content = |heard: &Heard| match heard {
        Heard::Message { payload, .. } => Some(payload.clone()),
        _ => None,
    };
    heard.iter().filter_map(content).collect()
}

/// A reader that is too slow is sent away and may come back; what it had got before is in order.
pub(super) fn disconnect<S: Speech>() {
    let (stage, slow, heard) = play::<S>(Overflow::Disconnect, 100);
    let end = stage.end(slow).unwrap_or_else(|| panic!("still there after {heard:?}"));
    assert!((4100..4200).contains(&end.code), "{end:?} does not say: come back with backoff");
    let got = contents(&heard);
    let expected: Vec<Payload> = (0..got.len()).map(|n| S::arrives(&heavy(n))).collect();
    assert_eq!(got, expected);
}

/// The oldest go, in order and with an account of how many where there is a word for it; the newest come.
pub(super) fn drop_oldest<S: Speech>() {
    let (stage, slow, heard) = play::<S>(Overflow::DropOldest, 200);
    assert_eq!(stage.end(slow), None, "ended: {heard:?}");
    let got = contents(&heard);
    let all: Vec<Payload> = (0..200).map(|n| S::arrives(&heavy(n))).collect();
    assert!(got.len() < 200 && !got.is_empty(), "{} came", got.len());
    assert!(all.ends_with(&got[got.len() - 1..]), "the newest is missing");
    let mut rest = all.iter();
    assert!(got.iter().all(|payload| rest.any(|known| known == payload)), "out of order or twice");
    let told: u64 = heard.iter().map(|heard| if let Heard::Gap(count) = heard { *count } else { 0 }).sum();
    let lost = (200 - got.len()) as u64;
    assert_eq!(told, if has::<S>(Ability::Gap) { lost } else { 0 }, "{lost} were lost");
}

/// What waits is replaced by what is newer; the last one comes.
pub(super) fn keep_latest<S: Speech>() {
    let (stage, slow, heard) = play::<S>(Overflow::KeepLatest, 200);
    assert_eq!(stage.end(slow), None, "ended: {heard:?}");
    let got = contents(&heard);
    assert!(got.len() < 100, "{} came", got.len());
    assert_eq!(got.last(), Some(&S::arrives(&heavy(199))));
}

/// Too many channels are refused; whoever asks too fast is refused or read more slowly.
pub(super) fn limits<S: Speech>() {
    if has::<S>(Ability::Several) {
        let limits = Limits { channels: 1, operations_per_second: 0, ..Limits::default() };
        let mut stage = Stage::<S>::new(&Scene { limits, ..Scene::default() });
        let client = stage.come(&wish::<S>(Use::Listening));
        stage.heard(client);
        stage.ask(client, &Wish::channel(S::channel(Use::Other)));
        stage.settle();
        stage.assert_refused(client, "a channel too many");
        stage.publish(S::channel(Use::Other), &number(1));
        stage.settle();
        assert_eq!(stage.messages(client, S::channel(Use::Other)), []);
    }
    if has::<S>(Ability::Publish) {
        let limits = Limits { operations_per_second: 10, operations_burst: 10, ..Limits::default() };
        let mut stage = Stage::<S>::new(&Scene { limits, ..Scene::default() });
        let channel = S::channel(Use::Speaking);
        let [speaker, listener] = [0; 2].map(|_| stage.come(&wish::<S>(Use::Speaking)));
        let mut sent = 0;
        while sent < 100 && stage.may_send(speaker) {
            stage.speak(speaker, channel, &number(sent));
            stage.settle();
            sent += 1;
        }
        let came = stage.messages(listener, channel).len();
        assert!(came <= 20, "{came} of {sent} at once, with 10 a second");
        let heard = stage.heard(speaker);
        let held_back = sent < 100 || heard.contains(&Heard::Refused);
        assert!(held_back, "nobody told the client to slow down: {heard:?}");
        assert_eq!(stage.end(speaker), None, "sending too fast ended the connection");
    }
}

/// Silence is broken where the protocol has a message for it, and ends no connection by itself.
pub(super) fn silence<S: Speech>() {
    let mut stage = Stage::<S>::new(&Scene::default());
    let client = stage.come(&wish::<S>(Use::Listening));
    stage.heard(client);
    for _ in 0..4 {
        stage.world.pass(Duration::from_secs(30));
        stage.settle();
    }
    let heard = stage.heard(client);
    assert_eq!(heard.contains(&Heard::Alive), has::<S>(Ability::Heartbeat), "{heard:?}");
    assert_eq!(stage.end(client), None);
}

/// Everybody is sent away within the window, told to come back, and what was published before has come.
pub(super) fn drain<S: Speech>() {
    let mut stage = Stage::<S>::new(&Scene::default());
    let channel = S::channel(Use::Listening);
    let readers = [0; 6].map(|_| stage.come(&wish::<S>(Use::Listening)));
    stage.publish(channel, &number(1));
    let (now, window) = (stage.world.now, Duration::from_secs(10));
    stage.world.shards.iter_mut().for_each(|shard| shard.drain(now, window));
    stage.world.pass(window);
    stage.settle();
    for reader in readers {
        assert_eq!(stage.messages(reader, channel), [arrived::<S>(1)]);
        let end = stage.end(reader).expect("sent away");
        assert!(end.reconnect() || (4200..4300).contains(&end.code), "{end:?} does not say: come back");
    }
}

/// Whatever a client says, the server goes on and nobody else hears of it; the client itself is served or its connection ends.
pub(super) fn noise<S: Speech>() {
    let mut stage = Stage::<S>::new(&Scene::default());
    let channel = S::channel(Use::Other);
    let witness = stage.come(&Wish::channel(channel));
    let mut rng = Rng::new(7);
    for (index, message) in S::noise().iter().enumerate() {
        let noisy = stage.come(&wish::<S>(Use::Listening));
        stage.say(noisy, core::slice::from_ref(message));
        for _ in 0..30 {
            let spoiled = spoil(message, &mut rng);
            stage.say(noisy, &[spoiled]);
        }
        stage.settle();
        stage.publish(channel, &number(index));
        stage.settle();
        let last = arrived::<S>(index);
        let came = stage.messages(witness, channel);
        assert!(came.contains(&last), "{came:?} after {message:?}");
        stage.cut(noisy);
    }
    assert_eq!(stage.end(witness), None);
}

/// The message with some of its characters changed, doubled or cut off.
fn spoil(message: &Received, rng: &mut Rng) -> Received {
    let spoil = |bytes: &[u8], rng: &mut Rng| {
        let mut bytes = bytes.to_vec();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(bytes.len().max(1));
            match rng.below(4) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => bytes[at] = *b"\"{}[]:,\\0e\n".get(rng.below(11)).expect("one of eleven"),
                2 if at < bytes.len() => bytes.insert(at, bytes[at]),
                _ if at < bytes.len() => _ = bytes.remove(at),
                _ => bytes.push(b'x'),
            }
        }
        bytes
    };
    match message {
        Received::Text(text) => Received::Text(String::from_utf8_lossy(&spoil(text.as_bytes(), rng)).into_owned()),
        Received::Binary(bytes) => Received::Binary(spoil(bytes, rng)),
    }
}
