//! The admin listener: whom it answers, and what it tells.

use crate::support::{TWO_APPS, ask, configured, connect, native, receive, request, with_server};
use serde_json::json;
use switchboard_server::config::Config;

#[test]
fn only_requests_that_name_the_listener_are_answered() {
    with_server(&configured(""), async |server| {
        let admin = server.admin_address().unwrap();
        let port = admin.port();
        let other = port.wrapping_add(1);
        for host in [
            format!("127.0.0.1:{port}"),
            format!("localhost:{port}"),
            format!("LOCALHOST:{port}"),
            format!("[::1]:{port}"),
        ] {
            let answer = request(admin, &format!("GET /healthz\nHost: {host}"), "").await;
            assert_eq!(answer.status, 200, "{host}");
        }
        for host in [
            "evil.com".to_owned(),
            format!("evil.com:{port}"),
            "127.0.0.1".to_owned(),
            format!("127.0.0.1:{other}"),
            String::new(),
        ] {
            for path in ["/", "/healthz", "/metrics", "/api/console/info"] {
                let answer = request(admin, &format!("GET {path}\nHost: {host}"), "").await;
                assert_eq!((answer.status, answer.code().as_str()), (421, "wrong_host"), "{host} {path}");
            }
        }
        let twice = request(admin, &format!("GET /healthz\nHost: 127.0.0.1:{port}\nHost: evil.com"), "").await;
        assert!(matches!(twice.status, 400 | 421), "{twice:?}");
        let foreign = request(admin, "GET /api/console/info\nOrigin: https://evil.com", "").await;
        assert_eq!((foreign.status, foreign.code().as_str()), (403, "origin_not_allowed"));
        let own = request(admin, &format!("GET /api/console/info\nOrigin: http://localhost:{port}"), "").await;
        assert_eq!(own.status, 200);
    });
}

#[test]
fn the_page_and_its_files_come_with_their_types_and_tags() {
    with_server(&configured(""), async |server| {
        let admin = server.admin_address().unwrap();
        let page = request(admin, "GET /", "").await;
        assert_eq!(page.status, 200);
        assert!(page.has_header("content-type: text/html; charset=utf-8") && page.body.contains("<!doctype html>"));
        assert!(page.head.contains("content-security-policy: default-src 'self'"));
        assert!(page.head.contains("frame-ancestors 'none'"));
        let tag = page.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
        let again = request(admin, &format!("GET /\nIf-None-Match: {tag}"), "").await;
        assert_eq!((again.status, again.body.as_str()), (304, ""));
        assert_eq!(request(admin, "GET /../Cargo.toml", "").await.status, 404);
        assert_eq!(request(admin, "GET /nope.js", "").await.status, 404);
        assert_eq!(request(admin, "POST /index.html", "").await.status, 405);
    });
}

#[test]
fn the_console_learns_about_the_development_application() {
    with_server(&configured(""), async |server| {
        let (address, admin) = (server.address(), server.admin_address().unwrap());
        let info = request(admin, "GET /api/console/info", "").await.json();
        assert_eq!(info["development"], true);
        assert_eq!(info["addresses"]["ws"], format!("ws://{address}/ws"));
        assert_eq!(info["addresses"]["chat"], format!("ws://{address}/chat"));
        assert_eq!(info["addresses"]["admin"], format!("http://{admin}"));
        assert_eq!((&info["apps"][0]["id"], &info["apps"][0]["anonymous"]), (&json!("dev"), &json!(true)));
        connect(&format!("ws://{address}/ws/{}", info["apps"][0]["key"].as_str().unwrap())).await;

        let publish = format!("POST /api/v1/publish\nAuthorization: Bearer {}", info["api_key"].as_str().unwrap());
        assert_eq!(request(address, &publish, r#"{"channel":"c","data":1}"#).await.status, 200);

        let json_type = "\nContent-Type: application/json";
        let asked =
            request(admin, &format!("POST /api/console/token{json_type}"), r#"{"user":"bob","app":"dev"}"#).await;
        assert_eq!(asked.status, 200, "{asked:?}");
        for token in [&info["token"], &asked.json()["token"]] {
            let connector =
                switchboard_ws::Connector::new().header("Authorization", format!("Bearer {}", token.as_str().unwrap()));
            let (mut socket, _) = connector.connect(&format!("ws://{address}/ws")).await.unwrap();
            let user = receive(&mut socket).await["user"].clone();
            assert!(user == "ann" || user == "bob", "{user}");
        }
        for (head, body, status) in [
            ("POST /api/console/token".to_owned(), r#"{"user":"bob"}"#, 415),
            ("POST /api/console/token\nContent-Type: text/plain".to_owned(), r#"{"user":"bob"}"#, 415),
            (format!("POST /api/console/token{json_type}"), "{}", 400),
            (format!("POST /api/console/token{json_type}"), r#"{"user":""}"#, 400),
            (format!("POST /api/console/token{json_type}"), r#"{"user":"bob","app":"other"}"#, 403),
            (format!("POST /api/console/token{json_type}\nOrigin: http://evil.com"), r#"{"user":"bob"}"#, 403),
        ] {
            assert_eq!(request(admin, &head, body).await.status, status, "{head} {body}");
        }
    });
}

#[test]
fn configured_keys_are_told_to_nobody() {
    with_server(&configured(TWO_APPS), async |server| {
        let admin = server.admin_address().unwrap();
        let info = request(admin, "GET /api/console/info", "").await.json();
        assert_eq!(
            (&info["development"], &info["api_key"], &info["token"]),
            (&json!(false), &json!(null), &json!(null))
        );
        assert_eq!(info["apps"].as_array().unwrap().len(), 2);
        let asked =
            request(admin, "POST /api/console/token\nContent-Type: application/json", r#"{"user":"bob","app":"open"}"#)
                .await;
        assert_eq!((asked.status, asked.code().as_str()), (403, "permission_denied"));
    });
}

#[test]
fn counters_count() {
    with_server(&Config { shards: 1, ..configured("") }, async |server| {
        let (address, admin) = (server.address(), server.admin_address().unwrap());
        assert_eq!(request(admin, "GET /readyz", "").await.json()["ready"], true);
        let mut socket = native(address).await;
        ask(&mut socket, &json!({ "type": "subscribe", "id": 1, "channel": "c" })).await;
        socket.send(json!({ "type": "publish", "channel": "c", "data": 1 }).to_string()).await.unwrap();
        assert_eq!(receive(&mut socket).await["type"], "message");
        request(address, "GET /ws/none", "").await;
        socket.send(json!({ "type": "ping" }).to_string()).await.unwrap();
        assert_eq!(receive(&mut socket).await["type"], "pong");
        // A shard publishes its counters at the end of a turn, which may be just after the message went out.
        let mut stats = json!(null);
        for _ in 0..100 {
            stats = request(admin, "GET /api/console/stats", "").await.json();
            if stats["errors"] == 1 && stats["messages_out"] == 1 {
                break;
            }
            tokio::time::sleep(core::time::Duration::from_millis(20)).await;
        }
        for (name, value) in [
            ("connections", 1),
            ("sessions", 1),
            ("subscriptions", 1),
            ("messages_in", 3),
            ("messages_out", 1),
            ("errors", 1),
        ] {
            assert_eq!(stats[name], value, "{name}: {stats}");
        }
        assert_eq!((&stats["dialects"]["native"], &stats["ready"]), (&json!(1), &json!(true)));
        assert_eq!(stats["shards"].as_array().unwrap().len(), 1);
        assert!(stats["bytes_in"].as_u64().unwrap() > 0 && stats["bytes_out"].as_u64().unwrap() > 0);

        let metrics = request(admin, "GET /metrics", "").await;
        assert!(metrics.has_header("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
        for line in [
            "switchboard_ready 1",
            "switchboard_connections 1",
            "switchboard_messages_received_total 3",
            "switchboard_upgrades_refused_total 1",
            "switchboard_sessions{dialect=\"native\"} 1",
            "switchboard_sessions{dialect=\"raw\"} 0",
            "# EOF",
        ] {
            assert!(metrics.body.lines().any(|known| known == line), "{line} is not in\n{}", metrics.body);
        }
    });
}
