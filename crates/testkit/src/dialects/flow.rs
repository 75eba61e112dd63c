//! Publications on their way: order, content, who gets them and who does not.

use super::stage::{Scene, Stage, arrived, everything, identity, number, wish};
use super::{Ability, Heard, Speech, Use, Wish, has};
use crate::Rng;
use bytes::Bytes;
use switchboard_core::Payload;

/// Every subscriber gets every publication once and in order, whatever turns the shards take.
pub(super) fn live<S: Speech>() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut stage = Stage::<S>::new(&Scene::default());
        let channel = S::channel(Use::Listening);
        let readers = [0; 3].map(|_| stage.come(&wish::<S>(Use::Listening)));
        for n in 0..100 {
            stage.publish(channel, &number(n));
            (0..rng.below(6)).for_each(|_| stage.step(&mut rng));
        }
        stage.settle();
        let expected: Vec<Payload> = (0..100).map(arrived::<S>).collect();
        for reader in readers {
            assert_eq!(stage.messages(reader, channel), expected, "seed {seed}");
        }
    }
}

/// Each kind of content arrives as the protocol has it, beside the others and in order.
pub(super) fn payloads<S: Speech>() {
    let mut stage = Stage::<S>::new(&Scene::default());
    let channel = S::channel(Use::Listening);
    let reader = stage.come(&wish::<S>(Use::Listening));
    let contents = [
        Payload::Json(r#"{"a":[1,null,"x\ny"]}"#.into()),
        Payload::Json("null".into()),
        Payload::Text("plain".into()),
        Payload::Text("17".into()),
        Payload::Text("".into()),
        Payload::Text("lines\r\nand\nmore\r\u{2028}\"quoted\" data: x\n\nid: 7".into()),
        Payload::Binary(Bytes::from_static(b"\0\xff\x10\r\n")),
        Payload::Binary(Bytes::new()),
    ];
    contents.iter().for_each(|payload| stage.publish(channel, payload));
    stage.settle();
    let expected: Vec<Payload> = contents.iter().map(S::arrives).collect();
    assert_eq!(stage.messages(reader, channel), expected);
}

/// What a client publishes reaches the others, and itself where the protocol has it so; it is acknowledged where there is a word for it.
pub(super) fn publishing<S: Speech>() {
    if !has::<S>(Ability::Publish) {
        return;
    }
    let mut stage = Stage::<S>::new(&Scene::default());
    let channel = S::channel(Use::Speaking);
    let [speaker, listener] = [0; 2].map(|_| stage.come(&wish::<S>(Use::Speaking)));
    stage.heard(speaker);
    for n in 0..20 {
        stage.speak(speaker, channel, &number(n));
    }
    stage.settle();
    let expected: Vec<Payload> = (0..20).map(arrived::<S>).collect();
    assert_eq!(stage.messages(listener, channel), expected);
    let heard = stage.heard(speaker);
    let count = |wanted: fn(&Heard) -> bool| heard.iter().filter(|heard| wanted(heard)).count();
    let echoes = count(|heard| matches!(heard, Heard::Message { .. }));
    assert_eq!(echoes, if has::<S>(Ability::Echo) { 20 } else { 0 }, "{heard:?}");
    let acknowledged = count(|heard| *heard == Heard::Acknowledged);
    assert_eq!(acknowledged, if has::<S>(Ability::Acknowledge) { 20 } else { 0 }, "{heard:?}");
}

/// Who has left a channel gets nothing more of it, and the rest as before; who is gone costs nobody anything.
pub(super) fn leaving<S: Speech>() {
    let mut stage = Stage::<S>::new(&Scene::default());
    let (channel, other) = (S::channel(Use::Listening), S::channel(Use::Other));
    let [leaver, stayer, broken] = [0; 3].map(|_| stage.come(&wish::<S>(Use::Listening)));
    if has::<S>(Ability::Several) {
        stage.ask(leaver, &Wish::channel(other));
        stage.settle();
    }
    if has::<S>(Ability::Unsubscribe) {
        stage.leave(leaver, channel);
        stage.settle();
        stage.heard(leaver);
    }
    stage.cut(broken);
    stage.publish(channel, &number(1));
    stage.publish(other, &number(2));
    stage.settle();
    assert_eq!(stage.messages(stayer, channel), [arrived::<S>(1)]);
    assert_eq!(stage.messages(broken, channel), []);
    if has::<S>(Ability::Unsubscribe) && has::<S>(Ability::Several) {
        assert_eq!(stage.messages(leaver, other), [arrived::<S>(2)], "of the channel that was left, or nothing");
        stage.ask(leaver, &Wish::channel(channel));
        stage.settle();
        stage.heard(leaver);
        stage.publish(channel, &number(3));
        stage.settle();
        assert_eq!(stage.messages(leaver, channel), [arrived::<S>(3)], "after coming back to the channel");
    }
}

/// Channels of two applications with the same name have nothing to do with each other.
pub(super) fn applications<S: Speech>() {
    let scene = Scene::default();
    let mut stage = Stage::<S>::new(&scene);
    let elsewhere = scene.app("elsewhere");
    let channel = S::channel(Use::Listening);
    let ours = stage.come(&wish::<S>(Use::Listening));
    let theirs = stage.come_to(&elsewhere, &wish::<S>(Use::Listening), Some(identity("ann", everything(), None)));
    stage.publish(channel, &number(1));
    stage.settle();
    assert_eq!(stage.messages(ours, channel), [arrived::<S>(1)]);
    assert_eq!(stage.messages(theirs, channel), []);
}
