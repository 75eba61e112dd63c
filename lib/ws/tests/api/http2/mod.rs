//! WebSockets over HTTP/2 (RFC 8441): our client and our servers, and peers that break the rules.

mod client;
mod server;

use std::convert::Infallible;

use axum::Router;
use axum::response::Response as AxumResponse;
use axum::routing::any;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use switchboard_ws::axum::WebSocketUpgrade;
use switchboard_ws::hyper::{rejection, upgrade};
use switchboard_ws::{AcceptOptions, Connector};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

use crate::support::*;

fn options() -> AcceptOptions {
    let options = AcceptOptions::default().subprotocols(["echo"]);
    #[cfg(feature = "deflate")]
    let options = options.deflate(Some(Default::default()));
    options
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    match upgrade(&mut request, &options()) {
        Ok((response, upgraded)) => {
            tokio::spawn(async move { echo(upgraded.await.unwrap()).await });
            Ok(response)
        }
        Err(error) => Ok(rejection(&error).map(Full::from)),
    }
}

/// Serves one connection.
async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.enable_connect_protocol().max_concurrent_streams(4);
    // Clients here do as they like.
    let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

/// HTTP/2 only.
async fn hyper_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// HTTP/1.1 and HTTP/2.
async fn axum_server() -> String {
    async fn handler(upgrade: WebSocketUpgrade) -> AxumResponse {
        let over_http2 = upgrade.request().key.is_none();
        let upgrade = upgrade.protocols(["echo"]);
        #[cfg(feature = "deflate")]
        let upgrade = upgrade.deflate(Some(Default::default()));
        upgrade.on_upgrade(move |mut socket| async move {
            let _ = socket.send(if over_http2 { "HTTP/2" } else { "HTTP/1.1" }).await;
            let _ = echo(socket).await;
        })
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = Router::new().route("/", any(handler)).route("/page", any(|| async { "a page" }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn connector() -> Connector {
    Connector::new().subprotocols(["other", "echo"])
}
