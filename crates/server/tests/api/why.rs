//! Why: over HTTP, and as the command line tells it.

use crate::binary::{Serving, switchboard};
use crate::support::{API_KEY, Answer, TWO_APPS, ask, configured, connect, native, receive, request, with_server};
use core::net::SocketAddr;
use serde_json::{Value, json};
use std::io::Write;

async fn post(address: SocketAddr, path: &str, key: &str, body: &Value) -> Answer {
    let head = format!("POST /api/v1/{path}\nAuthorization: Bearer {key}\nContent-Type: application/json");
    request(address, &head, &body.to_string()).await
}

#[test]
fn the_api_follows_a_publication_to_its_subscribers() {
    with_server(&configured(TWO_APPS), async |server| {
        let address = server.address();
        let mut subscriber = connect(&format!("ws://{address}/ws")).await;
        let welcome = receive(&mut subscriber).await;
        ask(&mut subscriber, &json!({ "type": "subscribe", "id": 1, "channel": "room:lobby" })).await;
        for _ in 0..2 {
            let body = json!({ "channel": "room:lobby", "data": 1, "idempotency_key": "once" });
            assert_eq!(post(address, "publish", API_KEY, &body).await.status, 200);
        }
        assert_eq!(receive(&mut subscriber).await["type"], "message");

        let question = json!({ "channel": "room:lobby", "offset": 1, "session": welcome["session"] });
        let answer = post(address, "why", API_KEY, &question).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let publication = answer.json()["publications"][0].clone();
        let steps = publication["steps"].as_array().unwrap();
        let steps: Vec<&str> = steps.iter().map(|step| step["what"].as_str().unwrap()).collect();
        assert!(steps.contains(&"published") && steps.contains(&"fanned_out"), "{publication}");
        assert_eq!(publication["sessions"][0]["session"], welcome["session"]);
        assert_eq!(publication["sessions"][0]["fate"], "delivered");
        assert_eq!(publication["sessions"][0]["now"]["subscribed_after"], 0);

        // Who is named is answered, though there is no such session.
        let question = json!({ "channel": "room:lobby", "offset": 1, "session": "0-ffffff" });
        let answer = post(address, "why", API_KEY, &question).await.json();
        let nobody = json!([{ "session": "0-ffffff", "fate": "no_session", "steps": [] }]);
        assert_eq!(answer["publications"][0]["sessions"], nobody);

        let by_id = post(address, "why", API_KEY, &json!({ "id": "once", "user": welcome["user"] })).await.json();
        assert_eq!(by_id["publications"].as_array().unwrap().len(), 1, "{by_id}");
        assert_eq!(by_id["publications"][0]["sessions"][0]["fate"], "delivered");
        // Another application knows nothing of it.
        let other = post(address, "why", "another-key-0123456789", &json!({ "id": "once" })).await.json();
        assert_eq!(other, json!({ "publications": [], "unpublished": [] }));

        for (body, code) in [
            (json!({}), "bad_request"),
            (json!({ "channel": "room:lobby" }), "bad_request"),
            (json!({ "channel": "a#b", "offset": 1 }), "bad_channel"),
            (json!({ "channel": "room:lobby", "offset": 1, "id": "once" }), "bad_request"),
            (json!({ "channel": "room:lobby", "offset": -1 }), "bad_request"),
            (json!({ "id": "" }), "bad_request"),
            (json!({ "id": "once", "session": "x" }), "bad_request"),
            (json!({ "id": "once", "session": "0-1", "user": "ann" }), "bad_request"),
        ] {
            let answer = post(address, "why", API_KEY, &body).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, code), "{body}");
        }
        assert_eq!(post(address, "why", "wrong", &json!({ "id": "once" })).await.status, 401);
    });
}

#[test]
fn refused_publications_are_found_by_their_id() {
    with_server(&configured(TWO_APPS), async |server| {
        let mut publisher = native(server.address()).await;
        let refused = json!({
            "type": "publish", "id": 1, "channel": "room:lobby", "data": 1, "idempotency_key": "late",
            "if_position": { "epoch": "ff", "offset": 7 },
        });
        assert_eq!(ask(&mut publisher, &refused).await["code"], "conflict");
        let answer = post(server.address(), "why", API_KEY, &json!({ "id": "late" })).await.json();
        assert_eq!(answer["unpublished"][0]["text"], "refused: conflict", "{answer}");
        assert_eq!(answer["unpublished"][0]["channel"], "room:lobby");
    });
}

#[test]
fn the_command_prints_a_report_or_json() {
    let mut config = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    config.write_all(TWO_APPS.as_bytes()).unwrap();
    let serving = Serving::start(&["--config", config.path().to_str().unwrap()]);
    let url = format!("http://{}", serving.address);
    let why = |arguments: &[&str], key: Option<&str>| {
        let mut command = switchboard(&[&["why", "--url", &url, "--admin", "http://127.0.0.1:1"], arguments].concat());
        if let Some(key) = key {
            command.env("SWITCHBOARD_API_KEY", key);
        }
        crate::binary::finish(&mut command, b"")
    };
    crate::support::block_on(async {
        let body = json!({ "channel": "room:lobby", "data": 1 });
        assert_eq!(post(serving.address, "publish", API_KEY, &body).await.status, 200);
    });
    let told = why(&["room:lobby", "1"], Some(API_KEY));
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(told.stdout.starts_with("room:lobby at offset 1 of epoch "), "{}", told.stdout);
    assert!(told.stdout.contains("published, and sent to 0 shards"), "{}", told.stdout);
    let told = why(&["room:lobby", "1", "--json"], Some(API_KEY));
    let json: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(json["publications"][0]["steps"][0]["what"], "published");
    let epoch = json["publications"][0]["epoch"].as_str().unwrap();
    let told = why(&["room:lobby", &format!("{epoch}:1")], Some(API_KEY));
    assert!(told.stdout.contains("published, and sent to 0 shards"), "{}", told.stdout);
    let told = why(&["room:lobby", "e1:1"], Some(API_KEY));
    assert!(told.stdout.starts_with("room:lobby at offset 1 of epoch e1\n  nothing is "), "{}", told.stdout);
    assert_eq!(why(&["room:lobby", "x:1"], Some(API_KEY)).code, 1);
    let told = why(&["--id", "none"], Some(API_KEY));
    assert_eq!(told.stdout, "nothing is remembered under this id\n");
    assert_eq!(why(&["room:lobby", "1"], Some("wrong")).code, 4);
    assert_eq!(why(&["room:lobby", "1"], None).code, 2);
    assert_eq!(why(&["room:lobby"], Some(API_KEY)).code, 2);
    assert_eq!(why(&["room:lobby", "1", "--url", "ftp://x"], Some(API_KEY)).code, 2);
    serving.stop();
}
