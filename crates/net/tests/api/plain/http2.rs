//! The same over HTTP/2.

use super::{publish, sessions};
use crate::{block_on, start};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use serde_json::{Value, json};
use switchboard_core::Limits;
use switchboard_net::Server;
use tokio::net::TcpStream;

pub(crate) async fn connect(server: &Server) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    // A stream that is not read leaves the others their way.
    let mut builder = h2::client::Builder::new();
    let (requests, connection) = builder.initial_connection_window_size(1024 * 1024).handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    requests
}

async fn send(requests: &mut SendRequest<Bytes>, method: &str, path: &str, body: &str) -> Response<RecvStream> {
    let request = Request::builder().method(method).uri(format!("http://a{path}")).body(()).unwrap();
    let (response, mut sender) = requests.send_request(request, body.is_empty()).unwrap();
    if !body.is_empty() {
        sender.send_data(Bytes::copy_from_slice(body.as_bytes()), true).unwrap();
    }
    response.await.unwrap()
}

/// Reads until the text has come.
async fn until(body: &mut RecvStream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let data = body.data().await.expect("more").unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        text.push_str(core::str::from_utf8(&data).unwrap());
    }
    text
}

async fn json_of(response: Response<RecvStream>) -> (u16, Value) {
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        bytes.extend_from_slice(&data.unwrap());
    }
    (head.status.as_u16(), serde_json::from_slice(&bytes).unwrap())
}

#[test]
fn streams_polls_and_requests_share_a_connection() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let mut requests = connect(&server).await;
        let mut events = Vec::new();
        for path in ["/sse?channel=a", "/sse?channel=a&channel=b", "/stream?channel=a"] {
            let response = send(&mut requests, "GET", path, "").await;
            assert_eq!((response.status(), response.headers().get("connection")), (http::StatusCode::OK, None));
            let mut body = response.into_body();
            until(&mut body, "subscribed\"").await;
            events.push(body);
        }
        let (status, published) =
            json_of(send(&mut requests, "POST", "/client/v1/publish", r#"{"channel":"a","data":{"n":1}}"#).await).await;
        assert_eq!((status, &published["channel"]), (200, &json!("a")));
        for body in &mut events {
            until(body, r#"{"n":1}"#).await;
        }
        let (_, first) = json_of(send(&mut requests, "GET", "/poll?channel=a", "").await).await;
        let path = format!("/poll?channel=a&since={}", first["cursor"].as_str().unwrap());
        let polling = tokio::spawn({
            let mut requests = requests.clone();
            async move { json_of(send(&mut requests, "GET", &path, "").await).await }
        });
        sessions(&server, "poll", 1).await;
        publish(&server, "a", &json!(2)).await;
        assert_eq!(polling.await.unwrap().1["messages"][0]["data"], 2);
        // A browser that closes an EventSource resets its stream.
        drop(events);
        sessions(&server, "sse", 0).await;
        sessions(&server, "stream", 0).await;
        assert_eq!(server.hub().stats().total.streams, 0);
        let (status, _) = json_of(send(&mut requests, "POST", "/client/v1/presence", r#"{"channel":"a"}"#).await).await;
        assert_eq!(status, 200, "the connection lives on");
    });
    server.stop();
}

#[test]
fn streams_that_are_opened_and_reset_without_end_end_the_connection() {
    let server = start(Limits::default(), |settings| settings.shards = 1);
    block_on(async {
        let mut requests = connect(&server).await;
        let mut opened = 0;
        while opened < 5_000 {
            let request = Request::builder().uri("http://a/sse?channel=a").body(()).unwrap();
            let Ok(mut ready) = requests.clone().ready().await else { break };
            let Ok((response, mut sender)) = ready.send_request(request, true) else { break };
            if response.await.is_err() {
                break;
            }
            sender.send_reset(Reason::CANCEL);
            opened += 1;
        }
        assert!(opened < 5_000, "the flood was never stopped");
        assert_eq!(server.hub().stats().total.reset_floods, 1);
        sessions(&server, "sse", 0).await;
        requests = connect(&server).await;
        send(&mut requests, "GET", "/sse?channel=a", "").await;
    });
    server.stop();
}

#[test]
fn a_reader_whose_window_stays_shut_meets_the_policy() {
    let server = start(Limits { outbox_bytes: 64 * 1024, ..Limits::default() }, |settings| settings.shards = 1);
    block_on(async {
        let mut requests = connect(&server).await;
        let slow = send(&mut requests, "GET", "/sse?channel=a", "").await;
        let data = json!("x".repeat(16 * 1024));
        for n in 0..500 {
            if server.hub().stats().total.slow_consumers == 1 {
                break;
            }
            assert!(n < 499, "the reader that stopped was never given up");
            publish(&server, "a", &data).await;
        }
        sessions(&server, "sse", 0).await;
        let mut healthy = send(&mut requests, "GET", "/sse?channel=a", "").await.into_body();
        until(&mut healthy, "subscribed\"").await;
        drop(slow);
    });
    server.stop();
}
