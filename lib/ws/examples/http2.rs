//! WebSockets over HTTP/2 (RFC 8441). `http2 serve [ADDRESS]` echoes on every path, over HTTP/1.1 and HTTP/2 alike; `http2 connect [URL]` opens
//! three WebSockets on one connection and greets on each.
#![allow(clippy::print_stdout)]

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::response::Response;
use switchboard_ws::axum::WebSocketUpgrade;
use switchboard_ws::{CloseCode, Connector};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve("127.0.0.1:9003").await,
        ["serve", address] => serve(address).await,
        ["connect"] => connect("ws://127.0.0.1:9003/echo").await,
        ["connect", url] => connect(url).await,
        _ => bail!("usage: http2 serve [ADDRESS] | connect [URL]"),
    }
}

async fn serve(address: &str) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    // axum's own server allows extended CONNECT. `any` lets both methods in: GET of HTTP/1.1 and CONNECT of HTTP/2.
    axum::serve(listener, Router::new().fallback(echo)).await?;
    Ok(())
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    let version = if upgrade.request().key.is_none() { "HTTP/2" } else { "HTTP/1.1" };
    upgrade.protocols(["echo"]).on_upgrade(move |mut socket| async move {
        println!("a WebSocket over {version}");
        while let Some(Ok(message)) = socket.recv().await {
            if socket.feed(message).await.is_err() {
                break;
            }
        }
    })
}

async fn connect(url: &str) -> Result<()> {
    let connection = Connector::new().connect_http2(url).await?;
    let path = url.splitn(4, '/').nth(3).map_or_else(|| "/".to_owned(), |path| format!("/{path}"));
    for number in 1..=3 {
        let (mut socket, _) = connection.open(&path).await?;
        socket.send(format!("hello from WebSocket {number}")).await?;
        let answer = socket.recv().await.context("the server closed")??;
        println!("{}", answer.as_text().unwrap_or("(bytes)"));
        socket.close(CloseCode::NORMAL, "").await?;
    }
    Ok(())
}
