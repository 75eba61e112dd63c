//! How connections end and what follows: codes, hints, silence, backoff, closing.

use crate::support::{Script, WELCOME};
use core::time::Duration;
use switchboard_client::core::{ConnectFailure, Output, Request, Tokens, Wanted};
use switchboard_client::{Config, Ended};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn close_codes() {
    let ends = [1002, 1007, 1009, 4000, 4001, 4002, 4003, 4099];
    let returns = [1000, 1001, 1005, 1006, 1011, 1012, 1013, 3000, 4100, 4101, 4102, 4199, 4500];
    for (codes, over) in [(&ends[..], true), (&returns[..], false)] {
        for code in codes {
            let mut script = Script::online();
            script.core.on_closed(script.now, Some(*code), "why");
            assert_eq!(script.core.ended().is_some(), over, "{code}");
        }
    }
}

#[test]
fn what_the_server_says_stands_above_what_its_code_means() {
    let mut script = Script::online();
    script.hear(r#"{"type":"disconnect","code":1001,"reason":"shutting down","reconnect":true,"after_ms":7000}"#);
    let shown = script.shown();
    assert_eq!(shown[0], r#"Close { code: 1000, reason: "" }"#);
    assert!(shown[1].ends_with("retry_in: 7s }"), "{shown:?}");
    assert_eq!(script.wait(), secs(7));
    assert_eq!(script.shown(), ["Connecting", "Connect { token: None }"]);

    let mut script = Script::online();
    script.hear(r#"{"type":"disconnect","code":4100,"reason":"no","reconnect":false}"#);
    assert!(script.core.ended().is_some());

    let mut script = Script::online();
    script.hear(r#"{"type":"disconnect","code":4003,"reason":"try once more","reconnect":true}"#);
    assert!(script.core.ended().is_none());

    let mut script = Script::online();
    script.hear(r#"{"type":"disconnect","code":1001,"reason":"x","reconnect":true,"after_ms":18446744073709551615}"#);
    assert!(script.wait() <= secs(3_600), "nobody is sent away for ever by a number");
}

#[test]
fn attempts_back_off_until_a_connection_lasts() {
    let mut script = Script::new(Config::default(), Tokens::None);
    script.core.connect(script.now);
    let mut delays = Vec::new();
    for _ in 0..40 {
        script.core.on_connect_failed(script.now, ConnectFailure::Temporary("refused".into()));
        delays.push(script.wait());
    }
    for (attempt, delay) in delays.iter().enumerate() {
        let ceiling = Duration::from_millis(500).saturating_mul(1 << attempt.min(10)).min(secs(20));
        assert!(*delay <= ceiling, "{attempt}: {delay:?}");
    }
    assert!(delays.iter().skip(6).any(|delay| *delay > secs(10)), "{delays:?}");

    // A connection that is lost at once does not start anew.
    script.welcome();
    script.core.on_closed(script.now, None, "reset");
    let waits: Vec<_> = (0..20)
        .map(|_| {
            let waited = script.wait();
            script.welcome();
            script.pass(secs(9));
            script.core.on_closed(script.now, None, "reset");
            waited
        })
        .collect();
    assert!(waits.iter().any(|wait| *wait > secs(5)), "{waits:?}");
    // One that has lasted does.
    for _ in 0..20 {
        script.wait();
        script.welcome();
        script.pass(secs(10));
        script.core.on_closed(script.now, None, "reset");
        let until = script.core.poll_timeout().unwrap();
        assert!(until.saturating_sub(script.now) <= Duration::from_millis(500));
    }
}

#[test]
fn closing_gives_up_an_attempt_that_is_on_its_way() {
    for greeting in [false, true] {
        let mut script = Script::new(Config::default(), Tokens::None);
        script.core.connect(script.now);
        if greeting {
            script.core.on_connected(script.now);
        }
        script.outputs();
        script.core.close(script.now);
        assert!(matches!(script.outputs()[..], [Output::Abort, Output::Connection(_)]));
        // What still comes of it is void.
        script.welcome();
        assert!(script.says().is_empty() && script.outputs().is_empty() && script.core.poll_timeout().is_none());
        assert_eq!(script.core.ended(), Some(&Ended::Closed));
    }
}

#[test]
fn a_server_that_always_wants_to_be_asked_at_once_is_not_asked_without_end() {
    let mut script = Script::online();
    let mut waited = Vec::new();
    for _ in 0..200 {
        script.hear(r#"{"type":"disconnect","code":1012,"reason":"restart","reconnect":true,"after_ms":0}"#);
        waited.push(script.wait());
        script.welcome();
        script.outputs();
    }
    assert_eq!(waited[0], Duration::ZERO, "once it is taken at its word");
    assert!(waited.iter().sum::<Duration>() > secs(200), "{waited:?}");
    // After a connection that lasted, its word counts again.
    script.pass(secs(10));
    script.hear(r#"{"type":"disconnect","code":1012,"reason":"restart","reconnect":true,"after_ms":300}"#);
    assert_eq!(script.wait(), Duration::from_millis(300));
    // And where it says more than the backoff, that is what is waited.
    script.welcome();
    script.hear(r#"{"type":"disconnect","code":1012,"reason":"restart","reconnect":true,"after_ms":7200000}"#);
    assert_eq!(script.wait(), secs(3600), "but no longer than an hour");
}

#[test]
fn an_attempt_can_be_made_at_once() {
    let mut script = Script::online();
    script.core.on_closed(script.now, None, "reset");
    script.outputs();
    script.core.connect(script.now);
    assert_eq!(script.shown(), ["Connecting", "Connect { token: None }"]);
    script.core.connect(script.now);
    assert!(script.shown().is_empty(), "one at a time");
}

#[test]
fn refusals_before_the_connection() {
    let mut script = Script::new(Config::default(), Tokens::Fixed("T".into()));
    script.core.connect(script.now);
    script.core.on_connect_failed(script.now, ConnectFailure::Unauthorized("401".into()));
    assert!(script.core.ended().is_some(), "the same token will not be better");

    let mut script = Script::new(Config::default(), Tokens::Fresh);
    script.core.connect(script.now);
    for _ in 0..3 {
        assert!(script.core.ended().is_none());
        script.core.on_token(script.now, Ok("T".into()));
        script.core.on_connect_failed(script.now, ConnectFailure::Unauthorized("401".into()));
        if script.core.ended().is_none() {
            script.wait();
        }
    }
    assert!(script.core.ended().is_some());

    let mut script = Script::new(Config::default(), Tokens::None);
    script.core.connect(script.now);
    script.core.on_connect_failed(script.now, ConnectFailure::Final("no such scheme".into()));
    assert_eq!(script.core.ended().unwrap().to_string(), "cannot connect: no such scheme");
}

#[test]
fn silence_is_asked_and_then_given_up() {
    let mut script = Script::online();
    assert_eq!(script.wait(), secs(30), "the heartbeat and half of the grace");
    assert_eq!(script.says(), [r#"{"type":"ping"}"#]);
    assert!(script.shown().is_empty());
    assert_eq!(script.wait(), secs(5));
    let shown = script.shown();
    assert_eq!(shown[0], "Abort");
    assert!(shown[1].starts_with("Disconnected { cause: Silent"), "{shown:?}");

    let mut script = Script::online();
    script.wait();
    script.hear(r#"{"type":"pong"}"#);
    assert_eq!(script.wait(), secs(30));
    script.hear(r#"{"type":"pong"}"#);
    for _ in 0..10 {
        script.pass(secs(25));
        script.hear(r#"{"type":"ping"}"#);
    }
    assert!(script.shown().is_empty());
}

#[test]
fn a_server_that_does_not_answer() {
    let mut script = Script::new(Config::default(), Tokens::None);
    script.core.connect(script.now);
    script.core.on_connected(script.now);
    script.outputs();
    assert_eq!(script.wait(), secs(10), "no welcome");
    assert_eq!(script.shown()[0], "Abort");

    let mut script = Script::online();
    script.core.subscribe(Wanted::channel("a")).unwrap();
    script.says();
    script.pass(secs(10));
    assert_eq!(script.shown()[0], "Abort", "what it made of a subscription is unknown");

    let mut script = Script::new(Config::default(), Tokens::Fresh);
    script.core.connect(script.now);
    script.outputs();
    assert_eq!(script.wait(), secs(30));
    assert!(script.shown()[0].contains("the callback does not answer"));
}

#[test]
fn an_unknown_version_is_not_guessed() {
    let mut script = Script::new(Config::default(), Tokens::None);
    script.core.connect(script.now);
    script.core.on_connected(script.now);
    script.hear(&WELCOME.replace(r#""version":1"#, r#""version":2"#));
    assert!(script.core.ended().unwrap().to_string().contains("version 2"));
}

#[test]
fn closing_sends_what_waits_and_takes_the_answers() {
    let mut script = Script::online();
    script.core.subscribe(Wanted::channel("b")).unwrap();
    script.says();
    script.hear(r#"{"type":"ok","id":2,"channel":"b","position":{"epoch":"e","offset":0}}"#);
    script.core.request(script.now, &Request::Presence { channel: "a".into(), limit: None }).unwrap();
    script.core.close(script.now);
    assert!(script.core.request(script.now, &Request::Presence { channel: "a".into(), limit: None }).is_err());
    assert_eq!(script.says().len(), 1);
    script.outputs();
    script.hear(r#"{"type":"ok","id":3,"channel":"a","users":[],"connections":0}"#);
    assert!(script.says().is_empty());
    let shown = script.shown();
    assert!(shown[0].starts_with("answer Ok(Presence"), "{shown:?}");
    assert_eq!(shown[1..], [r#"Close { code: 1000, reason: "" }"#, "Unsubscribed(Ended(Closed))", "Ended(Closed)"]);
    assert!(script.core.poll_timeout().is_none());

    // The answer does not come.
    let mut script = Script::online();
    script.core.request(script.now, &Request::Presence { channel: "a".into(), limit: None }).unwrap();
    script.core.close(script.now);
    script.says();
    assert_eq!(script.wait(), secs(5));
    assert_eq!(script.shown()[1], "answer Err(Ended(Closed))");

    // There is no connection.
    let mut script = Script::online();
    script.core.on_closed(script.now, None, "reset");
    script.core.request(script.now, &Request::Presence { channel: "a".into(), limit: None }).unwrap();
    script.outputs();
    script.core.close(script.now);
    assert_eq!(script.shown(), ["answer Err(Ended(Closed))", "Ended(Closed)"]);

    // It is lost while closing.
    let mut script = Script::online();
    script.core.request(script.now, &Request::Presence { channel: "a".into(), limit: None }).unwrap();
    script.core.close(script.now);
    script.says();
    script.core.on_closed(script.now, None, "reset");
    assert_eq!(script.shown(), ["answer Err(Ended(Closed))", "Ended(Closed)"]);
}
