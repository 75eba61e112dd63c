//! Upgrades from hyper and axum, and what they answer otherwise.

use std::convert::Infallible;

use axum::Router;
use axum::response::Response as AxumResponse;
use axum::routing::any;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use switchboard_ws::axum::WebSocketUpgrade;
use switchboard_ws::hyper::{UpgradedStream, check_parts, rejection, upgrade};
use switchboard_ws::{AcceptOptions, CloseCode, Connector};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};

use crate::support::*;

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    #[cfg_attr(not(feature = "deflate"), expect(unused_mut, reason = "there is nothing to add"))]
    let mut options = AcceptOptions::default().subprotocols(["echo"]);
    #[cfg(feature = "deflate")]
    if request.uri().path() == "/deflate" {
        options = options.deflate(Some(Default::default()));
    }
    match upgrade(&mut request, &options) {
        Ok((response, upgraded)) => {
            tokio::spawn(async move { echo(upgraded.await.unwrap()).await });
            Ok(response)
        }
        Err(error) => Ok(rejection(&error).map(Full::from)),
    }
}

async fn hyper_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).with_upgrades(),
            );
        }
    });
    address
}

async fn axum_server() -> String {
    #[cfg(feature = "deflate")]
    async fn deflate(upgrade: WebSocketUpgrade) -> AxumResponse {
        upgrade.deflate(Some(Default::default())).on_upgrade(|socket| async move { drop(echo(socket).await) })
    }
    async fn handler(upgrade: WebSocketUpgrade) -> AxumResponse {
        assert_eq!(upgrade.request().extensions.len(), 0);
        upgrade.protocols(["echo"]).on_upgrade(|socket| async move {
            // Taken back from the server's own wrapper or not, it works the same.
            let (UpgradedStream::Tcp(_) | _) = socket.get_ref();
            let _ = echo(socket).await;
        })
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = Router::new().route("/", any(handler));
    #[cfg(feature = "deflate")]
    let app = app.route("/deflate", any(deflate));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn messages_go_round(address: &str) {
    let connector = Connector::new().subprotocols(["other", "echo"]);
    let (mut socket, response) = soon(connector.connect(&format!("ws://{address}/"))).await.unwrap();
    assert_eq!(response.subprotocol.as_deref(), Some("echo"));
    for size in [0, 20, 70_000, 300_000] {
        soon(socket.send(vec![5; size])).await.unwrap();
        assert_eq!(soon(socket.recv()).await.unwrap().unwrap().len(), size);
    }
    soon(socket.close(CloseCode::GOING_AWAY, "bye")).await.unwrap();
    assert_eq!(socket.close_frame().unwrap().code, CloseCode::GOING_AWAY);
}

async fn exchange(address: &str, request: &[u8], expected: usize) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut response = vec![0; expected];
    let mut length = 0;
    while length < expected {
        let count = soon(stream.read(&mut response[length..])).await.unwrap();
        if count == 0 {
            break;
        }
        length += count;
    }
    String::from_utf8_lossy(&response[..length]).into_owned()
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

async fn wrong_requests_are_answered(address: &str) {
    for (from, to, expected) in [
        ("Upgrade: websocket\r\n", "", "426"),
        ("Version: 13", "Version: 12", "426"),
        ("GET", "POST", "405"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short", "400"),
        ("Host: a\r\n", "", "400"),
        ("Connection: Upgrade\r\n", "", "400"),
    ] {
        let response = exchange(address, REQUEST.replace(from, to).as_bytes(), 12).await;
        assert_eq!(response, format!("HTTP/1.1 {expected}"), "{from} -> {to}");
    }
}

#[tokio::test]
async fn upgrading_with_hyper() {
    let address = hyper_server().await;
    messages_go_round(&address).await;
    wrong_requests_are_answered(&address).await;
}

#[tokio::test]
async fn upgrading_with_axum() {
    let address = axum_server().await;
    messages_go_round(&address).await;
    wrong_requests_are_answered(&address).await;
}

#[tokio::test]
async fn frames_behind_the_request_are_not_lost() {
    for address in [hyper_server().await, axum_server().await] {
        let request = [REQUEST.as_bytes(), b"\x81\x82\0\0\0\0hi\x88\x80\0\0\0\0"].concat();
        let response = exchange(&address, &request, 10_000).await;
        assert!(response.ends_with("\r\n\r\n\u{81}\u{2}hi") || response.contains("hi"), "{response:?}");
    }
}

/// Any other stream stays in hyper's wrapper.
#[tokio::test]
async fn upgrading_another_stream() {
    let (client, server): (DuplexStream, DuplexStream) = duplex(1000);
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service_fn(answer)).with_upgrades());
    let (mut socket, _) = soon(Connector::new().connect_over("ws://example.org/", client)).await.unwrap();
    soon(socket.send("over a pipe")).await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some("over a pipe"));
    soon(socket.close(CloseCode::NORMAL, "")).await.unwrap();
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn compression_behind_http_servers() {
    for address in [hyper_server().await, axum_server().await] {
        let connector = Connector::new().deflate(Some(Default::default()));
        let (mut socket, response) = soon(connector.connect(&format!("ws://{address}/deflate"))).await.unwrap();
        assert!(response.deflate.unwrap().server_no_context_takeover);
        let text = "again and again ".repeat(100);
        socket.send(text.clone()).await.unwrap();
        assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some(&*text));
        // An offer that cannot be read is told so.
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request = "GET /deflate HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Extensions: permessage-deflate;;\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        soon(stream.read_exact(&mut status)).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 400");
    }
}

#[test]
fn a_target_with_a_host_says_whom_it_is_for() {
    let ask = |target: &str| {
        let request = Request::get(target).header("host", "other.example").header("connection", "upgrade");
        let request = request.header("upgrade", "websocket").header("sec-websocket-version", "13");
        let request = request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").body(()).unwrap();
        check_parts(&request.into_parts().0).unwrap().host
    };
    assert_eq!(ask("/chat"), "other.example");
    assert_eq!(ask("http://example.org:81/chat"), "example.org:81");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_told_to_whoever_asks() {
    let (told, mut failed) = tokio::sync::mpsc::channel(1);
    let app = any(move |upgrade: WebSocketUpgrade| {
        let told = told.clone();
        let upgrade = upgrade.options(AcceptOptions::default().subprotocols(["chat"]));
        let upgrade = upgrade.on_failed_upgrade(move |error| drop(told.try_send(error.to_string())));
        async move { upgrade.on_upgrade(|_| async { panic!() }) }
    });
    let (mut client, server) = duplex(1000);
    // Without upgrades nothing comes of one, as where the client is gone.
    let service = hyper_util::service::TowerToHyperService::new(app);
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service).into_future());
    client.write_all(REQUEST.as_bytes()).await.unwrap();
    assert!(!soon(failed.recv()).await.unwrap().is_empty());
}
