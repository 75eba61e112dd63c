//! Whatever the server says and whenever it says it: nothing panics, timeouts make progress, and everything ends when it is closed.

use crate::support::{Script, WELCOME, publish};
use core::time::Duration;
use proptest::prelude::*;
use serde_json::value::RawValue;
use switchboard_client::core::{ConnectFailure, Output, Request, SubscriptionId, TokenFailure, Tokens, Wanted};
use switchboard_client::ws::Message as Frame;
use switchboard_client::{Config, Data, Position, Receiver};

#[derive(Clone, Debug)]
enum Step {
    Connected,
    ConnectFailed(u8),
    Token(u8),
    Closed(Option<u16>),
    Hear(String),
    HearBytes(Vec<u8>),
    Wait,
    Pass(u16),
    Transmit(u8),
    Subscribe(u8, bool),
    Unsubscribe(u8),
    FallBehind(u8),
    CatchUp(u8),
    Request(u8),
    Connect,
    Close,
}

/// Messages with members that may be right, wrong or missing.
fn message() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        "welcome",
        "ok",
        "error",
        "message",
        "batch",
        "caught_up",
        "gap",
        "signal",
        "unsubscribed",
        "join",
        "leave",
        "token_expiring",
        "ping",
        "pong",
        "disconnect",
        "unheard",
    ]);
    let members = prop::sample::subsequence(
        vec![
            r#""id":ID"#,
            r#""channel":"a""#,
            r#""channel":"b""#,
            r#""channel":"p/b""#,
            r#""pattern":"p/+""#,
            r#""conflated":NUMBER"#,
            r#""total":NUMBER"#,
            r#""data":null"#,
            r#""data":"AP8Q""#,
            r#""encoding":"base64""#,
            r#""offset":NUMBER"#,
            r#""position":{"epoch":"e","offset":NUMBER}"#,
            r#""recovered":true"#,
            r#""recovered":false"#,
            r#""code":"unavailable""#,
            r#""code":4002"#,
            r#""temporary":true"#,
            r#""version":1"#,
            r#""heartbeat_ms":NUMBER"#,
            r#""limits":{"message_bytes":60}"#,
            r#""after_ms":NUMBER"#,
            r#""reconnect":true"#,
            r#""from":NUMBER"#,
            r#""from":{"user":"u","session":"0-1"}"#,
            r#""from":{"user":7}"#,
            r#""sessions":NUMBER"#,
            r#""to":NUMBER"#,
            r#""user":"u""#,
            r#""publications":[{"data":1,"offset":NUMBER}]"#,
            r#""publications":[7]"#,
            r#""users":[{}]"#,
            r#""messages":[{"type":"message","channel":"a","data":1,"offset":NUMBER}]"#,
            r#""messages":[1]"#,
        ],
        0..8,
    );
    let number = prop_oneof![0..20_u64, Just(u64::MAX)];
    (kind, members, 1..30_u64, number).prop_map(|(kind, members, id, number)| {
        let members: Vec<String> = members
            .iter()
            .map(|member| member.replace("ID", &id.to_string()).replace("NUMBER", &number.to_string()))
            .collect();
        format!(r#"{{"type":"{kind}"{}{}}}"#, if members.is_empty() { "" } else { "," }, members.join(","))
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Connected),
        1 => (0..3_u8).prop_map(Step::ConnectFailed),
        2 => (0..3_u8).prop_map(Step::Token),
        1 => prop::option::of(prop_oneof![Just(1001), Just(4100), 1000..5000_u16]).prop_map(Step::Closed),
        4 => Just(Step::Hear(WELCOME.into())),
        12 => message().prop_map(Step::Hear),
        1 => ".{0,20}".prop_map(Step::Hear),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::HearBytes),
        4 => Just(Step::Wait),
        3 => any::<u16>().prop_map(Step::Pass),
        8 => (1..5_u8).prop_map(Step::Transmit),
        4 => (0..5_u8, any::<bool>()).prop_map(|(channel, since)| Step::Subscribe(channel, since)),
        1 => (0..9_u8).prop_map(Step::Unsubscribe),
        1 => (0..9_u8).prop_map(Step::FallBehind),
        2 => (0..9_u8).prop_map(Step::CatchUp),
        4 => (0..4_u8).prop_map(Step::Request),
        1 => Just(Step::Connect),
        1 => prop::bool::weighted(0.1).prop_map(|close| if close { Step::Close } else { Step::Wait }),
    ]
}

/// True if a request was taken.
fn apply(script: &mut Script, subscriptions: &mut Vec<SubscriptionId>, step: Step) -> bool {
    let now = script.now;
    let at = |index: u8, all: &[SubscriptionId]| all.get(usize::from(index)).copied();
    match step {
        Step::Connected => script.core.on_connected(now),
        Step::ConnectFailed(0) => script.core.on_connect_failed(now, ConnectFailure::Unauthorized("401".into())),
        Step::ConnectFailed(_) => script.core.on_connect_failed(now, ConnectFailure::Temporary("x".into())),
        Step::Token(0) => script.core.on_token(now, Err(TokenFailure::Temporary("x".into()))),
        Step::Token(_) => script.core.on_token(now, Ok("T".into())),
        Step::Closed(code) => script.core.on_closed(now, code, "x"),
        Step::Hear(text) => script.hear(&text),
        Step::HearBytes(bytes) => script.core.receive(now, &Frame::from(bytes)),
        Step::Wait if script.core.poll_timeout().is_some() => {
            script.wait();
        }
        Step::Wait => {}
        Step::Pass(millis) => script.pass(Duration::from_millis(millis.into())),
        Step::Transmit(frames) => (0..frames).for_each(|_| drop(script.core.poll_transmit(now))),
        Step::Subscribe(channel, since) => {
            let since = since.then(|| Position::new("e", 3));
            let wanted = match channel {
                0..3 => Wanted::channel(["a", "b", "c"][usize::from(channel)]),
                3 => Wanted::pattern("p/+"),
                _ => Wanted::pattern("#"),
            };
            subscriptions.extend(script.core.subscribe(Wanted { since, presence: true, ..wanted }));
        }
        Step::Unsubscribe(index) => {
            if let Some(id) = at(index, subscriptions) {
                script.core.unsubscribe(id);
            }
        }
        Step::FallBehind(index) => {
            if let Some(id) = at(index, subscriptions) {
                script.core.fall_behind(id);
            }
        }
        Step::CatchUp(index) => {
            if let Some(id) = at(index, subscriptions) {
                script.core.catch_up(id);
            }
        }
        Step::Request(kind) => {
            let channel = String::from("a");
            let request = match kind {
                0 => Request::Presence { channel, limit: None },
                1 => Request::History { channel, since: None, before: None, limit: None },
                2 => Request::Signal {
                    channel,
                    to: Receiver::User("u".into()),
                    data: RawValue::NULL.to_owned(),
                    event: None,
                },
                _ => publish(&channel, Data::json(&kind).unwrap()),
            };
            // The queue may be full, or the client ended.
            return script.core.request(now, &request).is_ok();
        }
        Step::Connect => script.core.connect(now),
        Step::Close => script.core.close(now),
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_everything_ends(
        fresh in any::<bool>(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut config = Config::default();
        (config.queue_requests_max, config.in_flight_max) = (6, 3);
        let mut script = Script::new(config, if fresh { Tokens::Fresh } else { Tokens::None });
        script.core.connect(script.now);
        let mut subscriptions = Vec::new();
        let (mut taken, mut answered) = (0_u32, 0_u32);
        for step in steps {
            taken += u32::from(apply(&mut script, &mut subscriptions, step));
            // A timeout that is due does something: it is not due for ever.
            for round in 0.. {
                prop_assert!(round < 20, "timeouts without progress");
                match script.core.poll_timeout() {
                    Some(at) if at <= script.now => script.core.handle_timeout(script.now),
                    _ => break,
                }
            }
            for output in script.outputs() {
                answered += u32::from(matches!(output, Output::Answer { .. }));
            }
        }
        script.core.close(script.now);
        script.core.poll_transmit(script.now);
        script.pass(Duration::from_secs(6));
        prop_assert!(script.core.ended().is_some());
        answered += u32::try_from(script.outputs().iter().filter(|output| matches!(output, Output::Answer { .. })).count()).unwrap();
        prop_assert_eq!(answered, taken, "every request has one answer");
        prop_assert!(script.core.poll_timeout().is_none() && script.core.poll_transmit(script.now).is_none());
    }
}
