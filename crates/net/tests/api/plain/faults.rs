//! What ends others' servers: empty, truncated and endless requests on each route (SECURITY.md).

use super::{Http, ask, publish, sessions};
use crate::{block_on, start};
use serde_json::json;
use switchboard_core::Limits;
use switchboard_session::admission::TrustedProxies;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ROUTES: [&str; 6] = [
    "GET /sse?channel=a",
    "GET /stream?channel=a",
    "GET /poll?channel=a",
    "POST /client/v1/publish",
    "POST /client/v1/presence",
    "POST /client/v1/history",
];

#[test]
fn empty_truncated_and_reset_requests_harm_nobody() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        for route in ROUTES {
            let head = format!("{route} HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n");
            for cut in [2, route.len(), head.len() - 2, head.len()] {
                for reset in [false, true] {
                    let mut http = Http::connect(&server).await;
                    http.stream.write_all(&head.as_bytes()[..cut]).await.unwrap();
                    if reset {
                        // The kernel answers what is unread, and what still comes, with a reset.
                        http.stream.set_zero_linger().unwrap();
                    } else {
                        http.stream.shutdown().await.unwrap();
                        http.rest().await;
                        continue;
                    }
                    drop(http);
                }
            }
        }
        for (body, code) in
            [("", "bad_json"), ("{", "bad_json"), ("[]", "bad_json"), ("null", "bad_json"), ("{}", "bad_request")]
        {
            for route in ROUTES.iter().filter(|route| route.starts_with("POST")) {
                let head = if body.is_empty() { format!("{route}\nContent-Length: 0") } else { (*route).to_owned() };
                let (status, answer) = ask(&server, &head, body).await;
                assert_eq!((status, answer["error"]["code"].as_str()), (400, Some(code)), "{route} {body:?}");
            }
        }
        let (status, _) = ask(&server, "POST /client/v1/publish", &"[".repeat(5_000)).await;
        assert_eq!(status, 400);
        publish(&server, "a", &json!(1)).await;
        for dialect in ["sse", "stream", "poll", "post"] {
            sessions(&server, dialect, 0).await;
        }
    });
    server.stop();
}

#[test]
fn heads_and_bodies_have_their_limits() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        for route in ROUTES {
            let many: String = (0..200).map(|n| format!("\nX-{n}: y")).collect();
            assert_eq!(ask(&server, &format!("{route}{many}"), "").await.0, 431, "{route}");
            assert_eq!(ask(&server, &format!("{route}\nX: {}", "y".repeat(40_000)), "").await.0, 431, "{route}");
        }
        let body = format!(r#"{{"channel":"a","data":"{}"}}"#, "x".repeat(64 * 1024));
        let (status, answer) = ask(&server, "POST /client/v1/publish", &body).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (413, Some("limit_exceeded")));
        // Endless, in pieces: nothing of it is kept beyond the limit.
        let mut http = Http::connect(&server).await;
        http.ask("POST /client/v1/publish\nTransfer-Encoding: chunked", "").await;
        let piece = [b"4000\r\n".as_slice(), &[b'\n'; 0x4000], b"\r\n"].concat();
        let mut sent = 0;
        while sent < 8 * 1024 * 1024 && http.stream.write_all(&piece).await.is_ok() {
            sent += piece.len();
        }
        assert!(sent < 8 * 1024 * 1024, "all of it was taken");
        let mut answer = Vec::new();
        let _ = http.stream.read_to_end(&mut answer).await;
        sessions(&server, "post", 0).await;
    });
    server.stop();
}

#[test]
fn each_address_has_so_many_places_and_gets_them_back() {
    let server = start(Limits::default(), |settings| settings.connections_per_address = 3);
    block_on(async {
        let mut streams = Vec::new();
        for _ in 0..3 {
            let mut http = Http::connect(&server).await;
            http.ask("GET /sse?channel=a", "").await;
            http.until("switchboard:subscribed").await;
            streams.push(http);
        }
        assert!(Http::connect(&server).await.rest().await.starts_with("HTTP/1.1 429"));
        streams.pop();
        sessions(&server, "sse", 2).await;
        for _ in 0..1_000 {
            let mut http = Http::connect(&server).await;
            let _ = http.stream.write_all(b"GET /sse?channel=a HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let mut first = [0; 12];
            if http.stream.read_exact(&mut first).await.is_ok() && &first == b"HTTP/1.1 200" {
                return;
            }
        }
        panic!("the place was never given back");
    });
    server.stop();
}

#[test]
fn behind_a_proxy_clients_are_counted_apart_and_a_refusal_spoils_no_connection_for_others() {
    let server = start(Limits::default(), |settings| {
        settings.connections_per_address = 1;
        settings.proxies = TrustedProxies::new(vec!["127.0.0.1".parse().unwrap()]);
    });
    let listen = |client| format!("GET /sse?channel=a\nX-Forwarded-For: 6.6.6.6, {client}");
    block_on(async {
        let mut first = Http::connect(&server).await;
        first.ask(&listen("192.0.2.1"), "").await;
        first.until("switchboard:subscribed").await;
        // A proxy keeps connections, and sends over each what any client asks.
        let mut kept = Http::connect(&server).await;
        kept.ask("POST /client/v1/history\nX-Forwarded-For: 192.0.2.9", r#"{"channel":"a"}"#).await;
        assert_eq!(kept.answer().await.0, 200);
        kept.ask(&listen("192.0.2.1"), "").await;
        let (status, head, _) = kept.answer().await;
        assert_eq!(status, 503, "{head}");
        assert!(head.contains("connection: close"), "{head}");
        assert_eq!(kept.rest().await, "");
        let mut other = Http::connect(&server).await;
        other.ask(&listen("192.0.2.2"), "").await;
        other.until("switchboard:subscribed").await;
    });
    server.stop();
}
