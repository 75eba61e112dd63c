//! Every way to see something × every state of the right to it × every protocol: it is seen with the right, and never without.

use core::time::Duration;
use serde_json::json;
use std::sync::Arc;
use switchboard_core::{
    App, AppId, CacheRequest, ChannelMatch, ChannelName, Command, Control, Grant, Identity, Operations, Payload,
    Position, Publish, Recipient, SessionId, Since, UserId,
};
use switchboard_dialects::Opening;
use switchboard_testkit::{ClientId, FakeDirectory, Received, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Native,
    Raw,
    Pusher,
}

/// By which way something could be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Live,
    History,
    Cached,
    Presence,
    Recovery,
    Pattern,
}

/// How it is with the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Granted,
    Missing,
    /// Of another channel.
    Elsewhere,
    /// Ended by itself, after the client had come.
    Expired,
    /// Taken away, after the client had come.
    Revoked,
    /// The same, in another application.
    OtherApp,
}

const WAYS: [Way; 6] = [Way::Live, Way::History, Way::Cached, Way::Presence, Way::Recovery, Way::Pattern];
const RIGHTS: [Right; 6] =
    [Right::Granted, Right::Missing, Right::Elsewhere, Right::Expired, Right::Revoked, Right::OtherApp];

/// Pusher's caches are told by their names.
const CHANNEL: &str = "cache-room";
const SECRET: &str = "secret";

impl Protocol {
    fn has(self, way: Way) -> bool {
        match self {
            Self::Native => true,
            Self::Raw => matches!(way, Way::Live | Way::Recovery),
            // Its presence takes a signature, which is the right.
            Self::Pusher => matches!(way, Way::Live | Way::Cached),
        }
    }

    fn opening(self, way: Way) -> Opening {
        let since = Since::Position(Position { epoch: switchboard_core::Epoch(0xe1), offset: 0 });
        match self {
            Self::Native => Opening::Native { batch: false },
            Self::Raw => Opening::Raw {
                channel: ChannelName::parse(CHANNEL).unwrap(),
                since: (way == Way::Recovery).then_some(since),
                echo: true,
            },
            Self::Pusher => Opening::Pusher { refused: None },
        }
    }

    /// What the client says to see it by that way.
    fn request(self, way: Way) -> Option<String> {
        let since = json!({"epoch": "e1", "offset": 0});
        let request = match (self, way) {
            (Self::Raw, _) => return None,
            (Self::Pusher, _) => json!({"event": "pusher:subscribe", "data": {"channel": CHANNEL}}),
            (_, Way::Live) => json!({"type": "subscribe", "channel": CHANNEL}),
            (_, Way::History) => json!({"type": "history", "channel": CHANNEL}),
            (_, Way::Cached) => json!({"type": "subscribe", "channel": CHANNEL, "cached": true}),
            (_, Way::Presence) => json!({"type": "presence", "channel": CHANNEL}),
            (_, Way::Recovery) => json!({"type": "subscribe", "channel": CHANNEL, "since": since}),
            (_, Way::Pattern) => json!({"type": "subscribe", "pattern": "#"}),
        };
        Some(request.to_string())
    }
}

fn identity(user: &str, pattern: &str, operations: Operations, seconds: Option<u64>) -> Identity {
    let expires = seconds.map(|seconds| World::START + Duration::from_secs(seconds));
    let grants = vec![Grant { pattern: ChannelMatch::parse(pattern), operations, expires }];
    Identity { user: UserId::parse(user).unwrap(), info: None, grants, expires: None }
}

fn publish(world: &mut World, app: &Arc<App>) {
    let publish = Publish { cache: CacheRequest::Keep, ..Publish::new(Payload::Text(SECRET.into())) };
    let channel = ChannelName::parse(CHANNEL).unwrap();
    world.submit(0, 0, app, Command::Publish { channel, publish, exclude_self: false });
    world.settle();
}

/// The right goes while the client is there.
fn take_away(world: &mut World, app: &Arc<App>, client: ClientId, protocol: Protocol, right: Right) {
    match right {
        Right::Expired => world.pass(Duration::from_secs(10)),
        Right::Revoked if protocol == Protocol::Native => {
            world.send(client, r#"{"type":"authenticate","token":"nothing"}"#);
        }
        Right::Revoked => {
            let whom = Recipient::Session(SessionId { node: 0, shard: 0, serial: 2 });
            let channel = ChannelName::parse(CHANNEL).unwrap();
            world.submit(0, 9, app, Command::Control(Control::Unsubscribe { whom, channel }));
        }
        _ => {}
    }
    world.settle();
}

/// Whether anything that was hidden reached the client.
fn sees(protocol: Protocol, way: Way, right: Right) -> bool {
    let [app, other] = ["app", "other"].map(|name| Arc::new(App::new(AppId::new(name))));
    let nothing = identity("ann", "none", Operations::ALL, None);
    let tokens = [((app.id.clone(), "nothing".to_owned()), nothing)].into_iter().collect();
    let apps = vec![app.clone(), other.clone()];
    let mut world = World::new(1, FakeDirectory { apps, tokens, trusts: true });
    let member = identity(SECRET, "*", Operations::ALL, None);
    let member = world.connect(0, &app, Opening::Native { batch: false }, Some(member));
    world.send(member, &json!({"type": "subscribe", "channel": CHANNEL}).to_string());
    world.settle();
    let is_live = matches!(way, Way::Live | Way::Pattern);
    if !is_live {
        publish(&mut world, &app);
    }
    let who = match right {
        Right::Granted | Right::Revoked | Right::OtherApp => identity("ann", "cache-*", Operations::ALL, None),
        Right::Missing => identity("ann", "cache-*", Operations::SIGNAL | Operations::PUBLISH, None),
        Right::Elsewhere => identity("ann", "cache-room2", Operations::ALL, None),
        Right::Expired => identity("ann", "cache-*", Operations::ALL, Some(5)),
    };
    let home = if right == Right::OtherApp { &other } else { &app };
    // What a connection consists of it cannot ask for later.
    if protocol == Protocol::Raw && way == Way::Recovery && right == Right::Expired {
        world.pass(Duration::from_secs(10));
    }
    let client = world.connect(0, home, protocol.opening(way), Some(who));
    if is_live {
        if let Some(request) = protocol.request(way) {
            world.send(client, &request);
        }
        world.settle();
        take_away(&mut world, home, client, protocol, right);
        publish(&mut world, &app);
    } else {
        take_away(&mut world, home, client, protocol, right);
        if let Some(request) = protocol.request(way) {
            world.send(client, &request);
        }
    }
    world.settle();
    world.received(client).iter().any(|message| match message {
        Received::Text(text) => text.contains(SECRET),
        Received::Binary(bytes) => bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()),
    })
}

#[test]
fn nothing_is_seen_without_the_right_to_it() {
    let mut count = 0;
    for protocol in [Protocol::Native, Protocol::Raw, Protocol::Pusher] {
        for way in WAYS.into_iter().filter(|way| protocol.has(*way)) {
            for right in RIGHTS {
                // Such a right was never taken away: these protocols show it only as they begin.
                let never = protocol != Protocol::Native && way != Way::Live && right == Right::Revoked;
                if never {
                    continue;
                }
                assert_eq!(sees(protocol, way, right), right == Right::Granted, "{protocol:?} {way:?} {right:?}");
                count += 1;
            }
        }
    }
    assert_eq!(count, 6 * 6 + 11 + 11);
}

/// A protected channel is shown by a pattern only to those whose grants name such channels; by its name also to those who may subscribe to everything.
#[test]
fn a_pattern_shows_no_protected_channel_that_no_grant_names() {
    for (pattern, by_name, by_pattern) in [
        ("*", true, false),
        ("private-*", true, true),
        ("private-a", true, true),
        ("priv*", true, false),
        ("x*", false, false),
    ] {
        for anonymous in [false, true] {
            let grants = vec![Grant::new(ChannelMatch::parse(pattern), Operations::ALL)];
            let app = Arc::new(App {
                protected: vec!["private-".into(), "presence-".into()],
                anonymous: anonymous.then(|| grants.clone()),
                ..App::new(AppId::new("app"))
            });
            let ann = Identity { user: UserId::parse("ann").unwrap(), info: None, grants, expires: None };
            let mut world = World::new(1, FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() });
            let mut hears = |request: serde_json::Value| {
                let who = (!anonymous).then(|| ann.clone());
                let client = world.connect(0, &app, Opening::Native { batch: false }, who);
                world.send(client, &request.to_string());
                world.settle();
                let channel = ChannelName::parse("private-a").unwrap();
                let publish = Publish::new(Payload::Text(SECRET.into()));
                world.submit(0, 0, &app, Command::Publish { channel, publish, exclude_self: false });
                world.settle();
                world.received(client).iter().any(|message| message.json()["data"] == SECRET)
            };
            let named = hears(json!({"type": "subscribe", "channel": "private-a"}));
            // Without a token a name takes a grant of its kind too.
            assert_eq!(named, by_name && (!anonymous || by_pattern), "{pattern} {anonymous}");
            assert_eq!(hears(json!({"type": "subscribe", "pattern": "#"})), by_pattern, "{pattern} {anonymous}");
        }
    }
}
