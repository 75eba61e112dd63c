//! A line of input is a message; what arrives is printed: `connect URL`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use anyhow::{Context, Result};
use switchboard_ws::{CloseCode, Message, connect};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).context("usage: connect URL")?;
    let mut socket = connect(&url).await?;
    eprintln!("connected to {url}; an empty line or the end of input closes");
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        // Both may be dropped at any await without losing anything.
        tokio::select! {
            line = lines.next_line() => match line?.filter(|line| !line.is_empty()) {
                Some(line) => socket.send(line).await?,
                None => return Ok(socket.close(CloseCode::NORMAL, "").await?),
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => println!("{text}"),
                Some(Ok(Message::Binary(bytes))) => println!("({} bytes)", bytes.len()),
                Some(Err(error)) => return Err(error.into()),
                None => {
                    eprintln!("closed: {:?}", socket.close_frame());
                    return Ok(());
                }
            },
        }
    }
}
