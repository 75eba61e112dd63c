//! An axum server with a WebSocket at `/echo`: `axum [ADDRESS]`.
#![allow(clippy::print_stdout)]

use anyhow::Result;
use axum::Router;
use axum::response::Response;
use axum::routing::{any, get};
use switchboard_ws::WebSocket;
use switchboard_ws::axum::WebSocketUpgrade;
use switchboard_ws::hyper::UpgradedStream;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9003".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let app = Router::new().route("/", get(|| async { "hello\n" })).route("/echo", any(upgrade));
    Ok(axum::serve(listener, app).await?)
}

async fn upgrade(upgrade: WebSocketUpgrade) -> Response {
    upgrade.protocols(["echo"]).on_upgrade(echo)
}

async fn echo(mut socket: WebSocket<UpgradedStream>) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.feed(message).await.is_err() {
            break;
        }
    }
}
