//! The scenarios of the whole server, against a small one of the native protocol that does what it should, or errs in one way.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use switchboard_bench::scenario::{
    Target, beside::Beside, channels::Channels, durable::Durable, latency::Latency, resume::Resume,
    subscribed::Subscribed,
};

use crate::{RESPONSE, error, listen};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Error {
    None,
    /// The message with this number reaches nobody.
    Skips(usize),
    Repeats(usize),
    Alters(usize),
    /// Whoever comes back gets all but one.
    ReplaysWithAHole,
    /// Says that what was missed is gone.
    DoesNotRecover,
    /// Answers with the offset before.
    AnswersWrongly,
}

#[derive(Default)]
struct Channel {
    subscribers: Vec<TcpStream>,
    published: Vec<Value>,
}

type Room = Arc<Mutex<HashMap<String, Channel>>>;

fn start(error: Error) -> Target {
    let (addr, sockets) = listen();
    let channels = Room::default();
    thread::spawn(move || {
        for socket in sockets {
            let channels = Arc::clone(&channels);
            // The client may go away at any time.
            thread::spawn(move || serve(socket, error, &channels));
        }
    });
    Target { addr, pid: std::process::id(), path: "/ws".to_owned(), tls: None }
}

fn serve(mut socket: TcpStream, error: Error, channels: &Room) -> Option<()> {
    let mut input = Vec::new();
    while !input.windows(4).any(|w| w == b"\r\n\r\n") {
        read(&mut socket, &mut input)?;
    }
    input.clear();
    socket.write_all(RESPONSE.as_bytes()).ok()?;
    tell(&mut socket, &json!({ "type": "welcome" }));
    loop {
        let request = next(&mut socket, &mut input)?;
        let mut channels = channels.lock().unwrap();
        let channel = channels.entry(request["channel"].as_str()?.to_owned()).or_default();
        handle(&mut socket, &request, channel, error);
    }
}

fn handle(socket: &mut TcpStream, request: &Value, channel: &mut Channel, error: Error) {
    let id = &request["id"];
    match request["type"].as_str() {
        Some("subscribe") => {
            let recovered = error != Error::DoesNotRecover;
            tell(socket, &json!({ "type": "ok", "id": id, "position": position(channel), "recovered": recovered }));
            channel.subscribers.push(socket.try_clone().unwrap());
            let Some(since) = request["since"]["offset"].as_u64() else { return };
            for (number, message) in channel.published.iter().enumerate().skip(since as usize) {
                if number != 3 || error != Error::ReplaysWithAHole {
                    tell(socket, message);
                }
            }
            tell(socket, &json!({ "type": "caught_up" }));
        }
        Some("publish") => {
            let number = channel.published.len();
            let message = json!({ "type": "message", "data": request["data"], "offset": number + 1 });
            channel.published.push(message.clone());
            for subscriber in &mut channel.subscribers {
                match error {
                    Error::Skips(bad) if bad == number => {}
                    Error::Alters(bad) if bad == number => tell(subscriber, &json!({ "type": "message", "data": "?" })),
                    Error::Repeats(bad) if bad == number => (0..2).for_each(|_| tell(subscriber, &message)),
                    _ => tell(subscriber, &message),
                }
            }
            if !id.is_null() {
                let mut position = position(channel);
                if error == Error::AnswersWrongly {
                    position["offset"] = json!(number);
                }
                tell(socket, &json!({ "type": "ok", "id": id, "position": position }));
            }
        }
        _ => tell(socket, &json!({ "type": "ok", "id": id, "position": position(channel) })),
    }
}

fn position(channel: &Channel) -> Value {
    json!({ "epoch": "e1", "offset": channel.published.len() })
}

/// In the order of its members, as the server writes it: `json!` sorts them by name.
fn tell(socket: &mut TcpStream, message: &Value) {
    let rest = message.as_object().unwrap().iter().filter(|(name, _)| !matches!(name.as_str(), "type" | "id"));
    let first = ["type", "id"].into_iter().filter_map(|name| Some((name, message.get(name)?)));
    let members = first.chain(rest.map(|(name, value)| (name.as_str(), value)));
    let text: Vec<String> = members.map(|(name, value)| format!("\"{name}\":{value}")).collect();
    let text = format!("{{{}}}", text.join(","));
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..126 => frame.push(length as u8),
        length => {
            frame.push(126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    // The client may have gone.
    let _ = socket.write_all(&frame);
}

fn next(socket: &mut TcpStream, input: &mut Vec<u8>) -> Option<Value> {
    loop {
        let head = match input.get(1).map(|size| size & 0x7f) {
            Some(126) => input.get(2..4).map(|size| (4, usize::from(u16::from_be_bytes([size[0], size[1]])))),
            Some(short) => Some((2, usize::from(short))),
            None => None,
        };
        if let Some((at, size)) = head
            && input.len() >= at + 4 + size
        {
            let frame: Vec<u8> = input.drain(..at + 4 + size).collect();
            let key = frame[at..at + 4].iter().cycle();
            let text: Vec<u8> = frame[at + 4..].iter().zip(key).map(|(byte, key)| byte ^ key).collect();
            return serde_json::from_slice(&text).ok();
        }
        read(socket, input)?;
    }
}

fn read(socket: &mut TcpStream, input: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 4096];
    let count = socket.read(&mut chunk).ok().filter(|&count| count > 0)?;
    input.extend_from_slice(&chunk[..count]);
    Some(())
}

const SHORT: Duration = Duration::from_millis(60);

fn latency() -> Latency {
    Latency { size: 100, subscribers: 3, load: 0.05, warm_up: SHORT, duration: SHORT }
}

fn channels() -> Channels {
    Channels { size: 200, channels: 3, subscribers: 2, window: 2, warm_up: SHORT, duration: SHORT }
}

fn durable() -> Durable {
    Durable { size: 50, publishers: 3, warm_up: SHORT, duration: SHORT }
}

fn resume() -> Resume {
    Resume { clients: 5, missed: 20, size: 50, settle: Duration::from_millis(20) }
}

#[test]
fn each_runs_to_its_end_and_tells_its_figures() {
    let number = |result: &Value, path: &str| result.pointer(path).and_then(Value::as_f64).unwrap_or(-1.0);
    let result = latency().run(&start(Error::None)).unwrap();
    assert!(number(&result, "/latency_us/p99") > 0.0 && number(&result, "/latency_us_p99") > 0.0, "{result}");
    assert!(number(&result, "/server_busy_percent") > 0.0, "{result}");
    let beside = Beside { size: 100, small: 2, large: 4, load: 0.05, duration: SHORT };
    let result = beside.run(&start(Error::None)).unwrap();
    assert!(number(&result, "/p99_ratio") > 0.0 && number(&result, "/alone_us/p50") > 0.0, "{result}");
    let result = channels().run(&start(Error::None)).unwrap();
    assert!(number(&result, "/count") > 0.0, "{result}");
    let result = durable().run(&start(Error::None)).unwrap();
    assert!(number(&result, "/wall_ns_each") > 0.0, "{result}");
    let result = resume().run(&start(Error::None)).unwrap();
    assert!(number(&result, "/memory_ratio") > 0.0 && number(&result, "/seconds") > 0.0, "{result}");
    let subscribed = Subscribed { connections: 5, size: 50, settle: Duration::from_millis(1) };
    assert_eq!(subscribed.run(&start(Error::None)).unwrap()["connections"], 5);
}

#[test]
fn a_message_that_is_missing_wrong_or_surplus_is_found() {
    let check = |wrong: Error, found: String| {
        let expected = ["is not what was published", "came twice", "that was not sent", "a subscriber got"];
        assert!(expected.iter().any(|expected| found.contains(expected)), "{wrong:?}: {found}");
    };
    for wrong in [Error::Skips(7), Error::Alters(7), Error::Repeats(7)] {
        check(wrong, error(channels().run(&start(wrong))));
    }
    // One message after the other, a missing one is waited for.
    for wrong in [Error::Alters(7), Error::Repeats(7)] {
        check(wrong, error(latency().run(&start(wrong))));
    }
    let subscribed = Subscribed { connections: 2, size: 50, settle: Duration::from_millis(1) };
    let found = error(subscribed.run(&start(Error::Alters(0))));
    assert!(found.contains("is not what was published"), "{found}");
}

#[test]
fn an_answer_and_a_replay_have_to_be_right() {
    let found = error(durable().run(&start(Error::AnswersWrongly)));
    assert!(found.contains("message 0 was answered by"), "{found}");
    let found = error(resume().run(&start(Error::DoesNotRecover)));
    assert!(found.contains("what was missed is not all there"), "{found}");
    let found = error(resume().run(&start(Error::ReplaysWithAHole)));
    assert!(found.contains("is not what was published"), "{found}");
}
