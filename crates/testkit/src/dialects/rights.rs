//! What is not granted is refused, and nothing of it is seen.

use super::stage::{Scene, Stage, arrived, everything, identity, number, wish};
use super::{Ability, Heard, Speech, Use, Wish, has};
use core::time::Duration;
use switchboard_core::{ChannelMatch, Grant, Operations};

/// A client without the right to do a thing is refused, whichever other rights it has; nobody else notices.
pub(super) fn matrix<S: Speech>() {
    let only = |operations| vec![Grant::new(ChannelMatch::all(), operations)];
    for operations in [Operations::NONE, Operations::PUBLISH | Operations::PRESENCE | Operations::HISTORY] {
        let mut stage = Stage::<S>::new(&Scene { anonymous: only(operations), ..Scene::default() });
        let channel = S::channel(Use::Listening);
        let stranger = stage.come(&wish::<S>(Use::Listening));
        stage.assert_refused(stranger, &format!("subscribing with {operations:?}"));
        stage.publish(channel, &number(1));
        stage.settle();
        assert_eq!(stage.messages(stranger, channel), [], "seen without the right");
    }
    // Signatures of the protocol's own may stand for the right to publish: it is asked for where there is none.
    if has::<S>(Ability::Publish) {
        let mut stage = Stage::<S>::new(&Scene { anonymous: only(Operations::SUBSCRIBE), ..Scene::default() });
        let channel = S::channel(Use::Listening);
        let [speaker, listener] = [0; 2].map(|_| stage.come(&wish::<S>(Use::Listening)));
        stage.heard(speaker);
        stage.speak(speaker, channel, &number(1));
        stage.settle();
        stage.assert_refused(speaker, "publishing");
        assert_eq!(stage.messages(listener, channel), [], "published without the right");
    }
    history::<S>();
}

/// Coming back with a position reads no history without the right, and neither does a cached value.
fn history<S: Speech>() {
    let subscribe = vec![Grant::new(ChannelMatch::all(), Operations::SUBSCRIBE)];
    let mut stage = Stage::<S>::new(&Scene { anonymous: subscribe, ..Scene::default() });
    let channel = S::channel(Use::Listening);
    let begin = stage.place(channel, &number(0));
    stage.place(channel, &number(1));
    if has::<S>(Ability::Resume) {
        let back = stage.come(&Wish { since: Some(begin), ..Wish::channel(channel) });
        assert_eq!(stage.messages(back, channel), [], "history without the right");
        stage.publish(channel, &number(2));
        stage.settle();
        assert_eq!(stage.messages(back, channel), [arrived::<S>(2)], "live after a refused history");
    }
}

/// A token ends, and with it what it granted: the connection is closed and says so.
pub(super) fn expiry<S: Speech>() {
    if !has::<S>(Ability::Token) {
        return;
    }
    let mut stage = Stage::<S>::new(&Scene { anonymous: Vec::new(), ..Scene::default() });
    let channel = S::channel(Use::Listening);
    let expires = stage.world.now + Duration::from_secs(60);
    let [short, long] = [Some(expires), None]
        .map(|expires| stage.come_as(&wish::<S>(Use::Listening), Some(identity("ann", everything(), expires))));
    stage.publish(channel, &number(1));
    stage.settle();
    assert_eq!(stage.messages(short, channel), [arrived::<S>(1)]);
    stage.world.pass(Duration::from_secs(61));
    stage.settle();
    assert!(stage.end(short).is_some_and(|end| !end.reconnect()), "{:?}", stage.end(short));
    assert_eq!(stage.end(long), None);
    stage.heard(short);
    stage.publish(channel, &number(2));
    stage.settle();
    assert_eq!(stage.messages(short, channel), [], "seen after the token's end");
    assert!(stage.heard(long).iter().filter(|heard| matches!(heard, Heard::Message { .. })).count() == 2);
}
