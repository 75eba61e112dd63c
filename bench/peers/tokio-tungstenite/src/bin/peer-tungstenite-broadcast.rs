//! tokio-tungstenite with tokio's broadcast channel: what one connection sends, every connection receives. The usual way to write
//! a chat room.

use std::io;

use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::TcpStream,
    sync::broadcast::{self, error::RecvError},
};
use tokio_tungstenite::{
    accept_async,
    tungstenite::{Error, Message},
};

const MESSAGES_MAX: usize = 1024;

fn main() -> io::Result<()> {
    let (room, _) = broadcast::channel(MESSAGES_MAX);
    bench_peer::serve(move |socket| {
        let room = room.clone();
        async move {
            // A peer that goes away is no news.
            let _ = join(socket, room).await;
        }
    })
}

async fn join(socket: TcpStream, room: broadcast::Sender<Message>) -> Result<(), Error> {
    let mut inbox = room.subscribe();
    let (mut sink, mut stream) = accept_async(socket).await?.split();
    let deliver = tokio::spawn(tokio::task::unconstrained(async move {
        loop {
            match inbox.recv().await {
                Ok(message) => sink.send(message).await?,
                // The benchmark never lags; if it did, the generator would miss a message and say so.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok::<(), Error>(()),
            }
        }
    }));
    while let Some(Ok(message)) = stream.next().await {
        if message.is_text() || message.is_binary() {
            // It fails only if nobody listens.
            let _ = room.send(message);
        }
    }
    deliver.abort();
    Ok(())
}
