//! What is refused, and that the refusal says why.

use super::support::{APPS, Client, Signing, post, post_as, seconds, text};
use crate::support::{configured, request, with_server};
use serde_json::{Value, json};

const EVENTS: &str = "/apps/100/events";

fn good() -> String {
    json!({ "name": "told", "data": "1", "channels": ["news"] }).to_string()
}

#[test]
fn only_the_application_itself_may_ask() {
    with_server(&configured(APPS), async |server| {
        let address = server.address();
        let mut client = Client::of_a(address).await;
        client.subscribe("news", "x").await;
        let now = seconds();
        let a = Signing::of_a();
        for (signing, path, status, says) in [
            (Signing { secret: "another", ..a.clone() }, EVENTS, 401, "the signature is not good"),
            (Signing { key: "key-b", ..a.clone() }, EVENTS, 401, "\"key-b\" is not the key of this application"),
            (Signing { key: "100", ..a.clone() }, EVENTS, 401, "\"100\" is not the key"),
            (Signing { version: "2.0", ..a.clone() }, EVENTS, 401, "\"auth_version\" is \"2.0\""),
            (Signing { timestamp: now - 610, ..a.clone() }, EVENTS, 401, "is a clock wrong?"),
            (Signing { timestamp: now + 610, ..a.clone() }, EVENTS, 401, "is a clock wrong?"),
            (Signing { timestamp: u64::MAX, ..a.clone() }, EVENTS, 401, "is a clock wrong?"),
            (a.clone(), "/apps/999/events", 404, "there is no application \"999\""),
            (a.clone(), "/apps/200/events", 401, "\"key-a\" is not the key"),
            (a.clone(), "/apps/300/events", 403, "does not serve Pusher's clients"),
        ] {
            let answer = post_as(&signing, address, path, &good()).await;
            assert_eq!(answer.status, status, "{answer:?}");
            assert!(text(&answer).contains(says), "{answer:?}");
        }
        // Each part of what is signed is part of what is checked.
        let query = a.query("POST", EVENTS, &[("info", "x")], &good());
        let signature = query.rsplit_once('=').unwrap().1;
        for spoilt in [
            query.replace("info=x", "info=y"),
            query.replace("&info=x", ""),
            format!("{query}&more=1"),
            query.replace("auth_key=key-a&", ""),
            query.replace("auth_version=1.0&", ""),
            query.replace("auth_timestamp=", "auth_timestamp=0"),
            query.replace(signature, &signature[1..]),
            query.replace(signature, ""),
            query.replace(signature, &signature.replace(|c: char| c.is_ascii_digit(), "g")),
            query.replace("auth_signature", "signature"),
        ] {
            let answer = request(address, &format!("POST {EVENTS}?{spoilt}"), &good()).await;
            assert_eq!(answer.status, 401, "{spoilt}: {answer:?}");
        }
        for (method, path, body) in [
            ("POST", EVENTS, good().replace("told", "sold")),
            ("POST", EVENTS, String::new()),
            ("POST", "/apps/100/batch_events", good()),
        ] {
            let answer = request(address, &format!("{method} {path}?{query}"), &body).await;
            assert_eq!(answer.status, 401, "{method} {path} {body}: {answer:?}");
        }
        let twice = format!("{query}&auth_signature={signature}");
        assert_eq!(request(address, &format!("POST {EVENTS}?{twice}"), &good()).await.status, 400);
        // A body that nobody signed for.
        let unsigned = a.query("POST", EVENTS, &[], "");
        let answer = request(address, &format!("POST {EVENTS}?{unsigned}"), &good()).await;
        assert_eq!((answer.status, text(&answer)), (401, "\"body_md5\" is missing in the query"));
        assert!(client.has_nothing().await, "something was published");
        // The library's next request within the same second is no repetition, and neither are clocks that differ by minutes.
        for signing in
            [a.clone(), a.clone(), Signing { timestamp: now - 590, ..a.clone() }, Signing { timestamp: now + 590, ..a }]
        {
            assert_eq!(post_as(&signing, address, EVENTS, &good()).await.status, 200);
        }
        for _ in 0..4 {
            assert_eq!(client.event().await.0, "told");
        }
    });
}

#[test]
fn events_that_cannot_be_published_are_refused_by_their_fault() {
    with_server(&configured(APPS), async |server| {
        let address = server.address();
        let with = |name: &str, value: Value| {
            let mut body = json!({ "name": "told", "data": "1", "channels": ["news"] });
            body[name] = value;
            body.to_string()
        };
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for (body, status, says) in [
            (String::new(), 400, "the body is not a JSON object"),
            ("[]".to_owned(), 400, "the body is not a JSON object"),
            (good().split_at(20).0.to_owned(), 400, "the body: EOF"),
            ("name=told&data=1&channel=news".to_owned(), 400, "the body is not a JSON object"),
            (format!("{{\"x\":{}}}", nested(10_000)), 400, "missing field `name`"),
            (good().replace("[\"news\"]", &nested(10_000)), 400, "the body: invalid type: sequence"),
            (good().replace("\"1\"", &nested(10_000)), 400, "\"data\" must be a string"),
            ("{}".to_owned(), 400, "missing field `name`"),
            (with("name", json!(7)), 400, "the body: invalid type: integer `7`"),
            (with("name", json!("")), 400, "\"name\" has 0 bytes, not 1 to 200"),
            (with("name", json!("x".repeat(201))), 400, "\"name\" has 201 bytes, not 1 to 200"),
            (with("name", json!("a\r\nevent: b")), 400, "\"name\" contains a control character"),
            (with("data", json!({ "a": 1 })), 400, "\"data\" must be a string"),
            (with("data", json!("x".repeat(4_097))), 413, "\"data\" has 4097 bytes, more than 4096"),
            (with("data", json!("x".repeat(100_000))), 413, "the request is larger than"),
            (with("channels", json!([])), 400, "\"channels\" has 0 names, not 1 to 100"),
            (with("channels", json!(vec!["a"; 101])), 400, "\"channels\" has 101 names, not 1 to 100"),
            (with("channels", json!(["a", "room:1"])), 400, "channel \"room:1\": the channel name contains ':'"),
            (with("channels", json!(["a\r\n"])), 400, "the channel name contains '\\r'"),
            (with("channels", json!([""])), 400, "the channel name is empty"),
            (with("channels", json!(["x".repeat(201)])), 400, "the channel name has 201 bytes, more than 200"),
            (with("channels", json!("news")), 400, "the body: invalid type"),
            (with("channel", json!("news")), 400, "exclude each other"),
            (with("channels", Value::Null), 400, "\"channels\" is missing"),
            (with("socket_id", json!("x")), 400, "\"socket_id\" \"x\" is not of the form 1.2"),
            (with("socket_id", json!("1.2\n")), 400, "\"socket_id\""),
        ] {
            let answer = post(address, EVENTS, &body).await;
            let body: String = body.chars().take(200).collect();
            assert_eq!(answer.status, status, "{body}: {answer:?}");
            assert!(text(&answer).contains(says), "{body}: {answer:?}");
        }
        let batch = |events: Value| json!({ "batch": events }).to_string();
        let event = json!({ "name": "told", "data": "1", "channel": "news" });
        for (body, status, says) in [
            (String::new(), 400, "the body is not a JSON object"),
            ("{\"batch\":[{".to_owned(), 400, "the body: EOF"),
            (batch(json!([])), 400, "\"batch\" has 0 events, not 1 to 10"),
            (batch(json!(vec![event.clone(); 11])), 400, "\"batch\" has 11 events, not 1 to 10"),
            (batch(json!([event, { "name": "x", "data": "1" }])), 400, "batch[1]: \"channel\" is missing"),
            (batch(json!([{ "name": "x", "data": "1", "channel": "a b" }])), 400, "batch[0]: channel \"a b\""),
            (batch(json!([{ "name": "x", "data": "x".repeat(4_097), "channel": "a" }])), 413, "batch[0]: \"data\" has"),
            (batch(json!("x".repeat(1_000_000))), 413, "the request is larger than"),
        ] {
            let answer = post(address, "/apps/100/batch_events", &body).await;
            assert_eq!(answer.status, status, "{answer:?}");
            assert!(text(&answer).contains(says), "{answer:?}");
        }
        // What is nested in a text is a text.
        let deep = json!({ "name": "told", "data": nested(2_000), "channels": ["news"] }).to_string();
        assert_eq!(post(address, EVENTS, &deep).await.status, 200);
        // The type that a body is said to have makes no difference: it is what was signed.
        let query = Signing::of_a().query("POST", EVENTS, &[], &good());
        let answer = request(address, &format!("POST {EVENTS}?{query}\nContent-Type: text/html"), &good()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        for path in [EVENTS, "/apps/100/batch_events"] {
            let answer = request(address, &format!("GET {path}"), "").await;
            assert_eq!((answer.status, text(&answer)), (405, "use POST"));
            assert!(answer.has_header("allow: post"));
        }
    });
}
