//! tokio-tungstenite: echo. `--forward` uses `forward` as its own example does, which flushes only when nothing more is waiting.

use std::io;

use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    accept_async_with_config,
    tungstenite::{Error, protocol::WebSocketConfig},
};

fn main() -> io::Result<()> {
    let forward = bench_peer::has_flag("--forward");
    bench_peer::serve(move |socket| async move {
        // A peer that goes away is no news.
        let _ = echo(socket, forward).await;
    })
}

async fn echo(socket: TcpStream, forward: bool) -> Result<(), Error> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(bench_peer::MESSAGE_BYTES_MAX))
        .max_frame_size(Some(bench_peer::MESSAGE_BYTES_MAX));
    let mut ws = accept_async_with_config(socket, Some(config)).await?;
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
