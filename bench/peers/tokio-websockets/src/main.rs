//! tokio-websockets: its own echo example.

use std::io;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_websockets::{Config, Error, Limits, ServerBuilder};

fn main() -> io::Result<()> {
    bench_peer::serve(|socket| async {
        // A peer that goes away is no news.
        let _ = echo(socket).await;
    })
}

async fn echo(socket: TcpStream) -> Result<(), Error> {
    let builder = ServerBuilder::new().config(Config::default().frame_size(usize::MAX)).limits(Limits::unlimited());
    let (_request, mut ws) = builder.accept(socket).await?;
    while let Some(message) = ws.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            ws.send(message).await?;
        }
    }
    Ok(())
}
