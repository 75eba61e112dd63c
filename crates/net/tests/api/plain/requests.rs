//! Polls and single requests.

use super::{Http, ask, publish, sessions};
use crate::{block_on, start};
use serde_json::{Value, json};
use switchboard_core::Limits;

#[test]
fn polls_go_on_from_their_cursor_on_any_connection() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let (status, first) = ask(&server, "GET /poll?channel=a&channel=b", "").await;
        assert_eq!((status, &first["messages"], first.get("recovered")), (200, &json!([]), None));
        let cursor = first["cursor"].as_str().unwrap().to_owned();
        publish(&server, "a", &json!(1)).await;
        publish(&server, "b", &json!("two")).await;
        publish(&server, "a", &json!(3)).await;
        let next = |cursor: &str, rest: &str| format!("GET /poll?channel=a&channel=b&since={cursor}{rest}");
        let mut seen = Vec::new();
        let mut at = cursor.clone();
        while seen.len() < 3 {
            // Whoever asks for little gets the rest next time.
            let (_, answer) = ask(&server, &next(&at, "&limit=1"), "").await;
            assert_eq!(answer["recovered"], true);
            let message = &answer["messages"][0];
            seen.push((message["channel"].as_str().unwrap().to_owned(), message["data"].clone()));
            at = answer["cursor"].as_str().unwrap().to_owned();
        }
        seen.sort_by_key(|(channel, _)| channel.clone());
        assert_eq!(seen, [("a".into(), json!(1)), ("a".into(), json!(3)), ("b".into(), json!("two"))]);
        // Nothing new, for one who does not want to wait, then for one who does.
        let (_, answer) = ask(&server, &next(&at, "&wait=0"), "").await;
        assert_eq!((&answer["messages"], answer["cursor"].as_str()), (&json!([]), Some(&*at)));
        let mut waiting = Http::connect(&server).await;
        waiting.ask(&next(&at, "&wait=60"), "").await;
        sessions(&server, "poll", 1).await;
        publish(&server, "b", &json!(4)).await;
        let answer: Value = serde_json::from_str(&waiting.answer().await.2).unwrap();
        assert_eq!(answer["messages"][0]["data"], 4);
        // On the same connection.
        waiting.ask(&next("f:1,.0:1", "&wait=60"), "").await;
        let answer: Value = serde_json::from_str(&waiting.answer().await.2).unwrap();
        assert_eq!((&answer["recovered"], &answer["messages"]), (&json!(false), &json!([])));
        assert_eq!(answer["channels"][0]["recovered"], false);
        sessions(&server, "poll", 0).await;
    });
    server.stop();
}

#[test]
fn a_poll_ends_with_its_patience_or_with_its_client() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let (_, first) = ask(&server, "GET /poll?channel=a", "").await;
        let cursor = first["cursor"].as_str().unwrap();
        let (status, answer) = ask(&server, &format!("GET /poll?channel=a&wait=1&since={cursor}"), "").await;
        assert_eq!((status, &answer["messages"], answer["cursor"].as_str()), (200, &json!([]), Some(cursor)));
        let mut http = Http::connect(&server).await;
        http.ask(&format!("GET /poll?channel=a&wait=60&since={cursor}"), "").await;
        sessions(&server, "poll", 1).await;
        drop(http);
        sessions(&server, "poll", 0).await;
        // It was never somebody who is there.
        let (_, presence) = ask(&server, "POST /client/v1/presence", r#"{"channel":"a"}"#).await;
        assert_eq!(presence["total"], 0);
    });
    server.stop();
}

#[test]
fn an_answer_has_so_many_bytes_and_no_more() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let (_, first) = ask(&server, "GET /poll?channel=a", "").await;
        let data = json!("x".repeat(60_000));
        for _ in 0..10 {
            publish(&server, "a", &data).await;
        }
        let mut at = first["cursor"].as_str().unwrap().to_owned();
        let mut counts = Vec::new();
        while counts.iter().sum::<usize>() < 10 {
            let (_, answer) = ask(&server, &format!("GET /poll?channel=a&since={at}"), "").await;
            counts.push(answer["messages"].as_array().unwrap().len());
            at = answer["cursor"].as_str().unwrap().to_owned();
        }
        assert_eq!(counts, [5, 5]);
    });
    server.stop();
}

#[test]
fn requests_have_the_rights_of_their_token() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let body = r#"{"channel":"room:1","data":"AP8Q","encoding":"base64"}"#;
        for (head, status, code) in [
            ("POST /client/v1/publish?app=closed", 401, "unauthenticated"),
            ("POST /client/v1/publish?app=closed\nAuthorization: Bearer BOB", 401, "bad_token"),
            ("POST /client/v1/publish?app=closed\nCookie: token=BOB", 401, "bad_token"),
            (
                "POST /client/v1/publish?app=closed\nAuthorization: Bearer ANN\nOrigin: https://evil.example",
                403,
                "origin_not_allowed",
            ),
            ("GET /client/v1/publish?app=closed\nAuthorization: Bearer ANN", 405, "method_not_allowed"),
        ] {
            let (found, answer) = ask(&server, head, body).await;
            assert_eq!((found, answer["error"]["code"].as_str()), (status, Some(code)), "{head}");
        }
        let ann = "\nCookie: x=y; token=ANN\nOrigin: https://good.example";
        let (status, published) = ask(&server, &format!("POST /client/v1/publish?app=closed{ann}"), body).await;
        assert_eq!((status, &published["channel"]), (200, &json!("room:1")), "{published}");
        let (_, history) =
            ask(&server, &format!("POST /client/v1/history?app=closed{ann}"), r#"{"channel":"room:1"}"#).await;
        let [message] = &*history["publications"].as_array().unwrap().clone() else { panic!("{history}") };
        assert_eq!((&message["data"], &message["encoding"]), (&json!("AP8Q"), &json!("base64")));
        assert_eq!(message["publisher"]["user"], "ann");
        let other = r#"{"channel":"other","data":1}"#;
        let (status, refused) = ask(&server, &format!("POST /client/v1/publish?app=closed{ann}"), other).await;
        assert_eq!((status, &refused["error"]["code"]), (403, &json!("permission_denied")));
        let conflict = r#"{"channel":"room:1","data":1,"if_position":{"epoch":"e","offset":9}}"#;
        let (status, refused) = ask(&server, &format!("POST /client/v1/publish?app=closed{ann}"), conflict).await;
        assert_eq!((status, &refused["error"]["position"]["offset"]), (409, &json!(1)));
        sessions(&server, "post", 0).await;
    });
    server.stop();
}

#[test]
fn who_asks_too_often_is_asked_to_slow_down() {
    let limits = Limits { operations_per_second: 1, operations_burst: 3, ..Limits::default() };
    let server = start(limits, |settings| settings.shards = 1);
    block_on(async {
        let mut http = Http::connect(&server).await;
        let mut statuses = Vec::new();
        for _ in 0..4 {
            http.ask("POST /client/v1/presence", r#"{"channel":"a"}"#).await;
            let (status, head, _) = http.answer().await;
            assert_eq!(status == 429, head.contains("retry-after: 1\r\n"), "{head}");
            statuses.push(status);
        }
        assert_eq!(statuses, [200, 200, 200, 429]);
        assert_eq!(ask(&server, "GET /poll?channel=a", "").await.0, 429);
    });
    server.stop();
}
