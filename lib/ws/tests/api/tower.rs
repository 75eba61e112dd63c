//! The layer for tower, within hyper and within axum.

use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use switchboard_ws::handshake::HandshakeError;
use switchboard_ws::hyper::UpgradedStream;
use switchboard_ws::tower::WebSocketLayer;
use switchboard_ws::{AcceptOptions, CloseCode, ConnectError, Connector, Error, WebSocket, connect};
use tokio::net::{TcpListener, TcpStream};
use tower::{ServiceBuilder, service_fn};

use crate::support::*;

async fn talk(head: Parts, mut socket: WebSocket<UpgradedStream>) {
    let seen = head.extensions.get::<&str>().copied().unwrap_or("nobody");
    let result: Result<(), Error> = async {
        let subprotocol = socket.subprotocol().unwrap_or("nothing").to_owned();
        socket.send(format!("{} {seen} {subprotocol}", head.uri.path())).await?;
        echo(socket).await
    }
    .await;
    result.unwrap();
}

fn layer() -> WebSocketLayer<impl Fn(Parts, WebSocket<UpgradedStream>) -> BoxFuture + Clone + Send + Sync> {
    WebSocketLayer::new(|head, socket| -> BoxFuture { Box::pin(talk(head, socket)) })
        .options(AcceptOptions::default().subprotocols(["v2", "v1"]).header("X-Node", "7").unwrap())
        .only(|head| head.uri().path() != "/mine")
}

type BoxFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn page(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from(format!("page {}", request.uri().path()))))
}

/// A layer above puts something into the request, as authentication does.
async fn over_hyper() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let marked = tower::util::MapRequestLayer::new(|mut request: Request<Incoming>| {
        request.extensions_mut().insert("alice");
        request
    });
    let service = ServiceBuilder::new().layer(marked).layer(layer()).service(service_fn(page));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    address.to_string()
}

async fn get(address: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().uri(path).header("host", address);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = soon(client.send_request(request.body(Full::<Bytes>::default()).unwrap())).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn upgrades_or_passes_on() {
    let address = over_hyper().await;
    let connector = Connector::new().subprotocols(["v1"]);
    let (mut socket, response) = soon(connector.connect(&format!("ws://{address}/a/b"))).await.unwrap();
    assert_eq!(response.subprotocol.as_deref(), Some("v1"));
    assert_eq!(response.headers.get("x-node"), Some(&b"7"[..]));
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some("/a/b alice v1"));
    socket.send("back").await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some("back"));
    soon(socket.close(CloseCode::NORMAL, "")).await.unwrap();

    assert_eq!(get(&address, "/a", &[]).await, (200, "page /a".into()));
    // Another protocol's upgrade is none of ours.
    assert_eq!(get(&address, "/a", &[("connection", "upgrade"), ("upgrade", "h2c")]).await, (200, "page /a".into()));
}

#[tokio::test]
async fn a_wrong_handshake_is_refused_and_says_why() {
    let address = over_hyper().await;
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "12")];
    let (status, body) = get(&address, "/", &upgrade).await;
    assert_eq!(status, 426);
    assert_eq!(body, "the Sec-WebSocket-Version header is not 13\n");
}

#[tokio::test]
async fn handshakes_that_are_not_wanted_are_the_services() {
    let address = over_hyper().await;
    let error = soon(connect(&format!("ws://{address}/mine"))).await.unwrap_err();
    let ConnectError::Handshake(HandshakeError::Refused { status, body, .. }) = error else { panic!("{error:?}") };
    assert_eq!((status, &*body), (200, &b"page /mine"[..]));
}

#[tokio::test]
async fn within_axum() {
    let app = axum::Router::new().route("/page", axum::routing::get(|| async { "axum's" })).layer(layer());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert_eq!(get(&address, "/page", &[]).await, (200, "axum's".into()));
    // A layer of a router sees the requests of its routes.
    let mut socket = soon(connect(&format!("ws://{address}/page"))).await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some("/page nobody nothing"));
    soon(socket.close(CloseCode::NORMAL, "")).await.unwrap();
}
