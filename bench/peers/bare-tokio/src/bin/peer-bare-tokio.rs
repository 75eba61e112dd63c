//! The floor of echo: no library; one read, all its replies in one write.

use std::io;

use peer_bare_tokio::{CLOSE, Frame, READ_BYTES, shake_hands};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn main() -> io::Result<()> {
    bench_peer::serve(|socket| async {
        // A peer that goes away is no news.
        let _ = echo(socket).await;
    })
}

async fn echo(mut socket: TcpStream) -> io::Result<()> {
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
