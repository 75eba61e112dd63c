//! A tower service with WebSockets before it, served by hyper: `cargo run --example tower --features tower -- [ADDRESS]`. Whatever asks for a
//! WebSocket on `/echo` gets one; everything else is greeted by the service below, through whatever other layers there are.
#![allow(clippy::print_stdout)]

use std::convert::Infallible;

use anyhow::Result;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use switchboard_ws::WebSocket;
use switchboard_ws::hyper::UpgradedStream;
use switchboard_ws::tower::WebSocketLayer;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9006".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let service = ServiceBuilder::new()
        .layer(WebSocketLayer::new(echo).only(|head| head.uri().path() == "/echo"))
        .service(service_fn(greet));
    loop {
        let (stream, _) = listener.accept().await?;
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()));
        tokio::spawn(connection.with_upgrades());
    }
}

async fn greet(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello\n")))
}

async fn echo(_: Parts, mut socket: WebSocket<UpgradedStream>) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.feed(message).await.is_err() {
            break;
        }
    }
}
