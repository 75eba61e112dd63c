//! A canary: secrets that are looked for wherever the server writes or answers.

use crate::binary::Serving;
use crate::support::{block_on, native, request};
use core::time::Duration;
use serde_json::json;
use std::io::Write;
use switchboard_ws::Connector;

const CONFIG: &str = r#"
    [[apps]]
    id = "a"
    secret = "CANARY-secret-0123456789abcdef0123456789"
    secrets = [{ kid = "2", value = "CANARY-second-0123456789abcdef0123456789" }]
    api_keys = ["CANARY-api-key-0123456789"]
    anonymous = [{ match = "*", allow = ["*"] }]
    allow_query_token = true
    token_cookie = "token"
    [[apps.webhooks]]
    url = "http://127.0.0.1:9/CANARY-path?key=CANARY-query"
    events = ["channel_occupied", "client_event"]
    headers = { X-Auth = "CANARY-header" }
    [webhooks]
    allow = ["127.0.0.1"]
    batch_wait = "0s"
    retry_first = "1ms"
    retry_max = "1ms"
"#;

#[test]
fn no_secret_is_written_or_answered() {
    let mut config = tempfile::NamedTempFile::new().unwrap();
    config.write_all(CONFIG.as_bytes()).unwrap();
    let serving =
        Serving::start(&["--config", config.path().to_str().unwrap(), "--log", "trace", "--log-format", "json"]);
    let (address, admin) = (serving.address, serving.admin);
    let mut answers = String::new();
    block_on(async {
        let upgrade = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        for head in [
            format!("GET /ws?token=CANARY-token\n{upgrade}"),
            format!("GET /ws?x=%zz&token=CANARY-token\n{upgrade}"),
            format!("GET /ws\nAuthorization: Bearer CANARY-token\n{upgrade}"),
            format!("GET /ws\nSec-WebSocket-Protocol: switchboard.v1.json, switchboard.token.CANARY-token\n{upgrade}"),
            format!("GET /ws/none?token=CANARY-token\n{upgrade}"),
            "GET /nope?token=CANARY-token".to_owned(),
            "GET /ws?token=CANARY-token".to_owned(),
            "GET /sse?channel=c&token=CANARY-token".to_owned(),
            "GET /poll?channel=c\nCookie: a=b; token=CANARY-token".to_owned(),
            "POST /client/v1/publish\nAuthorization: Bearer CANARY-token".to_owned(),
            "POST /api/v1/publish\nAuthorization: Bearer CANARY-wrong".to_owned(),
            "POST /api/v1/publish\nAuthorization: Bearer CANARY-api-key-0123456789".to_owned(),
        ] {
            let answer = request(address, &head, r#"{"channel":"c","data":1}"#).await;
            answers.push_str(&answer.head);
            answers.push_str(&answer.body);
        }
        let mut socket = native(address).await;
        let wrong = json!({ "type": "authenticate", "id": 1, "token": "CANARY-token" });
        answers.push_str(&crate::support::ask(&mut socket, &wrong).await.to_string());
        // A webhook that cannot be told is logged.
        crate::support::ask(&mut socket, &json!({ "type": "subscribe", "id": 1, "channel": "c" })).await;
        while !request(admin, "GET /metrics", "").await.body.contains("webhook_breaker{app=\"a\",webhook=\"0\"} 2") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let good = crate::upgrade::token("CANARY-secret-0123456789abcdef0123456789", "ann", &["*"]);
        let url = format!("ws://{address}/ws?token={good}");
        let (mut by_query, _) = Connector::new().connect(&url).await.unwrap();
        answers.push_str(&crate::support::receive_text(&mut by_query).await);
        for path in
            ["/metrics", "/api/console/info", "/api/console/stats", "/healthz", "/readyz", "/nope?token=CANARY-token"]
        {
            let answer = request(admin, &format!("GET {path}"), "").await;
            answers.push_str(&answer.head);
            answers.push_str(&answer.body);
        }
        let asked =
            request(admin, "POST /api/console/token\nContent-Type: application/json", r#"{"user":"CANARY"}"#).await;
        answers.push_str(&asked.body);
        // The log is written by other threads.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!answers.contains("CANARY") && !answers.contains("canary"), "{answers}");
        assert!(answers.contains("bad_token"), "the canary was shown at all");
        serving.signal("TERM");
        let (code, written, log) = serving.wait();
        assert_eq!(code, Some(0));
        let signature = good.rsplit('.').next().unwrap();
        for text in [&written, &log] {
            assert!(!text.contains("CANARY") && !text.contains(signature), "{text}");
        }
        assert!(log.contains("a client was refused") && log.contains("a webhook cannot be told"), "{log}");
        assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
    });
}
