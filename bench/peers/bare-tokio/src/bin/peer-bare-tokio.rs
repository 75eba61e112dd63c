//! The floor of echo: no library; one read, all its replies in one write.

use std::io;

use bench_peer::{Peer, Stream};
use peer_bare_tokio::{CLOSE, Frame, READ_BYTES, shake_hands};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

async fn echo<S: Stream>(mut socket: S) -> io::Result<()> {
    let mut input = Vec::with_capacity(READ_BYTES);
    shake_hands(&mut socket, &mut input).await?;
    let mut output = Vec::with_capacity(READ_BYTES);
    loop {
        let mut used = 0;
        let mut open = true;
        while open && let Some(frame) = Frame::find(&mut input[used..]) {
            open = frame.opcode != CLOSE;
            frame.reply(&mut output);
            used += frame.len;
        }
        input.drain(..used);
        if !output.is_empty() {
            socket.write_all(&output).await?;
            socket.flush().await?;
            output.clear();
        }
        if !open {
            return Ok(());
        }
        input.reserve(READ_BYTES);
        if socket.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}
