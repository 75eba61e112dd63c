//! A chat with rooms: `cargo run --example chat -- [ADDRESS]`, then in other terminals
//! `cargo run --example connect -- ws://127.0.0.1:9004/lobby`. The path is the room.
//!
//! A message is encoded once for all of a room. Who reads too slowly to be given all of them is told how many are missing and
//! goes on with the newest, and costs the others nothing.
#![allow(clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::disallowed_types, reason = "connections look into the table of rooms as they begin")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use switchboard_ws::proto::FrameHeader;
use switchboard_ws::{AcceptOptions, CloseCode, Config, Limits, Message, Opcode, WebSocket, read_request};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

/// Messages that a reader may be behind.
const BACKLOG_MESSAGES: usize = 64;
const ROOM_NAME_BYTES_MAX: usize = 100;
const ROOMS_MAX: usize = 10_000;

type Rooms = Arc<Mutex<HashMap<String, Sender<Bytes>>>>;

#[tokio::main]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9004".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let rooms = Rooms::default();
    loop {
        let (stream, _) = listener.accept().await?;
        let rooms = rooms.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(stream, rooms).await {
                eprintln!("{error}");
            }
        });
    }
}

async fn serve(stream: TcpStream, rooms: Rooms) -> Result<()> {
    stream.set_nodelay(true)?;
    let limits = Limits { message_bytes_max: 4096, ..Limits::default() };
    let config = Config::default().limits(limits).ping_interval(Some(Duration::from_secs(25)));
    let pending = read_request(stream, &AcceptOptions::default().config(config)).await?;
    let name = pending.request().target.trim_start_matches('/').to_owned();
    if name.is_empty() || name.len() > ROOM_NAME_BYTES_MAX {
        return Ok(pending.reject(404, &[], b"the path is the name of a room, of at most 100 bytes\n").await?);
    }
    let Some(room) = enter(&rooms, &name) else {
        return Ok(pending.reject(503, &[], b"there are too many rooms\n").await?);
    };
    let socket = pending.accept(None, &[]).await?;
    let result = talk(socket, room.subscribe(), &room).await;
    drop(room);
    leave(&rooms, &name);
    result
}

async fn talk(mut socket: WebSocket<TcpStream>, mut inbox: Receiver<Bytes>, room: &Sender<Bytes>) -> Result<()> {
    loop {
        // Whichever is not chosen is dropped, and loses nothing.
        tokio::select! {
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => drop(room.send(encode(&text))),
                Some(Ok(Message::Binary(_))) => {
                    return Ok(socket.close(CloseCode::UNSUPPORTED_DATA, "only text is spoken here").await?);
                }
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            said = inbox.recv() => match said {
                Ok(frame) => {
                    socket.feed_encoded(frame).await?;
                    // All that waits leaves in one write.
                    while let Ok(frame) = inbox.try_recv() {
                        socket.feed_encoded(frame).await?;
                    }
                    socket.flush().await?;
                }
                Err(RecvError::Lagged(count)) => socket.send(format!("({count} messages are missing)")).await?,
                Err(RecvError::Closed) => return Ok(socket.close(CloseCode::GOING_AWAY, "").await?),
            },
        }
    }
}

/// The frame that goes to every member, as it is on the wire.
fn encode(text: &str) -> Bytes {
    let mut frame = BytesMut::new();
    FrameHeader::new(Opcode::Text, text.len() as u64).encode(&mut frame);
    frame.extend_from_slice(text.as_bytes());
    frame.freeze()
}

fn enter(rooms: &Rooms, name: &str) -> Option<Sender<Bytes>> {
    let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    if rooms.len() >= ROOMS_MAX && !rooms.contains_key(name) {
        return None;
    }
    Some(rooms.entry(name.to_owned()).or_insert_with(|| channel(BACKLOG_MESSAGES).0).clone())
}

/// The last one turns off the light.
fn leave(rooms: &Rooms, name: &str) {
    let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    if rooms.get(name).is_some_and(|room| room.receiver_count() == 0) {
        rooms.remove(name);
    }
}
