//! Streams over HTTP/1.1.

use super::{Http, ask, publish, sessions};
use crate::client::Client;
use crate::{block_on, start};
use core::time::Duration;
use serde_json::json;
use switchboard_core::Limits;
use tokio::io::AsyncWriteExt;

#[test]
fn a_stream_of_events_begins_with_its_subscription_and_goes_on_from_any_id() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let mut http = Http::connect(&server).await;
        http.ask("GET /sse?channel=news\nOrigin: https://good.example", "").await;
        let head = http.until("\r\n\r\n").await;
        for line in [
            "HTTP/1.1 200 OK\r\n",
            "content-type: text/event-stream\r\n",
            "cache-control: no-store\r\n",
            "x-accel-buffering: no\r\n",
            "connection: close\r\n",
            "access-control-allow-origin: https://good.example\r\n",
        ] {
            assert!(head.contains(line), "{line:?} is not in {head}");
        }
        let welcome = http.event().await;
        assert!(
            welcome.starts_with("retry: 2000\nevent: switchboard:welcome\ndata: {\"type\":\"welcome\""),
            "{welcome}"
        );
        assert!(
            http.event()
                .await
                .contains("event: switchboard:subscribed\ndata: {\"type\":\"subscribed\",\"channel\":\"news\"")
        );
        let ids = [
            publish(&server, "news", &json!({ "n": 1 })).await,
            publish(&server, "news", &json!("two\nlines")).await,
            publish(&server, "news", &json!("")).await,
        ];
        assert_eq!(http.event().await, format!("id: {}\ndata: {{\"n\":1}}", ids[0]));
        assert_eq!(http.event().await, format!("id: {}\ndata: two\ndata: lines", ids[1]));
        assert_eq!(http.event().await, format!("id: {}\ndata:", ids[2]));

        let mut back = Http::connect(&server).await;
        back.ask(&format!("GET /sse?channel=news\nLast-Event-ID: {}", ids[1]), "").await;
        back.until("\r\n\r\n").await;
        back.event().await;
        let subscribed = back.event().await;
        assert!(subscribed.starts_with(&format!("id: {}\n", ids[1])) && subscribed.ends_with(r#","recovered":true}"#));
        assert_eq!(back.event().await, format!("id: {}\ndata:", ids[2]));
        assert!(back.event().await.starts_with("event: switchboard:caught_up"));
        drop((http, back));
        sessions(&server, "sse", 0).await;
        assert_eq!(server.hub().stats().total.streams, 0);
    });
    server.stop();
}

#[test]
fn lines_are_the_native_protocols_messages() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let mut http = Http::connect(&server).await;
        http.ask("GET /stream?channel=news&pattern=sensors/%2B&presence=1", "").await;
        assert!(http.until("\r\n\r\n").await.contains("content-type: application/x-ndjson\r\n"));
        let mut seen = Vec::new();
        let mut client = Client::connect(&server, "/ws").await;
        client.text().await;
        while seen.len() < 3 {
            let line: serde_json::Value = serde_json::from_str(&http.until("\n").await).unwrap();
            seen.push(line["type"].as_str().unwrap().to_owned());
        }
        assert_eq!(seen, ["welcome", "subscribed", "subscribed"]);
        client
            .send(
                r#"{"type":"publish","channel":"sensors/1","data":{ "broken":
            true }}"#,
            )
            .await;
        let line: serde_json::Value = serde_json::from_str(&http.until("\n").await).unwrap();
        assert_eq!((&line["channel"], &line["data"]), (&json!("sensors/1"), &json!({ "broken": true })));
        client.send(r#"{"type":"subscribe","channel":"news"}"#).await;
        let line: serde_json::Value = serde_json::from_str(&http.until("\n").await).unwrap();
        assert_eq!((&line["type"], &line["channel"]), (&json!("join"), &json!("news")));
    });
    server.stop();
}

#[test]
fn a_stream_may_follow_other_requests_of_its_connection() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let mut http = Http::connect(&server).await;
        http.ask("GET /hello", "").await;
        assert_eq!(http.answer().await.2, "hello");
        // And even before they are answered.
        http.ask("GET /hello", "").await;
        http.ask("GET /sse?channel=news", "").await;
        assert_eq!(http.answer().await.2, "hello");
        assert!(http.until("\r\n\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
        http.event().await;
    });
    server.stop();
}

#[test]
fn silence_is_broken_by_comments() {
    let server = start(Limits { heartbeat: Duration::from_millis(50), ..Limits::default() }, |_| {});
    block_on(async {
        let mut http = Http::connect(&server).await;
        http.ask("GET /sse?channel=news", "").await;
        http.until("\r\n\r\n").await;
        http.until("switchboard:subscribed").await;
        http.event().await;
        assert_eq!((http.event().await, http.event().await), (":".to_owned(), ":".to_owned()));
    });
    server.stop();
}

#[test]
fn a_reader_that_stops_costs_no_more_than_its_outbox_and_is_told_why_it_ends() {
    let server = start(Limits { outbox_bytes: 64 * 1024, ..Limits::default() }, |settings| settings.shards = 1);
    block_on(async {
        let mut slow = Http::connect_narrow(&server).await;
        slow.ask("GET /sse?channel=news", "").await;
        let mut healthy = Http::connect(&server).await;
        healthy.ask("GET /sse?channel=news", "").await;
        sessions(&server, "sse", 2).await;
        let mut client = Client::connect(&server, "/ws").await;
        client.text().await;
        let data = "x".repeat(16 * 1024);
        for n in 0..2_000 {
            if server.hub().stats().total.slow_consumers == 1 {
                break;
            }
            assert!(n < 1_999, "the reader that stopped was never given up");
            client.send(format!(r#"{{"type":"publish","id":{n},"channel":"news","data":"{data}"}}"#)).await;
            client.text().await;
            healthy.until(&data).await;
        }
        let last = slow.rest().await;
        assert!(
            last.contains("event: switchboard:end\ndata: {\"type\":\"end\",\"code\":4100,"),
            "{}",
            &last[last.len() - 300..]
        );
        publish(&server, "news", &json!("still here")).await;
        healthy.until("data: still here\n\n").await;
    });
    server.stop();
}

#[test]
fn at_shutdown_streams_are_told_when_to_come_back() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let mut http = Http::connect(&server).await;
        http.ask("GET /sse?channel=news", "").await;
        http.until("switchboard:subscribed").await;
        let mut poll = Http::connect(&server).await;
        let (_, first) = ask(&server, "GET /poll?channel=news", "").await;
        poll.ask(&format!("GET /poll?channel=news&wait=60&since={}", first["cursor"].as_str().unwrap()), "").await;
        sessions(&server, "poll", 1).await;
        let draining = async { server.drain(Duration::from_millis(50)).await };
        let told = async {
            let (status, _, body) = poll.answer().await;
            assert_eq!((status, body.contains("\"messages\":[]")), (200, true), "{body}");
            http.rest().await
        };
        let ((), told) = tokio::join!(draining, told);
        let retry = told.lines().find_map(|line| line.strip_prefix("retry: ")).unwrap().parse::<u64>().unwrap();
        assert!(retry <= 50 && told.contains("\"code\":1001") && told.contains("\"reconnect\":true"), "{told}");
    });
    server.stop();
}

#[test]
fn a_client_that_hangs_up_or_sends_where_nobody_listens_is_gone() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let mut http = Http::connect(&server).await;
        http.ask("GET /sse?channel=news", "").await;
        http.until("switchboard:subscribed").await;
        http.stream.shutdown().await.unwrap();
        http.rest().await;
        sessions(&server, "sse", 0).await;

        let mut http = Http::connect(&server).await;
        http.ask("GET /sse?channel=news", "").await;
        http.until("switchboard:subscribed").await;
        // Eight megabytes of newlines (CVE-2026-32689): the connection ends long before.
        let mut sent = 0;
        while sent < 8 * 1024 * 1024 && http.stream.write_all(&[b'\n'; 16 * 1024]).await.is_ok() {
            sent += 16 * 1024;
        }
        assert!(sent < 8 * 1024 * 1024, "all of it was taken");
        sessions(&server, "sse", 0).await;
    });
    server.stop();
}
