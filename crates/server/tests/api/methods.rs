//! The HTTP API beyond publishing: what is asked, what is done to sessions, several requests in one, and its own description.

use crate::support::{API_KEY, Answer, TWO_APPS, ask, configured, native, receive, request, with_server};
use crate::upgrade::token;
use core::net::SocketAddr;
use serde_json::{Value, json};
use switchboard_ws::Connector;

const OTHER_KEY: &str = "another-key-0123456789";

async fn call(address: SocketAddr, key: &str, method: &str, body: &Value) -> Answer {
    let head = format!("POST /api/v1/{method}\nAuthorization: Bearer {key}\nContent-Type: application/json");
    request(address, &head, &body.to_string()).await
}

async fn done(address: SocketAddr, method: &str, body: Value) -> Value {
    let answer = call(address, API_KEY, method, &body).await;
    assert_eq!(answer.status, 200, "{method} {body}: {answer:?}");
    answer.json()
}

async fn user(address: SocketAddr, name: &str) -> crate::support::Socket {
    let token = token(crate::support::SECRET, name, &["*"]);
    let connector = Connector::new().header("Authorization", format!("Bearer {token}"));
    let mut socket = connector.connect(&format!("ws://{address}/ws")).await.unwrap().0;
    assert_eq!(receive(&mut socket).await["user"], name);
    socket
}

#[test]
fn channels_tell_how_many_are_there() {
    with_server(&configured(TWO_APPS), async |server| {
        let address = server.address();
        let mut anns = [user(address, "ann").await, user(address, "ann").await];
        let mut guest = native(address).await;
        for socket in &mut anns {
            ask(socket, &json!({ "type": "subscribe", "channel": "room:a" })).await;
        }
        for channel in ["room:a", "room:b"] {
            ask(&mut guest, &json!({ "type": "subscribe", "channel": channel })).await;
        }
        let first = json!({ "channel": "room:a", "subscribers": 3, "users": 2, "connections": 3 });
        let second = json!({ "channel": "room:b", "subscribers": 1, "users": 1, "connections": 1 });
        let all = done(address, "channels", json!({})).await;
        assert_eq!(all, json!({ "channels": [first, second], "more": false }));
        assert_eq!(done(address, "channels", json!({ "limit": 1 })).await["more"], true);
        let next = done(address, "channels", json!({ "limit": 1, "after": "room:a", "prefix": "room:" })).await;
        assert_eq!(next, json!({ "channels": [second], "more": false }));
        let other = call(address, OTHER_KEY, "channels", &json!({})).await;
        assert_eq!(other.json(), json!({ "channels": [], "more": false }));
        let one = done(address, "channel", json!({ "channel": "room:a" })).await;
        assert_eq!((&one["subscribers"], &one["occupied"], &one["cached"]), (&json!(3), &json!(true), &json!(false)));
        let nobody = done(address, "channel", json!({ "channel": "room:z" })).await;
        assert_eq!((&nobody["subscribers"], &nobody["occupied"]), (&json!(0), &json!(false)));
    });
}

#[test]
fn users_are_reached_moved_and_sent_away() {
    with_server(&configured(TWO_APPS), async |server| {
        let address = server.address();
        let mut ann = user(address, "ann").await;
        let mut bob = user(address, "bob").await;
        for socket in [&mut ann, &mut bob] {
            ask(socket, &json!({ "type": "subscribe", "channel": "#user" })).await;
            ask(socket, &json!({ "type": "subscribe", "channel": "room:a" })).await;
        }
        let sent = done(address, "send_to_user", json!({ "user": "ann", "data": "hi", "idempotency_key": "k" })).await;
        assert_eq!((&sent["user"], &sent["position"]["offset"]), (&json!("ann"), &json!(1)));
        let again = done(address, "send_to_user", json!({ "user": "ann", "data": "hi", "idempotency_key": "k" })).await;
        assert_eq!(again["duplicate"], true);
        let message = receive(&mut ann).await;
        assert_eq!((&message["channel"], &message["data"]), (&json!("#user"), &json!("hi")));
        let online = done(address, "presence", json!({ "user": "ann" })).await;
        assert_eq!((&online["user"], &online["connections"]), (&json!("ann"), &json!(1)));
        let history = done(address, "history", json!({ "user": "ann" })).await;
        assert_eq!(history["publications"].as_array().unwrap().len(), 1);

        let signal = json!({ "channel": "room:a", "user": "ann", "event": "hint", "data": [1] });
        assert_eq!(done(address, "signal", signal).await["sessions"], 1);
        let expected = json!({ "type": "signal", "channel": "room:a", "data": [1], "event": "hint" });
        assert_eq!(receive(&mut ann).await, expected, "it comes from the application, and so from nobody");
        let elsewhere = json!({ "channel": "room:b", "user": "ann", "data": 1 });
        assert_eq!(done(address, "signal", elsewhere).await["sessions"], 0);

        assert_eq!(done(address, "unsubscribe", json!({ "user": "ann", "channel": "room:a" })).await["sessions"], 1);
        assert_eq!(receive(&mut ann).await, json!({ "type": "unsubscribed", "channel": "room:a", "code": "removed" }));
        let elsewhere = call(address, OTHER_KEY, "disconnect", &json!({ "user": "ann" })).await;
        assert_eq!(elsewhere.json()["sessions"], 0);
        done(address, "send_to_user", json!({ "user": "ann", "data": "good bye" })).await;
        let end = json!({ "user": "ann", "code": 4011, "reason": "signed out" });
        assert_eq!(done(address, "disconnect", end).await["sessions"], 1);
        assert_eq!(receive(&mut ann).await["data"], "good bye");
        let last = receive(&mut ann).await;
        assert_eq!(
            (&last["type"], &last["code"], &last["reason"]),
            (&json!("disconnect"), &json!(4011), &json!("signed out"))
        );
        assert!(ann.recv().await.is_none());
        assert_eq!(ann.close_frame().map(|frame| u16::from(frame.code)), Some(4011));
        // The others have noticed nothing.
        assert_eq!(ask(&mut bob, &json!({ "type": "presence", "channel": "room:a" })).await["total"], 1);
    });
}

#[test]
fn a_batch_does_one_after_the_other_and_each_stands_for_itself() {
    with_server(&configured(TWO_APPS), async |server| {
        let address = server.address();
        let requests = json!([
            { "method": "publish", "channel": "a", "data": { "b": 1.50, "a": [] } },
            { "method": "publish", "channel": "a#", "data": 1 },
            { "method": "broadcast", "channels": ["a", "b"], "data": 2 },
            { "method": "history", "channel": "a" },
            { "method": "disconnect", "user": "nobody" },
            { "method": "batch", "requests": [] },
            { "method": "shout" },
            { "channel": "a" },
            7,
        ]);
        let answer = done(address, "batch", json!({ "requests": requests })).await;
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results[0]["position"]["offset"], 1);
        assert_eq!(results[1]["error"]["code"], "bad_channel");
        assert_eq!(results[2]["results"][0]["position"]["offset"], 2);
        assert_eq!(results[3]["publications"].as_array().unwrap().len(), 2);
        assert_eq!(results[4]["sessions"], 0);
        let codes: Vec<&str> = results[5..].iter().map(|result| result["error"]["code"].as_str().unwrap()).collect();
        assert_eq!(codes, ["bad_request", "bad_request", "bad_request", "bad_json"]);
        for requests in [json!([]), json!(vec![json!({ "method": "channels" }); 101]), json!(1)] {
            let refused = call(address, API_KEY, "batch", &json!({ "requests": requests })).await;
            assert_eq!((refused.status, refused.code()), (400, "bad_request".to_owned()));
        }
        let head = format!("POST /api/v1/batch\nAuthorization: Bearer {API_KEY}\nIdempotency-Key: x");
        assert_eq!(request(address, &head, r#"{"requests":[{"method":"channels"}]}"#).await.status, 400);
        // Larger than any one message may be, and too large.
        let large = json!({ "method": "publish", "channel": "a", "data": "x".repeat(60_000) });
        done(address, "batch", json!({ "requests": vec![large.clone(); 10] })).await;
        assert_eq!(call(address, API_KEY, "batch", &json!({ "requests": vec![large; 20] })).await.status, 413);
    });
}

#[test]
fn what_is_wrong_is_named() {
    with_server(&configured(TWO_APPS), async |server| {
        let address = server.address();
        for (method, body, says) in [
            ("send_to_user", json!({ "data": 1 }), "\"user\" is missing"),
            ("send_to_user", json!({ "user": "", "data": 1 }), "user name is empty"),
            ("send_to_user", json!({ "user": "a" }), "data"),
            ("presence", json!({}), "\"channel\" is missing"),
            ("presence", json!({ "user": "a", "channel": "b" }), "exclude each other"),
            ("disconnect", json!({}), "\"user\" or \"session\""),
            ("disconnect", json!({ "user": "a", "session": "0-1" }), "\"user\" or \"session\""),
            ("disconnect", json!({ "session": "x" }), "\"session\""),
            ("disconnect", json!({ "user": "a", "code": 1000 }), "\"code\""),
            ("disconnect", json!({ "user": "a", "code": 4200 }), "\"code\""),
            ("disconnect", json!({ "user": "a", "reason": "x".repeat(124) }), "\"reason\""),
            ("disconnect", json!({ "user": "a", "reason": "a\nb" }), "\"reason\""),
            ("unsubscribe", json!({ "user": "a" }), "channel"),
            ("signal", json!({ "channel": "c", "data": 1 }), "whom"),
            ("signal", json!({ "channel": "c", "user": "a" }), "data"),
            ("signal", json!({ "channel": "c", "user": "a", "data": 1, "event": "a\nb" }), "event"),
            ("unsubscribe", json!({ "user": "a", "channel": "#user" }), "reserved"),
            ("channels", json!({ "limit": 0 }), "\"limit\""),
            ("channels", json!({ "limit": 1_001 }), "\"limit\""),
            ("channels", json!({ "prefix": "x".repeat(201) }), "\"prefix\""),
            ("channel", json!({}), "\"channel\" is missing"),
            // The member is named, and where there are many the one of them.
            ("channel", json!({ "channel": 7 }), "\"channel\": invalid type: integer `7`, expected a string"),
            ("history", json!({ "channel": "a", "limit": -1 }), "\"limit\" is -1, not an integer from 1 to 1000"),
            ("presence", json!({ "channel": "a", "limit": -1 }), "\"limit\" is -1, not an integer from 0 on"),
            ("presence", json!({ "channel": "a", "limit": 1.5 }), "\"limit\" is 1.5, not an integer from 0 on"),
            ("channels", json!({ "limit": "7" }), "\"limit\" is \"7\", not an integer from 1 to 1000"),
            ("disconnect", json!({ "user": "a", "code": -1 }), "\"code\" is -1, not an integer from 4000 to 4199"),
            (
                "history",
                json!({ "channel": "a", "since": { "epoch": "e", "offset": -1 } }),
                "\"since\": invalid value: integer `-1`, expected an integer from 0 on",
            ),
            (
                "history",
                json!({ "channel": "a", "since": "x" }),
                "\"since\": invalid type: string \"x\", expected a position",
            ),
            ("history", json!({ "channel": "a", "before": { "epoch": "e" } }), "\"before\": \"offset\" is missing"),
            ("publish", json!({ "channel": "a", "data": 1, "event": ["b"] }), "\"event\": invalid type: sequence"),
            ("broadcast", json!({ "channels": "a", "data": 1 }), "\"channels\": invalid type: string"),
            (
                "broadcast",
                json!({ "channels": ["a", "b", "c#"], "data": 1 }),
                "\"channels\"[2]: channel name contains '#'",
            ),
            ("batch", json!({}), "\"requests\" is missing"),
        ] {
            let refused = call(address, API_KEY, method, &body).await;
            let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(refused.status == 400 && message.contains(says), "{method} {body}: {refused:?}");
        }
        // Over several lines, with names and values that look like another's.
        let head = format!("POST /api/v1/publish\nAuthorization: Bearer {API_KEY}");
        for (body, says) in [
            (
                "{\n\"x\": \"\\\"event\\\":7\",\n\"event\":\n 7, \"channel\": \"a\", \"data\": 1}",
                "\"event\": invalid type: integer `7`",
            ),
            ("{\"channel\":\"a\",\"data\":1,\"channel\":\"b\"}", "\"channel\" stands there twice"),
        ] {
            let refused = request(address, &head, body).await;
            let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(refused.status == 400 && message.starts_with(says), "{body}: {refused:?}");
        }
    });
}

#[test]
fn a_body_that_is_compressed_is_refused_for_that() {
    with_server(&configured(TWO_APPS), async |server| {
        let head = format!("POST /api/v1/channels\nAuthorization: Bearer {API_KEY}\nContent-Encoding: ");
        let refused = request(server.address(), &format!("{head}gzip"), "{}").await;
        assert_eq!((refused.status, refused.code().as_str()), (415, "bad_request"));
        assert!(refused.body.contains("Content-Encoding is \\\"gzip\\\""), "{refused:?}");
        assert_eq!(request(server.address(), &format!("{head}Identity"), "{}").await.status, 200);
    });
}

/// Every route × a body that is empty, cut off, no object, or too large; and without a key.
#[test]
fn every_route_refuses_bodies_that_are_none() {
    with_server(&configured(TWO_APPS), async |server| {
        let address = server.address();
        for method in methods(&description(address).await) {
            let head = format!("POST /api/v1/{method}\nAuthorization: Bearer {API_KEY}");
            for body in ["", "{", "[]", "null", "\"x\"", "{\"a\":}", "\u{0}"] {
                let refused = request(address, &head, body).await;
                assert_eq!((refused.status, refused.code().as_str()), (400, "bad_json"), "{method} {body:?}");
            }
            let large = format!("{{\"data\":\"{}\"}}", "x".repeat(2 << 20));
            assert_eq!(request(address, &head, &large).await.status, 413, "{method}");
            let anonymous = request(address, &format!("POST /api/v1/{method}"), "{}").await;
            assert_eq!((anonymous.status, anonymous.code().as_str()), (401, "unauthenticated"), "{method}");
            let wrong = request(address, &format!("GET /api/v1/{method}"), "").await;
            assert!(wrong.status == 405 && wrong.has_header("allow: post"), "{method}: {wrong:?}");
        }
    });
}

async fn description(address: SocketAddr) -> Value {
    let answer = request(address, "GET /api/v1/openapi.json", "").await;
    assert_eq!(answer.status, 200);
    assert!(answer.has_header("content-type: application/json"));
    answer.json()
}

fn methods(description: &Value) -> Vec<String> {
    let paths = description["paths"].as_object().unwrap();
    let methods = paths.iter().filter(|(_, what)| what.get("post").is_some());
    methods.map(|(path, _)| path.strip_prefix("/api/v1/").unwrap().to_owned()).collect()
}

/// The description names the routes that there are, and each of its examples does what it says.
#[test]
fn the_description_is_true() {
    with_server(&configured(TWO_APPS), async |server| {
        let address = server.address();
        let description = description(address).await;
        let mut described = methods(&description);
        described.sort_unstable();
        let routes = [
            "batch",
            "broadcast",
            "channel",
            "channels",
            "disconnect",
            "history",
            "presence",
            "publish",
            "send_to_user",
            "signal",
            "unsubscribe",
            "why",
        ];
        assert_eq!(described, routes);
        for method in described {
            let about = &description["paths"][format!("/api/v1/{method}")]["post"];
            let body = &about["requestBody"]["content"]["application/json"];
            let answer = done(address, &method, body["example"].clone()).await;
            let schema = &about["responses"]["200"]["content"]["application/json"]["schema"];
            let (required, known) = members(&description, schema);
            let answered: Vec<&String> = answer.as_object().unwrap().keys().collect();
            assert!(
                required.iter().all(|name| answered.contains(&name)),
                "{method}: {answer} has not all of {required:?}"
            );
            assert!(answered.iter().all(|name| known.contains(name)), "{method}: {answer} has more than {known:?}");
            let refused = call(address, "nobody's", &method, &body["example"]).await;
            assert_eq!(refused.status, 401);
        }
    });
}

/// The members that an answer must and may have.
fn members(description: &Value, schema: &Value) -> (Vec<String>, Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        return members(description, description.pointer(reference.strip_prefix('#').unwrap()).unwrap());
    }
    let names = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let mut required = names(&schema["required"]);
    let mut known: Vec<String> =
        schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        let (more_required, more_known) = members(description, part);
        required.extend(more_required);
        known.extend(more_known);
    }
    (required, known)
}
