//! The client against servers that behave, and that do not.

use std::time::Duration;

use switchboard_ws::handshake::HandshakeError;
use switchboard_ws::{ConnectError, Connector, accept, connect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::*;

#[tokio::test]
async fn by_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        echo(accept(stream).await.unwrap()).await
    });
    let mut socket = soon(connect(&format!("ws://localhost:{port}/"))).await.unwrap();
    socket.send("hello").await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some("hello"));
    assert!(socket.get_ref().get_ref().nodelay().unwrap());
    soon(socket.close(switchboard_ws::CloseCode::NORMAL, "")).await.unwrap();
    soon(serving).await.unwrap().unwrap();
}

/// Answers one request with these bytes, and ends the stream.
async fn server_that_says(response: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(response).await;
        let _ = stream.shutdown().await;
    });
    url
}

#[tokio::test]
async fn servers_that_do_not_agree() {
    let url = server_that_says(b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 2\r\n\r\nhi").await;
    let Err(ConnectError::Handshake(HandshakeError::Refused { status, headers, .. })) = soon(connect(&url)).await
    else {
        panic!()
    };
    assert_eq!((status, headers.get("location")), (302, Some(&b"/there"[..])));
    let url = server_that_says(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").await;
    let error = soon(connect(&url)).await.unwrap_err();
    assert_eq!(error.to_string(), "the Sec-WebSocket-Accept header of the response is missing or wrong");
    let url = server_that_says(b"HTTP/1.1 101").await;
    assert!(matches!(soon(connect(&url)).await, Err(ConnectError::Eof)));
    let url = server_that_says(b"220 mail.example.org ESMTP\r\n\r\n").await;
    assert!(matches!(soon(connect(&url)).await, Err(ConnectError::Handshake(HandshakeError::Malformed))));
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let connector = Connector::new().timeout(Duration::from_millis(100));
    assert!(matches!(soon(connector.connect(&url)).await, Err(ConnectError::Timeout)));
}

#[tokio::test]
async fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert!(matches!(soon(connect(&url)).await, Err(ConnectError::Io(_))));
    assert!(matches!(connect("http://example.org/").await, Err(ConnectError::Url(_))));
}

#[tokio::test]
async fn headers_that_cannot_be_sent() {
    let (client, _server) = tokio::io::duplex(1000);
    let connector = Connector::new().header("X", "a\r\nY: b");
    assert!(matches!(connector.connect_over("ws://a/", client).await, Err(ConnectError::InvalidHeader(_))));
}
