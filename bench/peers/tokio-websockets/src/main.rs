//! tokio-websockets: its own echo example.

use std::io;

use bench_peer::{Peer, Stream};
use futures_util::{SinkExt, StreamExt};
use tokio_websockets::{Config, Error, Limits, ServerBuilder};

fn main() -> io::Result<()> {
    bench_peer::run(Echo)
}

#[derive(Clone, Copy)]
struct Echo;

impl Peer for Echo {
    async fn serve<S: Stream>(self, stream: S) {
        // A peer that goes away is no news.
        let _ = echo(stream).await;
    }
}

async fn echo<S: Stream>(stream: S) -> Result<(), Error> {
    let builder = ServerBuilder::new().config(Config::default().frame_size(usize::MAX)).limits(Limits::unlimited());
    let (_request, mut ws) = builder.accept(stream).await?;
    while let Some(message) = ws.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            ws.send(message).await?;
        }
    }
    Ok(())
}
