//! Our client, and servers that drive the frames of HTTP/2 themselves.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use switchboard_ws::handshake::HandshakeError;
use switchboard_ws::http2::{Http2Connection, Http2Stream};
use switchboard_ws::{CloseCode, Config, ConnectError, Connector, Error, Message, Role, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{axum_server, connector, serve};
use crate::support::*;

type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// A connection to a server that the test drives: `answer` gets each request.
async fn driven<F>(answer: impl Fn(Accepted) -> F + Send + 'static) -> Http2Connection
where
    F: Future<Output = ()> + Send + 'static,
{
    let (client, server) = duplex(4096);
    tokio::spawn(async move {
        let mut builder = h2::server::Builder::new();
        builder.enable_connect_protocol().max_concurrent_streams(2);
        let mut connection: Connection<DuplexStream, Bytes> = builder.handshake(server).await.unwrap();
        while let Some(Ok(accepted)) = connection.accept().await {
            tokio::spawn(answer(accepted));
        }
    });
    soon(Connector::new().connect_http2_over("ws://example.org/", client)).await.unwrap()
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

fn upgraded((request, mut respond): Accepted) -> WebSocket<Http2Stream> {
    let send = respond.send_response(Response::new(()), false).unwrap();
    WebSocket::from_upgraded(Http2Stream::new(send, request.into_body()), Bytes::new(), Role::Server, Config::default())
}

#[tokio::test]
async fn a_server_without_the_setting_is_named() {
    let (client, server) = duplex(4096);
    tokio::spawn(async move {
        let mut connection = h2::server::handshake(server).await.unwrap();
        assert!(connection.accept().await.is_none_or(|request| request.is_err()), "a request in spite of the settings");
    });
    let error = soon(Connector::new().connect_http2_over("ws://example.org/", client)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Http2NotSupported(hint) if hint.contains("RFC 8441")), "{error}");
}

#[tokio::test]
async fn a_server_of_http1_is_an_error_and_no_wait() {
    let (client, mut server) = duplex(4096);
    tokio::spawn(async move {
        let _ = server.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        let _ = server.read_to_end(&mut Vec::new()).await;
    });
    let error = soon(Connector::new().connect_http2_over("ws://example.org/", client)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Io(_)), "{error}");
}

#[tokio::test]
async fn what_a_request_says() {
    let connection = driven(|(request, mut respond)| async move {
        assert_eq!(request.method(), "CONNECT");
        assert_eq!(request.uri(), "http://example.org/chat?x=1");
        assert_eq!(request.extensions().get::<h2::ext::Protocol>().unwrap().as_str(), "websocket");
        let headers: Vec<_> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(headers, [("sec-websocket-version", "13"), ("origin", "https://a.example"), ("x-room", "lobby")]);
        let mut refusal = Response::builder().status(403).header("x-why", "just so");
        refusal.headers_mut().unwrap().insert("content-length", 4.into());
        let mut send = respond.send_response(refusal.body(()).unwrap(), false).unwrap();
        send.send_data(Bytes::from_static(b"no.\n"), true).unwrap();
    })
    .await;
    let other = Connector::new().origin("https://a.example").header("X-Room", "lobby");
    let error = soon(connection.open_with(&other, "/chat?x=1")).await.unwrap_err();
    let ConnectError::Handshake(HandshakeError::Refused { status: 403, headers, body, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!((headers.get("x-why"), &body[..]), (Some(&b"just so"[..]), &b"no.\n"[..]));
    assert!(soon(connection.open("no slash")).await.is_err());
}

#[tokio::test]
async fn an_answer_that_was_not_asked_for() {
    let connection = driven(|(_request, mut respond)| async move {
        let response = Response::builder().header("sec-websocket-protocol", "other").body(()).unwrap();
        respond.send_response(response, true).unwrap();
    })
    .await;
    let error = soon(connection.open("/")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake(HandshakeError::SubprotocolNotOffered(_))), "{error}");
}

#[tokio::test]
async fn a_reset_is_an_error_of_one_websocket() {
    let connection = driven(|accepted| async move {
        if accepted.0.uri().path() != "/resets" {
            return drop(echo(upgraded(accepted)).await);
        }
        let (request, mut respond) = accepted;
        let send = respond.send_response(Response::new(()), false).unwrap();
        let mut stream = Http2Stream::new(send, request.into_body());
        stream.read_u8().await.unwrap();
        stream.abort();
    })
    .await;
    let (mut reset, _) = soon(connection.open("/resets")).await.unwrap();
    let (mut other, _) = soon(connection.open("/")).await.unwrap();
    reset.send("now").await.unwrap();
    let error = soon(reset.recv()).await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::Io(error) if error.kind() == ErrorKind::ConnectionReset), "{error}");
    soon(other.send("still here")).await.unwrap();
    assert_eq!(soon(other.recv()).await.unwrap().unwrap().as_text(), Some("still here"));
}

#[tokio::test]
async fn the_end_of_a_stream_without_a_close_is_a_loss() {
    let connection = driven(|accepted| async move {
        let (request, mut respond) = accepted;
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        send.send_data(Bytes::from_static(b"\x81\x02hi"), true).unwrap();
        let mut body = request.into_body();
        while let Some(Ok(_)) = body.data().await {}
    })
    .await;
    let (mut socket, _) = soon(connection.open("/")).await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some("hi"));
    assert!(matches!(soon(socket.recv()).await, Some(Err(Error::ConnectionLost))));
}

/// After a GOAWAY those that are open go on, and nothing new begins.
#[tokio::test]
async fn a_server_that_goes_away() {
    let (client, server) = duplex(4096);
    tokio::spawn(async move {
        let mut builder = h2::server::Builder::new();
        let mut connection: Connection<DuplexStream, Bytes> =
            builder.enable_connect_protocol().handshake(server).await.unwrap();
        let accepted = connection.accept().await.unwrap().unwrap();
        tokio::spawn(echo(upgraded(accepted)));
        connection.graceful_shutdown();
        while let Some(Ok(_)) = connection.accept().await {}
    });
    let connection = soon(Connector::new().connect_http2_over("ws://example.org/", client)).await.unwrap();
    let (mut socket, _) = soon(connection.open("/")).await.unwrap();
    let error = soon(async {
        loop {
            // The GOAWAY comes when it comes: until then streams are taken, and refused by it.
            if let Err(error) = connection.open("/").await {
                break error;
            }
        }
    })
    .await;
    let kinds = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset];
    assert!(matches!(&error, ConnectError::Io(error) if kinds.contains(&error.kind())), "{error:?}");
    soon(socket.send("still here")).await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some("still here"));
    soon(socket.close(CloseCode::NORMAL, "")).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_cut() {
    let (client, server) = duplex(4096);
    let serving = tokio::spawn(serve(server));
    let connection = soon(Connector::new().connect_http2_over("ws://example.org/", client)).await.unwrap();
    let (mut socket, _) = soon(connection.open("/")).await.unwrap();
    serving.abort();
    assert!(matches!(soon(socket.recv()).await, Some(Err(Error::Io(_)))));
    assert!(matches!(soon(connection.open("/")).await, Err(ConnectError::Io(_))));
}

/// A WebSocket that nobody reads takes a bounded number of bytes, and leaves the others their way.
#[tokio::test]
async fn one_that_is_not_read_holds_up_no_other() {
    let connection = driven(|accepted| async move {
        let floods = accepted.0.uri().path() == "/floods";
        let mut socket = upgraded(accepted);
        if floods {
            let mut sent = 0_usize;
            while socket.send(vec![1; 10_000]).await.is_ok() {
                sent += 10_000;
                assert!(sent < 2 << 20, "there is no end to it");
            }
        } else {
            let _ = echo(socket).await;
        }
    })
    .await;
    let (mut unread, _) = soon(connection.open("/floods")).await.unwrap();
    let (mut other, _) = soon(connection.open("/")).await.unwrap();
    for _ in 0..20 {
        soon(other.send(vec![2; 200_000])).await.unwrap();
        assert_eq!(soon(other.recv()).await.unwrap().unwrap().len(), 200_000);
    }
    // When it is read, all of it comes.
    for _ in 0..100 {
        assert_eq!(soon(unread.recv()).await.unwrap().unwrap(), Message::from(vec![1; 10_000]));
    }
}

#[tokio::test]
async fn where_the_server_allows_no_more_the_next_waits_its_turn() {
    let connection = driven(|accepted| async move { drop(echo(upgraded(accepted)).await) }).await;
    let (first, _) = soon(connection.open("/")).await.unwrap();
    let (_second, _) = soon(connection.open("/")).await.unwrap();
    let mut third = Box::pin(connection.open("/"));
    assert!(poll_once(&mut third).await.is_pending());
    drop(first);
    let (mut third, _) = soon(third).await.unwrap();
    soon(third.send("at last")).await.unwrap();
    assert_eq!(soon(third.recv()).await.unwrap().unwrap().as_text(), Some("at last"));
}

#[tokio::test]
async fn opening_can_be_given_up() {
    let connection = driven(|accepted| async move {
        if accepted.0.uri().path() == "/silent" {
            let (mut request, mut respond) = accepted;
            // Until the client has had enough.
            assert!(request.body_mut().data().await.is_none_or(|data| data.is_err()));
            respond.send_reset(Reason::CANCEL);
        } else {
            drop(echo(upgraded(accepted)).await);
        }
    })
    .await;
    for _ in 0..5 {
        let mut opening = Box::pin(connection.open("/silent"));
        for _ in 0..20 {
            assert!(poll_once(&mut opening).await.is_pending());
            tokio::task::yield_now().await;
        }
    }
    let (mut socket, _) = soon(connection.open("/")).await.unwrap();
    soon(socket.send("hello")).await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some("hello"));
}

/// The connection lives as long as somebody needs it, and no longer.
#[tokio::test]
async fn the_connection_ends_with_its_last_user() {
    let (client, server) = duplex(4096);
    let serving = tokio::spawn(serve(server));
    let connection = soon(Connector::new().connect_http2_over("ws://example.org/", client)).await.unwrap();
    let (mut socket, _) = soon(connection.open("/")).await.unwrap();
    drop(connection);
    soon(socket.send("hello")).await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some("hello"));
    drop(socket);
    soon(serving).await.unwrap();
}

/// With TLS by ALPN, whatever the configuration says of it.
#[cfg(feature = "native-roots")]
#[tokio::test]
async fn over_tls() {
    use crate::tls::configs;
    use tokio_rustls::TlsAcceptor;

    for (alpn, speaks) in [(vec![b"h2".to_vec(), b"http/1.1".to_vec()], true), (Vec::new(), false)] {
        let (server_config, client_config) = configs();
        let mut server_config = (*server_config).clone();
        server_config.alpn_protocols = alpn;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = TlsAcceptor::from(std::sync::Arc::new(server_config)).accept(stream).await {
                serve(stream).await;
            }
        });
        let connecting = soon(Connector::new().tls(client_config).connect_http2(&url)).await;
        if speaks {
            let (mut socket, _) = soon(connecting.unwrap().open("/")).await.unwrap();
            soon(socket.send(vec![5; 1 << 20])).await.unwrap();
            assert_eq!(soon(socket.recv()).await.unwrap().unwrap().len(), 1 << 20);
            soon(socket.close(CloseCode::NORMAL, "")).await.unwrap();
        } else {
            let error = connecting.unwrap_err();
            assert!(matches!(error, ConnectError::Http2NotSupported(_)), "{error}");
        }
    }
}

#[tokio::test]
async fn urls() {
    for url in ["http://example.org", "ws://", "ws://example.org/#x"] {
        assert!(matches!(soon(connector().connect_http2(url)).await, Err(ConnectError::Url(_))), "{url}");
    }
    let connection = soon(connector().connect_http2(&format!("ws://{}/ignored", axum_server().await))).await.unwrap();
    assert!(soon(connection.open("/")).await.is_ok());
    let error = soon(connection.open("/nowhere")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake(HandshakeError::Refused { status: 404, .. })), "{error}");
}
