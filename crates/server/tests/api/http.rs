//! The HTTP API: what is published reaches every protocol, and what is wrong gets its status.

use crate::support::{
    API_KEY, TWO_APPS, ask, configured, connect, native, receive, receive_text, request, with_server,
};
use core::net::SocketAddr;
use serde_json::{Value, json};
use switchboard_ws::Message;

async fn publish(address: SocketAddr, key: &str, body: &Value) -> crate::support::Answer {
    let head = format!("POST /api/v1/publish\nAuthorization: Bearer {key}\nContent-Type: application/json");
    request(address, &head, &body.to_string()).await
}

#[test]
fn what_is_published_reaches_native_and_raw_subscribers() {
    with_server(&configured(TWO_APPS), async |server| {
        let address = server.address();
        let mut subscriber = native(address).await;
        let subscribed = ask(&mut subscriber, &json!({ "type": "subscribe", "id": 1, "channel": "room:lobby" })).await;
        assert_eq!(subscribed["type"], "ok");
        let mut raw = connect(&format!("ws://{address}/lobby")).await;
        // The raw subscription is in place once its own message has come back.
        raw.send("here").await.unwrap();
        assert_eq!(receive_text(&mut raw).await, "here");
        assert_eq!(receive(&mut subscriber).await["data"], "here");

        let body = json!({ "channel": "room:lobby", "data": { "x": 1 }, "event": "e", "key": "k" });
        let answer = publish(address, API_KEY, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.has_header("content-type: application/json"));
        assert_eq!(answer.json()["channel"], "room:lobby");
        assert_eq!(answer.json()["position"]["offset"], 2);
        assert_eq!(answer.json()["position"]["epoch"], subscribed["position"]["epoch"]);

        let message = receive(&mut subscriber).await;
        assert_eq!(
            (&message["data"], &message["event"], &message["offset"]),
            (&json!({ "x": 1 }), &json!("e"), &json!(2))
        );
        assert_eq!(message.get("publisher"), None, "the application itself is nobody");
        assert_eq!(receive_text(&mut raw).await, r#"{"x":1}"#);

        publish(address, API_KEY, &json!({ "channel": "room:lobby", "data": "text" })).await;
        assert_eq!(receive_text(&mut raw).await, "text");
        publish(address, API_KEY, &json!({ "channel": "room:lobby", "data": "AP8Q", "encoding": "base64" })).await;
        let binary = raw.recv().await.unwrap().unwrap();
        assert_eq!(binary, Message::Binary(bytes::Bytes::from_static(b"\x00\xff\x10")));
    });
}

#[test]
fn a_key_opens_its_own_application_only() {
    with_server(&configured(TWO_APPS), async |server| {
        let mut subscriber = native(server.address()).await;
        ask(&mut subscriber, &json!({ "type": "subscribe", "id": 1, "channel": "room:lobby" })).await;
        let body = json!({ "channel": "room:lobby", "data": "from the other application" });
        assert_eq!(publish(server.address(), "another-key-0123456789", &body).await.status, 200);
        let body = json!({ "channel": "room:lobby", "data": "from this one" });
        assert_eq!(publish(server.address(), API_KEY, &body).await.status, 200);
        assert_eq!(receive(&mut subscriber).await["data"], "from this one");
    });
}

#[test]
fn whoever_balances_the_load_asks_without_a_key() {
    with_server(&configured(TWO_APPS), async |server| {
        let healthy = request(server.address(), "GET /healthz\nHost: 10.1.2.3:8080", "").await;
        assert_eq!((healthy.status, healthy.json()), (200, json!({ "healthy": true })));
        let refused = request(server.address(), "POST /healthz", "{}").await;
        assert_eq!((refused.status, refused.code()), (405, "method_not_allowed".to_owned()));
    });
}

#[test]
fn wrong_requests_get_their_status() {
    with_server(&configured(TWO_APPS), async |server| {
        let address = server.address();
        let good = json!({ "channel": "room:a", "data": 1 });
        let with_key = |body: Value| async move {
            let answer = publish(address, API_KEY, &body).await;
            (answer.status, answer.code())
        };
        let refused = |status: u16, code: &str| (status, code.to_owned());
        assert_eq!(with_key(json!({ "channel": "a#b", "data": 1 })).await, refused(400, "bad_channel"));
        assert_eq!(with_key(json!({ "channel": "a" })).await, refused(400, "bad_request"));
        assert_eq!(
            with_key(json!({ "channel": "a", "data": "x".repeat(64 * 1024 + 1) })).await,
            refused(413, "limit_exceeded")
        );
        assert_eq!(
            with_key(json!({ "channel": "a", "data": "x".repeat(200 * 1024) })).await,
            refused(413, "limit_exceeded")
        );

        // A mistake of the first day has an answer of its own.
        let answer = publish(address, "eyJ0eXAi.eyJzdWIi.c2ln", &good).await;
        assert_eq!((answer.status, answer.code()), refused(401, "bad_key"));
        assert!(answer.body.contains("a token of a client"), "{}", answer.body);
        for (key, code) in [("wrong-key-0123456789", "bad_key"), ("", "unauthenticated")] {
            let answer = publish(address, key, &good).await;
            assert_eq!((answer.status, answer.code()), refused(401, code));
            assert!(answer.has_header("www-authenticate: bearer"));
        }
        for (head, body, status, code) in [
            ("POST /api/v1/publish", "{}", 401, "unauthenticated"),
            ("POST /api/v1/publish\nAuthorization: Basic YTpi", "{}", 401, "unauthenticated"),
            ("POST /api/v1/publish\nAuthorization: Bearer api-key-0123456789", "", 400, "bad_json"),
            ("POST /api/v1/publish\nAuthorization: Bearer api-key-0123456789", "{\"channel\"", 400, "bad_json"),
            ("POST /api/v1/publish\nAuthorization: Bearer api-key-0123456789", "[1]", 400, "bad_json"),
            ("GET /api/v1/publish", "", 405, "method_not_allowed"),
            ("GET /", "", 404, "not_found"),
            ("GET /nope?token=x", "", 404, "not_found"),
            ("GET /metrics", "", 404, "not_found"),
            ("GET /api/console/info", "", 404, "not_found"),
        ] {
            let answer = request(address, head, body).await;
            assert_eq!((answer.status, answer.code()), refused(status, code), "{head}");
        }
        assert!(request(address, "PUT /api/v1/publish", "").await.has_header("allow: post"));
    });
}

async fn post(address: SocketAddr, what: &str, head: &str, body: &Value) -> crate::support::Answer {
    let head = format!("POST /api/v1/{what}\nAuthorization: Bearer {API_KEY}{head}");
    request(address, &head, &body.to_string()).await
}

#[test]
fn a_publication_is_made_once_and_on_its_condition() {
    with_server(&configured(TWO_APPS), async |server| {
        let address = server.address();
        let body = json!({ "channel": "board", "data": "e4" });
        let first = post(address, "publish", "\nIdempotency-Key: k", &body).await.json();
        assert_eq!(first.get("duplicate"), None);
        let again =
            post(address, "publish", "", &json!({ "channel": "board", "data": "e4", "idempotency_key": "k" })).await;
        assert_eq!((&again.json()["duplicate"], &again.json()["position"]), (&json!(true), &first["position"]));
        let differ = json!({ "channel": "board", "data": "e4", "idempotency_key": "l" });
        assert_eq!(post(address, "publish", "\nIdempotency-Key: k", &differ).await.status, 400);
        let next = json!({ "channel": "board", "data": "e5", "if_position": first["position"] });
        let made = post(address, "publish", "", &next).await;
        assert_eq!((made.status, &made.json()["position"]["offset"]), (200, &json!(2)));
        let conflict = post(address, "publish", "", &next).await;
        assert_eq!((conflict.status, &conflict.json()["error"]["code"]), (409, &json!("conflict")));
        assert_eq!(conflict.json()["error"]["position"], made.json()["position"]);
    });
}

#[test]
fn a_publication_is_kept_for_those_who_come_or_leaves_nothing() {
    with_server(&configured(TWO_APPS), async |server| {
        let address = server.address();
        let cached = async |expected: bool| {
            let channel = post(address, "channel", "", &json!({ "channel": "lamp" })).await.json();
            assert_eq!(channel["cached"], expected, "{channel}");
        };
        for (cache, expected) in [(json!(null), false), (json!("keep"), true), (json!("clear"), false)] {
            let body = json!({ "channel": "lamp", "data": "on", "cache": cache });
            let answer = post(address, "publish", "", &body).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            cached(expected).await;
        }
        let body = json!({ "channels": ["lamp"], "data": "on", "cache": "keep" });
        assert_eq!(post(address, "broadcast", "", &body).await.status, 200);
        cached(true).await;
    });
}

#[test]
fn a_broadcast_reaches_each_channel_by_itself_and_history_is_read_both_ways() {
    with_server(&configured(TWO_APPS), async |server| {
        let address = server.address();
        let first = post(
            address,
            "publish",
            "",
            &json!({ "channel": "a", "data": {"b": 1, "a": 1.50}, "event": "e", "key": "k" }),
        )
        .await;
        let position = first.json()["position"].clone();
        let body = json!({ "channels": ["a", "b"], "data": "AP8Q", "encoding": "base64", "if_position": position });
        let answer = post(address, "broadcast", "", &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let results = answer.json()["results"].clone();
        assert_eq!((&results[0]["channel"], &results[0]["position"]["offset"]), (&json!("a"), &json!(2)));
        assert_eq!((&results[1]["channel"], &results[1]["error"]["code"]), (&json!("b"), &json!("conflict")));
        for (channels, code) in
            [(json!([]), "bad_request"), (json!(["a", "b#"]), "bad_channel"), (json!(vec!["a"; 101]), "bad_request")]
        {
            let answer = post(address, "broadcast", "", &json!({ "channels": channels, "data": 1 })).await;
            assert_eq!(answer.json()["error"]["code"], code, "{answer:?}");
        }
        let all = post(address, "history", "", &json!({ "channel": "a" })).await.json();
        assert_eq!((&all["more"], &all["publications"][1]["data"]), (&json!(false), &json!("AP8Q")));
        assert_eq!(
            (&all["publications"][0]["event"], &all["publications"][0]["key"], &all["publications"][1]["encoding"]),
            (&json!("e"), &json!("k"), &json!("base64"))
        );
        let after =
            post(address, "history", "", &json!({ "channel": "a", "since": position, "limit": 1 })).await.json();
        assert_eq!(after["publications"][0]["offset"], 2);
        let before = post(address, "history", "", &json!({ "channel": "a", "before": all["position"] })).await.json();
        assert_eq!(before["publications"].as_array().unwrap().len(), 1);
        let gone = json!({ "channel": "a", "since": { "epoch": "e", "offset": 1 } });
        let gone = post(address, "history", "", &gone).await;
        assert_eq!((gone.status, &gone.json()["error"]["code"]), (410, &json!("history_lost")));
        assert_eq!(gone.json()["error"]["position"], all["position"]);
        for bad in [
            json!({ "channel": "a", "limit": 0 }),
            json!({ "channel": "a", "limit": 1001 }),
            json!({ "channel": "a", "since": position, "before": position }),
        ] {
            assert_eq!(post(address, "history", "", &bad).await.status, 400, "{bad}");
        }
        let mut client = native(address).await;
        ask(&mut client, &json!({ "type": "subscribe", "id": 1, "channel": "room:1" })).await;
        let present = post(address, "presence", "", &json!({ "channel": "room:1" })).await.json();
        assert_eq!((&present["total"], &present["connections"]), (&json!(1), &json!(1)));
        assert_eq!(present["users"].as_array().unwrap().len(), 1);
    });
}
