//! The server's handshake over streams.

use std::time::Duration;

use bytes::Bytes;
use switchboard_ws::handshake::{HandshakeError, Rejection};
use switchboard_ws::{AcceptError, AcceptOptions, ConnectError, Connector, accept, accept_with, read_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::Instant;

use crate::support::*;

const REQUEST: &[u8] = b"GET /a?b HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn frames_behind_the_request_are_not_lost() {
    let (mut client, server) = duplex(1000);
    client.write_all(&[REQUEST, b"\x81\x81\0\0\0\0a\x81\x81\0\0"].concat()).await.unwrap();
    let mut socket = soon(accept(server)).await.unwrap();
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("a"));
    client.write_all(b"\0\0b").await.unwrap();
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("b"));
}

#[tokio::test]
async fn a_wrong_request_is_answered_and_ended() {
    let table: &[(&[u8], &str)] = &[
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 426 Upgrade Required\r\n"),
        (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n"),
        (b"\x16\x03\x01", "HTTP/1.1 400 Bad Request\r\n"),
        (&[b'A'; 70_000], "HTTP/1.1 431 Request Header Fields Too Large\r\n"),
    ];
    for (request, expected) in table {
        let (mut client, server) = duplex(1 << 20);
        client.write_all(request).await.unwrap();
        let serving = tokio::spawn(accept(server));
        let mut response = Vec::new();
        soon(client.read_to_end(&mut response)).await.unwrap();
        drop(client);
        assert!(response.starts_with(expected.as_bytes()), "{:?}", Bytes::from(response));
        assert!(matches!(soon(serving).await.unwrap(), Err(AcceptError::Rejected(_))));
    }
}

#[tokio::test]
async fn a_request_that_is_cut_off_or_reset_is_only_an_error() {
    for length in 0..REQUEST.len() {
        let (mut client, server) = duplex(1000);
        client.write_all(&REQUEST[..length]).await.unwrap();
        drop(client);
        assert!(matches!(soon(accept(server)).await, Err(AcceptError::Eof)), "{length}");
    }
    let (mut client, server) = duplex(1000);
    client.write_all(REQUEST).await.unwrap();
    drop(client);
    assert!(matches!(soon(accept(server)).await, Err(AcceptError::Io(_))));
}

/// What comes behind a request that is refused was sent by somebody who took the refusal for an upgrade, or for an answer in HTTP behind
/// which there may be another request: nothing reads it.
#[tokio::test]
async fn nothing_behind_a_refused_request_is_read() {
    let refused = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    for behind in [REQUEST, b"\x81\x81\0\0\0\0a", b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let (mut client, server) = duplex(1 << 16);
        client.write_all(&[&refused[..], behind].concat()).await.unwrap();
        let serving = tokio::spawn(accept(server));
        let mut response = Vec::new();
        soon(client.read_to_end(&mut response)).await.unwrap();
        drop(client);
        let response = String::from_utf8(response).unwrap();
        assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{response}");
        assert!(response.starts_with("HTTP/1.1 426 ") && response.contains("close"), "{response}");
        assert!(soon(serving).await.unwrap().is_err());
    }
}

/// A body that is announced would be, to another reader, what the frames are to us.
#[tokio::test]
async fn a_request_with_a_body_is_refused() {
    for header in ["Content-Length: 7", "Transfer-Encoding: chunked"] {
        let text = String::from_utf8_lossy(REQUEST).replace("\r\n\r\n", &format!("\r\n{header}\r\n\r\n"));
        let (mut client, server) = duplex(1 << 16);
        client.write_all(&[text.as_bytes(), b"\x81\x81\0\0\0\0a"].concat()).await.unwrap();
        let serving = tokio::spawn(accept(server));
        let mut response = [0; 12];
        soon(client.read_exact(&mut response)).await.unwrap();
        drop(client);
        assert_eq!(&response, b"HTTP/1.1 400", "{header}");
        assert!(soon(serving).await.unwrap().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_has_its_time() {
    let (mut client, server) = duplex(1000);
    let start = Instant::now();
    let serving = tokio::spawn(accept(server));
    for byte in &REQUEST[..20] {
        tokio::time::sleep(Duration::from_millis(400)).await;
        client.write_all(&[*byte]).await.unwrap();
    }
    let mut response = Vec::new();
    client.read_to_end(&mut response).await.unwrap();
    drop(client);
    assert!(response.starts_with(b"HTTP/1.1 408 Request Timeout\r\n"));
    assert!(matches!(serving.await.unwrap(), Err(AcceptError::Timeout)));
    assert!((10.0..11.1).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_clients_favourite_subprotocol_is_chosen() {
    for (speaks, offers, expected) in [
        (&["a", "b"][..], &["b", "a"][..], Some("b")),
        (&["a"], &["b", "a"], Some("a")),
        (&["a"], &["b"], None),
        (&["a"], &[], None),
        (&[], &["a"], None),
    ] {
        let (client, server) = duplex(1000);
        let options = AcceptOptions::default().subprotocols(speaks.iter().copied());
        let connector = Connector::new().subprotocols(offers.iter().copied());
        let (connected, accepted) =
            tokio::join!(connector.connect_over("ws://example.org/", client), accept_with(server, &options));
        assert_eq!(accepted.unwrap().subprotocol(), expected);
        let (client, response) = connected.unwrap();
        assert_eq!((client.subprotocol(), response.subprotocol.as_deref()), (expected, expected));
    }
}

#[tokio::test]
async fn the_answer_has_the_servers_own_headers() {
    let (client, server) = duplex(1000);
    let options = AcceptOptions::default().header("X-Node", "7").unwrap().header("set-cookie", "a=b; Secure").unwrap();
    let connector = Connector::new();
    let (connected, accepted) =
        tokio::join!(connector.connect_over("ws://example.org/", client), accept_with(server, &options));
    accepted.unwrap();
    let (_, response) = connected.unwrap();
    assert_eq!(response.headers.get("x-node"), Some(&b"7"[..]));
    assert_eq!(response.headers.get("Set-Cookie"), Some(&b"a=b; Secure"[..]));
    for (name, value) in
        [("X-A", "b\r\nX-C: d"), ("X A", "b"), ("", "b"), ("Upgrade", "h2c"), ("sec-websocket-accept", "b")]
    {
        let refused = AcceptOptions::default().header(name, value).unwrap_err();
        assert_eq!(refused.to_string(), format!("header {name:?} cannot be sent"));
    }
}

#[tokio::test]
async fn the_application_decides_by_the_request() {
    let serve = |server| async move {
        let pending = read_request(server, &AcceptOptions::default()).await.unwrap();
        assert_eq!(pending.request().target, "/room?x=1");
        match pending.request().headers.get("authorization") {
            Some(b"Bearer secret") => pending.accept(None, &[("X-Node", "7")]).await.map(drop),
            _ => pending.reject(401, &[("WWW-Authenticate", "Bearer")], b"who are you?").await,
        }
    };
    let (client, server) = duplex(1000);
    let connector = Connector::new().header("Authorization", "Bearer secret");
    let (connected, served) = tokio::join!(connector.connect_over("ws://example.org/room?x=1", client), serve(server));
    served.unwrap();
    assert_eq!(connected.unwrap().1.headers.get("x-node"), Some(&b"7"[..]));
    let (client, server) = duplex(1000);
    let connector = Connector::new();
    let connect = connector.connect_over("ws://example.org/room?x=1", client);
    let (connected, served) = tokio::join!(soon(connect), serve(server));
    served.unwrap();
    let Err(ConnectError::Handshake(HandshakeError::Refused { status, body, headers, .. })) = connected else {
        panic!()
    };
    assert_eq!((status, &body[..], headers.get("www-authenticate")), (401, &b"who are you?"[..], Some(&b"Bearer"[..])));
}

#[tokio::test]
async fn an_answer_that_would_break_is_not_written() {
    let (mut client, server) = duplex(1000);
    client.write_all(REQUEST).await.unwrap();
    let pending = read_request(server, &AcceptOptions::default()).await.unwrap();
    assert!(matches!(pending.accept(Some("not-offered"), &[]).await, Err(AcceptError::InvalidHeader(_))));
    let mut response = Vec::new();
    client.read_to_end(&mut response).await.unwrap();
    assert!(response.is_empty());
}

#[test]
fn errors_name_the_culprit() {
    let error = AcceptError::from(Rejection::MissingHeader("Sec-WebSocket-Key"));
    assert_eq!(error.to_string(), "the handshake was refused: the Sec-WebSocket-Key header is missing");
}
