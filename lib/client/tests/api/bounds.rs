//! Requests that wait: bounds, policies, timeouts, lost connections.

use crate::support::{Script, publish};
use core::time::Duration;
use switchboard_client::core::{Output, Request, RequestId, Wanted};
use switchboard_client::{Data, QueueOverflow, RequestError};

fn publish_number(script: &mut Script, number: usize) -> Result<RequestId, RequestError> {
    script.core.request(script.now, &publish("a", Data::json(&number).unwrap()))
}

fn failed(script: &mut Script) -> Vec<(RequestId, RequestError)> {
    let answers = script.outputs().into_iter().filter_map(|output| match output {
        Output::Answer { id, result: Err(error) } => Some((id, error)),
        _ => None,
    });
    answers.collect()
}

#[test]
fn a_full_queue_refuses_or_drops_the_oldest() {
    for overflow in [QueueOverflow::Reject, QueueOverflow::DropOldest] {
        let mut script = Script::online_with(|config| {
            config.queue_requests_max = 3;
            config.queue_overflow = overflow;
        });
        script.core.on_closed(script.now, None, "reset");
        script.outputs();
        let queued: Vec<_> = (0..3).map(|data| publish_number(&mut script, data).unwrap()).collect();
        match overflow {
            QueueOverflow::Reject => assert_eq!(publish_number(&mut script, 3), Err(RequestError::QueueFull)),
            _ => {
                publish_number(&mut script, 3).unwrap();
                assert_eq!(failed(&mut script), [(queued[0], RequestError::Dropped)]);
            }
        }
        script.wait();
        script.welcome();
        assert_eq!(script.says().len(), 3);
    }
}

#[test]
fn bytes_are_bounded_too() {
    let mut script = Script::online_with(|config| {
        config.queue_bytes_max = 200;
        config.queue_overflow = QueueOverflow::DropOldest;
    });
    script.core.on_closed(script.now, None, "reset");
    script.outputs();
    let first = publish_number(&mut script, 1).unwrap();
    let data = Data::Bytes(vec![0; 140].into());
    script.core.request(script.now, &publish("a", data)).unwrap();
    assert_eq!(failed(&mut script), [(first, RequestError::Dropped)]);
    let data = Data::Bytes(vec![0; 201].into());
    assert_eq!(script.core.request(script.now, &publish("a", data)), Err(RequestError::QueueFull));
    script.wait();
    script.welcome();
    assert_eq!(script.says().len(), 1, "what fits was not dropped for what never can");
}

#[test]
fn only_so_many_are_on_their_way() {
    let mut script = Script::online_with(|config| config.in_flight_max = 2);
    let ids: Vec<_> = (0..5).map(|data| publish_number(&mut script, data).unwrap()).collect();
    assert_eq!(script.says().len(), 2);
    script.hear(r#"{"type":"ok","id":2,"channel":"a","position":{"epoch":"e","offset":1}}"#);
    assert_eq!(script.says().len(), 1);
    assert!(matches!(&script.outputs()[..], [Output::Answer { id, result: Ok(_) }] if *id == ids[1]));
    assert!(script.says().is_empty());
}

#[test]
fn a_lost_connection_repeats_questions_and_no_publications() {
    let mut script = Script::online();
    let published = publish_number(&mut script, 1).unwrap();
    script.core.request(script.now, &Request::Presence { channel: "a".into(), limit: None }).unwrap();
    script
        .core
        .request(script.now, &Request::History { channel: "a".into(), since: None, before: None, limit: None })
        .unwrap();
    assert_eq!(script.says().len(), 3);
    let waiting = publish_number(&mut script, 2).unwrap();
    script.core.on_closed(script.now, None, "reset");
    assert_eq!(failed(&mut script), [(published, RequestError::Interrupted)]);
    script.wait();
    script.welcome();
    let said = script.says();
    assert_eq!(said[0], r#"{"type":"presence","id":2,"channel":"a"}"#);
    assert_eq!(said[1], r#"{"type":"history","id":3,"channel":"a"}"#);
    assert!(said[2].starts_with(r#"{"type":"publish","id":4"#));
    script.outputs();
    script.hear(r#"{"type":"ok","id":4,"channel":"a","position":{"epoch":"e","offset":1}}"#);
    assert!(matches!(&script.outputs()[..], [Output::Answer { id, result: Ok(_) }] if *id == waiting));
}

#[test]
fn nothing_waits_for_ever() {
    let mut script = Script::online();
    let sent = publish_number(&mut script, 1).unwrap();
    script.says();
    script.pass(Duration::from_secs(10));
    assert_eq!(failed(&mut script), [(sent, RequestError::TimedOut)]);
    // Too late.
    script.hear(r#"{"type":"ok","id":1,"channel":"a","position":{"epoch":"e","offset":1}}"#);
    assert!(script.outputs().is_empty());
    script.core.on_closed(script.now, None, "reset");
    let queued = publish_number(&mut script, 1).unwrap();
    script.pass(Duration::from_secs(60));
    assert_eq!(failed(&mut script), [(queued, RequestError::NotSent)]);
}

#[test]
fn what_would_end_the_connection_is_not_sent() {
    let mut script = Script::online();
    let data = Data::Bytes(vec![0; 65_536].into());
    let request = publish("a", data);
    assert!(matches!(script.core.request(script.now, &request), Err(RequestError::TooLarge { bytes_max: 65_536, .. })));
    script.core.on_closed(script.now, None, "reset");
    script.core.request(script.now, &request).unwrap();
    let small = publish_number(&mut script, 1).unwrap();
    script.wait();
    script.welcome();
    assert_eq!(script.says().len(), 1, "{small:?}");
    assert!(matches!(failed(&mut script)[..], [(_, RequestError::TooLarge { bytes_max: 65_536, .. })]));
    for name in ["", "a#", "a+", "a\n", &"x".repeat(201)] {
        assert!(script.core.subscribe(Wanted::channel(name)).is_err(), "{name:?}");
    }
}
