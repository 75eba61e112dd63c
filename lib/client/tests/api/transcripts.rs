//! Conversations: what the server says, what the client answers and tells the application.

use crate::support::{Script, WELCOME, publish};
use bytes::Bytes;
use core::time::Duration;
use switchboard_client::core::{Request, TokenFailure, Tokens, Wanted};
use switchboard_client::{Cache, Config, Data, Position, ws::Message as Frame};

#[test]
fn a_subscription_and_a_publication() {
    let mut script = Script::online();
    script.core.subscribe(Wanted::channel("room:lobby")).unwrap();
    assert_eq!(script.says(), [r#"{"type":"subscribe","id":2,"channel":"room:lobby"}"#]);
    script.hear(r#"{"type":"ok","id":2,"channel":"room:lobby","position":{"epoch":"e1","offset":0}}"#);
    let request = Request::Publish {
        channel: "room:lobby".into(),
        data: Data::json(&"a\"b").unwrap(),
        event: Some("said".into()),
        key: Some("k".into()),
        exclude_self: true,
        idempotency_key: Some("i".into()),
        if_position: Some(Position::new("e", 4)),
        cache: Some(Cache::Keep),
    };
    script.core.request(script.now, &request).unwrap();
    assert_eq!(
        script.says(),
        [
            r#"{"type":"publish","id":3,"channel":"room:lobby","event":"said","key":"k","exclude_self":true,"idempotency_key":"i","if_position":{"epoch":"e","offset":4},"cache":"keep","data":"a\"b"}"#
        ]
    );
    script.hear(r#"{"type":"message","channel":"room:lobby","data":[1,2],"offset":1,"timestamp":1700000000000,"publisher":{"user":"bob"}}"#);
    script.hear(r#"{"type":"ok","id":3,"channel":"room:lobby","position":{"epoch":"e1","offset":2}}"#);
    script.hear(r#"{"type":"batch","messages":[{"type":"message","channel":"room:lobby","data":7,"offset":2,"timestamp":1},{"type":"message","channel":"room:lobby","data":8,"offset":3,"timestamp":1}]}"#);
    assert_eq!(
        script.shown(),
        [
            r#"subscribed Ok(Subscribed { position: Some(Position { epoch: "e1", offset: 0 }), recovered: None, users: [] })"#,
            "e1:1 [1,2]",
            r#"answer Ok(Published(Published { position: Position { epoch: "e1", offset: 2 }, duplicate: false }))"#,
            "e1:2 7",
            "e1:3 8",
        ]
    );
}

#[test]
fn bytes_travel_in_binary_frames() {
    let mut script = Script::online();
    script.core.subscribe(Wanted::channel("cam")).unwrap();
    script.says();
    script.hear(r#"{"type":"ok","id":2,"channel":"cam","position":{"epoch":"e","offset":0}}"#);
    script.core.request(script.now, &publish("cam", Data::Bytes(Bytes::from_static(b"\x00\xff")))).unwrap();
    let frame = script.core.poll_transmit(script.now).unwrap();
    let header = br#"{"type":"publish","id":3,"channel":"cam"}"#;
    let expected = [&[0, u8::try_from(header.len()).unwrap()], &header[..], b"\x00\xff"].concat();
    assert!(matches!(&frame, Frame::Binary(bytes) if bytes[..] == expected[..]), "{frame:?}");
    let header = br#"{"type":"message","channel":"cam","offset":1,"timestamp":1}"#;
    let frame = [&[0, u8::try_from(header.len()).unwrap()], &header[..], b"\x01\x02"].concat();
    script.core.receive(script.now, &Frame::from(frame));
    assert_eq!(script.shown()[1], "e:1 \u{1}\u{2}");
}

#[test]
fn a_lost_connection_resumes_behind_what_was_handed_over() {
    let mut script = Script::online();
    script.core.subscribe(Wanted::channel("scores")).unwrap();
    script.says();
    script.hear(r#"{"type":"ok","id":2,"channel":"scores","position":{"epoch":"e1","offset":4}}"#);
    script.hear(r#"{"type":"message","channel":"scores","data":1,"offset":5,"timestamp":1}"#);
    script.core.on_closed(script.now, None, "reset");
    script.outputs();
    assert!(script.wait() <= Duration::from_millis(500));
    script.welcome();
    let ask = r#"{"type":"subscribe","id":3,"channel":"scores","since":{"epoch":"e1","offset":5}}"#;
    assert_eq!(script.says(), [ask]);
    script.outputs();
    script.hear(r#"{"type":"ok","id":3,"channel":"scores","position":{"epoch":"e1","offset":7},"recovered":true}"#);
    script.hear(r#"{"type":"message","channel":"scores","data":2,"offset":6,"timestamp":1}"#);
    // Lost again in the middle of the replay.
    script.core.on_closed(script.now, Some(4101), "the client was silent for too long");
    script.wait();
    script.welcome();
    assert_eq!(script.says(), [ask.replace(r#""id":3"#, r#""id":4"#).replace("5}", "6}")]);
    script.hear(r#"{"type":"ok","id":4,"channel":"scores","position":{"epoch":"e1","offset":8},"recovered":true}"#);
    script.hear(r#"{"type":"message","channel":"scores","data":3,"offset":7,"timestamp":1}"#);
    // A repetition would be a fault of the server's; it is not passed on.
    script.hear(r#"{"type":"message","channel":"scores","data":3,"offset":7,"timestamp":1}"#);
    script.hear(r#"{"type":"caught_up","channel":"scores"}"#);
    let shown = script.shown();
    let told: Vec<_> = shown.iter().filter(|line| !line.contains("onnect")).map(String::as_str).collect();
    assert_eq!(told, ["Recovered { users: [] }", "e1:6 2", "Recovered { users: [] }", "e1:7 3", "CaughtUp"]);
    // Behind the replay's end, although the last message was before it.
    script.core.on_closed(script.now, None, "reset");
    script.wait();
    script.welcome();
    assert!(script.says()[0].contains(r#""since":{"epoch":"e1","offset":8}"#));
}

#[test]
fn a_lost_position_is_told_and_the_new_one_kept() {
    let mut script = Script::online();
    script.core.subscribe(Wanted { since: Some(Position::new("old", 9)), ..Wanted::channel("scores") }).unwrap();
    assert_eq!(script.says(), [r#"{"type":"subscribe","id":2,"channel":"scores","since":{"epoch":"old","offset":9}}"#]);
    script.hear(r#"{"type":"ok","id":2,"channel":"scores","position":{"epoch":"new","offset":3},"recovered":false}"#);
    script.hear(r#"{"type":"message","channel":"scores","data":1,"offset":4,"timestamp":1}"#);
    script.hear(r#"{"type":"gap","channel":"scores","from":5,"to":8}"#);
    let position = r#"Some(Position { epoch: "new", offset: 3 })"#;
    assert_eq!(
        script.shown(),
        [
            format!("subscribed Ok(Subscribed {{ position: {position}, recovered: Some(false), users: [] }})"),
            format!("Lost {{ position: {position}, users: [] }}"),
            "new:4 1".into(),
            r#"Gap { channel: "scores", from: 5, to: 8 }"#.into(),
        ]
    );
    script.core.on_closed(script.now, None, "reset");
    script.wait();
    script.welcome();
    assert!(script.says()[0].contains(r#""since":{"epoch":"new","offset":8}"#), "a gap will not be filled");
}

#[test]
fn presence() {
    let mut script = Script::online();
    script.core.subscribe(Wanted { presence: true, ..Wanted::channel("a") }).unwrap();
    assert_eq!(script.says(), [r#"{"type":"subscribe","id":2,"channel":"a","presence":true}"#]);
    script.hear(r#"{"type":"ok","id":2,"channel":"a","position":{"epoch":"e","offset":0},"users":[{"user":"ann","connections":2,"info":{"x":1}}]}"#);
    script.hear(r#"{"type":"join","channel":"a","user":"bob","info":{"name":"Bob"}}"#);
    script.hear(r#"{"type":"leave","channel":"a","user":"bob"}"#);
    script.core.request(script.now, &Request::Presence { channel: "a".into(), limit: None }).unwrap();
    assert_eq!(script.says(), [r#"{"type":"presence","id":3,"channel":"a"}"#]);
    script.hear(r#"{"type":"ok","id":3,"channel":"a","users":[{"user":"ann","connections":2}],"connections":2}"#);
    let shown = script.shown();
    assert!(shown[0].contains(r#"User { user: "ann", connections: 2, info: Some(RawValue({"x":1})) }"#), "{shown:?}");
    assert_eq!(shown[1], r#"Join(Member { user: "bob", info: Some(RawValue({"name":"Bob"})) })"#);
    assert_eq!(shown[2], r#"Leave(Member { user: "bob", info: None })"#);
    assert!(shown[3].contains("connections: 2 })"), "{shown:?}");
}

#[test]
fn a_rate_and_a_kept_value_are_asked_for_each_time() {
    let mut script = Script::online();
    let wanted = Wanted { rate: Some(10), cached: true, ..Wanted::channel("prices") };
    script.core.subscribe(wanted).unwrap();
    assert_eq!(script.says(), [r#"{"type":"subscribe","id":2,"channel":"prices","rate":10,"cached":true}"#]);
    script.hear(r#"{"type":"ok","id":2,"channel":"prices","position":{"epoch":"e","offset":2}}"#);
    script
        .hear(r#"{"type":"message","channel":"prices","data":5,"offset":5,"timestamp":1,"key":"ACME","conflated":2}"#);
    let shown = format!("{:?}", script.outputs());
    assert!(shown.contains(r#"key: Some("ACME")"#) && shown.contains("conflated: 2"), "{shown}");
    script.core.on_closed(script.now, None, "reset");
    script.wait();
    script.welcome();
    assert_eq!(
        script.says(),
        [r#"{"type":"subscribe","id":3,"channel":"prices","since":{"epoch":"e","offset":5},"rate":10,"cached":true}"#]
    );
}

#[test]
fn patterns_show_what_no_name_does_and_cannot_be_resumed() {
    let mut script = Script::online();
    script.core.subscribe(Wanted::pattern("a/+")).unwrap();
    script.core.subscribe(Wanted::pattern("a/#")).unwrap();
    script.core.subscribe(Wanted::channel("a/x")).unwrap();
    assert!(script.core.subscribe(Wanted::pattern("a/+")).is_err());
    let asked = script.says();
    assert_eq!(asked[0], r#"{"type":"subscribe","id":5,"pattern":"a/+"}"#, "{asked:?}");
    script.hear(r##"{"type":"ok","id":6,"pattern":"a/#"}"##);
    script.hear(r#"{"type":"message","channel":"a/y","data":1,"offset":7,"timestamp":1}"#);
    script.hear(r#"{"type":"ok","id":5,"pattern":"a/+"}"#);
    script.hear(r#"{"type":"ok","id":7,"channel":"a/x","position":{"epoch":"e","offset":0}}"#);
    script.hear(r#"{"type":"message","channel":"a/y","data":2,"offset":8,"timestamp":1}"#);
    script.hear(r#"{"type":"message","channel":"a/x","data":3,"offset":1,"timestamp":1}"#);
    script.hear(r#"{"type":"message","channel":"b","data":4,"offset":1,"timestamp":1}"#);
    script.hear(r#"{"type":"gap","channel":"a/y","from":9,"to":9}"#);
    let live = "subscribed Ok(Subscribed { position: None, recovered: None, users: [] })";
    let gap = r#"Gap { channel: "a/y", from: 9, to: 9 }"#;
    let named = r#"subscribed Ok(Subscribed { position: Some(Position { epoch: "e", offset: 0 }), recovered: None, users: [] })"#;
    assert_eq!(
        script.shown(),
        [live, "a/y 7 1", live, named, "a/y 8 2", "a/y 8 2", "e:1 3", gap, gap],
        "one has it before the other is live, then both have it, and by its name one alone"
    );
    script.core.on_closed(script.now, None, "reset");
    script.wait();
    script.welcome();
    assert_eq!(script.says()[0], r#"{"type":"subscribe","id":8,"pattern":"a/+"}"#);
    script.hear(r#"{"type":"ok","id":8,"pattern":"a/+"}"#);
    script.hear(r#"{"type":"unsubscribed","pattern":"a/+","code":"permission_denied"}"#);
    let shown = script.shown();
    let told: Vec<_> = shown.iter().filter(|line| !line.contains("onnect")).map(String::as_str).collect();
    assert_eq!(told, ["Lost { position: None, users: [] }", r#"Unsubscribed(ByServer("permission_denied"))"#]);
}

#[test]
fn a_users_own_channel_is_one() {
    let mut script = Script::online();
    script.core.subscribe(Wanted::channel("#user")).unwrap();
    script.core.subscribe(Wanted::pattern("user")).unwrap();
    let said = script.says();
    assert!(said[0].contains(r##""channel":"#user""##) && said[1].contains(r#""pattern":"user""#), "{said:?}");
}

#[test]
fn history() {
    let mut script = Script::online();
    let request =
        Request::History { channel: "a".into(), since: Some(Position::new("e", 1)), before: None, limit: Some(2) };
    script.core.request(script.now, &request).unwrap();
    assert_eq!(
        script.says(),
        [r#"{"type":"history","id":1,"channel":"a","since":{"epoch":"e","offset":1},"limit":2}"#]
    );
    script.hear(r#"{"type":"ok","id":1,"channel":"a","position":{"epoch":"e","offset":3},"publications":[{"data":"AP8Q","encoding":"base64","offset":2,"timestamp":1},{"data":null,"offset":3,"timestamp":1}],"more":true}"#);
    let shown = script.shown();
    assert!(shown[0].contains(r#"Bytes(b"\0\xff\x10")"#) && shown[0].contains("Json(RawValue(null))"), "{shown:?}");
    assert!(shown[0].contains("more: true"), "{shown:?}");
}

#[test]
fn a_subscription_that_is_refused() {
    let mut script = Script::online();
    script.core.subscribe(Wanted::channel("secret")).unwrap();
    script.says();
    script.hear(r#"{"type":"error","id":2,"code":"rate_limited","message":"slow down","temporary":true}"#);
    assert!(script.shown().is_empty(), "a temporary refusal is tried again");
    assert!(script.says().is_empty());
    script.wait();
    assert_eq!(script.says(), [r#"{"type":"subscribe","id":3,"channel":"secret"}"#]);
    script.hear(r#"{"type":"error","id":3,"code":"permission_denied","message":"no right","temporary":false}"#);
    assert!(script.shown()[0].starts_with("subscribed Err(Refused(Refusal { code: \"permission_denied\""));
    script.core.subscribe(Wanted::channel("secret")).unwrap();

    // After a reconnection it is an event.
    let mut script = Script::online();
    script.core.subscribe(Wanted::channel("secret")).unwrap();
    script.says();
    script.hear(r#"{"type":"ok","id":2,"channel":"secret","position":{"epoch":"e","offset":0}}"#);
    script.core.on_closed(script.now, None, "reset");
    script.wait();
    script.welcome();
    script.says();
    script.outputs();
    script.hear(r#"{"type":"error","id":3,"code":"permission_denied","message":"no right","temporary":false}"#);
    assert!(script.shown()[0].starts_with("Unsubscribed(Refused(Refusal { code: \"permission_denied\""));
}

#[test]
fn a_subscription_that_the_server_ends() {
    let mut script = Script::online();
    script.core.subscribe(Wanted::channel("a")).unwrap();
    script.core.subscribe(Wanted::channel("b")).unwrap();
    script.says();
    script.hear(r#"{"type":"ok","id":3,"channel":"a","position":{"epoch":"e","offset":0}}"#);
    script.hear(r#"{"type":"ok","id":4,"channel":"b","position":{"epoch":"e","offset":5}}"#);
    script.outputs();
    script.hear(r#"{"type":"unsubscribed","channel":"a","code":"permission_denied"}"#);
    assert_eq!(script.shown(), [r#"Unsubscribed(ByServer("permission_denied"))"#]);
    script.hear(r#"{"type":"unsubscribed","channel":"b","code":"unavailable"}"#);
    assert!(script.shown().is_empty());
    script.wait();
    assert_eq!(script.says(), [r#"{"type":"subscribe","id":5,"channel":"b","since":{"epoch":"e","offset":5}}"#]);
}

#[test]
fn unsubscribing_and_subscribing_again() {
    let mut script = Script::online();
    let first = script.core.subscribe(Wanted::channel("a")).unwrap();
    script.says();
    script.core.unsubscribe(first);
    script.core.subscribe(Wanted::channel("a")).unwrap();
    assert_eq!(
        script.says(),
        [r#"{"type":"unsubscribe","channel":"a"}"#, r#"{"type":"subscribe","id":4,"channel":"a"}"#]
    );
    // The answer to the first is nobody's, and its messages too.
    script.hear(r#"{"type":"ok","id":2,"channel":"a","position":{"epoch":"e","offset":0}}"#);
    script.hear(r#"{"type":"message","channel":"a","data":1,"offset":1,"timestamp":1}"#);
    assert!(script.shown().is_empty());
    script.hear(r#"{"type":"ok","channel":"a"}"#);
    script.hear(r#"{"type":"ok","id":4,"channel":"a","position":{"epoch":"e","offset":1}}"#);
    assert!(script.shown()[0].starts_with("subscribed Ok"));
    // One that the server never heard of is not unsubscribed.
    let never = script.core.subscribe(Wanted::channel("b")).unwrap();
    script.core.unsubscribe(never);
    assert!(script.says().is_empty());
}

#[test]
fn a_reader_that_falls_behind_is_stopped_and_resumed() {
    let mut script = Script::online();
    let id = script.core.subscribe(Wanted::channel("a")).unwrap();
    script.says();
    script.hear(r#"{"type":"ok","id":2,"channel":"a","position":{"epoch":"e","offset":0}}"#);
    script.hear(r#"{"type":"message","channel":"a","data":1,"offset":1,"timestamp":1}"#);
    script.core.fall_behind(id);
    script.outputs();
    assert_eq!(script.says(), [r#"{"type":"unsubscribe","channel":"a"}"#]);
    script.hear(r#"{"type":"message","channel":"a","data":2,"offset":2,"timestamp":1}"#);
    script.core.on_closed(script.now, None, "reset");
    script.wait();
    script.welcome();
    assert!(script.says().is_empty(), "a new connection does not resume what nobody reads");
    script.core.catch_up(id);
    assert_eq!(script.says(), [r#"{"type":"subscribe","id":3,"channel":"a","since":{"epoch":"e","offset":1}}"#]);
    assert!(!script.shown().iter().any(|line| line.starts_with("e:2")));
}

#[test]
fn tokens_are_fetched_for_each_connection_and_renewed() {
    let mut script = Script::new(Config::default(), Tokens::Fresh);
    script.core.connect(script.now);
    assert_eq!(script.shown(), ["Connecting", "FetchToken"]);
    script.core.on_token(script.now, Err(TokenFailure::Temporary("503".into())));
    assert!(script.shown()[0].starts_with(r#"Disconnected { cause: Token("503")"#));
    script.wait();
    script.outputs();
    script.core.on_token(script.now, Ok("T1".into()));
    assert_eq!(script.shown(), [r#"Connect { token: Some("T1") }"#]);
    script.welcome();
    script.outputs();
    script.hear(r#"{"type":"token_expiring","expires_at":1700000000000}"#);
    assert_eq!(script.shown(), ["FetchToken"]);
    script.core.on_token(script.now, Ok("T2".into()));
    assert_eq!(script.says(), [r#"{"type":"authenticate","id":1,"token":"T2"}"#]);
    script.hear(r#"{"type":"error","id":1,"code":"bad_token","message":"no","temporary":false}"#);
    assert_eq!(script.shown(), [r#"RefreshFailed("no (bad_token)")"#]);
    script.wait();
    assert_eq!(script.shown(), ["FetchToken"]);
    script.core.on_token(script.now, Ok("T3".into()));
    script.says();
    script.hear(r#"{"type":"ok","id":2,"user":"ann"}"#);
    assert!(script.shown().is_empty());
    // The next token expires too.
    script.hear(r#"{"type":"token_expiring","expires_at":1700000000000}"#);
    assert_eq!(script.shown(), ["FetchToken"]);
    script.hear(r#"{"type":"disconnect","code":4002,"reason":"the token expired","reconnect":false}"#);
    assert!(script.shown()[1].starts_with("Disconnected"), "a fresh token is what had to change");
    script.wait();
    assert_eq!(script.shown(), ["Connecting", "FetchToken"]);
    script.core.on_token(script.now, Err(TokenFailure::Final("logged out".into())));
    assert_eq!(script.shown(), [r#"Ended(NoToken("logged out"))"#]);
}

#[test]
fn the_unknown_is_ignored_and_nonsense_ends_the_connection() {
    let mut script = Script::online();
    for harmless in [
        r#"{"type":"news","x":[1]}"#,
        r#"{"type":"ok","id":99}"#,
        r#"{"type":"ok","id":"x"}"#,
        r#"{"type":"error","code":"bad_json","message":"m","temporary":false}"#,
        r#"{"type":"message","channel":"other","data":1,"offset":1,"timestamp":1}"#,
        r#"{"type":"gap","channel":"other","from":1,"to":2}"#,
        WELCOME,
    ] {
        script.hear(harmless);
        assert!(script.shown().is_empty(), "{harmless}");
    }
    for nonsense in ["", "[]", "hello", r#"{"type":7}"#] {
        let mut script = Script::online();
        script.hear(nonsense);
        let shown = script.shown();
        assert!(shown[0].starts_with("Close { code: 1002"), "{nonsense}: {shown:?}");
        assert!(shown[1].starts_with("Disconnected { cause: Protocol("), "{nonsense}: {shown:?}");
    }
    let mut script = Script::new(Config::default(), Tokens::None);
    script.core.connect(script.now);
    script.core.on_connected(script.now);
    script.outputs();
    script.hear(r#"{"type":"ok"}"#);
    assert!(script.shown()[0].starts_with("Close { code: 1002"));
}
