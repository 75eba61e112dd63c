//! The servers that hyper and axum drive, and what they answer to a client that speaks HTTP/2 by hand.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::{Method, Request, Version};
use switchboard_ws::CloseCode;
use tokio::net::TcpStream;

use super::{axum_server, connector, hyper_server};
use crate::support::*;

#[tokio::test]
async fn many_websockets_share_a_connection() {
    let connection = soon(connector().connect_http2(&format!("ws://{}", hyper_server().await))).await.unwrap();
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let (socket, response) = soon(connection.open("/chat?x=1")).await.unwrap();
        assert_eq!(response.subprotocol.as_deref(), Some("echo"));
        sockets.push(socket);
    }
    for size in [0, 20, 70_000, 1 << 20] {
        for (number, socket) in (0_u8..).zip(&mut sockets) {
            let echoed = async {
                socket.send(vec![number; size]).await.unwrap();
                socket.recv().await.unwrap().unwrap()
            };
            assert_eq!(soon(echoed).await, vec![number; size].into());
        }
    }
    for number in 0..200 {
        sockets[0].feed(number.to_string()).await.unwrap();
    }
    for number in 0..200 {
        assert_eq!(soon(sockets[0].recv()).await.unwrap().unwrap().as_text(), Some(&*number.to_string()));
    }
    for mut socket in sockets {
        soon(socket.close(CloseCode::GOING_AWAY, "bye")).await.unwrap();
        assert_eq!(socket.close_frame().unwrap().code, CloseCode::GOING_AWAY);
    }
    // Their places are free again.
    for _ in 0..20 {
        let (mut socket, _) = soon(connection.open("/")).await.unwrap();
        soon(socket.send("again")).await.unwrap();
        assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some("again"));
    }
}

#[tokio::test]
async fn one_axum_handler_serves_both_versions() {
    let url = format!("ws://{}", axum_server().await);
    let connection = soon(connector().connect_http2(&url)).await.unwrap();
    let (mut second, response) = soon(connection.open("/")).await.unwrap();
    let (mut first, _) = soon(connector().connect(&url)).await.unwrap();
    assert_eq!(soon(first.recv()).await.unwrap().unwrap().as_text(), Some("HTTP/1.1"));
    assert_eq!(soon(second.recv()).await.unwrap().unwrap().as_text(), Some("HTTP/2"));
    assert_eq!(response.subprotocol.as_deref(), Some("echo"));
    soon(second.send(vec![7; 300_000])).await.unwrap();
    assert_eq!(soon(second.recv()).await.unwrap().unwrap().len(), 300_000);
    soon(second.close(CloseCode::NORMAL, "")).await.unwrap();
    assert_eq!(second.close_frame().unwrap().code, CloseCode::NORMAL);
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn compression() {
    for address in [hyper_server().await, axum_server().await] {
        let connector = connector().deflate(Some(Default::default()));
        let connection = soon(connector.connect_http2(&format!("ws://{address}"))).await.unwrap();
        let (mut socket, response) = soon(connection.open("/")).await.unwrap();
        assert!(response.deflate.unwrap().server_no_context_takeover);
        let text = "again and again ".repeat(100);
        soon(socket.send(text.clone())).await.unwrap();
        while soon(socket.recv()).await.unwrap().unwrap().as_text() != Some(&*text) {}
    }
}

/// A client that says what it likes.
async fn by_hand(address: &str) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (requests, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    tokio::spawn(async move { drop(connection.await) });
    // With the answer the server's settings have come.
    soon(pings.ping(h2::Ping::opaque())).await.unwrap();
    soon(requests.ready()).await.unwrap()
}

/// The status and headers of the answer.
async fn ask(requests: &SendRequest<Bytes>, request: Request<()>) -> Result<http::Response<h2::RecvStream>, h2::Error> {
    let (response, _send) = soon(requests.clone().ready()).await.unwrap().send_request(request, false)?;
    soon(response).await
}

fn request(method: Method, uri: &str, protocol: Option<&str>, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
    if let Some(protocol) = protocol {
        request = request.extension(Protocol::from(protocol));
    }
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
}

#[tokio::test]
async fn wrong_requests_are_answered_and_the_connection_lives() {
    const VERSION: (&str, &str) = ("sec-websocket-version", "13");
    let url = "http://example.org/";
    for address in [hyper_server().await, axum_server().await] {
        let requests = by_hand(&address).await;
        let mut held = Vec::new();
        for (request, expected) in [
            (request(Method::CONNECT, url, Some("websocket"), &[VERSION]), 200),
            (request(Method::GET, url, None, &[VERSION]), 405),
            (request(Method::POST, url, None, &[]), 405),
            (request(Method::CONNECT, url, Some("connect-udp"), &[VERSION]), 501),
            (request(Method::CONNECT, url, Some("websocket"), &[("sec-websocket-version", "8")]), 400),
            (request(Method::CONNECT, url, Some("websocket"), &[]), 400),
            (request(Method::CONNECT, url, Some("websocket"), &[VERSION, ("host", "other.example")]), 400),
            (request(Method::CONNECT, url, Some("websocket"), &[VERSION, ("sec-websocket-protocol", "a b")]), 400),
        ] {
            let described = format!("{request:?}");
            let response = ask(&requests, request).await.unwrap();
            assert_eq!(response.status(), expected, "{described}");
            let names = ["sec-websocket-accept", "sec-websocket-key", "upgrade", "connection"];
            assert!(names.iter().all(|name| !response.headers().contains_key(*name)), "{response:?}");
            if expected == 200 {
                held.push(response);
            }
        }
        // An ordinary CONNECT, for a proxy: it has no path, so that no route of axum's fits.
        let ordinary = Request::builder().method(Method::CONNECT).uri("example.org:443").version(Version::HTTP_2);
        let status = ask(&requests, ordinary.body(()).unwrap()).await.unwrap().status();
        assert!([404, 501].contains(&status.as_u16()), "{status}");
    }
}

/// A 200 to anything but an extended CONNECT upgrades nothing: what follows is a body.
#[tokio::test]
async fn frames_in_the_body_of_an_ordinary_request_are_no_websocket() {
    let requests = by_hand(&axum_server().await).await;
    let post = request(Method::POST, "http://example.org/page", None, &[]);
    let (response, mut send) = requests.clone().send_request(post, false).unwrap();
    send.send_data(Bytes::from_static(b"\x81\x82\0\0\0\0hi"), false).unwrap();
    let mut response = soon(response).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = Vec::new();
    while let Some(Ok(data)) = soon(response.body_mut().data()).await {
        body.extend_from_slice(&data);
    }
    assert_eq!(body, b"a page");
}

/// Frames that are sent together with the request, before its answer.
#[tokio::test]
async fn frames_behind_the_request_are_not_lost() {
    for (address, greeting) in [(hyper_server().await, &b""[..]), (axum_server().await, b"\x81\x06HTTP/2")] {
        let requests = by_hand(&address).await;
        let connect =
            request(Method::CONNECT, "http://example.org/", Some("websocket"), &[("sec-websocket-version", "13")]);
        let (response, mut send) = requests.clone().send_request(connect, false).unwrap();
        send.send_data(Bytes::from_static(b"\x81\x82\0\0\0\0hi\x88\x80\0\0\0\0"), false).unwrap();
        let mut response = soon(response).await.unwrap();
        let mut received = Vec::new();
        while let Some(Ok(data)) = soon(response.body_mut().data()).await {
            received.extend_from_slice(&data);
        }
        assert_eq!(received, [greeting, b"\x81\x02hi\x88\x00"].concat());
    }
}

/// Behind a refusal nothing is read as frames, nor as a request.
#[tokio::test]
async fn bytes_behind_a_refused_request_are_dropped() {
    let requests = by_hand(&hyper_server().await).await;
    let wrong = request(Method::CONNECT, "http://example.org/", Some("websocket"), &[]);
    let (response, mut send) = requests.clone().send_request(wrong, false).unwrap();
    send.send_data(Bytes::from_static(b"\x81\x82\0\0\0\0hiGET / HTTP/1.1\r\n\r\n"), false).unwrap();
    let mut response = soon(response).await.unwrap();
    assert_eq!(response.status(), 400);
    let mut body = Vec::new();
    while let Some(Ok(data)) = soon(response.body_mut().data()).await {
        body.extend_from_slice(&data);
    }
    assert_eq!(String::from_utf8(body).unwrap(), "the Sec-WebSocket-Version header is missing\n");
    let good = request(Method::CONNECT, "http://example.org/", Some("websocket"), &[("sec-websocket-version", "13")]);
    assert_eq!(ask(&requests, good).await.unwrap().status(), 200);
}

#[tokio::test]
async fn through_a_proxy() {
    let (proxy, _) = crate::proxy::proxy().await;
    let connector = connector().proxy(Some(format!("http://127.0.0.1:{proxy}")));
    let connection = soon(connector.connect_http2(&format!("ws://{}", hyper_server().await))).await.unwrap();
    let (mut socket, _) = soon(connection.open("/")).await.unwrap();
    socket.send("hello").await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some("hello"));
}
