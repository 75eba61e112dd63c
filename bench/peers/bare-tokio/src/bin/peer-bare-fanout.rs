//! The floor of fan-out: no library; what one read of a publisher brought is framed once and goes to each socket in one write. It
//! has no queues: a receiver whose socket is full is dropped.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use peer_bare_tokio::{CLOSE, Frame, READ_BYTES, shake_hands};
use tokio::net::TcpStream;

type Room = Arc<Mutex<Vec<Arc<TcpStream>>>>;

fn main() -> io::Result<()> {
    let room = Room::default();
    bench_peer::serve(move |socket| {
        let room = Arc::clone(&room);
        async move {
            // A peer that goes away is no news.
            let _ = join(socket, &room).await;
        }
    })
}

async fn join(mut socket: TcpStream, room: &Room) -> io::Result<()> {
    let mut input = Vec::with_capacity(READ_BYTES);
    shake_hands(&mut socket, &mut input).await?;
    let socket = Arc::new(socket);
    everyone(room).push(Arc::clone(&socket));
    let result = receive(&socket, input, room).await;
    everyone(room).retain(|other| !Arc::ptr_eq(other, &socket));
    result
}

async fn receive(socket: &TcpStream, mut input: Vec<u8>, room: &Room) -> io::Result<()> {
    let mut output = Vec::new();
    loop {
        let mut used = 0;
        while let Some(frame) = Frame::find(&mut input[used..]) {
            if frame.opcode == CLOSE {
                return Ok(());
            }
            frame.reply(&mut output);
            used += frame.len;
        }
        input.drain(..used);
        if !output.is_empty() {
            everyone(room).retain(|other| matches!(other.try_write(&output), Ok(n) if n == output.len()));
            output.clear();
        }
        socket.readable().await?;
        match socket.try_read_buf(&mut input) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn everyone(room: &Room) -> std::sync::MutexGuard<'_, Vec<Arc<TcpStream>>> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}
