//! Leaving and coming back: exactly what was missed, or a word that it was not all.

use super::stage::{Scene, Stage, arrived, heavy, number, wish};
use super::{Ability, Heard, Speech, Use, Wish, has};
use crate::Rng;
use std::sync::Arc;
use switchboard_core::{CacheRequest, ChannelOptions, Epoch, Limits, Payload, Position, Publish};

/// Who comes back with a position gets what it missed, then what is live, in order and once, whatever is published meanwhile. Who cannot is told, where there is a word.
pub(super) fn resume<S: Speech>() {
    if !has::<S>(Ability::Resume) {
        return;
    }
    let channel = S::channel(Use::Listening);
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        // What was missed does not fit at once.
        let limits = Limits { outbox_bytes: 16_000, operations_per_second: 0, ..Limits::default() };
        let mut stage = Stage::<S>::new(&Scene { limits, ..Scene::default() });
        let positions: Vec<Position> = (0..60).map(|n| stage.place(channel, &heavy(n))).collect();
        let at = rng.below(60);
        let app = Arc::clone(&stage.app);
        let back = stage.begin(&app, &Wish { since: Some(positions[at]), ..Wish::channel(channel) }, None);
        for n in 60..70 {
            stage.publish(channel, &heavy(n));
            (0..rng.below(4)).for_each(|_| stage.step(&mut rng));
        }
        stage.settle();
        let heard = stage.heard(back);
        let messages: Vec<Payload> = heard.iter().filter_map(payload).collect();
        let expected: Vec<Payload> = (at + 1..70).map(|n| S::arrives(&heavy(n))).collect();
        assert_eq!(messages, expected, "seed {seed}, back at {at}");
        assert_recovered::<S>(&heard, true);
    }
    // Trimmed, and of an epoch that never was.
    let options = ChannelOptions { history_size: 3, ..ChannelOptions::default() };
    let mut stage = Stage::<S>::new(&Scene { options, ..Scene::default() });
    let positions: Vec<Position> = (0..10).map(|n| stage.place(channel, &number(n))).collect();
    let elsewhere = Position { epoch: Epoch(positions[9].epoch.0 ^ 1), offset: 9 };
    for lost in [positions[0], elsewhere] {
        let back = stage.come(&Wish { since: Some(lost), ..Wish::channel(channel) });
        stage.publish(channel, &number(10));
        stage.settle();
        let heard = stage.heard(back);
        assert_eq!(heard.iter().filter_map(payload).collect::<Vec<_>>(), [arrived::<S>(10)], "a part of what was lost");
        assert_recovered::<S>(&heard, false);
    }
}

fn assert_recovered<S: Speech>(heard: &[Heard], expected: bool) {
    let told = heard.iter().find_map(|heard| match heard {
        Heard::Subscribed { recovered, .. } => *recovered,
        _ => None,
    });
    assert_eq!(told, has::<S>(Ability::Recovered).then_some(expected), "{heard:?}");
}

fn payload(heard: &Heard) -> Option<Payload> {
    match heard {
        Heard::Message { payload, .. } => Some(payload.clone()),
        _ => None,
    }
}

/// Who comes gets the last publication, once and before what is live.
pub(super) fn cached<S: Speech>() {
    if !has::<S>(Ability::Cached) {
        return;
    }
    let mut stage = Stage::<S>::new(&Scene::default());
    let channel = S::channel(Use::Cached);
    let first = stage.come(&wish::<S>(Use::Cached));
    stage.heard(first);
    for n in 0..3 {
        stage.publish_with(channel, Publish { cache: CacheRequest::Keep, ..Publish::new(number(n)) });
    }
    stage.settle();
    let second = stage.come(&wish::<S>(Use::Cached));
    stage.publish(channel, &number(3));
    stage.settle();
    assert_eq!(stage.messages(second, channel), [arrived::<S>(2), arrived::<S>(3)]);
    assert_eq!(stage.messages(first, channel), (0..4).map(arrived::<S>).collect::<Vec<_>>());
}
