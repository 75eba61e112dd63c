//! Who is there: a snapshot, then each change once, with two connections of one user as one member.

use super::stage::{Scene, Stage, everything, identity};
use super::{Ability, Heard, Speech, Use, Wish, has};
use switchboard_core::Identity;

/// The snapshot and the changes after it fit together.
pub(super) fn presence<S: Speech>() {
    if !has::<S>(Ability::Presence) {
        return;
    }
    let mut stage = Stage::<S>::new(&Scene::default());
    let wish = |member| Wish { member: Some(member), ..Wish::channel(S::channel(Use::Presence)) };
    let token =
        |user: &str| -> Option<Identity> { has::<S>(Ability::Token).then(|| identity(user, everything(), None)) };
    let ann = stage.come_as(&wish("ann"), token("ann"));
    assert_eq!(users(&stage.heard(ann)), ["ann"]);
    let bob = stage.come_as(&wish("bob"), token("bob"));
    assert_eq!(users(&stage.heard(bob)), ["ann", "bob"]);
    assert_eq!(changes(&stage.heard(ann)), [Heard::Joined("bob".into())]);
    let second = stage.come_as(&wish("bob"), token("bob"));
    assert_eq!(users(&stage.heard(second)), ["ann", "bob"]);
    stage.cut(bob);
    stage.settle();
    assert_eq!(changes(&stage.heard(ann)), [], "a member with a connection left");
    stage.cut(second);
    stage.settle();
    assert_eq!(changes(&stage.heard(ann)), [Heard::Left("bob".into())]);
    if has::<S>(Ability::Unsubscribe) {
        let carl = stage.come_as(&wish("carl"), token("carl"));
        stage.leave(carl, S::channel(Use::Presence));
        stage.settle();
        assert_eq!(changes(&stage.heard(ann)), [Heard::Joined("carl".into()), Heard::Left("carl".into())]);
        assert_eq!(stage.end(carl), None);
    }
}

fn users(heard: &[Heard]) -> Vec<String> {
    let found = heard.iter().find_map(|heard| match heard {
        Heard::Subscribed { users, .. } => users.clone(),
        _ => None,
    });
    let mut users = found.unwrap_or_else(|| panic!("no snapshot in {heard:?}"));
    users.sort();
    users
}

fn changes(heard: &[Heard]) -> Vec<Heard> {
    heard.iter().filter(|heard| matches!(heard, Heard::Joined(_) | Heard::Left(_))).cloned().collect()
}
