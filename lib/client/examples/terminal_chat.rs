//! A chat in the terminal: a line of input is published, what others say is printed: `terminal_chat URL ROOM NAME`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use switchboard_client::{Client, ConnectionEvent, SubscriptionEvent};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    text: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().context("usage: terminal_chat URL ROOM NAME");
    let (url, room, name) = (argument()?, argument()?, argument()?);

    let client = Client::builder(url).connect()?;
    let mut connection = client.events();
    let mut lines = BufReader::new(stdin()).lines();
    let mut chat = client.subscribe(&room).await?;
    eprintln!("in {room}; the end of input leaves");
    loop {
        // Each of these may be dropped at any await without losing anything.
        tokio::select! {
            line = lines.next_line() => {
                let Some(text) = line? else { break };
                let line = Line { name: name.clone(), text };
                if let Err(error) = client.publish(&room, &line).exclude_self().await {
                    eprintln!("not said: {error}");
                }
            }
            event = chat.next() => match event {
                Some(SubscriptionEvent::Message(message)) => {
                    let line: Line = message.data.decode()?;
                    println!("{}: {}", line.name, line.text);
                }
                Some(SubscriptionEvent::Lost { .. }) => eprintln!("some of it was missed"),
                Some(SubscriptionEvent::Unsubscribed(why)) => eprintln!("{why}"),
                Some(_) => {}
                None => break,
            },
            Some(event) = connection.next() => match event {
                ConnectionEvent::Disconnected { cause, retry_in } => eprintln!("{cause}; again in {retry_in:.1?}"),
                ConnectionEvent::Connected { .. } => eprintln!("connected"),
                _ => {}
            },
        }
    }
    client.close().await;
    Ok(())
}
