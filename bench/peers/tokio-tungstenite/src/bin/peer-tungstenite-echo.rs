//! tokio-tungstenite: echo. `--forward` uses `forward` as its own example does, which flushes only when nothing more is waiting.

use std::io;

use bench_peer::{Peer, Stream};
use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
use tokio_tungstenite::{
    accept_async_with_config,
    tungstenite::{Error, protocol::WebSocketConfig},
};

fn main() -> io::Result<()> {
    bench_peer::run(Echo { forward: bench_peer::has_flag("--forward") })
}

#[derive(Clone, Copy)]
struct Echo {
    forward: bool,
}

impl Peer for Echo {
    async fn serve<S: Stream>(self, stream: S) {
        // A peer that goes away is no news.
        let _ = echo(stream, self.forward).await;
    }
}

async fn echo<S: Stream>(stream: S, forward: bool) -> Result<(), Error> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(bench_peer::MESSAGE_BYTES_MAX))
        .max_frame_size(Some(bench_peer::MESSAGE_BYTES_MAX));
    let mut ws = accept_async_with_config(stream, Some(config)).await?;
    if forward {
        let (sink, stream) = ws.split();
        return stream
            .try_filter(|message| future::ready(message.is_text() || message.is_binary()))
            .forward(sink)
            .await;
    }
    while let Some(message) = ws.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            ws.send(message).await?;
        }
    }
    Ok(())
}
