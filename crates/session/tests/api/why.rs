//! Why: what is told of a publication is what its subscribers got.

use core::time::Duration;
use serde_json::json;
use std::sync::Arc;
use switchboard_core::{
    About, App, AppId, ChannelMatch, ChannelName, ChannelOptions, Channels, Command, ConflateBy, Fate, Grant, Identity,
    Limits, Operations, Outcome, Overflow, Question, RejectCode, SessionId, Trail, UserId, What, Whom,
};
use switchboard_dialects::Opening;
use switchboard_hub::{ChannelKey, Portions, ShardId, TraceOptions};
use switchboard_testkit::{ClientId, FakeDirectory, Received, World};

const NATIVE: Opening = Opening::Native { batch: false };
const OUTBOX: usize = 4_000;

struct Setup {
    world: World,
    app: Arc<App>,
    /// A channel whose home is the first of two shards.
    channel: String,
}

fn setup(options: ChannelOptions, mailbox_bytes: usize, trace: TraceOptions) -> Setup {
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let limits = Limits { operations_per_second: 0, outbox_bytes: OUTBOX, ..Limits::default() };
    let app = Arc::new(App { limits, channels: Channels::new(options), anonymous, ..App::new(AppId::new("app")) });
    let directory = FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() };
    let world = World::with_portions(2, directory, mailbox_bytes, Portions { trace, ..Portions::default() });
    let at_home =
        |name: &String| ChannelKey::new(app.id.clone(), ChannelName::parse(name).unwrap()).home(2) == ShardId(0);
    let channel = (0..).map(|n| format!("c{n}")).find(at_home).unwrap();
    Setup { world, app, channel }
}

impl Setup {
    /// A subscriber on a shard, with its session.
    fn subscribe(&mut self, shard: usize, more: &serde_json::Value) -> (ClientId, SessionId) {
        let client = self.world.connect(shard, &self.app, NATIVE, None);
        let mut request = json!({"type": "subscribe", "channel": self.channel});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let welcome = self.session(client);
        self.world.send(client, &request.to_string());
        self.world.settle();
        (client, welcome)
    }

    fn session(&mut self, client: ClientId) -> SessionId {
        self.world.settle();
        let told = self.world.received(client);
        let welcome = told.iter().map(Received::json).find(|told| told["type"] == "welcome").unwrap();
        SessionId::parse(welcome["session"].as_str().unwrap()).unwrap()
    }

    fn publish(&mut self, client: ClientId, more: &serde_json::Value) {
        let mut request = json!({"type": "publish", "id": 1, "channel": self.channel, "data": "x".repeat(300)});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.world.send(client, &request.to_string());
    }

    fn ask(&mut self, about: &About, whom: Option<&Whom>) -> Trail {
        // From the shard that is not the home, and from the home.
        let mut answers = [0, 1].map(|shard| {
            let question = Question { about: about.clone(), whom: whom.cloned() };
            self.world.submit(shard, 9, &self.app, Command::Why(question));
            self.world.settle();
            match self.world.poll_external(shard) {
                Some((9, Outcome::Why(trail))) => trail,
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(answers[0], answers[1]);
        core::mem::take(&mut answers[0])
    }

    fn at(&mut self, offset: u64, whom: Option<&Whom>) -> Trail {
        let channel = ChannelName::parse(self.channel.as_str()).unwrap();
        self.ask(&About::Offset { channel, offset }, whom)
    }

    fn fate(&mut self, offset: u64, session: SessionId) -> Fate {
        self.at(offset, Some(&Whom::Session(session))).fate(offset, session)
    }
}

/// What happened, in order, with the shard.
fn steps(trail: &Trail) -> Vec<(u16, &'static str)> {
    trail.steps.iter().map(|step| (step.shard, step.what.as_str())).collect()
}

const NOBODY: TraceOptions = TraceOptions { steps: 1_000, sample: 0 };
const EVERYBODY: TraceOptions = TraceOptions { steps: 1_000, sample: 1 };

#[test]
fn a_publication_is_followed_from_its_home_to_every_shard_and_to_whoever_is_traced() {
    let mut setup = setup(ChannelOptions::default(), 1 << 20, NOBODY);
    let (near, near_session) = setup.subscribe(0, &json!({}));
    let (_, far_session) = setup.subscribe(1, &json!({}));
    setup.publish(near, &json!({"exclude_self": true}));
    setup.world.settle();
    let trail = setup.at(1, None);
    assert_eq!(steps(&trail), [(0, "published"), (0, "fanned_out"), (1, "fanned_out"), (0, "excluded")]);
    assert_eq!(trail.steps[0].session, Some(near_session));
    assert_eq!(trail.steps[0].what, What::Published { shards: 2 });
    assert_eq!(trail.steps[1].what, What::FannedOut { subscribers: 1, given: 0 });
    assert_eq!((setup.fate(1, near_session), setup.fate(1, far_session)), (Fate::Excluded, Fate::Delivered));
    // Both have been named, so from now on they are traced.
    setup.publish(near, &json!({}));
    setup.world.settle();
    let trail = setup.at(2, Some(&Whom::Session(far_session)));
    assert_eq!(steps(&trail), [(0, "published"), (0, "fanned_out"), (1, "fanned_out"), (1, "given")]);
    assert_eq!(trail.standings[0].began, Some(0));
    // Who comes later, or is elsewhere, did not get it.
    let (_, late) = setup.subscribe(1, &json!({}));
    assert_eq!(setup.fate(2, late), Fate::TooEarly);
    let elsewhere = setup.world.connect(1, &setup.app.clone(), NATIVE, None);
    let elsewhere = setup.session(elsewhere);
    assert_eq!(setup.fate(2, elsewhere), Fate::NotSubscribed);
    assert_eq!(setup.fate(3, far_session), Fate::Waiting, "it is not published yet");
}

#[test]
fn who_came_late_has_what_it_resumed_from_and_nothing_else() {
    let mut setup = setup(ChannelOptions { cache: true, ..ChannelOptions::default() }, 1 << 20, NOBODY);
    let (writer, _) = setup.subscribe(0, &json!({"id": 7}));
    let subscribed = setup.world.received(writer).iter().map(Received::json).find(|told| told["id"] == 7).unwrap();
    for _ in 0..4 {
        setup.publish(writer, &json!({}));
        setup.world.settle();
    }
    let since = json!({"epoch": subscribed["position"]["epoch"], "offset": 1});
    let (resumed, resumed_session) = setup.subscribe(1, &json!({"since": since}));
    let (_, late) = setup.subscribe(1, &json!({}));
    let fates = |setup: &mut Setup, session| [1, 2, 3, 4].map(|offset| setup.fate(offset, session));
    let (early, here) = (Fate::TooEarly, Fate::Delivered);
    assert_eq!(fates(&mut setup, resumed_session), [early, here, here, here]);
    assert_eq!(fates(&mut setup, late), [early, early, early, here]);
    // Who has been there before may have got anything then.
    let channel = setup.channel.clone();
    for kind in ["unsubscribe", "subscribe"] {
        setup.world.send(resumed, &json!({"type": kind, "channel": channel}).to_string());
        setup.world.settle();
    }
    assert_eq!(setup.fate(1, resumed_session), Fate::Unknown);
    setup.world.cut(resumed);
    setup.world.settle();
    assert_eq!(setup.fate(1, resumed_session), Fate::Ended);
    let never = SessionId { serial: resumed_session.serial + 100, ..resumed_session };
    assert_eq!(setup.fate(1, never), Fate::NoSession);
    assert_eq!(setup.fate(1, SessionId { shard: 9, ..resumed_session }), Fate::NoSession);
}

#[test]
fn users_are_found_by_their_token_on_every_shard() {
    let mut setup = setup(ChannelOptions { presence: false, ..ChannelOptions::default() }, 1 << 20, EVERYBODY);
    let user = UserId::parse("ann").unwrap();
    for shard in [0, 1] {
        let grants = vec![Grant::new(ChannelMatch::all(), Operations::ALL)];
        let identity = Identity { user: user.clone(), info: None, grants, expires: None };
        let client = setup.world.connect(shard, &setup.app.clone(), NATIVE, Some(identity));
        setup.world.send(client, &json!({"type": "subscribe", "channel": setup.channel}).to_string());
    }
    let (other, _) = setup.subscribe(0, &json!({}));
    setup.publish(other, &json!({}));
    setup.world.settle();
    let trail = setup.at(1, Some(&Whom::User(user)));
    assert_eq!(trail.sessions().iter().map(|session| session.shard).collect::<Vec<_>>(), [0, 1]);
    assert!(trail.sessions().iter().all(|session| trail.fate(1, *session) == Fate::Delivered));
    let guests = setup.at(1, Some(&Whom::User(UserId::parse("nobody").unwrap())));
    assert!(guests.sessions().is_empty());
}

#[test]
fn slow_readers_meet_their_policy_and_it_is_remembered_of_all_of_them() {
    for (overflow, fates) in [
        (Overflow::DropOldest, [Fate::Dropped, Fate::Delivered]),
        (Overflow::Disconnect, [Fate::Unknown, Fate::Unknown]),
        (Overflow::KeepLatest, [Fate::Delivered, Fate::Delivered]),
    ] {
        let options = ChannelOptions { overflow, ..ChannelOptions::default() };
        let mut setup = setup(options, 1 << 20, NOBODY);
        let (slow, session) = setup.subscribe(1, &json!({}));
        let (writer, writer_session) = setup.subscribe(0, &json!({}));
        setup.world.set_reading(slow, false);
        for n in 0..30 {
            setup.publish(writer, &json!({"key": (n % 3).to_string()}));
            setup.world.settle();
        }
        let of = |setup: &mut Setup, offset| setup.fate(offset, session);
        assert_eq!([of(&mut setup, 1), of(&mut setup, 30)], fates, "{overflow:?}");
        assert_eq!(setup.fate(1, writer_session), Fate::Delivered);
        let all: Vec<Fate> = (1..=30).map(|offset| of(&mut setup, offset)).collect();
        if overflow == Overflow::Disconnect {
            assert_eq!(all.iter().filter(|fate| **fate == Fate::GivenUp).count(), 1, "{all:?}");
        }
    }
}

#[test]
fn what_is_replaced_names_what_stands_for_it() {
    let options = ChannelOptions { rate: 1, conflate_by: ConflateBy::Channel, ..ChannelOptions::default() };
    let mut setup = setup(options, 1 << 20, EVERYBODY);
    let (_, session) = setup.subscribe(1, &json!({}));
    let (writer, _) = setup.subscribe(0, &json!({}));
    // The first goes out at once.
    for _ in 0..4 {
        setup.publish(writer, &json!({}));
        setup.world.settle();
    }
    assert_eq!(
        [1, 2, 3, 4].map(|offset| setup.fate(offset, session)),
        [Fate::Delivered, Fate::Conflated, Fate::Conflated, Fate::Waiting]
    );
    let trail = setup.at(2, Some(&Whom::Session(session)));
    assert_eq!(trail.steps.last().unwrap().what, What::Replaced { by: 3 });
    setup.world.pass(Duration::from_secs(2));
    assert_eq!(setup.fate(4, session), Fate::Delivered);
}

#[test]
fn a_shard_that_is_behind_and_what_never_reached_one_are_told() {
    let mut setup = setup(ChannelOptions { history_size: 3, ..ChannelOptions::default() }, 700, NOBODY);
    let (_, session) = setup.subscribe(1, &json!({}));
    let writer = setup.world.connect(0, &setup.app.clone(), NATIVE, None);
    // No mail goes until all are published: the first has room, the others are read from a history that keeps three.
    (0..8).for_each(|_| setup.publish(writer, &json!({})));
    setup.world.settle();
    let shown = |setup: &mut Setup, offset| {
        let trail = setup.at(offset, None);
        steps(&trail).into_iter().map(|(_, what)| what).collect::<Vec<_>>()
    };
    assert_eq!(shown(&mut setup, 1), ["published", "fanned_out"]);
    assert_eq!(shown(&mut setup, 4), ["published", "behind", "trimmed", "missing"]);
    assert_eq!(shown(&mut setup, 8), ["published", "behind", "caught_up", "fanned_out"]);
    assert_eq!([1, 4, 8].map(|offset| setup.fate(offset, session)), [Fate::Delivered, Fate::Lost, Fate::Delivered]);
}

#[test]
fn an_id_finds_what_came_of_it_even_if_it_was_refused() {
    let mut setup = setup(ChannelOptions::default(), 1 << 20, NOBODY);
    let (writer, session) = setup.subscribe(1, &json!({}));
    setup.publish(writer, &json!({"idempotency_key": "a"}));
    setup.publish(writer, &json!({"idempotency_key": "a"}));
    setup.publish(writer, &json!({"idempotency_key": "b", "if_position": {"epoch": "ff", "offset": 7}}));
    setup.world.settle();
    let ask = |setup: &mut Setup, id: &str, channel: Option<&str>| {
        let channel = channel.map(|name| ChannelName::parse(name).unwrap());
        setup.ask(&About::Id { id: id.into(), channel }, None)
    };
    let trail = ask(&mut setup, "a", None);
    assert_eq!(steps(&trail), [(0, "asked"), (0, "published"), (0, "asked"), (0, "duplicate")]);
    assert!(trail.steps.iter().all(|step| step.session == Some(session)));
    assert_eq!([trail.steps[1].first, trail.steps[3].first], [1, 1]);
    let trail = ask(&mut setup, "b", None);
    assert_eq!(trail.steps[1].what, What::Refused { code: RejectCode::Conflict });
    assert_eq!(trail.steps[1].channel.as_str(), setup.channel);
    assert!(ask(&mut setup, "c", None).steps.is_empty() && ask(&mut setup, "a", Some("other")).steps.is_empty());
}

#[test]
fn what_is_forgotten_is_not_guessed_and_off_is_off() {
    let mut setup = setup(ChannelOptions::default(), 1 << 20, TraceOptions { steps: 10, sample: 0 });
    let (writer, session) = setup.subscribe(0, &json!({}));
    for _ in 0..20 {
        setup.publish(writer, &json!({}));
        setup.world.settle();
        setup.world.pass(Duration::from_millis(1));
    }
    assert_eq!((setup.fate(1, session), setup.fate(20, session)), (Fate::Unknown, Fate::Delivered));
    assert!(setup.at(1, None).since > Some(World::START));

    let mut setup = self::setup(ChannelOptions::default(), 1 << 20, TraceOptions { steps: 0, sample: 1 });
    let (writer, session) = setup.subscribe(0, &json!({}));
    setup.publish(writer, &json!({}));
    setup.world.settle();
    let trail = setup.at(1, Some(&Whom::Session(session)));
    assert_eq!((trail.steps.len(), trail.since, trail.fate(1, session)), (0, None, Fate::Unknown));
}
