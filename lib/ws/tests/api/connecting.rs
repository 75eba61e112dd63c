//! The client against servers that behave, and that do not.

use std::time::Duration;

use switchboard_ws::handshake::{HandshakeError, ServerHandshake};
use switchboard_ws::{
    AcceptOptions, CloseCode, ConnectError, Connector, Message, Phase, accept, connect, read_request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
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
    soon(socket.close(CloseCode::NORMAL, "")).await.unwrap();
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

/// 200 is no upgrade, whatever headers it has; nothing behind it is taken for frames.
#[tokio::test]
async fn a_status_other_than_101_is_no_upgrade() {
    for status in ["200 OK", "204 No Content", "426 Upgrade Required"] {
        let response = format!(
            "HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\n\u{1}\u{1}a"
        );
        let url = server_that_says(response.leak().as_bytes()).await;
        let error = soon(connect(&url)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Handshake(HandshakeError::Refused { .. })), "{status}: {error}");
    }
}

/// The stream of either side ends in the middle of the handshake, after each byte: an error, and no more.
#[tokio::test]
async fn a_response_that_is_cut_off_is_only_an_error() {
    let response = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for length in 0..response.len() {
        let (mut server, client) = tokio::io::duplex(1000);
        server.write_all(&response[..length]).await.unwrap();
        let connector = switchboard_ws::Connector::new();
        let connecting = connector.connect_over("ws://a/", client);
        let (result, ()) = soon(async { tokio::join!(connecting, async { drop(server) }) }).await;
        assert!(matches!(result, Err(ConnectError::Eof | ConnectError::Io(_))), "{length}");
    }
}

/// As above over TCP, and the stream is reset instead of ended.
#[tokio::test]
async fn a_reset_at_any_state_of_the_handshake_is_only_an_error() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for length in (0..=request.len()).step_by(7).chain([request.len()]) {
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        client.write_all(&request[..length]).await.unwrap();
        client.set_zero_linger().unwrap();
        drop(client);
        // The answer to a whole request may still go out; then it is the connection that tells.
        match soon(switchboard_ws::accept(stream)).await {
            Err(_) => {}
            Ok(mut socket) => assert!(soon(socket.recv()).await.unwrap().is_err()),
        }
    }
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let connector = Connector::new().timeout(Duration::from_millis(100));
    assert!(matches!(soon(connector.connect(&url)).await, Err(ConnectError::Timeout(Phase::Handshake))));
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

#[tokio::test]
async fn through_a_stream_of_the_callers_making() {
    let (near, far) = duplex(1000);
    let serving = tokio::spawn(async move { echo(accept(far).await.unwrap()).await });
    let mut near = Some(near);
    let dial = async |host: &str, port: u16| {
        assert_eq!((host, port), ("::1", 8080));
        Ok(near.take().unwrap())
    };
    let (mut socket, _) = soon(Connector::new().connect_through("ws://[::1]:8080/", dial)).await.unwrap();
    socket.send("through").await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap(), Message::from("through"));
    drop(socket);
    assert!(soon(serving).await.unwrap().is_err());
    let dial = async |_: &str, _: u16| Err::<tokio::net::TcpStream, _>(std::io::Error::other("the proxy is closed"));
    let error = Connector::new().connect_through("ws://a/", dial).await.unwrap_err();
    assert_eq!(error.to_string(), "the proxy is closed");
}

#[cfg(unix)]
#[tokio::test]
async fn over_a_unix_socket() {
    let (near, far) = tokio::net::UnixStream::pair().unwrap();
    let serving = tokio::spawn(async move { accept(far).await.unwrap().send("hello").await });
    let (mut socket, _) = Connector::new().connect_through("ws://localhost/", async |_, _| Ok(near)).await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap(), Message::from("hello"));
    soon(serving).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_phase_has_its_time() {
    let second = Some(Duration::from_secs(1));
    let never = async |_: &str, _: u16| std::future::pending::<std::io::Result<tokio::net::TcpStream>>().await;
    let (near, _far) = duplex(1000);
    let start = tokio::time::Instant::now();
    let connector = Connector::new().dial_timeout(second);
    let error = connector.connect_through("ws://a/", never).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout(Phase::Dial)), "{error:?}");
    assert_eq!(start.elapsed().as_secs(), 1);
    let connector = Connector::new().handshake_timeout(second);
    let error = connector.connect_through("ws://a/", async |_, _| Ok(near)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout(Phase::Handshake)), "{error:?}");
    assert_eq!(start.elapsed().as_secs(), 2);
    // All together are never exceeded.
    let connector = Connector::new().timeout(Duration::from_secs(3)).dial_timeout(Some(Duration::from_secs(60)));
    let error = connector.connect_through("ws://a/", never).await.unwrap_err();
    assert_eq!(error.to_string(), "no connection within the time limit: connecting took too long");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn who_asks_is_in_the_authorization() {
    let connectors = [
        (Connector::new().basic_auth("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        (Connector::new().bearer_token("mF_9.B5f-4.1JqM"), "Bearer mF_9.B5f-4.1JqM"),
    ];
    for (connector, expected) in connectors {
        let (near, far) = duplex(1000);
        let serving = tokio::spawn(async move {
            let pending = read_request(far, &Default::default()).await.unwrap();
            pending.request().headers.get("authorization").map(<[u8]>::to_vec)
        });
        assert!(connector.connect_over("ws://a/", near).await.is_err());
        assert_eq!(soon(serving).await.unwrap().unwrap(), expected.as_bytes());
        let shown = format!("{connector:?}");
        assert!(shown.contains("Authorization") && !shown.contains(expected), "{shown}");
    }
}

#[tokio::test]
async fn no_time_limit_is_too_long() {
    let server = server_that_says(b"HTTP/1.1 404 Not Found\r\n\r\n").await;
    let connector = Connector::new().timeout(Duration::MAX).dial_timeout(Some(Duration::MAX));
    let found = soon(connector.connect(&server)).await;
    assert!(matches!(found, Err(ConnectError::Handshake(HandshakeError::Refused { status: 404, .. }))), "{found:?}");
    let phases = Connector::new().timeout(Duration::MAX).handshake_timeout(Some(Duration::from_millis(1)));
    let (near, _far) = tokio::io::duplex(1000);
    let found = phases.connect_over("ws://test/", near).await;
    assert!(matches!(found, Err(ConnectError::Timeout(Phase::Handshake))), "{found:?}");
}

#[test]
fn what_is_logged_of_options_has_no_secrets() {
    let connector = Connector::new().bearer_token("s3cret").header("Cookie", "s3cret").subprotocols(["s3cret"]);
    let options = AcceptOptions::default().header("Set-Cookie", "s3cret").unwrap();
    let shown = format!("{connector:?} {options:?}");
    assert!(!shown.contains("s3cret") && shown.contains("Authorization") && shown.contains("Set-Cookie"), "{shown}");
}

/// A server may answer, speak and leave by one packet.
#[tokio::test]
async fn frames_behind_the_response_are_not_lost() {
    let (near, mut far) = duplex(10_000);
    tokio::spawn(async move {
        let mut handshake = ServerHandshake::new();
        let request = loop {
            if let Some(request) = handshake.receive(&[far.read_u8().await.unwrap()]).unwrap() {
                break request;
            }
        };
        let early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        let all = [early, &request.accept(None, &[]).unwrap()[..], b"\x81\x02hi\x88\x02\x03\xe9"].concat();
        far.write_all(&all).await.unwrap();
        far.shutdown().await.unwrap();
        let _ = far.read_to_end(&mut Vec::new()).await;
    });
    let (mut socket, _) = soon(Connector::new().connect_over("ws://test/", near)).await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some("hi"));
    assert!(soon(socket.recv()).await.is_none());
    assert_eq!(socket.close_frame().unwrap().code, CloseCode::GOING_AWAY);
}
