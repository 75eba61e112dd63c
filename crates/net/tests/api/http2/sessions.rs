//! Sessions over HTTP/2 are those over HTTP/1.1.

use super::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, connect, frame, head, open, raw, read_frame,
    text,
};
use crate::client::Client;
use crate::{block_on, start};
use bytes::Bytes;
use core::time::Duration;
use http::{Method, Request};
use switchboard_core::Limits;
use switchboard_ws::handshake::HandshakeError;
use switchboard_ws::{CloseCode, ConnectError, Connector};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[test]
fn clients_of_both_versions_meet() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let connection = connect(&server).await;
        let mut sockets = Vec::new();
        for _ in 0..5 {
            sockets.push(open(&connection, "/chat").await);
        }
        let mut other = Client::connect(&server, "/chat").await;
        sockets[0].send("over HTTP/2").await.unwrap();
        assert_eq!(other.text().await, "over HTTP/2");
        other.send("over HTTP/1.1").await;
        assert_eq!(other.text().await, "over HTTP/1.1");
        for socket in &mut sockets {
            assert_eq!(text(socket).await, "over HTTP/2");
            assert_eq!(text(socket).await, "over HTTP/1.1");
        }
        let stats = server.hub().stats().total;
        assert_eq!((stats.connections, stats.connections_http2), (6, 5));
        let large = "x".repeat(60_000);
        for _ in 0..20 {
            sockets[1].send(large.clone()).await.unwrap();
            for socket in &mut sockets {
                assert_eq!(text(socket).await.len(), large.len());
            }
            assert_eq!(other.text().await.len(), large.len());
        }
        for mut socket in sockets {
            socket.close(CloseCode::NORMAL, "bye").await.unwrap();
            assert_eq!(socket.close_frame().unwrap().code, CloseCode::NORMAL);
        }
        // Its places are free, and the connection of use.
        let mut again = open(&connection, "/ws").await;
        assert!(text(&mut again).await.contains("welcome"));
    });
    server.stop();
}

#[test]
fn refusals_and_the_api() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let connection = connect(&server).await;
        for (path, expected) in [("/raw/a?app=closed", 401), ("/ws/nobody", 404)] {
            let error = connection.open(path).await.unwrap_err();
            let ConnectError::Handshake(HandshakeError::Refused { status, body, .. }) = error else {
                panic!("{error}")
            };
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert!(body.starts_with("{\"error\":{\"code\""), "{path}: {status} {body}");
            assert_eq!(status, expected, "{path}: {body}");
        }
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        let (requests, mut h2) = h2::client::handshake(stream).await.unwrap();
        let mut pings = h2.ping_pong().unwrap();
        tokio::spawn(async move { drop(h2.await) });
        pings.ping(h2::Ping::opaque()).await.unwrap();
        let ask = |method: Method, uri: &'static str, protocol: Option<&'static str>| {
            let mut requests = requests.clone();
            async move {
                let mut request = Request::builder().method(method).uri(uri);
                if let Some(protocol) = protocol {
                    request = request.extension(h2::ext::Protocol::from_static(protocol));
                }
                let ends = protocol.is_none();
                let (response, _send) = requests.send_request(request.body(()).unwrap(), ends).unwrap();
                let (head, mut body) = response.await.unwrap().into_parts();
                let mut text = Vec::new();
                while let Some(Ok(data)) = body.data().await {
                    text.extend_from_slice(&data);
                }
                (head, String::from_utf8(text).unwrap())
            }
        };
        let (head, body) = ask(Method::GET, "http://a/hello", None).await;
        assert_eq!((head.status.as_u16(), &*body), (200, "hello"));
        assert_eq!(head.headers["content-length"], "5");
        assert!(head.headers.contains_key("date") && !head.headers.contains_key("connection"), "{head:?}");
        for (method, uri, protocol, expected) in [
            (Method::GET, "http://a/nowhere", None, 404),
            (Method::GET, "http://a/ws", None, 405),
            (Method::CONNECT, "a:443", None, 501),
            (Method::CONNECT, "http://a/ws", Some("connect-udp"), 501),
            (Method::CONNECT, "http://a/nowhere", Some("connect-ip"), 501),
            (Method::CONNECT, "http://a/nowhere", Some("websocket"), 404),
            // The version is missing.
            (Method::CONNECT, "http://a/chat", Some("websocket"), 400),
        ] {
            let (head, _) = ask(method.clone(), uri, protocol).await;
            assert_eq!(head.status.as_u16(), expected, "{method} {uri} {protocol:?}");
            assert!(!head.headers.contains_key("connection") && !head.headers.contains_key("upgrade"), "{head:?}");
        }
        // Behind a refusal nothing is taken for frames, nor for a request.
        let request = Request::builder().method(Method::CONNECT).uri("http://a/ws/nobody");
        let request = request.extension(h2::ext::Protocol::from_static("websocket")).body(()).unwrap();
        let (response, mut send) = requests.clone().send_request(request, false).unwrap();
        send.send_data(Bytes::from_static(b"\x81\x82\0\0\0\0hiGET /hello HTTP/1.1\r\n\r\n"), false).unwrap();
        assert_eq!(response.await.unwrap().status().as_u16(), 404);
        assert_eq!(ask(Method::GET, "http://a/hello", None).await.1, "hello");
    });
    server.stop();
}

/// What a turn has for a stream goes out as one piece, not message by message.
#[test]
fn messages_of_one_turn_share_frames() {
    let server = start(Limits::default(), |settings| settings.shards = 1);
    block_on(async {
        let mut stream = raw(&server).await;
        let request = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END_HEADERS, 1, &head("/chat"))].concat();
        stream.write_all(&request).await.unwrap();
        while read_frame(&mut stream).await.unwrap().0 != HEADERS {}
        let mut publisher = Client::connect(&server, "/chat").await;
        for number in 0..200 {
            publisher.ws.send(format!("message {number}").into()).unwrap();
        }
        publisher.flush().await;
        let (mut frames, mut bytes) = (0, Vec::new());
        while !bytes.ends_with(b"message 199") {
            let (kind, _, _, payload) = read_frame(&mut stream).await.unwrap();
            if kind == DATA {
                frames += 1;
                bytes.extend(payload);
            }
        }
        assert!(frames <= 20, "{frames} frames for 200 messages");
    });
    server.stop();
}

#[test]
fn a_shutdown_says_goaway_and_waits_for_the_websockets() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let connection = connect(&server).await;
        let mut socket = open(&connection, "/ws").await;
        text(&mut socket).await;
        let reading = async {
            let last_words = text(&mut socket).await;
            assert!(socket.recv().await.is_none());
            (last_words, socket.close_frame().unwrap().code)
        };
        let ((last_words, code), ()) = tokio::join!(reading, server.drain(Duration::from_millis(200)));
        assert!(last_words.starts_with(r#"{"type":"disconnect","code":1001"#), "{last_words}");
        assert_eq!(code, CloseCode::GOING_AWAY);
        assert!(matches!(connection.open("/chat").await, Err(ConnectError::Io(_))));
        assert_eq!(server.hub().stats().total.connections, 0);
    });
    server.stop();
}

/// As Chromium does.
#[test]
fn a_client_may_end_its_half_together_with_its_close() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let mut stream = raw(&server).await;
        let close = [0x88, 0x82, 0, 0, 0, 0, 0x0b, 0xb9];
        let request = [
            PREFACE,
            &frame(SETTINGS, 0, 0, &[]),
            &frame(HEADERS, END_HEADERS, 1, &head("/chat")),
            &frame(DATA, END_STREAM, 1, &close),
        ];
        stream.write_all(&request.concat()).await.unwrap();
        let mut received = Vec::new();
        loop {
            let (kind, flags, _, payload) = read_frame(&mut stream).await.unwrap();
            assert_ne!(kind, RST_STREAM, "{received:x?}");
            if kind == DATA {
                received.extend(payload);
                if flags & END_STREAM != 0 {
                    break;
                }
            }
        }
        assert_eq!(received, [0x88, 0x02, 0x0b, 0xb9]);
    });
    server.stop();
}

#[test]
fn http2_can_be_turned_off() {
    let server = start(Limits::default(), |settings| settings.http2.enabled = false);
    block_on(async {
        assert!(Connector::new().connect_http2(&format!("ws://{}", server.local_addr())).await.is_err());
        Client::connect(&server, "/chat").await;
    });
    server.stop();
}

/// Which version it is shows in the first bytes, in whatever pieces they come.
#[test]
fn the_first_bytes_may_come_one_by_one() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        for (bytes, expected) in [
            (
                &b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"[..],
                &b"HTTP/1.1 405"[..],
            ),
            (b"PRINT / HTTP/1.1\r\nHost: a\r\n\r\n", b""),
            (&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat(), b"\0\0"),
        ] {
            let mut stream = raw(&server).await;
            for byte in bytes {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let mut answer = vec![0; expected.len()];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await.unwrap();
            assert_eq!(answer, expected);
        }
    });
    server.stop();
}
