//! Every transcript of the protocols' reference pages is run as it stands there.

use core::time::Duration;
use std::sync::Arc;
use switchboard_core::{
    App, AppId, ChannelMatch, ChannelName, Command, Control, Grant, Identity, Notices, Operations, Payload, Publish,
    Recipient, UserId,
};
use switchboard_dialects::Opening;
use switchboard_testkit::{ClientId, FakeDirectory, Received, World};

const NATIVE: &str = include_str!("../../../../docs/reference/native-protocol.md");
const PUSHER: &str = include_str!("../../../../docs/reference/pusher.md");

#[test]
fn the_reference_of_the_native_protocol_shows_what_happens() {
    run_page(NATIVE, 15);
}

#[test]
fn the_reference_of_pusher_shows_what_happens() {
    run_page(PUSHER, 4);
}

fn run_page(page: &str, transcripts: usize) {
    let mut count = 0;
    for block in page.split("```transcript ").skip(1) {
        let (setup, rest) = block.split_once('\n').unwrap();
        let (script, _) = rest.split_once("```").unwrap();
        run(setup.trim(), script);
        count += 1;
    }
    assert_eq!(count, transcripts, "transcripts on the page");
}

fn run(setup: &str, script: &str) {
    let all = || vec![Grant::new(ChannelMatch::all(), Operations::ALL)];
    let id = AppId::new("app");
    let identity = |name: &str, info: Option<&str>, grants| Identity {
        user: UserId::parse(name).unwrap(),
        info: info.map(Into::into),
        grants,
        expires: None,
    };
    let rooms = || vec![Grant::new(ChannelMatch::parse("room:*"), Operations::ALL)];
    let notices = Notices { count_for_subscribers: setup == "counted", ..Notices::default() };
    let anonymous = (setup != "must-authenticate").then(all);
    let open = Arc::new(App { anonymous, notices, ..App::new(id.clone()) });
    let tokens = [((id, "TOKEN-OF-ANN".to_owned()), identity("ann", None, rooms()))].into_iter().collect();
    let mut world = World::new(1, FakeDirectory { apps: vec![open.clone()], tokens, trusts: true });
    if setup == "resume" {
        for data in ["[1,0]", "[2,0]", "[2,1]"] {
            let channel = ChannelName::parse("scores").unwrap();
            let publish = Publish::new(Payload::Json(data.into()));
            world.submit(0, 0, &open, Command::Publish { channel, publish, exclude_self: false });
        }
    }
    let ann = (setup == "ann").then(|| identity("ann", Some(r#"{"name":"Ann"}"#), all()));
    let pusher = Opening::Pusher { refused: None };
    let opening =
        if ["pusher", "counted"].contains(&setup) { pusher.clone() } else { Opening::Native { batch: false } };
    let client = world.connect(0, &open, opening, ann);
    let mut bob = None;
    for line in script.lines().filter(|line| !line.is_empty()) {
        let (mark, rest) = line.split_once(' ').unwrap();
        match (mark, rest) {
            (">", message) => send(&mut world, client, message),
            ("<", message) => {
                world.settle();
                assert_eq!(world.next(client).map(|message| show(&message)).as_deref(), Some(message), "in {script}");
            }
            ("!", "100 milliseconds pass") => world.pass(Duration::from_millis(100)),
            ("!", "25 seconds pass") => world.pass(Duration::from_secs(25)),
            ("!", "bob joins room:lobby") => {
                let who = Some(identity("bob", None, all()));
                let joined = world.connect(0, &open, Opening::Native { batch: false }, who);
                world.send(joined, r#"{"type":"subscribe","channel":"room:lobby"}"#);
                bob = Some(joined);
            }
            ("!", "bob joins presence-room") => {
                let joined = world.connect(0, &open, pusher.clone(), None);
                let data =
                    r#"{"channel":"presence-room","auth":"app:SIGNATURE","channel_data":"{\"user_id\":\"bob\"}"}"#;
                world.send(joined, &format!(r#"{{"event":"pusher:subscribe","data":{data}}}"#));
                bob = Some(joined);
            }
            ("!", "bob sends client-wave to presence-room") => {
                let event = r#"{"event":"client-wave","channel":"presence-room","data":{"hands":2}}"#;
                world.send(bob.unwrap(), event);
            }
            ("!", "the application publishes headline on news") => {
                let payload = Payload::Json(r#"{"title":"Hello"}"#.into());
                let publish = Publish { event: Some("headline".into()), ..Publish::new(payload) };
                let channel = ChannelName::parse("news").unwrap();
                world.submit(0, 0, &open, Command::Publish { channel, publish, exclude_self: false });
            }
            ("!", "the application sends greeting to ann") => {
                let payload = Payload::Json(r#"{"text":"Hello, Ann"}"#.into());
                let publish = Publish { event: Some("greeting".into()), ..Publish::new(payload) };
                let channel = ChannelName::of_user(&UserId::parse("ann").unwrap());
                world.submit(0, 0, &open, Command::Publish { channel, publish, exclude_self: false });
            }
            ("!", "the application removes ann from room:lobby") => {
                let (whom, channel) = (ann_user(), ChannelName::parse("room:lobby").unwrap());
                world.submit(0, 0, &open, Command::Control(Control::Unsubscribe { whom, channel }));
            }
            ("!", "bob takes part in his own channel") => {
                let who = Some(identity("bob", None, all()));
                let joined = world.connect(0, &open, Opening::Native { batch: false }, who);
                world.send(joined, r##"{"type":"subscribe","channel":"#user"}"##);
                bob = Some(joined);
            }
            ("!", "bob signals offer to ann on room:lobby") => {
                let signal =
                    r#"{"type":"signal","channel":"room:lobby","user":"ann","event":"offer","data":{"sdp":"v=0"}}"#;
                world.send(bob.unwrap(), signal);
            }
            ("!", "bob leaves") => world.cut(bob.unwrap()),
            other => panic!("{other:?} in the reference"),
        }
    }
    world.settle();
    assert_eq!(world.next(client), None, "after {script}");
}

fn ann_user() -> Recipient {
    Recipient::User(UserId::parse("ann").unwrap())
}

fn send(world: &mut World, client: ClientId, message: &str) {
    match message.strip_prefix("binary ") {
        None => world.send(client, message),
        Some(binary) => {
            let (header, payload) = binary.rsplit_once(' ').unwrap();
            let mut frame = u16::try_from(header.len()).unwrap().to_be_bytes().to_vec();
            frame.extend_from_slice(header.as_bytes());
            frame.extend((0..payload.len()).step_by(2).map(|i| u8::from_str_radix(&payload[i..i + 2], 16).unwrap()));
            world.send_binary(client, &frame);
        }
    }
}

fn show(message: &Received) -> String {
    match message {
        Received::Text(text) => text.clone(),
        Received::Binary(bytes) => {
            let (length, rest) = bytes.split_first_chunk::<2>().unwrap();
            let (header, payload) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
            let payload: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("binary {} {payload}", core::str::from_utf8(header).unwrap())
        }
    }
}
